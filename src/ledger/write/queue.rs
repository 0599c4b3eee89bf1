//! What waits for the writer. One lock, held for a push or a swap: the writer takes all that waits
//! at once, which is what makes a group.

use super::entry::{Note, Notes};
use crate::ledger::{Entry, Error, Pending};

use crate::policy;

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How many decisions may wait; more are refused at once.
pub const QUEUE_MAX: usize = 1024;

/// Work for the writer.
#[derive(Debug)]
pub(in crate::ledger) enum Item {
    Decision(Submission),
    Note(Note),
    /// A policy version that came into force. Not lost if it is: the first decision by it brings it
    /// again.
    Policies(Arc<policy::Set>),
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
    /// The writer waits; waking it costs a system call that is spared while it works.
    idle: bool,
}

/// What the writer took.
#[derive(Debug)]
pub(in crate::ledger) struct Taken {
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
    /// Adds a decision.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Closed`], [`Error::Failed`].
    pub(in crate::ledger) fn submit(&self, submission: Submission) -> Result<(), Error> {
        let mut state = self.lock();
        if state.ended {
            return Err(Error::Failed);
        }
        if state.closing {
            return Err(Error::Closed);
        }
        if QUEUE_MAX <= state.decisions {
            return Err(Error::Busy);
        }
        state.decisions += 1;
        self.push(state, Item::Decision(submission));
        Ok(())
    }

    /// Adds what nobody waits for. After the writer's end it is lost, and recovery finds the gap.
    pub(in crate::ledger) fn add(&self, item: Item) {
        let state = self.lock();
        if !state.ended {
            self.push(state, item);
        }
    }

    fn push(&self, mut state: MutexGuard<'_, State>, item: Item) {
        state.items.push(item);
        let wake = mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// All that waits; waits for it up to `wait`.
    pub(in crate::ledger) fn take(&self, wait: Duration) -> Taken {
        let mut state = self.lock();
        if state.items.is_empty() && !state.closing {
            state.idle = true;
            state = self
                .work
                .wait_timeout_while(state, wait, |it| it.items.is_empty() && !it.closing)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.idle = false;
        }
        state.decisions = 0;
        Taken { items: mem::take(&mut state.items), closing: state.closing }
    }

    /// No more decisions.
    pub(in crate::ledger) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// The writer is gone; whoever waits is told by the loss of the reply.
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
