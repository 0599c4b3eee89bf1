//! How often one principal may ask. What goes beyond is refused before anything is recorded, so
//! that one caller cannot fill the ledger or delay the others; how much was refused is counted.

use jiff::Timestamp;
use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most principals that are told apart at once; the others share one bucket. A name has at most
/// 256 bytes beside its source, so these take a few MiB.
pub const PRINCIPALS_MAX: usize = 16 * 1024;

/// The name under which the requests of the others are counted. No identity source can be called
/// this.
pub const OTHERS: &str = "*";

/// How often a principal may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second, in the long run; at least 1.
    pub rate: u32,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { rate: 20, burst: 100 }
    }
}

/// One token bucket per principal.
#[derive(Debug)]
pub(super) struct Buckets {
    /// What one request costs.
    cost: Duration,
    /// The most that may be owed when a request comes.
    credit: Duration,
    /// See [`PRINCIPALS_MAX`].
    principals_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<String, Bucket>,
    others: Bucket,
    /// A sweep for buckets that can be dropped is expensive; the next one comes no sooner than
    /// this.
    next_sweep: Option<Instant>,
}

/// A bucket as the time at which it will be full again: each request puts that off by its cost.
#[derive(Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
    refused: Option<Refused>,
}

/// Requests of one principal that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The first of them.
    pub(super) since: Timestamp,
    pub(super) count: u64,
}

impl Buckets {
    pub(super) fn new(rate: Rate, principals_max: usize) -> Self {
        let cost = Duration::from_secs(1) / rate.rate.max(1);
        let credit = cost.saturating_mul(rate.burst.saturating_sub(1));
        Self { cost, credit, principals_max, state: Mutex::default() }
    }

    /// Whether `principal` may ask now for `count` deletes; a refusal is counted. More than a burst
    /// is admitted when nothing is owed.
    pub(super) fn admit(&self, principal: &str, count: u32, now: Instant, time: Timestamp) -> bool {
        let mut state = self.lock();
        if !state.buckets.contains_key(principal) && self.principals_max <= state.buckets.len() {
            state.make_room(now, self.credit / 2);
        }
        let State { buckets, others, .. } = &mut *state;
        let has_room = buckets.len() < self.principals_max;
        let bucket = match buckets.get_mut(principal) {
            Some(bucket) => bucket,
            None if has_room => buckets.entry(principal.to_owned()).or_default(),
            None => others,
        };
        let full_at = bucket.full_at.map_or(now, |it| it.max(now));
        let more = self.cost.saturating_mul(count.saturating_sub(1)).min(self.credit);
        if full_at.duration_since(now) + more <= self.credit {
            bucket.full_at = Some(full_at + self.cost.saturating_mul(count));
            return true;
        }
        let refused = bucket.refused.get_or_insert(Refused { since: time, count: 0 });
        refused.count = refused.count.saturating_add(1);
        false
    }

    /// The refusals since the last call. Drops the buckets that are full.
    pub(super) fn take_refused(&self, now: Instant) -> Vec<(String, Refused)> {
        let mut state = self.lock();
        let others = mem::take(&mut state.others.refused).map(|it| (OTHERS.to_owned(), it));
        let refused = state.buckets.iter_mut().filter_map(|(principal, bucket)| {
            Some((principal.clone(), mem::take(&mut bucket.refused)?))
        });
        let res = refused.chain(others).collect();
        state.sweep(now);
        res
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sweeps, at most once in `pause`.
    fn make_room(&mut self, now: Instant, pause: Duration) {
        if self.next_sweep.is_none_or(|it| it <= now) {
            self.sweep(now);
            self.next_sweep = Some(now + pause);
        }
    }

    /// Drops the buckets that are full: a new one would be no different.
    fn sweep(&mut self, now: Instant) {
        self.buckets.retain(|_, it| it.refused.is_some() || it.full_at.is_some_and(|it| now < it));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-01-15T12:00:00Z";

    /// Each row is a time in milliseconds and how many of how many requests are then admitted.
    #[track_caller]
    fn check(rate: u32, burst: u32, rows: &[(u64, u32, u32)]) {
        let buckets = Buckets::new(Rate { rate, burst }, 1);
        let start = Instant::now();
        for &(millis, asked, expected) in rows {
            let now = start + Duration::from_millis(millis);
            let admit = || u32::from(buckets.admit("corp/a", 1, now, Timestamp::UNIX_EPOCH));
            let admitted: u32 = (0..asked).map(|_| admit()).sum();
            assert_eq!(admitted, expected, "{rate}/s, {burst}, at {millis} ms");
        }
    }

    #[test]
    fn a_bucket_holds_a_burst_and_fills_at_its_rate() {
        check(
            20,
            100,
            &[(0, 150, 100), (49, 1, 0), (50, 2, 1), (1050, 50, 20), (60_000, 200, 100)],
        );
        check(1, 1, &[(0, 2, 1), (999, 1, 0), (1000, 2, 1), (5000, 2, 1)]);
        check(1000, 1, &[(0, 5, 1), (1, 5, 1), (2, 5, 1)]);
        // Whoever keeps asking is not refused for longer because of that.
        check(10, 2, &[(0, 1000, 2), (100, 1000, 1), (200, 1000, 1), (400, 1000, 2)]);
        // Even a setting that the configuration refuses divides nothing by zero.
        check(0, 0, &[(0, 3, 1), (1000, 3, 1)]);
    }

    #[test]
    fn a_batch_costs_as_much_as_its_jobs() {
        let buckets = Buckets::new(Rate { rate: 10, burst: 50 }, 1);
        let start = Instant::now();
        for (millis, count, expected) in [
            (0, 30, true),
            (0, 21, false),
            (0, 20, true),
            (0, 1, false),
            // More than a burst is admitted only while nothing is owed, and is owed then.
            (4900, 100, false),
            (5000, 100, true),
            (14_900, 50, false),
            (15_000, 50, true),
        ] {
            let now = start + Duration::from_millis(millis);
            let admitted = buckets.admit("corp/a", count, now, Timestamp::UNIX_EPOCH);
            assert_eq!(admitted, expected, "{count} at {millis} ms");
        }
    }

    #[test]
    fn what_is_refused_is_counted_once() {
        let buckets = Buckets::new(Rate { rate: 1, burst: 1 }, 16);
        let noon: Timestamp = NOON.parse().unwrap();
        let now = Instant::now();
        for (principal, second) in [("corp/a", 0), ("corp/b", 1), ("corp/a", 2), ("corp/a", 3)] {
            let time = noon + Duration::from_secs(second);
            buckets.admit(principal, 1, now, time);
        }
        let refused =
            vec![("corp/a".to_owned(), Refused { since: noon + Duration::from_secs(2), count: 2 })];
        assert_eq!(buckets.take_refused(now), refused);
        assert_eq!(buckets.take_refused(now), []);
    }

    #[test]
    fn memory_is_bounded_and_no_principal_pays_for_it_alone() {
        let buckets = Buckets::new(Rate { rate: 1, burst: 2 }, 3);
        let now = Instant::now();
        let admit = |name: &str, seconds| {
            let now = now + Duration::from_secs(seconds);
            buckets.admit(name, 1, now, Timestamp::UNIX_EPOCH)
        };
        let known = || buckets.lock().buckets.len();
        for name in ["corp/a", "corp/b", "corp/c"] {
            assert!(admit(name, 0));
        }
        // No room: the next ones share a bucket, and those who have one keep it.
        for (name, expected) in
            [("corp/d", true), ("corp/e", true), ("corp/f", false), ("corp/a", true)]
        {
            assert_eq!(admit(name, 0), expected, "{name}");
        }
        assert_eq!(known(), 3);
        let others = buckets.take_refused(now);
        assert_eq!(
            others,
            [(OTHERS.to_owned(), Refused { since: Timestamp::UNIX_EPOCH, count: 1 })]
        );
        // Two seconds later every bucket is full again and given up for the new ones.
        assert!(admit("corp/g", 2));
        assert_eq!(known(), 1);
        // A principal whose refusals are not recorded yet is not forgotten.
        assert!(admit("corp/g", 2) && !admit("corp/g", 2));
        assert_eq!(buckets.take_refused(now + Duration::from_secs(9)).len(), 1);
        assert_eq!(known(), 0);
    }
}
