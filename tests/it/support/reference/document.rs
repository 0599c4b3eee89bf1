//! Policies as written, without any check.

use lychgate::policy::Query;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Paths below the policy directory, with `/`, and what the files hold.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct Policies {
    pub(super) guardrails: Vec<Vec<Statement>>,
    /// By file stem.
    identity: Vec<(String, Vec<Statement>)>,
    attachments: Vec<Attachment>,
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) effect: Effect,
    pub(super) action: List,
    pub(super) resource: Option<List>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// Of `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) negated: bool,
    pub(super) texts: Vec<String>,
}

/// `ForAllValues:StringNotEqualsIfExists`, taken apart: `ForAllValues` (or nothing), `StringEquals`,
/// negated, if exists.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) qualifier: String,
    pub(super) operator: String,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    to: Vec<String>,
    projects: Option<Vec<String>>,
    policies: Vec<String>,
}

impl Policies {
    pub(crate) fn load(files: &Files) -> Self {
        let documents = |directory: &str| -> Vec<_> {
            let files = files.iter().filter_map(|(path, bytes)| {
                let name = path.strip_suffix(".json")?;
                let stem = name.strip_prefix(directory)?.strip_prefix('/')?;
                Some((stem.to_owned(), statements(name, bytes)))
            });
            files.collect()
        };
        let attachments = files.get("attachments.yaml").map_or_else(Vec::new, |it| {
            serde_saphyr::from_slice(it).expect("attachments.yaml is a list of entries")
        });
        Self {
            guardrails: documents("guardrails").into_iter().map(|(_, it)| it).collect(),
            identity: documents("identity"),
            attachments,
        }
    }

    /// The names of all statements that a decision can name: the Allows of the guardrails are one
    /// ceiling and have no say of their own.
    pub(crate) fn deciders(&self) -> Vec<String> {
        let guardrails = self.guardrails.iter().flatten().filter(|it| it.effect == Effect::Deny);
        let identity = self.identity.iter().flat_map(|(_, it)| it);
        guardrails.chain(identity).map(|it| it.name.clone()).collect()
    }

    /// The identity policies of whoever asks, for the project that is asked about.
    pub(super) fn attached(&self, query: &Query) -> Vec<&Vec<Statement>> {
        let applies = |it: &Attachment| {
            it.to.iter().any(|it| is(query, it))
                && it.projects.as_ref().is_none_or(|them| {
                    them.iter().any(|it| {
                        let pattern = super::value::wildcards(it);
                        super::value::fits(&pattern, &query.job.project_id)
                    })
                })
        };
        let attached = self.identity.iter().filter(|(stem, _)| {
            self.attachments.iter().any(|it| applies(it) && it.policies.contains(stem))
        });
        attached.map(|(_, it)| it).collect()
    }
}

fn is(query: &Query, to: &str) -> bool {
    let principal = &query.principal;
    match to.split_once(':') {
        Some(("user", it)) => principal.id() == it,
        Some(("group", it)) => principal.groups().iter().any(|group| group == it),
        Some(("source", it)) => principal.source() == it,
        _ => to == "any",
    }
}

fn statements(document: &str, bytes: &[u8]) -> Vec<Statement> {
    let json: Value = serde_json::from_slice(bytes).expect("a policy is JSON");
    let statements = json["Statement"].as_array().expect("Statement is a list");
    statements.iter().enumerate().map(|(at, it)| statement(document, at + 1, it)).collect()
}

fn statement(document: &str, place: usize, json: &Value) -> Statement {
    let list = |name: &str| -> Option<List> {
        let not = format!("Not{name}");
        let (negated, list) = match json.get(name) {
            Some(it) => (false, it),
            None => (true, json.get(not)?),
        };
        Some(List { negated, texts: texts(list) })
    };
    let sid = json["Sid"].as_str().map_or_else(|| place.to_string(), str::to_owned);
    let mut conditions = Vec::new();
    for (operator, keys) in json["Condition"].as_object().into_iter().flatten() {
        for (key, values) in keys.as_object().expect("an operator holds keys") {
            conditions.push(condition(operator, key, texts(values)));
        }
    }
    Statement {
        name: format!("{document}#{sid}"),
        effect: match json["Effect"].as_str() {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => panic!("{document}: Effect is Allow or Deny"),
        },
        action: list("Action").expect("a statement has actions"),
        resource: list("Resource"),
        conditions,
    }
}

fn condition(operator: &str, key: &str, values: Vec<String>) -> Condition {
    let (qualifier, rest) = operator.split_once(':').unwrap_or(("", operator));
    let (rest, if_exists) = match rest.strip_suffix("IfExists") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (operator, negated) = match rest {
        "StringNotEquals" => ("StringEquals", true),
        "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
        "StringNotMatch" => ("StringMatch", true),
        "StringNotStartWith" => ("StringStartWith", true),
        "StringNotEndWith" => ("StringEndWith", true),
        "NumberNotEquals" => ("NumberEquals", true),
        "NotIpAddress" => ("IpAddress", true),
        positive => (positive, false),
    };
    Condition {
        qualifier: qualifier.to_owned(),
        operator: operator.to_owned(),
        negated,
        if_exists,
        key: key.to_owned(),
        values,
    }
}

/// A text, or a list of texts.
fn texts(json: &Value) -> Vec<String> {
    let list = json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice);
    list.iter().map(|it| it.as_str().expect("a text").to_owned()).collect()
}
