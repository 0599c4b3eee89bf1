//! The real binary under siege: slow heads, idle connections, too few files. What it costs the others,
//! and what memory it takes, is printed; docs/assurance.md has the figures.

use crate::front::attacks::ALLOW_ALL;
use crate::support::binary;
use crate::support::http::Connection;
use crate::support::world::{FINISHED, PATIENCE, World, poll};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Connections whose heads dribble in.
const SLOW: usize = 1000;

/// Connections that say nothing, if the system gives files enough.
const IDLE: usize = 10_000;

/// What an attack may add to the gate's memory, in KiB.
pub(crate) const GROWTH_MAX: u64 = 64 * 1024;

/// Limits that the tests do not run into, and jobs that can be deleted again and again.
pub(crate) async fn besieged(before: &str, limits: &str) -> World {
    // The other ends of the connections are in this process.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    World::builder()
        .policies(ALLOW_ALL)
        .emulator(|it| it.terminating_look_ups = u32::MAX)
        .config("telemetry:", &format!("limits: {limits}\ntelemetry:"))
        .binary(before)
        .start()
        .await
}

pub(crate) const UNLIMITED: &str =
    "{connections: 20000, per_principal: {rate: 1000000, burst: 1000000}}";

/// How long each of `count` deletes takes, one after the other on one connection, shortest first.
async fn times(world: &World, count: usize) -> Vec<Duration> {
    let head = world.head("alice", FINISHED);
    let mut connection = Connection::open(world.gate).await;
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        connection.write(head.as_bytes()).await;
        assert_eq!(connection.answer().await.unwrap().status, 202);
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn figures(what: &str, times: &[Duration], world: &World) {
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let memory = world.process().memory();
    println!("{what}: median {median:?}, p99 {p99:?}, memory {memory} KiB");
}

/// The slowest of a hundred, give or take what a busy machine adds.
fn check_delay(alone: &[Duration], beside: &[Duration]) {
    let p99 = |it: &[Duration]| it[it.len() * 99 / 100];
    let limit = 10 * p99(alone) + Duration::from_millis(500);
    assert!(p99(beside) < limit, "{:?} beside {:?} alone", p99(beside), p99(alone));
}

/// Keeps [`SLOW`] connections open, each of which sends a byte of its head a second. The gate closes
/// each at its deadline, and another comes.
async fn dribble(world: &World) {
    let head = world.head("alice", FINISHED);
    let mut connections: VecDeque<(TcpStream, usize)> = VecDeque::new();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        for _ in 0..SLOW {
            let slow = match connections.len() {
                SLOW => connections.pop_front(),
                _ => None,
            };
            let (mut stream, sent) = match slow {
                Some(slow) => slow,
                None => (TcpStream::connect(world.gate).await.unwrap(), 0),
            };
            if stream.write_all(&head.as_bytes()[sent..=sent]).await.is_ok() {
                connections.push_back((stream, sent + 1));
            }
        }
    }
}

/// attack 23
#[tokio::test]
async fn a_thousand_slow_heads_delay_nobody_else() {
    let world = besieged("", UNLIMITED).await;
    times(&world, 50).await;
    let alone = times(&world, 300).await;
    figures("alone", &alone, &world);
    let memory = world.process().memory();
    let beside = async {
        // All of them are there, and the first of them have been told that they are too slow.
        let mut measured = Vec::new();
        while !world.metrics().await.contains("refused_total{error_code=\"Lychgate.4081\"}") {
            measured.extend(times(&world, 50).await);
        }
        measured.extend(times(&world, 300).await);
        measured.sort();
        measured
    };
    let beside = tokio::select! {
        beside = beside => beside,
        () = dribble(&world) => panic!("it does not end"),
    };
    figures("beside 1000 slow heads", &beside, &world);
    check_delay(&alone, &beside);
    let growth = world.process().memory().saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} KiB");
}

/// attack 87
#[tokio::test]
async fn idle_connections_take_little_and_delay_nobody_else() {
    let world = besieged("", UNLIMITED).await;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = usize::try_from(files / 2).unwrap().saturating_sub(500).clamp(100, IDLE);
    times(&world, 50).await;
    let alone = times(&world, 300).await;
    figures("alone", &alone, &world);
    let memory = world.process().memory();
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(TcpStream::connect(world.gate).await.unwrap());
    }
    let beside = times(&world, 300).await;
    figures(&format!("beside {count} idle connections"), &beside, &world);
    check_delay(&alone, &beside);
    let growth = world.process().memory().saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} KiB");
    drop(idle);
    world.measures("lychgate_connections 1").await;
    figures("after them", &times(&world, 300).await, &world);
}

/// Those that were closed stand before a new connection, and may still have its place.
async fn until_served(world: &World) {
    let head = world.head("alice", FINISHED);
    loop {
        let mut stream = TcpStream::connect(world.gate).await.unwrap();
        let mut line = [0; "HTTP/1.1 202".len()];
        if stream.write_all(head.as_bytes()).await.is_ok()
            && stream.read_exact(&mut line).await.is_ok()
        {
            assert_eq!(&line, b"HTTP/1.1 202");
            return;
        }
    }
}

/// attack 87: there are files for half of the connections that come, then for too few to accept any.
/// Whoever is connected is served, whoever comes later is served later.
#[tokio::test]
async fn too_few_files_are_too_few_for_a_while() {
    for (files, expected) in
        [(80, "limits.connections is lowered"), (32, "cannot accept connections")]
    {
        let world = besieged(&format!("ulimit -n {files};"), UNLIMITED).await;
        let head = world.head("alice", FINISHED);
        let mut connected = Connection::open(world.gate).await;
        connected.write(head.as_bytes()).await;
        assert_eq!(connected.answer().await.unwrap().status, 202, "{files}");
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(TcpStream::connect(world.gate).await.unwrap());
        }
        poll(|| Some(()).filter(|()| world.process().output().contains(expected))).await;
        if files == 80 {
            connected.write(head.as_bytes()).await;
            assert_eq!(connected.answer().await.unwrap().status, 202, "{files}");
            assert_eq!(world.ready().await, 200);
        }
        drop(crowd);
        timeout(PATIENCE, until_served(&world)).await.expect("places that are free again");
        world.measures("lychgate_panics_total 0").await;
    }
}

/// attack 84: no file with what was in memory.
#[tokio::test]
async fn a_crash_leaves_no_core() {
    let (_, directory) = World::start().await.stop().await;
    let mut started = binary::start(directory.path(), "ulimit -c unlimited;").await;
    started.process.signal(Signal::ABORT);
    let status = started.child.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
}
