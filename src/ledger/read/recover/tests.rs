//! Every state of a ledger's end, and what is done about it.

use super::*;

use crate::ledger::write::volume::{Directory, LOCK, Unopened};

use std::fs;
use tempfile::TempDir;

const MEMBERS: &str = r#""kind":"settlement","of":1,"result":"gone""#;

fn id() -> LedgerId {
    LedgerId::parse("6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f").unwrap()
}

/// Six lines of one chain, with their LF.
fn chain(id: &LedgerId) -> Vec<Vec<u8>> {
    let mut head = Head::start(id);
    let line = |_| {
        let mut line = Vec::new();
        head.append(&mut line, id, "2026-01-15T12:00:00Z".parse().unwrap(), MEMBERS.as_bytes());
        line
    };
    (1..=6).map(line).collect()
}

/// A directory with the ID `id` in its lock file and these segments.
fn directory(id: Option<&LedgerId>, segments: &[(u64, Vec<u8>)]) -> TempDir {
    let res = tempfile::tempdir().unwrap();
    if let Some(id) = id {
        fs::write(res.path().join(LOCK), format!("{id}\n")).unwrap();
    }
    for (first, bytes) in segments {
        fs::write(res.path().join(segment_name(*first)), bytes).unwrap();
    }
    res
}

/// A state of a directory, and what is done about it: the number of the last record and the repair,
/// or the message.
struct Row {
    state: &'static str,
    named: bool,
    segments: Vec<(u64, Vec<u8>)>,
    expected: Result<(u64, Option<Repair>), &'static str>,
}

fn row(
    state: &'static str,
    named: bool,
    segments: &[(u64, &[&[u8]])],
    expected: Result<(u64, Option<Repair>), &'static str>,
) -> Row {
    let segments = segments.iter().map(|(first, lines)| (*first, lines.concat())).collect();
    Row { state, named, segments, expected }
}

/// What a crash can leave.
fn crashes() -> Vec<Row> {
    let chain = chain(&id());
    let [a, b, c, d, ..] = [0, 1, 2, 3].map(|it| chain[it].as_slice());
    let length = |lines: &[&[u8]]| u64::try_from(lines.concat().len()).unwrap();
    let torn =
        |first, lines: &[&[u8]], holes| Some(Repair::Cut { first, bytes: length(lines), holes });
    let cut = |first, lines: &[&[u8]]| torn(first, lines, false);
    let remove = |first| Some(Repair::Remove { first, holes: false });
    let nul = [0; 100_000].as_slice();
    vec![
        row("an empty directory", false, &[], Ok((0, None))),
        row("an empty first segment", false, &[(1, &[])], Ok((0, remove(1)))),
        row("an empty first segment, named", true, &[(1, &[])], Ok((0, remove(1)))),
        row("a torn first line", false, &[(1, &[&a[..70]])], Ok((0, remove(1)))),
        row("a torn first line, named", true, &[(1, &[&a[..70]])], Ok((0, remove(1)))),
        row("only NULs", true, &[(1, &[nul])], Ok((0, remove(1)))),
        row("whole", true, &[(1, &[a, b, c])], Ok((3, None))),
        row("whole, not named", false, &[(1, &[a, b])], Ok((2, None))),
        row("a torn line", true, &[(1, &[a, b, &c[..100]])], Ok((2, cut(1, &[a, b])))),
        row("one byte of a line", true, &[(1, &[a, &b[..1]])], Ok((1, cut(1, &[a])))),
        row("no LF", true, &[(1, &[a, &b[..b.len() - 1]])], Ok((1, cut(1, &[a])))),
        row("NULs", true, &[(1, &[a, nul])], Ok((1, cut(1, &[a])))),
        row("NULs in a torn line", true, &[(1, &[a, &b[..99], nul])], Ok((1, cut(1, &[a])))),
        row("a hole", true, &[(1, &[a, &[0; 50], &b[50..]])], Ok((1, torn(1, &[a], true)))),
        row(
            "a hole, then good lines",
            true,
            &[(1, &[a, &b[..50], &[0; 99], c, d])],
            Ok((1, torn(1, &[a], true))),
        ),
        row("a hole before LF", true, &[(1, &[a, &[0; 9], b"\n"])], Ok((1, torn(1, &[a], true)))),
        row(
            "a hole, then a torn line",
            true,
            &[(1, &[a, &b[..50], &[0; 99], &c[..9]])],
            Ok((1, torn(1, &[a], true))),
        ),
        row("a long hole, then a line", true, &[(1, &[a, nul, b])], Ok((1, torn(1, &[a], true)))),
        row(
            "a hole at the beginning",
            true,
            &[(1, &[a]), (2, &[&[0; 50], &b[50..], c])],
            Ok((1, Some(Repair::Remove { first: 2, holes: true }))),
        ),
        row("two segments", true, &[(1, &[a, b]), (3, &[c, d])], Ok((4, None))),
        row("an empty second segment", true, &[(1, &[a, b]), (3, &[])], Ok((2, remove(3)))),
        row("a torn second segment", true, &[(1, &[a]), (2, &[&b[..9]])], Ok((1, remove(2)))),
        row("a cut second segment", true, &[(1, &[a]), (2, &[b, &c[..9]])], Ok((2, cut(2, &[b])))),
        row("the first segment retired", true, &[(3, &[c, d])], Ok((4, None))),
    ]
}

fn message<T>(text: &str) -> Result<T, &'static str> {
    Err(text.to_owned().leak())
}

/// What it cannot leave, in one segment.
fn damages() -> Vec<Row> {
    let (chain, other) = (chain(&id()), chain(&LedgerId::random()));
    let [a, b, c, d, e, _] = [0, 1, 2, 3, 4, 5].map(|it| chain[it].as_slice());
    let changed = |line: &[u8]| String::from_utf8_lossy(line).replace("gone", "sent").into_bytes();
    let (first, second) = ("00000000000000000001.jsonl:", "00000000000000000003.jsonl:");
    let at = |file: &str, text: &str| message(&format!("{file}{text}"));
    vec![
        row("nothing of a named ledger", true, &[], message("all segments of ledger")),
        row("a changed line", true, &[(1, &[a, &changed(b), c])], at(first, "2: the line was c")),
        row("a changed last line", true, &[(1, &[a, &changed(b)])], at(first, "2: the line was c")),
        row("a changed first line", true, &[(1, &[&changed(a)])], at(first, "1: the line was c")),
        row("garbage with LF", true, &[(1, &[a, b"garbage\n"])], at(first, "2: not a record")),
        row("garbage without LF", true, &[(1, &[a, b"garbage"])], at(first, "2: the file ends")),
        row("garbage as first line", false, &[(1, &[b"garbage"])], at(first, "1: the file ends")),
        row("an empty line", true, &[(1, &[a, b"\n"])], at(first, "2: not a record")),
        row("CR", true, &[(1, &[a, &b[..b.len() - 1], b"\r\n"])], at(first, "2: the line was c")),
        row(
            "a line changed before a hole",
            true,
            &[(1, &[&changed(a), &[0; 50], c])],
            at(first, "1: the line was c"),
        ),
        row("no end", true, &[(1, &[a, &[b'x'; 70_000]])], at(first, "2: the line is longer")),
        row("a removed line", true, &[(1, &[a, c])], at(first, "2: seq is 3, not 2")),
        row("a repeated line", true, &[(1, &[a, a])], at(first, "2: seq is 1, not 2")),
        row("swapped lines", true, &[(1, &[b, a])], at(first, "1: seq is 2, not 1")),
        row("a foreign line", true, &[(1, &[a, &other[1]])], at(first, "2: the line belongs")),
        row("a foreign segment", true, &[(1, &[&other[0]])], at(first, "1: the line belongs")),
        row(
            "a torn line of another seq",
            true,
            &[(1, &[a, &c[..99]])],
            at(first, "2: the file ends"),
        ),
        row(
            "a torn foreign line",
            true,
            &[(1, &[a, &other[1][..99]])],
            at(first, "2: the file ends"),
        ),
        row("the first line removed", true, &[(1, &[b, c])], at(first, "1: seq is 2, not 1")),
        row("another name", true, &[(3, &[d, e])], at(second, "1: seq is 4, not 3")),
    ]
}

/// What it cannot leave, between segments.
fn gaps() -> Vec<Row> {
    let (chain, other) = (chain(&id()), chain(&LedgerId::random()));
    let [a, b, c, _, e, f] = [0, 1, 2, 3, 4, 5].map(|it| chain[it].as_slice());
    let changed = String::from_utf8_lossy(b).replace("gone", "sent").into_bytes();
    let changed = changed.as_slice();
    vec![
        row("an empty segment, others gone", true, &[(3, &[])], message("records are missing be")),
        row("a gap", true, &[(1, &[a]), (3, &[c])], message("records are missing before")),
        row("a gap before nothing", true, &[(1, &[a]), (3, &[])], message("records are missing")),
        row(
            "a cut segment in the middle",
            true,
            &[(1, &[a, &b[..50]]), (3, &[c])],
            message("00000000000000000001.jsonl, last line: the line is cut off"),
        ),
        row(
            "a changed end in the middle",
            true,
            &[(1, &[a, changed]), (3, &[c])],
            message("00000000000000000001.jsonl, last line: the line was changed"),
        ),
        row(
            "an empty segment in the middle",
            true,
            &[(1, &[]), (3, &[c])],
            message("00000000000000000001.jsonl, last line: the line is cut off"),
        ),
        row(
            "a foreign segment in the middle",
            true,
            &[(1, &[&other[0], &other[1]]), (3, &[c])],
            message("00000000000000000001.jsonl, last line: the line belongs"),
        ),
        row(
            "a missing segment, the last intact",
            true,
            &[(1, &[a, b]), (5, &[e, f])],
            message("records are missing before 00000000000000000005.jsonl"),
        ),
    ]
}

fn all() -> impl Iterator<Item = Row> {
    crashes().into_iter().chain(damages()).chain(gaps())
}

#[test]
fn every_state_of_a_directory_has_its_row() {
    for Row { state, named, segments, expected } in all() {
        let directory = directory(named.then(id).as_ref(), &segments);
        let survey = survey(directory.path(), named.then(id)).unwrap();
        let fresh = LedgerId::random();
        match (plan(&survey, fresh.clone()), expected) {
            (Ok(plan), Ok((seq, repair))) => {
                assert_eq!((plan.head.seq, plan.repair), (seq, repair), "{state}");
                let is_new = seq == 0 && !named;
                assert_eq!(plan.id, if is_new { fresh } else { id() }, "{state}");
            }
            (Err(damage), Err(message)) => {
                assert!(damage.to_string().starts_with(message), "{state}: {damage}");
            }
            (plan, expected) => panic!("{state}: {plan:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_repaired_directory_is_whole_and_a_damaged_one_is_left_alone() {
    let files = |directory: &TempDir| {
        let read = |first: &u64| fs::read(directory.path().join(segment_name(*first))).unwrap();
        segments(directory.path()).unwrap().iter().map(read).collect::<Vec<_>>()
    };
    for Row { state, named, segments, expected } in all() {
        let directory = directory(named.then(id).as_ref(), &segments);
        let before = files(&directory);
        match Directory::open(directory.path()) {
            Ok(found) => {
                assert_eq!(found.head.seq, expected.unwrap().0, "{state}");
                drop(found);
                let survey = survey(directory.path(), None).unwrap();
                let plan = plan(&survey, id()).unwrap();
                assert_eq!((plan.head.seq, plan.repair), (expected.unwrap().0, None), "{state}");
            }
            Err(Unopened::Damaged(_)) => {
                assert!(expected.is_err(), "{state}");
                assert_eq!(files(&directory), before, "{state}");
            }
            Err(error) => panic!("{state}: {error}"),
        }
    }
}

/// Power is lost while a group is written: each page of it has reached the disk or not, and the
/// file is as long as some of them make it. No request was answered because of the group, so that
/// whatever is left can be continued.
#[test]
fn a_group_may_reach_the_disk_in_any_order() {
    const PAGE: usize = 150;
    let chain = chain(&id());
    let (synced, whole) = (chain[..2].concat(), chain.concat());
    let pages: Vec<usize> = (synced.len() / PAGE..=(whole.len() - 1) / PAGE).collect();
    let mut seen = [0; 7];
    for written in 0_u32..1 << pages.len() {
        for last in &pages {
            let mut state = synced.clone();
            state.resize(whole.len().min((last + 1) * PAGE), 0);
            for (bit, page) in pages.iter().enumerate().filter(|(_, page)| *page <= last) {
                let range = page * PAGE..state.len().min((page + 1) * PAGE);
                if written & 1 << bit != 0 {
                    state[range.clone()].copy_from_slice(&whole[range]);
                }
            }
            let directory = directory(Some(&id()), &[(1, state.clone())]);
            let found = Directory::open(directory.path()).unwrap();
            let left = fs::read(directory.path().join(segment_name(1))).unwrap();
            assert!(synced.len() <= left.len() && whole.starts_with(&left), "{written:b} {last}");
            let lines = left.iter().filter(|it| **it == b'\n').count();
            assert_eq!(found.head.seq, u64::try_from(lines).unwrap());
            let torn = fs::read(directory.path().join(format!("{}.torn", segment_name(1))));
            let lost = state[left.len()..].to_vec();
            assert!(torn.is_err() || torn.unwrap() == lost, "{written:b} {last}");
            seen[lines] += 1;
        }
    }
    assert!(seen[2..].iter().all(|it| 0 < *it), "{seen:?}");
}
