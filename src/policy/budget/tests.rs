//! What budgets.yaml may say, and which counters a delete belongs to.

use super::*;
use crate::policy::tests::query;
use crate::policy::{Code, Files, Limits, Set, Severity};

const DOCUMENT: &str = r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"]}]}"#;

/// The budgets of a directory with this file, and the codes of all that was found about it.
fn compile(text: Option<&str>, replicas: u32) -> (Option<Arc<Budgets>>, Vec<Code>) {
    let document = [("guardrails/g.json", DOCUMENT)];
    let files: Files = document.into_iter().chain(text.map(|it| (BUDGETS, it))).collect();
    let compiled = Set::compile(&files, &Limits { replicas, ..Limits::default() });
    let codes = compiled.diagnostics.iter().map(|it| it.code).collect();
    (compiled.set.map(|it| Arc::clone(it.budgets())), codes)
}

fn one(fields: &str) -> String {
    format!("budgets:\n  - {{{fields}}}\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "rows")]
fn what_is_wrong_is_told() {
    let fine = "name: a, per: all, deletes: 1, within: 1s";
    let with = |from: &str, to: &str| one(&fine.replace(from, to));
    let when = |text: &str| one(&format!("{fine}, when: {text}"));
    let keys = (0..101).map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
    let many = |count| {
        let entry = |it| format!("{{name: b{it}, per: all, deletes: 1, within: 1s}}");
        format!("budgets: [{}]", (0..count).map(entry).collect::<Vec<_>>().join(", "))
    };
    for (text, expected) in [
        (one(fine), &[][..]),
        ("budgets: none".to_owned(), &[Code::NoBudgets]),
        ("budgets: 'none'".to_owned(), &[Code::NoBudgets]),
        ("budgets: off".to_owned(), &[Code::InvalidYaml]),
        ("budgets: ~".to_owned(), &[Code::InvalidYaml]),
        ("budgets:".to_owned(), &[Code::InvalidYaml]),
        ("budgets: []".to_owned(), &[Code::Empty]),
        (String::new(), &[Code::InvalidYaml]),
        ("none".to_owned(), &[Code::InvalidYaml]),
        ("budgets: none\nmore: 1".to_owned(), &[Code::InvalidYaml]),
        (with("name: a", "name: A"), &[Code::MalformedBudget]),
        (with("name: a", "name: ''"), &[Code::MalformedBudget]),
        (with("name: a", &format!("name: {}", "a".repeat(64))), &[]),
        (with("name: a", &format!("name: {}", "a".repeat(65))), &[Code::MalformedBudget]),
        (with("name: a", "name: 1"), &[]),
        (with(", within: 1s", ""), &[Code::InvalidYaml]),
        (with("1s", "7d"), &[]),
        (with("1s", "168h"), &[]),
        (with("1s", "604801s"), &[Code::MalformedBudget]),
        (with("1s", "0h"), &[Code::MalformedBudget]),
        (with("1s", "1"), &[Code::MalformedBudget]),
        (with("1s", "1h30m"), &[Code::MalformedBudget]),
        (with("1s", "-1h"), &[Code::MalformedBudget]),
        (with("1s", "9223372036854775807d"), &[Code::MalformedBudget]),
        (with("deletes: 1", "deletes: 0"), &[Code::MalformedBudget]),
        (with("deletes: 1", "deletes: 100000"), &[]),
        (with("deletes: 1", "deletes: 100001"), &[Code::MalformedBudget]),
        (with("deletes: 1", "deletes: -1"), &[Code::InvalidYaml]),
        (with("deletes: 1", "deletes: 1.5"), &[Code::InvalidYaml]),
        (with("deletes: 1", "deletes: many"), &[Code::InvalidYaml]),
        (with("per: all", "per: user"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'group:ml'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'group:corp/'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'group:corp/ml'"), &[]),
        (with("per: all", "per: 'group:corp/m*'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'group: corp/ml'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'tag: team'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'tag:the team'"), &[]),
        (with("per: all", "per: 'tag:'"), &[Code::MalformedBudget]),
        (with("per: all", "per: 'tag:team'"), &[]),
        (with("per: all", "per: 'all:'"), &[Code::MalformedBudget]),
        (with("per: all", "per: pool"), &[Code::BudgetJobFacts]),
        (with("name: a", "name: A").replace("1s", "1"), &[Code::MalformedBudget; 2]),
        (many(BUDGETS_MAX), &[]),
        (many(BUDGETS_MAX + 1), &[Code::MalformedBudget]),
        (many(2).replace("b1", "b0"), &[Code::DuplicateBudget]),
        (when("{StringEquals: {'lychgate:issuer': keys}}"), &[]),
        (when("{StringEquals: {'lychgate:issuer': [keys, corp]}}"), &[]),
        (when("{Bool: {'g:SourceIp': 'true'}}"), &[Code::OperatorType]),
        (when("{StringEqual: {'lychgate:issuer': keys}}"), &[Code::UnknownOperator]),
        (when("{StringEquals: {'lychgate:isuer': keys}}"), &[Code::UnknownKey]),
        (when("{StringEquals: {'g:MFAPresent': 'true'}}"), &[Code::UnknowableKey]),
        (when("{StringEquals: {'g:UserName': '${g:Nothing}'}}"), &[Code::MalformedVariable]),
        (when("{StringEquals: {'lychgate:jobKind': job}}"), &[Code::BudgetJobFacts]),
        (when("{StringEquals: {'lychgate:issuer': []}}"), &[Code::Empty]),
        (when("{StringEquals: {}}"), &[Code::Empty]),
        (when("{}"), &[Code::Empty]),
        (when(""), &[Code::InvalidYaml]),
        (when("[]"), &[Code::InvalidYaml]),
        (when("{Bool: {'g:SecureTransport': true}}"), &[Code::InvalidYaml]),
        (when("{Bool: {'g:SecureTransport': 'true'}}"), &[]),
        (when(&format!("{{StringEquals: {{'g:UserName': [{keys}]}}}}")), &[Code::TooManyValues]),
        (
            when(&format!("{{StringEquals: {{'g:UserName': '{}'}}}}", "x".repeat(2049))),
            &[Code::TextTooLong],
        ),
        (format!("budgets: &a [{{{fine}}}]"), &[Code::InvalidYaml]),
        (one(&format!("{fine}, name: b")), &[Code::InvalidYaml]),
        (format!("{}#{}", one(fine), "x".repeat(8 << 20)), &[Code::TooLarge]),
    ] {
        let (budgets, codes) = compile(Some(&text), 1);
        let start = text.get(..text.len().min(300)).unwrap();
        assert_eq!(codes, expected, "{start}");
        let is_error = codes.iter().any(|it| it.severity() == Severity::Error);
        assert_eq!(budgets.is_none(), is_error, "{start}");
    }
}

#[test]
fn there_is_a_brake_unless_it_is_turned_off_in_writing() {
    let (default, _) = compile(None, 1);
    let default = default.unwrap();
    let terms: Vec<_> = default
        .iter()
        .map(|it| (&**it.name(), it.scope(), it.share(), it.within().as_hours()))
        .collect();
    let expected = [("per-principal", "principal", 50, 1), ("per-project", "project", 500, 24)];
    assert_eq!(terms, expected);
    let (none, _) = compile(Some("budgets: none"), 1);
    let none = none.unwrap();
    assert_eq!((none.iter().count(), none.within_max()), (0, None));
    let written = "budgets:
  - {name: per-principal, per: principal, deletes: 50, within: 60m}
  - {name: per-project, per: project, deletes: 500, within: 1d}";
    assert_eq!(compile(Some(written), 1).0.unwrap().id(), default.id());
    for other in ["49", "51"] {
        let other = written.replacen("50", other, 1);
        assert_ne!(compile(Some(&other), 1).0.unwrap().id(), default.id());
    }
}

#[test]
fn processes_share_rounded_down() {
    let text = one("name: a, per: all, deletes: 10, within: 1h");
    for (replicas, share) in [(1, 10), (3, 3), (4, 2), (10, 1)] {
        let (budgets, codes) = compile(Some(&text), replicas);
        let shares: Vec<_> = budgets.unwrap().iter().map(|it| (it.deletes(), it.share())).collect();
        assert_eq!((shares, codes), (vec![(10, share)], vec![]));
    }
    assert_eq!(compile(Some(&text), 11).1, [Code::BudgetBelowReplicas]);
    // The default budgets are checked too, without a file to point at.
    assert_eq!(compile(None, 50).1, []);
    assert_eq!(compile(None, 51).1, [Code::BudgetBelowReplicas]);
}

#[test]
fn a_delete_belongs_to_the_counters_of_who_asks_and_what_goes() {
    let pools = |them: &[&str]| Attributes {
        pool_id: Attribute::Value(them.iter().map(|it| (*it).to_owned()).collect()),
        pool_type: Attribute::Absent,
        ..Attributes::default()
    };
    let none = Attributes { pool_id: Attribute::Absent, ..Attributes::default() };
    for (fields, attributes, expected) in [
        ("per: all", Attributes::default(), &["*"][..]),
        ("per: principal", Attributes::default(), &["corp/alice"]),
        ("per: project", Attributes::default(), &["p1"]),
        ("per: source", Attributes::default(), &["corp"]),
        ("per: 'group:corp/ml'", Attributes::default(), &["corp/ml"]),
        ("per: 'group:other/ml'", Attributes::default(), &[]),
        ("per: 'tag:team'", Attributes::default(), &["vision"]),
        ("per: 'tag:cost'", Attributes::default(), &[""]),
        ("per: pool", pools(&["a", "b"]), &["a", "b"]),
        ("per: pool", none.clone(), &[""]),
        ("per: pool", Attributes::default(), &["?"]),
        // Known to hold, known not to hold, and unknown, which counts as holding.
        ("per: all, when: {StringEquals: {'lychgate:issuer': corp}}", none.clone(), &["*"]),
        ("per: all, when: {StringNotEquals: {'lychgate:issuer': corp}}", none.clone(), &[]),
        ("per: all, when: {StringEquals: {'lychgate:jobKind': x}}", none.clone(), &["*"]),
        ("per: all, when: {IpAddress: {'g:SourceIp': 10.0.0.0/8}}", none.clone(), &["*"]),
        // Absent: as a Deny reads it, broadly.
        ("per: all, when: {StringNotEquals: {'g:UserAgent': x}}", none.clone(), &["*"]),
        (
            "per: all, when: {StringEquals: {'g:UserName': alice, 'lychgate:issuer': keys}}",
            none,
            &[],
        ),
    ] {
        let (budgets, _) =
            compile(Some(&one(&format!("name: a, deletes: 1, within: 1h, {fields}"))), 1);
        let (budgets, query) =
            (budgets.unwrap(), Query { source_ip: Attribute::Unavailable, ..query() });
        let keys: Vec<_> =
            budgets.charges(&query, &attributes).map(|it| it.key.into_owned()).collect();
        assert_eq!(keys, expected, "{fields}");
    }
}

#[test]
fn the_scope_says_what_is_counted() {
    let same = |a: &str, b: &str| {
        let compile = |it: &str| compile(Some(&one(it)), 1).0.unwrap();
        compile(a).id() == compile(b).id()
    };
    let base = "name: a, deletes: 1, within: 1h, per: all";
    let when = |value: &str| format!("{base}, when: {{StringEquals: {{'g:UserName': {value}}}}}");
    assert!(same(base, "per: all, within: 60m, deletes: 1, name: a"));
    assert!(same(&when("x"), &when("[x]")));
    for other in [when("x"), base.replace("all", "source"), base.replace("1h", "2h")] {
        assert!(!same(base, &other), "{other}");
    }
    assert!(!same(&when("x"), &when("y")));
    assert!(!same(&when("[x, y]"), &when("['x, y']")));
}
