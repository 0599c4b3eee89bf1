//! Statements: actions, resources, names.

use crate::policy::compile::conditions;
use crate::policy::engine::condition::{Operand, Resource, Urn};
use crate::policy::engine::set::{Actions, Place, Policy, Statement};
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::document::{Choice, Effect};
use crate::policy::language::json::Text;
use crate::policy::language::{document, pattern, suggest, template};
use crate::policy::{Action, Sources, StatementName};

use std::collections::HashSet;

/// The fields of a statement.
const FIELDS: [&str; 7] =
    ["Action", "Condition", "Effect", "NotAction", "NotResource", "Resource", "Sid"];

const ALL: Actions = Actions { delete: true, batch_delete: true, get: true };

const RESOURCE_HINT: &str =
    "write `*` or `modelarts:<region>:<account>:trainJob:<id>`, such as `modelarts:*:*:trainJob:*`";

/// Compiles the live statements of the document called `name`, such as `guardrails/protect`, and
/// returns the actions that each of its statements is about.
pub(super) fn compile(
    name: &str,
    read: &[document::Statement],
    findings: &mut Findings<'_>,
) -> (Policy, Vec<Actions>) {
    let mut res = Policy::default();
    let mut all = Vec::new();
    let mut sids = HashSet::new();
    for (index, raw) in read.iter().enumerate() {
        if let Some(sid) = &raw.sid
            && !sids.insert(&sid.value)
        {
            let message = format!("another statement has the Sid `{}`", sid.value);
            let hint = "a Sid names one statement of a document";
            findings.hint(Code::DuplicateSid, sid.span, message, hint);
        }
        let actions = raw.action.as_ref().map_or(ALL, |it| actions(it, findings));
        all.push(actions);
        if !actions.are_live(raw.effect) {
            continue;
        }
        let name = match &raw.sid {
            Some(sid) => format!("{name}#{}", sid.value),
            None => format!("{name}#{}", index + 1),
        };
        let statement = statement(&name, raw, actions, findings);
        match raw.effect {
            Effect::Allow => res.allows.push(statement),
            Effect::Deny => res.denies.push(statement),
        }
    }
    (res, all)
}

fn statement(
    name: &str,
    raw: &document::Statement,
    actions: Actions,
    findings: &mut Findings<'_>,
) -> Statement {
    for field in &raw.unknown {
        document::unknown_field(findings, field, &FIELDS);
    }
    let mut sources = Sources::default();
    let mut resource = None;
    if let Some(choice) = &raw.resource {
        let urns =
            choice.values.iter().filter_map(|it| urn(it, raw.effect, &mut sources, findings));
        let patterns: Vec<_> = urns.collect();
        let everything = !choice.negated && patterns.iter().any(|it| matches!(it, Urn::Any));
        resource = (!everything).then_some(Resource { negated: choice.negated, patterns });
    }
    let conditions = conditions::compile(&raw.conditions, raw.effect, &mut sources, findings);
    Statement {
        name: StatementName::new(name),
        effect: raw.effect,
        actions,
        resource,
        conditions,
        sources,
        place: Place { path: findings.path.to_owned(), span: raw.span },
    }
}

/// The actions that a statement names. A statement with a faulty action counts as about everything,
/// so that the rest of it is checked too.
pub(super) fn actions(choice: &Choice, findings: &mut Findings<'_>) -> Actions {
    let (mut res, mut faulty) = (Actions::default(), false);
    for text in &choice.values {
        match action(text, findings) {
            Some(it) => {
                res.delete |= it.delete;
                res.batch_delete |= it.batch_delete;
                res.get |= it.get;
            }
            None => faulty = true,
        }
    }
    match (faulty, choice.negated) {
        (true, _) => ALL,
        (false, true) => {
            Actions { delete: !res.delete, batch_delete: !res.batch_delete, get: !res.get }
        }
        (false, false) => res,
    }
}

/// What the action covers; `None` after a complaint.
fn action(text: &Text, findings: &mut Findings<'_>) -> Option<Actions> {
    let action = text.value.as_str();
    if action == "*" {
        return Some(ALL);
    }
    let parts: Vec<_> = action.split(':').collect();
    if parts.len() != 3 {
        findings.hint(
            Code::MalformedAction,
            text.span,
            format!("`{action}` is not an action"),
            format!("write `*` or `service:type:operation`, such as `{}`", Action::Delete),
        );
        return None;
    }
    // Letter case does not count in an action.
    let fold = |it: &str| it.to_ascii_lowercase();
    let covers = |action: Action| {
        let names = action.as_str().split(':').zip(&parts);
        let mut matched =
            names.map(|(name, part)| pattern::matches(&pattern::parse(&fold(part)), &fold(name)));
        matched.all(|it| it)
    };
    let covered = Actions {
        delete: covers(Action::Delete),
        batch_delete: covers(Action::BatchDelete),
        get: covers(Action::Get),
    };
    let meant = MISSPELT.into_iter().find(|(_, operations)| is_nearly(&parts, operations));
    if covered == Actions::default()
        && let Some((meant, _)) = meant
    {
        let message = format!("ModelArts has no action `{action}`");
        let alike = if action.is_ascii() { "" } else { " It has letters that only look alike." };
        let hint = format!("did you mean `{meant}`?{alike} As written it covers no such request");
        findings.hint(Code::MisspeltAction, text.span, message, hint);
        return None;
    }
    Some(covered)
}

/// Wrong names that people use for operations.
const MISSPELT: [(Action, &[&str]); 3] = [
    (
        Action::Delete,
        &[
            "batchdel",
            "del",
            "delete",
            "deleteall",
            "deletejob",
            "deletejobs",
            "deletetrainingjob",
            "deletetrainjob",
            "destroy",
            "remove",
            "rm",
        ],
    ),
    (Action::BatchDelete, &["batchdelete", "batchdeletejob", "batchdeletejobs", "batchremove"]),
    (Action::Get, &["get", "getjob", "gettrainingjob", "gettrainjob"]),
];

/// Whether each part is that of an action judged here, or looks like it: another spelling, an
/// abbreviation, a plural, or a wildcard beside one. A guardrail with such an action would protect
/// nothing.
fn is_nearly(parts: &[&str], operations: &[&str]) -> bool {
    const SERVICES: &[&str] = &["ma", "modelart", "modelarts"];
    const TYPES: &[&str] = &[
        "job",
        "jobs",
        "train",
        "training",
        "trainings",
        "trainingjob",
        "trainingtask",
        "trainjob",
        "traintask",
    ];
    let looks_like = |(part, words): (&&str, &[&str])| {
        let plain = |it: &char| !matches!(it, '-' | '_' | '*' | '?' | '.' | ' ');
        let wild = part.contains(['*', '?']);
        let part: String = part.chars().filter(plain).collect::<String>().to_ascii_lowercase();
        wild && part.is_empty()
            || words
                .iter()
                .any(|it| *it == part || 4 < it.len() && suggest::distance(&part, it) <= 2)
    };
    parts.iter().zip([SERVICES, TYPES, operations]).all(looks_like)
}

/// Reads one value of `Resource` or `NotResource`.
fn urn(
    text: &Text,
    effect: Effect,
    sources: &mut Sources,
    findings: &mut Findings<'_>,
) -> Option<Urn> {
    if text.value == "*" {
        return Some(Urn::Any);
    }
    conditions::template(text, true, effect, sources, findings)?;
    let mut sections = text.value.splitn(5, ':');
    let constant = |it| template::constant(&template::parse(it, true).ok()?);
    // A variable has a colon in its name, so that it is cut here and no longer one.
    let Some(before) = sections.by_ref().take(4).map(constant).collect::<Option<Vec<_>>>() else {
        findings.hint(
            Code::VariablePlace,
            text.span,
            "a variable may stand only in the fifth part of a resource",
            "name the region and the account, or write `*` and use a condition",
        );
        return None;
    };
    let (Ok([service, region, account, kind]), Some(id)) =
        (<[_; 4]>::try_from(before), sections.next())
    else {
        let message = format!("`{}` is not a resource", text.value);
        findings.hint(Code::MalformedResource, text.span, message, RESOURCE_HINT);
        return None;
    };
    if !pattern::matches(&service, "modelarts") || !pattern::matches(&kind, "trainJob") {
        return Some(Urn::Other);
    }
    let id = template::parse(id, true).ok()?;
    let id = template::constant(&id).map_or(Operand::Template(id), Operand::Known);
    Some(Urn::Job { region, account, id })
}
