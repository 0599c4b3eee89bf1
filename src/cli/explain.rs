//! `lychgate explain`: a decision with its reasons, and for a no the way to a yes.

mod text;

use super::Exit;
use super::Format;
use super::check;
use super::policies::Directory;
use super::policies::Position;
use super::test;
use crate::policy::Actual;
use crate::policy::Answer;
use crate::policy::Case;
use crate::policy::Change;
use crate::policy::Explanation;
use crate::policy::Judged;
use crate::policy::Set;
use crate::policy::Way;

use serde::Serialize;
use std::path::PathBuf;

/// Says why a case of a suite comes out as it does, and what would have to be otherwise.
///
/// Ends with 0 if it is allowed and with 2 if it is not.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy directory.
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// The case: a file of tests/ and the case's name, such as `protect.yaml#prod stays`.
    #[arg(long, value_name = "FILE#NAME")]
    case: String,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// An explanation as `--format json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    case: Named<'a>,
    principal: &'a str,
    project: &'a str,
    job: &'a str,
    answer: &'static str,
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Position<'a>>,
    statements: Vec<Statement<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<WayReport<'a>>,
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
    expected: Vec<Expected<'a>>,
    actual: Held<'a>,
    holds: &'static str,
}

#[derive(Serialize)]
struct Expected<'a> {
    written: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filled: Option<&'a str>,
}

/// What a key holds.
#[derive(Serialize)]
#[serde(tag = "state", content = "values", rename_all = "lowercase")]
enum Held<'a> {
    Absent,
    Unavailable,
    Value(&'a [String]),
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum WayReport<'a> {
    Changes { changes: Vec<ChangeReport<'a>> },
    Far,
    Never { decider: &'a str },
}

#[derive(Serialize)]
struct ChangeReport<'a> {
    key: &'a str,
    from: Held<'a>,
    to: Held<'a>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("write the case as FILE#NAME, such as `protect.yaml#prod stays`")]
    Form,
    #[error("there is no case `{name}` in {file}; its cases are: {cases}")]
    Name { file: String, name: String, cases: String },
    #[error("there is no suite {0} in the policy directory, or it has no cases")]
    Suite(String),
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let directory = match Directory::read(&arguments.policies) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    let Some((set, directory)) = test::sound(&directory) else {
        return Exit::Invalid;
    };
    let case = match find(&arguments.case, &directory.suites.cases) {
        Ok(case) => case,
        Err(error) => return super::complain(&error, Exit::Usage),
    };
    let explanation = set.explain(&case.query, &case.attributes);
    let exit = match explanation.decision.answer() {
        Answer::Allow => Exit::Ok,
        Answer::Deny | Answer::Indeterminate => Exit::Denied,
    };
    let report = Report::new(case, &explanation, set, directory);
    match arguments.format {
        Format::Human => super::print(&text::render(&report), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

/// The case that `FILE#NAME` names; the file with or without `tests/` and `.yaml`.
fn find<'a>(named: &str, cases: &'a [Case]) -> Result<&'a Case, Error> {
    let (file, name) = named.split_once('#').ok_or(Error::Form)?;
    let stem = file.strip_prefix("tests/").unwrap_or(file);
    let path = format!("tests/{}.yaml", stem.strip_suffix(".yaml").unwrap_or(stem));
    let of_file: Vec<_> = cases.iter().filter(|it| it.path == path).collect();
    if of_file.is_empty() {
        return Err(Error::Suite(path));
    }
    let found = of_file.iter().find(|it| it.name == name).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = of_file.iter().map(|it| format!("`{}`", it.name)).collect();
        Error::Name { file: path, name: name.to_owned(), cases: names.join(", ") }
    })
}

impl<'a> Report<'a> {
    fn new(
        case: &'a Case,
        explanation: &'a Explanation,
        set: &'a Set,
        directory: &Directory,
    ) -> Self {
        let decision = &explanation.decision;
        let position = directory.position(&case.path, case.span);
        let statements = explanation.statements.iter().map(|it| Statement::new(it, directory));
        Self {
            case: Named { name: &case.name, position },
            principal: case.query.principal.id(),
            project: &case.query.project_id,
            job: &case.query.training_job_id,
            answer: decision.answer().as_str(),
            by: decision.decider(),
            place: test::place(set, directory, decision),
            statements: statements.collect(),
            way: explanation.way.as_ref().map(WayReport::new),
        }
    }
}

impl<'a> Statement<'a> {
    fn new(judged: &'a Judged, directory: &Directory) -> Self {
        let checks = judged.checks.iter().map(|it| {
            let Position { line, column, .. } = directory.position(&judged.place.path, it.span);
            let expected = it.expected.iter();
            Check {
                operator: &it.operator,
                key: it.key.as_deref(),
                line,
                column,
                expected: expected
                    .map(|it| Expected { written: &it.written, filled: it.filled.as_deref() })
                    .collect(),
                actual: Held::new(&it.actual),
                holds: it.holds.as_str(),
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

impl<'a> Held<'a> {
    fn new(it: &'a Actual) -> Self {
        match it {
            Actual::Absent => Self::Absent,
            Actual::Unavailable => Self::Unavailable,
            Actual::Values(them) => Self::Value(them),
        }
    }
}

impl<'a> WayReport<'a> {
    fn new(it: &'a Way) -> Self {
        let change = |it: &'a Change| ChangeReport {
            key: &it.key,
            from: Held::new(&it.from),
            to: Held::new(&it.to),
        };
        match it {
            Way::Changes(them) => Self::Changes { changes: them.iter().map(change).collect() },
            Way::Far => Self::Far,
            Way::Never { decider } => Self::Never { decider },
        }
    }
}
