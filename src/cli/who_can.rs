//! `lychgate who-can`: which of those that policies are attached to could delete a job.

use super::policies::{self, Directory};
use super::{Exit, Format, SEARCH_STEPS, check, explain};
use crate::config::Config;
use crate::policy::{Attributes, Could, Effort, Files, Query, Receiver, Set, Suites, render};
use crate::text::escaped;

use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Says for everybody in attachments.yaml whether they could delete a job: as things stand, never, or
/// under which conditions on the caller and the circumstances.
///
/// Ends with 0, or with 5 if it is undecided for somebody.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy directory.
    #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    policies: Option<PathBuf>,
    /// The case whose job is meant: a file of tests/ and the case's name.
    #[arg(long, value_name = "FILE#NAME", requires = "policies", conflicts_with = "job")]
    case: Option<String>,
    /// The configuration of the gate, to look the job up in the cloud.
    #[arg(long, value_name = "FILE", requires_all = ["project", "job"])]
    config: Option<PathBuf>,
    /// The job's project.
    #[arg(
        long,
        value_name = "PROJECT",
        default_value_if("policies", clap::builder::ArgPredicate::IsPresent, "0a1b2c")
    )]
    project: Option<String>,
    /// With --config, the job's ID; with --policies, the facts of the job, as in a case of a suite:
    /// `{phase: Completed, tags: {env: dev}}`.
    #[arg(long, value_name = "ID|FACTS")]
    job: Option<String>,
    /// The region of the upstream, with --policies.
    #[arg(long, value_name = "REGION", default_value = "cn-north-4")]
    region: String,
    /// The account of the upstream, with --policies.
    #[arg(long, value_name = "ACCOUNT", default_value = "123")]
    account: String,
    /// How long to search, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    limit: u64,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    job: String,
    project: String,
    receivers: Vec<Row>,
}

/// One receiver, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    target: String,
    /// `yes`, `if`, `no` or `undecided`.
    could: &'static str,
    by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    key: String,
    value: String,
}

#[derive(Debug, thiserror::Error)]
#[error("say which job: `--case FILE#NAME` or `--job FACTS`")]
struct NoJob;

pub(super) fn run(arguments: &Arguments) -> Exit {
    match (&arguments.policies, &arguments.config) {
        (Some(policies), _) => {
            let directory = match Directory::read(policies) {
                Ok(directory) => directory,
                Err(error) => return check::refuse(&error),
            };
            let Some((set, directory)) = policies::sound(&directory) else {
                return Exit::Invalid;
            };
            match stated(arguments, directory) {
                Ok((query, attributes)) => arguments.show(set, &query, &attributes),
                Err(exit) => exit,
            }
        }
        (None, Some(config)) => {
            let config = match Config::load(config) {
                Ok(config) => config,
                Err(error) => return super::complain(&error, Exit::Invalid),
            };
            explain::looked_up(&config, &arguments.asked(), |_, set, query, attributes| {
                arguments.show(set, query, attributes)
            })
        }
        (None, None) => super::complain(&NoJob, Exit::Usage),
    }
}

/// The job of a case, or one that the command line describes.
fn stated(arguments: &Arguments, directory: &Directory) -> Result<(Query, Attributes), Exit> {
    if let Some(case) = &arguments.case {
        let found = explain::find(case, &directory.suites.cases);
        let case = found.map_err(|error| super::complain(&error, Exit::Usage))?;
        return Ok((case.query.clone(), case.attributes.clone()));
    }
    let Some(facts) = &arguments.job else {
        return Err(super::complain(&NoJob, Exit::Usage));
    };
    let request = json!({
        "project": arguments.project, "job": "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        "region": arguments.region, "account": arguments.account, "time": "2026-01-15T12:00:00Z",
    });
    let suite = format!(
        "cases:\n  - name: job\n    principal: {{source: anybody, name: x}}\n    request: {request}\n    \
         expect: deny\n    job: {facts}\n"
    );
    let files: Files = [("tests/job.yaml", suite)].into_iter().collect();
    let mut suites = Suites::read(&files, None);
    match suites.cases.pop() {
        Some(case) => Ok((case.query, case.attributes)),
        None => {
            super::tell(&render(&suites.diagnostics, &files, false));
            Err(Exit::Invalid)
        }
    }
}

impl Arguments {
    fn asked(&self) -> explain::Asked<'_> {
        explain::Asked {
            project: self.project.as_deref().unwrap_or_default(),
            job: self.job.as_deref().unwrap_or_default(),
            principal: "anybody/x",
            groups: &[],
            tags: &[],
            token: None,
        }
    }

    fn show(&self, set: &Set, query: &Query, attributes: &Attributes) -> Exit {
        let (start, limit) = (Instant::now(), Duration::from_secs(self.limit));
        let go_on = || start.elapsed() < limit;
        let receivers =
            set.who_can(query, attributes, Effort { steps: SEARCH_STEPS, go_on: &go_on });
        let open = receivers.iter().any(|it| it.could == Could::Undecided);
        let exit = if open { Exit::CannotSay } else { Exit::Ok };
        let report = Report {
            job: query.job.training_job_id.clone(),
            project: query.job.project_id.clone(),
            receivers: receivers.into_iter().map(Row::new).collect(),
        };
        match self.format {
            Format::Human => super::print(&report.text(), exit),
            Format::Json => super::print_json(&report, exit),
        }
    }
}

impl Row {
    fn new(it: Receiver) -> Self {
        let (could, by, keys) = match it.could {
            Could::Yes { by } => ("yes", Some(by), Vec::new()),
            Could::If { keys, by } => ("if", Some(by), keys),
            Could::No { by } => ("no", Some(by), Vec::new()),
            Could::Undecided => ("undecided", None, Vec::new()),
        };
        let keys = keys.into_iter().map(|(key, value)| Key { key, value }).collect();
        Self { target: it.target, could, by, keys }
    }
}

impl Report {
    fn text(&self) -> String {
        let mut res = format!("job {} of project {}\n\n", self.job, self.project);
        let width = self.receivers.iter().map(|it| it.target.len()).max().unwrap_or(0);
        for Row { target, could, by, keys } in &self.receivers {
            let by = by.as_deref();
            let why = match (*could, by) {
                ("no", Some("none")) => "no policy of theirs allows it".to_owned(),
                ("no", Some("ceiling")) => "it is outside the guardrails".to_owned(),
                ("no", Some(by)) => format!("because of {by}"),
                ("yes", by) => format!("by {}", by.unwrap_or_default()),
                ("if", by) => {
                    let keys = keys.iter().map(|Key { key, value }| format!("{key} is `{value}`"));
                    let keys: Vec<_> = keys.collect();
                    format!("{} (by {})", keys.join(" and "), by.unwrap_or_default())
                }
                _ => "a limit was reached, or it depends on what cannot be compared".to_owned(),
            };
            // Writing into a String cannot fail.
            let line = format!("{target:width$}  {could:9}  {why}");
            let _ = writeln!(res, "{}", escaped(&line));
        }
        res
    }
}
