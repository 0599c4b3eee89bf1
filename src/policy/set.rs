//! The policies in force: one version of a policy directory, compiled.

use crate::policy::attachments::Attachments;
use crate::policy::condition::{Condition, Resource};
use crate::policy::diagnostic::Span;
use crate::policy::document::Effect;
use crate::policy::{Diagnostic, Files, Limits, Sources, StatementName, compile};

/// One version of a policy directory, ready to judge. Immutable; share it behind an `Arc`.
#[derive(Debug)]
pub struct Set {
    pub(super) files: Files,
    pub(super) digest: String,
    /// All guardrails as one policy, in the byte order of their files.
    pub(super) guardrails: Policy,
    /// The guardrails contain an Allow, live or not: what none of them allows is denied.
    pub(super) has_ceiling: bool,
    /// The identity policies in the byte order of their files.
    pub(super) identity: Vec<Policy>,
    pub(super) attachments: Attachments,
}

/// What compiling a directory came to.
#[derive(Debug)]
pub struct Compiled {
    /// What was compiled, for the places of the diagnostics.
    pub files: Files,
    /// `None` if any of the diagnostics is an error.
    pub set: Option<Set>,
    /// Every finding, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// The live statements of a document.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) denies: Vec<Statement>,
    pub(super) allows: Vec<Statement>,
}

/// A statement that can cover the delete of a training job.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: StatementName,
    pub(super) effect: Effect,
    /// `None` covers everything.
    pub(super) resource: Option<Resource>,
    pub(super) conditions: Vec<Condition>,
    /// What the conditions and variables name.
    pub(super) sources: Sources,
    /// Where it stands in its file.
    pub(super) place: Place,
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as in [`Files`].
    pub path: String,
    /// From brace to brace.
    pub span: Span,
}

impl Set {
    /// Compiles the image of a directory: all or nothing, with every finding at once.
    #[must_use]
    pub fn compile(files: &Files, limits: &Limits) -> Compiled {
        compile::compile(files, limits)
    }

    /// The files that this version was compiled from.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The digest of the files, see [`Files::digest`].
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the statement of this name stands. For reports: looks through all statements.
    #[must_use]
    pub fn place(&self, name: &StatementName) -> Option<&Place> {
        self.statements().find(|it| it.name == *name).map(|it| &it.place)
    }

    /// Every live statement.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        let policies = [&self.guardrails].into_iter().chain(&self.identity);
        policies.flat_map(|it| it.denies.iter().chain(&it.allows))
    }
}
