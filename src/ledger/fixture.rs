//! What the tests of this module share.

pub(super) mod disk;

use super::read::reader::{segment_name, segments};
use super::record::{Body, Context, Decision, Reason};
use super::{Config, Entry, Error, Judged, Ledger, Recorded};

use crate::clock::Clock;
use crate::policy;

use jiff::SignedDuration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub(super) const NOON: &str = "2026-01-15T12:00:00Z";

pub(super) fn noon() -> Clock {
    Clock::manual(NOON.parse().unwrap())
}

/// A ledger that keeps everything, signs nothing and is copied nowhere.
pub(super) fn config(directory: &Path) -> Config {
    Config {
        directory: directory.to_owned(),
        reserve: 0,
        segment: 1 << 20,
        retain: SignedDuration::from_hours(24 * 400),
        checkpoints: None,
        ship: false,
        echo: false,
    }
}

/// All lines of a ledger.
pub(super) fn lines(directory: &Path) -> Vec<String> {
    let read = |first: &u64| fs::read_to_string(directory.join(segment_name(*first))).unwrap();
    let text: String = segments(directory).unwrap().iter().map(read).collect();
    text.lines().map(str::to_owned).collect()
}

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

/// The decision of a policy that allows everything to everybody.
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

/// A denied decision.
pub(crate) fn decision() -> Decision<'static> {
    Decision {
        request_id: "1f3c1a0e-5a51-4d39-8a6e-000000000001".into(),
        caller_request_id: None,
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        source: "corp".into(),
        principal: "corp/alice".into(),
        groups: vec!["corp/ml-research".to_owned()].into(),
        tags: Cow::Owned(BTreeMap::from([("team".to_owned(), "vision".to_owned())])),
        peer: Some([10, 0, 0, 1].into()),
        source_ip: policy::Attribute::Value([10, 1, 2, 3].into()),
        project: "0a1b2c".into(),
        job: "3faf5c03-aaa1-4cbe-879d-24b05d997347".into(),
        upstream: "bj4".into(),
        action: policy::Action::Delete,
        resource: "modelarts:cn-north-4:123:trainJob:3faf5c03-aaa1-4cbe-879d-24b05d997347".into(),
        context: Context {
            region: "cn-north-4".into(),
            account: "123".into(),
            now: "2026-01-15T12:00:00.123456789Z".parse().unwrap(),
            auth_method: policy::Method::Jwt,
            secure_transport: policy::Attribute::Value(true),
            user_agent: Cow::Owned(policy::Attribute::Absent),
        },
        attributes: Cow::Owned(policy::Attributes {
            pool_id: policy::Attribute::Value(vec!["pool-a".to_owned()]),
            pool_type: policy::Attribute::Value(vec!["dedicated".to_owned()]),
            phase: policy::Attribute::Value("Completed".to_owned()),
            kind: policy::Attribute::Value("job".to_owned()),
            name: policy::Attribute::Value("absent".to_owned()),
            owner: policy::Attribute::Absent,
            age: policy::Attribute::Value(86_400),
            workspace_id: policy::Attribute::Unavailable,
            tags: policy::Attribute::NotAsked,
        }),
        look_ups: [].as_slice().into(),
        policy_digest: "00ff".into(),
        result: policy::Answer::Deny,
        reason: Some(Reason::ExplicitDeny),
        statement: Some("guardrails/protect#NoProd".into()),
        budget: None,
        charges: [].as_slice().into(),
        unit: None,
        batch: None,
        shadow: None,
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
