//! A policy directory as `check`, `test` and `explain` read it: its policies and its suites.

use crate::policy::{
    Compiled, Decision, Diagnostic, Effort, Files, Limits, Place, Set, Severity, Span, Suites,
    render,
};
use crate::reload;
use crate::text;

use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long the search for statements that do nothing may take, for all of them together.
const LIMIT: Duration = Duration::from_secs(5);

/// How many steps the search makes for each statement.
const STEPS: u64 = 500_000;

/// What a policy directory holds.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) files: Files,
    /// `None` if the policies have errors.
    pub(super) set: Option<Set>,
    pub(super) suites: Suites,
    /// The findings about policies and suites, by file and place.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A line and a column of a file, both counted from 1.
#[derive(Debug, Serialize)]
pub(super) struct Position<'a> {
    pub(super) file: &'a str,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", text::escaped(self.file), self.line, self.column)
    }
}

impl Directory {
    pub(super) fn read(path: &Path) -> Result<Self, reload::Error> {
        Self::shared(path, 1)
    }

    /// The same, for so many gates that have a part of each budget.
    pub(super) fn shared(path: &Path, replicas: u32) -> Result<Self, reload::Error> {
        let limits = Limits { replicas, ..Limits::default() };
        Ok(Self::new(Set::compile(&reload::read(path, &limits)?, &limits)))
    }

    /// The same, with a search for statements that do nothing.
    pub(super) fn examined(path: &Path, replicas: u32) -> Result<Self, reload::Error> {
        let limits = Limits { replicas, ..Limits::default() };
        let mut compiled = Set::compile(&reload::read(path, &limits)?, &limits);
        let start = Instant::now();
        compiled.examine(Effort { steps: STEPS, go_on: &|| start.elapsed() < LIMIT });
        Ok(Self::new(compiled))
    }

    fn new(compiled: Compiled) -> Self {
        let suites = Suites::read(&compiled.files, compiled.set.as_ref());
        let mut diagnostics = compiled.diagnostics;
        diagnostics.extend(suites.diagnostics.iter().cloned());
        diagnostics.sort();
        Self { files: compiled.files, set: compiled.set, suites, diagnostics }
    }

    /// For policies from a ledger, of which only places are asked for.
    pub(super) fn recorded(set: &Set) -> Self {
        let suites = Suites { cases: Vec::new(), diagnostics: Vec::new() };
        Self { files: set.files().clone(), set: None, suites, diagnostics: Vec::new() }
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|it| it.severity() == Severity::Error)
    }

    pub(super) fn place<'a>(&self, place: &'a Place) -> Position<'a> {
        self.position(&place.path, place.span)
    }

    pub(super) fn position<'a>(&self, file: &'a str, span: Span) -> Position<'a> {
        let (line, column) = span.line_and_column(self.files.get(file).unwrap_or_default());
        Position { file, line, column }
    }
}

/// The policies, if neither they nor their suites have errors; otherwise the errors go to stderr.
pub(super) fn sound(directory: &Directory) -> Option<(&Set, &Directory)> {
    let errors: Vec<_> = directory.errors().cloned().collect();
    match &directory.set {
        Some(set) if errors.is_empty() => Some((set, directory)),
        _ => {
            super::tell(&render(&errors, &directory.files, false));
            None
        }
    }
}

/// Where the deciding statement stands.
pub(super) fn place<'a>(
    set: &'a Set,
    directory: &Directory,
    decision: &Decision,
) -> Option<Position<'a>> {
    set.place(decision.statement()?.as_str()).map(|it| directory.place(it))
}
