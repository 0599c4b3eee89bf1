//! What the ledger costs a whole gate: `cargo bench --bench ledger`. The same deletes with the ledger
//! on disk, on tmpfs, and on a disk that costs nothing: there the records are made, but writing and
//! syncing them does nothing, which is as far off as a ledger can be.
//!
//! Clients, gate and emulated cloud share the machine, so the figures compare the three with each
//! other and say nothing of a gate with cores of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a benchmark that cannot run fails; its figures are what it is for"
)]

#[expect(dead_code, reason = "what the tests need besides")]
mod support {
    #[path = "../../tests/it/support/binary.rs"]
    pub(crate) mod binary;
    #[path = "../../tests/it/support/http.rs"]
    pub(crate) mod http;
    #[path = "../../tests/it/support/process.rs"]
    pub(crate) mod process;
    #[path = "../../tests/it/support/world.rs"]
    pub(crate) mod world;
}

use crate::support::http::Connection;
use crate::support::process::Gate;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use support::world::{FINISHED, World};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Of each measurement, after a tenth of it to warm up.
const TIME: Duration = Duration::from_secs(6);

/// Clients at once: one for the latency, many for the throughput.
const CLIENTS: [usize; 2] = [1, 64];

/// How often each ledger is measured; they take turns, because a machine's mood changes.
const TURNS: usize = 3;

/// A record and its outcome, about.
const GROUP_BYTES: usize = 2048;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        println!("fdatasync of {GROUP_BYTES} bytes: {}", Times::of(syncs(disk.path())));
        for clients in CLIENTS {
            for _ in 0..TURNS {
                for (name, directory, off) in
                    [("disk", &disk, false), ("tmpfs", &memory, false), ("off", &memory, true)]
                {
                    let times = Times::of(measure(directory, off, clients).await);
                    let rate = times.0.len() as f64 / TIME.as_secs_f64();
                    println!("{clients:>3} clients, ledger on {name:<5}: {rate:>6.0}/s, {times}");
                }
            }
        }
        println!("fdatasync of {GROUP_BYTES} bytes: {}", Times::of(syncs(disk.path())));
    });
}

/// Latencies, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |percent: usize| self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        write!(f, "median {:.2} ms, p99 {:.2} ms", at(50), at(99))
    }
}

/// What a bare append and its sync take on this disk.
fn syncs(directory: &Path) -> Vec<Duration> {
    let mut file = File::create(directory.join("sync")).unwrap();
    let sync = |_| {
        let start = Instant::now();
        file.write_all(&[b'x'; GROUP_BYTES]).unwrap();
        file.sync_data().unwrap();
        start.elapsed()
    };
    (0..300).map(sync).collect()
}

/// The latencies of deletes through a gate whose ledger is in `directory`.
async fn measure(directory: &TempDir, off: bool, clients: usize) -> Vec<Duration> {
    let ledger = directory.path().join("ledger");
    let _ = fs::remove_dir_all(&ledger);
    let prepared = World::builder()
        .policies(&[
            (
                "identity/all.json",
                r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#,
            ),
            ("attachments.yaml", "- {to: [any], policies: [all]}\n"),
        ])
        // A job that is being deleted can be deleted again.
        .emulator(|it| it.terminating_look_ups = u32::MAX)
        .config("{directory: ledger}", &format!("{{directory: '{}'}}", ledger.display()))
        .config("timeouts:", "limits: {per_principal: {rate: 1000000, burst: 1000000}}\ntimeouts:")
        .config("{log: human}", "{log: json, level: 'warn,lychgate::app=info'}")
        .prepare()
        .await;
    let shim = support::process::disk(prepared.directory.path());
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("DISK_OFF", "")];
    let environment = if off { &environment[..] } else { &[] };
    let mut gate = Gate::start(prepared.directory.path(), environment);
    let address = gate.address().await;
    let head = support::world::delete_head(&prepared.issuer.token("alice"), FINISHED);
    let mut tasks = JoinSet::new();
    let begin = Instant::now() + TIME / 10;
    for _ in 0..clients {
        tasks.spawn(client(address, head.clone(), begin));
    }
    let times = tasks.join_all().await.concat();
    assert_eq!(gate.stop().await, Some(0));
    times
}

async fn client(gate: SocketAddr, head: String, begin: Instant) -> Vec<Duration> {
    let mut connection = Connection::open(gate).await;
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        if begin + TIME <= start {
            return times;
        }
        connection.write(head.as_bytes()).await;
        assert_eq!(connection.answer().await.unwrap().status, 202);
        if begin <= start {
            times.push(start.elapsed());
        }
    }
}
