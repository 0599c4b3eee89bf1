//! From a decision to its line on stable storage, and what follows it.

pub(super) mod entry;
pub(super) mod judged;
pub(super) mod pending;
pub(super) mod policies;
pub(super) mod queue;
pub(super) mod volume;
pub(super) mod writer;
