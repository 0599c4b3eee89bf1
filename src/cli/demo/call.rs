//! The calls of the demo: what to send, what will be answered, and why.

use super::setup::{AccessKey, Secrets};
use crate::app::App;
use crate::emulator::sample::PROJECT;
use crate::emulator::{self, Emulator};

use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// A call without a principal.
pub(super) const NOBODY: &str = "";

/// The job that the demo's `bypass` deletes past the gate.
pub(super) const PAST_THE_GATE: &str = "b7e41d93-c5a6-4f08-9d2b-60e8a3f7c514";

/// A call to try, and what comes of it.
pub(super) struct Try {
    name: &'static str,
    pub(super) who: &'static str,
    pub(super) job: &'static str,
    pub(super) status: u16,
    error_code: Option<&'static str>,
    /// The statement that decides, where one does.
    by: Option<&'static str>,
    pub(super) why: &'static str,
}

pub(super) const CALLS: &[Try] = &[
    Try {
        name: "allowed",
        who: "alice",
        job: "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        status: 202,
        error_code: None,
        by: Some("identity/own-jobs#OwnJobs"),
        why: "her own job, finished, not protected",
    },
    Try {
        name: "denied-by-a-guardrail",
        who: "alice",
        job: "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235",
        status: 403,
        error_code: Some("Lychgate.4031"),
        by: Some("guardrails/protect#NoProd"),
        why: "env=prod: guardrails/protect, whatever else allows it",
    },
    Try {
        name: "denied-while-running",
        who: "alice",
        job: "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a",
        status: 403,
        error_code: Some("Lychgate.4031"),
        by: Some("guardrails/finished#OnlyFinished"),
        why: "it is running: guardrails/finished",
    },
    Try {
        name: "denied-because-nothing-allows-it",
        who: "bob",
        job: "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40",
        status: 403,
        error_code: Some("Lychgate.4033"),
        by: None,
        why: "neither his job nor a pool of his team",
    },
    Try {
        name: "denied-without-a-look-up",
        who: "carol",
        job: "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40",
        status: 403,
        error_code: Some("Lychgate.4033"),
        by: None,
        why: "no policy is hers: the job is not even looked up",
    },
    Try {
        name: "break-glass",
        who: "dave",
        job: "1d95e7b4-0f8a-4263-b6cd-a72c3e9054f8",
        status: 202,
        error_code: None,
        by: Some("identity/break-glass#AnyJob"),
        why: "break-glass: platform-admins pass the guardrails",
    },
    Try {
        name: "unknown-job",
        who: "alice",
        job: "00000000-0000-4000-8000-000000000000",
        status: 400,
        error_code: Some("ModelArts.2775"),
        by: None,
        why: "no such job: only those who might delete it learn that",
    },
    Try {
        name: "within-the-budget",
        who: "erin",
        job: "e8d13f6b-7a90-4c25-b4e8-1f6c52a7d093",
        status: 202,
        error_code: None,
        by: Some("identity/pool-operators#PoolsOfTheTeam"),
        why: "her team's pool; she has a budget of one an hour",
    },
    Try {
        name: "over-budget",
        who: "erin",
        job: "5e02c9d8-41b7-4f6a-8c3e-97a1d0f4b658",
        status: 429,
        error_code: Some("Lychgate.4292"),
        by: Some("budgets#erin"),
        why: "her budget is spent: the answer says when there is room",
    },
    Try {
        name: "no-credential",
        who: NOBODY,
        job: "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        status: 401,
        error_code: Some("Lychgate.4011"),
        by: None,
        why: "a delete needs to say who asks",
    },
];

/// A running demo, to be printed.
pub(super) struct Demo<'a> {
    pub(super) gate: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) emulator: &'a Emulator,
    pub(super) secrets: &'a Secrets,
}

impl<'a> Demo<'a> {
    pub(super) fn new(app: &App, emulator: &'a Emulator, secrets: &'a Secrets) -> Self {
        let gate = app.addresses().first().copied().unwrap_or_else(|| app.admin_address());
        Self { gate, admin: app.admin_address(), emulator, secrets }
    }

    pub(super) fn json(&self) -> Value {
        let key = |AccessKey { ak, sk }: &AccessKey| json!({"ak": ak, "sk": sk});
        let call = |it: &Try| {
            let Try { name, who, job, status, error_code, by, why } = *it;
            let headers = self.authorization(who).map(|it| ("Authorization".to_owned(), it.into()));
            json!({
                "name": name,
                "method": "DELETE",
                "url": self.url(job),
                "headers": headers.into_iter().collect::<Map<_, _>>(),
                "expect": {"status": status, "error_code": error_code, "by": by},
                "why": why,
            })
        };
        let jobs = self.emulator.jobs();
        let jobs = jobs.iter().map(|it| json!({"id": it.id(), "name": name_of(it)}));
        json!({
            "gate": format!("http://{}", self.gate),
            "admin": format!("http://{}", self.admin),
            "emulator": self.emulator.url(),
            "project_id": PROJECT,
            "access_key": key(&self.secrets.gateway_key),
            "cloud_key": key(&self.secrets.cloud_key),
            "jobs": jobs.collect::<Vec<_>>(),
            "calls": CALLS.iter().map(call).collect::<Vec<_>>(),
        })
    }

    fn url(&self, job: &str) -> String {
        format!("http://{}/v2/{PROJECT}/training-jobs/{job}", self.gate)
    }

    fn authorization(&self, who: &str) -> Option<String> {
        let (_, token) = self.secrets.tokens.iter().find(|(name, _)| *name == who)?;
        Some(format!("Bearer {token}"))
    }
}

/// The job's name.
pub(super) fn name_of(job: &emulator::Job) -> String {
    job.at("/metadata/name").as_str().unwrap_or_default().to_owned()
}
