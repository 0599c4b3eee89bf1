//! The authorization question: who asks to delete or to see which job, under which circumstances.

use crate::policy::{Attribute, Principal};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// One training job of one project: the same value is parsed, judged, signed and sent.
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
        format!(path!(), project_id = self.project_id, training_job_id = self.training_job_id)
    }

    /// The path of its tags.
    #[must_use]
    pub fn tags_path(&self) -> String {
        format!(tags_path!(), project_id = self.project_id, training_job_id = self.training_job_id)
    }
}

/// What is asked for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize,
)]
pub enum Action {
    /// The delete of one job.
    #[default]
    #[serde(rename = "modelarts:trainJob:delete")]
    Delete,
    /// The delete of one job of a batch. It is allowed as [`Action::Delete`] is; a Deny of either
    /// denies it.
    #[serde(rename = "modelarts:trainJob:batchDelete")]
    BatchDelete,
    /// A look at one job.
    #[serde(rename = "modelarts:trainJob:get")]
    Get,
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Delete, Self::BatchDelete, Self::Get];

    /// Whether it deletes the job; otherwise it changes nothing.
    #[must_use]
    pub fn is_delete(self) -> bool {
        match self {
            Self::Delete | Self::BatchDelete => true,
            Self::Get => false,
        }
    }

    /// Its name in policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "modelarts:trainJob:delete",
            Self::BatchDelete => "modelarts:trainJob:batchDelete",
            Self::Get => "modelarts:trainJob:get",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request about one training job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub principal: Arc<Principal>,
    /// What is to be done with the job.
    pub action: Action,
    /// The job.
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
