//! The same question to Lychgate and to Cedar: the same answers, and what each costs.
//!
//! Both get what favours them least to leave out: policies, entities and request are ready before
//! the clock starts, and only the decision is measured. Each identity policy of Cedar names its user
//! in the scope (`principal == …`), the cheapest way Cedar has to attach one. Cedar collects every
//! policy that decides, the gate names the first.
//!
//! Exits with 1 if a decision among 10 000 policies costs the gate more than 1.5 times one among 10.

#[path = "../../support/cpu.rs"]
mod cpu;
#[path = "../../support/world.rs"]
mod world;

use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request, RestrictedExpression as Value};
use std::collections::HashSet;
use std::hint::black_box;
use std::process::ExitCode;
use world::Question;

/// The guardrails of `world`, in the same order.
const GUARDRAILS: [&str; 10] = [
    r#"resource.hasTag("protected") && resource.getTag("protected") == "true""#,
    r#"resource has phase && ["Running", "Pending", "Creating"].contains(resource.phase)"#,
    r#"resource has age && resource.age < 3600"#,
    r#"!context.source_ip.isInRange(ip("10.0.0.0/8"))"#,
    r#"!["cn-north-4", "cn-east-3"].contains(context.region)"#,
    r#"resource has name && resource.name like "release-*""#,
    r#"!context.secure"#,
    r#"resource has pool_id && resource.pool_id.containsAny(["pool-frozen", "pool-audit"])"#,
    r#"resource has pool_type && resource.pool_type.contains("public") && resource has kind && resource.kind == "edge_job""#,
    r#"resource.hasTag("env") && resource.getTag("env") == "prod""#,
];

fn policies(size: usize) -> PolicySet {
    let mut res = PolicySet::new();
    let mut add = |id: String, text: String| {
        let policy = Policy::parse(Some(PolicyId::new(id)), text).expect("a policy");
        res.add(policy).expect("a new policy");
    };
    for (number, condition) in GUARDRAILS.iter().enumerate() {
        add(
            format!("guardrails/g{number}#1"),
            format!(
                r#"forbid(principal, action == Action::"delete", resource) when {{ {condition} }};"#
            ),
        );
    }
    for number in 0..size {
        let user = number / world::ATTACHED;
        add(
            format!("identity/p{number:05}#1"),
            format!(
                r#"permit(principal == User::"corp/user{user}", action == Action::"delete", resource) when {{
                    resource has pool_id && ["pool-{number}", "shared-{number}"].containsAll(resource.pool_id)
                    && principal has team && resource.hasTag("team") && resource.getTag("team") == principal.team
                    && resource has name && resource.name like "vision-*" }};"#
            ),
        );
    }
    res
}

fn uid(text: &str) -> EntityUid {
    text.parse().expect("an entity")
}

fn text(it: &str) -> Value {
    Value::new_string(it.to_owned())
}

fn request(size: usize) -> Request {
    let context = [
        ("region", text(world::REGION)),
        ("secure", Value::new_bool(true)),
        ("source_ip", Value::new_ip(world::ADDRESS)),
    ];
    let context = Context::from_pairs(context.map(|(key, it)| (key.to_owned(), it)));
    let principal = format!(r#"User::"corp/user{}""#, world::asker(size));
    let job = format!(r#"TrainJob::"{}""#, world::JOB);
    let context = context.expect("a context");
    Request::new(uid(&principal), uid(r#"Action::"delete""#), uid(&job), context, None)
        .expect("a request")
}

fn entities(size: usize, question: &Question) -> Entities {
    let job = [
        ("age", Value::new_long(86_400)),
        ("kind", text("job")),
        ("name", text("vision-train-17")),
        ("owner", text("alice")),
        ("phase", text("Completed")),
        ("pool_id", Value::new_set([text(&question.pool)])),
        ("pool_type", Value::new_set([text("dedicated")])),
        ("project", text(world::PROJECT)),
        ("workspace_id", text("0")),
    ];
    let tags = [("env", text(question.environment)), ("team", text(world::TEAM))];
    let own = |(key, it): (&str, Value)| (key.to_owned(), it);
    let id = uid(&format!(r#"TrainJob::"{}""#, world::JOB));
    let job = Entity::new_with_tags(id, job.map(own), [], tags.map(own)).expect("a job");

    let groups = ["corp/ml", "corp/ops"].map(|it| uid(&format!(r#"Group::"{it}""#)));
    let user = uid(&format!(r#"User::"corp/user{}""#, world::asker(size)));
    let team = [("team".to_owned(), text(world::TEAM))];
    let user = Entity::new(user, team.into(), HashSet::from(groups.clone())).expect("a user");
    let groups = groups.map(|it| Entity::new_no_attrs(it, HashSet::new()));
    Entities::from_entities([job, user].into_iter().chain(groups), None).expect("entities")
}

fn main() -> ExitCode {
    println!("CPU time of one decision in ns, the best of many batches; five policies attached");
    println!(
        "{:>10}  {:<14} {:>10} {:>12} {:>8}",
        "policies", "answer", "lychgate", "cedar", "ratio"
    );
    let authorizer = Authorizer::new();
    let mut costs: Vec<[f64; 3]> = Vec::new();
    for size in world::SIZES {
        let (set, query) = (world::set(size), world::query(size));
        let (policies, request) = (policies(size), request(size));
        costs.push(world::questions(size).map(|question| {
            let (attributes, entities) = (question.attributes(), entities(size, &question));
            assert_eq!(Question::asked(&set, &query, &attributes), question.answer);
            let response = authorizer.is_authorized(&request, &policies, &entities);
            assert_eq!(response.diagnostics().errors().count(), 0);
            let reason = response.diagnostics().reason().next().map(ToString::to_string);
            let answer = reason.map(|it| (it, response.decision() == Decision::Allow));
            assert_eq!(answer, question.answer);

            let ours = cpu::per_call(|| world::decide(&set, &query, &attributes));
            let theirs = cpu::per_call(|| {
                let (request, policies) = (black_box(&request), black_box(&policies));
                black_box(authorizer.is_authorized(request, policies, black_box(&entities)));
            });
            let name = question.name;
            println!("{size:>10}  {name:<14} {ours:>10.0} {theirs:>12.0} {:>8.1}", theirs / ours);
            ours
        }));
    }
    let mut within = true;
    let (Some(small), Some(large)) = (costs.first(), costs.last()) else {
        return ExitCode::FAILURE;
    };
    for (question, (small, large)) in world::questions(10).iter().zip(small.iter().zip(large)) {
        let growth = large / small;
        within &= growth <= world::GROWTH_MAX;
        println!("lychgate, 10 000 policies against 10: {growth:.2} ({})", question.name);
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
