//! A case from a job in the cloud: looked up, never deleted.

use crate::app::{self, StartError};
use crate::attributes::{Resolver, Unknown};
use crate::authn;
use crate::clock::Clock;
use crate::config::Gate;
use crate::metrics::Metrics;
use crate::policy::{Action, Attribute, Attributes, Job, Method, Principal, Query, Sources};
use crate::route::{self, JobIds};
use crate::telemetry::{self, TraceConfig, Tracer};
use crate::text::escaped;

use http::HeaderMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who would ask for which job.
#[derive(Debug)]
pub(in crate::cli) struct Asked<'a> {
    pub(in crate::cli) project: &'a str,
    pub(in crate::cli) job: &'a str,
    /// `source/name`.
    pub(in crate::cli) principal: &'a str,
    /// Without the source.
    pub(in crate::cli) groups: &'a [String],
    /// `key=value`.
    pub(in crate::cli) tags: &'a [String],
    /// A token whose claims count in place of the last three.
    pub(in crate::cli) token: Option<&'a Path>,
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
    #[error("write a tag as KEY=VALUE, such as `team=vision`, not as `{0}`")]
    Tag(String),
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error("the token in {path} names nobody: {message}")]
    Token { path: String, message: String },
}

/// Looks the job up. What cannot be looked up stays unavailable, and the reason goes to stderr.
pub(super) async fn look_up(
    gate: &Gate,
    job_ids: JobIds,
    asked: &Asked<'_>,
) -> Result<(Query, Attributes), Error> {
    let target = Job::new(asked.project, asked.job).path();
    let job = route::job(&target, job_ids)?;
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let _stopping = stop.clone().drop_guard();
    let upstreams = app::upstreams(&gate.upstreams, &clock, &metrics, &tracker, &stop).await?;
    let upstream = upstreams.for_project(&job.project_id);
    let upstream = upstream.ok_or_else(|| Error::Project(job.project_id.clone()))?;
    let query = Query {
        principal: Arc::new(match asked.token {
            Some(path) => claimed(gate, path)?,
            None => principal(asked)?,
        }),
        action: Action::Delete,
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
    let resolver = Resolver { words: gate.settings.pool_words.clone(), metrics, clock };
    let (mut res, wanted) = (Attributes::default(), Sources { details: true, tags: true });
    let round = resolver.look_up(upstream, (&query, wanted), &trace, &mut res).await;
    for (what, unknown) in round.unknown {
        match unknown {
            Unknown::NotFound(answer) if answer.is_no_such_job() => return Err(Error::NoSuchJob),
            unknown => {
                let what = what.as_str();
                crate::cli::tell(&format!(
                    "warning: the job's {what} are unavailable: {unknown}\n"
                ));
            }
        }
    }
    Ok((query, res))
}

fn claimed(gate: &Gate, path: &Path) -> Result<Principal, Error> {
    let error = |message| Error::Token { path: path.display().to_string(), message };
    let token = std::fs::read_to_string(path).map_err(|it| error(it.to_string()))?;
    authn::claimed(&gate.identity, &token).map_err(error)
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
    for group in asked.groups {
        if let Some(rest) = group.strip_prefix(source).and_then(|it| it.strip_prefix('/')) {
            let (group, rest) = (escaped(group), escaped(rest));
            crate::cli::tell(&format!(
                "warning: the source is added to `{group}`: write `{rest}` for the group {group}\n"
            ));
        }
    }
    Ok(Principal::new(source, name, asked.groups.iter().cloned(), tags, Method::Jwt))
}
