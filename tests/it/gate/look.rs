//! A look at a job through the gate: who may see it, what is told to whom, and a loop that waits for a
//! job to be gone.

use crate::support::http::{self, Answer, refused, said};
use crate::support::world::{Builder, FINISHED, PROTECTED, UNKNOWN, World};

use lychgate::emulator::{Effect, Fault, Job, Operation, Reset};
use serde_json::{Value, json};

const TO_ANY: (&str, &str) = ("attachments.yaml", "- {to: [any], policies: [it]}\n");

/// Everybody may look at jobs like this, and delete what is in `pool-vision-1`.
fn world(condition: &Value) -> Builder {
    let mut look = json!({"Effect": "Allow", "Action": ["modelarts:trainJob:get"]});
    if !condition.is_null() {
        look["Condition"] = condition.clone();
    }
    let delete = json!({
        "Effect": "Allow", "Action": ["modelarts:trainJob:delete"],
        "Condition": {"StringEquals": {"modelarts:poolId": "pool-vision-1"}},
    });
    let it = json!({"Version": "5.0", "Statement": [look, delete]}).to_string();
    let prod = json!({
        "Sid": "NoProd", "Effect": "Deny", "Action": ["*"],
        "Condition": {"StringEquals": {"g:ResourceTag/env": "prod", "g:UserName": "carol"}},
    });
    let guardrail = json!({"Version": "5.0", "Statement": [prod]}).to_string();
    World::builder().policies(&[
        ("identity/it.json", &it),
        ("guardrails/protect.json", &guardrail),
        TO_ANY,
    ])
}

fn own_pool() -> Value {
    json!({"StringEquals": {"modelarts:poolId": "pool-vision-1"}})
}

async fn ask(world: &World, name: &str, job: &str, fields: &str) -> Answer {
    let head = world.head(name, job).replacen("DELETE", "GET", 1);
    let head = head.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1);
    http::send(world.gate, head.as_bytes()).await
}

async fn look(world: &World, name: &str, job: &str) -> Answer {
    ask(world, name, job, "").await
}

fn job(world: &World) -> Job {
    world.emulator.jobs().into_iter().find(|it| it.id() == FINISHED).unwrap()
}

/// Who may delete may not look with that, and nothing is asked of the cloud.
#[tokio::test]
async fn nobody_may_look_by_default() {
    let it = r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#;
    let world = World::builder().policies(&[("identity/it.json", it), TO_ANY]).start().await;
    for job in [FINISHED, PROTECTED, UNKNOWN] {
        let answer = look(&world, "alice", job).await;
        assert_eq!(said(&answer), refused(403, "4033"), "{answer:?}");
        assert!(answer.message().contains("`modelarts:trainJob:get`"), "{}", answer.message());
    }
    assert_eq!(world.emulator.counts().details, 0);
}

/// The answer is the cloud's, byte for byte, by one call, whatever the policies ask of the job.
#[tokio::test]
async fn who_may_look_sees_what_the_cloud_says() {
    for condition in [Value::Null, own_pool()] {
        let world = world(&condition).start().await;
        let answer = look(&world, "alice", FINISHED).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(seen, job(&world).details);
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-lychgate-origin", "upstream"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        assert_eq!(world.emulator.counts().details, 1, "{condition}");
        // Neither a part of it nor "as before": no header of the caller goes to the cloud.
        let fields = "If-None-Match: *\r\nIf-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\nRange: bytes=0-1\r\n";
        let again = ask(&world, "alice", FINISHED, fields).await;
        assert_eq!((again.status, &again.body), (200, &answer.body));
        let requests = world.emulator.requests();
        let mut seen = requests.iter().flat_map(|it| &it.headers);
        assert!(!seen.any(|(name, _)| name.starts_with("if-") || name == "range"), "{requests:?}");
        // A job that is not there is told of to who might have seen it.
        let gone = look(&world, "alice", UNKNOWN).await;
        assert_eq!(said(&gone), (400, Some("ModelArts.2775".to_owned())));
        assert_eq!(gone.header("cache-control"), Some("no-store"));
        assert!(world.records("decision").is_empty(), "a look is not recorded");
        let allowed = if condition.is_null() { 3 } else { 2 };
        let series = r#"lychgate_decisions_total{action="get",result="allow",reason="none"}"#;
        world.measures(&format!("{series} {allowed}")).await;
    }
}

/// Whatever it is that a look depends on, a no is the same for every job.
#[tokio::test]
async fn a_no_tells_nothing_of_the_job() {
    let world = world(&own_pool()).start().await;
    let mut texts = Vec::new();
    for (name, job) in [("alice", OTHER), ("carol", PROTECTED), ("carol", OTHER)] {
        let answer = look(&world, name, job).await;
        assert_eq!(said(&answer), refused(403, "4033"), "{name} {job}: {answer:?}");
        let text = answer.message().replace(job, "JOB").replace(name, "NAME");
        // Groups and policies are the caller's own.
        let text = text.split_once("; it came with").unwrap().0.to_owned();
        assert!(!text.contains("NoProd") && !text.contains("pool"), "{text}");
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        texts.push((text, names));
    }
    assert!(texts.iter().all(|it| *it == texts[0]), "{texts:?}");
}

/// In another pool.
const OTHER: &str = "2b7c54a9-e016-4d8f-9372-c4f80e6b1ad5";

#[tokio::test]
async fn a_look_takes_nothing_of_a_budget() {
    let world = world(&Value::Null);
    let budgets = "budgets: [{name: one, per: all, deletes: 1, within: 1h}]";
    let world = world.file("policies/budgets.yaml", budgets).start().await;
    for _ in 0..3 {
        assert_eq!(look(&world, "alice", FINISHED).await.status, 200);
    }
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

#[tokio::test]
async fn what_the_cloud_cannot_say_is_told() {
    let at = |effect| Fault::new(effect).at(Operation::Details);
    let reset = || at(Effect::Reset { when: Reset::Arrived }).times(2);
    for (condition, fault, expected) in [
        (Value::Null, at(Effect::Internal), (500, Some("ModelArts.0109".to_owned()))),
        (Value::Null, reset(), refused(504, "5043")),
        (own_pool(), at(Effect::Internal), refused(503, "5031")),
        (own_pool(), reset(), refused(503, "5031")),
    ] {
        let world = world(&condition).start().await;
        let shown = format!("{fault:?}");
        world.emulator.fault(fault);
        let answer = look(&world, "alice", FINISHED).await;
        assert_eq!(answer.status, expected.0, "{condition} {shown}: {answer:?}");
        if expected.0 != 500 {
            assert_eq!(said(&answer), expected, "{condition} {shown}");
        }
    }
    // An answer about another job is nobody's.
    let world = world(&Value::Null).start().await;
    let mut job = job(&world);
    job.details["metadata"]["name"] = json!(7);
    world.emulator.insert(job);
    assert_eq!(said(&look(&world, "alice", FINISHED).await), refused(502, "5023"));
}

#[tokio::test]
async fn only_a_plain_get_is_a_look() {
    let world = world(&Value::Null).start().await;
    for (from, to, status, code) in [
        ("Host: gate", "Host: gate\r\nContent-Length: 0", 200, None),
        ("Host: gate", "Host: gate\r\nContent-Length: 2", 400, Some("4007")),
        ("Host: gate", "Host: gate\r\nTransfer-Encoding: chunked", 400, Some("4007")),
        (" HTTP", "?x=1 HTTP", 400, Some("4002")),
        ("GET", "OPTIONS", 405, Some("4051")),
        ("GET", "POST", 405, Some("4051")),
        (FINISHED, "batch-delete", 405, Some("4052")),
    ] {
        let head = world.head("alice", FINISHED).replacen("DELETE", "GET", 1);
        let answer = http::send(world.gate, head.replacen(from, to, 1).as_bytes()).await;
        let code = code.map(|it| format!("Lychgate.{it}"));
        assert_eq!(answer.status, status, "{to}: {answer:?}");
        if status != 200 {
            assert_eq!(answer.code(), code, "{to}");
        }
        if status == 405 {
            let allowed = if to == "batch-delete" { "POST" } else { "DELETE, GET" };
            assert_eq!(answer.header("allow"), Some(allowed), "{to}");
        }
    }
}

/// As Terraform's destroy waits: DELETE, then GET until it is 404, or 400 with ModelArts.2775.
#[tokio::test]
async fn a_loop_that_waits_for_a_job_to_be_gone_ends() {
    for condition in [Value::Null, own_pool()] {
        let world = world(&condition).emulator(|it| it.terminating_look_ups = 3).start().await;
        assert_eq!(world.delete("alice", FINISHED).await.status, 202);
        let mut phases = Vec::new();
        let last = loop {
            let answer = look(&world, "alice", FINISHED).await;
            if answer.status != 200 {
                break said(&answer);
            }
            let job: Value = serde_json::from_slice(&answer.body).unwrap();
            phases.push(job["status"]["phase"].as_str().unwrap().to_owned());
        };
        assert_eq!(last, (400, Some("ModelArts.2775".to_owned())));
        assert_eq!(phases, ["Terminating"; 3], "{condition}");
    }
}
