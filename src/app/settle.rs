//! Finds out afterwards how deletes ended whose outcome nobody saw: looks their jobs up, and
//! records settlements, which say what was seen and never who caused it.
//!
//! It runs beside the requests and never holds them up: readiness does not wait for it, its
//! look-ups are few, and what it has not settled when the gate stops the next start hands out again.

use crate::attributes::{Presence, Resolver};
use crate::budget::Budgets;
use crate::clock::Clock;
use crate::ledger::{self, Ending, Ledger, PENDING_MAX, Pending};
use crate::metrics::Metrics;
use crate::route::{self, JobIds};
use crate::telemetry::Tracer;
use crate::upstream::Upstreams;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The pause between the starts of two look-ups while requests are at work: at most five a second.
const PACE: Duration = Duration::from_millis(200);

/// The same while none is.
const PACE_ALONE: Duration = Duration::from_millis(40);

/// The most look-ups at once, so that one cloud that answers slowly does not hold up the others for
/// long.
const LOOK_UPS_MAX: usize = 32;

/// After how long a job that is still there is looked up again; doubled each time.
const AGAIN: Duration = Duration::from_secs(2);

/// The longest pause between two look-ups of a job, and the pause after a look-up that told
/// nothing.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What settles decisions.
#[derive(Debug)]
pub(super) struct Settler {
    pub(super) pending: mpsc::Receiver<Pending>,
    pub(super) look_up: LookUp,
    pub(super) ledger: Ledger,
    pub(super) budgets: Budgets,
    pub(super) metrics: Metrics,
    /// How long a job that is still there is looked up before it counts as not deleted.
    pub(super) window: Duration,
}

/// How jobs are looked up.
#[derive(Debug)]
pub(super) struct LookUp {
    pub(super) upstreams: Upstreams,
    /// A tracer without a collector: settlements are in the ledger, not in traces.
    pub(super) tracer: Tracer,
    pub(super) resolver: Resolver,
    /// As many permits as requests may be worked on at once, and how many these are.
    pub(super) slots: (Arc<Semaphore>, usize),
}

/// A decision on its way to its settlement.
struct Open {
    pending: Pending,
    since: Instant,
    /// How often the job was found there.
    present: u32,
    /// The last look-up told nothing, which was logged.
    unseen: bool,
}

/// Decisions by the time of their next look-up, and by their numbers.
type Waiting = BTreeMap<(Instant, u64), Open>;

/// What a look-up of a job told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// There is no such job.
    Gone,
    /// Nothing that is certain.
    Nothing,
    /// It is there.
    Present,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Look(Duration),
    Settle(Ending),
}

impl Settler {
    /// Settles what is handed out, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { mut pending, look_up, ledger, budgets, metrics, window } = self;
        let to = (ledger, budgets);
        let mut waiting = Waiting::new();
        let mut looking = FuturesUnordered::new();
        let mut next = Instant::now();
        let mut left = 0;
        loop {
            let open = waiting.len() + looking.len();
            metrics.set_ledger_pending(open + pending.len() + left);
            let spare = spare(&waiting, open);
            let due = waiting.keys().next().map(|(due, _)| next.max(*due));
            let due = due.filter(|_| looking.len() < LOOK_UPS_MAX);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some((open, seen)) = looking.next() => {
                    if let Some((due, open)) = conclude(open, seen, &look_up.resolver.clock, window, &to) {
                        waiting.insert((due, open.pending.seq), open);
                    }
                }
                // What does not fit in waits in the channel, and so does whoever hands it out. But
                // what cannot be looked up gives way to what perhaps can.
                handed = pending.recv(), if open < PENDING_MAX || spare.is_some() => {
                    // The ledger's thread has ended: nothing can be recorded any more.
                    let Some(pending) = handed else { return };
                    if let Some(given_up) = spare.and_then(|it| waiting.remove(&it)) {
                        let Pending { seq, request_id, .. } = given_up.pending;
                        tracing::warn!(seq, request_id, "this decision is not settled yet; the next start goes on with it");
                        left += 1;
                    }
                    let since = Instant::now();
                    let seq = pending.seq;
                    waiting.insert((since, seq), Open { pending, since, present: 0, unseen: false });
                }
                () = sleep_until(due.unwrap_or(next)), if due.is_some() => {
                    if let Some((_, open)) = waiting.pop_first() {
                        next = Instant::now() + look_up.pace();
                        looking.push(async {
                            let seen = look_up.look(&open.pending).await;
                            (open, seen)
                        });
                    }
                }
            }
        }
    }
}

/// Which of the `waiting` gives its place to another decision, when so many as are `open` leave no
/// room: one that cannot be looked up.
fn spare(waiting: &Waiting, open: usize) -> Option<(Instant, u64)> {
    let mut waiting = waiting.iter().filter(|_| PENDING_MAX <= open);
    waiting.find(|(_, it)| it.unseen).map(|(at, _)| *at)
}

impl LookUp {
    /// Requests come first.
    fn pace(&self) -> Duration {
        let (slots, all) = &self.slots;
        if slots.available_permits() < *all { PACE } else { PACE_ALONE }
    }

    async fn look(&self, pending: &Pending) -> Seen {
        let Pending { upstream, job, .. } = pending;
        // Only the upstream that was asked to delete is sure to know the job.
        let upstream = self.upstreams.iter().find(|it| it.config().name == *upstream);
        // What an earlier run wrote was read from a disk, so it is parsed like a caller's.
        let (Some(upstream), Ok(_)) = (upstream, route::job(&job.path(), JobIds::Token)) else {
            return Seen::Nothing;
        };
        let trace = self.tracer.begin(&HeaderMap::new(), self.resolver.clock.now());
        match self.resolver.presence(upstream, job, &trace).await {
            Presence::Gone(_) => Seen::Gone,
            Presence::Present => Seen::Present,
            Presence::Unknown => Seen::Nothing,
        }
    }
}

/// Records the settlement of `open`, or says when to look it up again.
fn conclude(
    mut open: Open,
    seen: Seen,
    clock: &Clock,
    window: Duration,
    (ledger, budgets): &(Ledger, Budgets),
) -> Option<(Instant, Open)> {
    let Pending { seq, time, ref request_id, .. } = open.pending;
    // The wall clock also counts while no gate runs. It cannot be far off: the cloud refuses a
    // look-up that is signed with another time than its own.
    let age = Duration::try_from(clock.now().duration_since(time)).unwrap_or_default();
    match step(seen, open.present, age.max(open.since.elapsed()), window) {
        Step::Settle(ending) => {
            tracing::info!(seq, request_id, ?ending, "settled a decision without an outcome");
            budgets.settle(seq, ledger::unit_end(ending, None));
            ledger.settle(seq, ending);
            None
        }
        Step::Look(pause) => {
            if seen == Seen::Nothing && !open.unseen {
                tracing::warn!(
                    seq,
                    request_id,
                    "cannot look up how a delete ended; it is tried again"
                );
            }
            open.unseen = seen == Seen::Nothing;
            open.present += u32::from(seen == Seen::Present);
            Some((Instant::now() + pause, open))
        }
    }
}

/// What follows from `seen`, when the job was found there `present` times before and the decision
/// is `age` old.
fn step(seen: Seen, present: u32, age: Duration, window: Duration) -> Step {
    match seen {
        Seen::Gone => Step::Settle(Ending::Gone),
        Seen::Nothing => Step::Look(AGAIN_MAX),
        Seen::Present => match window.checked_sub(age).filter(|it| !it.is_zero()) {
            None => Step::Settle(Ending::Present),
            Some(left) => {
                let pause = AGAIN.saturating_mul(2_u32.saturating_pow(present));
                Step::Look(pause.min(AGAIN_MAX).min(left))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::PoolWords;
    use crate::policy::Job;
    use crate::telemetry::{Kept, LogConfig, TraceConfig};

    use jiff::{SignedDuration, Timestamp};
    use tokio::runtime::Handle;

    fn pending(seq: u64) -> Pending {
        Pending {
            seq,
            time: Timestamp::UNIX_EPOCH,
            request_id: String::new(),
            upstream: String::new(),
            job: Job::new("", "").into(),
        }
    }

    /// What many kills have left open is seen to fast while nothing else is at work, and gives way to
    /// requests.
    #[tokio::test(start_paused = true)]
    async fn requests_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let config = ledger::Config {
            directory: directory.path().to_owned(),
            reserve: 0,
            segment: 1 << 20,
            retain: SignedDuration::from_hours(24),
            checkpoints: None,
            ship: false,
            echo: false,
        };
        let (clock, metrics) = (Clock::system(), Metrics::new());
        let opened = ledger::open(&config, clock.clone(), &metrics).unwrap();
        let slots = Arc::new(Semaphore::new(2));
        let resolver = Resolver {
            words: PoolWords::default(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let tracer = Tracer::new(&TraceConfig::default(), &metrics, &Handle::current());
        let (sender, receiver) = mpsc::channel(PENDING_MAX);
        for seq in 0..441 {
            sender.try_send(pending(seq)).unwrap();
        }
        let settler = Settler {
            pending: receiver,
            look_up: LookUp {
                // Without the upstream that was asked to delete, a look-up tells nothing, at once.
                upstreams: Upstreams::new(Vec::new()),
                tracer: tracer.unwrap(),
                resolver,
                slots: (Arc::clone(&slots), 2),
            },
            ledger: opened.ledger.clone(),
            budgets: Budgets::standing(clock.now()),
            metrics,
            window: Duration::ZERO,
        };
        let log = Kept::new(&LogConfig::default(), &Clock::system());
        let requests = async {
            // The first look-ups of the decisions in 4 s while so many requests are at work.
            for (at_work, expected) in [(0, 100), (1, 20), (2, 20), (0, 100)] {
                let _at_work = slots.acquire_many(at_work).await.unwrap();
                tokio::time::sleep(Duration::from_secs(4)).await;
                let looked = log.take().matches("cannot look up how a delete ended").count();
                assert!(looked.abs_diff(expected) <= 6, "{looked} of {expected} with {at_work}");
            }
        };
        tokio::select! {
            () = settler.run(CancellationToken::new()) => panic!("nobody stopped it"),
            () = requests => (),
        }
        opened.thread.close().await.unwrap();
    }

    #[test]
    fn what_cannot_be_looked_up_gives_way_when_there_is_no_room() {
        let since = Instant::now();
        let open =
            |seq, unseen| ((since, seq), Open { pending: pending(seq), since, present: 0, unseen });
        let waiting: Waiting = [open(1, false), open(2, true), open(3, true)].into();
        assert_eq!(spare(&waiting, PENDING_MAX - 1), None);
        assert_eq!(spare(&waiting, PENDING_MAX), Some((since, 2)));
        assert_eq!(spare(&[open(1, false)].into(), PENDING_MAX), None);
    }

    #[test]
    fn a_job_that_is_there_is_looked_at_less_and_less_until_the_window_ends() {
        const WINDOW: u64 = 900;
        let look = |seconds| Step::Look(Duration::from_secs(seconds));
        let settle = Step::Settle;
        for (seen, present, age, expected) in [
            (Seen::Gone, 0, 0, settle(Ending::Gone)),
            (Seen::Gone, 9, 5000, settle(Ending::Gone)),
            (Seen::Nothing, 0, 0, look(60)),
            (Seen::Nothing, 5, 5000, look(60)),
            (Seen::Present, 0, 0, look(2)),
            (Seen::Present, 1, 2, look(4)),
            (Seen::Present, 4, 30, look(32)),
            (Seen::Present, 5, 62, look(60)),
            (Seen::Present, u32::MAX, 600, look(60)),
            (Seen::Present, 20, 899, look(1)),
            (Seen::Present, 20, 900, settle(Ending::Present)),
            // Left by an earlier run, long ago.
            (Seen::Present, 0, 86_400, settle(Ending::Present)),
        ] {
            let next = step(seen, present, Duration::from_secs(age), Duration::from_secs(WINDOW));
            assert_eq!(next, expected, "{seen:?} {present} {age}");
        }
    }
}
