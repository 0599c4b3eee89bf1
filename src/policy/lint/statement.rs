//! One statement: what an Allow leaves open, resources that match nothing.

use crate::policy::diagnostic::{Code, Findings};
use crate::policy::document::{Effect, Statement, Text};
use crate::policy::key::Key;
use crate::policy::lint::{Condition, condition};
use crate::policy::operator::Comparison;
use crate::policy::template::Part;
use crate::policy::{lint, operator, pattern, template};

/// `everywhere`: an identity policy that some attachment grants for all projects.
pub(super) fn check(raw: &Statement, everywhere: bool, findings: &mut Findings<'_>) {
    let conditions = lint::conditions(raw);
    if raw.effect == Effect::Allow {
        negations(raw, findings);
        if everywhere && !raw.faulty {
            bounds(raw, &conditions, findings);
        }
    }
    for text in raw.resource.iter().flat_map(|it| &it.values) {
        resource(text, findings);
    }
    for it in &conditions {
        condition::check(it, raw.effect, &conditions, findings);
    }
}

fn negations(raw: &Statement, findings: &mut Findings<'_>) {
    if let Some(action) = raw.action.as_ref().filter(|it| it.negated) {
        findings.hint(
            Code::AllowNotAction,
            action.name,
            "this allows every action but the listed ones, deletes among them",
            "list what is allowed in `Action`",
        );
    }
    if let Some(resource) = raw.resource.as_ref().filter(|it| it.negated) {
        findings.hint(
            Code::AllowNotResource,
            resource.name,
            "this allows every job but the listed ones",
            "list what is allowed in `Resource`, and deny the rest in a statement of its own",
        );
    }
}

fn bounds(raw: &Statement, conditions: &[Condition<'_>], findings: &mut Findings<'_>) {
    let hint = "bind it with `projects` in attachments.yaml, with `lychgate:projectId`, or with a \
                Resource without wildcards";
    let named = raw
        .resource
        .as_ref()
        .is_some_and(|it| !it.negated && it.values.iter().all(|it| !it.value.contains(['*', '?'])));
    let by_project = conditions.iter().any(|it| {
        let wildcard = it.raw.values.iter().any(|it| it.value == "*");
        it.key == Key::ProjectId && !it.operator.negated && !wildcard
    });
    let all_jobs = raw.resource.as_ref().is_none_or(|it| {
        !it.negated && it.values.iter().any(|it| it.value.bytes().all(|it| b"*:".contains(&it)))
    });
    let at = raw.resource.as_ref().map_or(raw.span.head(), |it| it.name);
    if named || by_project {
        return;
    }
    if raw.conditions.is_empty() && all_jobs {
        let message = "this allows every job of every project, without condition";
        findings.hint(Code::WildcardAllow, at, message, hint);
    } else {
        let message = "this allows in every project that the gate serves";
        findings.hint(Code::UnboundAllow, at, message, hint);
    }
}

fn resource(text: &Text, findings: &mut Findings<'_>) {
    let parts: Vec<_> = text.value.splitn(5, ':').collect();
    let [service, region, account, kind, id] = parts.as_slice() else {
        return;
    };
    let Ok(id) = template::parse(id, true) else {
        return;
    };
    // Errors of their own.
    if [service, region, account, kind].iter().any(|it| it.contains("${")) {
        return;
    }
    several_valued(&id, text, findings);
    let fits = |part: &str, name| pattern::matches(&pattern::parse(part), name);
    let mut never = |why: String, hint: &str| {
        findings.hint(Code::NeverMatches, text.span, format!("this matches no job: {why}"), hint);
    };
    if !fits(service, "modelarts") || !fits(kind, "trainJob") {
        let hint = "jobs are `modelarts:<region>:<account>:trainJob:<id>`; letter case counts";
        return never(format!("`{service}:…:{kind}` is not `modelarts:…:trainJob`"), hint);
    }
    if region.is_empty() || account.is_empty() || id.is_empty() {
        let hint = "an empty part matches only an empty one; write `*`";
        return never("a part is empty".to_owned(), hint);
    }
    let literals = id.iter().filter_map(|it| match it {
        Part::Text(it) => Some(it.as_str()),
        _ => None,
    });
    let literals: String = literals.collect();
    let strange = literals.chars().find(|it| !it.is_ascii_alphanumeric() && *it != '-');
    if let Some(strange) = strange {
        let hint = "the fifth part is the job's ID, such as `3faf5c03-*`";
        return never(format!("no job ID has `{strange}`"), hint);
    }
    if literals.contains(|it: char| it.is_ascii_uppercase()) {
        findings.hint(
            Code::CapitalInJobId,
            text.span,
            "this matches no job: job IDs have no capital letters",
            "write the ID in lower case, as ModelArts issues it",
        );
    }
}

/// Reports variables that can never be filled in.
pub(super) fn several_valued(parts: &[Part], text: &Text, findings: &mut Findings<'_>) {
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

/// Wildcards where they are plain characters.
pub(super) fn literal_wildcards(it: &Condition<'_>, findings: &mut Findings<'_>) {
    let (Key::PrincipalTag(tag) | Key::ResourceTag(tag)) = &it.key else {
        return values_with_wildcards(it, findings);
    };
    if tag.contains(['*', '?']) {
        let message = format!("a wildcard in a tag key is a plain character: `{tag}`");
        findings.add(Code::LiteralWildcard, it.raw.key.span, message);
    }
    values_with_wildcards(it, findings);
}

fn values_with_wildcards(it: &Condition<'_>, findings: &mut Findings<'_>) {
    let operator::Test::Text(comparison) = it.operator.test else {
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
