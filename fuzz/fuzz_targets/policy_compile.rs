//! A guardrail, an identity policy, attachments.yaml and a user name, separated by bytes 0xFF (which
//! no text contains): compiling never fails to come to an end, says the same twice, points into the
//! files, and what it makes can judge. What is decided without the job is decided with it too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::policy::{Action, Attribute, Attributes, Decision, Files, Job, Limits, Method, Principal, Query, Set, Severity, render};
use std::collections::BTreeMap;
use std::sync::Arc;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|it| *it == 0xFF);
    let paths = ["guardrails/g.json", "identity/i.json", "attachments.yaml"];
    let files = paths.into_iter().zip(&mut parts).filter(|(_, bytes)| !bytes.is_empty());
    let files: Files = files.collect();
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();

    let limits = Limits::default();
    let (first, second) = (Set::compile(&files, &limits), Set::compile(&files, &limits));
    assert_eq!(first.diagnostics, second.diagnostics);
    let sound = first.diagnostics.iter().all(|it| it.severity() != Severity::Error);
    assert_eq!(first.set.is_some(), sound);
    let rendered = render(&first.diagnostics, &first.files, false);
    assert_eq!(rendered.is_empty(), first.diagnostics.is_empty());
    let (Some(first), Some(second)) = (first.set, second.set) else {
        return;
    };
    assert_eq!(first.digest(), files.digest());
    assert_eq!(second.digest(), files.digest());

    let query = query(&name);
    let unknown = first.evaluate(&query, &Attributes::default());
    let known = first.evaluate(&query, &attributes(&name));
    let again = second.evaluate(&query, &attributes(&name));
    assert_eq!(format!("{known:?}"), format!("{again:?}"));
    match unknown {
        Decision::Allow(_) => assert!(matches!(known, Decision::Allow(_))),
        Decision::Deny(_) => assert!(matches!(known, Decision::Deny(_))),
        Decision::Indeterminate(_) => (),
    }
    assert!(!matches!(known, Decision::Indeterminate(_)));
});

fn query(name: &str) -> Query {
    let tags = BTreeMap::from([("t".to_owned(), name.to_owned()), ("e".to_owned(), String::new())]);
    let groups = ["g".to_owned(), name.to_owned()];
    Query {
        principal: Arc::new(Principal::new("s", name, groups, tags, Method::Jwt)),
        action: Action::Delete,
        job: Job::new("p", "3faf5c03-aaa1-4cbe-879d-24b05d997347").into(),
        region: "r".to_owned(),
        account: "1".to_owned(),
        now: "2026-01-15T12:00:00Z".parse().expect("a time"),
        source_ip: Attribute::Value("10.1.2.3".parse().expect("an address")),
        secure_transport: Attribute::Value(true),
        user_agent: Attribute::Absent,
    }
}

fn attributes(text: &str) -> Attributes {
    let value = || Attribute::Value(text.to_owned());
    let tags = [("t", text), ("e", "")].map(|(key, it)| (key.to_owned(), it.to_owned()));
    Attributes {
        pool_id: Attribute::Value(vec!["a".to_owned(), text.to_owned()]),
        pool_type: Attribute::Absent,
        phase: value(),
        kind: value(),
        name: value(),
        owner: value(),
        age: Attribute::Value(3600),
        workspace_id: Attribute::Absent,
        tags: Attribute::Value(tags.into()),
    }
}
