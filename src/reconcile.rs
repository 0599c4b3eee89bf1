//! Which jobs were deleted without the gate: compares the cloud's audit trail with the ledgers.
//!
//! The audit service writes every field in several forms, some events twice, and some late. Every
//! documented form is read, and what cannot be read is counted. First of all the trail must be
//! whole, because a trail with holes proves nothing. No file is opened here.

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
    /// The ledger says that the cloud refused it, the trail that the job was deleted.
    Differs,
    /// The ledger says that the cloud accepted it, the trail that it failed afterwards.
    Failed,
    /// Deleted with the gate's key, and in no ledger.
    GateKey,
    /// Deleted through the gate.
    Matched,
    /// The ledger says that the cloud accepted it, and it is not in the trail, which thus has holes.
    Missing,
    /// Tags were changed shortly before the job was deleted through the gate.
    Retagged,
    /// The ledger does not know how it ended, the trail does.
    Settled,
    /// Deleted by the cloud itself: by ageing, or together with something that contained it.
    System,
    /// Neither the ledger nor the trail knows how it ended.
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

/// The period that was asked for, before the ledgers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// Its beginning; `None`: where the ledgers begin.
    pub since: Option<Timestamp>,
    /// Its end; `None`: `settled`.
    pub until: Option<Timestamp>,
    /// Records of later events may not have arrived yet.
    pub settled: Timestamp,
}

/// The period that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// From then on.
    pub since: Timestamp,
    /// Before then.
    pub until: Timestamp,
    /// The end that was asked for; later than `until` if records of that time may be missing still.
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

    /// The end of the time within which the records of the window must have been written.
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
    /// Traces outside the compared time or projects.
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

    /// Whether nothing shows that the trail has holes.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.classes.get(&Class::Missing).is_none_or(|it| *it == 0)
    }
}
