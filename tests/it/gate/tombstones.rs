//! What is remembered of a job when it is gone, and what never is.

use crate::front::attacks::ALLOW_ALL;
use crate::support::world::{Builder, FINISHED, UNKNOWN, World, poll};

use lychgate::emulator::Job;
use serde_json::{Value, json};

const SECRET: &str = "hunter2";

/// The job, with secrets where people put them.
fn plant(world: &World) {
    let jobs: Vec<Job> = world.emulator.jobs();
    let mut job = jobs.into_iter().find(|it| it.id() == FINISHED).unwrap();
    let algorithm = &mut job.details["algorithm"];
    algorithm["environments"] = json!([{"TOKEN": SECRET}]);
    algorithm["parameters"] = json!([{"name": "token", "value": SECRET}]);
    algorithm["command"] = json!(format!("train --token {SECRET}"));
    world.emulator.insert(job);
}

/// Deletes the job; its tombstone, once the decision has its outcome and another one after it.
async fn tombstones(builder: Builder) -> Vec<Value> {
    let world = builder.start().await;
    plant(&world);
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    // Nobody waits for a tombstone; it goes with the next group at the latest.
    world.delete("alice", UNKNOWN).await;
    world.outcomes(2).await;
    let text = poll(|| Some(world.ledger()).filter(|it| 4 <= it.len())).await;
    assert!(!json!(text).to_string().contains(SECRET), "{text:#?}");
    world.records("tombstone")
}

fn setting(word: &str) -> (String, String) {
    ("{directory: ledger}".to_owned(), format!("{{directory: ledger, tombstones: {word}}}"))
}

#[tokio::test]
async fn what_is_lost_is_written_down_and_no_secret() {
    let found = tombstones(World::builder()).await;
    let [it] = found.as_slice() else { panic!("one tombstone: {found:#?}") };
    for (member, expected) in [
        ("name", json!("vision-resnet-baseline")),
        ("owner", json!("alice")),
        ("job_kind", json!("job")),
        ("duration_ms", json!(3_600_000)),
        ("algorithm", json!("obs://training-code/resnet/train.py")),
        ("flavor", json!("modelarts.vm.gpu.v100")),
        ("nodes", json!(1)),
        ("pools", json!(["pool-vision-1"])),
        ("outputs", json!(["/training-output/"])),
        ("logs", json!("/training-logs/")),
        ("tags", json!({"env": "dev", "team": "vision"})),
    ] {
        assert_eq!(it[member], expected, "{member}: {it:#}");
    }
}

#[tokio::test]
async fn the_setting_says_of_which_jobs() {
    for (word, looks, expected) in
        [("details", true, 1), ("details", false, 0), ("always", false, 1), ("off", true, 0)]
    {
        let (from, to) = setting(word);
        let builder = World::builder().config(&from, &to);
        let builder = if looks { builder } else { builder.policies(ALLOW_ALL) };
        assert_eq!(tombstones(builder).await.len(), expected, "{word} {looks}");
    }
}
