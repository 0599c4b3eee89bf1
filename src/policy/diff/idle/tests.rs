//! Directories, and the findings about them.

use crate::policy::{Code, Effort, Files, Limits, Set};

const ATTACHED: &str = "- {to: [\"group:corp/ml\"], policies: [p]}\n";

/// A statement with these conditions.
fn statement(effect: &str, conditions: &str) -> String {
    format!(r#"{{"Effect": "{effect}", "Action": ["*"], "Condition": {{{conditions}}}}}"#)
}

fn allow(conditions: &str) -> String {
    statement("Allow", conditions)
}

fn deny(conditions: &str) -> String {
    statement("Deny", conditions)
}

fn document(statements: &[String]) -> String {
    format!(r#"{{"Version": "5.0", "Statement": [{}]}}"#, statements.join(",\n"))
}

/// The findings about guardrails and an identity policy: code, place and message.
fn examine(
    guardrails: &[String],
    identity: &[String],
    attachments: &str,
) -> Vec<(Code, String, String)> {
    let mut files = vec![("attachments.yaml", attachments.to_owned())];
    if !guardrails.is_empty() {
        files.push(("guardrails/g.json", document(guardrails)));
    }
    if !identity.is_empty() {
        files.push(("identity/p.json", document(identity)));
    }
    let files: Files = files.into_iter().collect();
    let mut compiled = Set::compile(&files, &Limits::default());
    assert!(compiled.set.is_some(), "{:#?}", compiled.diagnostics);
    compiled.examine(Effort { steps: 500_000, go_on: &|| true });
    let found = compiled
        .diagnostics
        .iter()
        .filter(|it| matches!(it.code, Code::NeverMatches | Code::Shadowed | Code::NobodyCan));
    let place = |it: &crate::policy::Diagnostic| match files.get(&it.path) {
        Some(bytes) => {
            let (line, _) = it.span.line_and_column(bytes);
            let text = bytes.get(std::ops::Range::from(it.span)).unwrap_or_default();
            let path = it.path.split('/').next().unwrap_or_default();
            format!("{path}:{line} {}", String::from_utf8_lossy(text))
        }
        None => String::new(),
    };
    found.map(|it| (it.code, place(it), it.message.clone())).collect()
}

const DEV: &str = r#""StringEquals": {"g:ResourceTag/env": "dev"}"#;
const PROD: &str = r#""StringEquals": {"g:ResourceTag/env": "prod"}"#;
const NOT_PROD: &str = r#""StringNotEquals": {"g:ResourceTag/env": "prod"}"#;
const ALICE: &str = r#""StringEquals": {"g:UserName": "alice"}"#;
const ANYTHING: &str = r#""Null": {"g:UserName": "false"}"#;

/// The finding about a statement that can never match names the keys that exclude each other.
#[test]
fn a_statement_that_never_matches_is_told_with_its_keys() {
    let rows = [
        (
            r#""NumberGreaterThan": {"lychgate:timeOfDay": "2200"}, "NumberLessThan": {"lychgate:timeOfDay": "600"}"#,
            Some(("\"lychgate:timeOfDay\"", "no value of `lychgate:timeOfDay` meets all of its")),
        ),
        (
            r#""StringEquals": {"lychgate:jobPhase": "Failed"}, "StringStartWith": {"lychgate:jobPhase": "C"}"#,
            Some(("\"lychgate:jobPhase\"", "no value of `lychgate:jobPhase` meets all")),
        ),
        (
            r#""NumberGreaterThanEquals": {"lychgate:dayOfWeek": "6"}, "DateLessThanEquals": {"g:CurrentTime": "2026-01-15T12:00:00Z"}, "DateGreaterThanEquals": {"g:CurrentTime": "2026-01-15T12:00:00Z"}"#,
            Some(("\"g:CurrentTime\"", "`g:CurrentTime`, `lychgate:dayOfWeek` exclude each other")),
        ),
        (
            r#""StringEquals": {"g:UserId": "corp/alice", "g:UserName": "bob"}"#,
            Some(("\"g:UserName\"", "its conditions on `g:UserId`, `g:UserName` exclude each")),
        ),
        (
            r#""StringEquals": {"g:UserId": "keys/ci"}"#,
            Some(("\"g:UserId\"", "no `g:UserId` meets its condition for those whom its policy")),
        ),
        (
            r#""IpAddress": {"g:SourceIp": "10.0.0.0/8"}, "NotIpAddress": {"g:SourceIp": ["10.0.0.0/9", "10.128.0.0/9"]}"#,
            Some(("\"g:SourceIp\"", "no value of `g:SourceIp` meets all")),
        ),
        // With several groups, each condition may be met by another one.
        (
            r#""ForAnyValue:StringEquals": {"lychgate:groups": "corp/a"}, "ForAnyValue:StringLike": {"lychgate:groups": "corp/b"}"#,
            None,
        ),
        (r#""NumberGreaterThan": {"lychgate:timeOfDay": "2200"}"#, None),
        (r#""StringEquals": {"lychgate:jobOwner": "${g:UserName}", "g:UserName": "alice"}"#, None),
    ];
    for (conditions, expected) in rows {
        let conditions = conditions.replace("StringLike", "StringMatch");
        let found = examine(&[], &[allow(&conditions), allow(DEV)], ATTACHED);
        match expected {
            None => assert_eq!(found, [], "{conditions}"),
            Some((place, message)) => {
                let [(code, at, said)] = found.as_slice() else {
                    panic!("{conditions}: {found:?}");
                };
                assert_eq!(*code, Code::NeverMatches, "{conditions}");
                assert_eq!(at.as_str(), format!("identity:1 {place}"), "{conditions}");
                assert!(said.contains(message), "{conditions}: {said}");
            }
        }
    }
}

/// Guardrails, an identity policy, where the finding stands, and what it says.
type Row<'a> = (&'a [String], &'a [String], &'a str, &'a str);

fn prod_by_alice() -> String {
    r#""StringEquals": {"g:ResourceTag/env": "prod", "g:UserName": "alice"}"#.to_owned()
}

/// The finding about a covered statement names those that cover it.
#[test]
fn a_covered_statement_is_told_with_what_covers_it() {
    let both = prod_by_alice();
    let rows: &[Row<'_>] = &[
        (&[], &[allow(DEV), allow(DEV)], "identity:2", "already said by `identity/p#1`"),
        (&[], &[allow(&both), allow(PROD)], "identity:1", "said by `identity/p#2`"),
        (&[deny(PROD)], &[deny(&both), allow(DEV)], "identity:1", "said by `guardrails/g#1`"),
        (
            &[],
            &[
                allow(r#""StringMatch": {"lychgate:projectId": ["a*", "b*"]}"#),
                allow(r#""StringMatch": {"lychgate:projectId": "b*"}"#),
            ],
            "identity:2",
            "said by `identity/p#1`",
        ),
        (
            &[],
            &[
                allow(r#""NumberLessThan": {"lychgate:timeOfDay": "1200"}"#),
                allow(r#""NumberGreaterThanEquals": {"lychgate:timeOfDay": "1200"}"#),
                allow(ALICE),
            ],
            "identity:3",
            "said by `identity/p#1`, `identity/p#2`",
        ),
        (&[deny(PROD)], &[allow(&both), allow(DEV)], "identity:1", "is denied by `guardrails/g#1`"),
        (
            &[allow(DEV)],
            &[allow(PROD), allow(ALICE)],
            "identity:1",
            "the guardrails allow nothing of what this allows",
        ),
        (
            &[deny(PROD)],
            &[allow(r#""StringEquals": {"g:ResourceTag/env": ["prod", "dev"]}"#), allow(DEV)],
            "identity:2",
            "said by `identity/p#1`",
        ),
        (
            &[allow(PROD), deny(PROD), allow(DEV)],
            &[allow(ALICE)],
            "guardrails:1",
            "is denied by `guardrails/g#2`",
        ),
        (
            &[],
            &[allow(r#""StringEquals": {"lychgate:jobKind": "a"}"#), allow(ANYTHING)],
            "identity:1",
            "said by `identity/p#2`",
        ),
    ];
    for (guardrails, identity, place, message) in rows {
        let found = examine(guardrails, identity, ATTACHED);
        let [(code, at, said)] = found.as_slice() else {
            panic!("{guardrails:#?}\n{identity:#?}\n{found:#?}");
        };
        assert_eq!(*code, Code::Shadowed, "{said}");
        assert!(at.starts_with(&format!("{place} ")), "{at}: {said}");
        assert!(said.contains(message), "{at}: {said}");
    }
}

/// A statement that is needed somewhere is not reported: a Deny of what nothing allows, what others
/// leave over, what others say only while nothing is unavailable.
#[test]
fn a_statement_that_is_needed_is_not_told() {
    let either = [
        allow(r#""StringEquals": {"lychgate:jobKind": "a"}"#),
        allow(r#""StringNotEqualsIfExists": {"lychgate:jobKind": "a"}"#),
        allow(ALICE),
    ];
    let rows: &[(&[String], &[String])] = &[
        (&[deny(PROD)], &[allow(DEV)]),
        (&[allow(ANYTHING), deny(PROD)], &[allow(ALICE)]),
        (&[], &[allow(DEV), allow(ALICE)]),
        (&[deny(PROD)], &[allow(NOT_PROD), allow(ALICE)]),
        (&[deny(&prod_by_alice())], &[deny(PROD), allow(DEV)]),
        (&[], &either),
    ];
    for (guardrails, identity) in rows {
        let found = examine(guardrails, identity, ATTACHED);
        assert_eq!(found, [], "{guardrails:#?}\n{identity:#?}");
    }
}

#[test]
fn a_directory_in_which_nobody_can_delete_is_told_with_the_reason() {
    // The third is attachments.yaml.
    let rows: &[Row<'_>] = &[
        (&[deny(PROD)], &[], "[]", "no attached policy allows it"),
        (&[], &[allow(DEV)], "[]", "no attached policy allows it"),
        (&[allow(DEV)], &[allow(PROD)], ATTACHED, "is outside the guardrails"),
        (
            &[deny(r#""StringEqualsIfExists": {"g:ResourceTag/env": "prod"}"#), deny(NOT_PROD)],
            &[allow(ALICE)],
            ATTACHED,
            "is also denied, in the end by `guardrails/g#",
        ),
        (&[deny(PROD)], &[allow(ALICE)], ATTACHED, ""),
        (&[allow(DEV)], &[allow(ALICE)], ATTACHED, ""),
    ];
    for (guardrails, identity, attachments, why) in rows {
        let found = examine(guardrails, identity, attachments);
        let nobody: Vec<_> = found.iter().filter(|it| it.0 == Code::NobodyCan).collect();
        match nobody.as_slice() {
            [] => assert!(why.is_empty(), "{guardrails:#?}\n{identity:#?}\n{found:#?}"),
            [(_, place, said)] => {
                assert!(!why.is_empty() && place.is_empty() && said.contains(why), "{said}");
            }
            _ => panic!("{found:#?}"),
        }
    }
}

/// What cannot be decided within the effort is not reported.
#[test]
fn what_takes_too_long_is_not_said() {
    let files: Files = [
        ("attachments.yaml", ATTACHED.to_owned()),
        ("identity/p.json", document(&[allow(DEV), allow(DEV)])),
    ]
    .into_iter()
    .collect();
    for effort in
        [Effort { steps: 1, go_on: &|| true }, Effort { steps: u64::MAX, go_on: &|| false }]
    {
        let mut compiled = Set::compile(&files, &Limits::default());
        let before = compiled.diagnostics.clone();
        compiled.examine(effort);
        assert_eq!(compiled.diagnostics, before);
    }
}
