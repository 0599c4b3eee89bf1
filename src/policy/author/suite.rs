//! Test suites of a policy directory: `tests/*.yaml`, read into cases, and their coverage.
//!
//! A broken suite never stops a load: compiling does not look at suites at all.

mod beside;
mod case;
mod coverage;
mod defaults;
mod written;

pub use self::case::Case;
pub use self::coverage::Coverage;

use self::defaults::Defaults;
use crate::policy::compile::Beside;
use crate::policy::engine::condition::{Condition, Resource, Urn};
use crate::policy::engine::decision;
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::key::Key;
use crate::policy::language::pattern::Piece;
use crate::policy::language::yaml::{Spanned, Texts};
use crate::policy::language::{suggest, yaml};
use crate::policy::{Answer, Budget, Diagnostic, Files, Set, Setup, compile};
use crate::yaml::Kind;

use std::collections::{BTreeSet, HashSet};

/// The largest suite, in bytes.
const BYTES_MAX: usize = 8 << 20;

/// The defaults of all suites.
const DEFAULTS: &str = "tests/defaults.yaml";

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
    /// A file of more than 8 MiB is an error.
    #[must_use]
    pub fn read(files: &Files, set: Option<&Set>) -> Self {
        let names = set.map(Names::of);
        let (mut cases, mut found) = (Vec::new(), Vec::new());
        each(files, &mut found, |written, findings, is_unique| {
            let known = names.as_ref().is_none_or(|it| it.know(written, findings));
            cases.extend(case::read(written, findings).filter(|_| is_unique && known));
        });
        found.sort();
        // A mistake in a suite's defaults is found again in every case.
        found.dedup();
        Self { cases, diagnostics: found }
    }
}

/// Finds what the policies, attachments, budgets and suites name although it has passed, or the gate
/// does not have it. Of the suites each only once.
#[must_use]
pub fn beside(files: &Files, setup: &Setup) -> Vec<Diagnostic> {
    // Reading the suites has already reported what cannot be read.
    let (mut found, mut ignored) = (Vec::new(), Vec::new());
    each(files, &mut ignored, |written, findings, _| {
        let findings = &mut Findings { path: findings.path, found: &mut found };
        // That strangers are denied is worth a case of its own.
        let near_only = written.expect.value == Answer::Deny.as_str();
        beside::case(written, &mut Beside { setup, findings, near_only });
    });
    found.sort();
    let mut seen = HashSet::new();
    found.retain(|it| seen.insert((it.path.clone(), it.message.clone())));
    found.extend(compile::beside(files, setup));
    found.sort();
    found
}

/// Visits each case that can be read, with where to complain, and whether its name is its own.
fn each(
    files: &Files,
    found: &mut Vec<Diagnostic>,
    mut visit: impl FnMut(&written::Case, &mut Findings<'_>, bool),
) {
    let defaults = files
        .get(DEFAULTS)
        .map(|bytes| Defaults::file(bytes, &mut Findings { path: DEFAULTS, found: &mut *found }));
    let defaults = defaults.unwrap_or_default();
    let suites = files.iter().filter(|(path, _)| compile::is_suite(path) && *path != DEFAULTS);
    for (path, bytes) in suites {
        let mut findings = Findings { path, found: &mut *found };
        let mut seen = HashSet::new();
        for written in suite(bytes, &defaults, &mut findings) {
            let name = &written.name;
            let is_unique = seen.insert(name.value.clone());
            if !is_unique {
                let message = format!("another case has the name `{}`", name.value);
                findings.add(Code::DuplicateCase, yaml::span(name), message);
            }
            visit(&written, &mut findings, is_unique);
        }
    }
}

/// The cases of one suite that can be read, with what the defaults say.
fn suite(bytes: &[u8], defaults: &Defaults, findings: &mut Findings<'_>) -> Vec<written::Case> {
    let Some(root) = yaml::parse(bytes, BYTES_MAX, findings) else {
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
    let cases = nodes.iter().filter_map(|node| {
        let node = defaults.under(&own.under(node));
        yaml::read(&node, Texts::Quoted, findings)
    });
    cases.collect()
}

/// What a case may name.
struct Names<'a> {
    /// An answer may depend on the account.
    account: bool,
    budgets: BTreeSet<&'a str>,
    statements: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(set: &'a Set) -> Self {
        Self {
            account: asks_account(set),
            budgets: set.budgets().iter().map(|it| &**it.name()).collect(),
            statements: set.statements().map(|it| it.name.as_str()).collect(),
        }
    }

    /// Whether everything that a case names exists, and the account that the policies ask for is stated.
    fn know(&self, case: &written::Case, findings: &mut Findings<'_>) -> bool {
        let by = case.by.as_ref().is_none_or(|it| self.is_decider(it, findings));
        let account = self.has_account(case, findings);
        let spent = case.spent.0.iter().map(|(it, _)| self.is_budget(&it.value, it, findings));
        // Report every complaint, not just the first.
        spent.fold(by & account, |all, it| all & it)
    }

    /// A gate always has one, so that a case without it would be one that never comes.
    fn has_account(&self, case: &written::Case, findings: &mut Findings<'_>) -> bool {
        let has = !self.account || case.request.account.is_some();
        if !has {
            let message = "the policies ask for the account, and this case states none";
            let hint = "add `account: \"…\"` to its `request`, or to that of `defaults`";
            findings.hint(Code::ImpossibleCase, yaml::span(&case.name), message, hint);
        }
        has
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
            let hint = "budgets.yaml names the budgets; without it they are `per-principal` and \
                        `per-project`";
            let hint = suggest::hint(name, self.budgets.iter().copied(), hint);
            findings.hint(Code::UnknownBudget, yaml::span(at), message, hint);
        }
        known
    }

    fn is_statement(&self, by: &Spanned<String>, findings: &mut Findings<'_>) -> bool {
        let name = by.value.as_str();
        let known = self.statements.contains(name);
        if !known {
            let message = format!("there is no statement `{name}` about deleting training jobs");
            let hint = "write `guardrails/<file>#<Sid>`, `identity/<file>#2` for the second \
                        statement of a file without Sids, `ceiling` or `none`";
            let hint = suggest::hint(name, self.statements.iter().copied(), hint);
            findings.hint(Code::UnknownStatement, yaml::span(by), message, hint);
        }
        known
    }
}

/// Whether an answer of these policies may depend on the account.
fn asks_account(set: &Set) -> bool {
    let asks = |it: &Key| matches!(it, Key::DomainId | Key::PrincipalAccount | Key::PrincipalUrn);
    let names = |it: &Urn| match it {
        Urn::Job { account, .. } => account.iter().any(|it| *it != Piece::Star),
        Urn::Any | Urn::Other => false,
    };
    let resources = || set.statements().filter_map(|it| it.resource.as_ref());
    let conditions = set.statements().flat_map(|it| &it.conditions);
    conditions.chain(set.budgets.iter().flat_map(Budget::when)).flat_map(Condition::keys).any(asks)
        || resources().flat_map(Resource::keys).any(asks)
        || resources().flat_map(|it| &it.patterns).any(names)
}

#[cfg(test)]
mod tests;
