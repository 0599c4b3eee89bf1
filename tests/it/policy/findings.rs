//! What the policy compiler says about faulty directories: one golden rendering per kind of finding.
//!
//! A case is `tests/data/policy/bad/<code>.txt`: files, each after a line `-- path --`. `<FF>` stands
//! for a byte that is no UTF-8. The rendering is in `<code>.snap` beside it.

use lychgate::policy::{
    Code, Effort, Files, GateSetup, Limits, Method, Set, Setup, Severity, Suites, beside, render,
};
use lychgate::reload;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// So small that a case can go beyond each.
const LIMITS: Limits = Limits {
    attachments_bytes: 4096,
    depth: 8,
    document_bytes: 4096,
    documents: 5,
    replicas: 3,
    statements: 5,
    text_bytes: 512,
    values: 20,
};

/// What is found by a closer look than a gate takes.
const CLOSER: &[Code] = &[Code::NeverMatches, Code::NobodyCan, Code::Shadowed];

fn data(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(case: &str) -> Files {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in case.split_inclusive('\n') {
        let path = line.trim_end().strip_prefix("-- ").and_then(|it| it.strip_suffix(" --"));
        match (path, files.last_mut()) {
            (Some(path), _) => files.push((path.to_owned(), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => panic!("a case starts with `-- path --`"),
        }
    }
    let bytes = |text: String| match text.split_once("<FF>") {
        Some((before, after)) => [before.as_bytes(), b"\xff", after.as_bytes()].concat(),
        None => text.into_bytes(),
    };
    files.into_iter().map(|(path, text)| (path, bytes(text))).collect()
}

/// attack 55
#[test]
fn every_kind_of_finding_is_shown_where_it_is() {
    for code in Code::ALL {
        let name = code.as_str();
        let files = parse(&data(&format!("bad/{name}.txt")));
        let mut compiled = Set::compile(&files, &LIMITS);
        if CLOSER.contains(code) {
            compiled.examine(Effort { steps: 1_000_000, go_on: &|| true });
        }
        let errors = compiled.diagnostics.iter().filter(|it| it.severity() == Severity::Error);
        assert_eq!(compiled.set.is_none(), errors.count() > 0, "{name}");
        let suites = Suites::read(&files, compiled.set.as_ref());
        let beside = match code {
            Code::NotConfigured | Code::PastDate => beside(&files, &setup()),
            _ => Vec::new(),
        };
        let mut diagnostics = [compiled.diagnostics, suites.diagnostics, beside].concat();
        diagnostics.sort();
        let codes: BTreeSet<_> = diagnostics.iter().map(|it| it.code).collect();
        assert!(codes.contains(code), "{name}: found {codes:?}");
        assert_rendering("../../data/policy/bad", name, &render(&diagnostics, &files, false));
    }
}

/// Compares with the golden rendering of this name.
fn assert_rendering(directory: &str, name: &str, rendering: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(directory);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, rendering));
}

/// A gate with an issuer, whose callers have groups and the tag `team`.
pub(crate) fn setup() -> Setup {
    let mut gate = GateSetup {
        tags: Some(BTreeSet::new()),
        projects: vec!["0a1b*".to_owned()],
        regions: ["cn-north-4".to_owned()].into(),
        accounts: ["123".to_owned()].into(),
        ..GateSetup::default()
    };
    gate.source("corp", true, Some(["team".to_owned()].into()), Method::Jwt);
    let pool_types = ["dedicated", "public"].map(str::to_owned).to_vec();
    Setup { now: "2026-06-01T00:00:00Z".parse().unwrap(), pool_types, gate: Some(gate) }
}

#[test]
fn the_commonest_mistakes_are_all_found_at_once_each_with_a_hint() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy/mistakes");
    let files = reload::read(&path, &Limits::default()).unwrap();
    let compiled = Set::compile(&files, &Limits::default());
    assert!(compiled.set.is_none());
    let found: Vec<_> = compiled
        .diagnostics
        .iter()
        .map(|it| (it.path.as_str(), it.line_and_column(&files).0, it.code, it.hint.is_some()))
        .collect();
    for (path, line, code) in [
        ("attachments.yaml", 3, Code::MalformedTarget),
        ("attachments.yaml", 4, Code::UnknownPolicy),
        ("guardrails/pasted.json", 2, Code::Version11),
        ("guardrails/pasted.json", 8, Code::UnknownOperator),
        ("guardrails/protect.json", 6, Code::Effect),
        ("guardrails/protect.json", 12, Code::MisspeltAction),
        ("guardrails/protect.json", 14, Code::ImpossibleValue),
        ("guardrails/protect.json", 20, Code::WrongType),
        ("guardrails/protect.json", 27, Code::MalformedValue),
        ("guardrails/protect.json", 28, Code::WrongType),
        ("guardrails/protect.json", 35, Code::UnknownField),
        ("guardrails/protect.json", 44, Code::MalformedValue),
        ("guardrails/protect.json", 45, Code::OperatorType),
        ("guardrails/protect.json", 53, Code::UnknownKey),
        ("guardrails/protect.json", 54, Code::LiteralWildcard),
        ("guardrails/trailing-comma.json", 7, Code::InvalidJson),
        ("identity/forgotten.json", 1, Code::Unattached),
        ("identity/team.json", 8, Code::MalformedResource),
        ("identity/team.json", 11, Code::MalformedVariable),
        ("identity/team.json", 12, Code::ImpossibleValue),
        ("identity/team.json", 21, Code::UnknowableKey),
        ("identity/team.json", 22, Code::AllowNegated),
        ("identity/team.json", 25, Code::WildcardAllow),
    ] {
        assert!(found.contains(&(path, line, code, true)), "{code:?} at {path}:{line}: {found:#?}");
    }
    let rendering = render(&compiled.diagnostics, &files, false);
    assert_rendering("../../data/policy", "mistakes", &rendering);
}

/// The table of the documentation is printed by this test when it is out of date.
#[test]
fn the_documented_table_of_findings_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = Code::ALL.iter().map(|it| {
        let (name, severity, meaning) = (it.as_str(), it.severity().as_str(), it.meaning());
        format!("| `{name}` | {severity} | {meaning} |\n")
    });
    let rows: String = rows.collect();
    let table = format!("| code | severity | meaning |\n| --- | --- | --- |\n{rows}");
    assert!(text.ends_with(&table), "docs/findings.md must end with:\n\n{table}");
}
