//! The main job, end to end: what is asked of the cloud, what is answered, what is recorded.

use crate::support::collector::{Collector, Mood};
use crate::support::http::{self, Connection};
use crate::support::world::{CLOUD_AK, FINISHED, PROJECT, PROTECTED, UNKNOWN, World, poll};

use jiff::SignedDuration;
use lychgate::cli::Exit;
use lychgate::clock::Clock;
use lychgate::emulator::{DeleteBody, Effect, Fault, Operation, Request, Reset};
use serde_json::json;
use std::time::Duration;

/// Allows what a condition says, to everybody.
fn allow(condition: &str) -> [(&'static str, String); 2] {
    let policy = format!(
        r#"{{"Version":"5.0","Statement":[{{"Sid":"It","Effect":"Allow","Action":["modelarts:trainJob:delete"]{condition}}}]}}"#
    );
    [
        ("identity/it.json", policy),
        ("attachments.yaml", "- {to: [any], policies: [it]}\n".to_owned()),
    ]
}

async fn world_allowing(condition: &str) -> World {
    let files = allow(condition);
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    World::builder().policies(&files).start().await
}

#[tokio::test]
async fn the_shipped_policies_answer_as_the_demo_says() {
    let world = World::start().await;
    for (name, job, status, code) in [
        ("alice", FINISHED, 202, None),
        ("alice", PROTECTED, 403, Some("Lychgate.4031")),
        ("alice", "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a", 403, Some("Lychgate.4031")),
        ("bob", "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40", 403, Some("Lychgate.4033")),
        ("carol", UNKNOWN, 403, Some("Lychgate.4033")),
        ("alice", UNKNOWN, 400, Some("ModelArts.2775")),
        ("dave", PROTECTED, 202, None),
    ] {
        let answer = world.delete(name, job).await;
        assert_eq!((answer.status, answer.code().as_deref()), (status, code), "{name} {job}");
        let origin =
            if code.is_some_and(|it| it.starts_with("Ly")) { "gateway" } else { "upstream" };
        assert_eq!(answer.header("x-lychgate-origin"), Some(origin));
        assert!(answer.header("x-request-id").is_some());
        assert!(answer.header("x-lychgate-request-id").is_some());
    }
    assert!(!world.emulator.exists(FINISHED));
    let outcomes = world.outcomes(7).await;
    let (sent, denied) = (&outcomes[0], &outcomes[1]);
    assert_eq!((&sent["access_key"], &denied["access_key"]), (&json!(CLOUD_AK), &json!(null)));
    let date = sent["date"].as_str().unwrap();
    let is_sent =
        |it: &Request| it.headers.iter().any(|(name, value)| name == "x-sdk-date" && value == date);
    assert!(world.emulator.requests().iter().any(is_sent), "{date}");
    let decisions = world.records("decision");
    let look_ups = |it: usize| decisions[it]["look_ups"].as_array().map_or(0, Vec::len);
    assert_eq!(
        (look_ups(0), look_ups(4), decisions[4]["attributes"]["tags"].as_str()),
        (2, 0, Some("not_asked"))
    );
    assert!(decisions[0]["look_ups"][0]["upstream_request_id"].is_string(), "{}", decisions[0]);
    assert_eq!(decisions[5]["reason"], "no_such_job");
    let results: Vec<_> =
        outcomes.iter().map(|it| it["result"].as_str().unwrap().to_owned()).collect();
    assert_eq!(results, ["sent", "denied", "denied", "denied", "denied", "refused", "sent"]);
}

#[tokio::test]
async fn a_denial_says_who_what_and_which_statement() {
    let world = World::start().await;
    let message = world.delete("alice", PROTECTED).await.message();
    for part in [
        "corp/alice",
        "modelarts:trainJob:delete",
        &format!("modelarts:cn-north-4:123:trainJob:{PROTECTED}"),
        "guardrails/protect#NoProd",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("prod\""), "attribute values are not told to callers: {message}");
    let quiet = World::builder()
        .config("{directory: policies}", "{directory: policies, denials: code}")
        .start()
        .await;
    let message = quiet.delete("alice", PROTECTED).await.message();
    assert!(!message.contains("guardrails"), "{message}");
}

#[tokio::test]
async fn only_what_can_change_the_answer_is_looked_up() {
    for (condition, details, tags) in [
        ("", 0, 0),
        (r#","Condition":{"StringEquals":{"lychgate:issuer":"corp"}}"#, 0, 0),
        (r#","Condition":{"StringEquals":{"modelarts:poolId":"pool-vision-1"}}"#, 1, 0),
        (r#","Condition":{"StringEquals":{"g:ResourceTag/team":"vision"}}"#, 0, 1),
        (
            r#","Condition":{"StringEquals":{"g:ResourceTag/team":"vision","modelarts:poolId":"pool-vision-1"}}"#,
            1,
            1,
        ),
    ] {
        let world = world_allowing(condition).await;
        // A key that the cloud has not accepted yet goes alone.
        world.delete("alice", UNKNOWN).await;
        drop(world.emulator.take_requests());
        let before = world.emulator.counts();
        for operation in [Operation::Details, Operation::Tags] {
            let slow = Fault::new(Effect::None).after(Duration::from_millis(100));
            world.emulator.fault(slow.at(operation));
        }
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(answer.status, 202, "{condition}");
        let counts = world.emulator.counts();
        let asked = (
            counts.details - before.details,
            counts.tags - before.tags,
            counts.delete - before.delete,
        );
        assert_eq!(asked, (details, tags, 1), "{condition}");
        let requests = world.emulator.requests();
        if let [first, second, _] = requests.as_slice() {
            assert!(first.overlaps(second), "the look-ups ran one after the other");
        }
    }
}

#[tokio::test]
async fn whom_nothing_could_allow_is_told_so_without_the_cloud() {
    let world = World::start().await;
    world.emulator.stop().await;
    let answer = world.delete("carol", FINISHED).await;
    assert_eq!((answer.status, answer.code().as_deref()), (403, Some("Lychgate.4033")));
    assert_eq!(world.records("decision")[0]["result"], "deny");
}

#[tokio::test]
async fn a_dead_cloud_is_told_and_recorded() {
    let world = world_allowing("").await;
    world.emulator.stop().await;
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!((answer.status, answer.code().as_deref()), (502, Some("Lychgate.5022")));
    assert_eq!(world.outcomes(1).await[0]["result"], "not_sent");

    let world = World::start().await;
    world.emulator.stop().await;
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("Lychgate.5031")));
    let seconds: u8 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds));
    let decision = &world.records("decision")[0];
    assert_eq!(
        (&decision["result"], &decision["reason"]),
        (&json!("indeterminate"), &json!("look_up_failed"))
    );
    assert_eq!(decision["look_ups"][0]["result"], "look_up_failed");
    assert_eq!(decision["attributes"]["owner"], "unavailable");
    assert_eq!(world.outcomes(1).await[0]["result"], "refused");
}

/// An answer is as old as its question: it may have been on its way, or lain in a buffer, for long.
#[tokio::test]
async fn attributes_are_dated_from_before_they_were_asked_for() {
    let by_pool = r#","Condition":{"StringEquals":{"modelarts:poolId":"pool-vision-1"}}"#;
    for (times, expected) in [(1, (202, None)), (9, (503, Some("Lychgate.5031")))] {
        let files = allow(by_pool);
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let builder = World::builder().policies(&files);
        let world =
            builder.config("ledger:", "attributes: {max_age: 300ms}\nledger:").start().await;
        let slow = Fault::new(Effect::None).at(Operation::Details).times(times);
        world.emulator.fault(slow.after(Duration::from_millis(400)));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!((answer.status, answer.code().as_deref()), expected, "{times}");
        let counts = world.emulator.counts();
        assert_eq!((counts.details, counts.delete), (2, u64::from(times == 1)), "{times}");
        let outcomes = world.outcomes(2).await;
        let results: Vec<_> = outcomes.iter().map(|it| it["result"].as_str().unwrap()).collect();
        let last = if times == 1 { "sent" } else { "not_sent" };
        assert_eq!(results, ["not_sent", last], "{times}");
    }
}

/// Attack 76.
#[tokio::test]
async fn a_delete_without_an_answer_is_looked_after_and_never_repeated() {
    // The bytes arrived and the connection died: the job may be gone, or still there.
    for (when, status, code, result) in
        [(Reset::Done, 202, None, "gone"), (Reset::Arrived, 504, Some("Lychgate.5042"), "unknown")]
    {
        let world = world_allowing("").await;
        let reset = Effect::Reset { when };
        world.emulator.fault(Fault::new(reset).at(Operation::Delete).times(1));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!((answer.status, answer.code().as_deref()), (status, code), "{when:?}");
        assert_eq!(world.emulator.counts().delete, 1, "never a second delete");
        assert_eq!(world.outcomes(1).await[0]["result"], result);
    }
    // No answer within `timeouts.request`.
    let world = world_allowing("").await;
    world
        .emulator
        .fault(Fault::new(Effect::None).at(Operation::Delete).after(Duration::from_secs(60)));
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!((answer.status, answer.code().as_deref()), (504, Some("Lychgate.5042")));
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_nothing_that_was_decided() {
    let world = world_allowing("").await;
    world
        .emulator
        .fault(Fault::new(Effect::None).at(Operation::Delete).after(Duration::from_millis(300)));
    let mut connection = Connection::open(world.gate).await;
    connection.write(world.head("alice", FINISHED).as_bytes()).await;
    poll(|| Some(()).filter(|()| world.records("decision").len() == 1)).await;
    drop(connection);
    let outcomes = world.outcomes(1).await;
    assert_eq!(outcomes[0]["result"], "sent");
    assert_eq!(outcomes[0]["status"], 202);
    assert!(!world.emulator.exists(FINISHED));
}

/// Whether the hang-up is noticed in time is a matter of luck; what was decided is carried out.
#[tokio::test]
async fn a_client_that_hangs_up_during_the_look_up_leaves_nothing_half_done() {
    let world = World::start().await;
    let slow = Fault::new(Effect::None).at(Operation::Details).after(Duration::from_millis(300));
    world.emulator.fault(slow);
    let mut connection = Connection::open(world.gate).await;
    connection.write(world.head("alice", FINISHED).as_bytes()).await;
    poll(|| Some(()).filter(|()| world.emulator.counts().details == 1)).await;
    drop(connection);
    world.measures("lychgate_requests_in_flight 0").await;
    let deletes = world.emulator.counts().delete;
    let (exit, directory) = world.stop().await;
    assert_eq!(exit, Exit::Ok);
    let ledger = crate::support::world::read_ledger(directory.path());
    let count = |kind| ledger.iter().filter(|it| it["kind"] == kind).count();
    assert_eq!((count("decision"), count("outcome")), (deletes as usize, deletes as usize));
    assert!(ledger.iter().filter(|it| it["kind"] == "outcome").all(|it| it["result"] == "sent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_end_of_a_drain_cuts_off_is_settled_by_the_next_run() {
    let mut policies = World::builder().policies(crate::front::attacks::ALLOW_ALL);
    policies = policies.config("drain: 5s", "drain: 300ms");
    let world = policies.config("timeouts:", "settle: {window: 1s}\ntimeouts:").start().await;
    let slow = Fault::new(Effect::None).at(Operation::Delete).after(Duration::from_secs(60));
    world.emulator.fault(slow.times(1));
    let mut connection = Connection::open(world.gate).await;
    connection.write(world.head("alice", FINISHED).as_bytes()).await;
    poll(|| Some(()).filter(|()| world.emulator.counts().delete == 1)).await;
    let world = world.restart(|_| ()).await;
    let settlements = poll(|| Some(world.records("settlement")).filter(|it| !it.is_empty())).await;
    assert_eq!((settlements.len(), &settlements[0]["result"]), (1, &"present".into()));
    assert_eq!(world.emulator.counts().delete, 1, "never sent again");
}

#[tokio::test]
async fn what_the_cloud_gets_is_built_from_nothing() {
    let world = world_allowing("").await;
    let token = world.token("alice");
    // Attacks 13, 34, 35, 37, 38
    let head = format!(
        "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\
         X-HTTP-Method-Override: GET\r\nConnection: X-Anything\r\nX-Anything: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil\r\nX-Original-URL: /x\r\nX-Sdk-Date: 20200101T000000Z\r\nX-Project-Id: other\r\n\
         X-Domain-Id: d\r\nX-Security-Token: t\r\nProxy-Authorization: p\r\nCookie: c=1\r\n\
         g-ResourceTag-env: dev\r\nmodelarts-poolid: p\r\nbaggage: a=b\r\ntracestate: a=b\r\n\
         User-Agent: evil/1\r\nX-Request-Id: mine\r\n\r\n"
    );
    let answer = http::send(world.gate, head.as_bytes()).await;
    assert_eq!(answer.status, 202);
    let [request] = &world.emulator.requests()[..] else { panic!("one request") };
    let mut names: Vec<_> = request.headers.iter().map(|(it, _)| it.to_lowercase()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "authorization",
            "content-type",
            "host",
            "traceparent",
            "user-agent",
            "x-project-id",
            "x-sdk-date"
        ]
    );
    assert_eq!(request.header("x-project-id"), Some(PROJECT));
    assert!(request.header("user-agent").unwrap().starts_with("lychgate/"));
    assert_eq!(world.records("decision")[0]["caller_request_id"], "mine");
}

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

fn with_traceparent(world: &World, job: &str) -> String {
    let field = format!("traceparent: 00-{TRACE_ID}-b7ad6b7169203331-01\r\n\r\n");
    world.head("alice", job).replace("\r\n\r\n", &format!("\r\n{field}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_hanging_collector_costs_a_request_nothing() {
    let hanging = Collector::http(Mood::Hanging).await;
    for otlp in ["http://127.0.0.1:9".to_owned(), format!("http://{}", hanging.address)] {
        let otlp = format!("{{log: human, otlp: '{otlp}'}}");
        let world = World::builder().config("{log: human}", &otlp).start().await;
        for job in [PROTECTED, FINISHED] {
            let answer = http::send(world.gate, with_traceparent(&world, job).as_bytes()).await;
            assert!(matches!(answer.status, 202 | 403));
        }
    }
}

#[tokio::test]
async fn who_asks_too_often_is_refused_before_the_record_and_counted_in_one() {
    let world = World::builder()
        .config("timeouts:", "limits: {per_principal: {rate: 1, burst: 3}}\ntimeouts:")
        .start()
        .await;
    let mut limited = 0;
    for _ in 0..8 {
        let answer = world.delete("alice", PROTECTED).await;
        let code = answer.code().unwrap();
        if code == "Lychgate.4031" {
            continue;
        }
        assert_eq!((answer.status, code.as_str()), (429, "Lychgate.4291"));
        assert!(answer.header("retry-after").is_some());
        limited += 1;
    }
    assert!(0 < limited);
    assert_eq!(world.delete("carol", PROTECTED).await.status, 403, "others are not held up");
    assert_eq!(world.outcomes(9 - limited).await.len(), 9 - limited);
    let (exit, directory) = world.stop().await;
    assert_eq!(exit, Exit::Ok);
    let ledger = crate::support::world::read_ledger(directory.path());
    let suppressed: Vec<_> = ledger.iter().filter(|it| it["kind"] == "suppressed").collect();
    assert_eq!(suppressed.len(), 1);
    assert_eq!(suppressed[0]["principal"], "corp/alice");
    assert_eq!(suppressed[0]["count"], limited);
}

#[tokio::test]
async fn admin_tells_how_the_gate_is() {
    let world = World::start().await;
    world.delete("alice", PROTECTED).await;
    let get = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
        let answer = http::send(world.admin, request.as_bytes()).await;
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(get("/livez").await.0, 200);
    assert_eq!(get("/readyz").await.0, 200);
    let (_, metrics) = get("/metrics").await;
    for line in [
        r#"lychgate_decisions_total{action="delete",result="deny",reason="explicit"} 1"#,
        r#"lychgate_requests_total{status="403",error_code="Lychgate.4031",origin="gateway"} 1"#,
        r#"lychgate_look_ups_total{source="details",result="found"} 1"#,
        r#"lychgate_ledger_records_total{kind="decision"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert_eq!(get("/v2/p/training-jobs/x").await.0, 404);
}

#[tokio::test]
async fn a_cloud_that_refuses_the_gates_key_is_not_the_callers_fault() {
    for (effect, status, code) in [
        (Effect::KeyRefused, 502, "Lychgate.5021"),
        (Effect::PermissionRefused, 401, "ModelArts.0112"),
        (Effect::Forbidden, 403, "ModelArts.0108"),
        (Effect::Internal, 500, "ModelArts.0010"),
        (Effect::Throttled { retry_after_s: 7 }, 429, "ModelArts.2799"),
        (
            Effect::Redirect { status: 307, location: "http://127.0.0.1:1/".to_owned() },
            502,
            "Lychgate.5023",
        ),
        (Effect::Html, 202, ""),
    ] {
        let world = world_allowing("").await;
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete));
        let answer = world.delete("alice", FINISHED).await;
        let said = answer.code().unwrap_or_default();
        assert_eq!((answer.status, said.as_str()), (status, code), "{effect:?}");
        assert_eq!(world.outcomes(1).await[0]["result"], "sent", "{effect:?}");
        assert_eq!(world.emulator.counts().delete, 1, "{effect:?}");
        if let Effect::Throttled { .. } = effect {
            assert_eq!(answer.header("retry-after"), Some("7"));
        }
    }
}

/// Attacks 51, 53: neither a remembered token nor a clock that is set back extends a life.
#[tokio::test]
async fn a_token_ends_when_it_says() {
    let start = Clock::system().now();
    let clock = Clock::manual(start);
    let world = World::builder().clock(clock.clone()).start().await;
    let head = world.head("alice", PROTECTED);
    for (seconds, status, code) in [
        (0, 403, "Lychgate.4031"),
        (3600, 403, "Lychgate.4031"),
        (3631, 401, "Lychgate.4014"),
        (0, 401, "Lychgate.4014"),
    ] {
        clock.set(start + SignedDuration::from_secs(seconds));
        let answer = http::send(world.gate, head.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{seconds}");
    }
}

/// Attack 75: the status of an accepted delete counts, whatever comes after it. The documented body of
/// a 202, `""`, makes two of the official SDKs fail.
#[tokio::test]
async fn an_accepted_delete_is_told_whatever_its_body_does() {
    let odd = [Effect::Truncated, Effect::Stalled, Effect::Huge { bytes: 1 << 20 }];
    for effect in [Effect::None].into_iter().chain(odd) {
        let world = World::builder()
            .policies(crate::front::attacks::ALLOW_ALL)
            .emulator(|it| it.delete_body = DeleteBody::Quotes)
            .start()
            .await;
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{effect:?}");
        let fields = ["content-type", "content-length"].map(|it| answer.header(it));
        assert_eq!(fields, [None, Some("0")], "{effect:?}");
        assert_eq!(world.outcomes(1).await[0]["status"], 202, "{effect:?}");
    }
}
