//! `lychgate check`: finds everything that is wrong with a configuration, policies and suites.

use super::policies::Directory;
use super::{Exit, Format, health};
use crate::app;
use crate::attributes::PoolWords;
use crate::clock::Clock;
use crate::config::{self, Complaint, Config, FILE_BYTES_MAX, Gate};
use crate::mounted;
use crate::policy::{self, Setup, Severity, Span};
use crate::reload;

use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// The code of findings about a configuration.
const CONFIGURATION: &str = "configuration";

/// Says what is wrong with policies and their suites, and what to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// What ends with 3, as errors do: security warnings, or all warnings.
    #[arg(long, value_enum, value_name = "SEVERITY")]
    deny: Option<Deny>,
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
    /// A policy directory.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What counts as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Deny {
    Security,
    Warnings,
}

/// The findings, as `--format json` prints them.
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
    /// For a file of a policy directory, relative to it.
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
    let Target { policies, directory, .. } = &arguments.target;
    let (mut told, mut directory) = (Vec::new(), policies.as_ref().or(directory.as_ref()).cloned());
    let mut replicas = 1;
    let now = Clock::system().now();
    let words = PoolWords::default();
    let mut setup = Setup { now, pool_types: vec![words.dedicated, words.public], gate: None };
    let config = arguments.target.config.clone().or(directory.clone()).unwrap_or_default();
    let config = config.as_path();
    if arguments.target.config.is_some() {
        match Config::load(config) {
            Ok(it) => {
                told = match super::runtime() {
                    Ok(runtime) => runtime.block_on(opened(&it)),
                    Err(error) => return super::complain(&error, Exit::Failed),
                };
                directory = it.gate().map(|it| it.policies.clone());
                setup = it.setup(now);
                replicas = it.gate().map_or(1, |it| it.budgets.replicas);
            }
            Err(error) => {
                told = error.complaints().iter().cloned().map(wrong).collect();
                directory = error.policies().map(Path::to_owned);
            }
        }
    }
    let directory = directory.as_deref().map(|it| Directory::examined(it, replicas));
    let mut directory = match directory.transpose() {
        Ok(directory) => directory,
        Err(error) if arguments.target.config.is_none() && arguments.format == Format::Human => {
            return refuse(&error);
        }
        // One that cannot be read must not hide what is wrong with the configuration.
        Err(error) => {
            told.push(wrong(Complaint::of_file(error.to_string())));
            None
        }
    };
    if let Some(it) = &mut directory {
        it.diagnostics.extend(policy::beside(&it.files, &setup));
        it.diagnostics.sort();
    }
    let report = Report::new(config, &told, directory.as_ref());
    let denied = match arguments.deny {
        None => 0,
        Some(Deny::Security) => report.security,
        Some(Deny::Warnings) => report.security + report.warnings,
    };
    let exit = if 0 < report.errors + denied { Exit::Invalid } else { Exit::Ok };
    match arguments.format {
        Format::Human => super::print(&report.text(config, &told, directory.as_ref()), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

/// A finding about a configuration.
type Told = (Severity, Complaint);

fn wrong(complaint: Complaint) -> Told {
    (Severity::Error, complaint)
}

/// What is wrong with the files that `serve` would open, and what it would warn of.
async fn opened(config: &Config) -> Vec<Told> {
    let clock = Clock::system();
    let (mut complaints, mut remarks) = config.check_tls(clock.now()).await;
    complaints.extend(config.check_budgets().await);
    let app::Found { mut faults, taken, lacking } = app::check(config, clock).await;
    if !taken.is_empty() && health::is_alive(&config.admin.to_string()) {
        let hint = Some("a gate runs here; if it has this address, nothing is wrong".to_owned());
        let taken = taken.into_iter().map(Complaint::of_file);
        remarks.extend(taken.map(|it| Complaint { hint: hint.clone(), ..it }));
    } else {
        faults.extend(taken);
    }
    complaints.extend(faults.into_iter().map(Complaint::of_file));
    remarks.extend(lacking.into_iter().map(Complaint::of_file));
    remarks.extend(config.remarks().into_iter().map(Complaint::of_file));
    remarks.extend(config.gate().and_then(shadow_fault));
    let remarks = remarks.into_iter().map(|it| (Severity::Warning, it));
    complaints.into_iter().map(wrong).chain(remarks).collect()
}

/// Why the shadow policies cannot be loaded. The gate starts without them.
fn shadow_fault(gate: &Gate) -> Option<Complaint> {
    let path = gate.shadow.as_ref()?;
    let hint = format!(
        "the gate starts and judges without a candidate; `lychgate check {}` shows everything",
        path.display()
    );
    let why = match Directory::shared(path, gate.budgets.replicas) {
        Err(error) => error.to_string(),
        Ok(it) if it.set.is_some() => return None,
        Ok(it) => {
            let first = it.errors().next()?;
            let place = it.position(&first.path, first.span);
            format!("{place}: {}", first.message)
        }
    };
    let message = format!("the shadow policies cannot be loaded: {why}");
    Some(Complaint { hint: Some(hint), ..Complaint::of_file(message) })
}

/// A directory that cannot be read is as invalid as one that does not compile.
pub(super) fn refuse(error: &reload::Error) -> Exit {
    super::complain(error, Exit::Invalid)
}

impl<'a> Report<'a> {
    fn new(config: &Path, told: &'a [Told], directory: Option<&'a Directory>) -> Self {
        let mut res = Self::default();
        for (severity, it) in told {
            *res.count_of(*severity) += 1;
            res.findings.push(Finding {
                file: config.display().to_string(),
                line: it.line,
                column: it.column,
                severity: severity.as_str(),
                code: CONFIGURATION,
                message: &it.message,
                hint: it.hint.as_deref(),
            });
        }
        for it in directory.into_iter().flat_map(|it| it.diagnostics.iter().map(move |d| (it, d))) {
            let (directory, it) = it;
            *res.count_of(it.severity()) += 1;
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

    fn count_of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Security => &mut self.security,
            Severity::Warning => &mut self.warnings,
            Severity::Suggestion => &mut self.suggestions,
        }
    }

    fn text(&self, config: &Path, told: &[Told], directory: Option<&Directory>) -> String {
        let mut res = String::new();
        let coloured = config::colours(&io::stdout());
        let path = config.display().to_string();
        let bytes = mounted::read(config, FILE_BYTES_MAX).unwrap_or_default();
        let text = masked(&String::from_utf8_lossy(&bytes));
        for (severity, it) in told {
            let complaint = policy::Complaint {
                severity: *severity,
                code: CONFIGURATION,
                path: &path,
                bytes: (0 < it.line).then_some(text.as_bytes()),
                span: Span::word(&text, it.line, it.column),
                message: &it.message,
                hint: it.hint.as_deref(),
            };
            res.push_str(&complaint.render(coloured));
        }
        if let Some(it) = directory {
            res.push_str(&policy::render(&it.diagnostics, &it.files, coloured));
        }
        let counts = [
            super::count(self.errors, "error"),
            super::count(self.security, "security warning"),
            super::count(self.warnings, "warning"),
            super::count(self.suggestions, "suggestion"),
        ];
        // Writing into a String cannot fail.
        let _ = writeln!(res, "{}", counts.join(", "));
        res
    }
}

/// The text without the passwords in its URLs, because it ends up in the logs of CI systems.
fn masked(text: &str) -> String {
    let mut res = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("://") {
        let end = tail.find(|it: char| it.is_whitespace() || "'\"/,".contains(it));
        let (authority, after) = tail.split_at(end.unwrap_or(tail.len()));
        res.push_str(before);
        res.push_str("://");
        match authority.rsplit_once('@') {
            Some((secret, host)) => {
                res.extend(secret.chars().map(|_| '*'));
                res.push('@');
                res.push_str(host);
            }
            None => res.push_str(authority),
        }
        rest = after;
    }
    res + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_not_shown() {
        for (text, expected) in [
            (
                "a: 'https://me:it@host/p' # x\nb: http://h",
                "a: 'https://*****@host/p' # x\nb: http://h",
            ),
            ("a: {otlp: https://u:p@q@h, b: c@d}", "a: {otlp: https://*****@h, b: c@d}"),
            ("a: x@y", "a: x@y"),
            ("a: https://u:pässwört@h", "a: https://**********@h"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
