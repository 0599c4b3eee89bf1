//! What goes past the gate: the calls that do, the policy that stops them, and the trail that tells.

use crate::house::cli::lychgate;
use crate::house::config_docs::assert_current;

use lychgate::policy::{Action, Attributes, Files, Job, Limits, Method, Principal, Query, Set};
use lychgate::policy::{Answer, Attribute};
use lychgate::reconcile;
use lychgate::reconcile::{CALLS, Harm};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The action of a single delete.
const ACTION: &str = "modelarts:trainJob:delete";

const INSTALL: &str = "docs/install.md";
const CALLS_BEGIN: &str = "LYCHGATE_ACCEPT=1 cargo test --test it past_the_gate -->\n";
const CALLS_END: &str = "<!-- /calls -->";

#[test]
fn the_calls_are_listed_where_people_lock_them() {
    let mut table =
        "\n| call | what it does | action | alias | denied by |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for it in CALLS {
        let alias = it.alias.map(|it| format!("`{it}`")).unwrap_or_default();
        let by = if it.harm == Harm::Loosen { "`--tags`" } else { "`lockdown`" };
        let call = format!("`{}`", it.request);
        table += &format!("| {call} | {} | `{}` | {alias} | {by} |\n", it.effect, it.action);
    }
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(INSTALL)).unwrap();
    let (before, rest) = document.split_once(CALLS_BEGIN).unwrap();
    let (_, after) = rest.split_once(CALLS_END).unwrap();
    assert_current(INSTALL, &format!("{before}{CALLS_BEGIN}{table}\n{CALLS_END}{after}"));
}

/// What the gate's engine says to a delete by `name` of the identity source `corp`, under the
/// guardrail `document` and an identity policy that allows everything.
fn judge(document: &Value, name: &str) -> Answer {
    let allow = json!({"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": [ACTION]}]});
    let attachments = "- to: [any]\n  projects: [0a1b]\n  policies: [all]\n";
    let files = Files::from_iter([
        ("attachments.yaml", attachments.as_bytes().to_vec()),
        ("guardrails/lockdown.json", document.to_string().into_bytes()),
        ("identity/all.json", allow.to_string().into_bytes()),
    ]);
    let set = Set::compile(&files, &Limits::default()).set.unwrap();
    let principal = Principal::new("corp", name, Vec::new(), BTreeMap::new(), Method::Jwt);
    let query = Query {
        principal: Arc::new(principal),
        action: Action::Delete,
        job: Arc::new(Job::new("0a1b", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-03-01T00:00:00Z".parse().unwrap(),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    };
    set.evaluate(&query, &Attributes::default()).answer()
}

/// The engine knows one action; each of the document's takes its place in turn.
#[test]
fn the_lock_denies_each_call_to_everybody_but_the_gate() {
    for (extra, loosen) in [([].as_slice(), false), (&["--tags"], true)] {
        for format in ["scp", "identity"] {
            let gates =
                ["sts::123:external-user:corp/gate", "sts::123:external-user:corp/agency/*"];
            let mut arguments = vec!["lockdown", "--format", format];
            arguments.extend(gates.iter().flat_map(|it| ["--principal", it]));
            arguments.extend(extra);
            let ran = lychgate(&arguments);
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            let policy: Value = serde_json::from_str(&ran.stdout).unwrap();
            let actions = reconcile::actions(loosen);
            assert_eq!(policy["Statement"][0]["Action"], json!(actions));
            assert_eq!(policy["Statement"][0].get("Resource").is_some(), format == "scp");
            for chosen in &actions {
                let put = |place: &[&str]| {
                    let others = actions.iter().filter(|it| *it != chosen && **it != ACTION);
                    let mut policy = policy.clone();
                    policy["Statement"][0]["Action"] =
                        json!(others.chain(place).collect::<Vec<_>>());
                    policy
                };
                for (name, expected) in [
                    ("gate", Answer::Allow),
                    ("agency/session", Answer::Allow),
                    ("gate2", Answer::Deny),
                    ("agency2/session", Answer::Deny),
                    ("alice", Answer::Deny),
                ] {
                    assert_eq!(judge(&put(&[ACTION]), name), expected, "{chosen} {name}");
                    assert_eq!(
                        judge(&put(&[]), name),
                        Answer::Allow,
                        "without it: {chosen} {name}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_lock_is_checked_and_fits() {
    let gate = "iam::0123456789abcdef0123456789abcdef:user:lychgate";
    let ran = lychgate(&["lockdown", "--tags", "--principal", gate]);
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("guardrails/lockdown.json", ran.stdout.as_str()),
        (
            "identity/all.json",
            r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["*"]}]}"#,
        ),
        ("attachments.yaml", "- to: [any]\n  projects: [0a1b]\n  policies: [all]\n"),
    ] {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let policies = directory.path().to_str().unwrap();
    let ran = lychgate(&["check", "--policies", policies]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let many: Vec<_> = (0..100).map(|it| format!("{gate}{it}")).collect();
    let arguments = many.iter().flat_map(|it| ["--principal", it.as_str()]);
    let arguments: Vec<_> = ["lockdown"].into_iter().chain(arguments).collect();
    let ran = lychgate(&arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert!(ran.stderr.contains("5120 characters"));
}
