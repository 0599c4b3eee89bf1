//! The shipped policies, judged by the engine and by the reference interpreter: each case of their
//! suites comes out as it says, each statement decides at least one of them, and `check` finds nothing
//! but what it says of every ceiling.

use crate::support::engine::Engine;
use crate::support::reference::{Files, Policies, Suite, judge};

use lychgate::policy::Limits;
use lychgate::reload;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn shipped_cases_come_out_as_they_say() {
    for directory in ["policies", "examples/policies"] {
        check(directory);
    }
}

#[track_caller]
fn check(directory: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = reload::read(&path, &Limits::default()).unwrap();
    let files: Files = files.iter().map(|(path, it)| (path.to_owned(), it.to_vec())).collect();
    let policies = Policies::load(&files);
    let engine = Engine::load(&files).unwrap_or_else(|it| panic!("{directory}: {it:?}"));
    let findings: Vec<_> = engine.findings.iter().filter(|it| **it != "ceiling").collect();
    assert!(findings.is_empty(), "{directory}: {findings:?}");
    let mut undecided: BTreeSet<_> = policies.deciders().into_iter().collect();
    let mut wrong = Vec::new();
    const DEFAULTS: &str = "tests/defaults.yaml";
    let is_suite = |path: &str| path.starts_with("tests/") && path != DEFAULTS;
    for (path, bytes) in files.iter().filter(|(path, _)| is_suite(path)) {
        for case in Suite::under(files.get(DEFAULTS).map(Vec::as_slice), bytes).cases {
            let (query, attributes) = (case.query(), case.attributes());
            let verdict = judge(&policies, &query, &attributes);
            assert_eq!(engine.judge(&query, &attributes), verdict, "{path}: {}", case.name);
            let by = verdict.by();
            undecided.retain(|it| Some(it.as_str()) != by);
            if verdict.word() != case.expect || case.by.is_some() && by != case.by.as_deref() {
                wrong.push(format!("{directory}/{path}: {}: {verdict:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(undecided.is_empty(), "{directory}: decided nothing: {undecided:?}");
}
