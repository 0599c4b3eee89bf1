//! Budgets that several gates share through a real PostgreSQL, which tests/postgres/run provides.

mod load;
mod rights;

use crate::support::pki::{self, Authority};
use crate::support::postgres::Postgres;
use crate::support::world::PATIENCE;

use lychgate::budget::{Budgets, Config, End, Past, PastEnd, Refused, Room, Unit};
use lychgate::client::Roots;
use lychgate::clock::Clock;
use lychgate::policy::{
    self, Action, Attribute, Attributes, BUDGETS, Files, Job, Limits, Method, Principal, Query, Set,
};
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

const DOCUMENT: &str = r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"]}]}"#;

const HOUR: &str = "budgets:
  - {name: person, per: principal, deletes: 2, within: 1h}
  - {name: project, per: project, deletes: 20, within: 1h}
";

const SECONDS: &str = "budgets: [{name: person, per: principal, deletes: 2, within: 2s}]";

fn policy(text: &str) -> Arc<policy::Budgets> {
    let files: Files = [("guardrails/g.json", DOCUMENT), (BUDGETS, text)].into_iter().collect();
    Arc::clone(Set::compile(&files, &Limits::default()).set.unwrap().budgets())
}

fn query(name: &str) -> Query {
    let principal = Principal::new("corp", name, [], BTreeMap::new(), Method::Jwt);
    Query {
        principal: Arc::new(principal),
        action: Action::Delete,
        job: Arc::new(Job::new("p", "j")),
        region: "r".to_owned(),
        account: "a".to_owned(),
        now: Clock::system().now(),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    }
}

async fn take(budgets: &Budgets, room: &Room, name: &str) -> Result<Unit, Refused> {
    budgets.take(room.budgets(), &query(name), &Attributes::default()).await
}

/// One process's counters.
async fn process(file: &Path, holder: &str, text: &str, past: &[Past]) -> (Budgets, Room) {
    let config = Config { file: file.to_owned(), roots: Roots::Nobody };
    let budgets = Budgets::shared(Clock::system().now(), config, holder).await.unwrap();
    let read = || {
        let room = budgets.open(&policy(text));
        past.iter().for_each(|it| budgets.fill(&room, it));
        room
    };
    // A reading that fails at its end, and a second one.
    drop(read());
    let room = read();
    budgets.filled(&room).await;
    (budgets, room)
}

async fn database() -> Option<(Postgres, TempDir)> {
    let postgres = Postgres::start(Postgres::programs()?).await;
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("url"), postgres.url()).unwrap();
    Some((postgres, directory))
}

async fn poll<T, F: Future<Output = Option<T>>>(mut what: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = what().await {
            return it;
        }
        assert!(Instant::now() < deadline, "it does not come");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_take_no_more_than_one_may() {
    let Some((_postgres, directory)) = database().await else { return };
    let file = directory.path().join("url");
    let mut tasks = Vec::new();
    for holder in ["a", "b", "c"] {
        let (budgets, room) = process(&file, holder, HOUR, &[]).await;
        tasks.extend((0..15).map(|it| {
            let (budgets, room) = (budgets.clone(), room.clone());
            // Everybody's own budget has room for two.
            let name = format!("{holder}{}", it / 2);
            TaskTracker::new().spawn(async move {
                poll(|| async {
                    match take(&budgets, &room, &name).await {
                        Ok(unit) => Some(Some(unit)),
                        Err(Refused::Spent(_)) => Some(None),
                        // A busy machine: asked again.
                        Err(Refused::Away) => None,
                    }
                })
                .await
            })
        }));
    }
    let mut taken = Vec::new();
    for it in tasks {
        taken.extend(it.await.unwrap());
    }
    assert_eq!(taken.len(), 20);
    let charges: Vec<_> = taken[0].charges().iter().map(|it| &*it.budget).collect();
    assert_eq!((charges, taken[0].row().is_some()), (vec!["person", "project"], true));
    // What is given back is there for the others.
    let (other, room) = process(&file, "d", HOUR, &[]).await;
    assert!(
        matches!(take(&other, &room, "zoe").await, Err(Refused::Spent(it)) if it.room_at.is_none())
    );
    drop(taken);
    poll(|| async { take(&other, &room, "zoe").await.ok() }).await.end(End::Kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_leave_with_their_window_or_when_they_are_given_back() {
    let Some((_postgres, directory)) = database().await else { return };
    let (budgets, room) = process(&directory.path().join("url"), "a", SECONDS, &[]).await;
    let mut first = take(&budgets, &room, "alice").await.unwrap();
    first.recorded(1);
    let second = take(&budgets, &room, "alice").await.unwrap();
    assert!(matches!(take(&budgets, &room, "alice").await, Err(Refused::Spent(_))));
    first.end(End::Unknown);
    second.end(End::Kept);
    budgets.flush().await;
    let ended = Instant::now();
    let Err(Refused::Spent(spent)) = take(&budgets, &room, "alice").await else { panic!() };
    assert_eq!((&*spent.budget, &*spent.key, spent.limit), ("person", "corp/alice", 2));
    let wait = spent.room_at.unwrap().duration_since(spent.now).as_secs_f64();
    assert!((0.0..=2.0).contains(&wait), "{wait}");
    // What turns out not to have happened.
    budgets.settle(1, End::GivenBack);
    budgets.flush().await;
    take(&budgets, &room, "alice").await.unwrap().end(End::Kept);
    budgets.flush().await;
    assert!(take(&budgets, &room, "alice").await.is_err());
    poll(|| async { take(&budgets, &room, "alice").await.ok() }).await.end(End::GivenBack);
    assert!(Duration::from_millis(1500) < ended.elapsed(), "{:?}", ended.elapsed());
}

/// attack 96
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_while_the_database_is_away() {
    let Some((mut postgres, directory)) = database().await else { return };
    let (budgets, room) = process(&directory.path().join("url"), "a", HOUR, &[]).await;
    let kept = take(&budgets, &room, "alice").await.unwrap();
    for signal in ["-QUIT", "-KILL"] {
        postgres.kill(signal);
        assert_eq!(take(&budgets, &room, "alice").await.err(), Some(Refused::Away));
        assert!(!budgets.is_there());
        postgres.run().await;
        poll(|| async { take(&budgets, &room, "bob").await.ok() }).await.end(End::GivenBack);
        assert!(budgets.is_there());
    }
    // A request that finds no connection has begun nothing: there is nothing to be ended later, however
    // many come.
    budgets.flush().await;
    postgres.kill("-QUIT");
    poll(|| async { (!budgets.is_there()).then_some(()) }).await;
    assert_eq!(take(&budgets, &room, "alice").await.err(), Some(Refused::Away));
    timeout(PATIENCE, budgets.flush()).await.unwrap();
    postgres.run().await;
    poll(|| async { take(&budgets, &room, "bob").await.ok() }).await.end(End::GivenBack);
    // A server that takes everything and says nothing is as good as away.
    let client = postgres.client().await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE lychgate.budget_units").await.unwrap();
    assert_eq!(take(&budgets, &room, "alice").await.err(), Some(Refused::Away));
    client.batch_execute("ROLLBACK").await.unwrap();
    // What was there survives; what is not known to have been taken does not count.
    kept.end(End::Kept);
    budgets.flush().await;
    let rows = client.query_one("SELECT count(*) FROM lychgate.budget_units", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_is_compared_with_the_ledger() {
    let Some((postgres, directory)) = database().await else { return };
    let file = directory.path().join("url");
    let (budgets, room) = process(&file, "a", HOUR, &[]).await;
    let mut units = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let unit = take(&budgets, &room, name).await.unwrap();
        units.push(unit.row().unwrap().to_owned());
        // As a kill leaves it.
        std::mem::forget(unit);
    }
    let (other, other_room) = process(&file, "other", HOUR, &[]).await;
    std::mem::forget(take(&other, &other_room, "dave").await.unwrap());
    let now = Clock::system().now();
    let past = |seq, unit: Option<&String>, name, end| Past {
        seq,
        unit: unit.cloned(),
        query: query(name),
        attributes: Attributes::default(),
        end,
    };
    // alice's was never recorded, bob's is not known, carol's was kept; eve's is of a time without
    // a database.
    let past = [
        past(2, units.get(1), "bob", PastEnd::Open(now)),
        past(3, units.get(2), "carol", PastEnd::Kept(now)),
        past(4, None, "eve", PastEnd::Kept(now)),
    ];
    let rows = async || {
        let client = postgres.client().await.unwrap();
        let text = "SELECT key, counts_from <= clock_timestamp() FROM lychgate.budget_units
                    WHERE budget = 'person' ORDER BY key";
        let rows = client.query(text, &[]).await.unwrap();
        rows.iter().map(|it| (it.get(0), it.get(1))).collect::<Vec<(String, bool)>>()
    };
    let row = |name: &str, ended| (format!("corp/{name}"), ended);
    let expected = vec![row("bob", true), row("carol", true), row("dave", false), row("eve", true)];
    // Once more changes nothing.
    for _ in 0..2 {
        let (budgets, _) = process(&file, "a", HOUR, &past).await;
        assert_eq!(rows().await, expected);
        drop(budgets);
    }
    let (budgets, _) = process(&file, "a", HOUR, &past).await;
    budgets.settle(2, End::GivenBack);
    budgets.flush().await;
    assert_eq!(rows().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_known_by_its_certificate_and_its_string_may_change() {
    let Some((mut postgres, directory)) = database().await else { return };
    let authority = Authority::new("databases");
    postgres.certify(&authority.issue(&pki::localhost()));
    postgres.kill("-QUIT");
    postgres.run().await;
    let (file, ca) = (directory.path().join("url"), directory.path().join("ca.pem"));
    let start = async |roots: &str| {
        fs::write(&ca, roots).unwrap();
        fs::write(&file, format!("{}?sslmode=require\n", postgres.url())).unwrap();
        let config = Config { file: file.clone(), roots: Roots::File(ca.clone()) };
        let budgets = Budgets::shared(Clock::system().now(), config, "a").await.unwrap();
        let room = budgets.open(&policy(HOUR));
        (budgets, room)
    };
    let (budgets, room) = start(&Authority::new("others").certificate).await;
    assert_eq!(take(&budgets, &room, "alice").await.err(), Some(Refused::Away));
    let (budgets, room) = start(&authority.certificate).await;
    budgets.filled(&room).await;
    take(&budgets, &room, "alice").await.unwrap().end(End::Kept);
    // The password changes; connections that are there stay, and new ones take the new one.
    let client = postgres.client().await.unwrap();
    client.batch_execute("ALTER ROLE gate PASSWORD 'another'").await.unwrap();
    client
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    poll(|| async { take(&budgets, &room, "alice").await.err().filter(|it| *it == Refused::Away) })
        .await;
    let url = postgres.url();
    let (head, tail) = url.split_once('@').unwrap();
    let user = head.rsplit_once(':').unwrap().0;
    fs::write(&file, format!("{user}:another@{tail}?sslmode=require")).unwrap();
    poll(|| async { take(&budgets, &room, "bob").await.ok() }).await.end(End::Kept);
}
