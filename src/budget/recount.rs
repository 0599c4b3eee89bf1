//! Counters without a process: deletes of the past, counted again in the order of their records.

use super::End;
use super::state::State;

use crate::policy::{self, Attributes, Charge, Query};

use jiff::Timestamp;
use std::sync::Arc;

/// So many budgets are counted side by side: those that were given first, and the last of the others.
const ROOMS_MAX: usize = 3;

/// Counts every delete; there is always room, and the caller decides. A decision's number names it, and
/// times never go back.
#[derive(Clone, Debug, Default)]
pub struct Recount(State);

impl Recount {
    /// Counts for these budgets too, from now on. What they were before is forgotten after a few
    /// others, but for the first.
    pub fn know(&mut self, budgets: &Arc<policy::Budgets>) {
        self.0.know(budgets, ROOMS_MAX);
    }

    /// The delete of the decision `seq` begins.
    pub fn take(&mut self, seq: u64, query: &Query, attributes: &Attributes, now: Timestamp) {
        self.0.count(seq, query, attributes, now);
    }

    /// It has ended, or was settled after it had ended as [`End::Unknown`].
    pub fn end(&mut self, seq: u64, end: End, now: Timestamp) {
        self.0.end(seq, end, now);
        self.0.settle(seq, end);
    }

    /// How many units count in the counter of `charge`, which is one of `budgets`, and when one more
    /// fits in if none does now.
    pub fn used(
        &mut self,
        budgets: &policy::Budgets,
        charge: &Charge<'_>,
        now: Timestamp,
    ) -> (usize, Option<Timestamp>) {
        self.0.used(budgets.id(), charge, now)
    }
}
