//! `lychgate explain`: a decision with its reasons, and for a denial the way to an allow.

mod live;
mod save;
mod text;

pub(super) use self::live::Asked;
use super::paint::Paint;
use super::policies::{self, Directory, Position};
use super::{Exit, Format, audit, check};
use crate::config::Config;
use crate::policy::{
    Actual, Attributes, Case, Counted, Expected, Explanation, JudgedStatement, Query, Set, Way,
};
use crate::replay::{self, RecordedDecision};
use crate::text::{escaped, suggest};

use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// One line for each kind of question; clap's error for a wrong command line shows it too.
const USAGE: &str = "lychgate explain --policies <DIR> --case <FILE#NAME>
       lychgate explain --config <FILE> --project <PROJECT> --job <ID> --as <SOURCE/NAME>
       lychgate explain --config <FILE> --project <PROJECT> --job <ID> --token <FILE>
       lychgate explain --ledger <DIR> --request-id <ID>";

/// Says why a delete is allowed or not, and what would have to change: for a case of a suite, for a
/// job in the cloud, which is looked up and never deleted, or for a request that a gate has
/// decided.
///
/// Ends with 0 if it is allowed and with 2 if it is not.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE)]
pub(super) struct Arguments {
    /// The policy directory of the case.
    #[arg(long, value_name = "DIR", requires = "case")]
    #[arg(required_unless_present_any = ["config", "ledger"], conflicts_with_all = ["config", "ledger"])]
    policies: Option<PathBuf>,
    /// The case: a file of tests/ and the case's name, such as `protect.yaml#prod stays`.
    #[arg(long, value_name = "FILE#NAME", requires = "policies")]
    case: Option<String>,
    /// The configuration of the gate to ask.
    #[arg(long, value_name = "FILE", requires_all = ["project", "job"], conflicts_with = "ledger")]
    config: Option<PathBuf>,
    /// The ledger of the gate that has decided; the policies of that time are asked again.
    #[arg(long, value_name = "DIR", requires = "request_id")]
    ledger: Option<PathBuf>,
    /// The request: the ID in the denial, the caller's X-Request-Id or the trace ID.
    #[arg(long, value_name = "ID", requires = "ledger")]
    request_id: Option<String>,
    #[command(flatten)]
    live: Live,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A question about a job in the cloud. The caller's address, TLS and user agent are absent.
#[derive(Debug, clap::Args)]
struct Live {
    /// The job's project.
    #[arg(long, value_name = "PROJECT", requires = "config")]
    project: Option<String>,
    /// The job.
    #[arg(long, value_name = "ID", requires = "config")]
    job: Option<String>,
    /// The caller, as identity source and name, such as `corp/alice`.
    #[arg(long = "as", id = "principal", value_name = "SOURCE/NAME", requires = "config")]
    #[arg(required_unless_present_any = ["token", "policies", "ledger"])]
    principal: Option<String>,
    /// A group of the caller, without the source; may be repeated.
    #[arg(long = "group", value_name = "GROUP", requires = "config")]
    groups: Vec<String>,
    /// A tag of the caller; may be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE", requires = "config")]
    tags: Vec<String>,
    /// A file with a token of the caller, in place of --as, --group and --tag; neither its
    /// signature nor its times are checked.
    #[arg(long, value_name = "FILE", requires = "config")]
    #[arg(conflicts_with_all = ["principal", "groups", "tags"])]
    token: Option<PathBuf>,
    /// Add the question and its answer as a case to this suite.
    #[arg(long, value_name = "FILE", requires = "config")]
    save: Option<PathBuf>,
}

/// An explanation as `--format json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<Named<'a>>,
    principal: &'a str,
    project: &'a str,
    job: &'a str,
    answer: &'static str,
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Position<'a>>,
    statements: Vec<Statement<'a>>,
    budgets: &'a [Counted],
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'a Way>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    position: Position<'a>,
}

#[derive(Serialize)]
struct Statement<'a> {
    name: &'a str,
    #[serde(flatten)]
    position: Position<'a>,
    effect: &'static str,
    matches: &'static str,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Check<'a> {
    operator: &'a str,
    key: Option<&'a str>,
    line: usize,
    column: usize,
    expected: &'a [Expected],
    actual: &'a Actual,
    holds: &'static str,
    /// How many of several values must match where the operator does not say: `all` or `one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    several: Option<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("write the case as FILE#NAME, such as `protect.yaml#prod stays`")]
    Form,
    #[error(
        "this is the configuration of a forwarder, which judges nothing: use that of the central gate"
    )]
    Forwarder,
    #[error("there is no case `{name}` in {file}; its cases are: {cases}")]
    Name { file: String, name: String, cases: String },
    #[error("the ledger holds no decision about the request {0}")]
    Request(String),
    #[error("the ledger no longer holds the policies {0}, or this version cannot compile them")]
    Version(String),
    #[error("there is no suite {0} in the policy directory, or it has no cases{1}")]
    Suite(String, String),
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    if let (Some(ledger), Some(id)) = (&arguments.ledger, &arguments.request_id) {
        return recorded(ledger, id, arguments.format);
    }
    match (&arguments.policies, &arguments.case, &arguments.config) {
        (Some(policies), Some(case), _) => saved(policies, case, arguments.format),
        (_, _, Some(config)) => live(config, arguments),
        _ => super::complain(&Error::Form, Exit::Usage),
    }
}

/// Explains a case of a suite.
fn saved(policies: &Path, case: &str, format: Format) -> Exit {
    let directory = match Directory::read(policies) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    let Some((set, directory)) = policies::sound(&directory) else {
        return Exit::Invalid;
    };
    let case = match find(case, &directory.suites.cases) {
        Ok(case) => case,
        Err(error) => return super::complain(&error, Exit::Usage),
    };
    let position = directory.position(&case.path, case.span);
    let named = Some(Named { name: &case.name, position });
    let explanation = case.explain(set);
    show(&Report::new(named, &case.query, &explanation, set, directory), format)
}

/// Explains what a gate has decided.
fn recorded(ledger: &Path, id: &str, format: Format) -> Exit {
    let found = match replay::recorded(ledger, id) {
        Ok(found) => found,
        Err(error) => {
            audit::complain(ledger, &error);
            return Exit::Failed;
        }
    };
    if found.is_empty() {
        return super::complain(&Error::Request(id.to_owned()), Exit::Failed);
    }
    let mut exit = Exit::Ok;
    let (mut text, mut values) = (String::new(), Vec::new());
    for RecordedDecision { query, attributes, digest, set } in &found {
        let Some(set) = set else {
            return super::complain(&Error::Version(digest.clone()), Exit::CannotSay);
        };
        let directory = Directory::recorded(set);
        let explanation = set.explain(query, attributes);
        let report = Report::new(None, query, &explanation, set, &directory);
        if report.answer != "allow" {
            exit = Exit::Denied;
        }
        match format {
            Format::Human => {
                text.push_str(&format!("at {}, policies {digest}\n", query.now));
                text.push_str(&text::render(&report, Paint::of(&io::stdout())));
            }
            Format::Json => values.push(serde_json::to_value(&report).unwrap_or_default()),
        }
    }
    match format {
        Format::Human => super::print(&text, exit),
        Format::Json => super::print_json(&values, exit),
    }
}

/// Explains a delete of a job in the cloud.
fn live(config: &Path, arguments: &Arguments) -> Exit {
    let Live { project, job, principal, groups, tags, token, save } = &arguments.live;
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return super::complain(&error, Exit::Invalid),
    };
    let asked = Asked {
        project: project.as_deref().unwrap_or_default(),
        job: job.as_deref().unwrap_or_default(),
        principal: principal.as_deref().unwrap_or_default(),
        groups,
        tags,
        token: token.as_deref(),
    };
    looked_up(&config, &asked, |directory, set, query, attributes| {
        let explanation = set.explain(query, attributes);
        if let Some(path) = save {
            let (who, job) = (query.principal.id(), &query.job.training_job_id);
            let name = format!("{who} deletes {job} at {}", query.now);
            let decision = &explanation.decision;
            if let Err(error) = save::append(path, &name, query, attributes, decision) {
                return super::complain(&error, Exit::Failed);
            }
        }
        show(&Report::new(None, query, &explanation, set, directory), arguments.format)
    })
}

/// Looks a job up as the gate of this configuration would, and answers with its policies.
pub(super) fn looked_up(
    config: &Config,
    asked: &Asked<'_>,
    answer: impl FnOnce(&Directory, &Set, &Query, &Attributes) -> Exit,
) -> Exit {
    let Some(gate) = config.gate() else {
        return super::complain(&Error::Forwarder, Exit::Invalid);
    };
    let directory = match Directory::read(&gate.policies) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    // Errors in its suites do not matter here.
    let Some(set) = &directory.set else {
        let _ = policies::sound(&directory);
        return Exit::Invalid;
    };
    super::block_on(async {
        let (query, attributes) = live::look_up(gate, config.job_ids, asked).await?;
        Ok::<_, live::Error>(answer(&directory, set, &query, &attributes))
    })
}

/// A statement with its conditions, as every explanation shows it, without colours.
pub(super) fn statement(judged: &JudgedStatement, directory: &Directory) -> String {
    text::statement(&Statement::new(judged, directory), Paint::PLAIN)
}

fn show(report: &Report<'_>, format: Format) -> Exit {
    let exit = if report.answer == "allow" { Exit::Ok } else { Exit::Denied };
    match format {
        Format::Human => super::print(&text::render(report, Paint::of(&io::stdout())), exit),
        Format::Json => super::print_json(report, exit),
    }
}

/// The case that `FILE#NAME` names; the file with or without `tests/` and `.yaml`.
pub(super) fn find<'a>(named: &str, cases: &'a [Case]) -> Result<&'a Case, Error> {
    let (file, name) = named.split_once('#').ok_or(Error::Form)?;
    let stem = file.strip_prefix("tests/").unwrap_or(file);
    let path = format!("tests/{}.yaml", stem.strip_suffix(".yaml").unwrap_or(stem));
    let of_file: Vec<_> = cases.iter().filter(|it| it.path == path).collect();
    if of_file.is_empty() {
        let near = suggest::nearest(&path, cases.iter().map(|it| it.path.as_str()));
        let near = near.map(|it| format!(": did you mean {}?", escaped(it)));
        return Err(Error::Suite(path, near.unwrap_or_default()));
    }
    let found = of_file.iter().find(|it| it.name == name).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = of_file.iter().map(|it| format!("`{}`", escaped(&it.name))).collect();
        Error::Name { file: path, name: name.to_owned(), cases: names.join(", ") }
    })
}

impl<'a> Report<'a> {
    fn new(
        case: Option<Named<'a>>,
        query: &'a Query,
        explanation: &'a Explanation,
        set: &'a Set,
        directory: &Directory,
    ) -> Self {
        let decision = &explanation.decision;
        let statements = explanation.statements.iter().map(|it| Statement::new(it, directory));
        Self {
            case,
            principal: query.principal.id(),
            project: &query.job.project_id,
            job: &query.job.training_job_id,
            answer: decision.answer().as_str(),
            by: decision.decider(),
            place: policies::place(set, directory, decision),
            statements: statements.collect(),
            budgets: &explanation.budgets,
            way: explanation.way.as_ref(),
        }
    }
}

impl<'a> Statement<'a> {
    fn new(judged: &'a JudgedStatement, directory: &Directory) -> Self {
        let checks = judged.checks.iter().map(|it| {
            let Position { line, column, .. } = directory.position(&judged.place.path, it.span);
            Check {
                operator: &it.operator,
                key: it.key.as_deref(),
                line,
                column,
                expected: &it.expected,
                actual: &it.actual,
                holds: it.holds.as_str(),
                several: it.several.then_some(if judged.denies { "one" } else { "all" }),
            }
        });
        Self {
            name: judged.name.as_str(),
            position: directory.place(&judged.place),
            effect: if judged.denies { "Deny" } else { "Allow" },
            matches: judged.holds.as_str(),
            checks: checks.collect(),
        }
    }
}
