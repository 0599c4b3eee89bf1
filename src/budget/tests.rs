//! Units from taking to leaving, also while another version comes into force.

use super::*;
use crate::policy::{Action, Attribute, Files, Job, Limits, Method, Principal, Set};

use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::task::TaskTracker;

const DOCUMENT: &str = r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"]}]}"#;

const ONE_EACH: &str = "budgets:
  - {name: person, per: principal, deletes: 2, within: 10s}
  - {name: project, per: project, deletes: 3, within: 20s}
";

fn start() -> Timestamp {
    "2026-01-15T12:00:00Z".parse().unwrap()
}

fn policy(text: &str) -> Arc<policy::Budgets> {
    let files: Files =
        [("guardrails/g.json", DOCUMENT), (policy::BUDGETS, text)].into_iter().collect();
    let compiled = Set::compile(&files, &Limits::default());
    let set = compiled.set.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    Arc::clone(set.budgets())
}

fn query(name: &str, project: &str) -> Query {
    let principal = Principal::new("corp", name, [], BTreeMap::new(), Method::Jwt);
    Query {
        principal: Arc::new(principal),
        action: Action::Delete,
        job: Arc::new(Job::new(project, "j")),
        region: "r".to_owned(),
        account: "a".to_owned(),
        now: start(),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    }
}

/// Counters for `text`, from [`start`] on.
async fn opened(text: &str) -> (Budgets, Room) {
    let budgets = Budgets::new(start());
    let room = budgets.open(&policy(text));
    budgets.filled(&room).await;
    (budgets, room)
}

async fn take(budgets: &Budgets, room: &Room, name: &str, project: &str) -> Result<Unit, Spent> {
    match budgets.take(&room.budgets, &query(name, project), &Attributes::default()).await {
        Ok(it) => Ok(it),
        Err(Refused::Spent(it)) => Err(it),
        Err(Refused::Away) => panic!("there is no database"),
    }
}

/// What is used, as `budget key used`.
fn uses(budgets: &Budgets) -> Vec<String> {
    let them = budgets.uses();
    them.iter().map(|it| format!("{} {} {}", it.budget, it.key, it.used)).collect()
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn every_budget_that_fits_must_have_room() {
    let (budgets, room) = opened(ONE_EACH).await;
    let first = take(&budgets, &room, "alice", "p1").await.unwrap();
    let charges: Vec<_> = first.charges().iter().map(|it| (&*it.budget, &*it.key)).collect();
    assert_eq!(charges, [("person", "corp/alice"), ("project", "p1")]);
    first.end(End::Kept);
    pass(4).await;
    take(&budgets, &room, "alice", "p1").await.unwrap().end(End::Kept);
    let spent = take(&budgets, &room, "alice", "p2").await.unwrap_err();
    assert_eq!((&*spent.budget, &*spent.key, spent.limit), ("person", "corp/alice", 2));
    assert_eq!(spent.room_at, Some(start() + Duration::from_secs(10)));
    assert_eq!(spent.now, start() + Duration::from_secs(4));
    // What one budget refuses takes nothing of the other.
    assert_eq!(uses(&budgets), ["person corp/alice 2", "project p1 2"]);
    take(&budgets, &room, "bob", "p1").await.unwrap().end(End::Kept);
    // Of two without room, the one that has room last is told.
    let spent = take(&budgets, &room, "alice", "p1").await.unwrap_err();
    assert_eq!(
        (&*spent.budget, spent.room_at),
        ("project", Some(start() + Duration::from_secs(20)))
    );
    pass(6).await;
    assert!(take(&budgets, &room, "alice", "p2").await.is_ok());
    assert_eq!(uses(&budgets), ["person corp/alice 1", "person corp/bob 1", "project p1 3"]);
    pass(100).await;
    assert!(uses(&budgets).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_unit_ends_once_and_in_every_way() {
    let (budgets, room) = opened(ONE_EACH).await;
    for (end, used) in [(End::GivenBack, 0), (End::Kept, 1), (End::Unknown, 1)] {
        take(&budgets, &room, "alice", "p1").await.unwrap().end(end);
        assert_eq!(budgets.uses().iter().map(|it| it.used).max().unwrap_or(0), used, "{end:?}");
        pass(30).await;
    }
    // Dropped, as when the work panics.
    drop(take(&budgets, &room, "alice", "p1").await.unwrap());
    assert!(uses(&budgets).is_empty());
}

/// A delete that takes its time counts until it has ended and a whole window longer.
#[tokio::test(start_paused = true)]
async fn a_unit_at_work_does_not_grow_old() {
    let (budgets, room) = opened(ONE_EACH).await;
    let slow =
        [take(&budgets, &room, "alice", "p1").await, take(&budgets, &room, "alice", "p1").await];
    pass(100).await;
    let spent = take(&budgets, &room, "alice", "p1").await.unwrap_err();
    assert_eq!(spent.room_at, None);
    for it in slow {
        it.unwrap().end(End::Kept);
    }
    pass(9).await;
    assert!(take(&budgets, &room, "alice", "p1").await.is_err());
    pass(1).await;
    assert!(take(&budgets, &room, "alice", "p1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_counts_until_it_is() {
    let (budgets, room) = opened(ONE_EACH).await;
    let unknown = async |seq| {
        let mut unit = take(&budgets, &room, "alice", "p1").await.unwrap();
        unit.recorded(seq);
        unit.end(End::Unknown);
    };
    unknown(7).await;
    unknown(8).await;
    assert!(take(&budgets, &room, "alice", "p1").await.is_err());
    budgets.settle(7, End::Kept);
    assert!(take(&budgets, &room, "alice", "p1").await.is_err());
    budgets.settle(8, End::GivenBack);
    // Neither twice, nor what was kept.
    budgets.settle(8, End::GivenBack);
    budgets.settle(7, End::GivenBack);
    assert_eq!(uses(&budgets), ["person corp/alice 1", "project p1 1"]);
    pass(10).await;
    assert_eq!(uses(&budgets), ["project p1 1"]);
}

fn past(seq: u64, name: &str, end: PastEnd) -> Past {
    Past { seq, unit: None, query: query(name, "p1"), attributes: Attributes::default(), end }
}

fn before(seconds: i64) -> Timestamp {
    start() - SignedDuration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_past_counts() {
    let budgets = Budgets::new(start());
    let room = budgets.open(&policy(ONE_EACH));
    for it in [
        past(1, "alice", PastEnd::Kept(before(30))),
        past(2, "alice", PastEnd::Kept(before(15))),
        past(3, "alice", PastEnd::Unknown(before(5))),
        // Cut off by a crash: it may have been sent until now.
        past(4, "bob", PastEnd::Open(before(19))),
        past(5, "carol", PastEnd::Open(before(301))),
        // The clock was set back since.
        past(6, "dave", PastEnd::Kept(start() + Duration::from_secs(60))),
    ] {
        budgets.fill(&room, &it);
    }
    budgets.filled(&room).await;
    assert_eq!(
        uses(&budgets),
        [
            "person corp/alice 1",
            "person corp/bob 1",
            "person corp/carol 1",
            "person corp/dave 1",
            "project p1 5",
        ]
    );
    budgets.settle(3, End::GivenBack);
    budgets.settle(4, End::Kept);
    budgets.settle(5, End::GivenBack);
    assert_eq!(uses(&budgets), ["person corp/bob 1", "person corp/dave 1", "project p1 3"]);
}

/// A version that comes into force while deletes are at work misses none of them and counts none
/// twice.
#[tokio::test(start_paused = true)]
async fn another_version_sees_the_past_at_once() {
    let (budgets, old) = opened(ONE_EACH).await;
    let recorded = async |seq, name: &str| {
        let mut unit = take(&budgets, &old, name, "p1").await.unwrap();
        unit.recorded(seq);
        unit
    };
    let at_work = recorded(1, "alice").await;
    let given_back = recorded(2, "bob").await;
    let mut not_recorded = take(&budgets, &old, "carol", "p1").await.unwrap();
    let all = policy("budgets: [{name: all, per: all, deletes: 9, within: 1h}]");
    let new = budgets.open(&all);
    assert!(!budgets.is_recorded(&new));
    not_recorded.recorded(3);
    assert!(budgets.is_recorded(&new));
    given_back.end(End::GivenBack);
    not_recorded.end(End::Unknown);
    // Taken by the old version: counted in both.
    let mut meanwhile = take(&budgets, &old, "dave", "p2").await.unwrap();
    meanwhile.recorded(4);
    for (seq, name, end) in [
        (0, "eve", PastEnd::Kept(start())),
        (1, "alice", PastEnd::Open(start())),
        (2, "bob", PastEnd::Open(start())),
        (3, "carol", PastEnd::Open(start())),
        (4, "dave", PastEnd::Open(start())),
    ] {
        budgets.fill(&new, &past(seq, name, end));
    }
    budgets.filled(&new).await;
    // alice, carol, dave, eve.
    assert_eq!(uses(&budgets), ["all * 4"]);
    budgets.settle(3, End::GivenBack);
    at_work.end(End::GivenBack);
    meanwhile.end(End::GivenBack);
    assert_eq!(uses(&budgets), ["all * 1"]);
    // Who was judged by the old version is held to it, and counts in the new one.
    let late =
        [take(&budgets, &old, "alice", "p1").await, take(&budgets, &old, "alice", "p1").await];
    assert!(take(&budgets, &old, "alice", "p1").await.is_err());
    assert_eq!(uses(&budgets), ["all * 3"]);
    drop(late);
    assert!(budgets.knows(&all));
    assert!(!budgets.knows(&policy(ONE_EACH)));
    assert_eq!(uses(&budgets), ["all * 1"]);
}

#[tokio::test(start_paused = true)]
async fn memory_is_given_back() {
    let (budgets, room) = opened(ONE_EACH).await;
    for it in 0..1000 {
        let mut unit = take(&budgets, &room, &format!("u{it}"), &format!("p{it}")).await.unwrap();
        unit.recorded(it);
        unit.end(End::Unknown);
    }
    pass(61).await;
    drop(take(&budgets, &room, "alice", "p1").await);
    assert_eq!(budgets.lock().size(), (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_the_limit_are_taken_at_once() {
    let (budgets, room) = opened("budgets: [{name: a, per: all, deletes: 20, within: 1h}]").await;
    let tasks = (0..200).map(|_| {
        let (budgets, room) = (budgets.clone(), room.clone());
        TaskTracker::new().spawn(async move { take(&budgets, &room, "alice", "p1").await })
    });
    let mut taken = Vec::new();
    for it in tasks.collect::<Vec<_>>() {
        taken.extend(it.await.unwrap());
    }
    assert_eq!(taken.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_past_that_was_not_read_to_its_end_is_counted_anew() {
    let (budgets, policies) = (Budgets::new(start()), policy(ONE_EACH));
    let past = Past {
        seq: 1,
        unit: None,
        query: query("alice", "p"),
        attributes: Attributes::default(),
        end: PastEnd::Kept(start()),
    };
    for _ in 0..3 {
        budgets.fill(&budgets.open(&policies), &past);
    }
    let room = budgets.open(&policies);
    budgets.fill(&room, &past);
    budgets.filled(&room).await;
    assert_eq!(uses(&budgets), ["person corp/alice 1", "project p 1"]);
    assert_eq!(budgets.lock().size().0, 2, "what was given up is forgotten");
}
