//! Evaluate, find out what could still change the answer, evaluate again.

use super::{Gateway, Tombstones};
use crate::attributes::{Unknown, remains};
use crate::ledger::record;
use crate::metrics;
use crate::policy::{Action, Attributes, Decision, Query, Reason, Set, Sources};
use crate::telemetry::{Stage, Trace};
use crate::upstream::{Answer, Upstream};

use std::sync::Arc;
use tokio::time::Instant;

/// A question, whom to ask about the job, and by which policies to answer: one version of them for
/// the whole request, as a reload must not change the rules half way.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) query: Query,
    pub(super) upstream: Arc<Upstream>,
    pub(super) policies: Arc<Set>,
    /// The job's place in its batch, and how many jobs the batch has.
    pub(super) place: Option<(u32, u32)>,
}

/// A question with its answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(super) decision: Decision,
    pub(super) basis: Basis,
}

/// What an answer is based on.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) question: Question,
    pub(super) attributes: Attributes,
    pub(super) look_ups: Vec<record::LookUp>,
    /// The moment before the first look-up was sent; `None` without one.
    pub(super) known_since: Option<Instant>,
    pub(super) unknown_because: Option<Unknown>,
    /// The job as the cloud describes it, for a look.
    pub(super) seen: Option<Box<Answer>>,
    /// What to remember of it where it may be deleted.
    pub(super) tombstone: Option<Box<record::Tombstone<'static>>>,
}

impl Gateway {
    /// Answers `question`, looking up only what can change the answer.
    pub(super) async fn resolve(&self, trace: &Trace, question: Question) -> Answered {
        let Question { query, upstream, policies, .. } = &question;
        let mut attributes = Attributes::default();
        let mut asked = Sources::default();
        let mut look_ups = Vec::new();
        let mut known_since = None;
        let mut unknown_because = None;
        let mut seen: Option<Box<Answer>> = None;
        let decision = loop {
            let evaluate = || policies.evaluate(query, &attributes);
            let decision = trace.within(Stage::Evaluate, evaluate);
            let wanted = match &decision {
                Decision::Indeterminate(doubt) => doubt.wanted.without(asked),
                Decision::Allow(_) | Decision::Deny(_) => Sources::default(),
            };
            let not_found = matches!(unknown_because, Some(Unknown::NotFound(_)));
            if wanted.is_empty() || not_found {
                break decision;
            }
            let resolver = &self.resolver;
            // In a box, because most requests need none and would carry it about.
            let mut round =
                Box::pin(resolver.look_up(upstream, (query, wanted), trace, &mut attributes)).await;
            asked = asked.union(wanted);
            look_ups.append(&mut round.look_ups);
            known_since = known_since.or(round.asked);
            seen = round.seen.take().or(seen);
            unknown_because = round.because().or(unknown_because);
        };
        let remembers = matches!(decision, Decision::Allow(_)) && query.action.is_delete();
        let tombstone = match self.settings.tombstones {
            Tombstones::Always if remembers && !asked.details => {
                // The decision stands; what is found here is not part of its basis.
                let details = Sources { details: true, tags: false };
                let mut aside = Attributes::default();
                let looking = self.resolver.look_up(upstream, (query, details), trace, &mut aside);
                looking.await.seen.map(|it| remains(&it.body, &aside))
            }
            Tombstones::Always | Tombstones::LookedUp if remembers => {
                seen.as_ref().map(|it| remains(&it.body, &attributes))
            }
            Tombstones::Always | Tombstones::LookedUp | Tombstones::Off => None,
        };
        let tombstone = tombstone.map(Box::new);
        let seen = seen.filter(|_| query.action == Action::Get);
        let basis =
            Basis { question, attributes, look_ups, known_since, unknown_because, seen, tombstone };
        Answered { decision, basis }
    }
}

/// What metrics call `decision`, which came after `look_ups`.
pub(super) fn word(decision: &Decision, look_ups: &[record::LookUp]) -> metrics::Decision {
    use metrics::Decision as Word;
    let because = |it| match it {
        record::Reason::NoSuchJob => Word::NoSuchJob,
        record::Reason::LookUpFailed => Word::LookUpFailed,
        record::Reason::PoolGroup => Word::PoolGroup,
        record::Reason::Unreadable => Word::Unreadable,
        _ => Word::Indeterminate,
    };
    match decision {
        Decision::Allow(_) => Word::Allow,
        Decision::Deny(denial) => match denial.reason {
            Reason::ExplicitDeny => Word::ExplicitDeny,
            Reason::NothingAllows => Word::NothingAllows,
            Reason::OutsideGuardrails => Word::OutsideGuardrails,
            Reason::OverBudget => Word::OverBudget,
        },
        Decision::Indeterminate(_) => {
            record::Reason::of(decision, look_ups).map_or(Word::Indeterminate, because)
        }
    }
}
