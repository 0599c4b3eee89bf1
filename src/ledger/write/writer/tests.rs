//! The thread that writes: order, groups, faults.

use super::*;

use crate::ledger::fixture::disk::{Disk, State};
use crate::ledger::fixture::{NOON, policies, query, record, record_by, words};
use crate::ledger::record::Body;
use crate::ledger::{self, Ending, Judged, Ledger, Opened, Outcome, QUEUE_MAX, Signed};
use crate::policy::{self, Answer};

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::task::JoinSet;

struct World {
    disk: Disk,
    metrics: Metrics,
    clock: Clock,
    opened: Opened,
}

impl World {
    fn new() -> Self {
        Self::with(Disk::new())
    }

    fn with(disk: Disk) -> Self {
        let clock = Clock::manual(NOON.parse().unwrap());
        let metrics = Metrics::new();
        let id = LedgerId::random();
        let at = (id.clone(), Head::start(&id));
        let (opened, _) =
            ledger::start(at, clock.clone(), Box::new(disk.clone()), LIMITS, &metrics).unwrap();
        Self { disk, metrics, clock, opened }
    }

    fn ledger(&self) -> Ledger {
        self.opened.ledger.clone()
    }

    /// The lines of the ledger's metrics that start so.
    fn metric(&self, name: &str) -> Vec<String> {
        let text = self.metrics.encode();
        let name = format!("lychgate_ledger_{name}");
        let lines = text.lines().filter_map(|it| it.strip_prefix(&name));
        let mut res: Vec<_> = lines.filter(|it| !it.ends_with(" 0")).map(str::to_owned).collect();
        res.sort_unstable();
        res
    }

    /// Everything in the file once all is written.
    async fn finish(self) -> Vec<Body<'static>> {
        self.opened.thread.close().await.unwrap();
        self.disk.records(self.opened.ledger.id())
    }
}

const LIMITS: Limits =
    Limits { reserve_bytes: 100, segment_bytes: 50_000, retain: SignedDuration::MAX, signer: None };

#[tokio::test]
async fn a_decision_is_stored_before_its_request_goes_on() {
    let world = World::new();
    let entry = record(&world.ledger(), "a").await.unwrap();
    let records = world.disk.records(world.opened.ledger.id());
    assert_eq!(words(&records), ["policies 00ff", "decision a"]);
    assert_eq!((entry.seq(), world.disk.change(|it| it.syncs)), (2, 1));
    let Body::Decision(decision) = &records[1] else { panic!() };
    assert_eq!(decision.result, Answer::Allow);
    assert_eq!(
        decision.resource,
        "modelarts:cn-north-4:123:trainJob:3faf5c03-aaa1-4cbe-879d-24b05d997347"
    );
    assert_eq!(format!("{:?}", decision.query()), format!("{:?}", query("curl/8")));

    entry.close(Outcome {
        result: Ending::Sent,
        status: Some(202),
        upstream_request_id: Some("ü".repeat(1000)),
    });
    let records = world.finish().await;
    let Some(Body::Outcome(outcome)) = records.last() else { panic!() };
    assert_eq!((outcome.of, outcome.result, outcome.status), (2, Ending::Sent, Some(202)));
    assert_eq!(outcome.upstream_request_id.as_deref(), Some(&*"ü".repeat(128)));
}

#[tokio::test]
async fn an_entry_that_is_dropped_gets_its_outcome() {
    let world = World::new();
    let ledger = world.ledger();
    drop(record(&ledger, "a").await.unwrap());
    let mut entry = record(&ledger, "b").await.unwrap();
    entry.sending(signed());
    drop(entry);
    let mut entry = record(&ledger, "c").await.unwrap();
    let panic = catch_unwind(AssertUnwindSafe(move || {
        entry.sending(signed());
        panic!("a handler panics");
    }));
    assert!(panic.is_err());
    let mut entry = record(&ledger, "d").await.unwrap();
    entry.sending(signed());
    entry.close(Ending::Gone.into());
    ledger.settle(3, Ending::Present);

    let mut world = world;
    world.opened.thread.close().await.unwrap();
    let mut pending = Vec::new();
    while let Some(it) = world.opened.pending.recv().await {
        assert_eq!((it.upstream.as_str(), it.job.project_id.as_str()), ("bj4", "0a1b2c"));
        assert_eq!(it.time, NOON.parse().unwrap());
        pending.push((it.seq, it.request_id));
    }
    let mut words = words(&world.disk.records(ledger.id()));
    let decisions = words.extract_if(.., |it| it.starts_with("dec")).count();
    assert_eq!(decisions, 4);
    // The decisions are 2, 4, 6, 8: each waits for its own sync and takes the outcome before it
    // along. If an outcome has a group of its own, the numbers stay the same.
    assert_eq!(
        words,
        ["policies 00ff", "NotSent 2", "Unknown 4", "Unknown 6", "Gone 8", "settled Present 3"]
    );
    let expected = [(4, "b".to_owned()), (6, "c".to_owned())];
    assert_eq!(pending, expected);
}

#[tokio::test]
async fn a_request_that_vanishes_while_it_waits_sends_nothing() {
    let world = World::new();
    world.disk.change(|it| it.held = true);
    let ledger = world.ledger();
    {
        let policies = policies("00ff");
        let mut waiting = Box::pin(record_by(&ledger, "a", &policies));
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    world.disk.change(|it| it.held = false);
    assert_eq!(words(&world.finish().await), ["policies 00ff", "decision a", "NotSent 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_share_a_sync_and_each_gets_one_outcome() {
    const TASKS: usize = 400;
    let world = World::new();
    world.disk.change(|it| it.held = true);
    let mut tasks = JoinSet::new();
    let mut spawn = |index: usize| {
        let ledger = world.ledger();
        tasks.spawn(async move {
            let mut entry = record(&ledger, &index.to_string()).await.unwrap();
            let seq = entry.seq();
            match index % 3 {
                0 => entry.close(Ending::Denied.into()),
                1 => drop(entry),
                _ => entry.sending(signed()),
            }
            (seq, index)
        });
    };
    // The first is held at its sync, and all others wait behind it.
    spawn(0);
    while world.disk.change(|it| it.segments.is_empty()) {
        tokio::task::yield_now().await;
    }
    (1..TASKS).for_each(&mut spawn);
    while world.ledger().queue.decisions() < TASKS - 1 {
        tokio::task::yield_now().await;
    }
    world.disk.change(|it| it.held = false);
    let expected: BTreeMap<u64, usize> = tasks.join_all().await.into_iter().collect();
    // After the policies and the first: no outcome is between them, so they were one group.
    let one_group = (2..).take(TASKS).collect::<Vec<_>>();
    assert_eq!(expected.keys().copied().collect::<Vec<_>>(), one_group);
    let records = world.finish().await;

    let mut decisions = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    for (seq, body) in (1..).zip(&records) {
        match body {
            Body::Decision(it) => {
                decisions.insert(seq, it.request_id.parse().unwrap());
            }
            Body::Outcome(it) => {
                assert!(decisions.contains_key(&it.of), "the decision comes first");
                assert_eq!(outcomes.insert(it.of, it.result), None, "one outcome");
            }
            _ => (),
        }
    }
    assert_eq!(decisions, expected, "a request has the number of its own record");
    for (seq, index) in expected {
        let ending = [Ending::Denied, Ending::NotSent, Ending::Unknown][index % 3];
        assert_eq!(outcomes.remove(&seq), Some(ending));
    }
    assert!(outcomes.is_empty());
}

#[tokio::test]
async fn a_failed_write_is_undone_and_loses_no_outcome() {
    let world = World::new();
    let ledger = world.ledger();
    let entry = record(&ledger, "a").await.unwrap();
    for room in [0, 1, 300, 700] {
        world.disk.change(|it| it.room = Some(room));
        assert!(matches!(record(&ledger, "b").await, Err(Error::Write(_))));
        assert_eq!(ledger.status(), Status::Unwritable);
    }
    world.disk.change(|it| it.room = Some(10));
    entry.close(Ending::Denied.into());
    assert!(matches!(record(&ledger, "c").await, Err(Error::Write(_))));
    let records = world.disk.records(ledger.id());
    assert_eq!(words(&records), ["policies 00ff", "decision a"], "no trace, no gap");

    world.disk.change(|it| it.room = None);
    let entry = record(&ledger, "d").await.unwrap();
    assert_eq!((entry.seq(), ledger.status()), (4, Status::Writable));
    // The outcome may have come with the last decision or before it.
    let failures = world.metric("failures_total");
    assert!(matches!(&*failures, [it] if it.starts_with(r#"{what="write"} "#)), "{failures:?}");
    let committed = [r#"{kind="decision"} 2"#, r#"{kind="outcome"} 1"#, r#"{kind="policies"} 1"#];
    assert_eq!(world.metric("records_total"), committed);
    entry.close(Ending::Denied.into());
    assert_eq!(
        words(&world.finish().await),
        ["policies 00ff", "decision a", "Denied 2", "decision d", "Denied 4"]
    );
}

#[tokio::test]
async fn what_cannot_be_written_until_the_end_is_an_error() {
    let world = World::new();
    let entry = record(&world.ledger(), "a").await.unwrap();
    world.disk.change(|it| it.room = Some(10));
    entry.close(Ending::Denied.into());
    assert!(world.opened.thread.close().await.is_err());
    let records = world.disk.records(world.opened.ledger.id());
    assert_eq!(words(&records), ["policies 00ff", "decision a"]);
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let faults: [fn(&mut State); 2] =
        [|it| it.sync_fails = true, |it| (it.room, it.truncate_fails) = (Some(3), true)];
    for fault in faults {
        let world = World::new();
        let ledger = world.ledger();
        let mut failed = Box::pin(ledger.failed());
        let entry = record(&ledger, "a").await.unwrap();
        assert!(futures_util::poll!(&mut failed).is_pending());
        world.disk.change(fault);
        assert!(matches!(record(&ledger, "b").await, Err(Error::Failed)));
        failed.await;
        world.disk.change(|it| (it.room, it.sync_fails, it.truncate_fails) = (None, false, false));
        assert!(matches!(record(&ledger, "c").await, Err(Error::Failed)));
        entry.close(Ending::Denied.into());
        assert_eq!(ledger.status(), Status::Failed);
        assert!(world.opened.thread.close().await.is_err());
    }
}

#[tokio::test]
async fn below_the_reserve_only_what_ends_decisions_is_written() {
    let world = World::new();
    let ledger = world.ledger();
    let entry = record(&ledger, "a").await.unwrap();
    world.disk.change(|it| it.free = LIMITS.reserve_bytes - 1);
    assert!(matches!(record(&ledger, "b").await, Err(Error::Full)));
    assert_eq!(ledger.status(), Status::Full);
    entry.close(Ending::Denied.into());
    ledger.settle(7, Ending::Gone);
    assert!(matches!(record(&ledger, "c").await, Err(Error::Full)));
    // A refusal does not wait for what is written.
    ledger.flushed().await;
    let records = words(&world.disk.records(ledger.id()));
    assert_eq!(records, ["policies 00ff", "decision a", "Denied 2", "settled Gone 7"]);

    assert_eq!(world.metric("failures_total"), [r#"{what="reserve"} 2"#]);
    assert_eq!(world.metric("free_bytes"), [" 99"]);
    world.disk.change(|it| it.free = LIMITS.reserve_bytes);
    drop(record(&ledger, "d").await.unwrap());
    assert_eq!(ledger.status(), Status::Writable);
}

#[tokio::test]
async fn more_decisions_than_may_wait_are_refused_at_once() {
    let world = World::new();
    world.disk.change(|it| it.held = true);
    let ledger = world.ledger();
    let policies = policies("00ff");
    let mut waiting: Vec<_> =
        (0..=2 * QUEUE_MAX).map(|_| Box::pin(record_by(&ledger, "a", &policies))).collect();
    let mut busy = 0;
    for it in &mut waiting {
        if let std::task::Poll::Ready(result) = futures_util::poll!(it) {
            assert!(matches!(result, Err(Error::Busy)));
            busy += 1;
        }
    }
    // The writer holds one group, of at most what may wait.
    assert!(0 < busy, "{busy}");
    drop(waiting);
    world.disk.change(|it| it.held = false);
    let records = words(&world.finish().await);
    let count = |word: &str| records.iter().filter(|it| it.starts_with(word)).count();
    assert_eq!(count("decision"), 2 * QUEUE_MAX + 1 - busy);
    assert_eq!(count("NotSent"), count("decision"));
}

#[tokio::test]
async fn each_segment_holds_the_text_of_the_policies_that_judged_in_it() {
    let disk = Disk::new();
    let world = World::with(disk.clone());
    let ledger = world.ledger();
    let (old, new) = (policies("01"), policies("02"));
    ledger.loaded(&old);
    for (hours, request_id, policies) in [
        (0, "a", &old),
        (1, "b", &old),
        (2, "c", &new),
        (3, "d", &old),
        (24, "e", &old),
        (25, "f", &new),
        // A clock that goes back starts no segment.
        (-100, "g", &new),
    ] {
        let noon: Timestamp = NOON.parse().unwrap();
        world.clock.set(noon + SignedDuration::from_hours(hours));
        let entry = record_by(&ledger, request_id, policies).await.unwrap();
        let seq = entry.seq();
        entry.close(Ending::Denied.into());
        ledger.settle(seq, Ending::Gone);
        // So that the outcome is in the same segment.
        while !words(&disk.records(ledger.id())).contains(&format!("settled Gone {seq}")) {
            tokio::task::yield_now().await;
        }
    }
    let mut records = words(&world.finish().await);
    records.retain(|it| it.starts_with("dec") || it.starts_with("pol"));
    assert_eq!(
        records.join(", "),
        "policies 01, decision a, decision b, policies 02, decision c, decision d, \
         policies 01, decision e, policies 02, decision f, decision g"
    );
    assert_eq!(disk.change(|it| it.segments.len()), 2);
}

#[tokio::test]
async fn a_long_segment_gets_no_more_groups() {
    let world = World::new();
    let ledger = world.ledger();
    for _ in 0..100 {
        record(&ledger, "a").await.unwrap().close(Ending::Denied.into());
    }
    let disk = world.disk.clone();
    let records = world.finish().await;
    let segments = disk.change(|it| it.segments.values().map(Vec::len).collect::<Vec<_>>());
    let limit = usize::try_from(LIMITS.segment_bytes).unwrap();
    assert!(2 < segments.len());
    assert!(segments.iter().all(|it| *it < limit + 4096), "{segments:?}");
    assert!(segments.iter().rev().skip(1).all(|it| limit <= *it), "{segments:?}");
    let count = records.iter().filter(|it| matches!(it, Body::Policies(_))).count();
    assert_eq!(count, segments.len(), "the policies are in each");
}

#[tokio::test]
async fn a_segment_that_cannot_be_created_is_tried_again() {
    let disk = Disk::new();
    disk.change(|it| it.create_fails = true);
    let world = World::with(disk.clone());
    assert!(matches!(record(&world.ledger(), "a").await, Err(Error::Write(_))));
    disk.change(|it| it.create_fails = false);
    drop(record(&world.ledger(), "b").await.unwrap());
    assert_eq!(words(&world.finish().await), ["policies 00ff", "decision b", "NotSent 2"]);
}

#[tokio::test]
async fn a_record_that_is_too_long_never_waits() {
    let world = World::new();
    let ledger = world.ledger();
    let judge = async |user_agent: &str| {
        let query = query(user_agent);
        let doubt = policy::Doubt { wanted: policy::Sources::default() };
        let judged = Judged {
            request_id: "a",
            caller_request_id: Some("theirs"),
            trace_id: "",
            peer: Some([10, 0, 0, 1].into()),
            upstream: "bj4",
            query: &query,
            attributes: &policy::Attributes::default(),
            decision: policy::Decision::Indeterminate(doubt),
            policies: &policies("00ff"),
            look_ups: &[],
            unit: None,
            batch: None,
            shadow: None,
        };
        (ledger.fits(&query).is_ok(), ledger.record(judged).await.is_ok())
    };
    for (user_agent, expected) in [
        ("x".repeat(40_000), (true, true)),
        ("x".repeat(50_000), (false, true)),
        ("x".repeat(65_536), (false, false)),
        ("\u{1}".repeat(7_000), (false, true)),
        ("\u{1}".repeat(12_000), (false, false)),
    ] {
        assert_eq!(judge(&user_agent).await, expected);
    }
    let records = world.finish().await;
    let verdicts = records.iter().filter_map(|it| match it {
        Body::Decision(it) => Some((it.result, it.caller_request_id.as_deref())),
        _ => None,
    });
    let expected = (Answer::Indeterminate, Some("theirs"));
    assert_eq!(verdicts.collect::<Vec<_>>(), [expected; 3]);
}

#[test]
fn a_writer_finds_out_by_itself_that_it_can_write_again() {
    let disk = Disk::new();
    let id = LedgerId::random();
    let (status, watched) = watch::channel(Status::Writable);
    let (pending, _) = mpsc::channel(1);
    let channels = Channels {
        queue: Arc::default(),
        status,
        pending,
        committed: watch::Sender::new(0),
        shipped: Shipped::default(),
        metrics: Metrics::new(),
    };
    let at = (id.clone(), Head::start(&id));
    let clock = Clock::manual(NOON.parse().unwrap());
    let mut writer = Writer::new(at, clock, Box::new(disk.clone()), channels, LIMITS);
    let note = |members: &str| {
        let members = members.as_bytes().to_vec();
        vec![Item::Note(Note { kind: Kind::Settlement, members, pending: None })]
    };
    writer.commit(note(r#""kind":"settlement","of":1,"result":"gone""#)).unwrap();
    disk.change(|it| it.room = Some(0));
    writer.commit(vec![Item::Policies(policies("00ff"))]).unwrap();
    assert_eq!(*watched.borrow(), Status::Unwritable);
    writer.commit(Vec::new()).unwrap();
    assert_eq!(*watched.borrow(), Status::Unwritable);
    disk.change(|it| it.room = None);
    writer.commit(Vec::new()).unwrap();
    assert_eq!(*watched.borrow(), Status::Writable);
    writer.commit(note(r#""kind":"settlement","of":2,"result":"gone""#)).unwrap();
    assert_eq!(words(&disk.records(&id)), ["settled Gone 1", "settled Gone 2"]);
}

fn signed() -> Signed {
    Signed { access_key: "AK".to_owned(), date: "20260115T120000Z".to_owned() }
}
