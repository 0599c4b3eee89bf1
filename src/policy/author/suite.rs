//! Test suites of a policy directory: `tests/*.yaml`, read into cases, and their coverage.
//!
//! A broken suite never stops a load: compiling does not look at suites at all.

mod case;
mod coverage;
mod defaults;
mod written;

pub use self::case::Case;
pub use self::coverage::Coverage;

use self::defaults::Defaults;
use crate::policy::engine::decision;
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::yaml::{Spanned, Texts};
use crate::policy::language::{suggest, yaml};
use crate::policy::{Diagnostic, Files, Limits, Set, compile};
use crate::yaml::Kind;

use std::collections::{BTreeSet, HashSet};

/// The suites of a policy directory.
#[derive(Debug)]
pub struct Suites {
    /// The cases without errors, by file and place.
    pub cases: Vec<Case>,
    /// The findings about the suites, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Suites {
    /// Reads the suites among `files`. `set` are the policies of the same directory; without them,
    /// if they do not compile, the statements that cases name are not checked.
    ///
    /// A file of more bytes than `limits.attachments_bytes` is an error.
    #[must_use]
    pub fn read(files: &Files, set: Option<&Set>, limits: &Limits) -> Self {
        let names = set.map(Names::of);
        let (mut cases, mut found) = (Vec::new(), Vec::new());
        let defaults = files.get(DEFAULTS).map(|bytes| {
            let mut findings = Findings { path: DEFAULTS, found: &mut found };
            Defaults::file(bytes, limits, &mut findings)
        });
        let defaults = defaults.unwrap_or_default();
        let suites = files.iter().filter(|(path, _)| compile::is_suite(path) && *path != DEFAULTS);
        for (path, bytes) in suites {
            let mut reader = Reader {
                names: names.as_ref(),
                limits,
                defaults: &defaults,
                findings: Findings { path, found: &mut found },
            };
            cases.extend(reader.suite(bytes));
        }
        found.sort();
        // A mistake in a suite's defaults is found again in every case.
        found.dedup();
        Self { cases, diagnostics: found }
    }
}

/// The defaults of all suites.
const DEFAULTS: &str = "tests/defaults.yaml";

struct Reader<'a, 'f> {
    /// `None` if the policies do not compile.
    names: Option<&'a Names<'a>>,
    limits: &'a Limits,
    defaults: &'a Defaults,
    findings: Findings<'f>,
}

impl Reader<'_, '_> {
    fn suite(&mut self, bytes: &[u8]) -> Vec<Case> {
        let Self { limits, findings, .. } = self;
        let Some(root) = yaml::parse(bytes, limits.attachments_bytes, findings) else {
            return Vec::new();
        };
        if !yaml::fields(&root, &["cases", "defaults"], findings) {
            return Vec::new();
        }
        let Some(list) = root.field("cases") else {
            let span = yaml::span_of(root.head());
            findings.add(Code::InvalidYaml, span, "`cases` is missing");
            return Vec::new();
        };
        let nodes = yaml::list(list, "`cases`", findings);
        if matches!(&list.kind, Kind::List(them) if them.is_empty()) {
            let span = yaml::span_of(list.head());
            findings.add(Code::Empty, span, "`cases`: the list is empty");
        }
        let own = root.field("defaults").map(|it| Defaults::new(it, findings)).unwrap_or_default();
        let mut seen = HashSet::new();
        let mut cases = Vec::new();
        for node in nodes {
            let node = self.defaults.under(&own.under(node));
            let written = yaml::read::<written::Case>(&node, Texts::Quoted, &mut self.findings);
            cases.extend(written.and_then(|it| self.case(&it, &mut seen)));
        }
        cases
    }

    fn case(&mut self, written: &written::Case, seen: &mut HashSet<String>) -> Option<Case> {
        let name = &written.name;
        let unique = seen.insert(name.value.clone());
        if !unique {
            let message = format!("another case has the name `{}`", name.value);
            self.findings.add(Code::DuplicateCase, yaml::span(name), message);
        }
        let known = self.names.is_none_or(|it| it.know(written, &mut self.findings));
        case::read(written, &mut self.findings).filter(|_| unique && known)
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

    /// Whether everything that a case names exists.
    fn know(&self, case: &written::Case, findings: &mut Findings<'_>) -> bool {
        let by = case.by.as_ref().is_none_or(|it| self.is_decider(it, findings));
        let spent = case.spent.0.iter().map(|(it, _)| self.is_budget(&it.value, it, findings));
        // Report every complaint, not just the first.
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
