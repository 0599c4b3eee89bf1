//! Two versions of the policies, compared by the engine's own comparison and by trying every request
//! of a small world.
//!
//! `PROPTEST_CASES` raises the number of pairs; 10 000 make 20 000.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod world;

use self::world::{Pair, Random};

use crate::support::reference::{Files, Policies, judge};

use lychgate::policy::{
    Answer, Attributes, Cause, Comparison, Difference, Effort, Limits, Query, Set, Shift,
};
use proptest::test_runner::Config;
use std::collections::BTreeMap;

/// Pairs for each of proptest's cases (256 unless `PROPTEST_CASES` says otherwise).
const PAIRS: u64 = 2;

fn compile(files: &Files) -> Set {
    let files: lychgate::policy::Files =
        files.iter().map(|(path, it)| (path, it.clone())).collect();
    let compiled = Set::compile(&files, &Limits::default());
    compiled.set.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn compare(old: &Set, new: &Set) -> Comparison {
    let effort = Effort { steps: 20_000_000, go_on: &|| true };
    Comparison::new(old, new, &Shift::ALL, effort)
}

/// The differences that trying everything finds, by kind and cause, with one request each.
fn brute_force(pair: &Pair, old: &Set, new: &Set) -> BTreeMap<(Shift, Cause), (Query, Attributes)> {
    let mut res = BTreeMap::new();
    pair.each_request(|query, attributes| {
        let (before, after) = (old.evaluate(query, attributes), new.evaluate(query, attributes));
        if before.answer() == after.answer() {
            return;
        }
        let it = Difference::of(query.clone(), attributes.clone(), &before, &after)
            .expect("the answers differ");
        res.entry((it.shift, it.cause)).or_insert((it.query, it.attributes));
    });
    res
}

/// The engine and the reference interpreter say of the request what the difference says.
fn confirm(it: &Difference, old: &Policies, new: &Policies, show: &dyn Fn() -> String) {
    for (policies, verdict) in [(old, &it.old), (new, &it.new)] {
        let found = judge(policies, &it.query, &it.attributes);
        assert_eq!(found.word(), verdict.answer.as_str(), "{it:#?}\n{}", show());
        if verdict.answer != Answer::Indeterminate {
            assert_eq!(found.by(), verdict.decider.as_deref(), "{it:#?}\n{}", show());
        }
    }
}

#[test]
fn comparing_is_trying_everything() {
    let pairs = PAIRS * u64::from(Config::default().cases);
    let (mut differences, mut beyond, mut templates) = (0, 0, 0);
    // Undecided: all, and those that are no more than one comparison of texts.
    let (mut open, mut plain) = (0, 0);
    for seed in 0..pairs {
        let pair = Pair::new(&mut Random::new(seed));
        let show = || format!("pair {seed}\n{pair}");
        let (old, new) = (compile(&pair.old), compile(&pair.new));
        let (old_rules, new_rules) = (Policies::load(&pair.old), Policies::load(&pair.new));
        let found = compare(&old, &new);
        assert_eq!(found.disagreement, None, "{}", show());
        for it in &found.differences {
            confirm(it, &old_rules, &new_rules, &show);
        }
        let causes: Vec<_> =
            found.differences.iter().map(|it| (it.shift, it.cause.clone())).collect();
        let expected = brute_force(&pair, &old, &new);
        for (it, request) in &expected {
            let excused = !found.undecided.is_empty();
            assert!(causes.contains(it) || excused, "missing {it:?}: {request:#?}\n{}", show());
        }
        differences += causes.len();
        templates += usize::from(pair.has_templates);
        open += usize::from(!found.undecided.is_empty());
        plain += usize::from(!found.undecided.is_empty() && !pair.is_hard);
        beyond += causes.iter().filter(|it| !expected.contains_key(it)).count();
    }
    println!(
        "{pairs} pairs, {templates} with variables: {differences} differences, {beyond} of them \
         beyond the small world, {open} pairs undecided, {plain} of them with texts alone"
    );
    assert!(pairs / 4 < differences as u64, "the pairs differ too little to say anything");
    assert!(open as u64 <= pairs / 12, "too much is undecided");
    assert!(plain as u64 <= pairs / 40, "too much is undecided that is text");
}
