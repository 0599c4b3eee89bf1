//! The ledger's copies: shipped to a collector that comes and goes, and echoed on stdout.

use crate::support::collector::{Collector, Mood};
use crate::support::http::{self, Connection};
use crate::support::process::Gate;
use crate::support::world::{Builder, FINISHED, PROTECTED, World, delete_head, poll};

use ::http::StatusCode;
use lychgate::cli::Exit;
use lychgate::config::Config;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A gate that ships to `otlp`; nobody asks it too often.
fn builder(otlp: &str) -> Builder {
    World::builder()
        .config("{directory: ledger}", "{directory: ledger, segment: 1MiB, ship: true}")
        .config("timeouts:", "limits: {per_principal: {rate: 1000000, burst: 1000000}}\ntimeouts:")
        .config("{log: human}", &format!("{{log: human, otlp: '{otlp}', ratio: 0.0}}"))
}

async fn world(collector: &Collector) -> World {
    builder(&format!("http://{}", collector.address)).start().await
}

/// Has `count` deletes denied: two records each.
async fn deny(world: &World, count: usize) {
    const AT_ONCE: usize = 50;
    let head = world.head("carol", PROTECTED);
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (gate, head) = (world.gate, head.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(gate).await;
            for _ in 0..count / AT_ONCE {
                connection.write(head.as_bytes()).await;
                assert_eq!(connection.answer().await.unwrap().status, 403);
            }
        });
    }
    clients.join_all().await;
}

/// The ledger's lines by number, byte for byte.
fn ledger(directory: &Path) -> BTreeMap<i64, String> {
    let mut lines = BTreeMap::new();
    for file in fs::read_dir(directory.join("ledger")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            for line in fs::read_to_string(path).unwrap().lines() {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                lines.insert(record["seq"].as_i64().unwrap(), line.to_owned());
            }
        }
    }
    lines
}

fn attribute(record: &LogRecord, name: &str) -> Value {
    let found = record.attributes.iter().find(|it| it.key == name);
    found.and_then(|it| it.value.clone()?.value).unwrap_or_else(|| panic!("no {name}"))
}

/// What the collector took, by number; what came twice came alike.
fn received(collector: &Collector) -> BTreeMap<i64, String> {
    let mut lines = BTreeMap::new();
    for record in collector.records() {
        let Value::IntValue(seq) = attribute(&record, "lychgate.seq") else { panic!("{record:?}") };
        let Some(AnyValue { value: Some(Value::StringValue(line)) }) = record.body else {
            panic!("no text")
        };
        let before = lines.insert(seq, line.clone());
        assert!(before.is_none_or(|it| it == line), "{seq} came in two shapes");
    }
    lines
}

/// Waits until the collector has all that is in the ledger, and compares.
async fn arrived(collector: &Collector, directory: &Path) -> BTreeMap<i64, String> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let expected = ledger(directory);
    while received(collector).len() < expected.len() {
        assert!(Instant::now() < deadline, "{} of {}", received(collector).len(), expected.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let received = received(collector);
    assert!(received == expected, "something else arrived than was written");
    received
}

fn unshipped(metrics: &str) -> u64 {
    let name = "lychgate_ledger_unshipped_records ";
    metrics.lines().find_map(|it| it.strip_prefix(name)).unwrap().parse().unwrap()
}

#[test]
fn who_ships_needs_a_collector() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("lychgate.example.yaml")).unwrap();
    let silent = example.replace("  otlp: http://collector:4318\n", "");
    let complaints = Config::parse(&silent, root).unwrap_err();
    let messages: Vec<_> = complaints.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(messages, ["name the collector that takes the records in `telemetry.otlp`"]);
    assert!(Config::parse(&silent.replace("ship: true", "ship: false"), root).is_ok());
}

/// Attack 85.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_records_arrive_though_the_collector_was_away() {
    let collector = Collector::http(Mood::Refusing(StatusCode::SERVICE_UNAVAILABLE)).await;
    let world = world(&collector).await;
    deny(&world, 2_500).await;
    let world = world.restart(|_| ()).await;
    deny(&world, 2_500).await;
    world.outcomes(5_000).await;
    assert!(10_000 <= unshipped(&world.metrics().await));
    assert!(collector.records().is_empty());

    collector.set_mood(Mood::Well);
    let all = arrived(&collector, world.directory.path()).await;
    assert!(10_000 < all.len());
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), (1..=all.len() as i64).collect::<Vec<_>>());
    world.measures("lychgate_ledger_unshipped_records 0").await;
    let first = collector.records().swap_remove(0);
    let line: serde_json::Value = serde_json::from_str(&all[&1]).unwrap();
    let text = |it: &str| Value::StringValue(line[it].as_str().unwrap().to_owned());
    assert_eq!(attribute(&first, "lychgate.ledger_id"), text("ledger_id"));
    assert_eq!(attribute(&first, "lychgate.kind"), text("kind"));
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(i128::from(first.time_unix_nano), time.as_nanosecond());

    // What the last run knows to be there is not sent again.
    let taken = collector.records().len();
    let world = world.restart(|_| ()).await;
    assert_eq!(world.delete("carol", PROTECTED).await.status, 403);
    let (exit, directory) = world.stop().await;
    assert_eq!(exit, Exit::Ok);
    let new = ledger(directory.path()).len() - all.len();
    assert_eq!(collector.records().len(), taken + new, "a stop sends what is left");
    arrived(&collector, directory.path()).await;
}

/// Attack 85.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_or_is_gone_delays_nobody() {
    let hanging = Collector::http(Mood::Hanging).await;
    for otlp in ["http://127.0.0.1:9".to_owned(), format!("http://{}", hanging.address)] {
        let world = builder(&otlp).start().await;
        deny(&world, 200).await;
        world.outcomes(200).await;
        assert!(400 <= unshipped(&world.metrics().await), "{otlp}");
        let start = Instant::now();
        assert_eq!(world.stop().await.0, Exit::Ok);
        assert!(start.elapsed() < Duration::from_secs(15), "{otlp}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn what_a_collector_rejects_is_counted_and_what_is_too_much_for_it_is_split() {
    let collector = Collector::http(Mood::Rejecting).await;
    let rejecting = world(&collector).await;
    assert_eq!(rejecting.delete("carol", PROTECTED).await.status, 403);
    rejecting.outcomes(1).await;
    arrived(&collector, rejecting.directory.path()).await;
    let text = rejecting.metrics().await;
    assert!(text.contains("lychgate_ledger_failures_total{what=\"rejected\"}"), "{text}");
    assert!(!text.contains("lychgate_ledger_failures_total{what=\"rejected\"} 0"), "{text}");

    let collector = Collector::http(Mood::Narrow(7)).await;
    let narrow = world(&collector).await;
    deny(&narrow, 50).await;
    narrow.outcomes(50).await;
    arrived(&collector, narrow.directory.path()).await;
}

/// Whatever says 2xx and is no collector has kept nothing.
#[tokio::test]
async fn only_a_collectors_success_counts() {
    let others = [
        (200, "text/html"),
        (200, ""),
        (202, "application/x-protobuf"),
        (204, "application/x-protobuf"),
        (206, "application/x-protobuf"),
        (200, "application/x-protobuf"),
    ];
    for (status, media) in others {
        let status = StatusCode::from_u16(status).unwrap();
        let collector = Collector::http(Mood::Other(status, media)).await;
        let world = world(&collector).await;
        deny(&world, 1).await;
        let failed = "lychgate_ledger_failures_total{what=\"ship\"} ";
        while world.metrics().await.contains(&format!("{failed}0")) {
            tokio::task::yield_now().await;
        }
        collector.set_mood(Mood::Well);
        arrived(&collector, world.directory.path()).await;
    }
}

#[tokio::test]
async fn the_echo_is_the_ledger() {
    let prepared = World::builder()
        .config("{directory: ledger}", "{directory: ledger, echo: true}")
        .config("{log: human}", "{log: json, level: info}")
        .prepare()
        .await;
    let directory = prepared.directory.path();
    let mut all = String::new();
    for _ in 0..2 {
        let mut gate = Gate::start(directory, &[]);
        let address = gate.address().await;
        let head = delete_head(&prepared.issuer.token("carol"), PROTECTED);
        for _ in 0..3 {
            assert_eq!(http::send(address, head.as_bytes()).await.status, 403);
        }
        let printed = || fs::read_to_string(directory.join("stdout")).unwrap();
        poll(|| Some(()).filter(|()| 6 <= printed().lines().count())).await;
        assert_eq!(gate.stop().await, Some(0));
        all.push_str(&printed());
    }
    let expected: Vec<_> = ledger(directory).into_values().collect();
    assert_eq!(all.lines().collect::<Vec<_>>(), expected);
}

/// Who runs the gate must see which collector is away and why, down to the last cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_told_with_its_url_and_the_cause() {
    // Nobody listens on port 1.
    let world = World::builder()
        .config("{directory: ledger}", "{directory: ledger, ship: true}")
        .config("{log: human}", "{log: json, otlp: 'http://127.0.0.1:1'}")
        .prepare()
        .await;
    let mut gate = Gate::start(world.directory.path(), &[]);
    let address = gate.address().await;
    let head = delete_head(&world.issuer.token("carol"), FINISHED);
    assert_eq!(http::send(address, head.as_bytes()).await.status, 403);
    for (message, url) in [
        ("the collector does not take ledger records", "http://127.0.0.1:1/v1/logs"),
        ("the collector does not take traces", "http://127.0.0.1:1/v1/traces"),
    ] {
        let line = poll(|| gate.log().lines().find(|it| it.contains(message)).map(str::to_owned));
        let line: serde_json::Value = serde_json::from_str(&line.await).unwrap();
        assert_eq!(line["url"], url, "{line}");
        assert!(line["error"].as_str().unwrap().contains("Connection refused"), "{line}");
    }
    gate.kill();
}
