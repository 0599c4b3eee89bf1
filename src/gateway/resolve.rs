//! Evaluate, find out what could still change the answer, evaluate again.

use crate::attributes::{self, ANSWER_BYTES_MAX, PoolWords};
use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::ledger::record;
use crate::metrics::{self, LookUp, LookUpResult, Metrics};
use crate::policy::{Attribute, Attributes, Decision, Query, Reason, Set, Sources};
use crate::telemetry::Stage;
use crate::upstream::{Answer, LookUpError, LookedUp, Upstream};

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// A question, whom to ask about the job, and by which policies to answer: one version of them for
/// the whole request, as a reload must not change the rules half way.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) query: Query,
    pub(super) upstream: Arc<Upstream>,
    pub(super) policies: Arc<Set>,
}

/// A case with its answer, and what led to it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(super) case: Case,
    pub(super) attributes: Attributes,
    pub(super) decision: Decision,
    pub(super) look_ups: Vec<record::LookUp>,
    /// Before the oldest look-up that counts was asked for: an answer is as old as its question, as
    /// it can lie in a buffer for as long as this process stands still. `None` without a look-up.
    pub(super) known_since: Option<Instant>,
    pub(super) unknown_because: Option<Unknown>,
}

/// Why attributes are still unavailable after the look-ups.
#[derive(Debug)]
pub(super) enum Unknown {
    Failed(LookUpError),
    /// The cloud's answer to a job, or a route, that it does not know.
    NotFound(Box<Answer>),
    /// An answer came and cannot be read with certainty.
    Unreadable(attributes::Error),
}

/// How attributes are read, and where look-ups are counted.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) words: PoolWords,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
}

impl Resolver {
    /// Answers `case`, looking up only what can change the answer.
    pub(super) async fn resolve(&self, exchange: &mut Exchange, case: Case) -> Judged {
        let mut attributes = Attributes::default();
        let mut asked = Sources::default();
        let mut look_ups = Vec::new();
        let mut known_since = None;
        let mut unknown_because = None;
        loop {
            let evaluate = || case.policies.evaluate(&case.query, &attributes);
            let decision = exchange.trace.within(Stage::Evaluate, evaluate);
            let wanted = match &decision {
                Decision::Indeterminate(doubt) => doubt.wanted.without(asked),
                Decision::Allow(_) | Decision::Deny(_) => Sources::default(),
            };
            let not_found = matches!(unknown_because, Some(Unknown::NotFound(_)));
            if wanted.is_empty() || not_found {
                exchange.facts.decision = Some(word(&decision));
                exchange.facts.statement = decision.statement().map(ToString::to_string);
                return Judged {
                    case,
                    attributes,
                    decision,
                    look_ups,
                    known_since,
                    unknown_because,
                };
            }
            let mut round = self.look_up(exchange, &case, wanted).await;
            asked = asked.union(wanted);
            look_ups.append(&mut round.look_ups);
            known_since = known_since.or(round.earliest);
            unknown_because = round.merge_into(&mut attributes).or(unknown_because);
            attributes.asked(wanted);
        }
    }

    async fn look_up(&self, exchange: &mut Exchange, case: &Case, wanted: Sources) -> Round {
        let trace = &exchange.trace;
        let Case { query, upstream, .. } = case;
        let details = async {
            if !wanted.details {
                return None;
            }
            let asked = Instant::now();
            let (answer, done) = upstream.details(&query.job, trace, ANSWER_BYTES_MAX).await;
            let read = |body: &[u8]| {
                attributes::details(body, &query.job.training_job_id, query.now, &self.words)
            };
            let (found, mut look_up) = self.read(answer, LookUp::Details, read);
            if found.as_ref().is_ok_and(|it| it.in_pool_group) {
                look_up.result = record::LookUpResult::PoolGroup;
            }
            Some((found.map(|it| it.attributes), look_up, asked, done))
        };
        let tags = async {
            if !wanted.tags {
                return None;
            }
            let asked = Instant::now();
            let (answer, done) = upstream.tags(&query.job, trace, ANSWER_BYTES_MAX).await;
            let (found, look_up) = self.read(answer, LookUp::Tags, attributes::tags);
            Some((found, look_up, asked, done))
        };
        let (details, tags) = tokio::join!(details, tags);
        let mut round = Round::default();
        let mut note = |look_up, asked: Instant, done| {
            exchange.trace.add(done);
            round.look_ups.push(look_up);
            round.earliest = Some(round.earliest.map_or(asked, |it: Instant| it.min(asked)));
        };
        round.details = details.map(|(details, look_up, asked, done)| {
            note(look_up, asked, done);
            details
        });
        round.tags = tags.map(|(tags, look_up, asked, done)| {
            note(look_up, asked, done);
            tags
        });
        round
    }

    fn read<T>(
        &self,
        answer: Result<LookedUp, LookUpError>,
        source: LookUp,
        read: impl FnOnce(&[u8]) -> Result<T, attributes::Error>,
    ) -> (Result<T, Unknown>, record::LookUp) {
        let request_id = match &answer {
            Ok(LookedUp::Found { request_id, .. }) => request_id.clone(),
            Ok(LookedUp::NotFound(answer)) => answer.request_id().map(str::to_owned),
            Err(_) => None,
        };
        let found = match answer {
            Ok(LookedUp::Found { body, .. }) => read(&body).map_err(Unknown::Unreadable),
            Ok(LookedUp::NotFound(answer)) => Err(Unknown::NotFound(answer)),
            Err(error) => Err(Unknown::Failed(error)),
        };
        let (counted, result) = match &found {
            Ok(_) => (LookUpResult::Found, record::LookUpResult::Found),
            Err(Unknown::NotFound(answer)) if answer.is_no_such_job() => {
                (LookUpResult::UnknownJob, record::LookUpResult::NoSuchJob)
            }
            Err(Unknown::NotFound(answer)) => {
                tracing::warn!(
                    source = source.as_str(),
                    status = answer.status.as_u16(),
                    "look-up failed"
                );
                (LookUpResult::Unavailable, record::LookUpResult::LookUpFailed)
            }
            Err(Unknown::Failed(error)) => {
                tracing::warn!(source = source.as_str(), %error, "look-up failed");
                (LookUpResult::Unavailable, record::LookUpResult::LookUpFailed)
            }
            Err(Unknown::Unreadable(error)) => {
                tracing::warn!(source = source.as_str(), %error, "look-up cannot be read");
                (LookUpResult::Unavailable, record::LookUpResult::Unreadable)
            }
        };
        self.metrics.look_up(source, counted);
        let look_up = record::LookUp {
            source: match source {
                LookUp::Details => record::Source::Details,
                LookUp::Tags => record::Source::Tags,
            },
            at: self.clock.now(),
            upstream_request_id: request_id.map(record::kept_request_id),
            result,
        };
        (found, look_up)
    }
}

/// The answers of one round; `None` for what was not asked.
#[derive(Default)]
struct Round {
    details: Option<Result<Attributes, Unknown>>,
    tags: Option<Result<BTreeMap<String, String>, Unknown>>,
    earliest: Option<Instant>,
    look_ups: Vec<record::LookUp>,
}

impl Round {
    /// Takes over what became known, and returns why something did not. That there is no such job
    /// explains everything else.
    fn merge_into(self, attributes: &mut Attributes) -> Option<Unknown> {
        let details = self.details.and_then(|it| match it {
            Ok(details) => {
                let tags = std::mem::take(&mut attributes.tags);
                *attributes = Attributes { tags, ..details };
                None
            }
            Err(unknown) => Some(unknown),
        });
        let tags = self.tags.and_then(|it| match it {
            Ok(tags) => {
                attributes.tags = Attribute::Value(tags);
                None
            }
            Err(unknown) => Some(unknown),
        });
        match (details, tags) {
            (Some(Unknown::NotFound(answer)), _) | (_, Some(Unknown::NotFound(answer))) => {
                Some(Unknown::NotFound(answer))
            }
            (details, tags) => details.or(tags),
        }
    }
}

/// The metrics' word for `decision`.
pub(super) fn word(decision: &Decision) -> metrics::Decision {
    match decision {
        Decision::Allow(_) => metrics::Decision::Allow,
        Decision::Deny(denial) => match denial.reason {
            Reason::ExplicitDeny => metrics::Decision::ExplicitDeny,
            Reason::NothingAllows => metrics::Decision::NothingAllows,
            Reason::OutsideGuardrails => metrics::Decision::OutsideGuardrails,
        },
        Decision::Indeterminate(_) => metrics::Decision::Indeterminate,
    }
}
