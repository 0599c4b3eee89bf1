//! Lints of one statement: Allows that are too wide, resources that match nothing.

use crate::policy::compile::lint;
use crate::policy::compile::lint::{Condition, condition};
use crate::policy::engine::set::Actions;
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::document::{Effect, Statement};
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::{pattern, template};

/// `everywhere`: an identity policy that some attachment grants for all projects.
pub(super) fn check(
    raw: &Statement,
    actions: Actions,
    everywhere: bool,
    findings: &mut Findings<'_>,
) {
    let conditions = lint::conditions(&raw.conditions);
    if raw.effect == Effect::Allow {
        negations(raw, actions, findings);
        if everywhere && !raw.faulty {
            bounds(raw, &conditions, findings);
        }
    }
    for text in raw.resource.iter().flat_map(|it| &it.values) {
        resource(text, findings);
    }
    for it in &conditions {
        condition::check(it, Some(raw.effect), &conditions, findings);
    }
}

fn negations(raw: &Statement, actions: Actions, findings: &mut Findings<'_>) {
    if let Some(action) = raw.action.as_ref().filter(|it| it.negated) {
        let among = if actions.delete { "deletes" } else { "looks at jobs" };
        let message = format!("this allows every action but the listed ones, {among} among them");
        let hint = "list what is allowed in `Action`";
        findings.hint(Code::AllowNotAction, action.name, message, hint);
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
    lint::several_valued(&id, text, findings);
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
    let literals: String = template::literals(&id).collect();
    let strange = literals.chars().find(|it| !it.is_ascii_alphanumeric() && *it != '-');
    if let Some(strange) = strange {
        let hint = "the fifth part is the job's ID, such as `3faf5c03-*`";
        return never(format!("job IDs have no `{strange}`"), hint);
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
