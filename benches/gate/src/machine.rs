//! The machine: which cores are whose, and how much of them others took.

use rustix::thread::CpuSet;
use rustix::thread::sched_getaffinity;
use rustix::thread::sched_setaffinity;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// What /proc counts CPU time in; 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Who runs where.
pub(crate) struct Cores {
    /// All that this process may use, at least two.
    all: Vec<usize>,
}

impl Cores {
    /// Keeps this process, and what it starts without saying where, off the first core.
    pub(crate) fn assign() -> Self {
        let may = sched_getaffinity(None).unwrap();
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|it| may.is_set(*it)).collect();
        assert!(2 <= all.len(), "two cores are needed: one for who is measured, one for the load");
        let mut rest = CpuSet::new();
        // With enough of them, the second is for a gate with two cores.
        for core in all.iter().skip(if all.len() < 4 { 1 } else { 2 }) {
            rest.set(*core);
        }
        sched_setaffinity(None, &rest).unwrap();
        Self { all }
    }

    /// The first `count`, as `taskset` takes them.
    pub(crate) fn first(&self, count: usize) -> String {
        let names: Vec<String> = self.all.iter().take(count).map(ToString::to_string).collect();
        names.join(",")
    }

    /// Does `work` on the core of who is measured.
    pub(crate) fn on_the_first<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let mut first = CpuSet::new();
        first.set(self.all[0]);
        let pinned = || {
            sched_setaffinity(None, &first).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(pinned).join().unwrap())
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap();
        let name = info.lines().find_map(|it| it.strip_prefix("model name")).unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let (count, name) = (self.all.len(), name.trim_start_matches([' ', '\t', ':']));
        write!(f, "{count} cores, {name}, Linux {}", kernel.trim())?;
        if count < 4 {
            write!(f, "; a gate with two cores shares one with clients and cloud")?;
        }
        Ok(())
    }
}

/// CPU time since the machine's start.
pub(crate) struct Usage {
    at: Instant,
    /// Everybody's, and what the hypervisor gave to other machines.
    taken: Duration,
    /// This process's and its children's.
    own: Duration,
}

/// CPU time between two [`Usage`].
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// How many cores were busy with something else.
    pub(crate) others: f64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let own = cpu(std::process::id());
        let text = fs::read_to_string("/proc/stat").unwrap();
        let mut fields = text.split_ascii_whitespace().skip(1).map(|it| it.parse().unwrap());
        // user, nice, system, idle, iowait, irq, softirq, steal. Interrupts are nobody's.
        let ticks: Vec<u32> = fields.by_ref().take(8).collect();
        let [user, nice, system, _, _, _, _, steal] = ticks.try_into().unwrap();
        Self { at: Instant::now(), taken: TICK * (user + nice + system + steal), own }
    }

    pub(crate) fn since(&self, before: &Self) -> Spent {
        let wall = self.at - before.at;
        let others = (self.taken - before.taken).saturating_sub(self.own - before.own);
        Spent { wall, others: others.as_secs_f64() / wall.as_secs_f64() }
    }
}

/// The CPU time that the process `root` and its children had.
pub(crate) fn cpu(root: u32) -> Duration {
    // utime and stime.
    tree(root).iter().map(|it| TICK * (it.field(14) + it.field(15))).sum()
}

/// The CPU time of the threads of `process` that are called `name`.
pub(crate) fn thread_cpu(process: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let stats = threads.filter_map(|it| fs::read_to_string(it.ok()?.path().join("stat")).ok());
    let name = format!("({name})");
    let named = stats.filter(|it| it.contains(&name)).map(|it| Stat::parse(process, &it));
    named.map(|it| TICK * (it.field(14) + it.field(15))).sum()
}

/// The resident memory of the process `root` and its children, in MB.
pub(crate) fn memory_mb(root: u32) -> f64 {
    let kib = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok());
        kib.unwrap_or(0.0)
    };
    tree(root).iter().map(|it| kib(it.pid)).sum::<f64>() * 1024.0 / 1e6
}

/// What /proc says of a process.
struct Stat {
    pid: u32,
    /// From the third field on, which follows the name in parentheses.
    rest: Vec<String>,
}

impl Stat {
    fn parse(pid: u32, text: &str) -> Self {
        let (_, rest) = text.rsplit_once(") ").unwrap();
        Self { pid, rest: rest.split_ascii_whitespace().map(str::to_owned).collect() }
    }

    /// By its number in proc(5).
    fn field(&self, number: usize) -> u32 {
        self.rest.get(number - 3).and_then(|it| it.parse().ok()).unwrap_or(0)
    }
}

fn tree(root: u32) -> Vec<Stat> {
    let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
    let mut res = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        // It may be gone by now.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let stat = Stat::parse(pid, &text);
        if pid == root {
            res.push(stat);
        } else {
            children.entry(stat.field(4)).or_default().push(stat);
        }
    }
    let mut next = 0;
    while let Some(parent) = res.get(next).map(|it| it.pid) {
        res.append(&mut children.remove(&parent).unwrap_or_default());
        next += 1;
    }
    res
}
