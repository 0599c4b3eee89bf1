//! `lychgate check`: everything that is wrong with a configuration, its policies and their suites.

use super::policies::Directory;
use super::{Exit, Format};
use crate::app;
use crate::clock::Clock;
use crate::config::{Complaint, Config};
use crate::policy::{self, Severity};
use crate::reload;
use crate::text::escaped;

use serde::Serialize;
use std::fmt::Write;
use std::io;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Says what is wrong with policies and their suites, and what to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Underlined source lines, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A configuration file, and the policy directory that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A policy directory.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
}

/// What there is to say, as `--format json` prints it.
#[derive(Default, Serialize)]
struct Report<'a> {
    errors: usize,
    security: usize,
    warnings: usize,
    suggestions: usize,
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    /// Of a policy directory, relative to it.
    file: String,
    /// From 1; 0 for the file or the directory as a whole.
    line: u64,
    column: u64,
    severity: &'static str,
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (mut complaints, mut directory) = (Vec::new(), arguments.target.policies.clone());
    let mut replicas = 1;
    let config = arguments.target.config.as_deref().unwrap_or(Path::new(""));
    if arguments.target.config.is_some() {
        match Config::load(config) {
            Ok(it) => {
                complaints = match super::runtime() {
                    Ok(runtime) => runtime.block_on(opened(&it)),
                    Err(error) => return super::complain(&error, Exit::Failed),
                };
                directory = it.gate().map(|it| it.policies.clone());
                replicas = it.gate().map_or(1, |it| it.budgets.replicas);
            }
            Err(error) => complaints = error.complaints().to_vec(),
        }
    }
    let directory =
        match directory.as_deref().map(|it| Directory::examined(it, replicas)).transpose() {
            Ok(directory) => directory,
            Err(error) => return refuse(&error),
        };
    let report = Report::new(config, &complaints, directory.as_ref());
    let exit = if 0 < report.errors { Exit::Invalid } else { Exit::Ok };
    match arguments.format {
        Format::Human => super::print(&report.text(config, &complaints, directory.as_ref()), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

/// What is wrong with all that the configuration makes `serve` open.
async fn opened(config: &Config) -> Vec<Complaint> {
    let mut complaints = config.check_tls().await;
    complaints.extend(config.check_budgets().await);
    let found = app::check(config, Clock::system()).await;
    complaints.extend(found.into_iter().map(|message| Complaint { line: 0, column: 0, message }));
    complaints
}

/// A directory that cannot be read is as invalid as one that does not compile.
pub(super) fn refuse(error: &reload::Error) -> Exit {
    super::complain(error, Exit::Invalid)
}

impl<'a> Report<'a> {
    fn new(config: &Path, complaints: &'a [Complaint], directory: Option<&'a Directory>) -> Self {
        let mut res = Self::default();
        for it in complaints {
            res.errors += 1;
            res.findings.push(Finding {
                file: config.display().to_string(),
                line: it.line,
                column: it.column,
                severity: Severity::Error.as_str(),
                code: "configuration",
                message: &it.message,
                hint: None,
            });
        }
        for it in directory.into_iter().flat_map(|it| it.diagnostics.iter().map(move |d| (it, d))) {
            let (directory, it) = it;
            *match it.severity() {
                Severity::Error => &mut res.errors,
                Severity::Security => &mut res.security,
                Severity::Warning => &mut res.warnings,
                Severity::Suggestion => &mut res.suggestions,
            } += 1;
            let known = directory.files.get(&it.path).is_some();
            let (line, column) = if known { it.line_and_column(&directory.files) } else { (0, 0) };
            res.findings.push(Finding {
                file: it.path.clone(),
                line: u64::try_from(line).unwrap_or(u64::MAX),
                column: u64::try_from(column).unwrap_or(u64::MAX),
                severity: it.severity().as_str(),
                code: it.code.as_str(),
                message: &it.message,
                hint: it.hint.as_deref(),
            });
        }
        res
    }

    fn text(
        &self,
        config: &Path,
        complaints: &[Complaint],
        directory: Option<&Directory>,
    ) -> String {
        let mut res = String::new();
        // Writing into a String cannot fail.
        for Complaint { line, column, message } in complaints {
            let (config, message) = (config.display().to_string(), escaped(message));
            let config = escaped(&config);
            let _ = match line {
                0 => writeln!(res, "error: {config}: {message}\n"),
                _ => writeln!(res, "error: {config}:{line}:{column}: {message}\n"),
            };
        }
        if let Some(it) = directory {
            let coloured = io::stdout().is_terminal();
            res.push_str(&policy::render(&it.diagnostics, &it.files, coloured));
        }
        let counts = [
            super::count(self.errors, "error"),
            super::count(self.security, "security warning"),
            super::count(self.warnings, "warning"),
            super::count(self.suggestions, "suggestion"),
        ];
        let _ = writeln!(res, "{}", counts.join(", "));
        res
    }
}
