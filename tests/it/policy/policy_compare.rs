//! The engine against the reference interpreter: generated policy directories and questions, and
//! every operator in every situation.
//!
//! `PROPTEST_CASES` raises the number of generated directories; 10 000 make a million questions.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod generate;
mod table;

use self::generate::{World, fill_attributes, fill_query};

use crate::support::engine::Engine;
use crate::support::reference::{Files, Policies, Verdict, judge};

use lychgate::policy::{Attribute, Attributes, JobFact, Query, Sources};
use proptest::prelude::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRunner};
use std::fmt::Write as _;

/// Directories for each of proptest's cases (256 unless `PROPTEST_CASES` says otherwise).
const WORLDS: u32 = 3;
/// Queries for each directory, and as many attributes.
const QUERIES: usize = 6;
const FILLINGS: usize = 4;

/// attack 58
#[test]
fn engine_and_reference_agree() {
    run(generate::worlds(QUERIES, 0), |world| {
        let engine = load(&world.files)?;
        let policies = Policies::load(&world.files);
        for (query, attributes) in world.questions() {
            let expected = judge(&policies, query, attributes);
            let found = engine.judge(query, attributes);
            check(expected == found, || {
                format!("the reference says {expected:?}, the engine {found:?}")
                    + &describe(world, query, attributes)
            })?;
            let undecided = matches!(found, Verdict::Indeterminate { .. });
            check(!undecided || any_unavailable(query, attributes), || {
                format!("{found:?} with everything known") + &describe(world, query, attributes)
            })?;
        }
        Ok(())
    });
}

/// The gate stops asking as soon as there is an answer: then no answer to what it did not ask may
/// change the result. (The reason may change: see `by` in docs/policy-language.md.)
#[test]
fn what_is_decided_stays_decided() {
    run(generate::worlds(QUERIES / 2, FILLINGS), |world| {
        let engine = load(&world.files)?;
        for (query, attributes) in world.questions() {
            let first = engine.judge(query, attributes);
            for (other_query, other) in &world.fillings {
                let filled = fill_attributes(attributes, other);
                if let Verdict::Indeterminate { wanted } = first {
                    let filled = fill_wanted(wanted, attributes, &filled);
                    let then = engine.judge(query, &filled);
                    check(settles(wanted, &then), || {
                        format!("wanted {wanted:?}, then {then:?}")
                            + &describe(world, query, &filled)
                    })?;
                } else {
                    let filled_query = fill_query(query, other_query);
                    let then = engine.judge(&filled_query, &filled);
                    check(first.word() == then.word(), || {
                        format!("{first:?} became {then:?}")
                            + &describe(world, &filled_query, &filled)
                    })?;
                }
            }
        }
        Ok(())
    });
}

/// Once the wanted sources are known, nothing else is wanted; and if nothing was, nothing helps.
fn settles(wanted: Sources, again: &Verdict) -> bool {
    match again {
        Verdict::Indeterminate { wanted: more } => more.without(wanted).is_empty(),
        Verdict::Allow { .. } | Verdict::Deny { .. } => !wanted.is_empty(),
    }
}

/// Of what the job turned out to be, only what was wanted; all of it if nothing was.
fn fill_wanted(wanted: Sources, before: &Attributes, filled: &Attributes) -> Attributes {
    let all = wanted.is_empty();
    let mut res = if wanted.details || all { filled.clone() } else { before.clone() };
    let tags = if wanted.tags || all { filled } else { before };
    res.tags.clone_from(&tags.tags);
    res
}

fn any_unavailable(query: &Query, attributes: &Attributes) -> bool {
    is_unknown(&query.source_ip)
        || is_unknown(&query.secure_transport)
        || JobFact::ALL.iter().any(|it| is_unknown(&attributes.get(*it)))
        || is_unknown(&attributes.tags)
}

fn is_unknown<T>(it: &Attribute<T>) -> bool {
    matches!(it, Attribute::Unavailable | Attribute::NotAsked)
}

fn run(worlds: impl Strategy<Value = World>, test: impl Fn(&World) -> Result<(), TestCaseError>) {
    let standard = Config::default();
    let cases = standard.cases.saturating_mul(WORLDS);
    // XorShift: without optimisation, proptest's own choice of generator takes most of the time.
    let rng_algorithm = RngAlgorithm::XorShift;
    let config = Config { cases, failure_persistence: None, rng_algorithm, ..standard };
    match TestRunner::new(config).run(&worlds, |world| test(&world)) {
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        result => result.expect("no case is rejected"),
    }
}

fn load(files: &Files) -> Result<Engine, TestCaseError> {
    Engine::load(files).map_err(|it| TestCaseError::fail(format!("{it:?}\n{}", show(files))))
}

fn check(holds: bool, describe: impl FnOnce() -> String) -> Result<(), TestCaseError> {
    if holds { Ok(()) } else { Err(TestCaseError::fail(describe())) }
}

fn describe(world: &World, query: &Query, attributes: &Attributes) -> String {
    format!("\n{}{query:#?}\n{attributes:#?}", show(&world.files))
}

fn show(files: &Files) -> String {
    let mut res = String::new();
    for (path, bytes) in files {
        writeln!(res, "{path}: {}", String::from_utf8_lossy(bytes)).expect("a text grows");
    }
    res
}
