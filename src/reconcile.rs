//! Who walked round the gate: the cloud's audit trail, beside the ledgers.
//!
//! The audit service writes every field in several forms, some events twice, and some late; what is
//! documented of it is read, and what cannot be read is counted. The first question is whether the
//! trail is whole, because on a trail with holes nothing is clean. No file is opened here.

mod book;
mod calls;
mod digest;
mod field;
mod frame;
mod join;
mod trail;

#[cfg(test)]
mod tests;

pub use self::book::{Book, DECISIONS_MAX};
pub use self::calls::{CALLS, Call, Harm, actions};
pub use self::digest::Gap;
pub use self::frame::{DEPTH_MAX, RECORD_BYTES_MAX, Unreadable};
pub use self::join::{Finding, MARGIN, Report, reconcile};
pub use self::trail::{EVENTS_MAX, INFLATED_BYTES_MAX, Trail};

use crate::ledger::record;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// How long before the window something may matter for it: a change of tags before a delete.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// What an event, or a delete of the ledgers, was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// An attempt past the gate that the cloud refused.
    Attempt,
    /// Deleted past the gate, and nobody had asked it.
    Bypass,
    /// Deleted in the console, and nobody had asked the gate.
    Console,
    /// Denied or not decided by the gate, and deleted past it afterwards.
    DeniedHere,
    /// Refused by the cloud as the ledger has it, and deleted as the trail has it.
    Differs,
    /// Accepted by the cloud, and failed afterwards as the trail has it.
    Failed,
    /// Deleted with the gate's key, and no ledger knows of it.
    GateKey,
    /// Deleted through the gate.
    Matched,
    /// Accepted by the cloud as the ledger has it, and not in the trail, which thus has holes.
    Missing,
    /// Tags were changed shortly before the job was deleted through the gate.
    Retagged,
    /// Not known to the ledger how it ended, and settled by the trail.
    Settled,
    /// Deleted by the cloud itself: ageing, or on the way of something else.
    System,
    /// Not known how it ended, neither to the ledger nor to the trail.
    Unsettled,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Attempt,
        Self::Bypass,
        Self::Console,
        Self::DeniedHere,
        Self::Differs,
        Self::Failed,
        Self::GateKey,
        Self::Matched,
        Self::Missing,
        Self::Retagged,
        Self::Settled,
        Self::System,
        Self::Unsettled,
    ];

    /// Whether somebody deleted a job without the gate.
    #[must_use]
    pub fn is_bypass(self) -> bool {
        matches!(
            self,
            Self::Bypass | Self::Console | Self::DeniedHere | Self::Differs | Self::GateKey
        )
    }
}

/// The time that is asked for, before the ledgers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// From then on; else from where the ledgers begin.
    pub since: Option<Timestamp>,
    /// Before then; else as far as the trail is settled.
    pub until: Option<Timestamp>,
    /// What is younger may still be on its way.
    pub settled: Timestamp,
}

/// The time that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// From then on.
    #[serde(serialize_with = "record::serialize_time")]
    pub since: Timestamp,
    /// Before then.
    #[serde(serialize_with = "record::serialize_time")]
    pub until: Timestamp,
    /// What was asked for; later than `until` where that is too young.
    #[serde(skip)]
    pub wanted: Timestamp,
}

impl Unbound {
    fn may_matter(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|it| it.duration_since(time) <= BEFORE)
    }
}

impl Window {
    fn may_matter(&self, time: Timestamp) -> bool {
        self.since.duration_since(time) <= BEFORE && time.duration_since(self.until) <= MARGIN
    }

    /// When everything of the window has been written, but for what is late.
    fn settled(&self) -> Timestamp {
        self.until.checked_add(MARGIN).unwrap_or(self.until)
    }
}

/// How much was read of a trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Files.
    pub files: u64,
    /// Files that cannot be read to their end.
    pub unreadable_files: u64,
    /// Digest files.
    pub digests: usize,
    /// Traces.
    pub records: u64,
    /// Traces that cannot be read.
    pub unreadable: u64,
    /// Traces about something else.
    pub other: u64,
    /// Traces outside the time or the projects that are looked at.
    pub outside: u64,
    /// Copies and second records of one call.
    pub folded: u64,
}

impl Report {
    /// How many jobs were deleted past the gate.
    #[must_use]
    pub fn bypasses(&self) -> u64 {
        self.classes.iter().filter(|(it, _)| it.is_bypass()).map(|(_, count)| count).sum()
    }

    /// Whether the trail holds all that happened, as far as can be told.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.classes.get(&Class::Missing).is_none_or(|it| *it == 0)
    }
}
