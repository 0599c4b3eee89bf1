//! What the steps of one judged delete cost in process, in CPU time: `cargo bench --bench engine`.
//!
//! Exits with 1 if a decision among 10 000 identity policies costs more than 1.5 times one among 10.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot start fails")]

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/world.rs"]
mod world;

use http::Method;
use lychgate::policy::{Attributes, Decision};
use lychgate::route::JobIds;
use lychgate::secret::Secret;
use lychgate::sign::{Algorithm, Credential, Request};
use lychgate::{route, sign};
use std::hint::black_box;
use std::process::ExitCode;
use world::Question;

fn main() -> ExitCode {
    println!("CPU time in ns, the best of many batches");
    let costs = world::SIZES.map(decisions);
    parsing();
    signing();
    let (Some(small), Some(large)) = (costs.first(), costs.last()) else {
        return ExitCode::FAILURE;
    };
    let growth = large / small;
    println!("growth of an allow from 10 to 10 000 policies: {growth:.2}");
    if growth <= world::GROWTH_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn report(what: &str, cost: f64) {
    println!("{cost:>8.0}  {what}");
}
