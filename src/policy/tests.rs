//! The engine from documents to decisions: the rows of the cautious reading.

mod compiling;
mod conditions;
mod decisions;

use crate::policy::{
    Action, Attribute, Attributes, Decision, Diagnostic, Files, Job, Limits, Method, Principal,
    Query, Reason, Set, Severity,
};

use std::collections::BTreeMap;
use std::sync::Arc;

const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

/// `corp/alice` of `corp/ml`, tagged `team: vision`, asks to delete a job of project `p1`.
pub(super) fn query() -> Query {
    let tags = map(&[("team", "vision"), ("empty", ""), ("max", "abc"), ("star", "a*")]);
    let groups = ["ml".to_owned(), "ops".to_owned()];
    Query {
        principal: Arc::new(Principal::new("corp", "alice", groups, tags, Method::Jwt)),
        action: Action::Delete,
        job: Job::new("p1", JOB).into(),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-01-15T12:00:00Z".parse().unwrap(),
        source_ip: Attribute::Value("10.1.2.3".parse().unwrap()),
        secure_transport: Attribute::Value(true),
        user_agent: Attribute::Absent,
    }
}

/// A completed job of two pools, tagged `env: dev`.
pub(super) fn attributes() -> Attributes {
    let text = |it: &str| Attribute::Value(it.to_owned());
    Attributes {
        pool_id: Attribute::Value(vec!["pool-a".to_owned(), "pool-b".to_owned()]),
        pool_type: Attribute::Value(vec!["dedicated".to_owned()]),
        phase: text("Completed"),
        kind: text("job"),
        name: text("vision-train-1"),
        owner: Attribute::Absent,
        age: Attribute::Value(3600),
        workspace_id: text("0"),
        tags: Attribute::Value(map(&[
            ("env", "dev"),
            ("empty", ""),
            ("count", "10"),
            ("flag", "true"),
            ("ip", "10.9.9.9"),
            ("when", "2026-01-15T11:00:00Z"),
        ])),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A document of these statements.
fn document(statements: &str) -> String {
    format!(r#"{{"Version": "5.0", "Statement": [{statements}]}}"#)
}

/// A statement about the delete with these further fields.
fn statement(effect: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!(r#"{{"Effect": "{effect}", "Action": ["modelarts:trainJob:delete"]{comma}{fields}}}"#)
}

const EVERYTHING: &str =
    r#"{"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": ["*"]}]}"#;
const TO_ANY: &str = "- {to: [any], policies: [all]}\n";

fn compile(files: &[(&str, &str)]) -> (Option<Set>, Vec<Diagnostic>) {
    let files: Files = files.iter().copied().collect();
    let compiled = Set::compile(&files, &Limits::default());
    (compiled.set, compiled.diagnostics)
}

#[track_caller]
fn set(files: &[(&str, &str)]) -> Set {
    let (set, diagnostics) = compile(files);
    let errors = diagnostics.iter().filter(|it| it.severity() == Severity::Error);
    let errors: Vec<_> = errors.collect();
    set.unwrap_or_else(|| panic!("{errors:#?}"))
}

/// A statement with these fields as the only Deny, beside an Allow of everything, and as the only
/// Allow.
fn under_both(fields: &str) -> [Set; 2] {
    let [deny, allow] = ["Deny", "Allow"].map(|it| document(&statement(it, fields)));
    let to_any = ("attachments.yaml", TO_ANY);
    let deny = set(&[("guardrails/d.json", &deny), ("identity/all.json", EVERYTHING), to_any]);
    [deny, set(&[("identity/all.json", &allow), to_any])]
}

/// `allow <statement>`, `deny <statement>`, `ceiling`, `none`, or `? <sources>`.
fn said(decision: &Decision) -> String {
    match decision {
        Decision::Allow(permit) => format!("allow {}", permit.statement()),
        Decision::Deny(denial) => match (&denial.statement, denial.reason) {
            (Some(name), Reason::ExplicitDeny) => format!("deny {name}"),
            (None, Reason::OutsideGuardrails) => "ceiling".to_owned(),
            (None, Reason::NothingAllows) => "none".to_owned(),
            other => format!("{other:?}"),
        },
        Decision::Indeterminate(doubt) => {
            let details = if doubt.wanted.details { " details" } else { "" };
            let tags = if doubt.wanted.tags { " tags" } else { "" };
            format!("?{details}{tags}")
        }
    }
}
