//! `lychgate test`: runs the suites of a policy directory.

mod junit;

use super::paint::Paint;
use super::policies::{self, Directory, Position};
use super::{Exit, Format, check, explain};
use crate::policy::{Case, Coverage, Decision, JudgedStatement, Set, StatementName};
use crate::text::escaped;

use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Runs the suites of a policy directory and says which statements decide none of their cases.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Where to write the results in the XML that CI systems read.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The policy directory; its suites are in tests/.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The policy directory.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// The results, as `--format json` prints them.
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
    /// For a failed case, the statements that did not do what was expected, and the command that
    /// shows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
}

#[derive(Serialize)]
struct Why {
    statements: Vec<String>,
    explain: String,
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
    let Target { policies, directory } = &arguments.target;
    let path = policies.as_deref().or(directory.as_deref()).unwrap_or(Path::new("."));
    let directory = match Directory::read(path) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    let Some((set, directory)) = policies::sound(&directory) else {
        return Exit::Invalid;
    };
    let report = Report::new(set, directory, path);
    if let Some(path) = &arguments.junit
        && let Err(source) = fs::write(path, junit::render(&report))
    {
        return super::complain(&Unwritable { path: path.clone(), source }, Exit::Failed);
    }
    let exit = Exit::of(report.failed == 0 && !report.cases.is_empty());
    match arguments.format {
        Format::Human => super::print(&report.text(Paint::of(&io::stdout())), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

impl<'a> Report<'a> {
    fn new(set: &'a Set, directory: &'a Directory, path: &Path) -> Self {
        let mut coverage = Coverage::new(set);
        let outcome = |case: &'a Case| {
            let decision = case.judge(set);
            coverage.add(&case.query, &case.attributes, &decision);
            let passed = case.is_met_by(&decision);
            Outcome {
                position: directory.position(&case.path, case.span),
                name: &case.name,
                passed,
                why: (!passed).then(|| Why::of(case, &decision, (set, directory), path)),
                expected: Answer {
                    answer: case.expected.as_str(),
                    by: case.by.clone(),
                    place: None,
                },
                got: Answer {
                    answer: decision.answer().as_str(),
                    by: decision.decider().map(str::to_owned),
                    place: policies::place(set, directory, &decision),
                },
            }
        };
        let cases: Vec<_> = directory.suites.cases.iter().map(outcome).collect();
        let statement = |name: &'a StatementName| Statement {
            name: name.as_str(),
            position: set.place(name.as_str()).map(|it| directory.place(it)),
        };
        let passed = cases.iter().filter(|it| it.passed).count();
        Self {
            passed,
            failed: cases.len() - passed,
            cases,
            statements: set.statement_count(),
            undecided: coverage.undecided().into_iter().map(statement).collect(),
        }
    }

    fn text(&self, paint: Paint) -> String {
        let mut res = String::new();
        // Writing into a String cannot fail.
        for it in self.cases.iter().filter(|it| !it.passed) {
            let head = paint.bad(&format!("FAILED {}: {}", it.position, escaped(it.name)));
            let _ = writeln!(res, "{head}\n{}", it.difference());
        }
        if !self.undecided.is_empty() {
            let _ = writeln!(res, "{}", paint.head("These statements decided no case:"));
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
        let result = format!("{cases}: {} passed, {} failed", self.passed, self.failed);
        let is_good = self.failed == 0 && !self.cases.is_empty();
        let result = if is_good { paint.good(&result) } else { paint.bad(&result) };
        let _ = writeln!(res, "{result}");
        if self.cases.is_empty() {
            res.push_str("There is nothing to run: put suites into tests/*.yaml.\n");
        }
        let _ = writeln!(res, "{statements}: {decided} decided a case");
        res
    }
}

impl Outcome<'_> {
    fn difference(&self) -> String {
        let mut res =
            format!("  expected: {}\n  got:      {}\n", self.expected.text(), self.got.text());
        if let Some(Why { statements, explain }) = &self.why {
            for line in statements.iter().flat_map(|it| it.lines()) {
                res.push_str(&format!("  {line}\n"));
            }
            res.push_str(&format!("  more:     {explain}\n"));
        }
        res
    }
}

impl Why {
    fn of(
        case: &Case,
        decision: &Decision,
        (set, directory): (&Set, &Directory),
        path: &Path,
    ) -> Self {
        let statements = set.statements_of(&case.query, &case.attributes);
        // The expected decider, the actual one and, where nothing allows, every Allow there is.
        let decider = decision.decider().unwrap_or_default();
        let named = |it: &&JudgedStatement| {
            let name = it.name.as_str();
            case.by.as_deref() == Some(name) || decider == name
        };
        let could = |it: &&JudgedStatement| {
            let missing = match decider {
                "ceiling" => it.is_guardrail,
                "none" => !it.is_guardrail,
                _ => false,
            };
            missing && !it.denies
        };
        let told: Vec<_> = statements.iter().filter(|it| named(it) || could(it)).collect();
        let explain = format!(
            "lychgate explain --policies {} --case {}",
            super::quoted(&path.display().to_string()),
            super::quoted(&format!("{}#{}", case.path, case.name)),
        );
        let told = told.into_iter().map(|it| explain::statement(it, directory));
        Self { statements: told.collect(), explain }
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
