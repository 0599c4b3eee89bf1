//! Budgets end to end: what reaches the cloud, what callers are told, what is recorded, and what is
//! known after a restart or a reload.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http::{self, Answer};
use crate::support::world::{
    Builder, FINISHED, PROJECT, PROTECTED, UNKNOWN, World, delete_head, poll, put,
};

use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Fault, Job, Operation, Reset};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Everybody may delete everything, within these budgets.
fn world(budgets: &str) -> Builder {
    World::builder()
        .policies(&[ALLOW_ALL[0], ALLOW_ALL[1], ("budgets.yaml", budgets)])
        .config("timeouts:", "limits: {per_principal: {rate: 100000, burst: 100000}}\ntimeouts:")
}

/// A new job, which a delete takes away.
fn insert(world: &World) -> String {
    let id = Uuid::new_v4().to_string();
    let now = Clock::system().now();
    world.emulator.insert(Job::new(PROJECT, &id, "n", now).with_phase("Completed"));
    id
}

async fn delete(world: &World, name: &str) -> Answer {
    let job = insert(world);
    world.delete(name, &job).await
}

fn said(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code().unwrap_or_default())
}

const OVER: (u16, &str) = (429, "Lychgate.4292");

fn is_over(answer: &Answer) -> bool {
    said(answer) == (OVER.0, OVER.1.to_owned())
}

/// The script in a clean-up job whose filter is wrong.
/// Attack 79.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_deletes_at_once_a_budget_of_twenty_lets_twenty_through() {
    let world = world("budgets: [{name: per-person, per: principal, deletes: 20, within: 1h}]");
    let world = world.start().await;
    let token = world.token("alice");
    let tasks = (0..200).map(|_| {
        let (gate, head) = (world.gate, delete_head(&token, &insert(&world)));
        TaskTracker::new().spawn(async move { http::send(gate, head.as_bytes()).await })
    });
    let mut over = Vec::new();
    for it in tasks.collect::<Vec<_>>() {
        let answer = it.await.unwrap();
        match answer.status {
            202 => (),
            _ => over.push(answer),
        }
    }
    assert_eq!((over.len(), world.emulator.counts().delete), (180, 20));
    let answer =
        over.iter().find(|it| it.message().contains("there is room again")).unwrap_or(&over[0]);
    assert!(over.iter().all(is_over));
    let wait: u64 = over[0].header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let text = "the budget `per-person` is spent: 20 deletes within 1h for `corp/alice`; ";
    assert!(answer.message().starts_with(text), "{}", answer.message());
    // Somebody else has a budget of their own.
    assert_eq!(delete(&world, "bob").await.status, 202);

    let decisions = world.records("decision");
    let of =
        |result: &str| decisions.iter().filter(|it| it["result"] == result).collect::<Vec<_>>();
    let (allowed, denied) = (of("allow"), of("deny"));
    assert_eq!((allowed.len(), denied.len()), (21, 180));
    for it in denied {
        assert_eq!((&it["reason"], &it["budget"]), (&json!("over_budget"), &json!("per-person")));
        assert_eq!(it["charges"], Value::Null);
    }
    assert_eq!(allowed[0]["charges"], json!([{"budget": "per-person", "key": "corp/alice"}]));
    world.measures("lychgate_budget_denials_total{budget=\"per-person\"} 180").await;
    world.measures("lychgate_decisions_total{action=\"delete\",result=\"deny\",reason=\"over_budget\"} 180").await;
    world.measures("lychgate_budget_used_ratio{budget=\"per-person\"} 1.0").await;
    world.measures("lychgate_budgets 1").await;
}

/// All of a batch fits into a budget, or none of it.
#[tokio::test]
async fn a_batch_takes_a_unit_for_each_job_or_none() {
    let world = world("budgets: [{name: per-person, per: principal, deletes: 5, within: 1h}]");
    let world = world.start().await;
    let batch = async |count: usize| {
        let item = |_| json!({"kind": "job", "metadata": {"id": insert(&world)}});
        let body = json!({"jobs": (0..count).map(item).collect::<Vec<_>>()}).to_string();
        let head = delete_head(&world.token("alice"), "batch-delete").replacen("DELETE", "POST", 1);
        let fields = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let head = head.strip_suffix("\r\n").unwrap();
        http::send(world.gate, format!("{head}{fields}").as_bytes()).await
    };
    let used = async |used: &str| {
        world
            .measures(&format!("lychgate_budget_used_ratio{{budget=\"per-person\"}} {used}"))
            .await;
    };
    for (count, status, deleted, ratio) in
        [(2, 202, 2, "0.4"), (4, 429, 2, "0.4"), (3, 202, 5, "1.0"), (1, 429, 5, "1.0")]
    {
        let answer = batch(count).await;
        assert_eq!((answer.status, world.emulator.counts().delete), (status, deleted), "{count}");
        if status == 429 {
            assert!(is_over(&answer), "{}", answer.message());
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((3500..=3600).contains(&wait), "{wait}");
        }
        used(ratio).await;
    }
}

#[tokio::test]
async fn there_is_a_brake_where_nobody_asked_for_one() {
    let world = World::builder().default_budgets().policies(ALLOW_ALL).start().await;
    for _ in 0..50 {
        assert_eq!(delete(&world, "alice").await.status, 202);
    }
    let answer = delete(&world, "alice").await;
    assert!(is_over(&answer));
    assert!(answer.message().contains("`per-principal`"), "{}", answer.message());
    assert_eq!(world.emulator.counts().delete, 50);
}

#[tokio::test]
async fn callers_are_not_told_the_name_where_denials_are_codes() {
    let world = world("budgets: [{name: per-person, per: principal, deletes: 1, within: 1h}]")
        .config("{directory: policies}", "{directory: policies, denials: code}")
        .start()
        .await;
    assert_eq!(delete(&world, "alice").await.status, 202);
    let answer = delete(&world, "alice").await;
    assert!(is_over(&answer));
    let text = "a budget for deletes is spent; there is room again at ";
    assert!(answer.message().starts_with(text), "{}", answer.message());
}

/// Nobody learns of a budget, and nobody uses one up, by asking for what is not allowed.
#[tokio::test]
async fn what_is_not_allowed_takes_nothing() {
    // The shipped policies, with a budget that a single unit fills.
    let world = World::start().await;
    put(
        world.directory.path(),
        "policies/budgets.yaml",
        "budgets: [{name: one, per: all, deletes: 1, within: 1h}]",
    );
    world.measures("lychgate_budgets 1").await;
    let unseen = Fault::new(Effect::Internal).at(Operation::Details);
    for (name, job, fault, expected) in [
        ("alice", PROTECTED, None, 403),
        ("carol", FINISHED, None, 403),
        ("alice", UNKNOWN, None, 400),
        ("alice", FINISHED, Some(unseen), 503),
    ] {
        if let Some(fault) = fault {
            world.emulator.fault(fault);
        }
        assert_eq!(world.delete(name, job).await.status, expected, "{name} {job}");
        world.measures("lychgate_budget_used_ratio{budget=\"one\"} 0.0").await;
    }
    world.emulator.clear_faults();
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    world.measures("lychgate_budget_used_ratio{budget=\"one\"} 1.0").await;
    // And the policies go first.
    assert_eq!(world.delete("alice", PROTECTED).await.status, 403);
}

#[tokio::test]
async fn only_what_may_have_been_deleted_counts() {
    for (effect, counts) in [
        (Effect::Throttled { retry_after_s: 7 }, false),
        (Effect::Forbidden, false),
        (Effect::KeyRefused, false),
        (Effect::Internal, true),
        (Effect::Html, true),
        (Effect::Reset { when: Reset::Done }, true),
        (Effect::Reset { when: Reset::Arrived }, true),
        (Effect::Redirect { status: 307, location: "http://127.0.0.1:1/".to_owned() }, true),
    ] {
        let world = world("budgets: [{name: one, per: all, deletes: 1, within: 1h}]");
        let world = world.start().await;
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete).times(1));
        delete(&world, "alice").await;
        world.outcomes(1).await;
        let line = format!("lychgate_budget_used_ratio{{budget=\"one\"}} {}.0", u8::from(counts));
        world.measures(&line).await;
    }
    // A job that the cloud does not know: a 4xx on the delete itself.
    let world = world("budgets: [{name: one, per: all, deletes: 1, within: 1h}]").start().await;
    assert_eq!(world.delete("alice", UNKNOWN).await.status, 400);
    assert_eq!(world.emulator.counts().delete, 1);
    assert_eq!(delete(&world, "alice").await.status, 202);
}

#[tokio::test]
async fn what_is_in_doubt_counts_until_it_is_settled() {
    let world = world("budgets: [{name: one, per: all, deletes: 1, within: 1h}]")
        .config("ledger: {directory: ledger}", "ledger: {directory: ledger}\nsettle: {window: 2s}")
        .start()
        .await;
    let reset = Effect::Reset { when: Reset::Arrived };
    world.emulator.fault(Fault::new(reset).at(Operation::Delete).times(1));
    assert_eq!(delete(&world, "alice").await.status, 504);
    assert!(is_over(&delete(&world, "alice").await));
    poll(|| world.records("settlement").first().map(|it| assert_eq!(it["result"], "present")))
        .await;
    assert_eq!(delete(&world, "alice").await.status, 202);
}

#[tokio::test]
async fn room_comes_back_when_it_was_told() {
    let world = world("budgets: [{name: two, per: all, deletes: 2, within: 2s}]").start().await;
    for _ in 0..2 {
        assert_eq!(delete(&world, "alice").await.status, 202);
    }
    let (over, asked) = (delete(&world, "alice").await, Instant::now());
    assert!(is_over(&over));
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    tokio::time::sleep_until(asked + Duration::from_secs(wait)).await;
    assert_eq!(delete(&world, "alice").await.status, 202);
}

#[tokio::test]
async fn a_restart_knows_what_was_deleted() {
    let world = world("budgets: [{name: four, per: all, deletes: 4, within: 1h}]").start().await;
    assert_eq!(delete(&world, "alice").await.status, 202);
    world.emulator.fault(Fault::new(Effect::Forbidden).at(Operation::Delete).times(1));
    assert_eq!(delete(&world, "alice").await.status, 403);
    world.emulator.fault(Fault::new(Effect::Internal).at(Operation::Delete).times(1));
    assert_eq!(delete(&world, "alice").await.status, 500);
    let world = world.restart(|_| ()).await;
    world.measures("lychgate_budget_used_ratio{budget=\"four\"} 0.5").await;
    for expected in [202, 202, 429] {
        assert_eq!(delete(&world, "bob").await.status, expected);
    }
    // Even if the budget was another one, or none, when it happened.
    let put_budgets = |text: &str, world: &World| {
        put(world.directory.path(), "policies/budgets.yaml", text);
    };
    put_budgets("budgets: none", &world);
    world.measures("lychgate_budgets 0").await;
    assert_eq!(delete(&world, "bob").await.status, 202);
    let two = "budgets: [{name: a, per: principal, deletes: 3, within: 1h}, {name: b, per: project, deletes: 9, within: 24h}]";
    put_budgets(two, &world);
    world.measures("lychgate_budgets 2").await;
    // alice 2, bob 3; together 5.
    world.measures("lychgate_budget_used_ratio{budget=\"a\"} 1.0").await;
    for (name, expected) in [("bob", 429), ("alice", 202), ("alice", 429)] {
        assert_eq!(delete(&world, name).await.status, expected, "{name}");
    }
    let world = world.restart(|_| ()).await;
    for (name, expected) in [("bob", 429), ("alice", 429), ("dave", 202)] {
        assert_eq!(delete(&world, name).await.status, expected, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_the_database_is_away() {
    let world = world("budgets: [{name: one, per: all, deletes: 1, within: 1h}]")
        // Nobody listens on port 1.
        .file("database", "postgres://gate:secret@127.0.0.1:1/gate")
        .config("timeouts:", "budgets: {store: {postgres: database}}\ntimeouts:")
        .start()
        .await;
    let answer = delete(&world, "alice").await;
    assert_eq!(said(&answer), (503, "Lychgate.5038".to_owned()));
    assert!(answer.header("retry-after").is_some());
    assert_eq!((world.emulator.counts().delete, world.records("decision").len()), (0, 0));
    assert_eq!(world.ready().await, 503);
    world.measures("lychgate_budget_store_up 0").await;
}

#[tokio::test]
async fn gates_that_share_by_parts_have_a_part_each() {
    let world = world("budgets: [{name: ten, per: all, deletes: 10, within: 1h}]")
        .config("timeouts:", "budgets: {replicas: 4}\ntimeouts:")
        .start()
        .await;
    for expected in [202, 202, 429] {
        assert_eq!(delete(&world, "alice").await.status, expected);
    }
    // A version that cannot be shared is refused, and the one before stays.
    put(
        world.directory.path(),
        "policies/budgets.yaml",
        "budgets: [{name: three, per: all, deletes: 3, within: 1h}]",
    );
    world.measures("lychgate_policy_load_failures_total 1").await;
    assert!(delete(&world, "alice").await.message().contains("`ten`"));
}
