//! What the cloud may answer: the rows of the attack list on look-ups, redirects, and answers that
//! are passed on, at a whole gate.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http::{self, Answer, refused, said};
use crate::support::world::{CLOUD_AK, FINISHED, World, poll};

use jiff::SignedDuration;
use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Fault, Operation, Reset};
use std::time::Duration;

const BY_POOL: &str = r#"{"StringEquals":{"modelarts:poolId":"pool-vision-1"}}"#;
const BY_TAG: &str = r#"{"StringEquals":{"g:ResourceTag/team":"vision"}}"#;

/// A gate that allows what `condition` says.
async fn world(condition: &str) -> World {
    let (_, all) = ALLOW_ALL[0];
    let policy = all.replace("}]}", &format!(r#","Condition":{condition}}}]}}"#));
    World::builder().policies(&[("identity/all.json", policy.as_str()), ALLOW_ALL[1]]).start().await
}

fn scripted(status: u16, headers: &[(&str, &str)], body: &str) -> Effect {
    let headers = headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Effect::Scripted { status, headers, body: body.to_owned() }
}

fn raw(text: &str) -> Effect {
    Effect::Raw { text: text.to_owned() }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// attacks 64, 65, 66, 67, 70: whatever a look-up brings but an answer, nothing is deleted.
#[tokio::test]
async fn a_look_up_without_an_answer_deletes_nothing() {
    const FAILED: &str = "look_up_failed";
    const UNREADABLE: &str = "unreadable";
    let location = "http://127.0.0.1:1/".to_owned();
    let gzip = scripted(200, &[JSON, ("content-encoding", "gzip")], "\u{1f}\u{8}\u{0}");
    for (effect, reason) in [
        (Effect::Forbidden, FAILED),
        (Effect::PermissionRefused, FAILED),
        (Effect::Internal, FAILED),
        (Effect::Throttled { retry_after_s: 7 }, FAILED),
        (Effect::Reset { when: Reset::Done }, FAILED),
        (Effect::Silent, FAILED),
        (Effect::Stalled, FAILED),
        (Effect::DuplicateKeys, UNREADABLE),
        (Effect::Html, UNREADABLE),
        (Effect::OtherJob, UNREADABLE),
        (Effect::Truncated, FAILED),
        (Effect::TruncatedJson, UNREADABLE),
        (Effect::WrongTypes, UNREADABLE),
        (Effect::Huge { bytes: 16 << 20 }, FAILED),
        (Effect::Redirect { status: 301, location: location.clone() }, FAILED),
        (Effect::Redirect { status: 307, location }, FAILED),
        (scripted(200, &[JSON], ""), UNREADABLE),
        (scripted(200, &[JSON], "null"), UNREADABLE),
        (scripted(204, &[], ""), FAILED),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), FAILED),
        (raw("nonsense"), FAILED),
        (gzip, UNREADABLE),
    ] {
        for (condition, operation) in [(BY_POOL, Operation::Details), (BY_TAG, Operation::Tags)] {
            // A list of tags names no job.
            if (&effect, operation) == (&Effect::OtherJob, Operation::Tags) {
                continue;
            }
            let world = world(condition).await;
            world.emulator.fault(Fault::new(effect.clone()).at(operation));
            let answer = world.delete("alice", FINISHED).await;
            assert_eq!(said(&answer), refused(503, "5031"), "{effect:?} {operation:?}");
            let after: u8 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=10).contains(&after), "{effect:?}");
            assert_eq!(world.emulator.counts().delete, 0, "{effect:?}");
            let decision = &world.records("decision")[0];
            let look_ups = decision["look_ups"].as_array().unwrap();
            assert_eq!(look_ups.len(), 1, "{effect:?}");
            let told = [&decision["result"], &decision["reason"], &look_ups[0]["result"]];
            assert_eq!(told, ["indeterminate", reason, reason], "{effect:?} {operation:?}");
            let refused = matches!(effect, Effect::Forbidden | Effect::Internal);
            let is_named = look_ups[0]["upstream_request_id"].is_string();
            assert!(is_named || !refused, "{effect:?}: {decision}");
            let other = if operation == Operation::Details { "tags" } else { "phase" };
            assert_eq!(decision["attributes"][other], "not_asked", "{effect:?} {operation:?}");
            assert!(world.emulator.exists(FINISHED));
        }
    }
}

/// A job that lies in one pool of a group, and policies that ask for its pool: no repeat can help.
#[tokio::test]
async fn what_a_job_does_not_say_is_told_as_lasting() {
    let details = |rest: &str| {
        let body = format!(r#"{{"kind":"job","metadata":{{"id":"{FINISHED}"}},{rest}}}"#);
        scripted(200, &[JSON], &body)
    };
    let many: Vec<_> = (0..10_000).map(|it| format!(r#"{{"key":"k{it}","value":"v"}}"#)).collect();
    let many = scripted(200, &[JSON], &format!(r#"{{"tags":[{}]}}"#, many.join(",")));
    for (condition, operation, effect, expected) in [
        (
            BY_POOL,
            Operation::Details,
            details(r#""spec":{"resource":{"pool_group_id":"g"}}"#),
            "`modelarts:poolId`",
        ),
        (BY_POOL, Operation::Details, details(r#""spec":{}"#), "`modelarts:poolId`"),
        (BY_TAG, Operation::Tags, many, "the tags of the job are too long"),
    ] {
        let world = world(condition).await;
        world.emulator.fault(Fault::new(effect).at(operation));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(said(&answer), refused(409, "4091"), "{expected}");
        assert_eq!(answer.header("retry-after"), None);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(expected) && body.contains("cannot help"), "{body}");
        assert_eq!(world.emulator.counts().delete, 0);
    }
}

/// Nor can one of a caller of whom more is known than a record holds.
#[tokio::test]
async fn a_caller_who_cannot_be_recorded_is_told_so() {
    let groups: Vec<_> = (0..256).map(|it| format!("{it:0250}x")).collect();
    let principal = format!("principal: {{name: many, groups: [{}]}}", groups.join(", "));
    let listen = "  - {address: '127.0.0.1:0'";
    let world = World::builder().config(listen, &format!("{listen}, {principal}")).start().await;
    let head = world.head("alice", FINISHED).replace("Host: gate", "Host: localhost");
    let answer = http::send(world.gate, head.as_bytes()).await;
    assert_eq!(said(&answer), refused(409, "4091"));
    assert_eq!(answer.header("retry-after"), None);
    assert!(answer.message().contains("the groups and tags of the caller"), "{answer:?}");
    assert_eq!(world.emulator.counts().all(), 0);
    world.measures(r#"lychgate_ledger_failures_total{what="record_size"} 1"#).await;
}

/// Only `ModelArts.2775` says that a job is gone: a route that is not published, a page of a proxy and
/// whatever else has status 404 leave the outcome open.
#[tokio::test]
async fn only_the_code_for_a_job_that_is_gone_ends_a_delete_without_an_answer() {
    let coded = |it: &str| format!(r#"{{"error_code":"{it}","error_msg":"m"}}"#);
    for (status, body, expected) in [
        (400, coded("ModelArts.2775"), (202, None, "gone")),
        (404, coded("ModelArts.2775"), (202, None, "gone")),
        (404, coded("APIG.0101"), (504, Some("Lychgate.5042"), "unknown")),
        (404, coded("ModelArts.2786"), (504, Some("Lychgate.5042"), "unknown")),
        (404, coded("ModelArts.2836"), (504, Some("Lychgate.5042"), "unknown")),
        (404, coded("ModelArts.2890"), (504, Some("Lychgate.5042"), "unknown")),
        (404, String::new(), (504, Some("Lychgate.5042"), "unknown")),
        (404, r#"["ModelArts.2775"]"#.to_owned(), (504, Some("Lychgate.5042"), "unknown")),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let arrived = Effect::Reset { when: Reset::Arrived };
        world.emulator.fault(Fault::new(arrived).at(Operation::Delete).times(1));
        world.emulator.fault(Fault::new(scripted(status, &[JSON], &body)).at(Operation::Details));
        let answer = world.delete("alice", FINISHED).await;
        let outcome = &world.outcomes(1).await[0];
        let code = answer.code();
        let seen = (answer.status, code.as_deref(), outcome["result"].as_str().unwrap());
        assert_eq!(seen, expected, "{status} {body}");
    }
}

/// attack 64: that there is no such job is told to whom some job would be allowed, as it came.
#[tokio::test]
async fn a_look_up_that_finds_nothing_is_passed_on_to_who_may_know() {
    let gone = scripted(404, &[JSON], r#"{"error_code":"ModelArts.2890","error_msg":"gone"}"#);
    for condition in [BY_POOL, BY_TAG] {
        let world = world(condition).await;
        world.emulator.fault(Fault::new(gone.clone()));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(said(&answer), (404, Some("ModelArts.2890".to_owned())));
        assert_eq!(answer.header("x-lychgate-origin"), Some("upstream"));
        assert_eq!(world.emulator.counts().delete, 0);
    }
    let world = World::start().await;
    world.emulator.fault(Fault::new(gone));
    assert_eq!(said(&world.delete("carol", FINISHED).await), refused(403, "4033"));
    assert_eq!(world.emulator.counts().all(), 0);
}

/// attack 70
#[tokio::test]
async fn a_redirect_of_a_delete_is_not_followed() {
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let location = format!("{}/elsewhere", world.emulator.url());
        world.emulator.fault(Fault::new(Effect::Redirect { status, location }));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(said(&answer), refused(502, "5023"), "{status}");
        assert_eq!(answer.header("location"), None, "{status}");
        assert_eq!(world.emulator.counts().all(), 1, "{status}");
    }
}

/// attack 75: an interim status as the last word is no answer, and nobody knows what it means.
#[tokio::test]
async fn an_interim_status_is_no_answer() {
    for status in ["101 Switching Protocols", "199 Odd"] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let upgrade = "Connection: upgrade\r\nUpgrade: x\r\n";
        let effect = raw(&format!("HTTP/1.1 {status}\r\n{upgrade}\r\n"));
        world.emulator.fault(Fault::new(effect).at(Operation::Delete).times(1));
        let answer = world.delete("alice", FINISHED).await;
        assert!([502, 504].contains(&answer.status), "{status}: {answer:?}");
        assert_eq!(world.outcomes(1).await[0]["result"], "unknown", "{status}");
    }
}

/// attack 78: what echoes our key or token in a header goes no further, as in a body.
#[tokio::test]
async fn an_echo_of_our_key_in_a_header_is_withheld() {
    for name in ["X-Request-Id", "Content-Type", "Retry-After"] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let (echo, json) =
            (format!("application/json; {CLOUD_AK}"), r#"{"error_code":"ModelArts.2799"}"#);
        let mut headers = vec![JSON];
        headers.retain(|(other, _)| !name.eq_ignore_ascii_case(other));
        headers.push((name, &echo));
        world.emulator.fault(Fault::new(scripted(429, &headers, json)).at(Operation::Delete));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(answer.status, 429, "{name}");
        assert!(!format!("{answer:?}").contains(CLOUD_AK), "{name}: {answer:?}");
    }
}

/// Nothing of an answer's head goes on but these.
fn check_head(answer: &Answer) {
    const ALLOWED: &[&str] = &[
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "x-lychgate-origin",
        "x-lychgate-request-id",
        "x-request-id",
    ];
    for (name, value) in &answer.headers {
        let is_close = name == "connection" && value == "close";
        assert!(is_close || ALLOWED.contains(&name.as_str()), "{name}: {value}");
    }
}

/// attack 75: odd heads, odd framing, and connections that end.
#[tokio::test]
async fn the_clouds_answers_are_sanitised() {
    let accepted = "HTTP/1.1 202 Accepted\r\n";
    let hop = "Connection: X-Evil\r\nX-Evil: 1\r\nSet-Cookie: a=b\r\nServer: s\r\nLocation: /x\r\nWWW-Authenticate: Basic\r\n";
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(20);
    for effect in [
        Effect::Close,
        Effect::Huge { bytes: 8 << 20 },
        raw(&format!("{accepted}{hop}Content-Length: 0\r\n\r\n")),
        raw(&format!("{accepted}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n")),
        raw(&format!("{accepted}\r\n\"\"")),
        raw(&format!("{interim}{accepted}Content-Length: 0\r\n\r\n")),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{effect:?}");
        check_head(&answer);
        assert_eq!(world.outcomes(1).await[0]["result"], "sent", "{effect:?}");
        assert_eq!(world.emulator.counts().delete, 1, "{effect:?}");
    }
}

/// attack 75: interim answers without end, or an answer that is no HTTP, end in a clear answer.
#[tokio::test]
async fn an_answer_that_is_none_is_told_as_unknown() {
    for effect in [
        raw(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000)),
        raw("HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        raw(&format!("HTTP/1.1 202 Accepted\r\n{}", "A: b\r\n".repeat(100_000))),
        raw("nonsense\r\n\r\n"),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        world.emulator.fault(Fault::new(effect).at(Operation::Delete).times(1));
        let answer = world.delete("alice", FINISHED).await;
        // The job is still there, so nobody knows.
        assert_eq!(said(&answer), refused(504, "5042"));
        assert_eq!(world.emulator.counts().delete, 1, "never a second delete");
    }
}

/// attack 78
#[tokio::test]
async fn error_bodies_are_bounded_text_without_our_key() {
    let refusal = r#"{"error_code":"ModelArts.2878","error_msg":"no"}"#;
    let long = format!(r#"{{"error_code":"ModelArts.1","error_msg":"{}"}}"#, "x".repeat(64 << 10));
    let echo = format!(r#"{{"error_code":"ModelArts.2878","error_msg":"key {CLOUD_AK} may not"}}"#);
    let withheld = echo.replace(CLOUD_AK, "[withheld]");
    let html = [("content-type", "text/html")];
    let text = [("content-type", "text/plain;charset=UTF-8"), ("set-cookie", "a=b")];
    let ours = || Err(refused(502, "5023"));
    for (effect, expected) in [
        (scripted(409, &[JSON, ("server", "s")], refusal), Ok(refusal)),
        (scripted(409, &[JSON], &echo), Ok(&withheld)),
        (scripted(500, &text, "plain words"), Ok("plain words")),
        (scripted(500, &[JSON], ""), Ok("")),
        (scripted(500, &html, "<h1>no</h1>"), ours()),
        (scripted(500, &[], "untyped"), ours()),
        (scripted(500, &[JSON], &long), ours()),
        (scripted(503, &[JSON, ("content-encoding", "gzip")], "\u{1f}\u{8}"), ours()),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete));
        let answer = world.delete("alice", FINISHED).await;
        check_head(&answer);
        match expected {
            Ok(body) => {
                assert_eq!(String::from_utf8_lossy(&answer.body), body, "{effect:?}");
                assert_eq!(answer.header("x-lychgate-origin"), Some("upstream"), "{effect:?}");
            }
            Err(expected) => assert_eq!(said(&answer), expected, "{effect:?}"),
        }
        assert!(!String::from_utf8_lossy(&answer.body).contains(CLOUD_AK));
        let outcome = &world.outcomes(1).await[0];
        assert_eq!(outcome["result"], "sent", "the cloud has answered: {outcome}");
        assert!(outcome["upstream_request_id"].is_string(), "{effect:?}: {outcome}");
    }
}

/// attack 74: a look-up that is asked again is signed anew, with the time of then.
#[tokio::test]
async fn each_attempt_has_a_signature_of_its_own() {
    let start = Clock::system().now();
    let clock = Clock::manual(start);
    let world = World::builder().clock(clock.clone()).start().await;
    let reset = Effect::Reset { when: Reset::Done };
    let late = Fault::new(reset).at(Operation::Details).times(1).after(Duration::from_millis(300));
    world.emulator.fault(late);
    let later = async {
        poll(|| Some(()).filter(|()| world.emulator.counts().details == 1)).await;
        clock.set(start + SignedDuration::from_secs(5));
    };
    let (answer, ()) = tokio::join!(world.delete("alice", FINISHED), later);
    assert_eq!(answer.status, 202);
    let requests = world.emulator.requests();
    let details: Vec<_> = requests
        .iter()
        .filter(|it| it.method == "GET" && it.target.contains("/training-jobs/"))
        .map(|it| (it.header("x-sdk-date").unwrap(), it.header("authorization").unwrap()))
        .collect();
    assert_eq!(details.len(), 2);
    assert!(details[0].0 < details[1].0, "{details:?}");
    assert_ne!(details[0].1, details[1].1);
    assert_eq!(world.emulator.failed_signatures(CLOUD_AK), 0);
}

/// attack 40
#[tokio::test]
async fn a_trace_context_that_is_none_is_replaced_and_baggage_stays() {
    let zero = "0".repeat(32);
    let good = "0af7651916cd43dd8448eb211c80319c";
    let state = "a=b,".repeat(1500);
    for (fields, known) in [
        (format!("traceparent: 00-{zero}-b7ad6b7169203331-01"), None),
        (format!("traceparent: 00-{good}-0000000000000000-01"), None),
        ("traceparent: junk".to_owned(), None),
        (format!("traceparent: ff-{good}-b7ad6b7169203331-01"), None),
        (format!("traceparent: 00-{}-b7ad6b7169203331-01", good.to_uppercase()), None),
        (
            format!(
                "traceparent: 00-{good}-b7ad6b7169203331-01\r\ntraceparent: 00-{good}-b7ad6b7169203331-00"
            ),
            None,
        ),
        (format!("tracestate: {state}\r\nbaggage: {state}"), None),
        (
            format!(
                "traceparent: 00-{good}-b7ad6b7169203331-00\r\ntracestate: a=b\r\nbaggage: a=b"
            ),
            Some(good),
        ),
    ] {
        let world = World::builder().policies(ALLOW_ALL).start().await;
        let head = world.head("alice", FINISHED).replacen("\r\n", &format!("\r\n{fields}\r\n"), 1);
        let answer = http::send(world.gate, head.as_bytes()).await;
        assert_eq!(answer.status, 202, "{fields}");
        let request = world.emulator.requests().pop().unwrap();
        assert!(request.header("tracestate").is_none() && request.header("baggage").is_none());
        let sent = request.header("traceparent").unwrap().to_owned();
        let trace_id = sent.split('-').nth(1).unwrap();
        assert_eq!(trace_id.len(), 32);
        assert_ne!(trace_id, zero);
        assert_eq!(trace_id == good, known.is_some(), "{fields}");
    }
    // What does not fit into a line of the head.
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let field = format!("\r\ntracestate: {}\r\n", "a".repeat(17 << 10));
    let head = world.head("alice", FINISHED).replacen("\r\n", &field, 1);
    assert_eq!(said(&http::send(world.gate, head.as_bytes()).await), refused(431, "4311"));
    assert_eq!(world.emulator.counts().all(), 0);
}

/// The cloud closes right after a look-up's answer without having said so: a delete that finds that out
/// before it is written goes out on a fresh connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_takes_no_delete() {
    let world = world(BY_POOL).await;
    let job = world.emulator.jobs().into_iter().find(|it| it.id() == FINISHED).unwrap();
    for number in 0..40 {
        world.emulator.insert(job.clone());
        world.emulator.fault(Fault::new(Effect::Close).at(Operation::Details).times(1));
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!(answer.status, 202, "{number}: {}", answer.message());
    }
}
