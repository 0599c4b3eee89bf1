//! What the tests of this module share.

pub(super) mod disk;

use super::record::Body;
use super::{Entry, Error, Judged, Ledger, Recorded};

use crate::policy;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const NOON: &str = "2026-01-15T12:00:00Z";

pub(super) fn policies(digest: &str) -> Arc<policy::Set> {
    let files = policy::Files::from_iter([("guardrails/a.json", "{}")]);
    Arc::new(policy::Set::of_no_statements(digest, files))
}

pub(super) async fn record(ledger: &Ledger, request_id: &str) -> Result<Entry, Error> {
    record_by(ledger, request_id, &policies("00ff")).await
}

pub(super) async fn record_by(
    ledger: &Ledger,
    request_id: &str,
    policies: &Arc<policy::Set>,
) -> Result<Entry, Error> {
    let query = query("curl/8");
    let recorded = ledger
        .record(Judged {
            request_id,
            caller_request_id: None,
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
            peer: None,
            upstream: "bj4",
            query: &query,
            attributes: &policy::Attributes::default(),
            decision: allowed(&query),
            policies,
            look_ups: &[],
            unit: None,
            batch: None,
            shadow: None,
        })
        .await?;
    match recorded {
        Recorded::Permitted(_, entry) => Ok(entry),
        other => panic!("{other:?}"),
    }
}

/// What a policy that allows everything to everybody says.
pub(super) fn allowed(query: &policy::Query) -> policy::Decision {
    let all = r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#;
    let files = policy::Files::from_iter([
        ("identity/all.json", all),
        ("attachments.yaml", "- {to: [any], policies: [all]}\n"),
    ]);
    let set = policy::Set::compile(&files, &policy::Limits::default()).set.unwrap();
    set.evaluate(query, &policy::Attributes::default())
}

pub(super) fn query(user_agent: &str) -> policy::Query {
    let method = policy::Method::Jwt;
    let principal = policy::Principal::new("corp", "alice", [], BTreeMap::new(), method);
    policy::Query {
        principal: Arc::new(principal),
        action: policy::Action::Delete,
        job: policy::Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347").into(),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: NOON.parse().unwrap(),
        source_ip: policy::Attribute::Absent,
        secure_transport: policy::Attribute::Absent,
        user_agent: policy::Attribute::Value(user_agent.to_owned()),
    }
}

/// One word per record.
pub(super) fn words(records: &[Body<'_>]) -> Vec<String> {
    records
        .iter()
        .map(|it| match it {
            Body::Checkpoint(_) => "checkpoint".to_owned(),
            Body::Decision(it) => format!("decision {}", it.request_id),
            Body::Outcome(it) => format!("{:?} {}", it.result, it.of),
            Body::Policies(it) => format!("policies {}", it.digest),
            Body::Settlement(it) => format!("settled {:?} {}", it.result, it.of),
            Body::Suppressed(it) => format!("suppressed {}", it.count),
            Body::Tombstone(it) => format!("tombstone {}", it.of),
            Body::Unknown => "unknown".to_owned(),
        })
        .collect()
}
