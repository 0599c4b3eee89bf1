//! Kills the gate at every step of a batch: before it asks for a job, between two look-ups, between the
//! record and the first delete, between two deletes, before the answer. Each job has one end for each
//! decision, and the same batch, sent again, finishes the rest.

use super::{account, builder, exchange, has_records};
use crate::support::process::{self, Gate};
use crate::support::world::{PATIENCE, PROJECT, Prepared, read_ledger};

use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Fault, Job, Operation};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

const JOBS: u64 = 8;

/// How long each call to the cloud takes, so that steps lie apart.
const CALL: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_finished_after_a_kill_at_any_step() {
    let cloud = builder().prepare().await;
    let (mut answered, mut unfinished) = (0, 0);
    // After so many calls to the cloud: a look-up and a delete for each job. At the last step there
    // is nothing left but the answer.
    for step in 0..=2 * JOBS {
        let jobs: Vec<_> = (0..JOBS).map(|_| Uuid::new_v4().to_string()).collect();
        for id in &jobs {
            let job = Job::new(PROJECT, id, "vision-crash", Clock::system().now());
            cloud.emulator.insert(job.with_pool("pool-vision-1"));
        }
        answered += u64::from(killed_after(step, &cloud, &jobs).await);
        let there = jobs.iter().filter(|it| cloud.emulator.exists(it)).count();
        unfinished += u64::from(0 < there);
        finish(&cloud, &jobs).await;
        println!("step {step}: {there} of {JOBS} jobs were left");
    }
    assert!(0 < unfinished, "no kill left anything to finish");
    println!("{unfinished} batches were left unfinished, {answered} were answered before the kill");
    account(&cloud);
}

fn request(cloud: &Prepared, jobs: &[String]) -> String {
    let jobs: Vec<_> =
        jobs.iter().map(|id| json!({"kind": "job", "metadata": {"id": id}})).collect();
    let (token, body) = (cloud.issuer.token("alice"), json!({"jobs": jobs}).to_string());
    format!(
        "POST /v2/{PROJECT}/training-jobs/batch-delete HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends the batch and kills the gate after so many calls to the cloud; whether it answered before.
async fn killed_after(step: u64, cloud: &Prepared, jobs: &[String]) -> bool {
    let directory = cloud.directory.path();
    for operation in [Operation::Details, Operation::Delete] {
        cloud.emulator.fault(Fault::new(Effect::None).at(operation).after(CALL).times(1000));
    }
    let calls = || {
        let counts = cloud.emulator.counts();
        counts.details + counts.delete
    };
    let mut gate = Gate::start(directory, &[]);
    let mut stream = TcpStream::connect(gate.address().await).await.unwrap();
    let before = calls();
    let batch = request(cloud, jobs);
    let tasks = TaskTracker::new();
    let asking = tasks.spawn(async move { exchange(&mut stream, batch.as_bytes()).await });
    let deadline = Instant::now() + PATIENCE;
    while calls() - before < step {
        assert!(Instant::now() < deadline, "step {step} never came: {}", gate.log());
        sleep(Duration::from_micros(200)).await;
    }
    gate.kill();
    cloud.emulator.clear_faults();
    // At the first step nothing has been written yet.
    if has_records(directory) {
        let verified = process::verify(directory);
        assert!(verified.status.success(), "{verified:?}");
    }
    match asking.await.unwrap() {
        Some(status) => assert_eq!(status, 202, "step {step}"),
        None => return false,
    }
    assert!(jobs.iter().all(|it| !cloud.emulator.exists(it)), "202, and a job is there");
    true
}

/// Starts the gate again, repeats the batch until it is accepted, and waits until nothing is open.
async fn finish(cloud: &Prepared, jobs: &[String]) {
    let directory = cloud.directory.path();
    let mut gate = Gate::start(directory, &[]);
    let mut stream = TcpStream::connect(gate.address().await).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let batch = request(cloud, jobs);
    while exchange(&mut stream, batch.as_bytes()).await != Some(202) {
        assert!(Instant::now() < deadline, "the batch is never accepted: {}", gate.log());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(jobs.iter().all(|it| !cloud.emulator.exists(it)), "the repeat finishes the rest");
    while account::has_open(&read_ledger(directory)) {
        assert!(Instant::now() < deadline, "not settled: {}", gate.log());
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gate.stop().await, Some(0));
}

/// What the cloud received was allowed and recorded before, each time by a decision of its own, and
/// each decision has one end.
fn account(cloud: &Prepared) {
    let ledger = read_ledger(cloud.directory.path());
    let sent = account::sent(&ledger);
    let mut received: BTreeMap<String, u64> = BTreeMap::new();
    for request in cloud.emulator.requests() {
        if request.operation == Operation::Delete {
            let job = request.target.rsplit('/').next().unwrap();
            *received.entry(job.to_owned()).or_default() += 1;
        }
    }
    for (job, times) in &received {
        let perhaps = sent.get(job).copied().unwrap_or_default();
        assert!(*times <= perhaps, "{job}: received {times} times, {perhaps} decisions");
    }
    assert_eq!(received.len() as u64, (2 * JOBS + 1) * JOBS, "each job was deleted");
}
