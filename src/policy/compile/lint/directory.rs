//! Lints across documents: inert statements, unattached policies, tag keys that look alike.

use crate::policy::compile::lint;
use crate::policy::compile::lint::{Scope, Source};
use crate::policy::language::attachments::Attached;
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings, Span};
use crate::policy::language::document::{Effect, Statement};
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;

use std::collections::{BTreeMap, HashMap};

pub(super) fn check(sources: &[Source<'_>], attached: &[Attached], found: &mut Vec<Diagnostic>) {
    let live_ceiling = sources.iter().filter(|it| it.scope == Scope::Guardrail).any(|it| {
        it.statements().any(|(it, actions)| actions.delete && it.effect == Effect::Allow)
    });
    for source in sources {
        let mut findings = Findings { path: source.path, found };
        if let Scope::Identity(number) = source.scope
            && attached.get(number as usize).copied().unwrap_or_default() == Attached::Nowhere
        {
            let message = "this policy is attached to nobody";
            let hint = "name it in attachments.yaml";
            findings.hint(Code::Unattached, Span::new(0, 1), message, hint);
        }
        inert(source, live_ceiling, &mut findings);
        numeric_sids(source, &mut findings);
    }
    confusable(sources, found);
}

fn inert(source: &Source<'_>, live_ceiling: bool, findings: &mut Findings<'_>) {
    let inert = source.statements().filter(|(it, actions)| !actions.are_live(it.effect));
    let (nothing, inert): (Vec<_>, Vec<_>) = inert.partition(|(it, _)| names_no_action(it));
    for (statement, _) in nothing {
        let message = "this statement is about no action at all: `NotAction` leaves out every one";
        let hint = "name what it is about in `Action`";
        findings.hint(Code::NeverMatches, action_name(statement), message, hint);
    }
    let (batch, other): (Vec<_>, Vec<_>) =
        inert.into_iter().partition(|(_, actions)| actions.batch_delete);
    for (statement, _) in batch {
        findings.hint(
            Code::BatchAllow,
            action_name(statement),
            "this allows nothing: each job of a batch is judged as a delete of its own",
            "to allow batches, allow `modelarts:trainJob:delete`",
        );
    }
    if let Some((first, _)) = other.first() {
        let message = match other.len() {
            1 => "this statement is about other actions and does nothing here".to_owned(),
            n => format!(
                "{n} statements, of which this is the first, are about other actions and do nothing \
                 here"
            ),
        };
        findings.add(Code::InertStatements, action_name(first), message);
    }
    if source.scope != Scope::Guardrail || live_ceiling {
        return;
    }
    for (statement, _) in source.statements().filter(|(it, _)| it.effect == Effect::Allow) {
        findings.hint(
            Code::InertCeiling,
            action_name(statement),
            "once guardrails allow something, nothing else is possible, and none allows deletes",
            "to make deletes possible, allow `modelarts:trainJob:delete` in a guardrail too",
        );
    }
}

fn names_no_action(statement: &Statement) -> bool {
    let everything = |it: &Text| it.value.bytes().all(|it| b"*:".contains(&it));
    let choice = statement.action.as_ref();
    choice.is_some_and(|it| it.negated && it.values.iter().any(everything))
}

fn action_name(statement: &Statement) -> Span {
    statement.action.as_ref().map_or(statement.span.head(), |it| it.name)
}

fn numeric_sids(source: &Source<'_>, findings: &mut Findings<'_>) {
    for (index, (statement, _)) in source.statements().enumerate() {
        if let Some(sid) = &statement.sid
            && sid.value.bytes().all(|it| it.is_ascii_digit())
            && sid.value != (index + 1).to_string()
        {
            let message =
                format!("`{}` could be mistaken for the number of a statement", sid.value);
            findings.hint(Code::NumericSid, sid.span, message, "use a word");
        }
    }
}

/// Where a tag key is used first.
type Uses<'a> = BTreeMap<String, (&'a str, Span)>;

fn confusable(sources: &[Source<'_>], found: &mut Vec<Diagnostic>) {
    let mut uses = Uses::new();
    for source in sources {
        for (statement, _) in source.live() {
            lint::keys(&statement.conditions, statement.resource.as_ref(), |key, span| {
                if matches!(key, Key::PrincipalTag(_) | Key::ResourceTag(_)) {
                    uses.entry(key.to_string()).or_insert((source.path, span));
                }
            });
        }
    }
    let mut seen: HashMap<String, (&String, &str)> = HashMap::new();
    let mut in_order: Vec<_> = uses.iter().collect();
    in_order.sort_by_key(|(_, place)| **place);
    for (key, (path, span)) in in_order {
        let Some((other, other_path)) = seen.get(&skeleton(key)) else {
            seen.insert(skeleton(key), (key, path));
            continue;
        };
        Findings { path, found }.hint(
            Code::ConfusableTagKeys,
            *span,
            format!("`{key}` looks like `{other}` of {other_path} but is another key"),
            "tag keys are exact: use one spelling",
        );
    }
}

/// What a tag key looks like: without letter case, spaces, `-`, `_` and accents, with Greek and
/// Cyrillic letters that look like Latin ones replaced.
fn skeleton(key: &str) -> String {
    let plain = key.chars().flat_map(char::to_lowercase);
    let plain = plain.filter(|it| {
        !it.is_whitespace()
            && !matches!(it, '-' | '_' | '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}')
    });
    let plain = plain.map(|it| match lint::text::ALIKE.iter().find(|(other, _)| *other == it) {
        Some((_, latin)) => *latin,
        None => match it {
            'à'..='å' => 'a',
            'ç' => 'c',
            'è'..='ë' => 'e',
            'ì'..='ï' => 'i',
            'ñ' => 'n',
            'ò'..='ö' => 'o',
            'ù'..='ü' => 'u',
            'ý' | 'ÿ' => 'y',
            it => it,
        },
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skeletons() {
        for (a, b, alike) in [
            ("env", "Env", true),
            ("cost-center", "cost_center", true),
            ("env", "еnv", true),
            ("café", "cafe\u{301}", true),
            ("env ", "env", true),
            ("env", "environment", false),
            ("team", "teams", false),
        ] {
            assert_eq!(skeleton(a) == skeleton(b), alike, "{a} {b}");
        }
    }
}
