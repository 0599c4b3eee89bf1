//! What a record says: the schema of the ledger, version [`VERSION`].
//!
//! One type per kind, used for writing (borrowed) and for reading (owned), so that the two cannot
//! drift apart. Everything that a decision was based on is in its record: an auditor can judge it
//! again from the ledger alone, with [`Decision::query`] and [`Decision::attributes`].
//!
//! Facts, answers and methods are written as [`policy`](crate::policy) spells them. A reader
//! ignores unknown members and skips records of unknown kinds, so that [`VERSION`] stays when
//! either is only added. An unknown word in a known member makes the record unreadable.

mod decision;
mod peer;
mod text;

#[cfg(test)]
mod tests;

pub use self::decision::{
    Batch, Charge, Context, Decision, LookUp, LookUpResult, Reason, Shadow, ShadowError, Source,
};
pub use self::text::to_json;

pub(super) use self::text::{to_members, written_len};

use crate::budget::End;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The version of the schema; `v` in every line. A reader refuses other versions.
pub const VERSION: u32 = 2;

/// A record without what its line adds (`v`, `ledger_id`, `seq`, `time`, `prev`, `sum`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body<'a> {
    /// All records before this one, signed.
    Checkpoint(Checkpoint<'a>),
    /// What the policies said about one request; on stable storage before anything is sent.
    Decision(Box<Decision<'a>>),
    /// How a decision ended, as the request that made it saw it.
    Outcome(Outcome<'a>),
    /// A policy version with its text, or one part of it.
    Policies(Policies<'a>),
    /// How a decision without a known outcome ended, found out afterwards.
    Settlement(Settlement),
    /// Requests that were refused for their rate and not recorded one by one.
    Suppressed(Suppressed<'a>),
    /// What is lost with a job whose delete the cloud accepted.
    Tombstone(Box<Tombstone<'a>>),
    /// A kind that a later version has added. Never written.
    #[serde(other)]
    Unknown,
}

/// How a decision ended: what was seen, never who caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome<'a> {
    /// The decision's `seq`.
    pub of: u64,
    /// How it ended.
    pub result: Ending,
    /// The cloud's HTTP status, where the cloud answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The cloud's `X-Request-Id`, cut to [`UPSTREAM_REQUEST_ID_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Cow<'a, str>>,
    /// The ID of the cloud key that signed what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Cow<'a, str>>,
    /// The `X-Sdk-Date` that was sent, such as `20260115T120000Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Cow<'a, str>>,
    /// Milliseconds from the committed decision to its end.
    pub duration_ms: u64,
}

/// The longest upstream request ID that is kept, in characters.
pub const UPSTREAM_REQUEST_ID_MAX: usize = 128;

/// Cuts a request ID of the cloud to what is kept.
#[must_use]
pub fn kept_request_id(mut id: String) -> String {
    if let Some((at, _)) = id.char_indices().nth(UPSTREAM_REQUEST_ID_MAX) {
        id.truncate(at);
    }
    id
}

/// The ways in which a decision ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The policies said no; nothing was sent.
    Denied,
    /// Sent without an answer; a look-up afterwards found no such job.
    Gone,
    /// Allowed, and not one byte was sent.
    NotSent,
    /// Sent without an answer; look-ups until the end of the settlement found the job there.
    Present,
    /// The policies could not tell; nothing was sent.
    Refused,
    /// Sent and answered, with the cloud's status.
    Sent,
    /// Perhaps sent, without an answer. To be settled.
    Unknown,
}

/// How an open decision ended, found out by looking at the job afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The decision's `seq`.
    pub of: u64,
    /// How it ended; never [`Ending::Unknown`].
    pub result: Ending,
}

/// A policy version, or one part of it: all records have the same limit, so a large version takes
/// several records in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies<'a> {
    /// The version's digest, SHA-256 in hex.
    pub digest: Cow<'a, str>,
    /// Which part this is, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Files in the order of their paths. A file whose text goes on in the next part is named there
    /// again: the texts of one path, joined in order, are the file.
    pub files: Vec<PolicyText<'a>>,
}

/// A policy file, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText<'a> {
    /// Relative to the policy directory.
    pub path: Cow<'a, str>,
    /// The file is not UTF-8, and `text` is the base64 of its bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub base64: bool,
    /// The text, or a piece of it.
    pub text: Cow<'a, str>,
}

/// How many requests of one principal were refused for their rate in one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed<'a> {
    /// The qualified name, such as `corp/alice`.
    pub principal: Cow<'a, str>,
    /// The first of them.
    pub since: Timestamp,
    /// How many.
    pub count: u64,
}

/// A signature over everything before it: whoever keeps one can tell whether the ledger was cut or
/// rewritten up to there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint<'a> {
    /// The Ed25519 public key, 64 hex digits.
    pub key: Cow<'a, str>,
    /// The Ed25519 signature, 128 hex digits.
    pub signature: Cow<'a, str>,
}

/// What is lost with a job, as its details said before the delete. Never environment variables,
/// parameters or commands, which hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tombstone<'a> {
    /// The decision's `seq`.
    pub of: u64,
    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The Huawei user who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Cow<'a, str>>,
    /// Its kind, such as `job`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "job_kind")]
    pub kind: Option<Cow<'a, str>>,
    /// When it was created: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Cow<'a, str>>,
    /// How long it has run, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Cow<'a, str>>,
    /// The image, if there is no algorithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Cow<'a, str>>,
    /// The flavour of its nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavor: Option<Cow<'a, str>>,
    /// How many nodes it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Its pools.
    #[serde(skip_serializing_if = "is_empty")]
    pub pools: Cow<'a, [String]>,
    /// Where its output is.
    #[serde(skip_serializing_if = "is_empty")]
    pub outputs: Cow<'a, [String]>,
    /// Where its logs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<Cow<'a, str>>,
    /// Where its checkpoints are.
    #[serde(skip_serializing_if = "is_empty")]
    pub checkpoints: Cow<'a, [String]>,
    /// Its tags, where they were looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Cow<'a, BTreeMap<String, String>>>,
}

fn is_empty<T>(them: &[T]) -> bool {
    them.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(it: &bool) -> bool {
    !it
}

/// What becomes of the units of a decision that ended like this: they are given back if the cloud
/// certainly deleted nothing.
#[must_use]
pub fn unit_end(result: Ending, status: Option<u16>) -> End {
    match (result, status) {
        (Ending::Denied | Ending::NotSent | Ending::Present | Ending::Refused, _)
        | (Ending::Sent, Some(400..=499)) => End::GivenBack,
        (Ending::Gone | Ending::Sent, _) => End::Kept,
        (Ending::Unknown, _) => End::Unknown,
    }
}

impl Ending {
    /// Whether nothing remains to be found out.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Unknown
    }

    /// Whether something may have left for the cloud.
    #[must_use]
    pub fn is_sent(self) -> bool {
        !matches!(self, Self::Denied | Self::NotSent | Self::Refused)
    }
}
