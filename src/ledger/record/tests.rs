//! What records look like, there and back.

use super::*;

use crate::ledger::fixture::decision;
use crate::policy::{self, Answer, Attribute, Attributes, Method};

use std::sync::Arc;

#[track_caller]
fn check(body: &Body<'_>, expected: &str) {
    let members = String::from_utf8(to_members(body).unwrap()).unwrap();
    assert_eq!(members, expected);
    assert_eq!(&serde_json::from_str::<Body<'_>>(&format!("{{{members}}}")).unwrap(), body);
}

#[test]
fn records_are_written_like_this() {
    check(
        &Body::Decision(Box::new(decision())),
        concat!(
            r#""kind":"decision","request_id":"1f3c1a0e-5a51-4d39-8a6e-000000000001","#,
            r#""trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","source":"corp","#,
            r#""principal":"corp/alice","groups":["corp/ml-research"],"tags":{"team":"vision"},"#,
            r#""peer":"10.0.0.1","source_ip":{"value":"10.1.2.3"},"project":"0a1b2c","#,
            r#""job":"3faf5c03-aaa1-4cbe-879d-24b05d997347","upstream":"bj4","#,
            r#""action":"modelarts:trainJob:delete","#,
            r#""resource":"modelarts:cn-north-4:123:trainJob:3faf5c03-aaa1-4cbe-879d-24b05d997347","#,
            r#""context":{"region":"cn-north-4","account":"123","#,
            r#""now":"2026-01-15T12:00:00.123456789Z","auth_method":"jwt","#,
            r#""secure_transport":{"value":true},"user_agent":"absent"},"#,
            r#""attributes":{"pool_id":{"value":["pool-a"]},"pool_type":{"value":["dedicated"]},"#,
            r#""phase":{"value":"Completed"},"kind":{"value":"job"},"name":{"value":"absent"},"#,
            r#""owner":"absent","age":{"value":86400},"workspace_id":"unavailable","#,
            r#""tags":"not_asked"},"policy_digest":"00ff","result":"deny","#,
            r#""reason":"explicit_deny","statement":"guardrails/protect#NoProd""#,
        ),
    );
}

#[test]
fn ends_are_written_like_this() {
    check(
        &Body::Outcome(Outcome {
            of: 7,
            result: Ending::Sent,
            status: Some(202),
            upstream_request_id: Some("abc".into()),
            access_key: Some("AK".into()),
            date: Some("20260115T120000Z".into()),
            duration_ms: 12,
        }),
        concat!(
            r#""kind":"outcome","of":7,"result":"sent","status":202,"upstream_request_id":"abc","#,
            r#""access_key":"AK","date":"20260115T120000Z","duration_ms":12"#,
        ),
    );
    check(
        &Body::Outcome(Outcome {
            of: 8,
            result: Ending::NotSent,
            status: None,
            upstream_request_id: None,
            access_key: None,
            date: None,
            duration_ms: 0,
        }),
        r#""kind":"outcome","of":8,"result":"not_sent","duration_ms":0"#,
    );
    check(
        &Body::Settlement(Settlement { of: 7, result: Ending::Gone }),
        r#""kind":"settlement","of":7,"result":"gone""#,
    );
}

#[test]
fn what_stands_between_decisions_is_written_like_this() {
    check(
        &Body::Policies(Policies {
            digest: "00ff".into(),
            part: 1,
            parts: 1,
            files: vec![PolicyText {
                path: "guardrails/a.json".into(),
                base64: false,
                text: "{}\n".into(),
            }],
        }),
        r#""kind":"policies","digest":"00ff","part":1,"parts":1,"files":[{"path":"guardrails/a.json","text":"{}\n"}]"#,
    );
    check(
        &Body::Suppressed(Suppressed {
            principal: "corp/alice".into(),
            since: "2026-01-15T12:00:00Z".parse().unwrap(),
            count: 41,
        }),
        r#""kind":"suppressed","principal":"corp/alice","since":"2026-01-15T12:00:00Z","count":41"#,
    );
    check(
        &Body::Checkpoint(Checkpoint { key: "00".into(), signature: "ff".into() }),
        r#""kind":"checkpoint","key":"00","signature":"ff""#,
    );
}

/// What is written after the policies' digest.
fn end(decision: Decision<'_>) -> String {
    let body = Body::Decision(Box::new(decision));
    let members = String::from_utf8(to_members(&body).unwrap()).unwrap();
    let read = serde_json::from_str::<Body<'_>>(&format!("{{{members}}}")).unwrap();
    assert_eq!(read, body);
    members.split_once(r#""policy_digest":"00ff","#).unwrap().1.to_owned()
}

#[test]
fn what_was_looked_up_and_taken_is_written_like_this() {
    let look_up = |source, upstream_request_id: Option<&str>, result| LookUp {
        source,
        at: "2026-01-15T12:00:00Z".parse().unwrap(),
        upstream_request_id: upstream_request_id.map(str::to_owned),
        result,
    };
    let look_ups = [
        look_up(Source::Details, Some("abc"), LookUpResult::Found),
        look_up(Source::Tags, None, LookUpResult::LookUpFailed),
    ];
    let in_doubt = Decision {
        look_ups: look_ups.as_slice().into(),
        result: Answer::Indeterminate,
        reason: Some(Reason::LookUpFailed),
        statement: None,
        ..decision()
    };
    let members = to_members(&Body::Decision(Box::new(in_doubt.clone()))).unwrap();
    assert!(String::from_utf8(members).unwrap().contains(concat!(
        r#","look_ups":[{"source":"details","at":"2026-01-15T12:00:00Z","#,
        r#""upstream_request_id":"abc","result":"found"},"#,
        r#"{"source":"tags","at":"2026-01-15T12:00:00Z","result":"look_up_failed"}],"#
    )));
    assert_eq!(end(in_doubt), r#""result":"indeterminate","reason":"look_up_failed""#);
    let charge = |budget: &str, key: &str| Charge { budget: budget.into(), key: key.into() };
    let charges = [charge("per-person", "corp/alice"), charge("per-project", "0a1b2c")];
    let allowed = Decision {
        result: Answer::Allow,
        reason: None,
        charges: charges.as_slice().into(),
        batch: Some(Batch { id: "b".into(), index: 0, of: 2 }),
        ..decision()
    };
    assert_eq!(
        end(allowed),
        concat!(
            r#""result":"allow","statement":"guardrails/protect#NoProd","#,
            r#""charges":[{"budget":"per-person","key":"corp/alice"},"#,
            r#"{"budget":"per-project","key":"0a1b2c"}],"batch":{"id":"b","index":0,"of":2}"#
        )
    );
    let over = Decision {
        reason: Some(Reason::OverBudget),
        statement: None,
        budget: Some("per-person".into()),
        ..decision()
    };
    let expected = r#""result":"deny","reason":"over_budget","budget":"per-person""#;
    assert_eq!(end(over), expected);
}

#[test]
fn what_a_candidate_said_is_written_like_this() {
    for (shadow, expected) in [
        (
            Shadow {
                digest: Some("11".into()),
                result: Some(Answer::Deny),
                reason: Some(Reason::ExplicitDeny),
                statement: Some("guardrails/a#1".into()),
                error: None,
            },
            r#"{"digest":"11","result":"deny","reason":"explicit_deny","statement":"guardrails/a#1"}"#,
        ),
        (
            Shadow {
                digest: Some("11".into()),
                result: None,
                reason: None,
                statement: None,
                error: Some(ShadowError::NeedsDetails),
            },
            r#"{"digest":"11","error":"needs_details"}"#,
        ),
    ] {
        let record = Decision {
            result: Answer::Allow,
            reason: None,
            statement: None,
            shadow: Some(shadow),
            ..decision()
        };
        assert_eq!(end(record), format!(r#""result":"allow","shadow":{expected}"#));
    }
}

#[test]
fn a_tombstone_is_written_like_this() {
    check(
        &Body::Tombstone(Box::new(Tombstone { of: 7, ..Tombstone::default() })),
        r#""kind":"tombstone","of":7"#,
    );
    check(
        &Body::Tombstone(Box::new(Tombstone {
            of: 7,
            name: Some("night".into()),
            owner: Some("alice".into()),
            kind: Some("job".into()),
            created: Some("2026-01-15T12:00:00Z".into()),
            duration_ms: Some(1),
            algorithm: Some("a".into()),
            image: Some("i".into()),
            flavor: Some("f".into()),
            nodes: Some(2),
            pools: vec!["pool-a".to_owned()].into(),
            outputs: vec!["obs://o/".to_owned()].into(),
            logs: Some("obs://l/".into()),
            checkpoints: vec!["obs://c/".to_owned()].into(),
            tags: Some(Cow::Owned(BTreeMap::from([("env".to_owned(), "dev".to_owned())]))),
        })),
        concat!(
            r#""kind":"tombstone","of":7,"name":"night","owner":"alice","job_kind":"job","#,
            r#""created":"2026-01-15T12:00:00Z","duration_ms":1,"algorithm":"a","image":"i","#,
            r#""flavor":"f","nodes":2,"pools":["pool-a"],"outputs":["obs://o/"],"#,
            r#""logs":"obs://l/","checkpoints":["obs://c/"],"tags":{"env":"dev"}"#,
        ),
    );
}

/// Later versions add members and kinds, which this one skips.
#[test]
fn what_a_later_program_adds_is_passed_over() {
    for (text, expected) in [
        (
            r#"{"kind":"settlement","of":7,"later":{"a":[1]},"result":"gone"}"#,
            Body::Settlement(Settlement { of: 7, result: Ending::Gone }),
        ),
        (r#"{"kind":"later","of":7,"result":"whatever"}"#, Body::Unknown),
    ] {
        assert_eq!(serde_json::from_str::<Body<'_>>(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn the_reason_of_a_doubt_is_the_look_up_that_explains_most() {
    use LookUpResult::{Found, LookUpFailed, NoSuchJob, PoolGroup, Unreadable};
    use Source::{Details, Tags};
    for (details, tags, look_ups, expected) in [
        (true, false, vec![], Reason::Unreadable),
        (true, false, vec![(Details, Found)], Reason::Unreadable),
        (true, false, vec![(Details, PoolGroup)], Reason::PoolGroup),
        (true, false, vec![(Details, PoolGroup), (Tags, LookUpFailed)], Reason::PoolGroup),
        (true, true, vec![(Details, PoolGroup), (Tags, LookUpFailed)], Reason::LookUpFailed),
        (true, true, vec![(Details, Unreadable), (Tags, LookUpFailed)], Reason::LookUpFailed),
        (true, false, vec![(Details, Unreadable), (Tags, LookUpFailed)], Reason::Unreadable),
        (true, false, vec![(Details, LookUpFailed), (Tags, NoSuchJob)], Reason::NoSuchJob),
    ] {
        let look_ups: Vec<_> = look_ups
            .into_iter()
            .map(|(source, result)| LookUp {
                source,
                at: Timestamp::UNIX_EPOCH,
                upstream_request_id: None,
                result,
            })
            .collect();
        let wanted = policy::Sources { details, tags };
        let decision = policy::Decision::Indeterminate(policy::Doubt { wanted });
        assert_eq!(Reason::of(&decision, &look_ups), Some(expected), "{look_ups:?}");
    }
}

#[test]
fn value_absent_unavailable_and_not_asked_stay_apart_everywhere() {
    // A value that spells the name of a state is still a value.
    for state in [r#""absent""#, r#""unavailable""#, r#""not_asked""#, r#"{"value":"absent"}"#] {
        let fact: Attribute<String> = serde_json::from_str(state).unwrap();
        assert_eq!(serde_json::to_string(&fact).unwrap(), state);
    }
    for attributes in [
        Attributes::default(),
        Attributes {
            pool_id: Attribute::Absent,
            pool_type: Attribute::Absent,
            phase: Attribute::Absent,
            kind: Attribute::Absent,
            name: Attribute::Absent,
            owner: Attribute::Absent,
            age: Attribute::Absent,
            workspace_id: Attribute::Absent,
            tags: Attribute::Absent,
        },
        Attributes {
            pool_id: Attribute::Value(vec!["a".to_owned(), "b".to_owned()]),
            pool_type: Attribute::Value(vec!["public".to_owned()]),
            phase: Attribute::Value("Running".to_owned()),
            kind: Attribute::Value(String::new()),
            name: Attribute::Value("unavailable".to_owned()),
            owner: Attribute::Value("absent".to_owned()),
            age: Attribute::Value(-1),
            workspace_id: Attribute::Value("0".to_owned()),
            tags: Attribute::Value(BTreeMap::new()),
        },
    ] {
        let text = serde_json::to_string(&attributes).unwrap();
        let read = serde_json::from_str::<Attributes>(&text).unwrap();
        assert_eq!(read, attributes, "{text}");
    }
}

#[test]
fn a_recorded_question_can_be_asked_again() {
    for (method, source_ip, secure, user_agent) in [
        (
            Method::Jwt,
            Attribute::Value("10.1.2.3".parse().unwrap()),
            Attribute::Value(true),
            Attribute::Value("curl/8".to_owned()),
        ),
        (
            Method::Key,
            Attribute::Value("2001:db8::1".parse().unwrap()),
            Attribute::Value(false),
            Attribute::Absent,
        ),
        (Method::Local, Attribute::Absent, Attribute::Absent, Attribute::Absent),
        (Method::Mtls, Attribute::Unavailable, Attribute::Unavailable, Attribute::Unavailable),
    ] {
        let principal = policy::Principal::new(
            "corp",
            // A SPIFFE ID is a name with slashes; a group may repeat the source's name.
            "spiffe://corp/ns/a",
            ["corp/x".to_owned(), "ml".to_owned()],
            BTreeMap::from([("team".to_owned(), "vision".to_owned())]),
            method,
        );
        let query = policy::Query {
            principal: Arc::new(principal),
            action: policy::Action::Delete,
            job: policy::Job::new("0a1b2c", "job").into(),
            region: "cn-north-4".to_owned(),
            account: "123".to_owned(),
            now: "2026-01-15T12:00:00.000000001Z".parse().unwrap(),
            source_ip,
            secure_transport: secure,
            user_agent,
        };
        let record = Decision {
            source: query.principal.source().into(),
            principal: query.principal.id().into(),
            groups: query.principal.groups().into(),
            tags: Cow::Borrowed(query.principal.tags()),
            source_ip: query.source_ip,
            project: query.job.project_id.as_str().into(),
            job: query.job.training_job_id.as_str().into(),
            context: Context::of(&query),
            ..decision()
        };
        let text = serde_json::to_string(&record).unwrap();
        let read = serde_json::from_str::<Decision<'_>>(&text).unwrap().query();
        assert_eq!(format!("{read:?}"), format!("{query:?}"));
    }
}

#[test]
fn nothing_in_a_value_can_break_a_line_or_deceive_a_reader() {
    // Attack 83
    for (value, written) in [
        ("a\nb\r\n", r#""a\nb\r\n""#),
        ("a,b;\"c\"\\", r#""a,b;\"c\"\\""#),
        ("\u{1b}[2J\u{7}", r#""\u001b[2J\u0007""#),
        ("\0", r#""\u0000""#),
        ("\u{7f}\u{85}\u{9b}", r#""\u007f\u0085\u009b""#),
        ("\u{202e}gpj", r#""\u202egpj""#),
        ("a\u{200b}\u{2028}\u{feff}", r#""a\u200b\u2028\ufeff""#),
        ("\u{e0041}", r#""\udb40\udc41""#),
        ("训练 ä 🦀", "\"训练 ä 🦀\""),
    ] {
        let members = to_members(&BTreeMap::from([("a", value)])).unwrap();
        let text = String::from_utf8(members).unwrap();
        assert_eq!(text, format!("\"a\":{written}"));
        let read: BTreeMap<String, String> = serde_json::from_str(&format!("{{{text}}}")).unwrap();
        assert_eq!(read["a"], value);
    }
}
