//! Three gates on one database, all of them killed and started again under load: what the cloud got
//! in any window by its own count, and what the database has at the end, against the ledgers.
//!
//! `POSTGRES_ROUNDS` says how often something is killed, `CRASH_SEED` what is drawn at random.

use super::{Postgres, database, poll};
use crate::gate::crash::{Random, exchange, put, setting};
use crate::support::process::{self, Gate};
use crate::support::world::{PROJECT, Prepared, World, delete_head, read_ledger};

use lychgate::clock::Clock;
use lychgate::emulator::{Emulator, Job, Operation};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const GATES: usize = 3;

const CLIENTS_PER_GATE: usize = 2;

const ROUNDS: u64 = 12;

/// How many deletes of one principal in how many seconds.
const QUICK: (usize, u64) = (12, 3);

/// The longest time between two kills, in milliseconds.
const PAUSE_MS: u64 = 900;

/// What is still on its way when the database is gone arrives within this time.
const ARRIVED: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_over_all_gates_whatever_is_killed() {
    let Some((mut postgres, _directory)) = database().await else { return };
    let rounds = setting("POSTGRES_ROUNDS").unwrap_or(ROUNDS);
    let now = Clock::system().now().as_nanosecond();
    let seed = setting("CRASH_SEED").unwrap_or(now.unsigned_abs() as u64);
    println!("postgres: {rounds} rounds, CRASH_SEED={seed}");
    let mut random = Random(seed);
    let worlds = worlds(&postgres).await;
    let cloud = &worlds[0].emulator;
    let mut gates: Vec<_> = worlds.iter().map(|it| Some(start(it))).collect();
    let clients = Clients::start(cloud, &worlds);
    for (gate, address) in gates.iter_mut().flatten().zip(&clients.gates) {
        address.send_replace(Some(gate.address().await));
    }
    let (mut gates_killed, mut databases_killed) = (0, 0);
    for _ in 0..rounds {
        sleep(Duration::from_millis(random.below(PAUSE_MS))).await;
        if random.below(2) == 0 {
            let which = usize::try_from(random.below(GATES as u64)).unwrap();
            clients.gates[which].send_replace(None);
            gates[which].take().unwrap().kill();
            let mut gate = start(&worlds[which]);
            clients.gates[which].send_replace(Some(gate.address().await));
            gates[which] = Some(gate);
            gates_killed += 1;
        } else {
            postgres.kill(if random.below(2) == 0 { "-QUIT" } else { "-KILL" });
            sleep(ARRIVED).await;
            let before = cloud.counts().delete;
            sleep(Duration::from_millis(random.below(PAUSE_MS))).await;
            assert_eq!(cloud.counts().delete, before, "sent while the database was away");
            postgres.run().await;
            databases_killed += 1;
        }
    }
    let told = clients.finish().await;
    println!(
        "postgres: {gates_killed} gates and {databases_killed} databases killed, told {told:?}"
    );
    gates.into_iter().flatten().for_each(Gate::kill);
    let mut gates: Vec<_> = worlds.iter().map(start).collect();
    settled(&worlds).await;
    let (deletes, fullest) = windows(cloud);
    println!("postgres: {deletes} deletes, at most {fullest} in a window");
    ledgers_agree(&postgres, &worlds).await;
    // Nothing is left over: after a window nothing counts.
    sleep(Duration::from_secs(QUICK.1)).await;
    let client = postgres.client().await.unwrap();
    let text = "SELECT count(*) FROM lychgate.budget_units
                WHERE budget = 'quick' AND counts_from > clock_timestamp() - interval '3 s'";
    assert_eq!(client.query_one(text, &[]).await.unwrap().get::<_, i64>(0), 0);
    let address = gates[0].address().await;
    let token = worlds[0].issuer.token("alice");
    assert_eq!(delete_at(&cloud.url(), address, &token).await, Some(202));
    for (gate, world) in gates.into_iter().zip(&worlds) {
        assert_eq!(gate.stop().await, Some(0));
        assert!(process::verify(world.directory.path()).status.success());
    }
    for status in [202, 429, 503] {
        assert!(rounds < ROUNDS || told.contains_key(&status), "nobody was told {status}");
    }
}

/// The files of three gates in front of the first one's cloud.
async fn worlds(postgres: &Postgres) -> Vec<Prepared> {
    let budgets = format!(
        "budgets:
  - {{name: quick, per: principal, deletes: {}, within: {}s}}
  - {{name: slow, per: all, deletes: 50000, within: 1h}}
",
        QUICK.0, QUICK.1
    );
    let mut worlds: Vec<Prepared> = Vec::new();
    for _ in 0..GATES {
        let mut builder = World::builder()
            .file("policies/budgets.yaml", &budgets)
            .file("database", &postgres.url())
            .config(
                "timeouts:",
                "limits: {per_principal: {rate: 100000, burst: 100000}}\nsettle: {window: 1s}
budgets: {store: {postgres: database}}\ntimeouts:",
            )
            .config("{log: human}", "{log: json, level: info}");
        if let Some(first) = worlds.first() {
            builder = builder.cloud(&first.emulator.url());
        }
        worlds.push(builder.prepare().await);
    }
    worlds
}

fn start(world: &Prepared) -> Gate {
    Gate::start(world.directory.path(), &[])
}

/// Who deletes.
struct Clients {
    /// Where each gate is, while it is.
    gates: Vec<watch::Sender<Option<SocketAddr>>>,
    tasks: JoinSet<BTreeMap<u16, u64>>,
    over: Arc<AtomicU64>,
}

impl Clients {
    fn start(cloud: &Emulator, worlds: &[Prepared]) -> Self {
        let gates: Vec<_> = worlds.iter().map(|_| watch::Sender::new(None)).collect();
        let (mut tasks, over) = (JoinSet::new(), Arc::<AtomicU64>::default());
        for (world, gate) in worlds.iter().zip(&gates) {
            for _ in 0..CLIENTS_PER_GATE {
                let (url, token) = (cloud.url(), world.issuer.token("alice"));
                let (gate, over) = (gate.subscribe(), Arc::clone(&over));
                tasks.spawn(async move {
                    let mut told = BTreeMap::new();
                    while over.load(Ordering::Relaxed) == 0 {
                        let address = *gate.borrow();
                        let status = match address {
                            Some(address) => delete_at(&url, address, &token).await,
                            None => None,
                        };
                        match status {
                            Some(status) => *told.entry(status).or_default() += 1,
                            None => sleep(Duration::from_millis(10)).await,
                        }
                    }
                    told
                });
            }
        }
        Self { gates, tasks, over }
    }

    /// What was told, by status.
    async fn finish(self) -> BTreeMap<u16, u64> {
        self.over.store(1, Ordering::Relaxed);
        let mut res = BTreeMap::new();
        for (status, count) in self.tasks.join_all().await.into_iter().flatten() {
            *res.entry(status).or_default() += count;
        }
        res
    }
}

/// Deletes a new job; nothing without an answer.
async fn delete_at(cloud: &str, gate: SocketAddr, token: &str) -> Option<u16> {
    let job = Uuid::new_v4().to_string();
    let it = Job::new(PROJECT, &job, "vision-load", Clock::system().now());
    put(cloud, &it.with_pool("pool-vision-1")).await;
    let mut stream = TcpStream::connect(gate).await.ok()?;
    exchange(&mut stream, delete_head(token, &job).as_bytes()).await
}

/// Waits until every decision has its end.
async fn settled(worlds: &[Prepared]) {
    for world in worlds {
        poll(|| async {
            let ledger = read_ledger(world.directory.path());
            (!ends(&ledger).values().any(|it| *it == End::Open)).then_some(())
        })
        .await;
    }
}

/// Every window that the cloud saw holds no more than the limit.
fn windows(cloud: &Emulator) -> (usize, usize) {
    let requests = cloud.requests();
    let deleted = requests.iter().filter(|it| {
        let job = it.target.rsplit('/').next().unwrap();
        it.operation == Operation::Delete && !cloud.exists(job)
    });
    let mut arrived: Vec<Instant> = deleted.map(|it| it.arrived).collect();
    arrived.sort();
    let within = Duration::from_secs(QUICK.1);
    let mut fullest = 0;
    for (last, at) in arrived.iter().enumerate() {
        let in_window = arrived[..=last].iter().filter(|it| at.duration_since(**it) < within);
        fullest = fullest.max(in_window.count());
    }
    assert!(fullest <= QUICK.0, "{fullest} deletes within {within:?}");
    (arrived.len(), fullest)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Counts,
    GivenBack,
    Open,
}

/// The ends of what was allowed, by the name of its rows.
fn ends(ledger: &[Value]) -> BTreeMap<String, End> {
    let (mut units, mut res) = (BTreeMap::new(), BTreeMap::new());
    for record in ledger {
        if let Some(unit) = record["unit"].as_str() {
            units.insert(record["seq"].as_u64(), unit.to_owned());
            res.insert(unit.to_owned(), End::Open);
        }
        let Some(unit) = record["of"].as_u64().and_then(|it| units.get(&Some(it))) else {
            continue;
        };
        let end = match (record["result"].as_str().unwrap(), record["status"].as_u64()) {
            ("unknown", _) => End::Open,
            ("gone", _) => End::Counts,
            ("sent", status) if !matches!(status, Some(400..=499)) => End::Counts,
            _ => End::GivenBack,
        };
        res.insert(unit.clone(), end);
    }
    res
}

/// The database has just the rows that the ledgers say, all of them dated.
async fn ledgers_agree(postgres: &Postgres, worlds: &[Prepared]) {
    let mut expected = BTreeSet::new();
    for world in worlds {
        let ends = ends(&read_ledger(world.directory.path()));
        expected.extend(ends.into_iter().filter(|(_, end)| *end == End::Counts).map(|it| it.0));
    }
    assert!(!expected.is_empty());
    poll(|| async {
        let client = postgres.client().await?;
        let text = "SELECT unit FROM lychgate.budget_units
                    WHERE budget = 'slow' AND counts_from <= clock_timestamp()";
        let rows = client.query(text, &[]).await.ok()?;
        let dated: BTreeSet<String> = rows.iter().map(|it| it.get(0)).collect();
        let text = "SELECT count(*) FROM lychgate.budget_units WHERE budget = 'slow'";
        let all: i64 = client.query_one(text, &[]).await.ok()?.get(0);
        (dated == expected && usize::try_from(all) == Ok(expected.len())).then_some(())
    })
    .await;
}
