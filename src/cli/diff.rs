//! `lychgate diff`: can this change of the policies ever allow more?

mod text;

use super::policies::Directory;
use super::{Exit, Form, SEARCH_STEPS, case, check};
use crate::policy::{
    self, BUDGETS, Cause, Comparison, Effort, Set, Shift, Undecided, Verdict, render,
};

use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// The differences by which more is allowed.
const WIDENING: &[Shift] = &[Shift::Gained, Shift::GainedBlind];

/// Compares two policy directories for every possible request.
///
/// Ends with 0 if they answer every request alike, 2 if they differ but the new one allows nothing
/// that the old one does not, 4 if it allows more, 5 if that is undecided, 3 if a directory has
/// errors.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy directory in force.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy directory that is to replace it.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// An envelope: a policy directory that allows everything that may ever be allowed.
    #[arg(long, value_name = "ENVELOPE")]
    within: Option<PathBuf>,
    /// How long to search, in seconds; what is still open then is undecided.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    limit: u64,
    /// Text, one JSON document, or Markdown for a comment.
    #[arg(long, value_enum, default_value_t = Form::Human)]
    format: Form,
}

/// The result, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    /// Something new is allowed; `null` if that is undecided.
    widens: Option<bool>,
    differences: Vec<Difference>,
    /// What the new directory allows beyond the envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    beyond: Option<Vec<Difference>>,
    undecided: Vec<Undecided>,
    /// Files that differ and do not bear on single requests: the budgets.
    besides: Vec<&'static str>,
}

/// One difference: its kind, and the request that shows it.
#[derive(Debug, Serialize)]
struct Difference {
    shift: Shift,
    /// The statement or rule that makes the difference.
    cause: String,
    version: &'static str,
    old: Said,
    new: Said,
    /// The request as a case of a suite that the new directory meets.
    case: String,
}

/// An answer, and the statement that gave it with its place.
#[derive(Debug, Serialize)]
struct Said {
    answer: &'static str,
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the comparison and the engine disagree, so neither can be relied on: {0}; please report it"
)]
struct Disagreement(String);

pub(super) fn run(arguments: &Arguments) -> Exit {
    let [old, new] = match [&arguments.old, &arguments.new].map(|it| read(it)) {
        [Ok(old), Ok(new)] => [old, new],
        [Err(exit), _] | [_, Err(exit)] => return exit,
    };
    let within = match arguments.within.as_deref().map(read).transpose() {
        Ok(within) => within,
        Err(exit) => return exit,
    };
    let (Some(before), Some(after)) = (&old.set, &new.set) else {
        return Exit::Invalid;
    };
    let start = Instant::now();
    let limit = Duration::from_secs(arguments.limit);
    let go_on = || start.elapsed() < limit;
    let effort = Effort { steps: SEARCH_STEPS, go_on: &go_on };
    let mut comparison = Comparison::new(before, after, &Shift::ALL, effort);
    let mut beyond = None;
    if let Some(directory) = &within
        && let Some(envelope) = &directory.set
    {
        let it = Comparison::new(envelope, after, WIDENING, effort);
        comparison.undecided.extend(it.undecided);
        comparison.disagreement = comparison.disagreement.or(it.disagreement);
        let found = it.differences.iter().map(|it| Difference::new(it, directory, &new));
        beyond = Some(found.collect());
    }
    if let Some(it) = comparison.disagreement {
        return super::complain(&Disagreement(it), Exit::Disagrees);
    }
    let besides = old.files.get(BUDGETS) != new.files.get(BUDGETS);
    let differences = comparison.differences.iter().map(|it| Difference::new(it, &old, &new));
    let report = Report {
        widens: None,
        differences: differences.collect(),
        beyond,
        undecided: comparison.undecided,
        besides: besides.then_some(BUDGETS).into_iter().collect(),
    };
    report.show(arguments.format)
}

/// Reads a directory that has no errors; otherwise reports them.
fn read(path: &Path) -> Result<Directory, Exit> {
    let directory = Directory::read(path).map_err(|error| check::refuse(&error))?;
    if directory.set.is_none() {
        let errors: Vec<_> = directory.errors().cloned().collect();
        super::tell(&format!("{}:\n{}", path.display(), render(&errors, &directory.files, false)));
        return Err(Exit::Invalid);
    }
    Ok(directory)
}

impl Report {
    fn show(mut self, form: Form) -> Exit {
        let widens = self.differences.iter().any(|it| WIDENING.contains(&it.shift))
            || self.beyond.as_deref().is_some_and(|it| !it.is_empty());
        let exit = match (widens, self.undecided.is_empty()) {
            (true, _) => Exit::Widens,
            (false, false) => Exit::CannotSay,
            (false, true) if self.differences.is_empty() && self.besides.is_empty() => Exit::Ok,
            (false, true) => Exit::Differs,
        };
        self.widens = (widens || self.undecided.is_empty()).then_some(widens);
        match form {
            Form::Human => super::print(&text::human(&self), exit),
            Form::Json => super::print_json(&self, exit),
            Form::Markdown => super::print(&text::markdown(&self), exit),
        }
    }
}

impl Difference {
    fn new(it: &policy::Difference, old: &Directory, new: &Directory) -> Self {
        let (cause, version) = match &it.cause {
            Cause::Old(cause) => (cause, "old"),
            Cause::New(cause) => (cause, "new"),
        };
        let name = format!("{}: {version} {cause}", it.shift.as_str());
        let by = it.new.decider.as_deref();
        Self {
            shift: it.shift,
            cause: cause.clone(),
            version,
            old: Said::new(&it.old, old),
            new: Said::new(&it.new, new),
            case: case::text(&name, &it.query, &it.attributes, it.new.answer, by),
        }
    }
}

impl Said {
    fn new(verdict: &Verdict, directory: &Directory) -> Self {
        let place = |set: &Set| {
            let by = verdict.decider.as_deref()?;
            set.place(by).map(|it| directory.place(it).to_string())
        };
        Self {
            answer: verdict.answer.as_str(),
            by: verdict.decider.clone(),
            place: directory.set.as_ref().and_then(place),
        }
    }
}
