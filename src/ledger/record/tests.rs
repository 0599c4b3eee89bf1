//! What records look like, there and back.

use super::*;

use crate::policy::Attribute;

use std::net::Ipv4Addr;

fn decision() -> Decision<'static> {
    Decision {
        request_id: "1f3c1a0e-5a51-4d39-8a6e-000000000001".into(),
        caller_request_id: None,
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        source: "corp".into(),
        principal: "corp/alice".into(),
        groups: vec!["corp/ml-research".to_owned()].into(),
        tags: Cow::Owned(BTreeMap::from([("team".to_owned(), "vision".to_owned())])),
        peer: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
        source_ip: Fact::Value(Ipv4Addr::new(10, 1, 2, 3).into()),
        project: "0a1b2c".into(),
        job: "3faf5c03-aaa1-4cbe-879d-24b05d997347".into(),
        upstream: "bj4".into(),
        action: policy::ACTION.into(),
        resource: "modelarts:cn-north-4:123:trainJob:3faf5c03-aaa1-4cbe-879d-24b05d997347".into(),
        context: Context {
            region: "cn-north-4".into(),
            account: "123".into(),
            now: "2026-01-15T12:00:00.123456789Z".parse().unwrap(),
            auth_method: AuthMethod::Jwt,
            secure_transport: Fact::Value(true),
            user_agent: Fact::Absent,
        },
        attributes: Attributes {
            pool_id: Fact::Value(vec!["pool-a".to_owned()].into()),
            pool_type: Fact::Value(vec!["dedicated".to_owned()].into()),
            phase: Fact::Value("Completed".into()),
            kind: Fact::Value("job".into()),
            name: Fact::Value("absent".into()),
            owner: Fact::Absent,
            age: Fact::Value(86_400),
            workspace_id: Fact::Value("0".into()),
            tags: Fact::Unavailable,
        },
        policy_digest: "00ff".into(),
        result: Verdict::Deny,
        reason: Some(Reason::ExplicitDeny),
        statement: Some("guardrails/protect#NoProd".into()),
    }
}

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
            r#""owner":"absent","age":{"value":86400},"workspace_id":{"value":"0"},"#,
            r#""tags":"unavailable"},"policy_digest":"00ff","result":"deny","#,
            r#""reason":"explicit_deny","statement":"guardrails/protect#NoProd""#,
        ),
    );
    check(
        &Body::Outcome(Outcome {
            of: 7,
            result: Ending::Sent,
            status: Some(202),
            upstream_request_id: Some("abc".into()),
            duration_ms: 12,
        }),
        r#""kind":"outcome","of":7,"result":"sent","status":202,"upstream_request_id":"abc","duration_ms":12"#,
    );
    check(
        &Body::Outcome(Outcome {
            of: 8,
            result: Ending::NotSent,
            status: None,
            upstream_request_id: None,
            duration_ms: 0,
        }),
        r#""kind":"outcome","of":8,"result":"not_sent","duration_ms":0"#,
    );
    check(
        &Body::Settlement(Settlement { of: 7, result: Ending::Gone }),
        r#""kind":"settlement","of":7,"result":"gone""#,
    );
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

#[test]
fn value_absent_and_unavailable_stay_apart_everywhere() {
    // A value that spells the name of a state is still a value.
    for state in [r#""absent""#, r#""unavailable""#, r#"{"value":"absent"}"#] {
        let fact: Fact<Cow<'_, str>> = serde_json::from_str(state).unwrap();
        assert_eq!(serde_json::to_string(&fact).unwrap(), state);
    }
    let all = |it: fn() -> policy::Attributes| it();
    for attributes in [
        all(policy::Attributes::default),
        all(|| policy::Attributes {
            pool_id: Attribute::Absent,
            pool_type: Attribute::Absent,
            phase: Attribute::Absent,
            kind: Attribute::Absent,
            name: Attribute::Absent,
            owner: Attribute::Absent,
            age: Attribute::Absent,
            workspace_id: Attribute::Absent,
            tags: Attribute::Absent,
        }),
        all(|| policy::Attributes {
            pool_id: Attribute::Value(vec!["a".to_owned(), "b".to_owned()]),
            pool_type: Attribute::Value(vec!["public".to_owned()]),
            phase: Attribute::Value("Running".to_owned()),
            kind: Attribute::Value(String::new()),
            name: Attribute::Value("unavailable".to_owned()),
            owner: Attribute::Value("absent".to_owned()),
            age: Attribute::Value(-1),
            workspace_id: Attribute::Value("0".to_owned()),
            tags: Attribute::Value(BTreeMap::new()),
        }),
    ] {
        let text = serde_json::to_string(&Attributes::of(&attributes)).unwrap();
        let read = serde_json::from_str::<Attributes<'_>>(&text).unwrap();
        let read = Decision { attributes: read, ..decision() }.attributes();
        assert_eq!(read, attributes, "{text}");
    }
}

#[test]
fn a_recorded_question_can_be_asked_again() {
    use policy::Method;
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
            source_ip: Fact::copied(&query.source_ip),
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
    // attacks.md 83
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
