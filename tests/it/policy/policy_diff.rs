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
    Action, Answer, Attributes, Cause, Code, Comparison, Difference, Effort, Limits, Query, Set,
    Shift,
};
use proptest::test_runner::Config;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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

/// A statement by its file and number.
type Place = (String, usize);

/// The directory with statements that are about something else in the place of these.
fn without(files: &Files, gone: &BTreeSet<Place>) -> Files {
    let mut res = files.clone();
    for (path, number) in gone {
        let mut document: Value = serde_json::from_slice(&res[path]).expect("a document");
        let statement = &mut document["Statement"][*number];
        let effect = &statement["Effect"];
        *statement = serde_json::json!({"Effect": effect, "Action": ["obs:bucket:list"]});
        res.insert(path.clone(), document.to_string().into_bytes());
    }
    res
}

fn is_delete(action: &Value) -> bool {
    ["*", "modelarts:trainJob:delete"].iter().any(|it| action == it)
}

/// Each statement with whether it allows no delete.
fn statements(files: &Files) -> Vec<(Place, bool)> {
    let mut res = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".json")) {
        let document: Value = serde_json::from_slice(bytes).expect("a document");
        for (number, it) in document["Statement"].as_array().expect("a list").iter().enumerate() {
            // What allows another action changes no delete.
            let names = |it: &Value| it.as_array().is_some_and(|it| it.iter().any(is_delete));
            let is_other = it["NotAction"].is_array() || !names(&it["Action"]);
            res.push(((path.clone(), number), is_other || it["Effect"] == "Deny"));
        }
    }
    res
}

/// What `check` says does nothing changes nothing when it goes, and of what is left each Allow of the
/// identity policies is needed for something.
#[test]
fn what_does_nothing_can_go_and_nothing_else() {
    let (mut gone, mut kept, mut open) = (0, 0, 0);
    for seed in 0..PAIRS * u64::from(Config::default().cases) {
        let pair = Pair::new(&mut Random::new(seed));
        let show = || format!("pair {seed}\n{pair}");
        let files: lychgate::policy::Files =
            pair.new.iter().map(|(path, it)| (path, it.clone())).collect();
        let mut compiled = Set::compile(&files, &Limits::default());
        compiled.examine(Effort { steps: 20_000_000, go_on: &|| true });
        let set = compiled.set.expect("it compiles");
        let of = |code: Code| compiled.diagnostics.iter().filter(move |it| it.code == code);
        let is_idle = |(path, number): &Place| {
            let name = format!("{}#{}", path.trim_end_matches(".json"), number + 1);
            let place = set.place(&name);
            place.is_some_and(|place| {
                let found = of(Code::Shadowed).chain(of(Code::NeverMatches));
                let mut found = found.filter(|it| it.path == place.path);
                found.any(|it| (place.span.start..place.span.end).contains(&it.span.start))
            })
        };
        let all = statements(&pair.new);
        let idle: BTreeSet<_> =
            all.iter().map(|(it, _)| it.clone()).filter(|it| is_idle(it)).collect();
        let rest = without(&pair.new, &idle);
        let left = compile(&rest);
        // What never has an effect may leave a request undecided for no reason while something is
        // unavailable; what others say does not even do that.
        let is_said = of(Code::Shadowed).all(|it| it.message.contains("already said"))
            && of(Code::NeverMatches).next().is_none();
        pair.each_request(|query, attributes| {
            // `check` knows that there is no such age; the small world does not.
            if attributes.age.value().is_some_and(|it| *it < 0) {
                return;
            }
            let [all, rest] = [&set, &left].map(|it| it.evaluate(query, attributes).answer());
            // Another action may have another reason than the one that is told.
            let is_settled =
                all == Answer::Indeterminate && !(is_said && query.action == Action::Delete);
            assert!(all == rest || is_settled, "{all:?} {rest:?} {idle:?}\n{}", show());
        });
        if of(Code::NobodyCan).next().is_some() {
            pair.each_request(|query, attributes| {
                let answer = set.evaluate(query, attributes).answer();
                assert!(query.action != Action::Delete || answer != Answer::Allow, "{}", show());
            });
        }
        gone += idle.len();
        for (place, is_deny) in all.iter().filter(|(it, _)| !idle.contains(it)) {
            if *is_deny || place.0.starts_with("guardrails") {
                continue;
            }
            let one = BTreeSet::from([place.clone()]);
            let found = compare(&left, &compile(&without(&rest, &one)));
            kept += usize::from(!found.differences.is_empty());
            open += usize::from(found.differences.is_empty());
        }
    }
    println!("{gone} statements do nothing, {kept} do something, {open} do neither for certain");
    assert!(100 < gone && 100 < kept && open < kept / 20, "{gone} {kept} {open}");
}
