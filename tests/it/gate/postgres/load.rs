//! Three gates on one database, all of them killed and started again under load: what the cloud got
//! in any window by its own count, and what the database has at the end, against the ledgers.
//!
//! `POSTGRES_ROUNDS` says how often something is killed, `CRASH_SEED` what is drawn at random.

use super::{Postgres, database, poll};
use crate::gate::crash::{Clients, Random, State, exchange, put, setting, windows};
use crate::support::process::{self, Gate};
use crate::support::world::{PROJECT, Prepared, World, delete_head, read_ledger};

use lychgate::clock::Clock;
use lychgate::emulator::Job;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;
use uuid::Uuid;

const GATES: usize = 3;

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
    let mut places = Vec::new();
    for world in &worlds {
        let clients = Clients::start(&cloud.url(), &world.issuer, &mut random);
        let mut place = Place { world, clients, gate: None, lives: 0 };
        place.start().await;
        places.push(place);
    }
    let (mut gates_killed, mut databases_killed) = (0, 0);
    for _ in 0..rounds {
        sleep(Duration::from_millis(random.below(PAUSE_MS))).await;
        let which = usize::try_from(random.below(GATES as u64)).unwrap();
        if random.below(2) == 0 {
            places[which].start().await;
            gates_killed += 1;
        } else {
            postgres.kill(if random.below(2) == 0 { "-QUIT" } else { "-KILL" });
            databases_killed += 1;
            sleep(ARRIVED).await;
            let before = cloud.counts().delete;
            if random.below(3) == 0 {
                places[which].start().await;
                gates_killed += 1;
            }
            sleep(Duration::from_millis(random.below(PAUSE_MS))).await;
            assert_eq!(cloud.counts().delete, before, "sent while the database was away");
            postgres.run().await;
        }
    }
    let mut told = BTreeMap::<u16, u64>::new();
    for Place { clients, gate, .. } in places {
        // Its clients go on as long as it answers.
        gate.unwrap().kill();
        for status in clients.finish().await.0.into_values() {
            *told.entry(status).or_default() += 1;
        }
    }
    println!(
        "postgres: {gates_killed} gates and {databases_killed} databases killed, told {told:?}"
    );
    let mut gates: Vec<_> = worlds.iter().map(start).collect();
    settled(&worlds).await;
    let (deletes, full) = windows(cloud, QUICK.0, Duration::from_secs(QUICK.1));
    println!("postgres: {deletes} deletes, {full} full windows");
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

/// A gate and its clients.
struct Place<'a> {
    world: &'a Prepared,
    clients: Clients,
    /// Until it is killed.
    gate: Option<Gate>,
    lives: u64,
}

impl Place<'_> {
    /// Kills the gate if there is one, and starts it.
    async fn start(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.kill();
        }
        let mut gate = start(self.world);
        self.lives += 1;
        let address = gate.address().await;
        self.clients.state.send_replace(State::Up { round: self.lives, address });
        self.gate = Some(gate);
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
        // What is lost with a job is no end.
        let Some(result) = record["result"].as_str() else { continue };
        let end = match (result, record["status"].as_u64()) {
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
