//! Reads the records of a ledger that is being written, in order and only those on stable storage.
//!
//! It reads the segments and not the writer's memory, so that a reader that is slow, or stops for
//! days, costs the gate nothing.

use super::reader::{Lines, Piece, segments};
use crate::ledger::line::{Fault, Frame, Kind, LedgerId};

use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// The most records that [`Tail::read`] returns at once.
pub const TAIL_RECORDS_MAX: usize = 512;

/// [`Tail::read`] adds no further record once it has this many bytes.
pub const TAIL_BYTES_MAX: usize = 1024 * 1024;

/// A reader of a ledger that is in use.
#[derive(Debug)]
pub struct Tail {
    directory: PathBuf,
    id: LedgerId,
    /// The number of the next record.
    next: u64,
    /// Where the next record begins, once that is known.
    place: Option<Place>,
    /// The number of the last record on stable storage.
    committed: watch::Receiver<u64>,
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the ledger.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The line without its LF.
    pub text: String,
}

/// Why the next record cannot be read. A later attempt starts with the same record again.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The record is not what was written: `audit verify` says more.
    #[error("record {seq} cannot be read: {fault}")]
    Fault {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The system's error.
    #[error("the ledger cannot be read")]
    Io(#[from] io::Error),
    /// The segment that should hold it ends before it.
    #[error("record {0} is missing")]
    Missing(u64),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u64,
    offset: u64,
}

impl Tail {
    /// Reads what follows the record number `after` of the ledger `id` in `directory`.
    pub(in crate::ledger) fn new(
        directory: &Path,
        id: LedgerId,
        after: u64,
        committed: watch::Receiver<u64>,
    ) -> Self {
        let next = after.saturating_add(1);
        Self { directory: directory.to_owned(), id, next, place: None, committed }
    }

    /// Waits until there is a record to read; false when all were read and the ledger is closed.
    pub async fn wait(&mut self) -> bool {
        let next = self.next;
        self.committed.wait_for(|it| next <= *it).await.is_ok()
    }

    /// Returns when the ledger is closed.
    pub async fn closed(&self) {
        let mut committed = self.committed.clone();
        while committed.changed().await.is_ok() {}
    }

    /// The ledger is closed: no more records are added.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.committed.has_changed().is_err()
    }

    /// All records so far were read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        *self.committed.borrow() < self.next
    }

    /// The next records, as many as there are up to [`TAIL_RECORDS_MAX`] and [`TAIL_BYTES_MAX`];
    /// none if all were read. Blocks while it reads files.
    ///
    /// # Errors
    /// The first record cannot be read.
    pub fn read(&mut self) -> Result<Vec<Line>, TailError> {
        let committed = *self.committed.borrow();
        let mut batch = Batch { lines: Vec::new(), bytes: 0, last: committed };
        while batch.has_room(self.next) {
            if let Err(error) = self.read_segment(&mut batch) {
                // The records before it are good; the next call meets the error again.
                if batch.lines.is_empty() {
                    return Err(error);
                }
                break;
            }
        }
        Ok(batch.lines)
    }

    /// Reads the segment of the next record, until `batch` is full or the segment ends. The file is
    /// opened anew each time, because what follows the committed records may yet be undone.
    fn read_segment(&mut self, batch: &mut Batch) -> Result<(), TailError> {
        let Place { segment, offset } = match self.place {
            Some(place) => place,
            None => self.find()?,
        };
        let mut lines = Lines::open_at(&self.directory, segment, offset)?;
        while batch.has_room(self.next) {
            let line = match lines.next()? {
                Some(Piece::Line(text)) => self.line(text),
                Some(Piece::Rest(_)) => Err(Fault::CutOff),
                Some(Piece::TooLong(_)) => Err(Fault::TooLong),
                None => {
                    self.place = None;
                    return Ok(());
                }
            };
            batch.push(line.map_err(|fault| TailError::Fault { seq: self.next, fault })?);
            self.next += 1;
            self.place = Some(Place { segment, offset: lines.bytes() });
        }
        Ok(())
    }

    fn line(&self, text: &[u8]) -> Result<Line, Fault> {
        let (frame, _) = Frame::parse(text)?;
        if frame.ledger_id()? != self.id {
            return Err(Fault::Foreign(frame.ledger_id()?.to_string()));
        }
        if frame.seq != self.next {
            return Err(Fault::Seq { expected: self.next, found: frame.seq });
        }
        let malformed = |error: std::str::Utf8Error| Fault::Malformed(error.to_string());
        let (seq, time, kind) = (frame.seq, frame.time()?, frame.kind);
        let text = str::from_utf8(text).map_err(malformed)?.to_owned();
        Ok(Line { seq, time, kind, text })
    }

    /// Finds the next record. If retention has removed it before it was read, the oldest record
    /// left is the next one.
    fn find(&mut self) -> Result<Place, TailError> {
        let segments = segments(&self.directory)?;
        if let Some(oldest) = segments.first().filter(|it| self.next < **it) {
            let lost = oldest - self.next;
            tracing::error!(first = self.next, lost, "records were removed before they were read");
            self.next = *oldest;
        }
        let missing = || TailError::Missing(self.next);
        let segment = segments.into_iter().rfind(|it| *it <= self.next).ok_or_else(missing)?;
        let mut lines = Lines::open(&self.directory, segment)?;
        for _ in segment..self.next {
            if !matches!(lines.next()?, Some(Piece::Line(_))) {
                return Err(missing());
            }
        }
        let offset = lines.bytes();
        if lines.next()?.is_none() { Err(missing()) } else { Ok(Place { segment, offset }) }
    }
}

struct Batch {
    lines: Vec<Line>,
    bytes: usize,
    /// Read no record after this one.
    last: u64,
}

impl Batch {
    fn has_room(&self, next: u64) -> bool {
        next <= self.last && self.lines.len() < TAIL_RECORDS_MAX && self.bytes < TAIL_BYTES_MAX
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests;
