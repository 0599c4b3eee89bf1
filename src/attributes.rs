//! Looks up what the cloud knows about a job, and reads the answers. The gate, the settlement of open
//! deletes and `explain` all ask here, so that they cannot see a job differently.

mod answer;
mod remains;

pub use self::answer::{Error, Known, PoolWords, details, tags};
pub use self::remains::remains;

use crate::clock::Clock;
use crate::ledger::record;
use crate::metrics::{LookUp, LookUpResult, Metrics};
use crate::policy::{Attribute, Attributes, Job, Query, Sources};
use crate::telemetry::Trace;
use crate::upstream::{Answer, LookUpError, LookedUp, Upstream};

use std::collections::BTreeMap;
use tokio::time::Instant;

/// Looks jobs up. Nothing is remembered between look-ups.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// What `modelarts:poolType` is called.
    pub words: PoolWords,
    /// Counts look-ups.
    pub metrics: Metrics,
    /// The times of look-ups.
    pub clock: Clock,
}

/// The results of one round of look-ups, which run side by side.
#[derive(Debug, Default)]
pub struct Round {
    /// Each of them, for the record.
    pub look_ups: Vec<record::LookUp>,
    /// The moment before the first look-up was sent. An answer counts as old as its question,
    /// because it can lie in a buffer for as long as this process stands still.
    pub asked: Option<Instant>,
    /// What stayed unknown, and why.
    pub unknown: Vec<(LookUp, Unknown)>,
    /// The cloud's answer with the details, where they could be read.
    pub seen: Option<Box<Answer>>,
}

/// Why something is not known after it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No answer that could be used.
    #[error(transparent)]
    Failed(LookUpError),
    /// The cloud's answer that it does not know the job, or the route.
    #[error("the cloud answered with status {}", .0.status)]
    NotFound(Box<Answer>),
    /// An answer came and cannot be read with certainty.
    #[error(transparent)]
    Unreadable(Error),
}

/// Whether a job is there.
#[derive(Debug)]
pub enum Presence {
    /// ModelArts says that there is no such job.
    Gone(Box<Answer>),
    /// It is there.
    Present,
    /// It is not known.
    Unknown,
}

impl Round {
    /// Why something is not known. That there is no such job explains everything else.
    #[must_use]
    pub fn because(mut self) -> Option<Unknown> {
        let not_found = |(_, it): &(LookUp, Unknown)| matches!(it, Unknown::NotFound(_));
        let at = self.unknown.iter().position(not_found).unwrap_or(0);
        (at < self.unknown.len()).then(|| self.unknown.swap_remove(at).1)
    }
}

impl Resolver {
    /// Asks for what is `wanted` about the job of `query`, and puts what became known into
    /// `attributes`; what did not is unavailable there.
    pub async fn look_up(
        &self,
        upstream: &Upstream,
        (query, wanted): (&Query, Sources),
        trace: &Trace,
        attributes: &mut Attributes,
    ) -> Round {
        let asked = Instant::now();
        let details = async {
            let asks = wanted.details.then(|| self.details(upstream, query, trace));
            Some(asks?.await)
        };
        let tags = async {
            let asks = wanted.tags.then(|| self.tags(upstream, &query.job, trace));
            Some(asks?.await)
        };
        let (details, tags) = tokio::join!(details, tags);
        let mut round = Round { asked: Some(asked), ..Round::default() };
        if let Some((found, look_up)) = details {
            round.look_ups.push(look_up);
            match found {
                Ok((known, answer)) => {
                    let tags = std::mem::take(&mut attributes.tags);
                    *attributes = Attributes { tags, ..known.attributes };
                    round.seen = Some(answer);
                }
                Err(unknown) => round.unknown.push((LookUp::Details, unknown)),
            }
        }
        if let Some((found, look_up)) = tags {
            round.look_ups.push(look_up);
            match found {
                Ok((tags, _)) => attributes.tags = Attribute::Value(tags),
                Err(unknown) => round.unknown.push((LookUp::Tags, unknown)),
            }
        }
        attributes.asked(wanted);
        round
    }

    /// Whether `job` is there: how a delete ended whose answer nobody saw.
    pub async fn presence(&self, upstream: &Upstream, job: &Job, trace: &Trace) -> Presence {
        let (answer, done) = upstream.details(job, trace).await;
        trace.add(done);
        match answer {
            Ok(LookedUp::NotFound(answer)) if answer.is_no_such_job() => Presence::Gone(answer),
            Ok(LookedUp::Found(answer)) => {
                let id = &job.training_job_id;
                // A 200 that is not about this job does not show that it is there.
                match details(&answer.body, id, self.clock.now(), &self.words) {
                    Ok(_) => Presence::Present,
                    Err(_) => Presence::Unknown,
                }
            }
            Ok(LookedUp::NotFound(_)) | Err(_) => Presence::Unknown,
        }
    }

    async fn details(
        &self,
        upstream: &Upstream,
        query: &Query,
        trace: &Trace,
    ) -> (Result<(Known, Box<Answer>), Unknown>, record::LookUp) {
        let (answer, done) = upstream.details(&query.job, trace).await;
        trace.add(done);
        let id = &query.job.training_job_id;
        let read = |body: &[u8]| details(body, id, query.now, &self.words);
        let (found, mut look_up) = self.read(answer, LookUp::Details, read);
        if found.as_ref().is_ok_and(|(it, _)| it.in_pool_group) {
            look_up.result = record::LookUpResult::PoolGroup;
        }
        (found, look_up)
    }

    async fn tags(
        &self,
        upstream: &Upstream,
        job: &Job,
        trace: &Trace,
    ) -> (Result<(BTreeMap<String, String>, Box<Answer>), Unknown>, record::LookUp) {
        let (answer, done) = upstream.tags(job, trace).await;
        trace.add(done);
        self.read(answer, LookUp::Tags, tags)
    }

    fn read<T>(
        &self,
        answer: Result<LookedUp, LookUpError>,
        source: LookUp,
        read: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> (Result<(T, Box<Answer>), Unknown>, record::LookUp) {
        let request_id = match &answer {
            Ok(LookedUp::Found(answer) | LookedUp::NotFound(answer))
            | Err(LookUpError::Refused(answer)) => answer.request_id().map(str::to_owned),
            Err(_) => None,
        };
        let found = match answer {
            Ok(LookedUp::Found(answer)) => {
                let found = read(&answer.body).map_err(Unknown::Unreadable);
                found.map(|it| (it, answer))
            }
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
                tracing::warn!(source = source.as_str(), %error, "the answer to a look-up cannot be read");
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
