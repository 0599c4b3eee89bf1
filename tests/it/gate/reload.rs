//! Policies are replaced while requests come in: each is judged by one version, the one in its
//! record.

use crate::support::http::Connection;
use crate::support::world::{FINISHED, PATIENCE, World, put};

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tokio::time::Instant;

const OPEN: &str = r#"{"Version":"5.0","Statement":[{"Effect":"Deny","Action":["modelarts:trainJob:delete"],"Condition":{"StringEquals":{"g:UserName":"nobody"}}}]}"#;
const SHUT: &str = r#"{"Version":"5.0","Statement":[{"Effect":"Deny","Action":["modelarts:trainJob:delete"],"Condition":{"StringEquals":{"g:UserName":"alice"}}}]}"#;
const BROKEN: &str = r#"{"Version":"5.0","Statement":[{"Effect":"Deny","Acton":[]}]}"#;
const ALL: &str =
    r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#;

/// Puts a version in place as a ConfigMap volume does: a new directory, and one swap of `..data`.
fn swap(policies: &Path, version: usize, guardrail: &str) {
    let data = format!("..{version}");
    put(policies, &format!("{data}/guardrails/g.json"), guardrail);
    put(policies, &format!("{data}/identity/all.json"), ALL);
    put(policies, &format!("{data}/attachments.yaml"), "- {to: [any], policies: [all]}\n");
    put(policies, &format!("{data}/budgets.yaml"), "budgets: none");
    let fresh = policies.join("..fresh");
    symlink(&data, &fresh).unwrap();
    fs::rename(&fresh, policies.join("..data")).unwrap();
    if version == 0 {
        for name in ["guardrails", "identity", "attachments.yaml", "budgets.yaml"] {
            symlink(format!("..data/{name}"), policies.join(name)).unwrap();
        }
    }
}

/// attack 62
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_judged_by_the_version_in_its_record() {
    const REQUESTS: usize = 1200;
    let directory = tempfile::TempDir::new().unwrap();
    let policies = directory.path().to_owned();
    swap(&policies, 0, OPEN);
    let world = World::builder()
        .policies(&[])
        .config("{directory: policies}", &format!("{{directory: '{}'}}", policies.display()))
        .config("timeouts:", "limits: {per_principal: {rate: 100000, burst: 100000}}\ntimeouts:")
        .start()
        .await;
    let head = world.head("alice", FINISHED);
    let mut connection = Connection::open(world.gate).await;
    let mut said: Vec<(String, u16)> = Vec::new();
    let mut versions = 0;
    let deadline = Instant::now() + PATIENCE * 3;
    // Versions take turns for as long as it takes, each as soon as the one before is in force.
    while said.len() < REQUESTS || versions < 6 {
        let is_shut = said.last().is_some_and(|(_, status)| *status == 403);
        if said.len() % 40 == 39 && is_shut == (versions % 2 == 1) {
            versions += 1;
            swap(&policies, versions, if versions % 2 == 1 { SHUT } else { OPEN });
        }
        assert!(Instant::now() < deadline, "{versions} versions came into force");
        connection.write(head.as_bytes()).await;
        let answer = connection.answer().await.unwrap();
        let id = answer.header("x-lychgate-request-id").unwrap().to_owned();
        said.push((id, answer.status));
    }

    let mut results: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    let decisions = world.records("decision");
    assert_eq!(decisions.len(), said.len());
    for ((id, status), decision) in said.iter().zip(&decisions) {
        assert_eq!(decision["request_id"], id.as_str());
        let digest = decision["policy_digest"].as_str().unwrap().to_owned();
        let judged = if decision["result"] == "deny" { 403 } else { 202 };
        let told = if *status == 403 { 403 } else { 202 };
        assert_eq!(told, judged, "{decision}");
        let of_version = results.entry(digest).or_default();
        of_version.push(judged);
    }
    assert_eq!(results.len(), 2, "two texts, two digests");
    for (digest, results) in &results {
        assert!(results.windows(2).all(|it| it[0] == it[1]), "{digest} answered both ways");
    }

    // A broken version changes nothing but the report.
    let before = world.delete("alice", FINISHED).await.status;
    swap(&policies, versions + 1, BROKEN);
    world.measures("lychgate_policy_load_ok 0").await;
    let ready = b"GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n";
    let answer = crate::support::http::send(world.admin, ready).await;
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200);
    assert!(body.contains(r#""name":"policies_current","ok":false"#), "{body}");
    assert_eq!(world.delete("alice", FINISHED).await.status, before);
}
