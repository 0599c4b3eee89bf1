//! docs/policy-language.md keeps its word: every example in it is run, by the engine and by the
//! reference interpreter.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use crate::support::engine::Engine;
use crate::support::reference::{Case, Files, Policies, Suite, Verdict, judge};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../../docs/policy-language.md");
const FENCE: &str = "```yaml example\n";

/// A policy directory in short form, and what comes out; the document says how to read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    deny: Option<Value>,
    allow: Option<Value>,
    guardrails: Option<Value>,
    identity: Option<Value>,
    attachments: Option<Value>,
    files: Option<BTreeMap<String, String>>,
    /// The code of the error.
    refused: Option<String>,
    #[serde(default)]
    cases: Vec<Map<String, Value>>,
}

#[test]
fn every_example_comes_out_as_the_document_says() {
    let mut wrong = Vec::new();
    for (line, text) in examples() {
        let example: Example = serde_saphyr::from_str(text)
            .unwrap_or_else(|it| panic!("docs/policy-language.md:{line}: {it}"));
        assert!(
            example.refused.is_some() == example.cases.is_empty(),
            "line {line}: cases or refused"
        );
        let complaints = run(&example);
        wrong.extend(complaints.iter().map(|it| format!("docs/policy-language.md:{line}: {it}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The line of each example's first line, and its text.
fn examples() -> Vec<(usize, &'static str)> {
    let starts = DOCUMENT.match_indices(FENCE).map(|(at, fence)| at + fence.len());
    let examples = starts.map(|at| {
        let (before, after) = DOCUMENT.split_at(at);
        (before.lines().count() + 1, after.split("```").next().unwrap())
    });
    examples.collect()
}

fn run(example: &Example) -> Vec<String> {
    let files = files(example);
    let engine = match (Engine::load(&files), &example.refused) {
        (Ok(it), None) => it,
        (Err(errors), Some(code)) if errors == [code.as_str()] => return vec![],
        (result, code) => return vec![format!("{:?} instead of {code:?}", result.err())],
    };
    let policies = Policies::load(&files);
    let suite: Suite = serde_saphyr::from_slice(&files["tests/doc.yaml"]).unwrap();
    let complaints = suite.cases.iter().flat_map(|case| {
        let (query, attributes) = (case.query(), case.attributes());
        [
            complaint("reference", &judge(&policies, &query, &attributes), case),
            complaint("engine", &engine.judge(&query, &attributes), case),
        ]
    });
    complaints.flatten().collect()
}

fn complaint(who: &str, verdict: &Verdict, case: &Case) -> Option<String> {
    let by = verdict.by();
    let same = verdict.word() == case.expect && (case.by.is_none() || by == case.by.as_deref());
    (!same).then(|| format!("case {}: the {who} says {verdict:?}", case.name))
}

fn files(example: &Example) -> Files {
    let mut files = Files::new();
    let mut put = |path: &str, it: &Value| {
        files.insert(path.to_owned(), it.to_string().into_bytes());
    };
    let statement = |effect: &str, condition: Option<&Value>| {
        let mut it = json!({"Effect": effect, "Action": ["modelarts:trainJob:delete"]});
        if let Some(condition) = condition {
            it["Condition"] = condition.clone();
        }
        json!([it])
    };
    let document = |statements: &Value| json!({"Version": "5.0", "Statement": statements});

    if example.files.is_none() {
        let deny = example.deny.as_ref().map(|it| statement("Deny", Some(it)));
        if let Some(it) = example.guardrails.as_ref().or(deny.as_ref()) {
            put("guardrails/doc.json", &document(it));
        }
        let allow = statement("Allow", example.allow.as_ref());
        put("identity/doc.json", &document(example.identity.as_ref().unwrap_or(&allow)));
        let everybody = json!([{"to": ["any"], "policies": ["doc"]}]);
        put("attachments.yaml", example.attachments.as_ref().unwrap_or(&everybody));
    }
    let cases: Vec<_> = example.cases.iter().enumerate().map(|(at, it)| case(at, it)).collect();
    if !cases.is_empty() {
        put("tests/doc.yaml", &json!({"cases": cases}));
    }
    for (path, text) in example.files.iter().flatten() {
        files.insert(path.clone(), text.clone().into_bytes());
    }
    files
}

/// What a case does not state is as the document says.
fn case(at: usize, stated: &Map<String, Value>) -> Value {
    let mut case = json!({
        "name": (at + 1).to_string(),
        "principal": {
            "source": "corp", "name": "alice", "groups": ["ml-research"], "tags": {"team": "vision"},
        },
        "request": {
            "project": "0a1b2c", "job": "3faf5c03-aaa1-4cbe-879d-24b05d997347",
            "region": "cn-north-4", "account": "123", "source_ip": "10.1.2.3",
            "time": "2026-01-15T12:00:00Z", "secure": true, "user_agent": "curl/8.5",
        },
    });
    for (field, value) in stated {
        match (case.get_mut(field), value) {
            (Some(Value::Object(standard)), Value::Object(stated)) => {
                standard.extend(stated.clone());
                standard.retain(|_, it| !it.is_null());
            }
            _ => case[field] = value.clone(),
        }
    }
    case
}
