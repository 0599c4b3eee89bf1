//! `lychgate replay`: what would other policies have said to the requests of a ledger?

mod report;

pub(super) use self::report::{Report, cell, fenced};

use super::audit::show::time;
use super::policies::Directory;
use super::{Exit, Form, audit, check};
use crate::config::FILE_BYTES_MAX;
use crate::ledger::{Unverified, Verified, in_order};
use crate::mounted;
use crate::policy::{Complaint, render};
use crate::replay::{Acceptance, Options, Replay, Tally};
use crate::yaml::Faults;

use clap::{ValueEnum, value_parser};
use jiff::Timestamp;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the progress is shown, on a terminal.
const PROGRESS: Duration = Duration::from_secs(1);

/// The clock is looked at after so many records.
const PROGRESS_RECORDS: u64 = 16 * 1024;

/// Judges the decisions of ledgers again, by other policies, and shows what would differ.
///
/// Ends with 0 if nothing differs, 2 if something does but nothing more is allowed, 4 if more is
/// allowed, 5 if that is uncertain, 6 if a decision is not what its own policies say, 3 if the
/// policies are invalid, 1 if a ledger is.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy directory that is to replace the one in force.
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    #[command(flatten)]
    window: Window,
    /// Whose budgets count: the candidate's, in order of time, or as recorded, which compares the
    /// policies alone.
    #[arg(long, value_enum, default_value_t = Budgets::Candidate)]
    budgets: Budgets,
    /// How many gates have a part of each budget, as `budgets.replicas` of their configuration says.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    replicas: u32,
    /// A YAML file of accepted differences, with the class, statement and reason of each.
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,
    /// Write one case for each difference into this directory, as suites.
    #[arg(long, value_name = "DIR")]
    write_cases: Option<PathBuf>,
    /// Text, one JSON document, or Markdown for a comment.
    #[arg(long, value_enum, default_value_t = Form::Human)]
    format: Form,
    /// Ledger directories.
    #[arg(required = true, value_name = "LEDGER")]
    ledgers: Vec<PathBuf>,
}

/// Whose budgets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Budgets {
    Candidate,
    Recorded,
}

/// Which decisions count.
#[derive(Debug, clap::Args)]
pub(super) struct Window {
    /// From this time on: 2026-01-15T12:00:00Z, or 2026-01-15 for the start of that day in UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Also show decisions with the same answer from another statement.
    #[arg(long)]
    statements: bool,
}

impl Window {
    pub(super) fn options(&self, ledgers: &[PathBuf]) -> Options {
        let Self { since, until, statements } = *self;
        Options { since, until, statements, copies: 1 < ledgers.len(), ..Options::default() }
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let directory = match Directory::shared(&arguments.policies, arguments.replicas) {
        Ok(directory) => directory,
        Err(error) => return check::refuse(&error),
    };
    let Some(set) = directory.set else {
        let errors: Vec<_> = directory.errors().cloned().collect();
        super::tell(&render(&errors, &directory.files, false));
        return Exit::Invalid;
    };
    let set = Arc::new(set);
    let acceptance = match accepted(arguments.accept.as_deref()) {
        Ok(acceptance) => acceptance,
        Err(exit) => return exit,
    };
    let options = Options {
        policies_alone: arguments.budgets == Budgets::Recorded,
        replicas: arguments.replicas,
        ..arguments.window.options(&arguments.ledgers)
    };
    let mut replay = Replay::new(Arc::clone(&set), options);
    let mut progress = Progress::new();
    let mut read = 0;
    for ledger in in_order(&arguments.ledgers) {
        let before = read;
        let done = replay.read(ledger, |tally, bytes| {
            read = before + bytes;
            progress.tell(tally, read);
        });
        progress.end();
        if let Some(exit) = unread(ledger, done) {
            return exit;
        }
    }
    let tally = replay.finish();
    let report = Report::new(Some(&set), &tally, &acceptance);
    if let Some(directory) = &arguments.write_cases
        && let Err(error) = report.write_cases(directory)
    {
        audit::tell(&format!("{}: {error}", directory.display()));
        return Exit::Failed;
    }
    super::print(&report.text(arguments.format), report.exit())
}

/// How the command ends if `ledger` could not be read to its end.
pub(super) fn unread(ledger: &Path, done: Result<Option<Verified>, Unverified>) -> Option<Exit> {
    match done {
        Ok(Some(_)) => None,
        Ok(None) => {
            audit::tell(&format!("{}: no records here", ledger.display()));
            Some(Exit::Failed)
        }
        Err(error) => {
            audit::complain(ledger, &error);
            Some(Exit::Failed)
        }
    }
}

fn accepted(path: Option<&Path>) -> Result<Acceptance, Exit> {
    let Some(path) = path else { return Ok(Acceptance::default()) };
    let failed = |error: &dyn std::error::Error| {
        audit::tell(&format!("{}: {error}", path.display()));
        Exit::Invalid
    };
    let bytes = mounted::read(path, FILE_BYTES_MAX).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    Acceptance::parse(&text).map_err(|Faults(them)| {
        let path = path.display().to_string();
        let told = them.iter().map(|it| Complaint::of(it, &path, text.as_bytes()).render(false));
        super::tell(&told.collect::<String>());
        Exit::Invalid
    })
}

/// A line on a terminal that shows how far the reading is.
struct Progress {
    shown: bool,
    records: u64,
    start: Instant,
    told: Instant,
    lines: bool,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self { shown: io::stderr().is_terminal(), records: 0, start: now, told: now, lines: false }
    }

    fn tell(&mut self, tally: &Tally, bytes: u64) {
        self.records += 1;
        if !self.shown
            || !self.records.is_multiple_of(PROGRESS_RECORDS)
            || self.told.elapsed() < PROGRESS
        {
            return;
        }
        self.told = Instant::now();
        self.lines = true;
        let (decisions, megabytes) = (tally.decisions, bytes / 1_000_000);
        let seconds = self.start.elapsed().as_secs().max(1);
        let each = decisions / seconds;
        let _ = write!(io::stderr(), "\r{decisions} decisions, {megabytes} MB, {each} a second ");
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.lines) {
            let _ = writeln!(io::stderr());
        }
    }
}
