//! Budgets however often the gate is killed and its clock is set: what the cloud got in any window,
//! by its own count, and what the gate knows after each start, by a script that has only the ledger.

use super::account::{self, Figures};
use super::{
    Clients, ROUNDS_PER_LEDGER, Random, State, builder, has_records, setting, settle, windows,
};
use crate::support::process::{self, Gate};
use crate::support::world::read_ledger;

use jiff::Timestamp;
use lychgate::clock::Clock;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::sleep;

/// How many deletes of one principal in how many seconds.
const QUICK: (usize, u64) = (6, 1);

/// So many that nobody gets there, and so long that none leaves.
const SLOW: (usize, u64) = (50_000, 3600);

const ROUNDS: u64 = 20;

/// The longest life of a gate that listens, in milliseconds.
const LIFE_MS: u64 = 900;

/// How far the clock is set at once, in milliseconds. Back it is less, or little time would pass for
/// the gate, and few windows would fill.
const JUMP_MS: u64 = 1500;
const BACK_MS: u64 = 300;

/// How a trial sets the clock.
#[derive(Clone, Copy, PartialEq)]
enum Clocks {
    /// Back only: then no window is too short, by anybody's clock.
    Back,
    /// Any way: a clock that is set forward makes the past look older, so only what the gate knows
    /// is compared.
    Anyhow,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_hold_however_often_the_gate_is_killed() {
    let rounds = setting("CRASH_ROUNDS").unwrap_or(ROUNDS);
    let now = Clock::system().now().as_nanosecond();
    let seed = setting("CRASH_SEED").unwrap_or(now.unsigned_abs() as u64);
    println!("budgets: {rounds} rounds, CRASH_SEED={seed}");
    let mut random = Random(seed);
    let mut figures = Figures::default();
    let (mut left, mut compared, mut full) = (rounds, 0, 0);
    let mut clocks = Clocks::Back;
    while 0 < left {
        let rounds = left.min(ROUNDS_PER_LEDGER / 2);
        left -= rounds;
        let (starts, windows) = trial(rounds, clocks, &mut random, &mut figures).await;
        compared += starts;
        full += windows;
        clocks = if clocks == Clocks::Back { Clocks::Anyhow } else { Clocks::Back };
        println!("budgets: {compared} starts compared, {full} full windows, {figures:?}");
    }
    assert!(rounds < ROUNDS || (0 < compared && 0 < full), "too little happened");
}

/// How many starts were compared, and how many windows were full.
async fn trial(
    rounds: u64,
    clocks: Clocks,
    random: &mut Random,
    figures: &mut Figures,
) -> (u64, usize) {
    let budgets = format!(
        "budgets:
  - {{name: quick, per: principal, deletes: {}, within: {}s}}
  - {{name: slow, per: project, deletes: {}, within: {}s}}
",
        QUICK.0, QUICK.1, SLOW.0, SLOW.1
    );
    let cloud = builder()
        .file("policies/budgets.yaml", &budgets)
        .config("{directory: ledger}", "{directory: ledger, segment: 1MiB}")
        .prepare()
        .await;
    let directory = cloud.directory.path().to_owned();
    let mut time = Time::new(&directory, clocks);
    let clients = Clients::start(&cloud.emulator.url(), &cloud.issuer, random);
    let mut compared = 0;
    for round in 1..=rounds {
        cloud.emulator.clear_faults();
        time.jump(random);
        let before = snapshot(&directory, round);
        let mut gate = time.start(&directory);
        let address = gate.address().await;
        if let Some(before) = before {
            compare_start(&gate, &before);
            compared += 1;
        }
        if let Some(fault) = random.fault() {
            cloud.emulator.fault(fault);
        }
        clients.state.send_replace(State::Up { round, address });
        sleep(Duration::from_millis(random.below(LIFE_MS))).await;
        if random.below(3) == 0 {
            time.jump(random);
            sleep(Duration::from_millis(random.below(LIFE_MS / 2))).await;
        }
        gate.kill();
        figures.kills += 1;
    }
    cloud.emulator.clear_faults();
    let (told, untold) = clients.finish().await;
    let mut gate = time.start(&directory);
    gate.address().await;
    settle(gate, &directory).await;
    figures.untold += untold;
    match clocks {
        Clocks::Back => {
            account::compare(&told, &cloud.emulator, &read_ledger(&directory), figures);
            (compared, windows(&cloud.emulator, QUICK.0, Duration::from_secs(QUICK.1)).1)
        }
        Clocks::Anyhow => (compared, 0),
    }
}

/// The clock of the gate.
struct Time {
    clocks: Clocks,
    file: std::path::PathBuf,
    shim: std::path::PathBuf,
    ahead_ms: i64,
}

impl Time {
    fn new(directory: &Path, clocks: Clocks) -> Self {
        let shim = process::preload(directory, "clock", "tests/it/gate/crash/clock.c");
        let file = directory.join("clock");
        fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        Self { clocks, file, shim, ahead_ms: 0 }
    }

    fn jump(&mut self, random: &mut Random) {
        let below = |random: &mut Random, end| i64::try_from(random.below(end)).unwrap();
        self.ahead_ms = match self.clocks {
            Clocks::Back => self.ahead_ms - below(random, BACK_MS),
            Clocks::Anyhow => below(random, 2 * JUMP_MS) - JUMP_MS as i64,
        };
        // In place, as the process has mapped it.
        let file = fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &self.ahead_ms.to_ne_bytes(), 0).unwrap();
    }

    fn start(&self, directory: &Path) -> Gate {
        let [shim, file] = [&self.shim, &self.file].map(|it| it.to_str().unwrap());
        Gate::start(directory, &[("LD_PRELOAD", shim), ("CLOCK_FILE", file)])
    }
}

/// The ledger as a kill left it; nothing before its first record.
fn snapshot(directory: &Path, round: u64) -> Option<std::path::PathBuf> {
    let to = directory.join(format!("before-{round}"));
    has_records(directory).then(|| {
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(directory.join("ledger")).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        to
    })
}

/// What `gate` knows after its start is what the ledger `before` says.
fn compare_start(gate: &Gate, before: &Path) {
    let known = gate.log().lines().find_map(|it| {
        let line: Value = serde_json::from_str(it).ok()?;
        (line["message"] == "the budgets have counted the past").then_some(line)
    });
    let known = known.unwrap_or_else(|| panic!("it knows no past: {}", gate.log()));
    let at = &known["now"];
    let at = at.as_str().unwrap();
    let mut told = script(before, at);
    // Where the clock was set back, `audit budgets` as of a time leaves out what is dated later, and the
    // gate does not.
    if !is_any_later(before, at) {
        let audited = audit(before, at);
        if let Some(counted) = told {
            assert_eq!(audited, counted, "at {at}, of {}", before.display());
        }
        told = Some(audited);
    }
    let Some(told) = told else { return };
    // Nothing leaves the slow one between `now` and the line.
    let used = told["slow"].as_object().into_iter().flat_map(Map::values);
    let used = used.filter_map(Value::as_u64).max().unwrap_or_default();
    let fullest = known["fullest"].as_str().unwrap();
    assert!(fullest.ends_with(&format!(", slow {used}/{}", SLOW.0)), "{fullest}, not {used}");
}

fn is_any_later(ledger: &Path, at: &str) -> bool {
    let at: Timestamp = at.parse().unwrap();
    let segments = fs::read_dir(ledger).unwrap().map(|it| it.unwrap().path());
    let texts = segments
        .filter(|it| it.extension().is_some_and(|it| it == "jsonl"))
        .map(|it| String::from_utf8_lossy(&fs::read(it).unwrap()).into_owned());
    texts.into_iter().any(|text| {
        let records = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let mut times =
            records.map(|it| it["time"].as_str().unwrap().parse::<Timestamp>().unwrap());
        times.any(|it| at < it)
    })
}

/// What `audit budgets` counts.
fn audit(ledger: &Path, at: &str) -> Value {
    let audit = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["audit", "budgets", "--format", "json", "--at", at])
        .arg(ledger)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let mut told = json!({"quick": {}, "slow": {}});
    for it in report["counters"].as_array().unwrap() {
        if let Some(key) = it["key"].as_str() {
            told[it["budget"].as_str().unwrap()][key] = it["used"].clone();
        }
    }
    told
}

/// What the script counts, where there is a Python to run it.
#[expect(clippy::print_stdout, reason = "a skip is to be seen")]
fn script(ledger: &Path, at: &str) -> Option<Value> {
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/budgets/windows.py"))
        .args(["--at", at, &format!("quick={}", QUICK.1), &format!("slow={}", SLOW.1)])
        .arg(ledger)
        .output();
    let Ok(output) = output else {
        println!("SKIPPED: no python3 counts what the ledger says");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
