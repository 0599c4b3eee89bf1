//! What the steps of one judged delete cost in process, in CPU time: `cargo bench --bench engine`.
//!
//! Exits with 1 if a decision among 10 000 identity policies costs more than 1.5 times one among 10, or
//! what budgets count more than 1 µs, or one beside shadow policies more than twice one without, each
//! with its record. Then, in wall-clock time: what `diff` and `check` take for a thousand policies.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot start fails")]

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/world.rs"]
mod world;

use futures_util::FutureExt;
use http::Method;
use lychgate::budget::{Budgets, End, Room};
use lychgate::clock::Clock;
use lychgate::gateway::Shadow;
use lychgate::ledger::{Judged, record};
use lychgate::metrics::Metrics;
use lychgate::policy::{
    Attributes, BUDGETS, Comparison, Decision, Effort, Files, Limits, Set, Shift,
};
use lychgate::reload::{Policies, Prepare, Role};
use lychgate::route::JobIds;
use lychgate::secret::Secret;
use lychgate::sign::{Algorithm, Credential, Request};
use lychgate::{route, sign};
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::time::Instant;
use world::Question;

/// The most that a delete may cost which two budgets count, in nanoseconds.
const COUNTING_MAX: f64 = 1000.0;

/// Like those that hold where nobody says anything, with room for what is measured.
const TWO_BUDGETS: &str = "budgets:
  - {name: per-principal, per: principal, deletes: 100000, within: 1h}
  - {name: per-project, per: project, deletes: 100000, within: 24h}
";

/// How many times as much a decision and its record may cost beside shadow policies.
const SHADOW_MAX: f64 = 2.0;

fn main() -> ExitCode {
    println!("CPU time in ns, the best of many batches");
    let costs = world::SIZES.map(decisions);
    parsing();
    signing();
    let counting = counting();
    let shadow = shadowed(1_000);
    examining(1_000);
    let (Some(small), Some(large)) = (costs.first(), costs.last()) else {
        return ExitCode::FAILURE;
    };
    let growth = large / small;
    println!("growth of an allow from 10 to 10 000 policies: {growth:.2}");
    println!("a recorded decision beside shadow policies, in such without: {shadow:.2}");
    let is_good = growth <= world::GROWTH_MAX && counting <= COUNTING_MAX && shadow <= SHADOW_MAX;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many times as much a decision costs beside shadow policies, the worst of all questions. The
/// text of its record, where the answer of the shadow policies stands too, is part of the cost.
fn shadowed(size: usize) -> f64 {
    let (set, query) = (Arc::new(world::set(size)), world::query(size));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    for (path, text) in set.files().iter() {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (metrics, ready) = (Metrics::new(), Prepare::by(async |_| ()));
    let at = (Role::Shadow, directory.path().to_owned());
    let open = Policies::open(at, Limits::default(), Clock::system(), metrics.clone(), ready);
    let (policies, _follower) = runtime.expect("a runtime").block_on(open);
    let shadow = Shadow::new(policies, metrics);
    let mut worst: f64 = 0.0;
    for question in world::questions(size) {
        let attributes = question.attributes();
        let ask = || black_box(&set).evaluate(black_box(&query), black_box(&attributes));
        let record = |decision: Decision, shadow: Option<record::Shadow<'static>>| {
            let judged = Judged {
                request_id: world::JOB,
                caller_request_id: None,
                trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
                peer: query.source_ip.value().copied(),
                upstream: "bj4",
                query: &query,
                attributes: &attributes,
                decision,
                policies: &set,
                look_ups: &[],
                unit: None,
                batch: None,
                shadow,
            };
            black_box(judged.members().expect("a record"));
        };
        let alone = cpu::per_call(|| record(ask(), None));
        let both = cpu::per_call(|| {
            let live = ask();
            let opinion = shadow.judge(&live, &query, &attributes);
            record(live, Some(opinion));
        });
        let live = ask();
        let answer = cpu::per_call(|| drop(black_box(shadow.judge(&live, &query, &attributes))));
        report(&format!("recorded decision: {}", question.name), alone);
        report(&format!("the same beside shadow policies: {}", question.name), both);
        report(&format!("the answer of the shadow policies: {}", question.name), answer);
        worst = worst.max(both / alone);
    }
    worst
}

/// One statement of `size` policies changed: what `diff` finds, and what `check` says of them all.
fn examining(size: usize) {
    let set = world::set(size);
    let change = |(path, text): (&str, &[u8])| {
        let text = String::from_utf8_lossy(text);
        let text =
            if path.ends_with("p00500.json") { text.replace("vision-", "v") } else { text.into() };
        (path.to_owned(), text.into_bytes())
    };
    let files: Files = set.files().iter().map(change).collect();
    let mut changed = Set::compile(&files, &Limits::default());
    let new = changed.set.as_ref().expect("it compiles");
    let effort = Effort { steps: u64::MAX, go_on: &|| true };
    let start = Instant::now();
    let found = Comparison::new(&set, new, &Shift::ALL, effort);
    println!("{:>8.3} s  diff, {size} policies, one changed", start.elapsed().as_secs_f64());
    assert!(found.differences.iter().any(|it| it.shift == Shift::Gained));
    assert!(found.undecided.is_empty());
    let start = Instant::now();
    changed.examine(effort);
    println!("{:>8.3} s  closer look of check, {size} policies", start.elapsed().as_secs_f64());
}

/// What an allow costs.
fn decisions(size: usize) -> f64 {
    let (set, query) = (world::set(size), world::query(size));
    let mut allow = 0.0;
    for question in world::questions(size) {
        let attributes = question.attributes();
        assert_eq!(Question::asked(&set, &query, &attributes), question.answer);
        let cost = cpu::per_call(|| world::decide(&set, &query, &attributes));
        report(&format!("decision, {size} identity policies: {}", question.name), cost);
        if question.answer.is_some_and(|(_, allows)| allows) {
            allow = cost;
        }
    }
    let unasked = Attributes::default();
    assert!(matches!(set.evaluate(&query, &unasked), Decision::Indeterminate(_)));
    let cost = cpu::per_call(|| world::decide(&set, &query, &unasked));
    report(&format!("decision, {size} identity policies: before the look-up"), cost);
    allow
}

fn parsing() {
    let target = format!("/v2/{}/training-jobs/{}", world::PROJECT, world::JOB);
    let cost = cpu::per_call(|| {
        let operation = route::parse(&Method::DELETE, black_box(&target), JobIds::Uuid);
        black_box(operation).expect("the route");
    });
    report("request target", cost);
}

fn signing() {
    let credential =
        Credential::new("AKEXAMPLE".to_owned(), Secret::new("secret".to_owned()), None)
            .expect("a credential");
    let target = format!("/v2/{}/training-jobs/{}", world::PROJECT, world::JOB);
    let request = Request {
        method: &Method::DELETE,
        target: &target,
        host: "modelarts.cn-north-4.myhuaweicloud.com",
        project_id: world::PROJECT,
        user_agent: "lychgate/0.1.0",
    };
    let now = world::query(world::ATTACHED).now;
    let cost = cpu::per_call(|| {
        let headers =
            sign::sign(black_box(&request), black_box(&credential), &Algorithm::SdkHmacSha256, now);
        black_box(headers).expect("a signature");
    });
    report("signature, SDK-HMAC-SHA256", cost);
}

/// What a delete costs beyond its decision: a unit of two budgets is taken, recorded and ended.
fn counting() -> f64 {
    let query = world::query(world::ATTACHED);
    let attributes = Attributes::default();
    let files: Files = [
        (
            "guardrails/g.json",
            r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"]}]}"#,
        ),
        (BUDGETS, TWO_BUDGETS),
    ]
    .into_iter()
    .collect();
    let set = Set::compile(&files, &Limits::default()).set.expect("policies");
    let new = || {
        let budgets = Budgets::new(query.now);
        let room = budgets.open(set.budgets());
        budgets.filled(&room).now_or_never().expect("nothing to wait for");
        (budgets, room)
    };
    let take = |(budgets, room): &(Budgets, Room)| {
        let taken = budgets.take(room.budgets(), black_box(&query), &attributes);
        taken.now_or_never().expect("nothing to wait for")
    };
    let mut most = 0.0_f64;
    for (end, what) in [(End::Kept, "counts"), (End::GivenBack, "is given back")] {
        let (mut counters, mut seq) = (new(), 0);
        let cost = cpu::per_call(|| {
            let mut unit = take(&counters).unwrap_or_else(|_| {
                counters = new();
                take(&counters).expect("room")
            });
            unit.recorded(seq);
            unit.end(end);
            seq += 1;
        });
        report(&format!("two budgets: a delete that {what}"), cost);
        most = most.max(cost);
    }
    most
}

fn report(what: &str, cost: f64) {
    println!("{cost:>8.0}  {what}");
}
