//! The real binary told to stop while it is at work.

use crate::front::siege::{UNLIMITED, besieged};
use crate::support::http::{self, Connection};
use crate::support::process::verify;
use crate::support::world::{FINISHED, PATIENCE, PROTECTED, World, delete_head, poll, read_ledger};

use lychgate::cli::Exit;
use lychgate::emulator::{Effect, Fault, Operation};

use rustix::process::Signal;
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: usize = 16;

/// Deletes on one connection until the gate says that this was the last: how many were accepted.
/// Whatever was sent gets an answer.
async fn delete_until_closed(world: Arc<World>) -> usize {
    let head = world.head("alice", FINISHED);
    let mut connection = Connection::open(world.gate).await;
    for sent in 0.. {
        connection.write(head.as_bytes()).await;
        let answer = connection.answer().await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to request {sent}"));
        assert_eq!(answer.status, 202, "{answer:?}");
        if answer.header("connection") == Some("close") {
            return sent + 1;
        }
    }
    0
}

fn check_ledger(directory: &Path) {
    let output = verify(directory);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|it| it["kind"] == kind).collect()
}

/// attack 86: each request that was taken is answered, recorded with its outcome, and the ledger is
/// closed behind it.
#[tokio::test]
async fn a_stop_under_load_drops_nothing() {
    let world = Arc::new(besieged("", UNLIMITED).await);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(delete_until_closed(Arc::clone(&world)));
    }
    poll(|| Some(()).filter(|()| 200 < world.emulator.counts().all())).await;
    world.process().signal(Signal::TERM);
    let accepted: usize =
        timeout(PATIENCE, clients.join_all()).await.expect("a drain in time").iter().sum();
    let sent = world.emulator.counts().all();
    let world = Arc::into_inner(world).unwrap();
    let (exit, directory) = world.stopped().await;
    assert_eq!(exit, Exit::Ok);
    check_ledger(directory.path());
    let records = read_ledger(directory.path());
    let (decisions, outcomes) = (of_kind(&records, "decision"), of_kind(&records, "outcome"));
    let counts = [decisions.len(), outcomes.len(), usize::try_from(sent).unwrap()];
    assert_eq!(counts, [accepted; 3], "told, recorded, ended, sent");
    assert!(outcomes.iter().all(|it| it["result"] == "sent" && it["status"] == 202));
    assert_eq!(records.last().unwrap()["kind"], "outcome");
}

/// attack 86: a request that does not end is given up at the limit of the drain, and its record says
/// so. A second signal changes nothing.
#[tokio::test]
async fn a_stop_has_an_end() {
    let world = World::builder()
        .config("request: 3s, drain: 5s", "request: 60s, drain: 1s")
        .binary("")
        .start()
        .await;
    let hang = Fault::new(Effect::None).at(Operation::Delete).after(Duration::from_secs(60));
    world.emulator.fault(hang);
    let mut connection = Connection::open(world.gate).await;
    connection.write(world.head("alice", FINISHED).as_bytes()).await;
    poll(|| Some(()).filter(|()| 0 < world.emulator.counts().delete)).await;
    world.process().signal(Signal::TERM);
    poll(|| Some(()).filter(|()| world.process().output().contains("draining"))).await;
    world.process().signal(Signal::TERM);
    // The connection has the same deadline, and may end first.
    if let Some(answer) = connection.answer().await {
        assert_eq!(answer.code().as_deref(), Some("Lychgate.5042"));
    }
    let (exit, directory) = world.stopped().await;
    assert_eq!(exit, Exit::Ok);
    check_ledger(directory.path());
    let records = read_ledger(directory.path());
    let [outcome] = of_kind(&records, "outcome")[..] else { panic!("one outcome: {records:?}") };
    assert_eq!(outcome["result"], "unknown");
}

/// An address where nobody listens now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// `serve` in the directory, with a stderr that nobody reads.
fn unread(directory: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["serve", "--config"])
        .arg(directory.join("lychgate.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
}

/// A log driver that hangs holds up neither requests nor the ledger nor the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nothing() {
    let [gate, admin] = [free_address(), free_address()];
    let world = World::builder()
        .config("  - {address: '127.0.0.1:0'}", &format!("  - {{address: '{gate}'}}"))
        .config("admin: {address: '127.0.0.1:0'}", &format!("admin: {{address: '{admin}'}}"))
        .config("{log: human}", "{log: json, level: trace}")
        .prepare()
        .await;
    let mut child = unread(world.directory.path());
    let [gate, admin] = [gate, admin].map(|it| it.parse().unwrap());
    let is_up = async || {
        while tokio::net::TcpStream::connect(gate).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_up()).await.unwrap();
    let head = delete_head(&world.issuer.token("carol"), PROTECTED);
    // Far more lines than a pipe and the queue hold.
    let metrics = "GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n";
    let dropped = async || {
        let answer = http::send(admin, metrics.as_bytes()).await;
        let text = String::from_utf8(answer.body).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix("lychgate_log_dropped_lines_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let mut answered = 0;
    while dropped().await == 0 {
        for _ in 0..100 {
            // Denied, and beyond the principal's rate refused for it.
            assert!(matches!(http::send(gate, head.as_bytes()).await.status, 403 | 429));
            answered += 1;
        }
        assert!(answered < 50_000, "nothing was dropped");
    }
    terminate(&child);
    let ended = poll(|| child.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
    check_ledger(world.directory.path());
}

/// A stop that comes while the gate starts is a stop in good order: signals are caught before the
/// ledger is opened, and so before anything listens.
#[tokio::test]
async fn a_stop_during_the_start_is_in_good_order() {
    let world = World::builder().prepare().await;
    let mut child = unread(world.directory.path());
    let lock = world.directory.path().join("ledger/ledger.lock");
    poll(|| lock.exists().then_some(())).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|it| it.strip_prefix("SigCgt:")).unwrap().trim();
    let caught = u64::from_str_radix(caught, 16).unwrap();
    assert_ne!(caught & 1 << 14, 0, "SIGTERM is not caught yet");
    terminate(&child);
    let ended = poll(|| child.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
}
