//! Kills the gate at random moments under load, and compares three independent accounts: what the
//! clients were told, what the cloud received, what the ledger says.
//!
//! `CRASH_ROUNDS` says how often it is killed, `CRASH_SEED` what is drawn at random; the seed is
//! printed, and repeats the plan though not what the machine makes of it.

mod account;
mod batch;
mod budgets;

use crate::support::process::{self, Gate};
use crate::support::world::{Builder, Issuer, PROJECT, World, delete_head, read_ledger};

use self::account::Figures;
use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Emulator, Fault, Job, Operation, Reset};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const ROUNDS: u64 = 20;

/// How often the gate is killed over one ledger; the accounts are compared after these.
const ROUNDS_PER_LEDGER: u64 = 20;

const CLIENTS: usize = 6;

/// The longest life of a gate that listens, in milliseconds.
const LIFE_MS: u64 = 700;

/// At most so long until what the kills left open is settled: five look-ups a second.
const SETTLED: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_accounts_agree_however_often_the_gate_is_killed() {
    let rounds = setting("CRASH_ROUNDS").unwrap_or(ROUNDS);
    let now = Clock::system().now().as_nanosecond();
    let seed = setting("CRASH_SEED").unwrap_or(now.unsigned_abs() as u64);
    println!("crash: {rounds} rounds, CRASH_SEED={seed}");
    let mut random = Random(seed);
    let mut figures = Figures::default();
    let mut left = rounds;
    while 0 < left {
        let rounds = left.min(ROUNDS_PER_LEDGER);
        left -= rounds;
        trial(rounds, &mut random, &mut figures).await;
        println!("crash: {figures:?}");
    }
    assert!(rounds < ROUNDS || figures.is_telling(), "too little happened: {figures:?}");
}

#[expect(clippy::disallowed_methods, reason = "a test's settings")]
pub(super) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().expect("a number"))
}

/// Kills the gate `rounds` times over one ledger, lets it settle what is open, and compares.
async fn trial(rounds: u64, random: &mut Random, figures: &mut Figures) {
    let cloud = builder()
        .config("{directory: ledger}", "{directory: ledger, segment: 1MiB}")
        .prepare()
        .await;
    let directory = cloud.directory.path().to_owned();
    let clients = Clients::start(&cloud.emulator.url(), &cloud.issuer, random);
    for round in 1..=rounds {
        let mut gate = Gate::start(&directory, &[]);
        cloud.emulator.clear_faults();
        if let Some(fault) = random.fault() {
            cloud.emulator.fault(fault);
        }
        if random.below(8) == 0 {
            // While it starts.
            sleep(Duration::from_millis(random.below(100))).await;
        } else {
            let address = gate.address().await;
            clients.state.send_replace(State::Up { round, address });
            sleep(Duration::from_millis(random.below(LIFE_MS))).await;
        }
        gate.kill();
        figures.kills += 1;
        if has_records(&directory) {
            let verified = process::verify(&directory);
            assert!(verified.status.success(), "{verified:?}");
            figures.torn += u64::from(ends_within_a_line(&directory));
        }
    }
    cloud.emulator.clear_faults();
    let (told, untold) = clients.finish().await;
    let mut gate = Gate::start(&directory, &[]);
    gate.address().await;
    settle(gate, &directory).await;
    figures.untold += untold;
    account::compare(&told, &cloud.emulator, &read_ledger(&directory), figures);
}

/// A gate for many requests at once and a quick settlement, with a log that can be read by a program.
fn builder() -> Builder {
    let limits =
        "limits: {per_principal: {rate: 100000, burst: 100000}}\nsettle: {window: 1s}\ntimeouts:";
    World::builder().config("timeouts:", limits).config("{log: human}", "{log: json, level: info}")
}

/// Waits until the gate has settled what the kills left open, stops it, and verifies its ledger.
async fn settle(gate: Gate, directory: &Path) {
    let deadline = Instant::now() + SETTLED;
    while account::has_open(&read_ledger(directory)) {
        assert!(Instant::now() < deadline, "not settled: {}", gate.log());
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(gate.stop().await, Some(0));
    let verified = process::verify(directory);
    assert!(verified.status.success(), "{verified:?}");
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(files) = fs::read_dir(directory.join("ledger")) else { return Vec::new() };
    let files = files.map(|it| it.unwrap().path());
    let mut res: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "jsonl")).collect();
    res.sort();
    res
}

fn has_records(directory: &Path) -> bool {
    segments(directory).iter().any(|it| fs::read(it).unwrap().contains(&b'\n'))
}

fn ends_within_a_line(directory: &Path) -> bool {
    let last = segments(directory).pop().map(|it| fs::read(it).unwrap()).unwrap_or_default();
    last.last().is_some_and(|it| *it != b'\n')
}

/// Every window that the cloud saw holds no more than `limit` deletes, of one caller; how many deletes
/// there were, and how many windows held just that.
pub(super) fn windows(cloud: &Emulator, limit: usize, within: Duration) -> (usize, usize) {
    let requests = cloud.requests();
    let deleted = requests.iter().filter(|it| {
        let job = it.target.rsplit('/').next().unwrap();
        it.operation == Operation::Delete && !cloud.exists(job)
    });
    let mut arrived: Vec<Instant> = deleted.map(|it| it.arrived).collect();
    arrived.sort();
    let mut full = 0;
    for (last, at) in arrived.iter().enumerate() {
        let in_window = arrived[..=last].iter().filter(|it| at.duration_since(**it) < within);
        let count = in_window.count();
        assert!(count <= limit, "{count} deletes within {within:?}");
        full += usize::from(count == limit);
    }
    (arrived.len(), full)
}

/// Where the gate is.
#[derive(Clone, Copy)]
pub(super) enum State {
    Over,
    Starting,
    Up { round: u64, address: SocketAddr },
}

/// Who deletes, and what they were told.
pub(super) struct Clients {
    pub(super) state: watch::Sender<State>,
    tasks: JoinSet<u64>,
    told: Arc<Mutex<BTreeMap<String, u16>>>,
}

impl Clients {
    /// Begins as soon as there is a gate, which knows `issuer`, in front of the cloud at the URL `cloud`.
    pub(super) fn start(cloud: &str, issuer: &Issuer, random: &mut Random) -> Self {
        let state = watch::Sender::new(State::Starting);
        let told = Arc::default();
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = Client {
                // What goes into the cloud, from another process's view.
                cloud: cloud.to_owned(),
                tokens: ["alice", "carol"].map(|it| issuer.token(it)),
                state: state.subscribe(),
                random: Random(random.next()),
                told: Arc::clone(&told),
            };
            tasks.spawn(client.run());
        }
        Self { state, tasks, told }
    }

    /// What was told, by job, and how many requests got no answer.
    pub(super) async fn finish(self) -> (BTreeMap<String, u16>, u64) {
        self.state.send_replace(State::Over);
        let untold = self.tasks.join_all().await.into_iter().sum();
        (self.told.lock().unwrap().clone(), untold)
    }
}

struct Client {
    cloud: String,
    tokens: [String; 2],
    state: watch::Receiver<State>,
    random: Random,
    told: Arc<Mutex<BTreeMap<String, u16>>>,
}

impl Client {
    /// Deletes a new job after the other until it is over; how many requests got no answer.
    async fn run(mut self) -> u64 {
        let (mut untold, mut last) = (0, 0);
        loop {
            let new = |it: &State| match it {
                State::Over => true,
                State::Starting => false,
                State::Up { round, .. } => last < *round,
            };
            let state = *self.state.wait_for(new).await.unwrap();
            let State::Up { round, address } = state else { return untold };
            last = round;
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            loop {
                let job = Uuid::new_v4().to_string();
                let head = self.request(&job).await;
                let Some(status) = exchange(&mut stream, head.as_bytes()).await else {
                    untold += 1;
                    break;
                };
                self.told.lock().unwrap().insert(job, status);
            }
        }
    }

    /// Creates the job and says how it is to be deleted: mostly by somebody who may.
    async fn request(&mut self, job: &str) -> String {
        let created = Clock::system().now();
        let it = Job::new(PROJECT, job, "vision-crash", created).with_pool("pool-vision-1");
        let (it, token) = match self.random.below(6) {
            0 => (it, &self.tokens[1]),
            1 => (it.with_tag("env", "prod"), &self.tokens[0]),
            _ => (it, &self.tokens[0]),
        };
        put(&self.cloud, &it).await;
        delete_head(token, job)
    }
}

/// Adds a job to the cloud.
pub(super) async fn put(cloud: &str, job: &Job) {
    let body = serde_json::to_string(job).unwrap();
    let address = cloud.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /emulator/jobs HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(exchange(&mut stream, head.as_bytes()).await, Some(201));
}

/// The status of the whole answer; nothing if there is none.
pub(super) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    loop {
        if let Some(at) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).map_or("0", |it| it);
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if at + 4 + length <= answer.len() {
                return head.split(' ').nth(1).unwrap().parse().ok();
            }
        }
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// What the cloud does in a round besides what it should.
    fn fault(&mut self) -> Option<Fault> {
        let slow = |operation| Fault::new(Effect::None).at(operation);
        let reset = |when| Fault::new(Effect::Reset { when }).at(Operation::Delete).times(3);
        match self.below(5) {
            0 => Some(slow(Operation::Delete).after(Duration::from_millis(30))),
            1 => Some(slow(Operation::Details).after(Duration::from_millis(10))),
            2 => Some(reset(Reset::Done)),
            3 => Some(reset(Reset::Arrived)),
            _ => None,
        }
    }
}
