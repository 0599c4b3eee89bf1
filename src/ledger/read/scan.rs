//! Reads every record of a ledger once, checked as `audit verify` checks it, and each decision as a
//! query that can be judged again. Decisions and outcomes are parsed once and not copied, because a
//! replay reads millions of them.

use super::verify::{Chain, Reader, Unverified, Verified};
use crate::ledger::line::{self, Fault, Frame, Hash, Kind};
use crate::ledger::record::{Body, Context, Ending, Reason};
use crate::policy::{Action, Answer, Attribute, Attributes, Job, Principal, Query};

use jiff::Timestamp;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// How the lines of decisions and outcomes say what they are. What the gate writes before it has a
/// fixed length, but for the number and the time.
const KINDS: [&[u8]; 2] = [br#","kind":"decision""#, br#","kind":"outcome""#];

/// Where one of [`KINDS`] ends at the latest, in bytes.
const KIND_AT_MAX: usize = 170;

/// One record.
#[derive(Debug)]
pub struct Scanned<'a> {
    /// The ledger.
    pub ledger_id: &'a str,
    /// Its number in the ledger.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The line as it was written, without its LF.
    pub text: &'a [u8],
    /// What it says, if it is about one decision.
    pub told: Told<'a>,
}

/// What a record says of one decision.
#[derive(Debug)]
pub enum Told<'a> {
    /// How it was made.
    Decision(Box<Asked<'a>>),
    /// How it ended, or was settled.
    End(Ended),
    /// Nothing, or nothing that changes what it was or did.
    Else,
}

/// A decision: the question and the answer.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The question.
    pub query: Query,
    /// What was known of the job.
    pub attributes: Attributes,
    /// The policy version that answered.
    pub digest: Cow<'a, str>,
    /// The answer.
    pub result: Answer,
    /// Why the answer is not `allow`.
    pub reason: Option<Reason>,
    /// The statement that decided.
    pub statement: Option<Cow<'a, str>>,
    /// The budget without room.
    pub budget: Option<Cow<'a, str>>,
    /// The units that an allow took.
    pub charges: Vec<Charged<'a>>,
    /// They were taken of counters that other gates may have part in.
    pub is_shared: bool,
    /// The batch that it belongs to.
    pub batch: Option<Cow<'a, str>>,
}

/// A unit that was taken.
#[derive(Debug, Deserialize)]
pub struct Charged<'a> {
    /// The budget.
    #[serde(borrow)]
    pub budget: Cow<'a, str>,
    /// Which of its counters.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
}

/// How a decision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Ended {
    /// The decision's number.
    pub of: u64,
    /// How.
    pub result: Ending,
    /// The cloud's status, if it answered.
    pub status: Option<u16>,
}

/// The line of a decision: the members of every line, and those the decision was made from.
#[derive(Deserialize)]
struct DecisionRow<'a> {
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
    #[serde(borrow)]
    policy_digest: Cow<'a, str>,
    result: Answer,
    reason: Option<Reason>,
    #[serde(borrow)]
    statement: Option<Text<'a>>,
    #[serde(borrow)]
    budget: Option<Text<'a>>,
    #[serde(borrow, default)]
    charges: Vec<Charged<'a>>,
    unit: Option<IgnoredAny>,
    #[serde(borrow)]
    batch: Option<BatchRow<'a>>,
}

/// The line of an outcome: the members of every line, and how it ended.
#[derive(Deserialize)]
struct OutcomeRow<'a> {
    v: u32,
    ledger_id: &'a str,
    seq: u64,
    time: &'a str,
    kind: Kind,
    prev: &'a str,
    of: u64,
    result: Ending,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct BatchRow<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// Borrowed where nothing in it is escaped, which serde does not do within an `Option` by itself.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> DecisionRow<'a> {
    fn frame(&self) -> Frame<'a> {
        let Self { v, ledger_id, seq, time, kind, prev, .. } = *self;
        Frame { v, ledger_id, seq, time, kind, prev }
    }

    fn told(self) -> Result<Told<'a>, Fault> {
        let Self { source, principal, groups, tags, context, .. } = self;
        let method = context.auth_method;
        let principal = Principal::qualified(&source, principal, groups, tags, method);
        let malformed = || Fault::Malformed("the groups are not those of the source".to_owned());
        let principal = principal.ok_or_else(malformed)?;
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
        Ok(Told::Decision(Box::new(Asked {
            query,
            attributes: self.attributes,
            digest: self.policy_digest,
            result: self.result,
            reason: self.reason,
            statement: self.statement.map(|Text(it)| it),
            budget: self.budget.map(|Text(it)| it),
            charges: self.charges,
            is_shared: self.unit.is_some(),
            batch: self.batch.map(|it| it.id),
        })))
    }
}

/// Reads a line and checks everything that can be checked without its neighbours: a decision or an
/// outcome in one pass, if its beginning says that it is one.
fn read<'a>(line: &'a [u8], kinds: &[Finder<'_>; 2]) -> Result<(Frame<'a>, Hash, Told<'a>), Fault> {
    let beginning = line.get(..line.len().min(KIND_AT_MAX)).unwrap_or_default();
    let [is_decision, is_outcome] = kinds.each_ref().map(|it| it.find(beginning).is_some());
    if is_decision
        && let Ok(row) = line::parse::<DecisionRow<'_>>(line)
        && row.kind == Kind::Decision
    {
        let frame = row.frame();
        let hash = frame.check(line)?;
        return Ok((frame, hash, row.told()?));
    }
    if is_outcome
        && let Ok(row) = line::parse::<OutcomeRow<'_>>(line)
        && row.kind == Kind::Outcome
    {
        let OutcomeRow { v, ledger_id, seq, time, kind, prev, of, result, status } = row;
        let frame = Frame { v, ledger_id, seq, time, kind, prev };
        let hash = frame.check(line)?;
        return Ok((frame, hash, Told::End(Ended { of, result, status })));
    }
    let (frame, hash) = Frame::parse(line)?;
    // The line itself is good; reading it as its kind says what is wrong with it.
    let told = match frame.kind {
        Kind::Decision => line::parse::<DecisionRow<'_>>(line)?.told()?,
        Kind::Outcome | Kind::Settlement => Told::End(line::parse(line)?),
        _ => Told::Else,
    };
    Ok((frame, hash, told))
}

impl Scanned<'_> {
    /// The record itself.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it does not follow the schema.
    pub fn body(&self) -> Result<Body<'static>, Fault> {
        line::parse(self.text)
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
        let kinds = KINDS.map(Finder::new);
        let mut take = |chain: &mut Chain, (segment, _), text: &[u8]| {
            let (frame, hash, told) = read(text, &kinds)?;
            let (_, time) = chain.link(segment, &frame, hash)?;
            let Frame { ledger_id, seq, kind, .. } = frame;
            take(Scanned { ledger_id, seq, time, kind, text, told })
        };
        while self.step(&mut take)?.is_some() {}
        Ok(self.verified())
    }
}
