//! A case from a job of the cloud: looked up, never deleted.

use crate::app::{self, StartError};
use crate::attributes::{self, ANSWER_BYTES_MAX};
use crate::clock::Clock;
use crate::config::Gate;
use crate::metrics::Metrics;
use crate::policy::{Attribute, Attributes, Job, Method, Principal, Query, Sources};
use crate::route::{self, JobIds};
use crate::telemetry::{self, TraceConfig, Tracer};
use crate::upstream::LookedUp;

use http::HeaderMap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who would ask for which job.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) project: &'a str,
    pub(super) job: &'a str,
    /// `source/name`.
    pub(super) principal: &'a str,
    /// Without the source.
    pub(super) groups: &'a [String],
    /// `key=value`.
    pub(super) tags: &'a [String],
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the cloud knows no such job")]
    NoSuchJob,
    #[error("no upstream serves the project {0}")]
    Project(String),
    #[error("write the caller as SOURCE/NAME, such as `corp/alice`")]
    Principal,
    #[error(transparent)]
    Route(#[from] route::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("write a tag as KEY=VALUE, such as `team=vision`; `{0}` is none")]
    Tag(String),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
}

/// Looks the job up. What cannot be looked up stays unavailable, and stderr is told why.
pub(super) async fn look_up(
    gate: &Gate,
    job_ids: JobIds,
    asked: &Asked<'_>,
) -> Result<(Query, Attributes), Error> {
    let target = Job::new(asked.project, asked.job).path();
    let job = route::parse(&http::Method::DELETE, &target, job_ids)?;
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let _stopping = stop.clone().drop_guard();
    let upstreams = app::upstreams(&gate.upstreams, &clock, &metrics, &tracker, &stop).await?;
    let upstream = upstreams.for_project(&job.project_id);
    let upstream = upstream.ok_or_else(|| Error::Project(job.project_id.clone()))?;
    let query = Query {
        principal: Arc::new(principal(asked)?),
        job: job.into(),
        region: upstream.config().region.clone(),
        account: upstream.config().account.clone(),
        now: clock.now(),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    };
    let tracer = Tracer::new(&TraceConfig::default(), &metrics, &Handle::current())?;
    let trace = tracer.begin(&HeaderMap::new(), query.now);
    let job = &*query.job;
    let (details, tags) = tokio::join!(
        upstream.details(job, &trace, ANSWER_BYTES_MAX),
        upstream.tags(job, &trace, ANSWER_BYTES_MAX),
    );
    let mut res = Attributes::default();
    if let Some(body) = found(details.0, "details")? {
        let id = &job.training_job_id;
        match attributes::details(&body, id, query.now, &gate.pool_words) {
            Ok(it) => res = it.attributes,
            Err(error) => unavailable("details", &error),
        }
    }
    if let Some(body) = found(tags.0, "tags")? {
        match attributes::tags(&body) {
            Ok(it) => res.tags = Attribute::Value(it),
            Err(error) => unavailable("tags", &error),
        }
    }
    res.asked(Sources { details: true, tags: true });
    Ok((query, res))
}

fn found<E: fmt::Display>(
    answer: Result<LookedUp, E>,
    what: &str,
) -> Result<Option<bytes::Bytes>, Error> {
    match answer {
        Ok(LookedUp::Found { body, .. }) => Ok(Some(body)),
        Ok(LookedUp::NotFound(answer)) if answer.is_no_such_job() => Err(Error::NoSuchJob),
        Ok(LookedUp::NotFound(answer)) => {
            unavailable(what, &format!("the cloud answered with status {}", answer.status));
            Ok(None)
        }
        Err(error) => {
            unavailable(what, &error);
            Ok(None)
        }
    }
}

fn unavailable(what: &str, error: &dyn fmt::Display) {
    crate::cli::tell(&format!("warning: the job's {what} are unavailable: {error}\n"));
}

fn principal(asked: &Asked<'_>) -> Result<Principal, Error> {
    let (source, name) = asked.principal.split_once('/').ok_or(Error::Principal)?;
    if source.is_empty() || name.is_empty() {
        return Err(Error::Principal);
    }
    let mut tags = BTreeMap::new();
    for tag in asked.tags {
        let (key, value) = tag.split_once('=').ok_or_else(|| Error::Tag(tag.clone()))?;
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(Principal::new(source, name, asked.groups.iter().cloned(), tags, Method::Jwt))
}
