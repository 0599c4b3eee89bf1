//! The writer's queue. One lock, held for a push or a swap: the writer takes everything at once,
//! and that is a group.
//!
//! Only a decision is urgent, because a request waits for it. Everything else goes with the next
//! decisions, or by itself after [`COMPANY`], so that a delete costs one sync and not two, and a
//! decision seldom waits for the sync of something that was not urgent.

use super::entry::{Note, Notes};
use crate::ledger::{Entry, Error, Pending};

use crate::policy;

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How many decisions may wait; more are refused at once.
pub const QUEUE_MAX: usize = 1024;

/// How long items that are not urgent wait for a decision to go with.
const COMPANY: Duration = Duration::from_millis(10);

/// A disk whose write or sync takes longer is taken to hang, not to be slow.
const STALLED: Duration = Duration::from_secs(5);

/// Work for the writer.
#[derive(Debug)]
pub(in crate::ledger) enum Item {
    Decision(Submission),
    Note(Note),
    /// A policy version that came into force. It may be lost: the first decision of the version
    /// brings it again.
    Policies(Arc<policy::Set>),
    /// Answered once everything queued before it is on stable storage; dropped if that fails.
    Barrier(oneshot::Sender<()>),
}

/// A decision whose request waits.
#[derive(Debug)]
pub(in crate::ledger) struct Submission {
    /// The members of its record.
    pub(in crate::ledger) members: Vec<u8>,
    pub(in crate::ledger) policies: Arc<policy::Set>,
    pub(in crate::ledger) pending: Pending,
    pub(in crate::ledger) reply: oneshot::Sender<Result<Entry, Error>>,
}

#[derive(Debug, Default)]
pub(in crate::ledger) struct Queue {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: Vec<Item>,
    decisions: usize,
    closing: bool,
    ended: bool,
    /// Since when the writer has been at work on what it took.
    away: Option<Instant>,
    /// What the writer waits for. Waking it costs a system call, which is saved while it works.
    asleep: Option<Sleep>,
}

/// What the writer waits for.
#[derive(Clone, Copy, Debug)]
enum Sleep {
    /// Anything.
    Deep,
    /// A decision.
    Light,
}

/// Decisions were added; dropping this wakes the writer.
#[must_use = "the writer is woken when it is dropped"]
#[derive(Debug)]
pub(in crate::ledger) struct Submitted<'a>(&'a Queue);

/// What the writer took.
#[derive(Debug)]
pub(in crate::ledger) struct Drained {
    pub(in crate::ledger) items: Vec<Item>,
    /// No decision comes after these.
    pub(in crate::ledger) closing: bool,
}

impl Notes for Queue {
    fn note(&self, note: Note) {
        self.add(Item::Note(note));
    }
}

impl Queue {
    /// Adds decisions that are written together. Others that are added before the writer is woken
    /// share their group.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`], [`Error::Failed`].
    pub(in crate::ledger) fn submit(
        &self,
        submissions: Vec<Submission>,
    ) -> Result<Submitted<'_>, Error> {
        let mut state = self.lock();
        if state.ended {
            return Err(Error::Failed);
        }
        if state.closing {
            return Err(Error::Closed);
        }
        if QUEUE_MAX < state.decisions + submissions.len() {
            return Err(Error::Busy);
        }
        state.decisions += submissions.len();
        state.items.extend(submissions.into_iter().map(Item::Decision));
        Ok(Submitted(self))
    }

    /// Adds an item that nobody waits for. After the writer's end it is lost, and recovery finds
    /// out.
    pub(in crate::ledger) fn add(&self, item: Item) {
        let mut state = self.lock();
        if !state.ended {
            state.items.push(item);
            self.wake(state);
        }
    }

    /// Wakes the writer, once, if it waits for what is now there.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if state.asleep.is_some_and(|it| state.ends(it)) {
            state.asleep = None;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Takes everything. Waits up to `wait` for something, and then for a decision to go with it.
    pub(in crate::ledger) fn take(&self, wait: Duration) -> Drained {
        // The decisions just written will soon have outcomes, which are not worth waking up for.
        let mut state = self.lock();
        state.away = None;
        let mut state = self.sleep(state, Sleep::Light, COMPANY);
        if state.items.is_empty() {
            state = self.sleep(state, Sleep::Deep, wait);
            if !state.items.is_empty() {
                state = self.sleep(state, Sleep::Light, COMPANY);
            }
        }
        state.decisions = 0;
        state.away = Some(Instant::now());
        Drained { items: mem::take(&mut state.items), closing: state.closing }
    }

    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        how: Sleep,
        wait: Duration,
    ) -> MutexGuard<'a, State> {
        state.asleep = Some(how);
        let waited = self.work.wait_timeout_while(state, wait, |it| !it.ends(how));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.asleep = None;
        state
    }

    /// The writer has been at work on one group for longer than [`STALLED`].
    pub(in crate::ledger) fn is_stalled(&self) -> bool {
        self.lock().away.is_some_and(|it| STALLED < it.elapsed())
    }

    /// No more decisions.
    pub(in crate::ledger) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// The writer is gone; dropped replies tell those who wait.
    pub(in crate::ledger) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let items = mem::take(&mut state.items);
        drop(state);
        drop(items);
    }

    /// How many decisions wait.
    #[cfg(test)]
    pub(in crate::ledger) fn decisions(&self) -> usize {
        self.lock().decisions
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ends(&self, sleep: Sleep) -> bool {
        let has_come = match sleep {
            Sleep::Deep => !self.items.is_empty(),
            Sleep::Light => 0 < self.decisions,
        };
        has_come || self.closing
    }
}

impl Drop for Submitted<'_> {
    fn drop(&mut self) {
        self.0.wake(self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ledger::fixture::{policies, query};
    use crate::ledger::line::Kind;

    use jiff::Timestamp;

    fn note() -> Item {
        Item::Note(Note { kind: Kind::Outcome, members: Vec::new(), pending: None })
    }

    fn decision() -> Submission {
        let pending = Pending {
            seq: 0,
            time: Timestamp::UNIX_EPOCH,
            request_id: String::new(),
            upstream: String::new(),
            job: query("curl/8").job,
        };
        let (reply, _) = oneshot::channel();
        Submission { members: Vec::new(), policies: policies("00ff"), pending, reply }
    }

    #[test]
    fn only_a_decision_disturbs_a_light_sleep() {
        for (sleep, by_note) in [(Sleep::Light, false), (Sleep::Deep, true)] {
            let queue = Queue::default();
            queue.lock().asleep = Some(sleep);
            queue.add(note());
            assert_eq!(queue.lock().asleep.is_none(), by_note, "{sleep:?}");
            queue.lock().asleep = Some(sleep);
            let submitted = queue.submit(vec![decision()]).unwrap();
            assert!(queue.lock().asleep.is_some(), "{sleep:?}: others may come before it is told");
            drop(submitted);
            assert!(queue.lock().asleep.is_none(), "{sleep:?}");
        }
    }

    #[test]
    fn what_is_in_no_hurry_waits_for_a_decision_but_not_for_long() {
        let queue = Queue::default();
        queue.add(note());
        let start = Instant::now();
        assert_eq!(queue.take(Duration::MAX).items.len(), 1);
        assert!(COMPANY <= start.elapsed());

        // A decision is taken at once, together with everything else.
        queue.add(note());
        let submitted = queue.submit(vec![decision()]).unwrap();
        assert_eq!(queue.take(Duration::MAX).items.len(), 2);
        drop(submitted);
        queue.close();
        let taken = queue.take(Duration::MAX);
        assert!(taken.items.is_empty() && taken.closing);
    }
}
