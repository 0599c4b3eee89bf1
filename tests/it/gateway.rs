//! The main job, end to end: what is asked of the cloud, what is answered, what is recorded.

use crate::http::Connection;
use crate::world::FINISHED;
use crate::world::PROJECT;
use crate::world::PROTECTED;
use crate::world::UNKNOWN;
use crate::world::World;
use crate::world::poll;

use lychgate::emulator::Effect;
use lychgate::emulator::Fault;
use lychgate::emulator::Operation;
use lychgate::emulator::Reset;
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
    let results: Vec<_> = world
        .outcomes(7)
        .await
        .iter()
        .map(|it| it["result"].as_str().unwrap().to_owned())
        .collect();
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
        for operation in [Operation::Details, Operation::Tags] {
            let slow = Fault::new(Effect::None).after(Duration::from_millis(100));
            world.emulator.fault(slow.at(operation));
        }
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(answer.status, 202, "{condition}");
        let counts = world.emulator.counts();
        assert_eq!((counts.details, counts.tags, counts.delete), (details, tags, 1), "{condition}");
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
    assert_eq!(world.records("decision")[0]["result"], "indeterminate");
    assert_eq!(world.outcomes(1).await[0]["result"], "refused");
}

/// attacks.md 76.
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

#[tokio::test]
async fn what_the_cloud_gets_is_built_from_nothing() {
    let world = world_allowing("").await;
    let token = world.token("alice");
    // attacks.md 13, 34, 35, 37, 38
    let head = format!(
        "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\
         X-HTTP-Method-Override: GET\r\nConnection: X-Anything\r\nX-Anything: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil\r\nX-Original-URL: /x\r\nX-Sdk-Date: 20200101T000000Z\r\nX-Project-Id: other\r\n\
         X-Domain-Id: d\r\nX-Security-Token: t\r\nProxy-Authorization: p\r\nCookie: c=1\r\n\
         g-ResourceTag-env: dev\r\nmodelarts-poolid: p\r\nbaggage: a=b\r\ntracestate: a=b\r\n\
         User-Agent: evil/1\r\nX-Request-Id: mine\r\n\r\n"
    );
    let answer = crate::http::send(world.gate, head.as_bytes()).await;
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
