//! Checks a ledger from its first line to its last, as `audit verify` does.

use super::line::Fault;
use super::line::Frame;
use super::line::Head;
use super::line::Kind;
use super::line::LedgerId;
use super::line::is_line_beginning;
use super::reader::Lines;
use super::reader::Piece;
use super::reader::segment_name;
use super::reader::segments;
use super::recover::Damage;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A chain without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The ledger.
    pub id: LedgerId,
    /// The first record's number. Not 1 if retention removed those before, or if somebody did.
    pub first: u64,
    /// The last record's number. Whether there were more, only a kept checkpoint or a shipped
    /// record can tell.
    pub last: u64,
    /// How many records there are of each kind.
    pub records: BTreeMap<Kind, u64>,
    /// The file ends within a line: the gate is writing it, or a crash cut it off.
    pub unfinished: bool,
}

/// Why a ledger is not verified.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// A fault, with the first place where it shows.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It cannot be read.
    #[error("the ledger cannot be read")]
    Io(#[from] io::Error),
}

/// Verifies the ledger in `directory`; nothing if there is none.
///
/// # Errors
/// The first fault, or the system's error.
pub fn verify(directory: &Path) -> Result<Option<Verified>, Unverified> {
    let mut chain = Chain { at: None, verified: None };
    let segments = segments(directory)?;
    for (index, first) in (1..).zip(&segments) {
        let mut lines = Lines::open(directory, *first)?;
        let file = || segment_name(*first);
        if chain.at.as_ref().is_some_and(|(_, head)| head.next() != *first) {
            return Err(Damage::Missing { file: file() }.into());
        }
        let mut line = 0;
        while let Some(piece) = lines.next()? {
            line += 1;
            let fault = match piece {
                Piece::Line(text) => match chain.take(*first, text) {
                    Ok(()) => continue,
                    Err(fault) => fault,
                },
                Piece::Rest(rest) if index == segments.len() => match chain.end(*first, rest) {
                    Ok(()) => continue,
                    Err(fault) => fault,
                },
                Piece::Rest(_) => Fault::CutOff,
                Piece::TooLong => Fault::TooLong,
            };
            return Err(Damage::Line { file: file(), line, fault }.into());
        }
        if line == 0 && index < segments.len() {
            return Err(Damage::LastLine { file: file(), fault: Fault::CutOff }.into());
        }
    }
    Ok(chain.verified)
}

/// The lines so far.
struct Chain {
    at: Option<(LedgerId, Head)>,
    verified: Option<Verified>,
}

impl Chain {
    fn take(&mut self, segment: u64, line: &[u8]) -> Result<(), Fault> {
        let (frame, hash) = Frame::parse(line)?;
        frame.time()?;
        let id = match &self.at {
            Some((id, head)) => {
                frame.follows(id, head)?;
                id.clone()
            }
            None => {
                let id = frame.ledger_id()?;
                if segment == 1 {
                    frame.follows(&id, &Head::start(&id))?;
                } else if frame.seq != segment {
                    return Err(Fault::Seq { expected: segment, found: frame.seq });
                }
                id
            }
        };
        let verified = self.verified.get_or_insert_with(|| Verified {
            id: id.clone(),
            first: frame.seq,
            last: frame.seq,
            records: BTreeMap::new(),
            unfinished: false,
        });
        verified.last = frame.seq;
        *verified.records.entry(frame.kind).or_default() += 1;
        self.at = Some((id, Head { seq: frame.seq, hash }));
        Ok(())
    }

    /// Takes the bytes after the last line.
    fn end(&mut self, segment: u64, rest: &[u8]) -> Result<(), Fault> {
        let id = self.at.as_ref().map(|(id, _)| id);
        let seq = self.at.as_ref().map_or(segment, |(_, head)| head.next());
        if !is_line_beginning(rest, id, seq) {
            return Err(Fault::Ending);
        }
        if let Some(verified) = &mut self.verified {
            verified.unfinished = true;
        }
        Ok(())
    }
}
