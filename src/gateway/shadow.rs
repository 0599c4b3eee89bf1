//! A candidate beside the policies in force: it is asked the same question with the same facts and
//! decides nothing. What only the candidate wants to know is not looked up.

use super::resolve::{Answered, Basis};
use crate::ledger::record::{self, Reason, ShadowError};
use crate::metrics::{self, Live, Metrics};
use crate::policy::{Answer, Attributes, Decision, Query};
use crate::reload::Policies;
use crate::replay::{Class, Said};

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How many kinds of differences are logged, each when it is first seen; the ledger has all of
/// them.
const SIGHTINGS_MAX: usize = 1024;

/// The candidate.
#[derive(Debug)]
pub struct Shadow {
    policies: Policies,
    metrics: Metrics,
    /// What was logged already.
    seen: Mutex<BTreeSet<(Class, String)>>,
}

/// What the candidate says beside each of `judged`, to the same question with the same facts, so that
/// a difference is one of the policies; nothing where there is none.
pub(super) fn beside(
    candidate: Option<&Shadow>,
    judged: &[Answered],
) -> Vec<Option<record::Shadow<'static>>> {
    let judge = |it: &Answered| {
        let Basis { question, attributes, .. } = &it.basis;
        Some(candidate?.judge(&it.decision, &question.query, attributes))
    };
    judged.iter().map(judge).collect()
}

impl Shadow {
    /// What `policies` say is counted in `metrics`.
    #[must_use]
    pub fn new(policies: Policies, metrics: Metrics) -> Self {
        Self { policies, metrics, seen: Mutex::default() }
    }

    /// What the candidate says to `query`, to which the policies in force say `live`, as it is
    /// recorded. It is counted, and logged if it is a difference of a new kind.
    pub fn judge(
        &self,
        live: &Decision,
        query: &Query,
        attributes: &Attributes,
    ) -> record::Shadow<'static> {
        let candidate = self.policies.latest();
        let decision = candidate.as_ref().map(|it| it.evaluate(query, attributes));
        let error = match &decision {
            Ok(Decision::Indeterminate(doubt)) => {
                ShadowError::needs(doubt.wanted.without(attributes.sources()))
            }
            Ok(_) => None,
            Err(_) => Some(ShadowError::NotLoaded),
        };
        let said = decision.as_ref().ok().filter(|_| error.is_none());
        self.metrics.shadow_decision(self::live(live.answer()), shadow(said, error));
        self.tell(live, said, error);
        // Without the candidate, the digest of what could not be loaded, if it could be read.
        let digest =
            candidate.as_ref().map_or_else(Clone::clone, |it| Some(it.digest().to_owned()));
        record::Shadow {
            digest: digest.map(Cow::Owned),
            result: said.map(Decision::answer),
            // Why it is undecided is the live decision's to say: the look-ups are the same.
            reason: said.and_then(Decision::denial).map(|it| Reason::from(it.reason)),
            statement: said.and_then(Decision::statement).map(|it| it.as_str().to_owned().into()),
            error,
        }
    }

    /// Logs a difference of a kind that was not seen before.
    fn tell(&self, live: &Decision, said: Option<&Decision>, error: Option<ShadowError>) {
        let (before, after) = (Said::of(live), said.map(Said::of));
        let class = match (error, after) {
            (Some(error), _) => Some(Class::from(error)),
            (None, Some(after)) => Class::of(before.answer, after.answer),
            (None, None) => None,
        };
        let Some(class) = class else { return };
        let statement = after.and_then(|it| it.by).or(before.by).unwrap_or("nobody");
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SIGHTINGS_MAX && seen.insert((class, statement.to_owned())) {
            let class = class.as_str();
            tracing::warn!(class, statement, "the shadow policies would answer differently");
        }
    }
}

fn live(answer: Answer) -> Live {
    match answer {
        Answer::Allow => Live::Allow,
        Answer::Deny => Live::Deny,
        Answer::Indeterminate => Live::Indeterminate,
    }
}

fn shadow(said: Option<&Decision>, error: Option<ShadowError>) -> metrics::Shadow {
    match (said.map(Decision::answer), error) {
        (_, Some(ShadowError::NotLoaded)) | (None, None) => metrics::Shadow::NotLoaded,
        (_, Some(_)) => metrics::Shadow::Needs,
        (Some(Answer::Allow), None) => metrics::Shadow::Allow,
        (Some(Answer::Deny), None) => metrics::Shadow::Deny,
        (Some(Answer::Indeterminate), None) => metrics::Shadow::Indeterminate,
    }
}
