//! `lychgate test`: runs the suites of a policy directory.

mod junit;

use super::policies::{Directory, Position};
use super::{Exit, Format, check};
use crate::policy::{self, Case, Coverage, Decision, Set, StatementName};
use crate::text::escaped;

use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::{fs, io};

/// Runs the suites of a policy directory and says which statements decide none of their cases.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy directory; its suites are in tests/.
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// Where to write the results in the XML that CI systems read.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What came out, as `--format json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    passed: usize,
    failed: usize,
    cases: Vec<Outcome<'a>>,
    statements: usize,
    /// The statements that decided no case.
    undecided: Vec<Statement<'a>>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    position: Position<'a>,
    name: &'a str,
    passed: bool,
    expected: Answer<'a>,
    got: Answer<'a>,
}

#[derive(Serialize)]
struct Answer<'a> {
    answer: &'static str,
    by: Option<String>,
    /// Where the deciding statement stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Position<'a>>,
}

#[derive(Serialize)]
struct Statement<'a> {
    name: &'a str,
    #[serde(flatten)]
    position: Option<Position<'a>>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct Unwritable {
    path: PathBuf,
    source: io::Error,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let directory = match Directory::read(&arguments.policies) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    let Some((set, directory)) = sound(&directory) else {
        return Exit::Invalid;
    };
    let report = Report::new(set, directory);
    if let Some(path) = &arguments.junit
        && let Err(source) = fs::write(path, junit::render(&report))
    {
        return super::complain(&Unwritable { path: path.clone(), source }, Exit::Failed);
    }
    let exit = if report.failed == 0 { Exit::Ok } else { Exit::Failed };
    match arguments.format {
        Format::Human => super::print(&report.text(), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

/// The policies, if neither they nor their suites have errors; else the errors go to stderr.
pub(super) fn sound(directory: &Directory) -> Option<(&Set, &Directory)> {
    let errors: Vec<_> = directory.errors().cloned().collect();
    match &directory.set {
        Some(set) if errors.is_empty() => Some((set, directory)),
        _ => {
            super::tell(&policy::render(&errors, &directory.files, false));
            None
        }
    }
}

impl<'a> Report<'a> {
    fn new(set: &'a Set, directory: &'a Directory) -> Self {
        let mut coverage = Coverage::new(set);
        let outcome = |case: &'a Case| {
            let decision = case.judge(set);
            coverage.add(&case.query, &case.attributes, &decision);
            Outcome {
                position: directory.position(&case.path, case.span),
                name: &case.name,
                passed: case.is_met_by(&decision),
                expected: Answer {
                    answer: case.expected.as_str(),
                    by: case.by.clone(),
                    place: None,
                },
                got: Answer {
                    answer: decision.answer().as_str(),
                    by: decision.decider().map(str::to_owned),
                    place: place(set, directory, &decision),
                },
            }
        };
        let cases: Vec<_> = directory.suites.cases.iter().map(outcome).collect();
        let statement = |name: &'a StatementName| Statement {
            name: name.as_str(),
            position: set.place(name).map(|it| directory.place(it)),
        };
        let passed = cases.iter().filter(|it| it.passed).count();
        Self {
            passed,
            failed: cases.len() - passed,
            cases,
            statements: coverage.statements(),
            undecided: coverage.undecided().into_iter().map(statement).collect(),
        }
    }

    fn text(&self) -> String {
        let mut res = String::new();
        // Writing into a String cannot fail.
        for it in self.cases.iter().filter(|it| !it.passed) {
            let _ =
                writeln!(res, "FAILED {}: {}\n{}", it.position, escaped(it.name), it.difference());
        }
        if !self.undecided.is_empty() {
            res.push_str("These statements decided no case:\n");
            for it in &self.undecided {
                let _ = match &it.position {
                    Some(position) => writeln!(res, "  {} ({position})", escaped(it.name)),
                    None => writeln!(res, "  {}", escaped(it.name)),
                };
            }
            res.push('\n');
        }
        let decided = self.statements - self.undecided.len();
        let (cases, statements) =
            (super::count(self.cases.len(), "case"), super::count(self.statements, "statement"));
        let _ = writeln!(res, "{cases}: {} passed, {} failed", self.passed, self.failed);
        let _ = writeln!(res, "{statements}: {decided} decided a case");
        res
    }
}

impl Outcome<'_> {
    fn difference(&self) -> String {
        format!("  expected: {}\n  got:      {}\n", self.expected.text(), self.got.text())
    }
}

impl Answer<'_> {
    fn text(&self) -> String {
        match (&self.by, &self.place) {
            (None, _) => self.answer.to_owned(),
            (Some(by), None) => format!("{} by {}", self.answer, escaped(by)),
            (Some(by), Some(place)) => format!("{} by {} ({place})", self.answer, escaped(by)),
        }
    }
}

/// Where the deciding statement stands.
pub(super) fn place<'a>(
    set: &'a Set,
    directory: &Directory,
    decision: &Decision,
) -> Option<Position<'a>> {
    let name = match decision {
        Decision::Allow(permit) => permit.statement(),
        Decision::Deny(denial) => denial.statement.as_ref()?,
        Decision::Indeterminate(_) => return None,
    };
    set.place(name).map(|it| directory.place(it))
}
