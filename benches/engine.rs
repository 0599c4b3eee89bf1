//! What the steps of one judged delete cost in process, in CPU time: `cargo bench --bench engine`.
//!
//! Exits with 1 if a decision among 10 000 identity policies costs more than 1.5 times one among 10, or
//! what budgets count more than 1 µs.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot start fails")]

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/world.rs"]
mod world;

use futures_util::FutureExt;
use http::Method;
use lychgate::budget::{Budgets, End, Room};
use lychgate::policy::{Attributes, BUDGETS, Decision, Files, Limits, Set};
use lychgate::route::JobIds;
use lychgate::secret::Secret;
use lychgate::sign::{Algorithm, Credential, Request};
use lychgate::{route, sign};
use std::hint::black_box;
use std::process::ExitCode;
use world::Question;

/// The most that a delete may cost which two budgets count, in nanoseconds.
const COUNTING_MAX: f64 = 1000.0;

/// Like those that hold where nobody says anything, with room for what is measured.
const TWO_BUDGETS: &str = "budgets:
  - {name: per-principal, per: principal, deletes: 100000, within: 1h}
  - {name: per-project, per: project, deletes: 100000, within: 24h}
";

fn main() -> ExitCode {
    println!("CPU time in ns, the best of many batches");
    let costs = world::SIZES.map(decisions);
    parsing();
    signing();
    let counting = counting();
    let (Some(small), Some(large)) = (costs.first(), costs.last()) else {
        return ExitCode::FAILURE;
    };
    let growth = large / small;
    println!("growth of an allow from 10 to 10 000 policies: {growth:.2}");
    if growth <= world::GROWTH_MAX && counting <= COUNTING_MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What an allow costs.
fn decisions(size: usize) -> f64 {
    let (set, query) = (world::set(size), world::query(size));
    let mut allow = 0.0;
    for question in world::questions(size) {
        let attributes = question.attributes();
        assert_eq!(Question::asked(&set, &query, &attributes), question.answer);
        let cost = cpu::per_call(|| world::decide(&set, &query, &attributes));
        report(&format!("decision, {size} identity policies: {}", question.name), cost);
        if question.answer.is_some_and(|(_, allows)| allows) {
            allow = cost;
        }
    }
    let unasked = Attributes::default();
    assert!(matches!(set.evaluate(&query, &unasked), Decision::Indeterminate(_)));
    let cost = cpu::per_call(|| world::decide(&set, &query, &unasked));
    report(&format!("decision, {size} identity policies: before the look-up"), cost);
    allow
}

fn parsing() {
    let target = format!("/v2/{}/training-jobs/{}", world::PROJECT, world::JOB);
    let cost = cpu::per_call(|| {
        let operation = route::parse(&Method::DELETE, black_box(&target), JobIds::Uuid);
        black_box(operation).expect("the route");
    });
    report("request target", cost);
}

fn signing() {
    let credential =
        Credential::new("AKEXAMPLE".to_owned(), Secret::new("secret".to_owned()), None)
            .expect("a credential");
    let target = format!("/v2/{}/training-jobs/{}", world::PROJECT, world::JOB);
    let request = Request {
        method: &Method::DELETE,
        target: &target,
        host: "modelarts.cn-north-4.myhuaweicloud.com",
        project_id: world::PROJECT,
        user_agent: "lychgate/0.1.0",
    };
    let now = world::query(world::ATTACHED).now;
    let cost = cpu::per_call(|| {
        let headers =
            sign::sign(black_box(&request), black_box(&credential), &Algorithm::SdkHmacSha256, now);
        black_box(headers).expect("a signature");
    });
    report("signature, SDK-HMAC-SHA256", cost);
}

/// What a delete costs beyond its decision: a unit of two budgets is taken, recorded and ended.
fn counting() -> f64 {
    let query = world::query(world::ATTACHED);
    let attributes = Attributes::default();
    let files: Files = [
        (
            "guardrails/g.json",
            r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"]}]}"#,
        ),
        (BUDGETS, TWO_BUDGETS),
    ]
    .into_iter()
    .collect();
    let set = Set::compile(&files, &Limits::default()).set.expect("policies");
    let new = || {
        let budgets = Budgets::new(query.now);
        let room = budgets.open(set.budgets());
        budgets.filled(&room).now_or_never().expect("nothing to wait for");
        (budgets, room)
    };
    let take = |(budgets, room): &(Budgets, Room)| {
        let taken = budgets.take(room.budgets(), black_box(&query), &attributes);
        taken.now_or_never().expect("nothing to wait for")
    };
    let mut most = 0.0_f64;
    for (end, what) in [(End::Kept, "counts"), (End::GivenBack, "is given back")] {
        let (mut counters, mut seq) = (new(), 0);
        let cost = cpu::per_call(|| {
            let mut unit = take(&counters).unwrap_or_else(|_| {
                counters = new();
                take(&counters).expect("room")
            });
            unit.recorded(seq);
            unit.end(end);
            seq += 1;
        });
        report(&format!("two budgets: a delete that {what}"), cost);
        most = most.max(cost);
    }
    most
}

fn report(what: &str, cost: f64) {
    println!("{cost:>8.0}  {what}");
}
