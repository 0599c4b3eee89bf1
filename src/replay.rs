//! What would other policies have said? Recorded decisions, judged again: by the version that made
//! them, which has to say the same, and by a candidate.
//!
//! Memory does not grow with the ledger: differences are grouped by class and statement as they
//! are found, and each group keeps one example.

mod accept;
mod budgets;
mod recorded;
mod tally;
#[cfg(test)]
mod tests;
mod versions;

pub use self::accept::{Acceptance, Accepted};
pub use self::recorded::{RecordedDecision, recorded};
pub use self::tally::{Class, Example, Group, PRINCIPALS_MAX, Tally};

use self::budgets::{Counted, Room};
pub(crate) use self::versions::Versions;

use crate::ledger::record::{self, Body, Reason, ShadowError};
use crate::ledger::{Asked, Fault, Kind, Reader, Scanned, Seen, Told, Unverified, Verified};
use crate::policy::{Answer, Attributes, Decision, Denial, Set};

use jiff::Timestamp;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Which of the recorded decisions count, and how they are compared.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// The same answer by another statement is a difference too.
    pub statements: bool,
    /// Of several ledgers one may be a copy of another: what both hold is counted once.
    pub copies: bool,
    /// What the policies allow is compared, whether or not a budget had room. Otherwise the candidate's
    /// budgets count, in order of time.
    pub policies_alone: bool,
    /// How many gates shared each budget; 0 counts as 1.
    pub replicas: u32,
}

/// Judges ledgers again.
#[derive(Debug)]
pub struct Replay {
    candidate: Arc<Set>,
    options: Options,
    versions: Versions,
    seen: Option<Seen>,
    /// The deletes of the ledger that is read; `None` before its first record, and where the
    /// candidate's budgets do not count.
    counted: Option<Counted>,
    /// The last new record: its ledger and its number.
    last: Option<(String, u64)>,
    tally: Tally,
}

impl Options {
    fn seen(&self) -> Option<Seen> {
        self.copies.then(Seen::default)
    }

    fn wants(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|it| it <= time) && self.until.is_none_or(|it| time < it)
    }
}

impl Replay {
    /// Compares with `candidate`.
    #[must_use]
    pub fn new(candidate: Arc<Set>, options: Options) -> Self {
        let (versions, seen) = (Versions::default(), options.seen());
        let tally = Tally::default();
        Self { candidate, options, versions, seen, counted: None, last: None, tally }
    }

    /// Verifies the ledger in `directory` and judges its decisions again. Of several directories with
    /// parts of one ledger the earlier part is read first. `progress` is called after each record, with
    /// what was found and the bytes that were read so far.
    ///
    /// # Errors
    /// The first fault of the ledger, or the system's error; what was counted does not count then.
    pub fn read(
        &mut self,
        directory: &Path,
        mut progress: impl FnMut(&Tally, u64),
    ) -> Result<Option<Verified>, Unverified> {
        let mut bytes = 0_u64;
        Reader::open(directory)?.scan(|scanned| {
            bytes += u64::try_from(scanned.text.len()).unwrap_or(u64::MAX) + 1;
            self.take(&scanned)?;
            progress(&self.tally, bytes);
            Ok(())
        })
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Tally {
        self.tally
    }

    fn take(&mut self, scanned: &Scanned<'_>) -> Result<(), Fault> {
        let Scanned { ledger_id, seq, time, text, .. } = *scanned;
        if scanned.kind == Kind::Policies {
            self.versions.add(scanned.body()?);
        }
        if self.seen.as_mut().is_some_and(|it| !it.is_new(seq, text)) {
            return Ok(());
        }
        self.follow(ledger_id, seq);
        if !self.options.policies_alone {
            let counted = self.counted.get_or_insert_with(|| {
                let budgets = self.candidate.budgets();
                Counted::new(budgets, self.options.replicas, (seq, time))
            });
            counted.at(time);
        }
        match &scanned.told {
            Told::Decision(asked) => self.judge(seq, time, asked),
            Told::End(ended) => {
                if let Some(counted) = &mut self.counted {
                    counted.end(*ended);
                }
            }
            Told::Else => (),
        }
        match scanned.kind {
            Kind::Suppressed if self.options.wants(time) => {
                if let Body::Suppressed(it) = scanned.body()? {
                    self.tally.suppressed = self.tally.suppressed.saturating_add(it.count);
                }
            }
            Kind::Unknown => self.tally.unknown_kinds += 1,
            _ => (),
        }
        Ok(())
    }

    /// Forgets what was counted if this record does not follow the last new one: it is another ledger's,
    /// records are missing between the two, or a copy went on differently.
    fn follow(&mut self, ledger_id: &str, seq: u64) {
        match &mut self.last {
            Some((id, last)) if id == ledger_id && last.checked_add(1) == Some(seq) => *last = seq,
            _ => {
                self.counted = None;
                self.last = Some((ledger_id.to_owned(), seq));
            }
        }
    }

    fn judge(&mut self, seq: u64, time: Timestamp, asked: &Asked<'_>) {
        let set = self.versions.get(&asked.digest).cloned();
        // Outside the window, and without the policies that decided, the record is what counts.
        let mut allows = asked.result == Answer::Allow;
        if self.options.wants(time) {
            self.tally.decisions += 1;
            match &set {
                Some(set) => allows = self.compare(time, asked, set),
                None => self.tally.without_policies += 1,
            }
        }
        if let Some(counted) = &mut self.counted {
            counted.take(seq, asked, set.as_ref().map(|it| it.budgets()), allows);
        }
    }

    /// Judges a decision again, by the version `set` that made it and by the candidate. Returns
    /// whether the candidate's budgets count it.
    fn compare(&mut self, time: Timestamp, asked: &Asked<'_>, set: &Set) -> bool {
        let Self { candidate, options, counted, tally, .. } = self;
        let as_recorded = asked.result == Answer::Allow;
        let before = set.evaluate(&asked.query, &asked.attributes);
        let over = |name: &str| Decision::Deny(Denial::over_budget(name));
        let is_counted = !options.policies_alone;
        let was = asked.budget.as_deref().filter(|_| is_counted).map(over);
        if !is_recorded(asked, &before, set, is_counted) {
            let recorded = was.as_ref().map_or_else(|| Said::recorded(asked), Said::of);
            tally.add(Class::Drift, time, asked, (&Said::of(&before), &recorded));
            return as_recorded;
        }
        let judged;
        let after = match candidate.digest() == set.digest() {
            true => &before,
            false => {
                judged = candidate.evaluate(&asked.query, &asked.attributes);
                &judged
            }
        };
        let room = match (counted, after) {
            (Some(counted), Decision::Allow(_)) => counted.room(asked, set.budgets()),
            _ => Room::Free,
        };
        let before = was.as_ref().unwrap_or(&before);
        let says = match &room {
            Room::Spent(name) => Some(over(name)),
            // A budget that had room may have none for the candidate, and the other way round.
            Room::Unknown(name) => as_recorded.then(|| over(name)),
            Room::Free => None,
        };
        let after = says.as_ref().unwrap_or(after);
        let class = match room {
            Room::Unknown(_) => Some(Class::NeedsPast),
            _ => class(before, after, &asked.attributes, options.statements),
        };
        match class {
            Some(class) => tally.add(class, time, asked, (&Said::of(before), &Said::of(after))),
            None => tally.same += 1,
        }
        match class {
            Some(class) if class.is_open() => as_recorded,
            _ => after.answer() == Answer::Allow,
        }
    }
}

/// The version says today what it said then; `is_counted` if its budgets have to agree too.
fn is_recorded(asked: &Asked<'_>, before: &Decision, set: &Set, is_counted: bool) -> bool {
    match asked.reason {
        // A record of a budget without room does not say which statement had allowed.
        Some(Reason::OverBudget) => {
            let counts = || budgets::could_deny(asked, set.budgets());
            before.answer() == Answer::Allow && (!is_counted || counts())
        }
        _ => {
            let counts = || budgets::are_charges_of(asked, set.budgets());
            let is_counted = is_counted && asked.result == Answer::Allow;
            Said::recorded(asked) == Said::of(before) && (!is_counted || counts())
        }
    }
}

/// An answer and who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Said<'a> {
    /// The answer.
    pub answer: Answer,
    /// As a suite calls the decider.
    pub by: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// What a decision says.
    #[must_use]
    pub fn of(decision: &'a Decision) -> Self {
        Self { answer: decision.answer(), by: decision.decider() }
    }

    /// What a record says.
    #[must_use]
    pub fn recorded(asked: &'a Asked<'_>) -> Self {
        Self::written(asked.result, asked.reason, asked.statement.as_deref())
    }

    /// What the members of a record say. A budget without room is no answer of the policies, which
    /// allowed.
    #[must_use]
    pub fn written(answer: Answer, reason: Option<Reason>, statement: Option<&'a str>) -> Self {
        let (answer, by) = match reason {
            Some(Reason::OverBudget) => (Answer::Allow, statement),
            Some(Reason::OutsideGuardrails) => (answer, Some("ceiling")),
            Some(Reason::NothingAllows) => (answer, Some("none")),
            _ => (answer, statement),
        };
        Self { answer, by }
    }
}

/// How `after` differs from `before`; `None` if it does not.
fn class(
    before: &Decision,
    after: &Decision,
    attributes: &Attributes,
    statements: bool,
) -> Option<Class> {
    if let Decision::Indeterminate(doubt) = after {
        let missing = doubt.wanted.without(attributes.sources());
        if let Some(needs) = ShadowError::needs(missing) {
            return Some(needs.into());
        }
    }
    let differs = Said::of(before).by != Said::of(after).by;
    let by_another = (statements && differs).then_some(Class::Statement);
    Class::of(before.answer(), after.answer()).or(by_another)
}

/// Counts what the shadow policies said beside the recorded decisions.
#[derive(Debug, Default)]
pub struct Shadows {
    options: Options,
    seen: Option<Seen>,
    tally: Tally,
}

impl Shadows {
    /// Counts decisions in this window.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { seen: options.seen(), options, tally: Tally::default() }
    }

    /// Verifies the ledger in `directory` and counts what its shadows say.
    ///
    /// # Errors
    /// The first fault of the ledger, or the system's error.
    pub fn read(&mut self, directory: &Path) -> Result<Option<Verified>, Unverified> {
        Reader::open(directory)?.scan(|scanned| {
            let time = scanned.time;
            if self.seen.as_mut().is_some_and(|it| !it.is_new(scanned.seq, scanned.text)) {
                return Ok(());
            }
            self.tally.unknown_kinds += u64::from(scanned.kind == Kind::Unknown);
            let Told::Decision(asked) = &scanned.told else { return Ok(()) };
            if !self.options.wants(time) {
                return Ok(());
            }
            let Body::Decision(recorded) = scanned.body()? else { return Ok(()) };
            self.tally.decisions += 1;
            match &recorded.shadow {
                Some(shadow) => self.take(time, asked, shadow),
                None => self.tally.without_shadow += 1,
            }
            Ok(())
        })
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Tally {
        self.tally
    }

    fn take(&mut self, time: Timestamp, asked: &Asked<'_>, shadow: &record::Shadow<'_>) {
        let before = Said::recorded(asked);
        if let Some(error) = shadow.error {
            self.tally.add(Class::from(error), time, asked, (&before, &before));
            return;
        }
        let Some(answer) = shadow.result else {
            self.tally.add(Class::NotLoaded, time, asked, (&before, &before));
            return;
        };
        let after = Said::written(answer, shadow.reason, shadow.statement.as_deref());
        let by_another = self.options.statements && before.by != after.by;
        let by_another = by_another.then_some(Class::Statement);
        match Class::of(before.answer, after.answer).or(by_another) {
            Some(class) => self.tally.add(class, time, asked, (&before, &after)),
            None => self.tally.same += 1,
        }
    }
}
