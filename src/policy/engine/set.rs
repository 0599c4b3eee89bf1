//! The policies in force: one version of a policy directory, compiled.

use crate::policy::engine::condition::{Condition, Resource};
use crate::policy::language::attachments::Attachments;
use crate::policy::language::diagnostic::Span;
use crate::policy::language::document::Effect;
use crate::policy::{Action, Budgets, Diagnostic, Files, Query, Sources, StatementName};

use std::sync::Arc;

/// One version of a policy directory, ready to judge. Immutable; share it behind an `Arc`.
#[derive(Debug)]
pub struct Set {
    pub(in crate::policy) files: Files,
    pub(in crate::policy) digest: String,
    /// All guardrails as one policy, in the byte order of their files.
    pub(in crate::policy) guardrails: Policy,
    /// The guardrails contain an Allow, live or not: what none of them allows is denied.
    pub(in crate::policy) has_ceiling: bool,
    /// The identity policies in the byte order of their files.
    pub(in crate::policy) identity: Vec<Policy>,
    pub(in crate::policy) attachments: Attachments,
    pub(in crate::policy) budgets: Arc<Budgets>,
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
pub(in crate::policy) struct Policy {
    pub(in crate::policy) denies: Vec<Statement>,
    pub(in crate::policy) allows: Vec<Statement>,
}

impl Policy {
    /// Denies first.
    pub(in crate::policy) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.denies.iter().chain(&self.allows)
    }
}

/// A statement that can decide something here.
#[derive(Debug)]
pub(in crate::policy) struct Statement {
    pub(in crate::policy) name: StatementName,
    pub(in crate::policy) effect: Effect,
    pub(in crate::policy) actions: Actions,
    /// `None` covers everything.
    pub(in crate::policy) resource: Option<Resource>,
    pub(in crate::policy) conditions: Vec<Condition>,
    /// What the conditions and variables name.
    pub(in crate::policy) sources: Sources,
    /// Where it stands in its file.
    pub(in crate::policy) place: Place,
}

/// Which actions a statement names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::policy) struct Actions {
    pub(in crate::policy) delete: bool,
    pub(in crate::policy) batch_delete: bool,
    pub(in crate::policy) get: bool,
}

impl Actions {
    /// Whether a statement with this effect that names them is about `action`. A batch is allowed
    /// by an Allow of the single delete, and by nothing else.
    pub(in crate::policy) fn cover(self, action: Action, effect: Effect) -> bool {
        match (action, effect) {
            (Action::Delete, _) | (Action::BatchDelete, Effect::Allow) => self.delete,
            (Action::BatchDelete, Effect::Deny) => self.delete || self.batch_delete,
            (Action::Get, _) => self.get,
        }
    }

    /// Whether a statement with this effect that names them can decide anything.
    pub(in crate::policy) fn are_live(self, effect: Effect) -> bool {
        Action::ALL.into_iter().any(|it| self.cover(it, effect))
    }
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as in [`Files`].
    pub path: String,
    /// From brace to brace.
    pub span: Span,
}

impl Set {
    /// A version with this digest that allows nothing, for tests of what keeps versions.
    #[cfg(test)]
    pub(crate) fn of_no_statements(digest: &str, files: Files) -> Self {
        Self {
            files,
            digest: digest.to_owned(),
            guardrails: Policy::default(),
            has_ceiling: false,
            identity: Vec::new(),
            attachments: Attachments::default(),
            budgets: Arc::default(),
        }
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

    /// The budgets of this version.
    #[must_use]
    pub fn budgets(&self) -> &Arc<Budgets> {
        &self.budgets
    }

    /// Where the statement of this name stands. For reports: looks through all statements.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.statements().find(|it| it.name.as_str() == name).map(|it| &it.place)
    }

    /// How many live statements there are: those that can decide something here.
    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.statements().count()
    }

    /// For each live statement, whether it is about `action`.
    pub(in crate::policy) fn about(&self, action: Action) -> impl Iterator<Item = bool> {
        self.statements().map(move |it| it.is_about(action))
    }

    /// Every live statement.
    pub(in crate::policy) fn statements(&self) -> impl Iterator<Item = &Statement> {
        [&self.guardrails].into_iter().chain(&self.identity).flat_map(Policy::statements)
    }

    /// How many identity policies are attached to the caller for the project.
    #[must_use]
    pub fn attached_count(&self, query: &Query) -> usize {
        self.attached(query).len()
    }

    /// The identity policies of the caller for the project, each once, in the order of their files.
    pub(in crate::policy) fn attached(&self, query: &Query) -> Vec<&Policy> {
        let mut numbers = Vec::new();
        self.attachments.each(query, |number| numbers.push(number));
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().filter_map(|it| self.identity.get(*it as usize)).collect()
    }

    /// The statements that can decide a query: the guardrails', then those attached to the caller.
    pub(in crate::policy) fn statements_about(
        &self,
        query: &Query,
    ) -> impl Iterator<Item = &Statement> {
        let policies = [&self.guardrails].into_iter().chain(self.attached(query));
        let action = query.action;
        policies.flat_map(Policy::statements).filter(move |it| it.is_about(action))
    }
}
