//! Lints: findings about what is valid but hardly meant, which do not stop a load.

mod condition;
mod directory;
mod domain;
mod statement;
mod text;

use crate::policy::budget::Named;
use crate::policy::engine::set::Actions;
use crate::policy::language::attachments::Attached;
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings, Span};
use crate::policy::language::document::{Choice, Effect};
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::operator::{Comparison, Operator};
use crate::policy::language::template::Part;
use crate::policy::language::{document, pattern, template};

/// A document as the lints see it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) scope: Scope,
    pub(super) written: Vec<document::Statement>,
    /// The actions that each of its statements is about.
    pub(super) actions: Vec<Actions>,
}

/// Where a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Guardrail,
    /// An identity policy and its number.
    Identity(u32),
}

/// Runs all lints. `attached` is by policy number.
pub(super) fn check(sources: &[Source<'_>], attached: &[Attached], found: &mut Vec<Diagnostic>) {
    for source in sources {
        let mut findings = Findings { path: source.path, found };
        let everywhere = match source.scope {
            Scope::Guardrail => false,
            Scope::Identity(number) => attached.get(number as usize) == Some(&Attached::Everywhere),
        };
        for (raw, actions) in source.live() {
            statement::check(raw, actions, everywhere, &mut findings);
            if source.scope == Scope::Guardrail && raw.effect == Effect::Allow {
                ceiling(raw, &mut findings);
            }
        }
    }
    directory::check(sources, attached, found);
}

/// Every Allow of the guardrails gets this finding, because it looks like a grant.
fn ceiling(raw: &document::Statement, findings: &mut Findings<'_>) {
    let message = "this grants nothing: nobody can delete what no Allow of the guardrails covers";
    let hint = "to grant, put it into identity/; to forbid something, write a Deny";
    findings.hint(Code::Ceiling, raw.span.head(), message, hint);
}

impl Source<'_> {
    /// The statements, with the actions that each is about.
    fn statements(&self) -> impl Iterator<Item = (&document::Statement, Actions)> {
        self.written.iter().zip(self.actions.iter().copied())
    }

    /// Those that can decide something.
    fn live(&self) -> impl Iterator<Item = (&document::Statement, Actions)> {
        self.statements().filter(|(it, actions)| actions.are_live(it.effect))
    }
}

/// A condition whose operator and key are known.
pub(super) struct Condition<'a> {
    pub(super) raw: &'a document::Condition,
    pub(super) operator: Operator,
    pub(super) key: Key,
}

/// The conditions without those that are errors anyway.
pub(super) fn conditions(raw: &[document::Condition]) -> Vec<Condition<'_>> {
    let known = raw.iter().filter_map(|raw| {
        let operator = Operator::parse(&raw.operator.value).ok()?;
        let key = Key::parse(&raw.key.value).ok()?;
        operator.takes(key.kind()).then_some(Condition { raw, operator, key })
    });
    known.collect()
}

/// Visits every key that conditions and a resource read, those of variables too, with its place.
pub(super) fn keys(
    raw: &[document::Condition],
    resource: Option<&Choice>,
    mut visit: impl FnMut(&Key, Span),
) {
    conditions(raw).iter().for_each(|it| visit(&it.key, it.raw.key.span));
    let values = raw.iter().flat_map(|it| &it.values);
    for text in values.chain(resource.into_iter().flat_map(|it| &it.values)) {
        for part in template::parse(&text.value, false).unwrap_or_default() {
            if let Part::Variable(it) = part {
                visit(&it.key, text.span);
            }
        }
    }
}

/// Looks at what the budgets of a directory compare their keys with.
pub(super) fn budgets(named: &[Named], findings: &mut Findings<'_>) {
    for it in named {
        let all = conditions(&it.conditions);
        all.iter().for_each(|it| condition::check(it, None, &all, findings));
    }
}

/// Whether a text meets the listed value, variables aside.
pub(super) fn is_met(comparison: Comparison, parts: &[Part], text: &str) -> bool {
    match comparison {
        Comparison::Match => {
            template::constant(parts).is_some_and(|it| pattern::matches(&it, text))
        }
        _ => comparison.holds(text, template::literal(parts).unwrap_or_default()),
    }
}

/// Reports variables that can never be filled in.
fn several_valued(parts: &[Part], text: &Text, findings: &mut Findings<'_>) {
    for part in parts {
        if let Part::Variable(variable) = part
            && variable.key.is_several()
        {
            let key = &variable.key;
            findings.hint(
                Code::SeveralValued,
                text.span,
                format!("`{key}` may hold several values and is never filled in"),
                format!("turn the condition round: ask for `{key}`, with this as its value"),
            );
        }
    }
}
