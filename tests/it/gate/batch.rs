//! A batch through the gate: judged job by job, all or nothing, sent as single deletes.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http::{self, Answer};
use crate::support::world::{FINISHED, GATEWAY_AK, GATEWAY_SK, PROJECT, PROTECTED, UNKNOWN, World};

use lychgate::clock::Clock;
use lychgate::emulator::{self, Effect, Fault, Operation, Reset};
use lychgate::secret::Secret;
use lychgate::sign::{
    CanonicalRequest, Credential, PayloadHash, SdkDate, SigningKey, StringToSign,
};
use serde_json::{Value, json};
use std::time::Duration;

/// A second job that alice may delete.
const SECOND: &str = "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40";

fn body(jobs: &[&str]) -> String {
    let item = |id: &&str| json!({"kind": "job", "metadata": {"id": id}});
    json!({"jobs": jobs.iter().map(item).collect::<Vec<_>>()}).to_string()
}

fn request(fields: &str, body: &str) -> String {
    format!(
        "POST /v2/{PROJECT}/training-jobs/batch-delete HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n{fields}\r\n{body}",
        body.len()
    )
}

async fn batch(world: &World, name: &str, body: &str) -> Answer {
    let token = format!("Authorization: Bearer {}\r\n", world.token(name));
    http::send(world.gate, request(&token, body).as_bytes()).await
}

/// Index and code of each job that an answer names.
fn named(answer: &Answer) -> Vec<(u64, String)> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let jobs = body["jobs"].as_array().cloned().unwrap_or_default();
    let row =
        |it: &Value| (it["index"].as_u64().unwrap(), it["error_code"].as_str().unwrap().to_owned());
    jobs.iter().map(row).collect()
}

#[tokio::test]
async fn what_is_allowed_is_gone_and_a_repeat_is_harmless() {
    let world = World::start().await;
    for _ in 0..2 {
        let answer = batch(&world, "alice", &body(&[FINISHED, SECOND])).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
        assert!(!world.emulator.exists(FINISHED) && !world.emulator.exists(SECOND));
    }
    let counts = world.emulator.counts();
    assert_eq!((counts.delete, counts.other), (2, 0), "as single deletes");
    let outcomes = world.outcomes(4).await;
    let results: Vec<_> = outcomes.iter().map(|it| it["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["sent", "sent", "refused", "refused"]);
    for (at, decision) in world.records("decision").iter().enumerate() {
        assert_eq!(decision["batch"]["id"], decision["request_id"]);
        assert_eq!(
            (&decision["batch"]["index"], &decision["batch"]["of"]),
            (&json!(at % 2), &json!(2))
        );
    }
}

#[tokio::test]
async fn one_that_may_not_be_deleted_holds_all_of_them() {
    let world = World::start().await;
    let answer = batch(&world, "alice", &body(&[FINISHED, PROTECTED])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (403, Some("Lychgate.4031")));
    assert_eq!(named(&answer), [(1, "Lychgate.4031".to_owned())]);
    let message = answer.message();
    assert!(message.contains("1 of 2 jobs") && message.contains(PROTECTED), "{message}");
    assert_eq!(world.emulator.counts().delete, 0);
    assert!(world.emulator.exists(FINISHED));
    let results: Vec<_> = world
        .outcomes(2)
        .await
        .iter()
        .map(|it| it["result"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(results.iter().filter(|it| *it == "denied").count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|it| *it == "not_sent").count(), 1, "{results:?}");

    // What cannot be decided holds them as well, and a no goes before it.
    let dead = Fault::new(Effect::Reset { when: Reset::Arrived }).at(Operation::Details);
    world.emulator.fault(dead);
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("Lychgate.5031")));
    let answer = batch(&world, "carol", &body(&[FINISHED, SECOND])).await;
    assert_eq!((answer.status, named(&answer).len()), (403, 2));
    assert_eq!(world.emulator.counts().delete, 0);
}

#[tokio::test]
async fn a_body_that_is_not_exact_is_refused_before_anything() {
    let world = World::start().await;
    let many: Vec<_> = (0..101).map(|it| format!("00000000-0000-0000-0000-{it:012}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for (body, status, code) in [
        (body(&[]), 400, "4008"),
        (body(&many), 400, "4008"),
        (body(&[FINISHED, FINISHED]), 400, "4008"),
        (body(&[&FINISHED.to_uppercase()]), 400, "4008"),
        (body(&[FINISHED]).replace("\"job\"", "\"other\""), 400, "4008"),
        (body(&[FINISHED]) + "x", 400, "4008"),
        (String::new(), 400, "4008"),
        (" ".repeat(32 * 1024 + 1), 413, "4131"),
    ] {
        let answer = batch(&world, "alice", &body).await;
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(answer.code(), Some(format!("Lychgate.{code}")), "{body}");
    }
    for (from, to) in [
        ("application/json;charset=UTF-8", "text/plain"),
        ("Host: gate", "Host: gate\r\nContent-Encoding: gzip"),
    ] {
        let request = request("", &body(&[FINISHED])).replace(from, to);
        let answer = http::send(world.gate, request.as_bytes()).await;
        assert_eq!(answer.code().as_deref(), Some("Lychgate.4151"), "{to}");
    }
    assert!(world.records("decision").is_empty());
}

#[tokio::test]
async fn the_kind_must_be_the_jobs_own() {
    let world = World::start().await;
    let body = body(&[FINISHED, SECOND]).replacen("\"kind\":\"job\"", "\"kind\":\"edge_job\"", 1);
    let answer = batch(&world, "alice", &body).await;
    assert_eq!((answer.status, answer.code().as_deref()), (400, Some("Lychgate.4008")));
    assert_eq!(named(&answer), [(0, "Lychgate.4008".to_owned())]);
    assert_eq!(world.emulator.counts().delete, 0);
}

#[tokio::test]
async fn each_fate_is_told_and_a_repeat_finishes_the_rest() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    world.emulator.fault(Fault::new(Effect::Internal).at(Operation::Delete).times(1));
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND, UNKNOWN])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (502, Some("Lychgate.5024")));
    assert_eq!(named(&answer).len(), 1, "{answer:?}");
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND, UNKNOWN])).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(!world.emulator.exists(FINISHED) && !world.emulator.exists(SECOND));
}

#[tokio::test]
async fn a_job_that_cannot_be_recorded_is_named() {
    let world = World::start().await;
    let mut job = world.emulator.jobs().into_iter().find(|it| it.id() == SECOND).unwrap();
    let tag = |it| emulator::Tag { key: format!("k{it}"), value: "v".repeat(100) };
    job.tags = (0..1000).map(tag).collect();
    world.emulator.insert(job);
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (409, Some("Lychgate.4091")));
    assert_eq!(named(&answer), [(1, "Lychgate.4091".to_owned())]);
    assert_eq!(world.emulator.counts().delete, 0);
}

/// However often it is repeated.
#[tokio::test]
async fn more_jobs_than_a_budget_has_are_told_how_many_fit() {
    let few = ("budgets.yaml", "budgets: [{name: few, per: all, deletes: 2, within: 1h}]\n");
    let world = World::builder().policies(&[ALLOW_ALL, &[few]].concat()).start().await;
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND, UNKNOWN])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (429, Some("Lychgate.4292")));
    assert_eq!(named(&answer), [(2, "Lychgate.4292".to_owned())]);
    let message = answer.message();
    assert!(message.contains("a batch of the other 2 fits into the budgets"), "{message}");
    assert_eq!(batch(&world, "alice", &body(&[FINISHED, SECOND])).await.status, 202);
    let answer = batch(&world, "alice", &body(&[UNKNOWN])).await;
    assert!(!answer.message().contains("fits"), "{}", answer.message());
}

/// A 404 that says nothing of the job, such as that of a route that is not published.
#[tokio::test]
async fn a_look_up_that_finds_no_route_is_no_answer() {
    let world = World::start().await;
    let nowhere = Effect::Scripted {
        status: 404,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"error_code":"APIG.0101","error_msg":"no API"}"#.to_owned(),
    };
    world.emulator.fault(Fault::new(nowhere).at(Operation::Details));
    let answer = batch(&world, "alice", &body(&[FINISHED, SECOND])).await;
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("Lychgate.5031")));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let code = "APIG.0101".to_owned();
    assert_eq!(named(&answer), [(0, code.clone()), (1, code)]);
    assert_eq!(world.emulator.counts().delete, 0);
}

/// A hundred jobs are one group: as many syncs as for one.
#[tokio::test]
async fn a_hundred_jobs_are_one_group_commit() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let now = Clock::system().now();
    let ids: Vec<_> = (0..100).map(|it| format!("00000000-0000-0000-0000-{it:012}")).collect();
    for id in &ids {
        world.emulator.insert(emulator::Job::new(PROJECT, id, "many", now));
    }
    // An outcome is written without being waited for; a slow cloud keeps them out of the first group.
    world
        .emulator
        .fault(Fault::new(Effect::None).at(Operation::Delete).after(Duration::from_millis(50)));
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let answer = batch(&world, "alice", &body(&ids)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let records = world.ledger();
    let first = records.iter().position(|it| it["kind"] == "decision").unwrap();
    let group: Vec<_> = records[first..].iter().take(100).collect();
    assert!(group.iter().all(|it| it["kind"] == "decision"), "no outcome stands between them");
    let time = &group[0]["time"];
    assert!(group.iter().all(|it| it["time"] == *time), "written at one moment");
    assert_eq!(world.emulator.counts().delete, 100);
}

/// An SDK signs the body, or says that it does not.
#[tokio::test]
async fn the_signature_covers_the_list_of_jobs() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let good = body(&[FINISHED]);
    let hash = PayloadHash::of(good.as_bytes()).to_string();
    for (signed, sent, named, status, code) in [
        (&*good, body(&[SECOND]), None, 401, Some("Lychgate.4018")),
        (&*good, body(&[SECOND]), Some(&*hash), 401, Some("Lychgate.4018")),
        // The listener is on the loopback, where nobody stands on the way.
        (&*good, body(&[SECOND]), Some("UNSIGNED-PAYLOAD"), 202, None),
        (&*good, good.clone(), Some(&*hash), 202, None),
        (&*good, good.clone(), None, 202, None),
    ] {
        let fields = sdk_fields(signed, named);
        let answer = http::send(world.gate, request(&fields, &sent).as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_deref()), (status, code), "{named:?}");
    }
}

/// The header fields of an official SDK for `body`, with a content hash of its own or none.
fn sdk_fields(body: &str, named: Option<&str>) -> String {
    let credential =
        Credential::new(GATEWAY_AK.to_owned(), Secret::new(GATEWAY_SK.to_owned()), None).unwrap();
    let date = SdkDate::new(Clock::system().now());
    let mut headers = vec![("host", "gate"), ("x-sdk-date", date.as_str())];
    let mut payload = PayloadHash::of(body.as_bytes());
    if let Some(named) = named {
        headers.push(("x-sdk-content-sha256", named));
        let map = [("x-sdk-content-sha256", named)].map(|(name, value)| {
            (name.parse::<::http::HeaderName>().unwrap(), value.parse().unwrap())
        });
        payload = payload.or_named_by(&map.into_iter().collect());
    }
    let target = format!("/v2/{PROJECT}/training-jobs/batch-delete");
    let canonical = CanonicalRequest::new("POST", &target, &mut headers, &payload);
    let signature = SigningKey::new(&credential, None)
        .unwrap()
        .sign(&StringToSign::new(&date, None, &canonical));
    let named = named.map(|it| format!("X-Sdk-Content-Sha256: {it}\r\n")).unwrap_or_default();
    format!(
        "X-Sdk-Date: {}\r\n{named}Authorization: SDK-HMAC-SHA256 Access={GATEWAY_AK}, SignedHeaders={}, Signature={signature}\r\n",
        date.as_str(),
        canonical.signed_headers(),
    )
}
