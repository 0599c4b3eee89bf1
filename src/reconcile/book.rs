//! What the ledgers say: which deletes were sent, with which key and when, and which were refused.

use super::field::User;
use super::{Unbound, Window};
use crate::ledger::record::{Body, Outcome};
use crate::ledger::{Damage, Ending, Kind, LedgerId, Record};
use crate::policy::Answer;

use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// How many deletes of the ledgers are kept.
pub const DECISIONS_MAX: usize = 4_000_000;

/// What was read of the ledgers.
#[derive(Debug, Default)]
pub struct Book {
    /// What was sent, or may have been, by job.
    pub(super) sent: HashMap<Box<str>, Vec<Sent>>,
    /// The first delete of each job that was not allowed.
    pub(super) denied: HashMap<Box<str>, Mention>,
    /// What names the gate: its keys, and further names that the caller gave.
    gates: BTreeSet<Box<str>>,
    /// Only deletes in these projects must be in the trail; in all, if empty.
    projects: BTreeSet<Box<str>>,
    /// Decisions of the ledger that is read, without a final outcome.
    open: HashMap<u64, Sent>,
    kept: usize,
    begins: Vec<(Timestamp, bool)>,
    current: Option<LedgerId>,
    pub(super) decisions: u64,
}

/// A record of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) ledger: LedgerId,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) principal: Box<str>,
}

/// A delete that was sent, or may have been.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) job: Box<str>,
    pub(super) at: Mention,
    pub(super) fate: Fate,
    /// It must be in the trail, if the cloud accepted it.
    pub(super) is_compared: bool,
    pub(super) request_id: Option<Box<str>>,
    pub(super) access_key: Option<Box<str>>,
}

/// How a delete ended, according to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The cloud accepted it, or the job was found gone after it.
    Accepted,
    /// The cloud refused it, or the job was found there after it.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Book {
    /// Takes one record of one ledger; the records of a ledger come in order.
    ///
    /// # Errors
    /// It is not a record of the schema.
    pub fn take(&mut self, record: &Record, unbound: &Unbound) -> Result<(), Damage> {
        if self.current.as_ref() != Some(&record.ledger_id) {
            self.end();
            self.current = Some(record.ledger_id.clone());
            self.begins.push((record.time, record.seq == 1));
        }
        let counts = matches!(record.kind, Kind::Decision | Kind::Outcome | Kind::Settlement);
        if !counts || self.is_full() {
            return Ok(());
        }
        match record.body()? {
            Body::Decision(it) => {
                self.decisions += 1;
                let job: Box<str> = it.job.to_ascii_lowercase().into();
                let at = Mention {
                    ledger: record.ledger_id.clone(),
                    seq: record.seq,
                    time: record.time,
                    principal: it.principal.as_ref().into(),
                };
                if it.result != Answer::Allow {
                    // The ledger that is read later may have the earlier one.
                    let known = self.denied.get(&job);
                    if known.is_none_or(|it| at.time < it.time) {
                        self.denied.insert(job, at);
                    }
                } else if unbound.may_matter(record.time) {
                    let sent = Sent {
                        job,
                        at,
                        fate: Fate::Unknown,
                        is_compared: self.projects.is_empty()
                            || self.projects.contains(&*it.project),
                        request_id: None,
                        access_key: None,
                    };
                    self.open.insert(record.seq, sent);
                }
            }
            Body::Outcome(it) => self.outcome(&it),
            Body::Settlement(it) => {
                if let Some(mut sent) = self.open.remove(&it.of) {
                    sent.fate = fate(it.result, None);
                    self.keep(sent);
                }
            }
            Body::Checkpoint(_)
            | Body::Policies(_)
            | Body::Suppressed(_)
            | Body::Tombstone(_)
            | Body::Unknown => (),
        }
        Ok(())
    }

    /// Whether [`DECISIONS_MAX`] is reached: what came after it was not taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        DECISIONS_MAX <= self.kept + self.open.len() + self.denied.len()
    }

    /// Adds a name of the gate, in addition to the keys in the ledgers: the ID of a key, the name of
    /// its user, or a URN, which may end in `*`.
    pub fn also_gate(&mut self, word: &str) {
        self.gates.insert(word.into());
    }

    /// Compares deletes in this project, and no longer those in all of them.
    pub fn only_project(&mut self, id: &str) {
        self.projects.insert(id.into());
    }

    /// Whether `user` is the gate.
    pub(super) fn is_gates(&self, user: &User) -> bool {
        let begins = |urn: &str| {
            let mut stems = self.gates.iter().filter_map(|it| it.strip_suffix('*'));
            stems.any(|it| urn.starts_with(it))
        };
        let urn = user.urn.as_deref();
        let words = [user.access_key.as_deref(), urn, user.name.as_deref()];
        words.into_iter().flatten().any(|it| self.gates.contains(it)) || urn.is_some_and(begins)
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        if let Some(key) = &outcome.access_key {
            self.gates.insert(key.as_ref().into());
        }
        if !outcome.result.is_final() {
            if let Some(sent) = self.open.get_mut(&outcome.of) {
                sent.add(outcome);
            }
        } else if let Some(mut sent) = self.open.remove(&outcome.of) {
            sent.add(outcome);
            if outcome.result.is_sent() {
                self.keep(sent);
            }
        }
    }

    fn keep(&mut self, sent: Sent) {
        self.kept += 1;
        self.sent.entry(sent.job.clone()).or_default().push(sent);
    }

    /// Ends a ledger: what is open in it may have been sent.
    pub(super) fn end(&mut self) {
        for (_, sent) in std::mem::take(&mut self.open) {
            self.keep(sent);
        }
        self.current = None;
    }

    /// From when on the ledgers are complete: from the first record of the oldest one, or, where
    /// retention has removed records, from the youngest first record of those ledgers.
    #[must_use]
    pub fn begin(&self) -> Option<Timestamp> {
        let first = self.begins.iter().map(|(time, _)| *time).min();
        let cut = self.begins.iter().filter(|(_, whole)| !whole).map(|(time, _)| *time).max();
        first.max(cut)
    }

    /// The period to compare: that of `unbound`; without a beginning, from where the ledgers begin.
    #[must_use]
    pub fn window(&self, unbound: &Unbound) -> Window {
        let wanted = unbound.until.unwrap_or(unbound.settled);
        let until = wanted.min(unbound.settled);
        // Some forms of an event's time have whole seconds only.
        let whole = |it: Timestamp| Timestamp::from_second(it.as_second()).unwrap_or(it);
        let since = unbound.since.or_else(|| self.begin().map(whole)).unwrap_or(until);
        Window { since, until, wanted }
    }
}

impl Sent {
    fn add(&mut self, outcome: &Outcome<'_>) {
        let boxed =
            |it: &Option<_>| it.as_ref().map(|it: &std::borrow::Cow<'_, str>| it.as_ref().into());
        self.fate = fate(outcome.result, outcome.status);
        self.request_id = boxed(&outcome.upstream_request_id);
        self.access_key = boxed(&outcome.access_key);
    }
}

fn fate(result: Ending, status: Option<u16>) -> Fate {
    match (result, status) {
        (Ending::Gone, _) | (Ending::Sent, Some(200..=299)) => Fate::Accepted,
        (Ending::Sent, Some(400..=499)) => Fate::Refused,
        (Ending::Denied | Ending::NotSent | Ending::Present | Ending::Refused, _) => Fate::Refused,
        (Ending::Sent | Ending::Unknown, _) => Fate::Unknown,
    }
}
