//! Lints of one condition: values that a key never has, absent keys that were forgotten.

use crate::policy::compile::lint::{self, Condition, domain};
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::document::Effect;
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::operator::{Comparison, Qualifier, Test};
use crate::policy::language::template::Part;
use crate::policy::language::{suggest, template, value};

/// `all` are the conditions of the same statement or budget, this one included; a budget has no effect.
pub(super) fn check(
    it: &Condition<'_>,
    effect: Option<Effect>,
    all: &[Condition<'_>],
    findings: &mut Findings<'_>,
) {
    if matches!(it.key, Key::Unknowable(_)) {
        return;
    }
    if it.key == Key::EnterpriseProjectId {
        let message = "`g:EnterpriseProjectId` is always absent";
        let hint = "use `lychgate:projectId` or `lychgate:workspaceId`";
        findings.hint(Code::AbsentKey, it.raw.key.span, message, hint);
    }
    if it.operator.if_exists && it.key.is_always_there() {
        let message = format!("`{}` is always there: IfExists changes nothing", it.key);
        findings.add(Code::NeedlessIfExists, it.raw.operator.span, message);
    }
    match it.operator.test {
        Test::Null => null(it, all, findings),
        Test::Number(order) => domain::number(it, order, findings),
        Test::Address => everywhere(it, findings),
        Test::Boolean => both(it, findings),
        _ => {
            constant(it, findings);
            values(it, findings);
        }
    }
    groups(it, effect, findings);
    match effect {
        Some(Effect::Allow) => allow(it, all, findings),
        Some(Effect::Deny) => deny(it, all, findings),
        None => (),
    }
    literal_wildcards(it, findings);
}

fn null(it: &Condition<'_>, all: &[Condition<'_>], findings: &mut Findings<'_>) {
    let (absent, present) = null_values(it);
    let (span, key) = (it.raw.key.span, &it.key);
    if absent && present {
        findings.add(Code::AlwaysTrue, span, "`Null` of both `true` and `false` always holds");
    } else if present && key.is_always_there() {
        findings.add(Code::AlwaysTrue, span, format!("`{key}` is always there"));
    } else if absent && key.is_always_there() {
        let message = format!("this never holds: `{key}` is always there");
        findings.add(Code::NeverMatches, span, message);
    } else if absent && all.iter().any(|other| other.key == *key && needs(other)) {
        let message = format!("this never holds: another condition needs `{key}`");
        let hint = "conditions of one statement must all hold; write two statements, or IfExists";
        findings.hint(Code::NeverMatches, span, message, hint);
    }
}

/// Whether a `Null` asks for an absent and for a present key.
fn null_values(it: &Condition<'_>) -> (bool, bool) {
    let says = |truth| it.raw.values.iter().any(|it| value::boolean(&it.value) == Some(truth));
    (says(true), says(false))
}

/// Whether the condition fails when its key is absent, in an Allow and in a Deny.
fn needs(it: &Condition<'_>) -> bool {
    match it.operator.test {
        Test::Null => null_values(it) == (false, true),
        _ => {
            let all = it.operator.qualifier == Some(Qualifier::All);
            !it.operator.negated && !it.operator.if_exists && !all
        }
    }
}

/// A truth value is one of both.
fn both(it: &Condition<'_>, findings: &mut Findings<'_>) {
    if null_values(it) == (true, true) {
        let message = format!("every `{}` is `true` or `false`", it.key);
        findings.hint(Code::AlwaysTrue, it.raw.key.span, message, "write the one that you mean");
    }
}

/// A range of all addresses.
fn everywhere(it: &Condition<'_>, findings: &mut Findings<'_>) {
    for text in &it.raw.values {
        let Some(range) = value::range(&text.value).filter(|it| it.prefix_len() == 0) else {
            continue;
        };
        let version = if range.addr().is_ipv4() { 4 } else { 6 };
        let message = format!("`{}` is every IPv{version} address", text.value);
        let hint = "name the networks, or leave the condition out";
        findings.hint(Code::UnlikelyValue, text.span, message, hint);
    }
}

/// A pattern of nothing but `*`.
fn constant(it: &Condition<'_>, findings: &mut Findings<'_>) {
    let anything = it.operator.test == Test::Text(Comparison::Match)
        && it
            .raw
            .values
            .iter()
            .any(|it| !it.value.is_empty() && it.value.bytes().all(|it| it == b'*'));
    if !anything || !(it.operator.if_exists || it.key.is_always_there()) {
        return;
    }
    let (key, span) = (&it.key, it.raw.key.span);
    match it.operator.negated {
        false => findings.add(Code::AlwaysTrue, span, format!("`*` matches every `{key}`")),
        true if it.key.is_always_there() => {
            let message = format!("this never holds: `*` matches every `{key}`");
            findings.add(Code::NeverMatches, span, message);
        }
        true => (),
    }
}

fn values(it: &Condition<'_>, findings: &mut Findings<'_>) {
    let Test::Text(comparison) = it.operator.test else {
        return;
    };
    for text in &it.raw.values {
        let Ok(parts) = template::parse(&text.value, comparison == Comparison::Match) else {
            continue;
        };
        lint::several_valued(&parts, text, findings);
        lint::text::compared(comparison, text, &parts, findings);
        if matches!(parts.as_slice(), [Part::Variable(same)] if same.key == it.key) {
            let message = format!("`{}` is compared with itself", it.key);
            let hint = "name another key, or write the value that you mean";
            findings.hint(Code::UnlikelyValue, text.span, message, hint);
        }
        if parts.iter().any(|it| matches!(it, Part::Variable(_))) {
            continue;
        }
        if comparison == Comparison::EqualsIgnoreCase
            && text.value.chars().any(|it| !it.is_ascii() && it.is_alphabetic())
        {
            let message = "only ASCII letters are compared without regard to case";
            findings.hint(
                Code::NonAsciiCase,
                text.span,
                message,
                "list every spelling that counts",
            );
        }
        impossible(it, comparison, text, &parts, findings);
    }
}

fn impossible(
    it: &Condition<'_>,
    comparison: Comparison,
    text: &Text,
    parts: &[Part],
    findings: &mut Findings<'_>,
) {
    let listed = template::literal(parts).unwrap_or_default();
    if let Some(list) = it.key.closed_list() {
        if !list.iter().any(|it| lint::is_met(comparison, parts, it)) {
            let hint = format!("its values are {}", list.join(", "));
            let hint = suggest::hint(listed, list.iter().copied(), hint);
            let message =
                format!("`{}` is never `{}`: that is not one of its values", it.key, text.value);
            findings.hint(Code::ImpossibleValue, text.span, message, hint);
        }
        return;
    }
    domain::name(it, comparison, text, parts, findings);
}

fn allow(it: &Condition<'_>, all: &[Condition<'_>], findings: &mut Findings<'_>) {
    let (span, key, name) = (it.raw.operator.span, &it.key, &it.raw.operator.value);
    // Being in one of several groups is what one means by membership.
    let member = *key == Key::Groups && !it.operator.negated;
    if it.operator.qualifier == Some(Qualifier::Any) && key.is_several() && !member {
        let message = format!("one value of `{key}` is enough for this Allow");
        let hint = "without `ForAnyValue:` an Allow asks all values";
        findings.hint(Code::AllowForAnyValue, span, message, hint);
    }
    if !it.operator.negated || key.is_always_there() {
        return;
    }
    if it.operator.if_exists {
        let message = format!("`{name}` allows when `{key}` is absent");
        let hint = "leave out IfExists, or list what is allowed";
        findings.hint(Code::AllowNegatedIfExists, span, message, hint);
    } else if !all.iter().any(|other| other.key == *key && needs(other)) {
        let message = format!("this allows every `{key}` that is not listed");
        let hint = format!(
            "list what is allowed, or say that the key must be there: `\"Null\": {{\"{key}\": \
             \"false\"}}`"
        );
        findings.hint(Code::AllowNegated, span, message, hint);
    }
}

/// A caller has several groups: “is in one of these” asks about one of them, “is in none of these”
/// about all.
fn groups(it: &Condition<'_>, effect: Option<Effect>, findings: &mut Findings<'_>) {
    let one = match it.operator.qualifier {
        Some(it) => it == Qualifier::Any,
        // A budget reads what is silent as a Deny does.
        None => effect != Some(Effect::Allow),
    };
    let negated = it.operator.negated;
    let plain = it.raw.operator.value.strip_prefix("ForAllValues:").unwrap_or_default();
    if it.key.is_several()
        && it.key != Key::Groups
        && effect == Some(Effect::Deny)
        && it.operator.qualifier == Some(Qualifier::All)
        && !negated
    {
        let key = &it.key;
        let message =
            format!("this denies only where all values of `{key}` are listed, or none is there");
        let hint = format!("to deny where one of them is listed, write `{plain}`");
        findings.hint(Code::OneOrAllGroups, it.raw.operator.span, message, hint);
    }
    if it.key != Key::Groups || it.operator.test == Test::Null || one != negated {
        return;
    }
    let written = &it.raw.operator.value;
    let plain = written.split_once(':').map_or(written.as_str(), |(_, it)| it);
    let (message, hint) = match (effect, negated) {
        // Such an Allow has a finding of its own.
        (Some(Effect::Allow), true) => return,
        (Some(Effect::Allow), false) => (
            "this allows only a caller all of whose groups are listed",
            format!("for a member of one of them write `ForAnyValue:{plain}`"),
        ),
        (Some(Effect::Deny), true) => (
            "this also denies members of a listed group, as soon as they are in another group",
            format!("to exempt the members write `ForAllValues:{plain}`"),
        ),
        (Some(Effect::Deny), false) => (
            "this denies only a caller all of whose groups are listed, and one without groups",
            format!("to deny every member write `{plain}`"),
        ),
        (None, true) => (
            "this also counts members of a listed group, as soon as they are in another group",
            format!("to leave the members out write `ForAllValues:{plain}`"),
        ),
        (None, false) => (
            "this counts only a caller all of whose groups are listed, and one without groups",
            format!("to count every member write `{plain}`"),
        ),
    };
    findings.hint(Code::OneOrAllGroups, it.raw.operator.span, message, hint);
}

fn deny(it: &Condition<'_>, all: &[Condition<'_>], findings: &mut Findings<'_>) {
    let bounded = match it.operator.test {
        Test::Address | Test::Date(_) | Test::Number(_) => true,
        // A missing mark is meant to count as false.
        Test::Boolean => it.raw.values.iter().any(|it| value::boolean(&it.value) == Some(false)),
        Test::Null | Test::Text(_) => false,
    };
    let asked = |it: &Condition<'_>| it.operator.test == Test::Null;
    if !bounded
        || !needs(it)
        || it.key.is_always_there()
        || it.key == Key::EnterpriseProjectId
        || all.iter().any(|other| other.key == it.key && asked(other))
    {
        return;
    }
    let (name, key) = (&it.raw.operator.value, &it.key);
    let message = format!("this does not deny when `{key}` is absent");
    let hint = format!("to deny then too, write `{name}IfExists`");
    findings.hint(Code::DenyWhenAbsent, it.raw.operator.span, message, hint);
}

/// Reports wildcards where they are plain characters.
fn literal_wildcards(it: &Condition<'_>, findings: &mut Findings<'_>) {
    if let Key::PrincipalTag(tag) | Key::ResourceTag(tag) = &it.key {
        lint::text::tag_key(tag, it.raw.key.span, findings);
        if tag.contains(['*', '?']) {
            let message = format!("a wildcard in a tag key is a plain character: `{tag}`");
            findings.add(Code::LiteralWildcard, it.raw.key.span, message);
        }
    }
    let Test::Text(comparison) = it.operator.test else {
        return;
    };
    let hint = match comparison {
        Comparison::Match => return,
        Comparison::Equals | Comparison::EqualsIgnoreCase => {
            "did you mean `StringMatch` or `StringNotMatch`? A plain one is written `${*}` or `${?}`"
        }
        Comparison::EndWith | Comparison::StartWith => {
            "leave it out: the operator looks at one end only. A plain one is written `${*}` or \
             `${?}`"
        }
    };
    for text in &it.raw.values {
        let parts = template::parse(&text.value, true).unwrap_or_default();
        if parts.iter().any(|it| matches!(it, Part::Any | Part::Star)) {
            let operator = &it.raw.operator.value;
            let message = format!("under `{operator}` a wildcard is a plain character");
            findings.hint(Code::LiteralWildcard, text.span, message, hint);
        }
    }
}
