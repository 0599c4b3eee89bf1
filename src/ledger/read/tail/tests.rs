//! Reading a ledger while it is written, and what a reader that comes later finds.

use super::*;

use crate::clock::Clock;
use crate::ledger::fixture::{config, lines as written, noon, record};
use crate::ledger::read::reader::segment_name;
use crate::ledger::{Config, Ending, Opened, open};
use crate::metrics::Metrics;

use jiff::SignedDuration;
use std::fs;
use tempfile::TempDir;

/// A ledger whose every group is a segment.
fn opened(directory: &TempDir, clock: &Clock) -> Opened {
    let retain = SignedDuration::from_hours(48);
    let config = Config { segment: 1, retain, ship: true, echo: true, ..config(directory.path()) };
    open(&config, clock.clone(), &Metrics::new()).unwrap()
}

/// Records decisions, each with its outcome: three records in two segments each.
async fn decide(opened: &Opened, count: usize) {
    for _ in 0..count {
        record(&opened.ledger, "a").await.unwrap().close(Ending::Denied.into());
    }
}

/// Waits until the ledger is closed, and reads all that is there by `read`.
async fn drain(tail: &mut Tail) -> Vec<Line> {
    let mut res = Vec::new();
    while tail.wait().await {
        res.extend(tail.read().unwrap());
    }
    res
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|it| it.text.clone()).collect()
}

#[tokio::test]
async fn what_is_shipped_is_what_was_written_over_segments_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut shipped = Vec::new();
    for run in 0..3 {
        let mut opened = opened(&directory, &noon());
        decide(&opened, 4).await;
        let mut unshipped = opened.unshipped.take().unwrap();
        let mut echo = opened.echo.take().unwrap();
        let ledger = opened.ledger.clone();
        opened.thread.close().await.unwrap();
        let lines = drain(&mut unshipped.tail).await;
        let echoed = drain(&mut echo).await;
        assert_eq!(echoed, lines[lines.len() - echoed.len()..], "this run's");
        assert_eq!(ledger.unshipped(), lines.len() as u64);
        assert!(unshipped.tail.is_closed() && unshipped.tail.is_read());
        shipped.extend(texts(&lines));
        let last = lines.last().unwrap().seq;
        if run == 1 {
            // The next run does not know that the last two were taken.
            unshipped.save(last - 2).unwrap();
            shipped.truncate(shipped.len() - 2);
            assert_eq!(ledger.unshipped(), 2);
        } else {
            unshipped.save(last).unwrap();
            assert_eq!(ledger.unshipped(), 0);
        }
    }
    assert_eq!(shipped, written(directory.path()));
    assert!(crate::ledger::verify(directory.path()).unwrap().is_some(), "no file disturbs it");
}

#[tokio::test]
async fn a_cursor_that_tells_nothing_means_everything() {
    for text in ["", "{", "{\"ledger_id\":\"x\",\"seq\":3}", "{\"ledger_id\":\"ID\",\"seq\":99}"] {
        let directory = tempfile::tempdir().unwrap();
        let first = opened(&directory, &noon());
        decide(&first, 2).await;
        let text = text.replace("ID", first.ledger.id().as_str());
        first.thread.close().await.unwrap();
        fs::write(directory.path().join("ledger.shipped"), &text).unwrap();
        let mut second = opened(&directory, &noon());
        let mut unshipped = second.unshipped.take().unwrap();
        second.thread.close().await.unwrap();
        let lines = drain(&mut unshipped.tail).await;
        assert_eq!(texts(&lines), written(directory.path()), "{text}");
    }
}

#[tokio::test]
async fn retention_waits_for_what_was_not_shipped_and_goes_on_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = noon();
    let mut opened = opened(&directory, &clock);
    let mut unshipped = opened.unshipped.take().unwrap();
    decide(&opened, 3).await;
    clock.set(clock.now() + SignedDuration::from_hours(24 * 30));
    decide(&opened, 3).await;
    assert_eq!(segments(directory.path()).unwrap().first(), Some(&1), "nothing was shipped");

    let lines = unshipped.tail.read().unwrap();
    unshipped.save(lines.last().unwrap().seq).unwrap();
    decide(&opened, 3).await;
    let oldest = segments(directory.path()).unwrap()[0];
    assert!(1 < oldest, "shipped and old");

    // A reader that fell behind for so long goes on with what is left.
    let committed = opened.ledger.committed.clone();
    let mut late = Tail::new(directory.path(), opened.ledger.id().clone(), 0, committed);
    opened.thread.close().await.unwrap();
    assert_eq!(texts(&drain(&mut late).await), written(directory.path()));
}

#[tokio::test]
async fn what_is_not_committed_is_not_read_and_what_was_changed_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let opened = opened(&directory, &noon());
    decide(&opened, 2).await;
    let id = opened.ledger.id().clone();
    opened.thread.close().await.unwrap();
    let count = written(directory.path()).len() as u64;
    for last in 0..=count {
        let (_sender, committed) = watch::channel(last);
        let mut tail = Tail::new(directory.path(), id.clone(), 0, committed);
        assert_eq!(tail.read().unwrap().len() as u64, last);
        assert!(tail.is_read() && !tail.is_closed());
    }
    let tail = |after, last| {
        let (_, committed) = watch::channel(last);
        Tail::new(directory.path(), id.clone(), after, committed)
    };
    let missing = tail(count, count + 1).read().unwrap_err();
    assert_eq!(missing.to_string(), format!("record {} is missing", count + 1));
    let path = directory.path().join(segment_name(1));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("alice", "mallory", 1)).unwrap();
    let mut tail = tail(0, count);
    assert_eq!(tail.read().unwrap().len(), 1, "what is before it is good");
    let fault = tail.read().unwrap_err().to_string();
    assert_eq!(fault, "record 2 cannot be read: the line was changed: its sum does not match");
}
