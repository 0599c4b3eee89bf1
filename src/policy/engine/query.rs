//! The authorization question: who asks to delete which job, under which circumstances, and what
//! is known of the job.

use crate::policy::Principal;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A fact that a condition may ask for. Unknown is not absent: a condition on an attribute that is
/// unavailable, or was not asked for, is neither true nor false.
///
/// As text it is `{"value":…}`, `"absent"`, `"unavailable"` or `"not_asked"`, so that none of them
/// can be taken for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute<T> {
    /// Known, and there.
    Value(T),
    /// Known not to be there.
    Absent,
    /// Asked for, and not to be found out.
    Unavailable,
    /// Not asked for: nothing has depended on it.
    #[default]
    NotAsked,
}

impl<T> Attribute<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(it) => Some(it),
            Self::Absent | Self::Unavailable | Self::NotAsked => None,
        }
    }

    /// There is no telling: it is unavailable, or was not asked for.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable | Self::NotAsked)
    }

    /// It was asked for and not found out.
    fn fail(&mut self) {
        if matches!(self, Self::NotAsked) {
            *self = Self::Unavailable;
        }
    }
}

/// One training job of one project: the one form in which it is parsed, judged, signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// `lychgate:projectId`.
    pub project_id: String,
    /// The fifth part of the resource's URN.
    pub training_job_id: String,
}

macro_rules! path {
    () => {
        "/v2/{project_id}/training-jobs/{training_job_id}"
    };
}

macro_rules! tags_path {
    () => {
        "/v2/{project_id}/modelarts-training-job/{training_job_id}/tags"
    };
}

impl Job {
    /// The template of [`Job::path`].
    pub const PATH: &str = path!();

    /// The template of [`Job::tags_path`].
    pub const TAGS_PATH: &str = tags_path!();

    /// A job by its two IDs.
    #[must_use]
    pub fn new(project_id: impl Into<String>, training_job_id: impl Into<String>) -> Self {
        Self { project_id: project_id.into(), training_job_id: training_job_id.into() }
    }

    /// Its path in the ModelArts API, byte for byte what was parsed.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { project_id, training_job_id } = self;
        format!(path!(), project_id = project_id, training_job_id = training_job_id)
    }

    /// The path of its tags.
    #[must_use]
    pub fn tags_path(&self) -> String {
        let Self { project_id, training_job_id } = self;
        format!(tags_path!(), project_id = project_id, training_job_id = training_job_id)
    }
}

/// One request to delete one training job; the action is always `modelarts:trainJob:delete`.
#[derive(Clone, Debug)]
pub struct Query {
    /// Who asks.
    pub principal: Arc<Principal>,
    /// What is to be deleted.
    pub job: Arc<Job>,
    /// `g:RequestedRegion`, and the second part of the resource's URN: the upstream's region.
    pub region: String,
    /// `g:PrincipalAccount`, `g:DomainId`, and the third part of the URN: the upstream's account.
    pub account: String,
    /// `g:CurrentTime`.
    pub now: Timestamp,
    /// `g:SourceIp`.
    pub source_ip: Attribute<IpAddr>,
    /// `g:SecureTransport`.
    pub secure_transport: Attribute<bool>,
    /// `g:UserAgent`.
    pub user_agent: Attribute<String>,
}

impl Query {
    /// The URN of the job.
    #[must_use]
    pub fn urn(&self) -> String {
        let Self { region, account, job, .. } = self;
        format!("modelarts:{region}:{account}:trainJob:{}", job.training_job_id)
    }
}

/// What is known of the job. `default()` is the state before anything was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attributes {
    /// `modelarts:poolId`; several for a heterogeneous job, never an empty list.
    pub pool_id: Attribute<Vec<String>>,
    /// `modelarts:poolType`; several for a heterogeneous job, never an empty list.
    pub pool_type: Attribute<Vec<String>>,
    /// `lychgate:jobPhase`.
    pub phase: Attribute<String>,
    /// `lychgate:jobKind`.
    pub kind: Attribute<String>,
    /// `lychgate:jobName`.
    pub name: Attribute<String>,
    /// `lychgate:jobOwner`, a Huawei user name.
    pub owner: Attribute<String>,
    /// `lychgate:jobAge`, whole seconds since creation.
    pub age: Attribute<i64>,
    /// `lychgate:workspaceId`.
    pub workspace_id: Attribute<String>,
    /// `g:ResourceTag/<key>`; a job without tags has an empty map, not `Absent`.
    pub tags: Attribute<BTreeMap<String, String>>,
}

impl Attributes {
    /// `sources` were asked, and what they did not tell is unavailable.
    pub fn asked(&mut self, sources: Sources) {
        let Self { pool_id, pool_type, phase, kind, name, owner, age, workspace_id, tags } = self;
        if sources.details {
            pool_id.fail();
            pool_type.fail();
            age.fail();
            for text in [phase, kind, name, owner, workspace_id] {
                text.fail();
            }
        }
        if sources.tags {
            tags.fail();
        }
    }

    /// The sources that were asked: what one tells is never left as not asked for.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let details = !matches!(self.phase, Attribute::NotAsked);
        Sources { details, tags: !matches!(self.tags, Attribute::NotAsked) }
    }
}

/// The two places where attributes come from, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The job's details: everything but the tags.
    pub details: bool,
    /// The job's tags.
    pub tags: bool,
}

impl Sources {
    /// Nothing is wanted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !self.details && !self.tags
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { details: self.details && !other.details, tags: self.tags && !other.tags }
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { details: self.details || other.details, tags: self.tags || other.tags }
    }
}
