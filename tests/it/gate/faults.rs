//! Disks that are full, slow, bad or read-only, and clocks that jump, under a whole gate.

use crate::support::http::{self, Connection};
use crate::support::process::{self, Gate};
use crate::support::world::{
    FINISHED, PROJECT, PROTECTED, Prepared, UNKNOWN, World, delete_head, poll, read_ledger, until,
};

use jiff::SignedDuration;
use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Emulator, Fault, Operation, Reset};
use serde_json::Value;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// A gate as a process of its own, whose disk does what it is told.
struct Machine {
    world: Prepared,
    shim: PathBuf,
}

impl Machine {
    async fn new(settings: &str) -> Self {
        let world = World::builder()
            .config("timeouts:", &format!("{settings}\ntimeouts:"))
            .config("{log: human}", "{log: json, level: info}")
            .prepare()
            .await;
        let shim = process::disk(world.directory.path());
        Self { world, shim }
    }

    fn directory(&self) -> &Path {
        self.world.directory.path()
    }

    fn emulator(&self) -> &Emulator {
        &self.world.emulator
    }

    /// Waits until nothing is left to be written and synced.
    async fn rests(&self) {
        let synced = || fs::read_to_string(self.directory().join("synced")).ok();
        let written = || {
            let files = fs::read_dir(self.directory().join("ledger")).ok()?;
            let paths = files.map(|it| it.unwrap().path());
            let last = paths.filter(|it| it.extension().is_some_and(|it| it == "jsonl")).max();
            Some(fs::metadata(last?).ok()?.len().to_string())
        };
        poll(|| Some(()).filter(|()| written().is_some() && synced() == written())).await;
    }

    fn start(&self) -> Gate {
        let environment = [
            ("LD_PRELOAD", self.shim.to_str().unwrap()),
            ("TEST_DISK", self.directory().to_str().unwrap()),
        ];
        Gate::start(self.directory(), &environment)
    }

    /// The disk becomes so.
    fn set(&self, what: &str) {
        File::create(self.directory().join(what)).unwrap();
    }

    /// And is so no longer.
    fn unset(&self, what: &str) {
        fs::remove_file(self.directory().join(what)).unwrap();
    }

    fn head(&self, name: &str, job: &str) -> String {
        delete_head(&self.world.issuer.token(name), job)
    }

    fn records(&self, kind: &str) -> Vec<Value> {
        let ledger = read_ledger(self.directory());
        ledger.into_iter().filter(|it| it["kind"] == kind).collect()
    }

    /// Waits until so many records of a kind are in the file, synced or not.
    async fn wrote(&self, kind: &str, count: usize) {
        poll(|| Some(()).filter(|()| self.records(kind).len() == count)).await;
    }

    fn verify(&self) {
        let verified = process::verify(self.directory());
        assert!(verified.status.success(), "{verified:?}");
    }
}

/// Attack 82.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_final_and_the_next_run_goes_on() {
    let machine = Machine::new("settle: {window: 1s}").await;
    let mut gate = machine.start();
    let address = gate.address().await;
    let denied = machine.head("carol", PROTECTED);
    assert_eq!(http::send(address, denied.as_bytes()).await.status, 403);
    machine.wrote("outcome", 1).await;
    machine.rests().await;
    machine.set("bad");
    let head = machine.head("alice", FINISHED);
    let answer = http::send(address, head.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("Lychgate.5032")));
    assert_eq!(gate.ended().await, Some(1));
    assert_eq!(machine.emulator().counts().delete, 0, "nothing was sent");

    machine.unset("bad");
    let mut gate = machine.start();
    let address = gate.address().await;
    machine.verify();
    assert_eq!(http::send(address, head.as_bytes()).await.status, 202);
    machine.wrote("outcome", 2).await;
    assert_eq!(gate.stop().await, Some(0));
    machine.verify();
}

/// A disk that takes longer than looked-up attributes may be old: that is said, and not that look-ups
/// fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_too_slow_is_told_as_that() {
    let machine = Machine::new("attributes: {max_age: 200ms}").await;
    let mut gate = machine.start();
    let (address, admin) = (gate.address().await, gate.admin().await);
    machine.set("slow");
    let answer = http::send(address, machine.head("alice", FINISHED).as_bytes()).await;
    assert_eq!(answer.code().as_deref(), Some("Lychgate.5032"), "{}", answer.message());
    assert!(answer.message().contains("disk is too slow"), "{}", answer.message());
    machine.unset("slow");
    assert_eq!(machine.emulator().counts().delete, 0, "nothing was sent");
    let metrics = http::send(admin, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("lychgate_ledger_failures_total{what=\"slow\"} 1"), "{metrics}");
    assert!(!metrics.contains("operation=\"delete\",status=\"none\""), "{metrics}");
    assert_eq!(http::send(address, machine.head("alice", FINISHED).as_bytes()).await.status, 202);
}

/// A disk that does not answer: the gate says that it is not ready, and ends when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_holds_up_no_stop() {
    let machine = Machine::new("settle: {window: 1s}").await;
    let mut gate = machine.start();
    let (address, admin) = (gate.address().await, gate.admin().await);
    let ready = async || http::send(admin, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await.status;
    assert_eq!(ready().await, 200);
    machine.set("held");
    let mut connection = Connection::open(address).await;
    connection.write(machine.head("alice", FINISHED).as_bytes()).await;
    {
        until("it says that it is ready", async || ready().await == 503).await;
        let start = Instant::now();
        assert_eq!(gate.stop().await, Some(1));
        // The drain of 5 s, what is given up, the ledger, the collector.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
    // The process may be gone before the answer is out.
    if let Some(answer) = connection.answer().await {
        assert_eq!(answer.code().as_deref(), Some("Lychgate.5036"));
    }
    assert_eq!(machine.emulator().counts().delete, 0, "nothing was sent");
    machine.unset("held");
}

/// What a run builds on is on the disk before: the directories and names of a new ledger before its
/// ID, the last segment of an earlier run before a record that follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_built_on_what_may_not_be_on_the_disk() {
    let machine = Machine::new("settle: {window: 1s}").await;
    let syncs = || fs::read_to_string(machine.directory().join("syncs")).unwrap_or_default();
    let root = machine.directory().file_name().unwrap().to_str().unwrap();
    let denied = machine.head("carol", PROTECTED);
    let first = "00000000000000000001.jsonl";
    for built in [&[root, "ledger", "ledger.lock", first] as &[&str], &[first, "ledger", "00000"]] {
        let _ = fs::remove_file(machine.directory().join("syncs"));
        let mut gate = machine.start();
        let address = gate.address().await;
        assert_eq!(http::send(address, denied.as_bytes()).await.status, 403);
        gate.kill();
        let order = syncs();
        let mut lines = order.lines();
        for name in built {
            assert!(lines.any(|it| it.starts_with(name)), "{name} is not in its place:\n{order}");
        }
    }
    machine.verify();
}

/// A power loss while segments are removed must not leave a gap, so each removal is on the disk before
/// the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_segment_is_gone_for_good_before_the_next_is_removed() {
    let machine = Machine::new("settle: {window: 1s}").await;
    let denied = machine.head("carol", PROTECTED);
    let run = async || {
        let mut gate = machine.start();
        let address = gate.address().await;
        assert_eq!(http::send(address, denied.as_bytes()).await.status, 403);
        gate.kill();
    };
    // Each run begins a segment.
    for _ in 0..3 {
        run().await;
    }
    let file = machine.directory().join("lychgate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("{directory: ledger}", "{directory: ledger, retain: 0s}"))
        .unwrap();
    let syncs = machine.directory().join("syncs");
    fs::remove_file(&syncs).unwrap();
    run().await;
    let order = fs::read_to_string(&syncs).unwrap();
    // Without the numbers, which depend on how far each run came.
    let mut lines = order.lines().map(|it| it.split(" 0").next().unwrap());
    lines.find(|it| *it == "removed").unwrap();
    assert_eq!(lines.take(3).collect::<Vec<_>>(), ["ledger", "removed", "ledger"], "{order}");
    machine.verify();
}

/// Records that nobody finds under the ledger's name are as good as not written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_taken_away_ends_the_gate() {
    let take_segment = |ledger: &Path| {
        let segment = ledger.join("00000000000000000001.jsonl");
        fs::remove_file(&segment).unwrap();
        fs::write(segment, "").unwrap();
    };
    let cut_segment = |ledger: &Path| {
        let segment = File::options().write(true).open(ledger.join("00000000000000000001.jsonl"));
        segment.unwrap().set_len(10).unwrap();
    };
    let take_directory = |ledger: &Path| {
        fs::rename(ledger, ledger.with_extension("away")).unwrap();
        fs::create_dir(ledger).unwrap();
    };
    let takes: [&dyn Fn(&Path); 3] = [&take_segment, &cut_segment, &take_directory];
    for (at, take) in takes.into_iter().enumerate() {
        let machine = Machine::new("settle: {window: 1s}").await;
        let mut gate = machine.start();
        let address = gate.address().await;
        let denied = machine.head("carol", PROTECTED);
        assert_eq!(http::send(address, denied.as_bytes()).await.status, 403);
        machine.wrote("outcome", 1).await;
        machine.rests().await;
        take(&machine.directory().join("ledger"));
        let head = machine.head("alice", FINISHED);
        let answer = http::send(address, head.as_bytes()).await;
        let expected = (503, Some("Lychgate.5032"));
        assert_eq!((answer.status, answer.code().as_deref()), expected, "{at}");
        assert_eq!(gate.ended().await, Some(1), "{at}");
        assert_eq!(machine.emulator().counts().delete, 0, "{at}: nothing was sent");
    }
}

/// Attack 68.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_waited_for_and_what_was_looked_up_grows_old() {
    for (max_age, look_ups) in [("60s", 1), ("100ms", 2)] {
        let machine = Machine::new(&format!("attributes: {{max_age: {max_age}}}")).await;
        let mut gate = machine.start();
        let address = gate.address().await;
        machine.rests().await;
        machine.set("held");
        let mut connection = Connection::open(address).await;
        connection.write(machine.head("alice", FINISHED).as_bytes()).await;
        machine.wrote("decision", 1).await;
        let old = Instant::now() + Duration::from_millis(200);
        tokio::time::sleep_until(old).await;
        let released = Clock::system().now();
        machine.unset("held");
        assert_eq!(connection.answer().await.unwrap().status, 202, "{max_age}");
        let requests = machine.emulator().requests();
        let deletes: Vec<_> =
            requests.iter().filter(|it| it.operation == Operation::Delete).collect();
        assert_eq!(deletes.len(), 1);
        assert!(released < deletes[0].time, "sent before the record was on stable storage");
        assert_eq!(machine.emulator().counts().details, look_ups, "{max_age}");
        machine.wrote("outcome", usize::try_from(look_ups).unwrap()).await;
        let endings: Vec<_> =
            machine.records("outcome").iter().map(|it| it["result"].to_string()).collect();
        let expected = [r#""not_sent""#, r#""sent""#];
        assert_eq!(endings, expected[2 - endings.len()..], "{max_age}");
        assert_eq!(gate.stop().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_while_the_decision_is_written_cancels_nothing() {
    let machine = Machine::new("settle: {window: 1s}").await;
    let mut gate = machine.start();
    let address = gate.address().await;
    machine.rests().await;
    machine.set("held");
    let mut connection = Connection::open(address).await;
    connection.write(machine.head("alice", FINISHED).as_bytes()).await;
    machine.wrote("decision", 1).await;
    drop(connection);
    machine.unset("held");
    machine.wrote("outcome", 1).await;
    assert_eq!(machine.records("outcome")[0]["result"], "sent");
    assert!(!machine.emulator().exists(FINISHED));
    assert_eq!(gate.stop().await, Some(0));
    assert_eq!(machine.records("decision").len(), 1);
    assert_eq!(machine.records("outcome").len(), 1);
}

/// A small file system of its own; nothing where it cannot be had.
struct Tmpfs(TempDir);

impl Tmpfs {
    #[expect(clippy::print_stdout, reason = "a skip is seen")]
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(directory.path());
        let mounted = mount.output();
        if mounted.as_ref().is_ok_and(|it| it.status.success()) {
            return Some(Self(directory));
        }
        assert!(!in_ci(), "tmpfs cannot be mounted: {mounted:?}");
        println!("SKIPPED: a full disk needs the right to mount");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[expect(clippy::disallowed_methods, reason = "what is missing is a failure there")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|it| it == "true")
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Attack 82.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_sends_nothing_until_there_is_room() {
    // Once the write fails, once the reserve is reached before.
    for reserve in ["0KiB", "512KiB"] {
        let Some(disk) = Tmpfs::mount("size=1m") else { return };
        let ledger = disk.path().join("ledger");
        let settings = format!("{{directory: '{}', reserve: {reserve}}}", ledger.display());
        let world = World::builder().config("{directory: ledger}", &settings).start().await;
        std::os::unix::fs::symlink(&ledger, world.directory.path().join("ledger")).unwrap();
        assert_eq!(world.delete("carol", PROTECTED).await.status, 403);
        world.outcomes(1).await;

        let filler = disk.path().join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[0; 1024]).is_ok() {}
        // What is left of the segment's last page takes a few records more.
        let mut denied = 1;
        while world.delete("carol", PROTECTED).await.status == 403 {
            denied += 1;
            assert!(denied < 20, "{reserve}: it is not full");
        }
        for name in ["alice", "carol", "alice"] {
            let answer = world.delete(name, FINISHED).await;
            let told = (answer.status, answer.code());
            assert_eq!(told, (503, Some("Lychgate.5032".to_owned())), "{reserve}");
        }
        assert_eq!(world.emulator.counts().delete, 0, "{reserve}");
        assert_eq!(world.ready().await, 503, "{reserve}");

        fs::remove_file(&filler).unwrap();
        drop(file);
        let what = format!("{reserve}: it does not recover");
        until(&what, async || world.ready().await == 200).await;
        assert_eq!(world.delete("alice", FINISHED).await.status, 202, "{reserve}");
        assert_eq!(world.outcomes(denied + 1).await.len(), denied + 1);
        let ledger = world.ledger();
        let numbers: Vec<_> = ledger.iter().map(|it| it["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{reserve}");
        assert_eq!(world.records("decision").len(), denied + 1, "{reserve}");
        let verified = process::verify(world.directory.path());
        assert!(verified.status.success(), "{verified:?}");
    }
}

/// Attack 82.
#[tokio::test]
async fn a_read_only_directory_is_told_at_the_start() {
    let Some(disk) = Tmpfs::mount("size=1m,ro") else { return };
    let settings = format!("{{directory: '{}/ledger'}}", disk.path().display());
    let prepared = World::builder()
        .config("{directory: ledger}", &settings)
        .config("{log: human}", "{log: json}")
        .prepare()
        .await;
    let mut gate = Gate::start(prepared.directory.path(), &[]);
    assert_eq!(gate.ended().await, Some(1));
    poll(|| Some(()).filter(|()| gate.log().contains("cannot be used"))).await;
}

/// Attack 53: the ledger's order is that of its numbers, whatever the clock says; what a clock
/// that is set back does to tokens is tested where tokens are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_neither_mixes_the_ledger_nor_stops_the_gate() {
    let start = Clock::system().now();
    let clock = Clock::manual(start);
    let world = World::builder()
        .clock(clock.clone())
        .policies(crate::front::attacks::ALLOW_ALL)
        .config(
            "- {address: '127.0.0.1:0'}",
            "- {address: '127.0.0.1:0', principal: {name: cleanup}}",
        )
        .config("timeouts:", "settle: {window: 300ms}\ntimeouts:")
        .start()
        .await;
    let delete = |job: &str| {
        let target = format!("/v2/{PROJECT}/training-jobs/{job}");
        let head = format!("DELETE {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        async move { http::send(world.gate, head.as_bytes()).await.status }
    };
    for hours in [0, -1, 0, 48, -1, 24 * 500, 0] {
        clock.set(start + SignedDuration::from_hours(hours));
        assert_eq!(delete(UNKNOWN).await, 400, "the cloud's answer, {hours}");
    }
    // A delete in doubt is settled by the time that passes, not by the time that is told.
    let reset = Fault::new(Effect::Reset { when: Reset::Arrived });
    world.emulator.fault(reset.at(Operation::Delete).times(1));
    assert_eq!(delete(FINISHED).await, 504);
    clock.set(start - SignedDuration::from_hours(1));
    let settlements = poll(|| Some(world.records("settlement")).filter(|it| !it.is_empty())).await;
    assert_eq!(settlements[0]["result"], "present");

    let ledger = world.ledger();
    let numbers: Vec<_> = ledger.iter().map(|it| it["seq"].as_u64().unwrap()).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>());
    let verified = process::verify(world.directory.path());
    assert!(verified.status.success(), "{verified:?}");
}
