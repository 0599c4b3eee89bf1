//! Checks a ledger from its first line to its last, as `audit verify` does.

use super::reader::{Lines, Piece, segment_name, segments};
use super::recover::Damage;
use crate::ledger::checkpoint;
use crate::ledger::checkpoint::{Kept, PublicKey};
use crate::ledger::line::{Fault, Frame, Hash, Head, Kind, LedgerId, is_line_beginning};
use crate::ledger::record::Body;
use crate::object;

use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A chain without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The ledger.
    pub id: LedgerId,
    /// The first record's number; more than 1 if retention, or somebody, removed those before it.
    pub first: u64,
    /// The last record's number. Only a kept checkpoint or a shipped record can tell whether there
    /// were more.
    pub last: u64,
    /// How many records there are of each kind.
    pub records: BTreeMap<Kind, u64>,
    /// The file ends within a line: the gate is writing it, or a crash cut it off.
    pub unfinished: bool,
    /// The last checkpoint whose signature was checked; `None` unless [`Trust`] has keys.
    pub signed: Option<u64>,
}

/// What a ledger is checked against.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Every checkpoint must be signed by one of these, and there must be at least one. Without
    /// keys, signatures are not checked.
    pub keys: Vec<PublicKey>,
    /// Checkpoints that were kept elsewhere, of this ledger or of others.
    pub kept: Vec<Kept>,
}

/// Why a ledger is not verified.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// A fault, with the first place where it shows.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The ledger ends before a checkpoint of it that was kept.
    #[error(
        "the ledger ends with record {last}, and its record {kept} was kept: its end was cut off"
    )]
    Cut {
        /// The number of the kept checkpoint.
        kept: u64,
        /// The number of the last record.
        last: u64,
    },
    /// Keys were given, and there is no checkpoint.
    #[error("the ledger has no checkpoint")]
    Unsigned,
    /// It cannot be read.
    #[error("the ledger cannot be read")]
    Io(#[from] io::Error),
}

/// Verifies the ledger in `directory`; `None` if there is none.
///
/// # Errors
/// The first fault, or the system's error.
pub fn verify(directory: &Path) -> Result<Option<Verified>, Unverified> {
    verify_signed(directory, &Trust::default())
}

/// Verifies the ledger in `directory` as [`verify`] does, and checks it against `trust`.
///
/// # Errors
/// The first fault, or the system's error.
pub fn verify_signed(directory: &Path, trust: &Trust) -> Result<Option<Verified>, Unverified> {
    let mut reader = Reader::open(directory)?;
    let mut signed = None;
    let mut check = |chain: &mut Chain, (segment, _), text: &[u8]| {
        let (frame, hash) = Frame::parse(text)?;
        let (id, _) = chain.link(segment, &frame, hash)?;
        body(text)?;
        let is_kept = |it: &&Kept| it.ledger_id == *id && it.seq == frame.seq;
        if trust.kept.iter().filter(is_kept).any(|it| it.text != text) {
            return Err(Fault::NotKept);
        }
        if frame.kind == Kind::Checkpoint && !trust.keys.is_empty() {
            checkpoint::check(&frame, text, &trust.keys)?;
            signed = Some(frame.seq);
        }
        Ok(())
    };
    while reader.step(&mut check)?.is_some() {}
    let Some(mut verified) = reader.verified() else { return Ok(None) };
    verified.signed = signed;
    let last = verified.last;
    let kept = trust.kept.iter().filter(|it| it.ledger_id == verified.id);
    if let Some(kept) = kept.map(|it| it.seq).max().filter(|it| last < *it) {
        return Err(Unverified::Cut { kept, last });
    }
    if signed.is_none() && !trust.keys.is_empty() {
        return Err(Unverified::Unsigned);
    }
    Ok(Some(verified))
}

/// Reads a ledger from its first record to its last, and checks each on the way. The gate may go on
/// writing meanwhile.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    segments: VecDeque<u64>,
    /// The segment that is read.
    current: Option<Segment>,
    /// Where the last segment ended, as far as it was read: its first record, its whole lines, and
    /// the bytes that they took.
    ended: Option<(u64, u64, u64)>,
    chain: Chain,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    lines: Lines<BufReader<File>>,
    /// The last line that was read, counted from 1.
    line: u64,
}

/// One record, checked against the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ledger.
    pub ledger_id: LedgerId,
    /// Its number in the ledger.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The name of the segment.
    pub file: String,
    /// The line in the segment, from 1.
    pub line: u64,
    /// The line as it was written, without its LF.
    pub text: Vec<u8>,
}

impl Record {
    /// The record itself.
    ///
    /// # Errors
    /// [`Damage::Line`] if it does not follow the schema.
    pub fn body(&self) -> Result<Body<'static>, Damage> {
        let damage = |fault| Damage::Line { file: self.file.clone(), line: self.line, fault };
        body(&self.text).map_err(damage)
    }
}

/// What a line says; nothing in it is said twice.
fn body(line: &[u8]) -> Result<Body<'static>, Fault> {
    let body = object::parse(line).and_then(|it| serde_json::from_value(it.into()));
    body.map_err(|error| Fault::Malformed(error.to_string()))
}

impl Reader {
    /// Starts to read the ledger in `directory`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            segments: segments(directory)?.into(),
            current: None,
            ended: None,
            chain: Chain::default(),
        })
    }

    /// Goes on with the records that were written since. Call it before [`Reader::next`] is called at
    /// all, or when it has returned `None`.
    ///
    /// # Errors
    /// The directory or its last segment cannot be read.
    pub fn resume(&mut self) -> io::Result<()> {
        self.segments = segments(&self.directory)?.into();
        let Some((first, line, bytes)) = self.ended.take() else { return Ok(()) };
        self.segments.retain(|it| first < *it);
        let lines = Lines::open_at(&self.directory, first, bytes)?;
        self.current = Some(Segment { first, lines, line });
        if let Some((verified, _)) = &mut self.chain.0 {
            verified.unfinished = false;
        }
        Ok(())
    }

    /// The next record; `None` after the last one.
    ///
    /// # Errors
    /// The first fault, or the system's error. Reading cannot go on after it.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, Unverified> {
        self.step(|chain, (segment, line), text| {
            let (frame, hash) = Frame::parse(text)?;
            let (ledger_id, time) = chain.link(segment, &frame, hash)?;
            Ok(Record {
                ledger_id: ledger_id.clone(),
                seq: frame.seq,
                time,
                kind: frame.kind,
                file: segment_name(segment),
                line,
                text: text.to_vec(),
            })
        })
    }

    /// Hands the next line to `take`, with its segment and its number there; `None` after the last
    /// one.
    pub(super) fn step<T>(
        &mut self,
        mut take: impl FnMut(&mut Chain, (u64, u64), &[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, Unverified> {
        loop {
            let Some(Segment { first, lines, line }) = &mut self.current else {
                if !self.next_segment()? {
                    return Ok(None);
                }
                continue;
            };
            let (first, is_last) = (*first, self.segments.is_empty());
            let file = || segment_name(first);
            let Some(piece) = lines.next()? else {
                if *line == 0 && !is_last {
                    return Err(Damage::LastLine { file: file(), fault: Fault::CutOff }.into());
                }
                self.ended = Some((first, *line, lines.bytes()));
                self.current = None;
                continue;
            };
            let number = *line + 1;
            let taken = match piece {
                Piece::Line(text) => take(&mut self.chain, (first, number), text).map(Some),
                // Bytes without a line end are not a line yet.
                Piece::Rest(rest) if is_last => self.chain.end(first, rest).map(|()| None),
                Piece::Rest(_) => Err(Fault::CutOff),
                Piece::TooLong(_) => Err(Fault::TooLong),
            };
            let taken =
                taken.map_err(|fault| Damage::Line { file: file(), line: number, fault })?;
            if taken.is_some() {
                *line = number;
                return Ok(taken);
            }
        }
    }

    /// What was verified so far.
    #[must_use]
    pub fn verified(self) -> Option<Verified> {
        self.chain.0.map(|(verified, _)| verified)
    }

    /// Goes to the next segment, which must follow what was read; false after the last one.
    fn next_segment(&mut self) -> Result<bool, Unverified> {
        let Some(first) = self.segments.pop_front() else { return Ok(false) };
        if self.chain.0.as_ref().is_some_and(|(_, head)| head.next() != first) {
            return Err(Damage::Missing { file: segment_name(first) }.into());
        }
        let lines = Lines::open(&self.directory, first)?;
        self.current = Some(Segment { first, lines, line: 0 });
        Ok(true)
    }
}

/// The chain so far, and its last line; nothing before the first.
#[derive(Debug, Default)]
pub(super) struct Chain(Option<(Verified, Head)>);

impl Verified {
    /// From the first line that is read, which is good by itself, in a segment.
    fn begin(segment: u64, frame: &Frame<'_>) -> Result<Self, Fault> {
        let id = frame.ledger_id()?;
        if segment == 1 {
            frame.follows(&id, &Head::start(&id))?;
        } else if frame.seq != segment {
            return Err(Fault::Seq { expected: segment, found: frame.seq });
        }
        let (first, last) = (frame.seq, frame.seq);
        Ok(Self { id, first, last, records: BTreeMap::new(), unfinished: false, signed: None })
    }
}

impl Chain {
    /// Adds a line that is good by itself; returns its ledger and its time.
    pub(super) fn link(
        &mut self,
        segment: u64,
        frame: &Frame<'_>,
        hash: Hash,
    ) -> Result<(&LedgerId, Timestamp), Fault> {
        let time = frame.time()?;
        let now = Head { seq: frame.seq, hash };
        let (verified, head) = match &mut self.0 {
            Some((verified, head)) => {
                frame.follows(&verified.id, head)?;
                (verified, head)
            }
            none => {
                let (verified, head) = none.insert((Verified::begin(segment, frame)?, now));
                (verified, head)
            }
        };
        (verified.last, *head) = (now.seq, now);
        *verified.records.entry(frame.kind).or_default() += 1;
        Ok((&verified.id, time))
    }

    /// Takes the bytes after the last line.
    fn end(&mut self, segment: u64, rest: &[u8]) -> Result<(), Fault> {
        let (id, seq) = match &self.0 {
            Some((verified, head)) => (Some(&verified.id), head.next()),
            None => (None, segment),
        };
        if !is_line_beginning(rest, id, seq) {
            return Err(Fault::Ending);
        }
        if let Some((verified, _)) = &mut self.0 {
            verified.unfinished = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
