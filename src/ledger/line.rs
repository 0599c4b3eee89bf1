//! How a record becomes a line of the chain, and how a line is checked against it.
//!
//! `{"v":2,"ledger_id":…,"seq":…,"time":…,` the record's own members `,"prev":…,"sum":…}` and LF.
//! `prev` is the SHA-256 of the line before, without its LF, in hex; in the first line, of the
//! ledger ID. `sum` is the first 16 hex digits of the SHA-256 of everything before `,"sum"`, so
//! that a change of the last line shows too, which no `prev` covers yet. Anybody can compute both:
//! signed checkpoints are what helps against someone who rewrites the file with care.

#[cfg(test)]
mod tests;

use super::record;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;
use std::sync::Arc;

/// The longest line, in bytes, without its LF.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that a line adds to the members of its record: names, 36 characters of ledger ID,
/// 20 of `seq`, 33 of time, 64 of `prev`, 16 of `sum`.
const FRAME_BYTES_MAX: usize = 256;

/// The longest members of one record, in bytes.
pub(super) const MEMBERS_BYTES_MAX: usize = LINE_BYTES_MAX - FRAME_BYTES_MAX;

/// The random name of one chain, a UUID: one per ledger directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerId(Arc<str>);

impl LedgerId {
    pub(super) fn random() -> Self {
        Self(Arc::from(uuid::Uuid::new_v4().hyphenated().to_string()))
    }

    /// Parses the hyphenated lower-case form; nothing else is a ledger ID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = uuid::Uuid::try_parse(text).ok()?;
        (uuid.hyphenated().to_string() == text).then(|| Self(Arc::from(text)))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a chain stands: its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The last line's `seq`; 0 before the first line.
    pub(super) seq: u64,
    /// The next line's `prev`.
    pub(super) hash: Hash,
}

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash([u8; digest::SHA256_OUTPUT_LEN]);

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        Self::from(digest::digest(&digest::SHA256, bytes))
    }

    /// Whether `text` is this hash in hex.
    fn is_written(&self, text: &str) -> bool {
        let mut digits = [0; 2 * digest::SHA256_OUTPUT_LEN];
        HEXLOWER.encode_mut(&self.0, &mut digits);
        digits == text.as_bytes()
    }
}

impl From<digest::Digest> for Hash {
    fn from(digest: digest::Digest) -> Self {
        // A SHA-256 has just that length.
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl Head {
    /// The chain of `id` before its first line.
    pub(super) fn start(id: &LedgerId) -> Self {
        Self { seq: 0, hash: Hash::of(id.0.as_bytes()) }
    }

    /// The next line's `seq`. After the largest number it would repeat, and readers would refuse
    /// it.
    pub(super) fn next(&self) -> u64 {
        self.seq.saturating_add(1)
    }

    /// Appends the next line with its LF to `out` and moves the head to it. `members` are those of
    /// the record, without braces.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        id: &LedgerId,
        time: Timestamp,
        members: &[u8],
    ) {
        let start = out.len();
        let seq = self.next();
        out.extend_from_slice(line_beginning(Some(id), seq).as_bytes());
        // Writing to a vector cannot fail.
        let _ = write!(out, r#"{time}","#);
        out.extend_from_slice(members);
        let _ = write!(out, r#","prev":"{}""#, self.hash);
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(out.get(start..).unwrap_or_default());
        let tail = tail(&hash.clone().finish());
        hash.update(tail.as_bytes());
        out.extend_from_slice(tail.as_bytes());
        out.push(b'\n');
        *self = Self { seq, hash: Hash::from(hash.finish()) };
    }
}

/// Whether `bytes` can be what a crash left of the line number `seq` of ledger `id`.
pub(super) fn is_line_beginning(bytes: &[u8], id: Option<&LedgerId>, seq: u64) -> bool {
    let beginning = line_beginning(id, seq);
    bytes.starts_with(beginning.as_bytes()) || beginning.as_bytes().starts_with(bytes)
}

/// How the line number `seq` of ledger `id` begins, up to its time, or up to the ID if that is
/// unknown.
fn line_beginning(id: Option<&LedgerId>, seq: u64) -> String {
    let version = record::VERSION;
    match id {
        Some(id) => format!(r#"{{"v":{version},"ledger_id":"{id}","seq":{seq},"time":""#),
        None => format!(r#"{{"v":{version},"ledger_id":""#),
    }
}

/// The length of a line's [`tail`]: `,"sum":"` + 16 + `"}`.
const TAIL_BYTES: usize = 26;

/// How many bytes of the digest `sum` shows.
const SUM_BYTES: usize = 8;

/// The end of a line: its `sum`.
fn tail(digest: &digest::Digest) -> String {
    let mut res = String::with_capacity(TAIL_BYTES);
    res.push_str(r#","sum":""#);
    let sum = digest.as_ref().get(..SUM_BYTES).unwrap_or_default();
    HEXLOWER.encode_append(sum, &mut res);
    res.push_str(r#""}"#);
    res
}

/// What every line says besides its record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Frame<'a> {
    pub(super) v: u32,
    pub(super) ledger_id: &'a str,
    pub(super) seq: u64,
    /// When the record was committed, as written.
    pub(super) time: &'a str,
    pub(super) kind: Kind,
    /// The hash of the line before, in hex.
    pub(super) prev: &'a str,
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants of record::Body explain each")]
pub enum Kind {
    Checkpoint,
    Decision,
    Outcome,
    Policies,
    Settlement,
    Suppressed,
    Tombstone,
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Its word, as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Policies => "policies",
            Self::Settlement => "settlement",
            Self::Suppressed => "suppressed",
            Self::Tombstone => "tombstone",
            Self::Unknown => "unknown",
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `sum` is not that of its bytes.
    #[error("the line was changed: its sum does not match")]
    Changed,
    /// It has no end, although other lines follow it.
    #[error("the line is cut off")]
    CutOff,
    /// It has no end, and is not the beginning of the next record either.
    #[error("the file ends in something that is not the beginning of its next record")]
    Ending,
    /// Another ledger's.
    #[error("the line belongs to ledger {0}")]
    Foreign(String),
    /// The line before it is not the one it was written after.
    #[error("the line does not follow the one before it: its prev does not match")]
    Link,
    /// Not a record.
    #[error("not a record: {0}")]
    Malformed(String),
    /// Another number than the next one.
    #[error("seq is {found}, not {expected}")]
    Seq {
        /// The next number.
        expected: u64,
        /// What the line says.
        found: u64,
    },
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A checkpoint that its key did not sign.
    #[error("the checkpoint's signature is wrong")]
    Signature,
    /// A record other than the checkpoint that was kept.
    #[error("the record is not the checkpoint that was kept")]
    NotKept,
    /// A checkpoint by a key that is not trusted.
    #[error("the checkpoint is signed by the key {0}, which was not given")]
    UnknownKey(String),
    /// A schema of another version.
    #[error("the record is of version {0}; this program reads version {known}", known = record::VERSION)]
    Version(u32),
}

/// Reads `line` as JSON.
///
/// # Errors
/// [`Fault::Malformed`].
pub(super) fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Fault> {
    // A check of the whole line costs much less than one of each string.
    let text = str::from_utf8(line).map_err(|error| Fault::Malformed(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| Fault::Malformed(error.to_string()))
}

impl<'a> Frame<'a> {
    /// Reads `line`, which has no LF, and checks everything that can be checked without its
    /// neighbours.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn parse(line: &'a [u8]) -> Result<(Self, Hash), Fault> {
        if LINE_BYTES_MAX < line.len() {
            return Err(Fault::TooLong);
        }
        let frame: Self = parse(line)?;
        let hash = frame.check(line)?;
        Ok((frame, hash))
    }

    /// Checks version and sum of the `line` that this was read from, of at most [`LINE_BYTES_MAX`].
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn check(&self, line: &[u8]) -> Result<Hash, Fault> {
        if self.v != record::VERSION {
            return Err(Fault::Version(self.v));
        }
        let Some((text, end)) = line.split_at_checked(line.len().saturating_sub(TAIL_BYTES)) else {
            return Err(Fault::Changed);
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(text);
        if end != tail(&hash.clone().finish()).as_bytes() {
            return Err(Fault::Changed);
        }
        hash.update(end);
        Ok(Hash::from(hash.finish()))
    }

    /// When the record was committed.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it is not a time.
    pub(super) fn time(&self) -> Result<Timestamp, Fault> {
        self.time.parse().map_err(|error: jiff::Error| Fault::Malformed(error.to_string()))
    }

    /// The ledger that the line says it belongs to.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it is not a ledger ID.
    pub(super) fn ledger_id(&self) -> Result<LedgerId, Fault> {
        let malformed = || Fault::Malformed("ledger_id is not a UUID".to_owned());
        LedgerId::parse(self.ledger_id).ok_or_else(malformed)
    }

    /// Checks that this line of ledger `id` follows `head`.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn follows(&self, id: &LedgerId, head: &Head) -> Result<(), Fault> {
        if self.ledger_id != id.as_str() {
            return Err(Fault::Foreign(self.ledger_id.to_owned()));
        }
        if self.seq != head.next() {
            return Err(Fault::Seq { expected: head.next(), found: self.seq });
        }
        if !head.hash.is_written(self.prev) {
            return Err(Fault::Link);
        }
        Ok(())
    }
}
