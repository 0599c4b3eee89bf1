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
        let names = set.map(|it| it.statements().map(|it| it.name.as_str()).collect());
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
    names: Option<&BTreeSet<&str>>,
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
        let known = match (&written.by, names) {
            (Some(by), Some(names)) => is_decider(by, names, findings),
            _ => true,
        };
        if let Some(case) = case::read(written, findings)
            && unique
            && known
        {
            cases.push(case);
        }
    }
}

fn is_decider(by: &Spanned<String>, names: &BTreeSet<&str>, findings: &mut Findings<'_>) -> bool {
    let name = by.value.as_str();
    let known = [decision::CEILING, decision::NONE].contains(&name) || names.contains(name);
    if !known {
        let message = format!("there is no statement `{name}` about deleting training jobs");
        let hint = match suggest::nearest(name, names.iter().copied()) {
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

#[cfg(test)]
mod tests;
