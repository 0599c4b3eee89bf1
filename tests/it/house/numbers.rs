//! That every numbered row of the list of attacks is a test that names it, as `attack 14` or
//! `attacks 26–28, 30`.

use crate::house::tidy::rust_files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LAST: u32 = 90;

/// Rows without a test of their own.
const WITHOUT: &[(u32, &str)] = &[
    (63, "signed policy bundles do not exist yet"),
    (69, "two callers who delete one job are both judged and both sent: nothing to build"),
    (80, "approvals do not exist yet"),
    (81, "there is no time of grace yet"),
];

/// The files below `root` that name each attack in their tests.
fn tested(root: &Path) -> BTreeMap<u32, BTreeSet<String>> {
    let mut res: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let paths = ["tests", "src"].iter().flat_map(|it| rust_files(&root.join(it)));
    for path in paths {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let tests = match text.split_once("#[cfg(test)]\nmod tests {") {
            _ if name.starts_with("tests/") || name.contains("/tests") => text.as_str(),
            Some((_, tests)) => tests,
            None => continue,
        };
        for number in numbers(tests).into_iter().filter(|_| !name.ends_with("house/numbers.rs")) {
            res.entry(number).or_default().insert(name.trim_start_matches("tests/it/").to_owned());
        }
    }
    res
}

#[test]
fn every_attack_is_a_test_that_names_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tested = tested(root);
    let path = root.join("docs/attacks.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut seen = Vec::new();
    let line = |line: &str| {
        let cells: Vec<_> = line.split(" | ").collect();
        let [number, attack, happens, _] = cells[..] else { return line.to_owned() };
        let Ok(number) = number.trim_start_matches("| ").parse::<u32>() else {
            return line.to_owned();
        };
        seen.push(number);
        let files = tested.get(&number).map(|it| {
            let files: Vec<_> = it.iter().map(|it| format!("`{it}`")).collect();
            files.join(", ")
        });
        format!("| {number} | {attack} | {happens} | {} |", files.unwrap_or_default())
    };
    let expected = text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n";
    assert_eq!(seen, (1..=LAST).collect::<Vec<_>>(), "each number is a row");
    let without: BTreeSet<u32> = WITHOUT.iter().map(|(number, _)| *number).collect();
    let untested: BTreeSet<u32> = (1..=LAST).filter(|it| !tested.contains_key(it)).collect();
    assert_eq!(untested, without, "attacks that no test names, and those that need none");
    if std::env::var_os("LYCHGATE_ACCEPT").is_some() {
        fs::write(path, &expected).unwrap();
    } else {
        assert!(text == expected, "write docs/attacks.md anew with LYCHGATE_ACCEPT=1");
    }
}

#[test]
fn numbers_are_found() {
    for (text, expected) in [
        ("/// attack 14", &[14][..]),
        ("//! The gate: attacks 46, 50.", &[46, 50]),
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
