//! What a directory may and must hold.

use super::*;

use crate::policy::{Code, Job};

/// The codes of the errors of a directory with this one document.
#[track_caller]
fn check(document: &str, expected: &[Code]) {
    let (set, diagnostics) = compile(&[("guardrails/g.json", document)]);
    let errors = diagnostics.iter().filter(|it| it.severity() == Severity::Error);
    let codes: Vec<_> = errors.map(|it| it.code).collect();
    assert_eq!(codes, expected, "{document}");
    assert_eq!(set.is_none(), !expected.is_empty());
}

#[test]
fn an_inert_statement_is_checked_for_its_syntax_only() {
    let inert = |fields: &str| {
        document(&format!(r#"{{"Effect": "Allow", "Action": ["obs:bucket:list"], {fields}}}"#))
    };
    check(&inert(r#""Condition": {"Frobnicate": {"obs:prefix": "x"}}"#), &[]);
    check(&inert(r#""Resource": ["x"], "Comment": "x""#), &[]);
    check(&inert(r#""Condition": {}"#), &[Code::Empty]);
    check(&inert(r#""Condition": {"Bool": {"g:MFAPresent": true}}"#), &[Code::WrongType]);
    check(&inert(r#""Resource": "x""#), &[Code::WrongType]);
}

/// Attack 61
#[test]
fn limits_hold() {
    let list = |count: usize, item: &str| vec![item; count].join(", ");
    let values = |count| {
        let list = list(count, r#""a""#);
        let fields = format!(r#""Condition": {{"StringEquals": {{"g:UserName": [{list}]}}}}"#);
        document(&statement("Deny", &fields))
    };
    check(&values(100), &[]);
    check(&values(101), &[Code::TooManyValues]);
    let statements = |count| document(&list(count, &statement("Deny", "")));
    check(&statements(500), &[]);
    check(&statements(501), &[Code::TooManyStatements]);
    let sid = |length| document(&statement("Deny", &format!(r#""Sid": "{}""#, "x".repeat(length))));
    check(&sid(2048), &[]);
    check(&sid(2049), &[Code::TextTooLong]);
    check(
        &format!("{}{}", document(&statement("Deny", "")), " ".repeat(256 << 10)),
        &[Code::TooLarge],
    );
    check(&"[".repeat(500), &[Code::TooDeep]);
    check(&format!("{}{}", "[".repeat(32), "]".repeat(32)), &[Code::WrongType]);
}

#[test]
fn there_is_no_empty_set() {
    for files in [&[][..], &[("attachments.yaml", "[]")], &[("tests/a.yaml", "")]] {
        let (set, diagnostics) = compile(files);
        assert!(set.is_none());
        assert_eq!(diagnostics.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::NoPolicies]);
    }
}

#[test]
fn a_set_knows_its_files_and_their_digest() {
    let files: Files =
        [("guardrails/g.json", document(&statement("Deny", "")))].into_iter().collect();
    let set = Set::compile(&files, &Limits::default()).set.unwrap();
    assert_eq!(set.files(), &files);
    assert_eq!(set.digest(), files.digest());
}

#[test]
fn attachments_are_checked() {
    for (text, expected) in [
        ("", &[][..]),
        ("[]", &[]),
        ("- {to: [any], policies: [all]}", &[]),
        ("- {to: [any], policies: [al]}", &[Code::UnknownPolicy]),
        ("- {to: [any], policies: [identity/all.json]}", &[Code::UnknownPolicy]),
        ("- {to: [any], policies: []}", &[Code::Empty]),
        ("- {to: [], policies: [all]}", &[Code::Empty]),
        ("- {to: [any], projects: [], policies: [all]}", &[Code::Empty]),
        ("- {to: [any], projects: , policies: [all]}", &[Code::InvalidYaml]),
        ("- to: [any]\n  projects:\n  policies: [all]", &[Code::InvalidYaml]),
        ("- {to: [any], projects: [a_b], policies: [all]}", &[Code::MalformedProject]),
        ("- {to: [any], projects: [''], policies: [all]}", &[Code::MalformedProject]),
        ("- {to: [any], projects: ['p?'], policies: [all]}", &[Code::MalformedProject]),
        ("- {to: [alice], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: ['user:alice'], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: ['user:corp/'], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: ['group:corp/*'], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: ['group:corp/ml '], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: [\"user:corp/ali\\u200bce\"], policies: [all]}", &[Code::MalformedTarget]),
        ("- {to: ['source:'], policies: [all]}", &[Code::MalformedTarget]),
        (
            "- {to: ['any:x', 'role:corp/x'], policies: [all]}",
            &[Code::MalformedTarget, Code::MalformedTarget],
        ),
        ("- {to: any, policies: [all]}", &[Code::InvalidYaml]),
        ("- {to: [any]}", &[Code::InvalidYaml]),
        ("- {to: [any], project: [p], policies: [all]}", &[Code::InvalidYaml]),
        ("- {to: [any], to: [any], policies: [all]}", &[Code::InvalidYaml]),
        ("- {to: &a [any], policies: *a}", &[Code::InvalidYaml]),
        ("- {to: &a [any], policies: [all]}", &[Code::InvalidYaml]),
        ("{to: [any], policies: [all]}", &[Code::InvalidYaml]),
        ("- {to: [any], policies: [all]}\n---\n[]", &[Code::InvalidYaml]),
        ("- {to: [any], policies: [~]}", &[Code::InvalidYaml]),
    ] {
        let (set, diagnostics) =
            compile(&[("identity/all.json", EVERYTHING), ("attachments.yaml", text)]);
        let errors = diagnostics.iter().filter(|it| it.severity() == Severity::Error);
        assert_eq!(errors.map(|it| it.code).collect::<Vec<_>>(), expected, "{text}");
        assert_eq!(set.is_some(), expected.is_empty());
    }
}

/// A project ID that YAML would read as a number stays as written.
#[test]
fn project_ids_are_texts() {
    for project in ["0123", "1e5", "123", "0x10", "1_000", "true"] {
        let attachments = format!("- {{to: [any], projects: [{project}], policies: [all]}}");
        let files = [("identity/all.json", EVERYTHING), ("attachments.yaml", &*attachments)];
        if project.contains('_') {
            assert!(compile(&files).0.is_none());
            continue;
        }
        let query = Query { job: Job::new(project, JOB).into(), ..query() };
        let decision = set(&files).evaluate(&query, &attributes());
        assert_eq!(said(&decision), "allow identity/all#1", "{project}");
    }
}
