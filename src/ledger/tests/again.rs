//! Decisions that are judged again from the ledger alone.

use super::bodies;
use crate::ledger::fixture::{NOON, config, noon, query};
use crate::ledger::record::{
    Batch, Body, LookUp, LookUpResult, Policies, Shadow, ShadowError, Source,
};
use crate::ledger::{Judged, open};
use crate::metrics::Metrics;
use crate::policy::{self, Answer, Attribute, Attributes, Method};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn look_up() -> LookUp {
    LookUp {
        source: Source::Details,
        at: NOON.parse().unwrap(),
        upstream_request_id: Some("abc".to_owned()),
        result: LookUpResult::LookUpFailed,
    }
}

fn shadow() -> Shadow<'static> {
    let error = Some(ShadowError::NotLoaded);
    Shadow { digest: None, result: None, reason: None, statement: None, error }
}

/// The policies that the repository ships.
fn shipped() -> policy::Files {
    fn read(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => read(&entry.path(), &format!("{name}/"), files),
                false if name == "README.md" => (),
                false => files.push((name, fs::read(entry.path()).unwrap())),
            }
        }
    }
    let mut files = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), "", &mut files);
    files.into_iter().collect()
}

fn question(group: &str, name: &str) -> policy::Query {
    let tags = BTreeMap::from([("huawei_user".to_owned(), name.to_owned())]);
    let method = Method::Jwt;
    let principal = policy::Principal::new("corp", name, [group.to_owned()], tags, method);
    policy::Query {
        principal: Arc::new(principal),
        // The project that the policies are attached in.
        job: policy::Job::new(
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "3faf5c03-aaa1-4cbe-879d-24b05d997347",
        )
        .into(),
        source_ip: Attribute::Value([10, 1, 2, 3].into()),
        secure_transport: Attribute::Value(true),
        ..query("curl/8")
    }
}

fn job(owner: &str, env: &str) -> Attributes {
    let value = |it: &str| Attribute::Value(it.to_owned());
    Attributes {
        pool_id: Attribute::Absent,
        pool_type: Attribute::Value(vec!["public".to_owned()]),
        phase: value("Completed"),
        kind: value("job"),
        name: value("n"),
        owner: value(owner),
        age: Attribute::Value(86_400),
        workspace_id: value("0"),
        tags: Attribute::Value(BTreeMap::from([("env".to_owned(), env.to_owned())])),
    }
}

#[tokio::test]
async fn every_decision_can_be_judged_again_from_the_ledger_alone() {
    let set = Arc::new(compile(&shipped()));
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
    let (look_ups, shadow) = ([look_up()], shadow());
    for (query, attributes) in [
        (question("ml-research", "alice"), job("alice", "dev")),
        (question("ml-research", "alice"), job("alice", "prod")),
        (question("ml-research", "alice"), job("bob", "dev")),
        (question("ml-research", "alice"), Attributes::default()),
        (question("nobody", "eve"), Attributes::default()),
    ] {
        let judged = Judged {
            request_id: "a",
            caller_request_id: None,
            trace_id: "",
            peer: None,
            upstream: "bj4",
            query: &query,
            attributes: &attributes,
            decision: set.evaluate(&query, &attributes),
            policies: &set,
            look_ups: &look_ups,
            unit: None,
            batch: Some(Batch { id: "b".into(), index: 1, of: 2 }),
            shadow: Some(shadow.clone()),
        };
        drop(opened.ledger.record(judged).await.unwrap());
    }
    opened.thread.close().await.unwrap();

    let by = |it: &str| Some(it.to_owned());
    let expected = [
        (Answer::Allow, by("identity/own-jobs#OwnJobs")),
        (Answer::Deny, by("guardrails/protect#NoProd")),
        (Answer::Deny, None),
        (Answer::Indeterminate, None),
        (Answer::Deny, None),
    ];
    assert_eq!(judged_again(directory.path()), expected);
}

fn compile(files: &policy::Files) -> policy::Set {
    policy::Set::compile(files, &policy::Limits::default()).set.unwrap()
}

/// The answers of a ledger and who decided, after judging each again by the version in its record.
fn judged_again(directory: &Path) -> Vec<(Answer, Option<String>)> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    let mut res = Vec::new();
    for body in bodies(directory) {
        match body {
            Body::Policies(part) => {
                versions.entry(part.digest.clone().into_owned()).or_default().push(part);
            }
            Body::Decision(recorded) => {
                let files = Policies::join(&versions[&*recorded.policy_digest]).unwrap();
                let set = Arc::new(compile(&files));
                assert_eq!(set.digest(), recorded.policy_digest);
                let query = recorded.query();
                let again = Judged {
                    request_id: &recorded.request_id,
                    caller_request_id: None,
                    trace_id: &recorded.trace_id,
                    peer: recorded.peer,
                    upstream: &recorded.upstream,
                    query: &query,
                    attributes: &recorded.attributes,
                    decision: set.evaluate(&query, &recorded.attributes),
                    policies: &set,
                    look_ups: &recorded.look_ups,
                    unit: None,
                    batch: recorded.batch.clone(),
                    shadow: recorded.shadow.clone(),
                };
                assert_eq!(again.record(), *recorded);
                res.push((recorded.result, recorded.statement.map(Cow::into_owned)));
            }
            _ => (),
        }
    }
    res
}
