//! The three accounts side by side.

use super::{Emulator, Operation};

use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// What happened in all rounds.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) kills: u64,
    /// Kills that left a record cut off.
    pub(super) torn: u64,
    /// Answers by status.
    told: BTreeMap<u16, u64>,
    /// Requests that got no answer.
    pub(super) untold: u64,
    /// Deletes that the cloud received.
    received: u64,
    decisions: u64,
    outcomes: u64,
    settlements: u64,
}

impl Figures {
    /// Whether enough happened to tell anything.
    pub(super) fn is_telling(&self) -> bool {
        let accepted = self.told.get(&202).copied().unwrap_or_default();
        [accepted, self.untold, self.received, self.settlements].iter().all(|it| 0 < *it)
    }
}

/// What the ledger says of one decision.
struct Decision<'a> {
    record: &'a Value,
    /// How it ended: its outcome, or the settlement of an outcome that is missing or `unknown`.
    endings: Vec<&'a str>,
    /// Its outcome was `unknown`.
    doubted: bool,
}

impl Decision<'_> {
    fn ending(&self) -> &str {
        self.endings.first().copied().unwrap_or("open")
    }
}

/// The decisions of a ledger, by number.
fn decisions(ledger: &[Value]) -> BTreeMap<u64, Decision<'_>> {
    let mut res = BTreeMap::new();
    for record in ledger {
        let result = record["result"].as_str().unwrap_or_default();
        match record["kind"].as_str().unwrap() {
            "decision" => {
                let seq = record["seq"].as_u64().unwrap();
                res.insert(seq, Decision { record, endings: Vec::new(), doubted: false });
            }
            kind @ ("outcome" | "settlement") => {
                let of = record["of"].as_u64().unwrap();
                let decision: &mut Decision<'_> = res.get_mut(&of).expect("a decision before it");
                if kind == "outcome" && result == "unknown" {
                    assert!(!decision.doubted && decision.endings.is_empty(), "{record}");
                    decision.doubted = true;
                } else {
                    decision.endings.push(result);
                }
            }
            _ => (),
        }
    }
    res
}

/// Whether a decision still waits for its end.
pub(super) fn has_open(ledger: &[Value]) -> bool {
    decisions(ledger).values().any(|it| it.endings.is_empty())
}

/// By job, how many allowing decisions may have sent something. Each decision has exactly one end.
pub(super) fn sent(ledger: &[Value]) -> BTreeMap<String, u64> {
    let mut res = BTreeMap::new();
    for it in decisions(ledger).values() {
        assert_eq!(it.endings.len(), 1, "exactly one end: {} {:?}", it.record, it.endings);
        let perhaps = matches!(it.ending(), "sent" | "gone" | "present");
        if perhaps && it.record["result"] == "allow" {
            *res.entry(it.record["job"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    res
}

/// Compares what was `told` by job, what the cloud received, and the `ledger`.
pub(super) fn compare(
    told: &BTreeMap<String, u16>,
    cloud: &Emulator,
    ledger: &[Value],
    figures: &mut Figures,
) {
    let count = |kind: &str| ledger.iter().filter(|it| it["kind"] == kind).count() as u64;
    figures.decisions += count("decision");
    figures.outcomes += count("outcome");
    figures.settlements += count("settlement");

    let decisions = decisions(ledger);
    let mut by_job: BTreeMap<&str, Vec<&Decision<'_>>> = BTreeMap::new();
    for it in decisions.values() {
        assert_eq!(it.endings.len(), 1, "exactly one end: {} {:?}", it.record, it.endings);
        by_job.entry(it.record["job"].as_str().unwrap()).or_default().push(it);
    }
    let mut received: BTreeMap<String, u64> = BTreeMap::new();
    for request in cloud.requests().iter().filter(|it| it.operation == Operation::Delete) {
        figures.received += 1;
        let job = request.target.rsplit('/').next().unwrap();
        *received.entry(job.to_owned()).or_default() += 1;
        let before = |it: &&&Decision<'_>| {
            let time: Timestamp = it.record["time"].as_str().unwrap().parse().unwrap();
            it.record["result"] == "allow" && time <= request.time
        };
        let recorded = by_job.get(job).is_some_and(|it| it.iter().any(|it| before(&it)));
        assert!(recorded, "received without a decision before it: {request:?}");
    }
    for (job, decisions) in &by_job {
        check_job(job, decisions, received.get(*job).copied().unwrap_or_default(), cloud);
    }
    for (job, status) in told {
        *figures.told.entry(*status).or_default() += 1;
        let endings: Vec<_> = by_job
            .get(job.as_str())
            .map_or(Vec::new(), |it| it.iter().map(|it| it.ending()).collect());
        let received = received.get(job).copied().unwrap_or_default();
        let agrees = match status {
            202 => received == 1 && endings.iter().any(|it| matches!(*it, "sent" | "gone")),
            403 | 429 => received == 0 && endings == ["denied"],
            503 => received == 0,
            504 => endings.iter().any(|it| matches!(*it, "gone" | "present" | "not_sent")),
            _ => false,
        };
        assert!(agrees, "{job}: told {status}, received {received} times, {endings:?}");
    }
}

/// What the ledger says of `job` against what the cloud got of it and has.
fn check_job(job: &str, decisions: &[&Decision<'_>], received: u64, cloud: &Emulator) {
    let endings: Vec<_> = decisions.iter().map(|it| it.ending()).collect();
    let perhaps_sent =
        endings.iter().filter(|it| matches!(**it, "sent" | "gone" | "present")).count() as u64;
    assert!(received <= perhaps_sent, "{job}: received {received} times, {endings:?}");
    for ending in endings {
        match ending {
            "sent" => assert_eq!((received, cloud.exists(job)), (1, false), "{job}"),
            "gone" => assert!(!cloud.exists(job), "{job} is there"),
            "present" => assert!(cloud.exists(job), "{job} is gone"),
            "denied" | "refused" | "not_sent" => (),
            other => panic!("{job} ended as {other}"),
        }
    }
}
