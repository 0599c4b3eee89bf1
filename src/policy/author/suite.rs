//! Test suites of a policy directory: `tests/*.yaml` as values, and what came of them.
//!
//! A broken suite never stops a load: compiling does not look at suites at all.

mod case;
mod coverage;
mod written;

pub use self::case::Case;
pub use self::coverage::Coverage;

use crate::policy::engine::decision;
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::yaml::Texts;
use crate::policy::language::{suggest, yaml};
use crate::policy::{Diagnostic, Files, Limits, Set, compile};

use serde_saphyr::Spanned;
use std::collections::{BTreeSet, HashSet};

/// The suites of a policy directory.
#[derive(Debug)]
pub struct Suites {
    /// The cases without errors, by file and place.
    pub cases: Vec<Case>,
    /// What is wrong with the suites, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Suites {
    /// Reads the suites among `files`. `set` are the policies of the same directory; without them,
    /// because they do not compile, nothing can be said about the statements that cases name.
    ///
    /// A file of more bytes than `limits.attachments_bytes` is an error.
    #[must_use]
    pub fn read(files: &Files, set: Option<&Set>, limits: &Limits) -> Self {
        let names = set.map(Names::of);
        let (mut cases, mut found) = (Vec::new(), Vec::new());
        for (path, bytes) in files.iter().filter(|(path, _)| compile::is_suite(path)) {
            let mut findings = Findings { path, found: &mut found };
            read(bytes, names.as_ref(), limits, &mut cases, &mut findings);
        }
        found.sort();
        Self { cases, diagnostics: found }
    }
}

fn read(
    bytes: &[u8],
    names: Option<&Names<'_>>,
    limits: &Limits,
    cases: &mut Vec<Case>,
    findings: &mut Findings<'_>,
) {
    let suite = yaml::parse(bytes, limits.attachments_bytes, Texts::Quoted, findings);
    let Some(written::Suite { cases: all }) = suite else {
        return;
    };
    if all.value.is_empty() {
        let span: Span = yaml::span(&all);
        findings.add(Code::Empty, span, "`cases`: the list is empty");
    }
    let mut seen = HashSet::new();
    for written in &all.value {
        let name = &written.name;
        let unique = seen.insert(name.value.as_str());
        if !unique {
            let message = format!("another case has the name `{}`", name.value);
            findings.add(Code::DuplicateCase, yaml::span(name), message);
        }
        let known = names.is_none_or(|it| it.know(written, findings));
        if let Some(case) = case::read(written, findings)
            && unique
            && known
        {
            cases.push(case);
        }
    }
}

/// What a case may name.
struct Names<'a> {
    budgets: BTreeSet<&'a str>,
    statements: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(set: &'a Set) -> Self {
        Self {
            budgets: set.budgets().iter().map(|it| &**it.name()).collect(),
            statements: set.statements().map(|it| it.name.as_str()).collect(),
        }
    }

    /// Everything that a case names is there.
    fn know(&self, case: &written::Case, findings: &mut Findings<'_>) -> bool {
        let by = case.by.as_ref().is_none_or(|it| self.is_decider(it, findings));
        let spent = case.spent.0.iter().map(|(it, _)| self.is_budget(&it.value, it, findings));
        // Every complaint, not just the first.
        spent.fold(by, |all, it| all && it)
    }

    fn is_decider(&self, by: &Spanned<String>, findings: &mut Findings<'_>) -> bool {
        let name = by.value.as_str();
        if let Some(budget) = decision::budget_of(name) {
            return self.is_budget(budget, by, findings);
        }
        let known = [decision::CEILING, decision::NONE].contains(&name);
        known || self.is_statement(by, findings)
    }

    fn is_budget(&self, name: &str, at: &Spanned<String>, findings: &mut Findings<'_>) -> bool {
        let known = self.budgets.contains(name);
        if !known {
            let message = format!("there is no budget `{name}`");
            let hint = match suggest::nearest(name, self.budgets.iter().copied()) {
                Some(it) => format!("did you mean `{it}`?"),
                None => "budgets.yaml names the budgets; without it they are `per-principal` \
                         and `per-project`"
                    .to_owned(),
            };
            findings.hint(Code::UnknownBudget, yaml::span(at), message, hint);
        }
        known
    }

    fn is_statement(&self, by: &Spanned<String>, findings: &mut Findings<'_>) -> bool {
        let name = by.value.as_str();
        let known = self.statements.contains(name);
        if !known {
            let message = format!("there is no statement `{name}` about deleting training jobs");
            let hint = match suggest::nearest(name, self.statements.iter().copied()) {
                Some(it) => format!("did you mean `{it}`?"),
                None => {
                    "write `guardrails/<file>#<Sid>`, `identity/<file>#2` for the second statement \
                     of a file without Sids, `ceiling` or `none`"
                        .to_owned()
                }
            };
            findings.hint(Code::UnknownStatement, yaml::span(by), message, hint);
        }
        known
    }
}

#[cfg(test)]
mod tests;
