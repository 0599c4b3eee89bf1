//! Findings about statements that do nothing.

use super::{Cover, Idle, Part};
use crate::policy::engine::decision;
use crate::policy::engine::set::Statement;
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::document;
use crate::policy::language::key::Key;
use crate::policy::{Limits, Set};

use std::collections::BTreeSet;

/// The most statements that a finding names.
const NAMES_MAX: usize = 3;

impl Idle {
    pub(super) fn tell(&self, set: &Set, statement: &Statement, findings: &mut Findings<'_>) {
        let head = statement.place.span.head();
        match self {
            Self::Never(parts) => {
                let hint = "all parts of a statement must hold at once: write two statements, or \
                            leave this one out";
                let span = place(set, statement, parts).unwrap_or(head);
                findings.hint(Code::NeverMatches, span, never(statement, parts), hint);
            }
            Self::Covered(cover) => {
                let hint = "leave it out, or make the other one narrower";
                findings.hint(Code::Shadowed, head, cover.text(), hint);
            }
        }
    }
}

/// Where the last of the parts is written.
fn place(set: &Set, statement: &Statement, parts: &[Part]) -> Option<Span> {
    let bytes = set.files.get(&statement.place.path)?;
    let mut ignored = Vec::new();
    let mut findings = Findings { path: &statement.place.path, found: &mut ignored };
    let statements = document::read(bytes, &Limits::default(), &mut findings);
    let raw = statements.iter().find(|it| it.span == statement.place.span)?;
    let keys: BTreeSet<_> = parts.iter().filter_map(|it| key(statement, *it)).collect();
    let is_one = |key: &str| Key::parse(key).is_ok_and(|it| keys.contains(&it.to_string()));
    let conditions = raw.conditions.iter().filter(|it| is_one(&it.key.value));
    let last = conditions.map(|it| it.key.span).max();
    let resource = || parts.contains(&Part::Resource).then_some(raw.resource.as_ref()?.name);
    last.or_else(resource)
}

fn key(statement: &Statement, part: Part) -> Option<String> {
    match part {
        Part::Condition(at) => statement.conditions.get(at).map(|it| it.key.to_string()),
        Part::Attachment | Part::Resource => None,
    }
}

fn never(statement: &Statement, parts: &[Part]) -> String {
    format!("this statement never matches: {}", why(statement, parts))
}

pub(super) fn why(statement: &Statement, parts: &[Part]) -> String {
    let keys = parts.iter().filter_map(|it| key(statement, *it)).map(|it| format!("`{it}`"));
    let count = keys.clone().count();
    let keys: BTreeSet<_> = keys.collect();
    let listed = keys.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut what = match (count, keys.len()) {
        (0, _) => String::new(),
        (1, _) => format!("no {listed} meets its condition"),
        (_, 1) => format!("no value of {listed} meets all of its conditions"),
        _ => format!("its conditions on {listed} exclude each other"),
    };
    let beside = |it: &str| match count {
        0 => format!("{it} excludes everything"),
        _ => format!(" where {it} holds"),
    };
    if parts.contains(&Part::Resource) {
        what.push_str(&beside("its resource"));
    }
    if parts.contains(&Part::Attachment) {
        what.push_str(" for those whom its policy is attached to");
    }
    what
}

impl Cover {
    fn text(&self) -> String {
        let names = |them: &[String]| {
            let named: Vec<_> = them.iter().take(NAMES_MAX).map(|it| format!("`{it}`")).collect();
            let more = them.len().saturating_sub(NAMES_MAX);
            let more = if 0 < more { format!(" and {more} more") } else { String::new() };
            named.join(", ") + &more
        };
        let mut by = Vec::new();
        if !self.same.is_empty() {
            by.push(format!("said by {}", names(&self.same)));
        }
        if !self.denies.is_empty() {
            by.push(format!("denied by {}", names(&self.denies)));
        }
        if self.ceiling {
            by.push("outside the guardrails".to_owned());
        }
        match (self.same.is_empty(), by.as_slice()) {
            (false, [same]) => format!("all that this says is already {same}"),
            (false, [more @ .., last]) => {
                format!("all that this says is {} or {last}", more.join(", "))
            }
            (true, [denies]) if !self.ceiling => format!("all that this allows is {denies}"),
            (true, [denies, ceiling]) => format!("all that this allows is {denies} or {ceiling}"),
            _ => "the guardrails allow nothing of what this allows".to_owned(),
        }
    }
}

pub(super) fn nobody(by: &str, findings: &mut Findings<'_>) {
    let (why, hint) = match by {
        decision::NONE => (
            "no attached policy allows it".to_owned(),
            "attach an identity policy with an Allow in attachments.yaml",
        ),
        decision::CEILING => (
            "all that identity policies allow is outside the guardrails".to_owned(),
            "once guardrails allow something, nothing else is possible: widen them",
        ),
        by => (
            format!("all that is allowed is also denied, in the end by `{by}`"),
            "to make deletes possible, narrow the Deny",
        ),
    };
    let message = format!("nobody can delete a job under these policies: {why}");
    findings.hint(Code::NobodyCan, Span::default(), message, hint);
}
