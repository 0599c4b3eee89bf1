//! CPU time of one call: thread CPU time over batches, the best of many. What else the machine does
//! makes a batch slower and never faster, so the best is what the code costs.

use rustix::time::{ClockId, clock_gettime};

/// Batches of each measurement.
const BATCHES: u32 = 60;

/// A batch takes at least as long, so that reading the clock does not count.
const BATCH_NS: u64 = 2_000_000;

/// The most calls in a batch.
const CALLS_MAX: u64 = 1 << 20;

/// Nanoseconds of CPU time that one call takes.
pub(crate) fn per_call(mut call: impl FnMut()) -> f64 {
    let mut calls = 1;
    while batch(calls, &mut call) < BATCH_NS && calls < CALLS_MAX {
        calls *= 2;
    }
    let best = (0..BATCHES).map(|_| batch(calls, &mut call)).min().unwrap_or_default();
    best as f64 / calls as f64
}

fn batch(calls: u64, call: &mut impl FnMut()) -> u64 {
    let start = now();
    for _ in 0..calls {
        call();
    }
    now() - start
}

/// Nanoseconds of CPU time that this thread has had.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
