//! The ledger from open to close.

mod again;

use super::*;

use crate::ledger::fixture::{NOON, config, lines, noon, policies, record, record_by, words};
use crate::ledger::read::reader::{segment_name, segments};
use crate::ledger::read::recover;
use crate::ledger::record::Settlement;
use crate::ledger::write::pending;
use crate::policy::Answer;

use proptest::prelude::any;
use proptest::sample::Index;
use proptest::test_runner::Config as ProptestConfig;
use proptest::{prop_assert, proptest};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn bodies(directory: &Path) -> Vec<Body<'static>> {
    lines(directory).iter().map(|it| serde_json::from_str(it).unwrap()).collect()
}

#[tokio::test]
async fn a_ledger_is_continued_under_the_same_name() {
    let directory = tempfile::tempdir().unwrap();
    // As a mounted volume has it.
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
        ids.push(opened.ledger.id().clone());
        record(&opened.ledger, "a").await.unwrap().close(Ending::Denied.into());
        opened.thread.close().await.unwrap();
    }
    // A run without a request leaves nothing.
    open(&config(directory.path()), noon(), &Metrics::new()).unwrap().thread.close().await.unwrap();

    assert_eq!(ids, vec![ids[0].clone(); 3]);
    let verified = verify(directory.path()).unwrap().unwrap();
    assert_eq!((verified.id, verified.first, verified.last), (ids[0].clone(), 1, 9));
    assert_eq!(segments(directory.path()).unwrap(), [1, 4, 7]);
    let words = words(&bodies(directory.path()));
    assert_eq!(
        words[..6],
        [&words[..2], &["Denied 2".to_owned()], &words[..2], &["Denied 5".to_owned()]].concat()
    );
    assert_eq!(words[..2], ["policies 00ff", "decision a"]);

    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(&config(elsewhere.path()), noon(), &Metrics::new()).unwrap();
    assert_ne!(other.ledger.id(), &ids[0]);
    assert_eq!(verify(elsewhere.path()).unwrap(), None);
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
    let second = open(&config(directory.path()), noon(), &Metrics::new());
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    first.thread.close().await.unwrap();
    assert!(open(&config(directory.path()), noon(), &Metrics::new()).is_ok());
}

#[tokio::test]
async fn what_is_damaged_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
    record(&opened.ledger, "a").await.unwrap().close(Ending::Denied.into());
    opened.thread.close().await.unwrap();
    let file = directory.path().join(segment_name(1));
    let text = fs::read_to_string(&file).unwrap().replace("alice", "mallory");
    fs::write(&file, &text).unwrap();
    let error = open(&config(directory.path()), noon(), &Metrics::new()).unwrap_err();
    let OpenError::Damaged { source, .. } = error else { panic!("{error:?}") };
    let expected = "00000000000000000001.jsonl:2: the line was changed: its sum does not match";
    assert_eq!(source.to_string(), expected);
    assert_eq!(verify(directory.path()).unwrap_err().to_string(), expected);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_crash_at_any_byte_loses_only_the_record_it_hit() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
    for _ in 0..3 {
        drop(record(&opened.ledger, "a").await.unwrap());
    }
    let id = opened.ledger.id().clone();
    opened.thread.close().await.unwrap();
    let file = segment_name(1);
    let text = fs::read(directory.path().join(&file)).unwrap();
    let lines: Vec<_> = text.split_inclusive(|it| *it == b'\n').map(<[u8]>::len).collect();
    assert_eq!(lines.len(), 7);
    let kept: usize = lines[..5].iter().sum();

    for length in kept..=text.len() {
        let crashed = tempfile::tempdir().unwrap();
        fs::write(crashed.path().join(&file), &text[..length]).unwrap();
        let whole = text[..length].iter().filter(|it| **it == b'\n').count();
        let survey = recover::survey(crashed.path(), None).unwrap();
        let plan = recover::plan(&survey, LedgerId::random()).unwrap();
        assert_eq!(usize::try_from(plan.head.seq).unwrap(), whole, "at byte {length}");
        assert_eq!(plan.repair.is_none(), text[length - 1] == b'\n', "at byte {length}");
        let verified = verify(crashed.path()).unwrap().unwrap();
        let seen = (usize::try_from(verified.last).unwrap(), verified.unfinished);
        assert_eq!(seen, (whole, plan.repair.is_some()), "at byte {length}");
        // Continuing is the same for all lengths; a few are enough.
        if length % 50 == 0 {
            let opened = open(&config(crashed.path()), noon(), &Metrics::new()).unwrap();
            drop(record(&opened.ledger, "b").await.unwrap());
            opened.thread.close().await.unwrap();
            let verified = verify(crashed.path()).unwrap().unwrap();
            assert_eq!(verified.id, id);
            // A decision that lost its outcome may be settled already.
            let settled = usize::try_from(verified.last).unwrap() - whole - 3;
            assert!(settled <= usize::from(whole == 6), "at byte {length}");
            assert!(!verified.unfinished);
        }
    }
}

/// A decision as an earlier run wrote it.
fn decision(request_id: &str, result: Answer) -> Body<'_> {
    let request_id = request_id.into();
    let (reason, statement) = (None, None);
    let base = fixture::decision();
    Body::Decision(Box::new(record::Decision { request_id, result, reason, statement, ..base }))
}

fn outcome(of: u64, result: Ending) -> Body<'static> {
    Body::Outcome(record::Outcome {
        of,
        result,
        status: None,
        upstream_request_id: None,
        access_key: None,
        date: None,
        duration_ms: 0,
    })
}

/// A ledger of these records, so many to a segment.
fn written(records: &[Body<'_>], segment: usize) -> TempDir {
    let res = tempfile::tempdir().unwrap();
    let id = LedgerId::random();
    let mut head = Head::start(&id);
    for records in records.chunks(segment) {
        let name = segment_name(head.next());
        let mut text = Vec::new();
        for it in records {
            let members = record::to_members(it).unwrap();
            head.append(&mut text, &id, NOON.parse().unwrap(), &members);
        }
        fs::write(res.path().join(name), text).unwrap();
    }
    res
}

#[tokio::test]
async fn what_an_earlier_run_left_open_is_handed_out_until_it_is_settled() {
    let directory = written(
        &[
            decision("sent", Answer::Allow),
            decision("unknown", Answer::Allow),
            decision("settled", Answer::Allow),
            outcome(1, Ending::Sent),
            outcome(2, Ending::Unknown),
            outcome(3, Ending::Unknown),
            Body::Settlement(Settlement { of: 3, result: Ending::Present }),
            decision("open", Answer::Allow),
            decision("denied", Answer::Deny),
            decision("in doubt", Answer::Indeterminate),
            decision("late", Answer::Deny),
            outcome(11, Ending::Denied),
        ],
        4,
    );
    for _ in 0..2 {
        // The second time, because nobody settled anything the first time.
        let mut opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
        for (seq, request_id) in [(2, "unknown"), (8, "open")] {
            let pending = opened.pending.recv().await.unwrap();
            let expected = Pending {
                seq,
                time: NOON.parse().unwrap(),
                request_id: request_id.to_owned(),
                upstream: "bj4".to_owned(),
                job: policy::Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347").into(),
            };
            assert_eq!(pending, expected);
        }
        // What was decided otherwise needs no look-up.
        opened.thread.close().await.unwrap();
        assert_eq!(opened.pending.recv().await, None);
    }
    let mut opened = open(&config(directory.path()), noon(), &Metrics::new()).unwrap();
    while let Some(it) = opened.pending.recv().await {
        opened.ledger.settle(it.seq, Ending::Gone);
        if it.seq == 8 {
            break;
        }
    }
    opened.thread.close().await.unwrap();
    assert!(
        pending::open(directory.path(), &segments(directory.path()).unwrap()).unwrap().is_empty()
    );
    let mut words = words(&bodies(directory.path())).split_off(12);
    words.sort();
    assert_eq!(
        words,
        ["settled Denied 9", "settled Gone 2", "settled Gone 8", "settled Refused 10"]
    );
    assert_eq!(verify(directory.path()).unwrap().unwrap().last, 16);
}

#[tokio::test]
async fn old_segments_are_removed_a_few_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = noon();
    let start: Timestamp = NOON.parse().unwrap();
    let day = SignedDuration::from_hours(24);
    let config = Config { retain: day * 3, ..config(directory.path()) };
    let policies = policies("00ff");
    let opened = open(&config, clock.clone(), &Metrics::new()).unwrap();
    let mut seen = Vec::new();
    // A clock that jumps ahead makes retention remove at most two at a time.
    for days in [0, 1, 2, 3, 4, 5, 1000, 1001] {
        clock.set(start + day * days);
        drop(record_by(&opened.ledger, "a", &policies).await.unwrap());
        seen.push(segments(directory.path()).unwrap().len());
    }
    opened.thread.close().await.unwrap();
    assert_eq!(seen, [1, 2, 3, 4, 5, 5, 4, 3]);
    let verified = verify(directory.path()).unwrap().unwrap();
    assert!(1 < verified.first, "{verified:?}");
    assert!(open(&config, clock, &Metrics::new()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_change_of_one_line_is_found(
        segment in 1_usize..8,
        change in 0..6,
        at: Index,
        other: Index,
        byte in any::<u8>(),
    ) {
        let records: Vec<_> = (1..8).map(|it| outcome(it, Ending::Sent)).collect();
        let directory = written(&records, segment);
        prop_assert!(verify(directory.path()).unwrap().is_some_and(|it| it.last == 7));
        let firsts = segments(directory.path()).unwrap();
        let mut lines: Vec<_> = firsts
            .iter()
            .flat_map(|it| {
                let text = fs::read_to_string(directory.path().join(segment_name(*it))).unwrap();
                text.lines().map(|line| (*it, line.to_owned().into_bytes())).collect::<Vec<_>>()
            })
            .collect();
        let last = lines.len() - 1;
        let (one, two) = (at.index(lines.len()), other.index(lines.len()));
        match change {
            0 => {
                let line = &mut lines[one].1;
                let place = other.index(line.len());
                line[place] = byte;
            }
            1 => drop(lines.remove(at.index(last))),
            2 => {
                let line = lines[one].1.clone();
                lines[one].1 = lines[two].1.clone();
                lines[two].1 = line;
            }
            3 => {
                let place = lines[one].0;
                let line = lines[two].1.clone();
                lines.insert(one + 1, (place, line));
            }
            4 => {
                let line = &mut lines[one].1;
                line.insert(other.index(line.len() + 1), byte);
            }
            _ => {
                let line = &mut lines[one].1;
                line.remove(other.index(line.len()));
            }
        }
        let mut texts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (first, line) in &lines {
            texts.entry(*first).or_default().extend([&**line, b"\n"].concat());
        }
        let mut changed = texts.len() != firsts.len();
        for first in firsts {
            let file = directory.path().join(segment_name(first));
            let text = texts.remove(&first).unwrap_or_default();
            changed |= fs::read(&file).unwrap() != text;
            fs::write(file, text).unwrap();
        }
        prop_assert!(verify(directory.path()).is_err() == changed);
    }
}

/// Removing the lock file does not let a second process in.
#[test]
fn a_removed_lock_file_lets_nobody_in() {
    let directory = TempDir::new().unwrap();
    let held = Directory::open(directory.path()).unwrap();
    for _ in 0..2 {
        assert!(matches!(Directory::open(directory.path()), Err(Unopened::Locked)));
        let _ = fs::remove_file(directory.path().join("ledger.lock"));
    }
    drop(held);
    assert!(Directory::open(directory.path()).is_ok());
}
