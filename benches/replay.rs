//! How fast recorded decisions are judged again, in CPU time: `cargo bench --bench replay`. A ledger is
//! written, then its bytes are read alone, verified, and replayed with a candidate, all by one thread;
//! how much memory the process holds is told before and after. Exits with 1 if it replays fewer than
//! 200 000 decisions a second in the best of three runs.
//!
//! `cargo bench --bench replay -- 1000000` takes that many.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run fails; its figures are what it is for"
)]

use jiff::SignedDuration;
use lychgate::budget::Budgets;
use lychgate::clock::Clock;
use lychgate::ledger::record::{LookUp, LookUpResult, Source};
use lychgate::ledger::{self, Ending, Judged, Outcome, Recorded};
use lychgate::metrics::Metrics;
use lychgate::policy::{
    Action, Attribute, Attributes, BUDGETS, Decision, Files, Job, Limits, Method, Principal, Query,
    Set, Sources,
};
use lychgate::replay::{Options, Replay};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often it is replayed; what else the machine does makes a run slower and never faster.
const RUNS: u32 = 3;

/// The fewest decisions a second.
const EACH_MIN: f64 = 200_000.0;

/// Writers at once, who share the syncs.
const WRITERS: usize = 256;

/// People who delete jobs. Every fourth job is another's.
const PEOPLE: u64 = 64;

/// As many as count for a person of the shipped ones, with room for what is measured.
const ROOMY: &str = r#"budgets:
  - {name: per-person, per: principal, deletes: 100000, within: 1h}
  - {name: per-user, per: "tag:huawei_user", deletes: 100000, within: 24h}
"#;

fn main() -> ExitCode {
    let decisions = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(200_000);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let set = shipped();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(write(directory.path(), &set, decisions));
    drop(runtime);

    let mut bytes = 0;
    let reading = timed(|| bytes = read(directory.path()));
    let verifying = timed(|| drop(ledger::verify(directory.path()).unwrap()));
    let before = resident();
    let mut replaying = f64::INFINITY;
    for _ in 0..RUNS {
        let mut replay = Replay::new(Arc::clone(&set), Options::default());
        let run = timed(|| drop(replay.read(directory.path(), |_, _| ()).unwrap()));
        let tally = replay.finish();
        assert_eq!((tally.decisions, tally.same), (decisions, decisions));
        replaying = replaying.min(run);
    }
    let each = |seconds: f64| decisions as f64 / seconds;
    let figure = |what: &str, seconds: f64| {
        let (each, megabytes) = (each(seconds), bytes as f64 / 1e6 / seconds);
        println!("{what}: {seconds:.2} s, {each:.0} decisions/s, {megabytes:.0} MB/s");
    };
    println!(
        "{decisions} decisions and their outcomes, {bytes} bytes, all the same by their own policies"
    );
    figure("reading the bytes", reading);
    figure("verifying the chain", verifying);
    figure("replaying", replaying);
    println!("resident memory before and after the replay: {before} kB, {} kB", resident());
    if EACH_MIN <= each(replaying) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seconds of CPU time that `work` takes in this thread, the kernel's for it included.
fn timed(work: impl FnOnce()) -> f64 {
    let start = cpu();
    work();
    cpu() - start
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn read(directory: &Path) -> u64 {
    let mut buffer = vec![0; 128 * 1024];
    let mut res = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let mut file = File::open(entry.unwrap().path()).unwrap();
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                read => res += u64::try_from(read).unwrap(),
            }
        }
    }
    res
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The policies that the repository ships, with budgets that have room.
fn shipped() -> Arc<Set> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let limits = Limits::default();
    let files = lychgate::reload::read(&root, &limits).unwrap();
    let own = files.iter().filter(|(path, _)| *path != BUDGETS);
    let files: Files = own.chain([(BUDGETS, ROOMY.as_bytes())]).collect();
    Arc::new(Set::compile(&files, &limits).set.unwrap())
}

async fn write(directory: &Path, set: &Arc<Set>, decisions: u64) {
    let config = ledger::Config {
        directory: directory.to_owned(),
        reserve: 0,
        segment: 64 << 20,
        retain: SignedDuration::from_hours(24 * 400),
        checkpoints: None,
        ship: false,
        echo: false,
    };
    let opened = ledger::open(&config, Clock::system(), &Metrics::new()).unwrap();
    let budgets = Budgets::new(Clock::system().now());
    let room = budgets.open(set.budgets());
    budgets.filled(&room).await;
    let mut tasks = JoinSet::new();
    for number in 0..decisions {
        if WRITERS <= tasks.len() {
            tasks.join_next().await.unwrap().unwrap();
        }
        let (ledger, set, budgets) = (opened.ledger.clone(), Arc::clone(set), budgets.clone());
        tasks.spawn(async move {
            let (query, attributes) = (query(number), job(number));
            let look_ups = [Source::Details, Source::Tags].map(|source| LookUp {
                source,
                at: query.now,
                upstream_request_id: Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned()),
                result: LookUpResult::Found,
            });
            let decision = set.evaluate(&query, &attributes);
            let unit = match &decision {
                Decision::Allow(_) => {
                    Some(budgets.take(set.budgets(), &query, &attributes).await.unwrap())
                }
                _ => None,
            };
            let recorded = ledger.record(Judged {
                request_id: "1f3c1a0e-5a51-4d39-8a6e-000000000001",
                caller_request_id: None,
                trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
                peer: Some([10, 0, 0, 1].into()),
                upstream: "bj4",
                query: &query,
                attributes: &attributes,
                decision,
                policies: &set,
                look_ups: &look_ups,
                unit,
                batch: None,
                shadow: None,
            });
            match recorded.await.unwrap() {
                Recorded::Permitted(_, entry) => entry.close(Outcome {
                    result: Ending::Sent,
                    status: Some(202),
                    upstream_request_id: Some("5b0c2f7f1d3e4a6b8c9d0e1f2a3b4c5d".to_owned()),
                }),
                Recorded::Undecided(undecided) => undecided.close(None, None),
                Recorded::Denied(_) => (),
            }
        });
    }
    tasks.join_all().await;
    opened.thread.close().await.unwrap();
}

fn query(number: u64) -> Query {
    let name = name(number % PEOPLE);
    let tags = BTreeMap::from([("huawei_user".to_owned(), name.clone())]);
    let groups = ["ml-research".to_owned(), "all".to_owned()];
    Query {
        principal: Arc::new(Principal::new("corp", &name, groups, tags, Method::Jwt)),
        action: Action::Delete,
        job: Arc::new(Job::new(
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            format!("3faf5c03-aaa1-4cbe-879d-{number:012x}"),
        )),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: Clock::system().now(),
        source_ip: Attribute::Value([10, 1, 2, 3].into()),
        secure_transport: Attribute::Value(true),
        user_agent: Attribute::Value("python-requests/2.32".to_owned()),
    }
}

fn name(person: u64) -> String {
    format!("person-{person:02}")
}

fn job(number: u64) -> Attributes {
    let text = |it: &str| Attribute::Value(it.to_owned());
    let owner = if number.is_multiple_of(4) { PEOPLE } else { number % PEOPLE };
    let env = if number.is_multiple_of(3) { "prod" } else { "dev" };
    let mut res = Attributes {
        pool_id: Attribute::Value(vec!["pool-vision-1".to_owned()]),
        pool_type: Attribute::Value(vec!["dedicated".to_owned()]),
        phase: text("Completed"),
        kind: text("job"),
        name: text("resnet-nightly"),
        owner: Attribute::Value(name(owner)),
        age: Attribute::Value(86_400),
        workspace_id: text("0"),
        tags: Attribute::Value(BTreeMap::from([("env".to_owned(), env.to_owned())])),
    };
    res.asked(Sources { details: true, tags: true });
    res
}
