//! Reads every record of a ledger once, checked as `audit verify` checks it, and each decision as a
//! query that can be judged again. Each line is parsed once and not copied, because a replay judges
//! millions of decisions.

use super::reader::{Lines, Piece, segment_name};
use super::recover::Damage;
use super::verify::{Reader, Unverified, Verified};
use crate::ledger::line::{Fault, Frame, Hash, Kind};
use crate::ledger::record::{Body, Context, Reason};
use crate::policy::{Action, Answer, Attribute, Attributes, Job, Principal, Query};

use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The member that marks the line of a decision. What the gate writes before it has a fixed length,
/// but for the number and the time.
const DECISION: &[u8] = br#","kind":"decision","#;

/// Where [`DECISION`] ends at the latest, in bytes.
const DECISION_AT_MAX: usize = 160;

/// One record.
#[derive(Debug)]
pub struct Scanned<'a> {
    /// When it was committed.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The line as it was written, without its LF.
    pub text: &'a [u8],
    /// The decision; `None` for other kinds.
    pub decision: Option<Asked>,
}

/// A decision: the question and the answer.
#[derive(Debug)]
pub struct Asked {
    /// The question.
    pub query: Query,
    /// What was known of the job.
    pub attributes: Attributes,
    /// The policy version that answered.
    pub digest: String,
    /// The answer.
    pub result: Answer,
    /// Why the answer is not `allow`.
    pub reason: Option<Reason>,
    /// The statement that decided.
    pub statement: Option<String>,
}

/// The line of a decision: the members of every line, and those the decision was made from.
#[derive(Deserialize)]
struct Row<'a> {
    v: u32,
    ledger_id: &'a str,
    seq: u64,
    time: &'a str,
    kind: Kind,
    prev: &'a str,
    #[serde(borrow)]
    source: Cow<'a, str>,
    principal: String,
    groups: Vec<String>,
    tags: BTreeMap<String, String>,
    source_ip: Attribute<IpAddr>,
    project: String,
    job: String,
    action: Action,
    context: Context<'static>,
    attributes: Attributes,
    policy_digest: String,
    result: Answer,
    reason: Option<Reason>,
    statement: Option<String>,
}

impl<'a> Row<'a> {
    fn frame(&self) -> Frame<'a> {
        let Self { v, ledger_id, seq, time, kind, prev, .. } = *self;
        Frame { v, ledger_id, seq, time, kind, prev }
    }

    fn asked(self) -> Option<Asked> {
        let Self { source, principal, groups, tags, context, .. } = self;
        let method = context.auth_method;
        let principal = Principal::qualified(&source, principal, groups, tags, method)?;
        let query = Query {
            principal: Arc::new(principal),
            action: self.action,
            job: Arc::new(Job::new(self.project, self.job)),
            region: context.region.into_owned(),
            account: context.account.into_owned(),
            now: context.now,
            source_ip: self.source_ip,
            secure_transport: context.secure_transport,
            user_agent: context.user_agent.into_owned(),
        };
        Some(Asked {
            query,
            attributes: self.attributes,
            digest: self.policy_digest,
            result: self.result,
            reason: self.reason,
            statement: self.statement,
        })
    }
}

/// Reads a line and checks everything that can be checked without its neighbours.
fn read(line: &[u8]) -> Result<(Frame<'_>, Hash, Option<Asked>), Fault> {
    let beginning = line.get(..line.len().min(DECISION_AT_MAX)).unwrap_or_default();
    let is_decision = memchr::memmem::find(beginning, DECISION).is_some();
    let row = is_decision.then(|| serde_json::from_slice::<Row<'_>>(line).ok()).flatten();
    if let Some(row) = row
        && row.kind == Kind::Decision
    {
        let frame = row.frame();
        let hash = frame.check(line)?;
        let asked = row.asked();
        let malformed = || Fault::Malformed("the groups are not those of the source".to_owned());
        return Ok((frame, hash, Some(asked.ok_or_else(malformed)?)));
    }
    let (frame, hash) = Frame::parse(line)?;
    if frame.kind != Kind::Decision {
        return Ok((frame, hash, None));
    }
    // The line itself is good; reading it as a decision says what is wrong with the decision.
    let row = serde_json::from_slice::<Row<'_>>(line);
    let row = row.map_err(|error| Fault::Malformed(error.to_string()))?;
    let malformed = || Fault::Malformed("the groups are not those of the source".to_owned());
    Ok((frame, hash, Some(row.asked().ok_or_else(malformed)?)))
}

impl Scanned<'_> {
    /// The record itself.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it does not follow the schema.
    pub fn body(&self) -> Result<Body<'static>, Fault> {
        serde_json::from_slice(self.text).map_err(|error| Fault::Malformed(error.to_string()))
    }
}

impl Reader {
    /// Hands every record from here on to `take`, and returns what was verified; `None` if there is
    /// no ledger.
    ///
    /// # Errors
    /// The first fault, those that `take` finds included, or the system's error.
    pub fn scan(
        mut self,
        mut take: impl FnMut(Scanned<'_>) -> Result<(), Fault>,
    ) -> Result<Option<Verified>, Unverified> {
        while let Some(first) = self.next_first()? {
            let mut lines = Lines::open(&self.directory, first)?;
            let is_last = self.segments.is_empty();
            let mut line = 0;
            while let Some(piece) = lines.next()? {
                line += 1;
                let taken = match piece {
                    Piece::Line(text) => read(text).and_then(|(frame, hash, decision)| {
                        let taken = self.chain.link(first, &frame, hash)?;
                        let (time, kind) = (taken.time, taken.kind);
                        take(Scanned { time, kind, text, decision })
                    }),
                    Piece::Rest(rest) if is_last => self.chain.end(first, rest),
                    Piece::Rest(_) => Err(Fault::CutOff),
                    Piece::TooLong(_) => Err(Fault::TooLong),
                };
                let file = || segment_name(first);
                taken.map_err(|fault| Damage::Line { file: file(), line, fault })?;
            }
            if line == 0 && !is_last {
                let (file, fault) = (segment_name(first), Fault::CutOff);
                return Err(Damage::LastLine { file, fault }.into());
            }
        }
        Ok(self.verified())
    }
}
