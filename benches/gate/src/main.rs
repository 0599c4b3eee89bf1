//! What a judged, recorded and signed delete costs beside a blind pass through nginx, haproxy and
//! bare hyper: `.ci/nightly bench`, or `cargo run --release -- [--quick] BINARY` here.
//!
//! Everything runs on loopback: the proxy that is measured on one core, the clients and an nginx
//! that plays the cloud on the others. The contestants take turns, several rounds long, because a
//! machine's mood changes; what is printed is the median of the rounds, and ratios are made within
//! each round. docs/performance.md has figures and explains them.

mod contestant;
mod files;
mod load;
mod machine;
mod pass_through;

use contestant::Contestant;
use contestant::Kind;
use files::Files;
use files::Gate;
use load::Load;
use machine::Cores;
use machine::Usage;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

/// How often each row is measured.
const ROUNDS: usize = 5;

/// Of a measurement with as many requests as go through, after a quarter of it to warm up.
const CLOSED: Duration = Duration::from_millis(2000);

/// Of a measurement at [`RATE`].
const OPEN: Duration = Duration::from_millis(2500);

/// Requests per second, for the latencies.
const RATE: u32 = 1000;

/// Keep-alive connections of the clients, each with a request under way.
const CONNECTIONS: usize = 32;

/// The same, where the growth of their cost is shown.
const MANY: usize = 1_000;

/// The share of one core that others may take before a figure is marked.
const OTHERS_MAX: f64 = 0.05;

/// The row whose throughput is compared with one core's.
const TWO_CORES: &str = "… two cores";

/// One row of the table.
struct Row {
    name: &'static str,
    kind: Kind,
    gate: Gate,
    connections: usize,
    /// How many requests are under way on them.
    at_once: usize,
    /// The latencies at [`RATE`] are measured too.
    open: bool,
    /// Whose cost this one's is compared with.
    beside: &'static str,
    /// Whose cost is taken off before: what is compared is what it adds.
    beyond: Option<&'static str>,
    /// The most that it should cost of that.
    aim: Option<f64>,
}

/// What a row measured in one round.
struct Figures {
    cpu_us: f64,
    /// The part of it in the ledger's thread, of which there is one.
    ledger_us: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    idle_mb: f64,
    ready_ms: f64,
    /// What an append and its sync take on the core of who is measured.
    sync_ms: f64,
    /// And on one of the others: a disk interrupts only some cores, and the rest it must wake.
    sync_elsewhere_ms: f64,
    others: f64,
}

fn rows() -> Vec<Row> {
    let row = |name, kind, beside, aim| Row {
        name,
        kind,
        gate: Gate::default(),
        connections: CONNECTIONS,
        at_once: CONNECTIONS,
        open: true,
        beside,
        beyond: None,
        aim,
    };
    let gate = |name, beside, aim, gate| Row { gate, ..row(name, Kind::Gate, beside, aim) };
    // What they cost a proxy that only passes on.
    let many = |name, kind, beside| Row {
        connections: MANY,
        at_once: MANY,
        open: false,
        ..row(name, kind, beside, None)
    };
    let grown = |name, aim, it| Row { open: false, ..gate(name, "gate, tmpfs", aim, it) };
    let looks_up = |name, beyond, look_ups| Row {
        beyond: Some(beyond),
        ..gate(name, "nginx, blind", Some(1.2), Gate { look_ups, ..Gate::default() })
    };
    vec![
        row("nginx, blind", Kind::Nginx, "nginx, blind", None),
        row("haproxy, blind", Kind::Haproxy, "nginx, blind", None),
        row("hyper, blind", Kind::Hyper, "nginx, blind", None),
        gate("gate, tmpfs", "nginx, blind", Some(2.5), Gate::default()),
        gate("gate, disk", "nginx, blind", Some(3.0), Gate { disk: true, ..Gate::default() }),
        looks_up("… one look-up", "gate, tmpfs", 1),
        looks_up("… two look-ups", "… one look-up", 2),
        Row {
            beyond: Some("… one look-up"),
            ..gate(
                "… and a tombstone",
                "nginx, blind",
                None,
                Gate { look_ups: 1, tombstones: true, ..Gate::default() },
            )
        },
        grown("… 10 000 policies", Some(1.2), Gate { policies: 10_000, ..Gate::default() }),
        grown("… 1 000 principals", Some(1.2), Gate { principals: 1_000, ..Gate::default() }),
        Row { connections: MANY, ..grown("… 1 000 connections", Some(1.2), Gate::default()) },
        Row { aim: Some(1.2), ..many("… 1 000 at once", Kind::Gate, "gate, tmpfs") },
        many("nginx, 1 000 at once", Kind::Nginx, "nginx, blind"),
        many("hyper, 1 000 at once", Kind::Hyper, "hyper, blind"),
        grown(TWO_CORES, None, Gate { cores: 2, ..Gate::default() }),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (binary, rounds) = match *arguments {
        [pass_through::ARGUMENT, listen, cloud] => return pass_through::run(listen, cloud),
        ["--quick", binary] => (binary, 1),
        [binary] => (binary, ROUNDS),
        _ => {
            eprintln!("usage: lychgate-bench [--quick] BINARY");
            return ExitCode::from(64);
        }
    };
    if let Err(message) = contestant::ports_are_free() {
        eprintln!("gate: {message}");
        return ExitCode::FAILURE;
    }
    let started = Instant::now();
    let cores = Cores::assign();
    println!("{cores}");
    let files = Files::new(binary);
    let _cloud = contestant::cloud(&files);
    let rows = rows();
    let mut figures: Vec<Vec<Figures>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let measured = measure(&rows[index], &files, &cores);
            figures[index].push(measured);
        }
    }
    report(&rows, &figures);
    memory(&files, &cores);
    println!("all of it took {} s", started.elapsed().as_secs());
    ExitCode::SUCCESS
}

fn measure(row: &Row, files: &Files, cores: &Cores) -> Figures {
    let [sync_ms, sync_elsewhere_ms] = if row.gate.disk {
        [cores.on_the_first(|| files.sync_ms(RATE)), files.sync_ms(RATE)]
    } else {
        [0.0; 2]
    };
    let contestant = Contestant::start(row.kind, &row.gate, files, cores);
    let idle_mb = contestant.memory_mb();
    let load = Load {
        heads: files.heads(row.gate.principals, row.gate.principals),
        connections: row.connections,
        at_once: row.at_once,
    };
    let (mut cpu_us, mut ledger_us, mut per_second, mut others) = (0.0, 0.0, 0.0, 0.0);
    load.closed(CLOSED, |answers| {
        let before = (answers(), Usage::now(), contestant.cpu(), contestant.ledger_cpu());
        std::thread::sleep(CLOSED);
        let after = (answers(), Usage::now(), contestant.cpu(), contestant.ledger_cpu());
        let requests = (after.0 - before.0) as f64;
        let spent = after.1.since(&before.1);
        cpu_us = (after.2 - before.2).as_secs_f64() * 1e6 / requests;
        ledger_us = (after.3 - before.3).as_secs_f64() * 1e6 / requests;
        per_second = requests / spent.wall.as_secs_f64();
        others = spent.others;
    });
    let times = if row.open { load.open(RATE, OPEN) } else { Vec::new() };
    let [p50_ms, p99_ms] = [50, 99].map(|it| percentile(&times, it));
    Figures {
        cpu_us,
        ledger_us,
        per_second,
        p50_ms,
        p99_ms,
        idle_mb,
        ready_ms: contestant.ready_ms(),
        sync_ms,
        sync_elsewhere_ms,
        others,
    }
}

/// Of sorted times, in milliseconds; 0 if there are none.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).map_or(0.0, |it| it.as_secs_f64() * 1e3)
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn report(rows: &[Row], figures: &[Vec<Figures>]) {
    println!(
        "{:<22} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8}  {}",
        "", "CPU µs", "requests/s", "p50 ms", "p99 ms", "idle MB", "ready ms", "CPU beside"
    );
    let of_row = |name: &str| &figures[rows.iter().position(|it| it.name == name).unwrap()];
    let mut busy = false;
    for (row, own) in rows.iter().zip(figures) {
        let of = |what: fn(&Figures) -> f64| median(own.iter().map(what));
        let ratio = |round: usize| {
            let beyond = row.beyond.map_or(0.0, |it| of_row(it)[round].cpu_us);
            (own[round].cpu_us - beyond) / of_row(row.beside)[round].cpu_us
        };
        let ratio = median((0..own.len()).map(ratio));
        let others = own.iter().map(|it| it.others).fold(0.0, f64::max);
        busy |= OTHERS_MAX < others;
        let time = |ms: f64| if row.open { format!("{ms:.2}") } else { "-".to_owned() };
        println!(
            "{:<22} {:>8.1} {:>10.0} {:>8} {:>8} {:>8.1} {:>8.0}  {}{ratio:.2} × {}{}{}",
            row.name,
            of(|it| it.cpu_us),
            of(|it| it.per_second),
            time(of(|it| it.p50_ms)),
            time(of(|it| it.p99_ms)),
            of(|it| it.idle_mb),
            of(|it| it.ready_ms),
            if row.beyond.is_some() { "adds " } else { "" },
            row.beside,
            row.aim.map_or(String::new(), |it| format!(" ({})", judged(ratio <= it, it))),
            if OTHERS_MAX < others {
                format!(" [others {others:.2} cores]")
            } else {
                String::new()
            },
        );
    }
    aims(&of_row);
    if busy {
        println!("the machine was too busy: rows with [others] say little; run it again");
    }
}

/// What is asked for beside the CPU time of a row.
fn aims<'a>(of_row: &impl Fn(&str) -> &'a Vec<Figures>) {
    let of = |row: &str, what: fn(&Figures) -> f64| median(of_row(row).iter().map(what));
    let [idle, ready] = [of("gate, tmpfs", |it| it.idle_mb), of("gate, tmpfs", |it| it.ready_ms)];
    println!("idle: {idle:.1} MB ({})", judged(idle <= 15.0, 15.0));
    println!("ready after {ready:.0} ms ({})", judged(ready <= 100.0, 100.0));
    let (p50, nginx) = (of("gate, disk", |it| it.p50_ms), of("nginx, blind", |it| it.p50_ms));
    let sync = of("gate, disk", |it| it.sync_ms);
    let elsewhere = of("gate, disk", |it| it.sync_elsewhere_ms);
    let more = p50 - nginx - sync;
    println!(
        "p50 on disk: nginx's {nginx:.2} ms + {sync:.2} ms for an append and fdatasync on the gate's core {more:+.2} ms ({}); on another core the sync takes {elsewhere:.2} ms",
        judged(more <= 0.1, 0.1)
    );
    let [one, two] = ["gate, tmpfs", TWO_CORES].map(|it| of(it, |it| it.cpu_us));
    let gain = 2.0 * one / two;
    println!(
        "two cores: {gain:.2} times the requests, by the CPU time of each (aim: at least 1.7, {})",
        word(1.7 <= gain)
    );
    let ledger = of(TWO_CORES, |it| it.ledger_us);
    println!(
        "any cores: at most {:.0} requests/s, the ledger's thread takes {ledger:.1} µs",
        1e6 / ledger
    );
}

fn judged(holds: bool, aim: f64) -> String {
    format!("aim: at most {aim}, {}", word(holds))
}

fn word(holds: bool) -> &'static str {
    if holds { "holds" } else { "missed" }
}

/// What many callers, and many tokens of one, leave in memory.
fn memory(files: &Files, cores: &Cores) {
    for principals in [1, files::TOKENS_MAX] {
        let gate = Gate { principals, ..Gate::default() };
        let contestant = Contestant::start(Kind::Gate, &gate, files, cores);
        let idle = contestant.memory_mb();
        let heads = files.heads(files::TOKENS_MAX, principals);
        Load { heads, connections: CONNECTIONS, at_once: CONNECTIONS }.each_once();
        let after = contestant.memory_mb();
        println!(
            "memory: {idle:.1} MB idle, {after:.1} MB after {} tokens of {principals} principals",
            files::TOKENS_MAX
        );
    }
}
