//! That every numbered row of the list of attacks is a test that names it, as `attack 14` or
//! `attacks 26–28, 30`.

use crate::house::tidy::rust_files;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LAST: u32 = 90;

/// Rows without a test of their own.
const WITHOUT: &[(u32, &str)] = &[
    (63, "signed policy bundles do not exist yet"),
    (69, "two callers who delete one job are both judged and both sent: nothing to build"),
    (79, "budgets do not exist yet"),
    (80, "approvals do not exist yet"),
    (81, "there is no time of grace yet"),
];

#[test]
fn every_attack_is_a_test_that_names_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    for path in rust_files(&root.join("tests")) {
        named.extend(numbers(&fs::read_to_string(path).unwrap()));
    }
    for path in rust_files(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        match text.split_once("#[cfg(test)]\nmod tests {") {
            Some((_, tests)) => named.extend(numbers(tests)),
            None if path.components().any(|it| it.as_os_str() == "tests") => {
                named.extend(numbers(&text));
            }
            None if path.ends_with("tests.rs") => named.extend(numbers(&text)),
            None => (),
        }
    }
    let without: BTreeSet<u32> = WITHOUT.iter().map(|(number, _)| *number).collect();
    let missing: Vec<u32> =
        (1..=LAST).filter(|it| !named.contains(it) && !without.contains(it)).collect();
    assert!(missing.is_empty(), "no test names the attacks {missing:?}");
    let superfluous: Vec<_> = without.intersection(&named).collect();
    assert!(superfluous.is_empty(), "there are tests of the attacks {superfluous:?}");
}

#[test]
fn numbers_are_found() {
    for (text, expected) in [
        ("/// attack 14", &[14][..]),
        ("//! The gate: attacks.md 46, 50.", &[46, 50]),
        ("/// Attacks 26–28, 30: floods", &[26, 27, 28, 30]),
        ("attacks 1-3 and 5", &[1, 2, 3, 5]),
        ("// attack 87, attack 88", &[87, 88]),
        ("an attack that took 14 days", &[]),
        ("attack(26)", &[]),
    ] {
        assert_eq!(numbers(text).into_iter().collect::<Vec<_>>(), expected, "{text}");
    }
}

fn numbers(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("ttack") {
        let rest = &text[at + "ttack".len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let rest = rest.strip_prefix(".md").unwrap_or(rest);
        let Some(mut rest) = rest.strip_prefix(' ') else { continue };
        while let Some((first, after)) = number(rest) {
            let dash = after.strip_prefix(['–', '-']).and_then(number);
            let (last, after) = dash.unwrap_or((first, after));
            found.extend(first..=last);
            let next = after.strip_prefix(", ").or_else(|| after.strip_prefix(" and "));
            let Some(next) = next else { break };
            rest = next;
        }
    }
    found
}

/// The number at the start of `text`, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
