//! Finds out the state of an existing ledger directory and how to continue it.
//!
//! Only what a crash can leave is repaired: records at the very end that were cut off while they
//! were written, so that no request was answered because of them. After a power loss the pages of
//! such a group may have reached the disk in any order; those that did not are NULs, which no
//! record holds. Everything else is damage, and a damaged ledger is not continued: somebody has to
//! look at it first.

#[cfg(test)]
mod tests;

use super::reader::{Lines, Piece, last_line, segment_name, segments};
use crate::ledger::line::{Fault, Frame, Head, LedgerId, is_line_beginning};

use std::io;
use std::io::BufRead;
use std::path::Path;

/// The state of a directory: enough to continue it, not a verification of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Survey {
    /// The ID in the lock file; `None` before the first record.
    pub(in crate::ledger) id: Option<LedgerId>,
    /// The last segment.
    pub(in crate::ledger) last: Option<Last>,
    /// The end of the segment before it.
    pub(in crate::ledger) before: Option<Before>,
}

/// The last segment, read from end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Last {
    /// The number in its name.
    pub(in crate::ledger) first: u64,
    /// Its records, if it has any.
    pub(in crate::ledger) records: Option<Records>,
    pub(in crate::ledger) end: End,
}

/// The good lines of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Records {
    id: LedgerId,
    /// Where the first of them says that it stands.
    start: Start,
    /// The last of them.
    head: Head,
    /// How many bytes they take.
    bytes: u64,
}

/// The place of a first line, by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    seq: u64,
    prev: String,
}

/// What follows the good lines of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum End {
    /// Nothing.
    Clean,
    /// Bytes without a line end.
    Torn {
        /// Its number in the file, from 1.
        line: u64,
        /// Without the NULs at their end.
        bytes: Vec<u8>,
    },
    /// A whole line that is faulty.
    Fault {
        /// Its number in the file, from 1.
        line: u64,
        fault: Fault,
        /// The line has NULs: a page of it never reached the disk.
        hole: bool,
    },
}

/// The end of the segment before the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Before {
    pub(in crate::ledger) first: u64,
    /// Its last line.
    pub(in crate::ledger) end: Result<(LedgerId, Head), Fault>,
}

/// How to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Plan {
    /// The ledger's ID.
    pub(in crate::ledger) id: LedgerId,
    /// The last good line.
    pub(in crate::ledger) head: Head,
    /// What to repair first.
    pub(in crate::ledger) repair: Option<Repair>,
}

/// A repair of what a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Repair {
    /// Cut the segment to so many bytes.
    Cut { first: u64, bytes: u64, holes: bool },
    /// Remove the segment: no record of it was ever complete.
    Remove { first: u64, holes: bool },
}

/// Why a ledger is not continued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The lock file names a ledger, and there are no segments.
    #[error("all segments of ledger {0} are missing")]
    AllMissing(LedgerId),
    /// A line is faulty.
    #[error("{file}:{line}: {fault}")]
    Line {
        /// The segment's name.
        file: String,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A segment that is not the last one ends badly.
    #[error("{file}, last line: {fault}")]
    LastLine {
        /// The segment's name.
        file: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The segment before this one is missing, or has lost its end.
    #[error("records are missing before {file}")]
    Missing {
        /// The segment's name.
        file: String,
    },
}

/// Looks at the ledger in `directory`, whose lock file says `id`.
///
/// # Errors
/// It cannot be read.
pub(in crate::ledger) fn survey(directory: &Path, id: Option<LedgerId>) -> io::Result<Survey> {
    let mut firsts = segments(directory)?;
    let Some(first) = firsts.pop() else { return Ok(Survey { id, last: None, before: None }) };
    let (records, end) = scan(Lines::open(directory, first)?)?;
    let last = Some(Last { first, records, end });
    let before = match firsts.pop() {
        Some(first) => Some(Before { first, end: end_of(last_line(directory, first)?) }),
        None => None,
    };
    Ok(Survey { id, last, before })
}

fn end_of(line: Option<Vec<u8>>) -> Result<(LedgerId, Head), Fault> {
    let line = line.ok_or(Fault::CutOff)?;
    let (frame, hash) = Frame::parse(&line)?;
    Ok((frame.ledger_id()?, Head { seq: frame.seq, hash }))
}

/// Reads a segment up to the first line that does not follow the one before it.
fn scan<R: BufRead>(mut lines: Lines<R>) -> io::Result<(Option<Records>, End)> {
    let mut records: Option<Records> = None;
    let mut count = 0;
    let end = loop {
        let bytes = lines.bytes();
        if let Some(records) = &mut records {
            records.bytes = bytes;
        }
        count += 1;
        let (read, hole) = match lines.next()? {
            Some(Piece::Line(text)) => (take(&mut records, text), text.contains(&0)),
            Some(Piece::Rest(rest)) => break End::Torn { line: count, bytes: rest.to_vec() },
            Some(Piece::TooLong(start)) => (Err(Fault::TooLong), start.contains(&0)),
            None => break End::Clean,
        };
        if let Err(fault) = read {
            break End::Fault { line: count, fault, hole };
        }
    };
    Ok((records, end))
}

/// Adds a line to those read so far.
fn take(records: &mut Option<Records>, line: &[u8]) -> Result<(), Fault> {
    let (frame, hash) = Frame::parse(line)?;
    let head = Head { seq: frame.seq, hash };
    match records {
        Some(records) => {
            frame.follows(&records.id, &records.head)?;
            records.head = head;
        }
        None => {
            let start = Start { seq: frame.seq, prev: frame.prev.to_owned() };
            *records = Some(Records { id: frame.ledger_id()?, start, head, bytes: 0 });
        }
    }
    Ok(())
}

/// Decides how to go on: the table of the states of a ledger, with a test for each row. `fresh` is
/// the ID of a ledger that has none yet.
///
/// # Errors
/// Whatever a crash of this program cannot have left.
pub(in crate::ledger) fn plan(survey: &Survey, fresh: LedgerId) -> Result<Plan, Damage> {
    let Some(last) = &survey.last else {
        return match &survey.id {
            Some(id) => Err(Damage::AllMissing(id.clone())),
            None => Ok(Plan { head: Head::start(&fresh), id: fresh, repair: None }),
        };
    };
    let known = survey.known_id();
    let id = known.clone().unwrap_or(fresh);
    let before = survey.head_before(last, &id)?;
    let damage = |line, fault| Damage::Line { file: segment_name(last.first), line, fault };
    let Some(records) = &last.records else {
        let missing = || Damage::Missing { file: segment_name(last.first) };
        let head = before.ok_or_else(missing)?;
        last.end.check(known.as_ref(), head.next()).map_err(|(line, it)| damage(line, it))?;
        let repair = Some(Repair::Remove { first: last.first, holes: last.end.has_hole() });
        return Ok(Plan { id, head, repair });
    };
    records.link(&id, last.first, before).map_err(|fault| damage(1, fault))?;
    let head = records.head;
    last.end.check(Some(&id), head.next()).map_err(|(line, it)| damage(line, it))?;
    let holes = last.end.has_hole();
    let cut = Repair::Cut { first: last.first, bytes: records.bytes, holes };
    let repair = (last.end != End::Clean).then_some(cut);
    Ok(Plan { id, head, repair })
}

impl Survey {
    fn known_id(&self) -> Option<LedgerId> {
        let before = self.before.as_ref().and_then(|it| it.end.as_ref().ok()).map(|(id, _)| id);
        let last = self.last.as_ref().and_then(|it| it.records.as_ref()).map(|it| &it.id);
        self.id.as_ref().or(before).or(last).cloned()
    }

    /// Where the chain stands before the last segment; `None` if retention removed the segments
    /// before it.
    fn head_before(&self, last: &Last, id: &LedgerId) -> Result<Option<Head>, Damage> {
        let Some(Before { first, end }) = &self.before else {
            return Ok((last.first == 1).then(|| Head::start(id)));
        };
        let damage = |fault| Damage::LastLine { file: segment_name(*first), fault };
        let (other, head) = end.clone().map_err(damage)?;
        if other != *id {
            return Err(damage(Fault::Foreign(other.to_string())));
        }
        if head.next() != last.first {
            return Err(Damage::Missing { file: segment_name(last.first) });
        }
        Ok(Some(head))
    }
}

impl Records {
    fn link(&self, id: &LedgerId, first: u64, before: Option<Head>) -> Result<(), Fault> {
        if self.id != *id {
            return Err(Fault::Foreign(self.id.to_string()));
        }
        if self.start.seq != first {
            return Err(Fault::Seq { expected: first, found: self.start.seq });
        }
        if before.is_some_and(|it| it.hash.to_string() != self.start.prev) {
            return Err(Fault::Link);
        }
        Ok(())
    }
}

impl End {
    /// Pages of it never reached the disk, so that it was never synced and no request was answered
    /// because of it.
    fn has_hole(&self) -> bool {
        match self {
            Self::Clean => false,
            Self::Fault { hole, .. } => *hole,
            Self::Torn { bytes, .. } => bytes.contains(&0),
        }
    }

    /// Checks that a crash can have left this instead of the line number `seq`; returns the line
    /// and its fault otherwise.
    fn check(&self, id: Option<&LedgerId>, seq: u64) -> Result<(), (u64, Fault)> {
        match self {
            Self::Clean => Ok(()),
            _ if self.has_hole() => Ok(()),
            Self::Fault { line, fault, .. } => Err((*line, fault.clone())),
            Self::Torn { bytes, .. } if is_line_beginning(bytes, id, seq) => Ok(()),
            Self::Torn { line, .. } => Err((*line, Fault::Ending)),
        }
    }
}
