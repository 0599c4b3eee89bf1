//! The emulator, asked over its socket: every documented answer, and every fault.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::upstream::emulator::client::{Answer, Call, KEY, PROJECT, now, send};
use jiff::{SignedDuration, Timestamp};
use lychgate::clock::Clock;
use lychgate::emulator::{
    Config, DeleteBody, Effect, Emulator, FAILURES_MAX, Fault, Job, Key, LOCK, Operation, Reset,
    SKEW_MAX, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

mod client;
mod signatures;

const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

fn key() -> Key {
    let (ak, sk) = KEY;
    Key {
        ak: ak.to_owned(),
        sk: sk.to_owned(),
        security_token: None,
        projects: vec![PROJECT.to_owned()],
    }
}

fn config() -> Config {
    Config { clock: Clock::manual(now()), ..Config::new(vec![key()]) }
}

async fn start(config: Config) -> Emulator {
    let emulator = Emulator::start(config).await.unwrap();
    for job in sample::jobs(now()) {
        emulator.insert(job);
    }
    emulator
}

fn details() -> Call {
    Call::new("GET", &format!("/v2/{PROJECT}/training-jobs/{JOB}"))
}

fn tags() -> Call {
    Call::new("GET", &format!("/v2/{PROJECT}/modelarts-training-job/{JOB}/tags"))
}

fn delete() -> Call {
    Call::new("DELETE", &format!("/v2/{PROJECT}/training-jobs/{JOB}"))
}

fn search(body: &Value) -> Call {
    Call::new("POST", &format!("/v2/{PROJECT}/training-job-searches")).body(&body.to_string())
}

#[tokio::test]
async fn a_job_is_told_as_documented() {
    let emulator = start(config()).await;
    let answer = send(&emulator, details().signed()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("date"), Some("Thu, 15 Jan 2026 12:00:00 GMT"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    let job = answer.json();
    for (pointer, expected) in [
        ("/kind", json!("job")),
        ("/metadata/id", json!(JOB)),
        ("/metadata/workspace_id", json!("0")),
        ("/metadata/user_name", json!("alice")),
        ("/metadata/create_time", json!((now() - SignedDuration::from_hours(26)).as_millisecond())),
        ("/status/phase", json!("Completed")),
        ("/spec/resource/pool_id", json!("pool-vision-1")),
        ("/endpoints/jupyter_lab/token", json!(format!("jupyter-token-{JOB}"))),
    ] {
        assert_eq!(job.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert_eq!(job.pointer("/tags"), None, "tags are told elsewhere");
    assert_eq!(job.pointer("/spec/resource/flavor_detail"), None, "only public pools have it");

    let answer = send(&emulator, tags().signed()).await.unwrap();
    let expected = json!({"tags": [
        {"key": "team", "value": "vision"},
        {"key": "env", "value": "dev"},
    ]});
    assert_eq!((answer.status, answer.json()), (200, expected));
}

/// A call, and what has to be refused about it: status, code, a part of the message.
type Refused = (&'static str, Call, u16, &'static str, &'static str);

async fn check_refused(rows: Vec<Refused>) {
    for (name, call, status, code, text) in rows {
        let emulator = start(config()).await;
        let answer = send(&emulator, call).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
        let body = answer.json();
        let message = body["error_msg"].as_str().unwrap();
        assert!(message.contains(text), "{name}: {message}");
        let id = code.starts_with("APIG.").then(|| answer.header("x-request-id").unwrap());
        assert_eq!(body["request_id"].as_str(), id, "{name}: only the front gateway's have it");
        assert_eq!(emulator.jobs().len(), sample::jobs(now()).len(), "{name}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_the_documented_code() {
    const UNKNOWN: &str = "ffffffff-0000-4000-8000-000000000000";
    let at = |method, path: &str| {
        Call::new(method, &path.replace("PROJECT", PROJECT).replace("UNKNOWN", UNKNOWN)).signed()
    };
    let job = |method| at(method, "/v2/PROJECT/training-jobs/UNKNOWN");
    let job_tags = at("GET", "/v2/PROJECT/modelarts-training-job/UNKNOWN/tags");
    check_refused(vec![
        ("unknown job, details", job("GET"), 400, "ModelArts.2775", UNKNOWN),
        ("unknown job, tags", job_tags, 400, "ModelArts.2775", UNKNOWN),
        ("unknown job, delete", job("DELETE"), 400, "ModelArts.2775", UNKNOWN),
        ("no such API", at("GET", "/v1/x"), 404, "APIG.0101", "does not exist"),
        ("no job ID", at("DELETE", "/v2/PROJECT/training-jobs/"), 404, "APIG.0101", "not exist"),
        ("wrong method", job("PUT"), 405, "ModelArts.2803", "method"),
    ])
    .await;
}

#[tokio::test]
async fn bad_credentials_are_refused_with_the_documented_code() {
    let past = SKEW_MAX + SignedDuration::from_secs(1);
    let skewed = |by| details().date(now() + by).signed();
    let key = |ak, sk| details().key(ak, sk).signed();
    let with = |name, value| details().header(name, value);
    let no_date = details().unsigned_header("x-sdk-date").signed();
    let security_token = with("X-Security-Token", "t").signed();
    let other_project = with("X-Project-Id", "other").signed();
    let other_path = Call::new("GET", &format!("/v2/other/training-jobs/{JOB}")).signed();
    let bad_key = |name, call, text| (name, call, 401, "APIG.0301", text);
    check_refused(vec![
        bad_key("unsigned", details(), "x-auth-token not found"),
        bad_key("token", with("X-Auth-Token", "MIIF"), "decrypt token fail"),
        bad_key("another scheme", with("Authorization", "Bearer x"), "format"),
        bad_key("unknown key", key("AKUNKNOWN", "x"), "ak:AKUNKNOWN,err:ak not exist"),
        bad_key("wrong secret", key(KEY.0, "x"), "signature fail,canonicalRequest:GET|/v2/"),
        bad_key("too old", skewed(-past), "signature time:2026-01-15T11:44:59Z"),
        bad_key("too new", skewed(past), "server time:2026-01-15T12:00:00Z"),
        bad_key("date unsigned", no_date, "X-Sdk-Date is not signed"),
        bad_key("foreign security token", security_token, "security token"),
        ("project header differs", other_project, 403, "ModelArts.0210", "project"),
        ("project of another key", other_path, 403, "ModelArts.0210", "project"),
    ])
    .await;
}

#[tokio::test]
async fn a_clock_may_be_fifteen_minutes_off() {
    let emulator = start(config()).await;
    for by in [SKEW_MAX, -SKEW_MAX, SignedDuration::ZERO] {
        let answer = send(&emulator, details().date(now() + by).signed()).await.unwrap();
        assert_eq!(answer.status, 200, "{by}");
    }
}

#[tokio::test]
async fn a_temporary_key_needs_its_own_signed_token() {
    let key = Key { security_token: Some("token-1".to_owned()), ..key() };
    let emulator = start(Config { keys: vec![key], ..config() }).await;
    let with = |token| details().header("X-Security-Token", token);
    for (name, call, status) in [
        ("right", with("token-1").signed(), 200),
        ("none", details().signed(), 401),
        ("wrong", with("token-2").signed(), 401),
        ("unsigned", with("token-1").unsigned_header("x-security-token").signed(), 401),
    ] {
        assert_eq!(send(&emulator, call).await.unwrap().status, status, "{name}");
    }
}

#[tokio::test]
async fn a_deleted_job_is_gone_or_terminates_for_a_while() {
    for (look_ups, body, text) in [(0, DeleteBody::Empty, ""), (2, DeleteBody::Quotes, "\"\"")] {
        let emulator =
            start(Config { terminating_look_ups: look_ups, delete_body: body, ..config() }).await;
        let answer = send(&emulator, delete().signed()).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (202, text));
        assert_eq!(emulator.exists(JOB), 0 < look_ups);
        for _ in 0..look_ups {
            let again = send(&emulator, delete().signed()).await.unwrap();
            assert_eq!(again.status, 202, "one that terminates is accepted again");
            let answer = send(&emulator, details().signed()).await.unwrap();
            assert_eq!(answer.json()["status"]["phase"], "Terminating");
            assert_eq!(emulator.phase(JOB).as_deref(), Some("Terminating"));
        }
        let answer = send(&emulator, details().signed()).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "ModelArts.2775"));
        assert!(!emulator.exists(JOB));
        let answer = send(&emulator, delete().signed()).await.unwrap();
        assert_eq!(answer.code(), "ModelArts.2775");
    }
}

#[tokio::test]
async fn five_bad_signatures_in_a_row_lock_the_key_for_five_minutes() {
    let clock = Clock::manual(now());
    let emulator = start(Config { clock: clock.clone(), ..config() }).await;
    let bad = || details().key(KEY.0, "wrong").signed();
    for _ in 1..FAILURES_MAX {
        assert_eq!(send(&emulator, bad()).await.unwrap().status, 401);
    }
    assert_eq!(send(&emulator, details().signed()).await.unwrap().status, 200, "and starts anew");
    for _ in 1..FAILURES_MAX {
        assert_eq!(send(&emulator, bad()).await.unwrap().status, 401);
        assert_eq!(emulator.lockouts(), 0);
    }
    send(&emulator, bad()).await.unwrap();
    assert_eq!((emulator.lockouts(), emulator.failed_signatures(KEY.0)), (1, 9));

    let almost = now() + LOCK - SignedDuration::from_secs(1);
    clock.set(almost);
    let answer = send(&emulator, details().date(almost).signed()).await.unwrap();
    let message = answer.json()["error_msg"].to_string();
    assert_eq!((answer.status, answer.code().as_str()), (401, "APIG.0301"));
    assert!(message.contains("reach the limit,forbidden"), "{message}");
    send(&emulator, bad()).await.unwrap();
    assert_eq!(emulator.failed_signatures(KEY.0), 9, "what is not verified does not count");

    clock.set(now() + LOCK);
    let answer = send(&emulator, details().date(now() + LOCK).signed()).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn keys_come_and_go() {
    let emulator = start(config()).await;
    let other = Key { ak: "AK2".to_owned(), sk: "sk2".to_owned(), ..key() };
    let with_other = || details().key("AK2", "sk2").signed();
    assert_eq!(send(&emulator, with_other()).await.unwrap().status, 401);
    emulator.insert_key(other);
    assert_eq!(send(&emulator, with_other()).await.unwrap().status, 200);
    emulator.remove_key(KEY.0);
    assert_eq!(send(&emulator, details().signed()).await.unwrap().status, 401);
    assert_eq!(send(&emulator, with_other()).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let emulator = start(config()).await;
    emulator.insert(Job::new("other", "00000000-0000-4000-8000-000000000000", "x", now()));
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let youngest = ["scratch-mnist", "vision-segmentation-live", "vision-untagged-trial"];
    let all = sample::jobs(now()).len();
    for (body, expected) in [
        (json!({"limit": 3}), youngest.to_vec()),
        (json!({"limit": 2, "offset": 1}), vec!["vision-untagged-trial", "mixed-distillation"]),
        (json!({"limit": 1, "sort_by": "create_time", "order": "asc"}), vec!["rehearsal-public"]),
        (json!({"limit": 50, "offset": 1}), vec![]),
    ] {
        let answer = send(&emulator, search(&body).signed()).await.unwrap();
        let list = answer.json();
        assert_eq!(
            (answer.status, names(&answer)),
            (200, expected.into_iter().map(Into::into).collect()),
            "{body}"
        );
        assert_eq!((&list["total"], &list["count"]), (&json!(all), &json!(all)), "{body}");
    }
    for body in [
        json!({"limit": 51}),
        json!({"order": "up"}),
        json!({"sort_by": "shoe_size"}),
        json!({"filters": [{"key": "phase", "operator": "in", "value": ["Running"]}]}),
        json!("x"),
    ] {
        let answer = send(&emulator, search(&body).signed()).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "ModelArts.0104"), "{body}");
    }
}

/// What a fault does to details, tags and delete: the status and a text in the body of each.
#[tokio::test]
async fn faults_answer_in_place_of_the_service() {
    for (effect, status, text) in [
        (Effect::Forbidden, 403, "ModelArts.0108"),
        (Effect::Internal, 500, "ModelArts.0010"),
        (Effect::KeyRefused, 401, "APIG.0301"),
        (Effect::PermissionRefused, 401, "ModelArts.0112"),
        (Effect::Throttled { retry_after_s: 7 }, 429, "ModelArts.2799"),
        (Effect::Redirect { status: 307, location: "http://127.0.0.1:1/x".to_owned() }, 307, ""),
        (
            Effect::Scripted {
                status: 202,
                headers: vec![("Set-Cookie".to_owned(), "a=b".to_owned())],
                body: "hello".to_owned(),
            },
            202,
            "hello",
        ),
    ] {
        for call in [details, tags, delete] {
            let emulator = start(config()).await;
            emulator.fault(Fault::new(effect.clone()).times(1));
            let answer = send(&emulator, call().signed()).await.unwrap();
            assert_eq!(answer.status, status, "{effect:?}");
            assert!(answer.body.contains(text), "{effect:?}: {}", answer.body);
            assert!(answer.header("x-request-id").is_some(), "{effect:?}");
            for (effect_header, name, value) in [
                (Effect::Throttled { retry_after_s: 7 }, "retry-after", "7"),
                (
                    Effect::Redirect { status: 307, location: "http://127.0.0.1:1/x".to_owned() },
                    "location",
                    "http://127.0.0.1:1/x",
                ),
            ] {
                if effect_header == effect {
                    assert_eq!(answer.header(name), Some(value));
                }
            }
            assert!(emulator.exists(JOB), "{effect:?}: nothing is carried out");
            assert_eq!(emulator.failed_signatures(KEY.0), 0, "{effect:?}: nothing is verified");
            assert_eq!(emulator.faults(), [], "{effect:?}: once is once");
            let answer = send(&emulator, call().signed()).await.unwrap();
            assert!([200, 202].contains(&answer.status), "{effect:?}");
        }
    }
}

#[tokio::test]
async fn faults_spoil_right_answers() {
    let spoiled = async |effect: Effect, call: fn() -> Call| {
        let emulator = start(config()).await;
        emulator.fault(Fault::new(effect));
        send(&emulator, call().signed()).await
    };
    let answer = spoiled(Effect::OtherJob, details).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_ne!(answer.json()["metadata"]["id"], JOB);

    let answer = spoiled(Effect::WrongTypes, details).await.unwrap().json();
    assert_eq!(
        (&answer["spec"]["resource"]["pool_id"], &answer["kind"]),
        (&json!(7), &json!("job"))
    );
    let answer = spoiled(Effect::WrongTypes, tags).await.unwrap().json();
    assert_eq!(answer, json!({"tags": {"env": "prod"}}));

    let answer = spoiled(Effect::DuplicateKeys, details).await.unwrap();
    assert_eq!(answer.body.matches("\"pool_id\"").count(), 3);
    assert_eq!(answer.json()["spec"]["resource"]["pool_id"], "pool-vision-1");
    let answer = spoiled(Effect::DuplicateKeys, tags).await.unwrap();
    assert_eq!(answer.body.matches("\"tags\"").count(), 2);

    let answer = spoiled(Effect::Html, tags).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));

    let answer = spoiled(Effect::Huge { bytes: 3_000_000 }, details).await.unwrap();
    assert_eq!(answer.body.len(), 3_000_000);
    assert_eq!(answer.json()["metadata"]["id"], JOB);

    let answer = spoiled(Effect::TruncatedJson, details).await.unwrap();
    assert!(serde_json::from_str::<Value>(&answer.body).is_err());
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));

    let answer = spoiled(Effect::Truncated, details).await.unwrap();
    let promised: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!(promised / 2, answer.body.len());

    let answer = spoiled(Effect::DateOffset { seconds: -1000 }, details).await.unwrap();
    assert_eq!(answer.header("date"), Some("Thu, 15 Jan 2026 11:43:20 GMT"));

    let raw = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = spoiled(Effect::Raw { text: raw.to_owned() }, delete).await.unwrap();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (202, Some("chunked")));
}

#[tokio::test]
async fn connections_are_reset_before_at_and_after_the_request() {
    for (when, is_recorded, is_done) in
        [(Reset::Unread, false, false), (Reset::Arrived, true, false), (Reset::Done, true, true)]
    {
        let emulator = start(config()).await;
        let fault = Fault::new(Effect::Reset { when }).at(Operation::Delete);
        emulator.fault(fault.times(1));
        let answer = send(&emulator, details().signed()).await.unwrap();
        assert_eq!(answer.status, 200, "{when:?}: other operations are left alone");
        let error = send(&emulator, delete().signed()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{when:?}");
        assert_eq!(emulator.counts().delete == 1, is_recorded, "{when:?}");
        assert_eq!(!emulator.exists(JOB), is_done, "{when:?}");
        assert_eq!(emulator.faults(), [], "{when:?}");
        let unanswered = emulator.requests().iter().filter(|it| it.answered.is_none()).count();
        assert_eq!(unanswered == 1, is_recorded, "{when:?}");
    }
}

#[tokio::test]
async fn connections_end_or_fall_silent_unannounced() {
    for (effect, is_answered, is_open) in [
        (Effect::Close, true, false),
        (Effect::Truncated, false, false),
        (Effect::Silent, false, true),
        (Effect::Stalled, false, true),
    ] {
        let emulator = start(config()).await;
        emulator.fault(Fault::new(effect.clone()).at(Operation::Delete));
        let mut connection = client::Connection::open(&emulator).await;
        let wait = Duration::from_millis(200);
        let answer = tokio::time::timeout(wait, connection.send(delete().signed())).await;
        assert_eq!(answer.is_err(), is_open, "{effect:?}: {answer:?}");
        if let Ok(answer) = answer {
            assert_eq!(answer.unwrap().status, 202, "{effect:?}");
            assert!(connection.send(details().signed()).await.is_err(), "{effect:?}");
        }
        assert!(!emulator.exists(JOB), "{effect:?}: it was carried out");
        let requests = emulator.take_requests();
        assert_eq!(requests[0].answered.is_some(), is_answered, "{effect:?}");
        assert_eq!(emulator.requests().len(), 0);
        tokio::time::timeout(wait, emulator.stop()).await.unwrap();
    }
}

/// A connection that is kept open is watched too.
#[tokio::test]
async fn a_request_on_an_idle_connection_is_reset_unread() {
    let emulator = start(config()).await;
    let mut connection = client::Connection::open(&emulator).await;
    assert_eq!(connection.send(details().signed()).await.unwrap().status, 200);
    emulator.fault(Fault::new(Effect::Reset { when: Reset::Unread }));
    let error = connection.send(details().signed()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(emulator.counts().details, 1);
}

#[tokio::test]
async fn a_delay_comes_first_and_overlaps_show() {
    let emulator = start(config()).await;
    emulator.fault(Fault::new(Effect::None).after(Duration::from_millis(300)));
    let (first, second) =
        tokio::join!(send(&emulator, details().signed()), send(&emulator, tags().signed()));
    assert_eq!((first.unwrap().status, second.unwrap().status), (200, 200));
    emulator.clear_faults();
    send(&emulator, details().signed()).await.unwrap();

    let requests = emulator.requests();
    let [a, b, c] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(a.overlaps(b) && b.overlaps(a), "asked at the same time");
    assert!(!a.overlaps(c) && !c.overlaps(b), "asked one after the other");
    assert!(Duration::from_millis(300) <= a.answered.unwrap().0 - a.arrived);
    assert_ne!(a.connection, b.connection);
}

#[tokio::test]
async fn requests_are_kept_as_they_arrived() {
    let emulator = start(config()).await;
    let mut connection = client::Connection::open(&emulator).await;
    connection.send(details().signed()).await.unwrap();
    connection.send(tags().header("X-Odd", "a  b").signed()).await.unwrap();
    let requests = emulator.requests();
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((first.operation, second.operation), (Operation::Details, Operation::Tags));
    assert_eq!(first.connection, second.connection);
    assert_eq!(second.header("x-odd"), Some("a  b"));
    assert_eq!(second.time, now());
    let raw = String::from_utf8(second.raw.to_vec()).unwrap();
    assert!(raw.starts_with(&format!("GET {}", second.target)), "{raw}");
    assert!(raw.contains("X-Odd: a  b\r\n") && raw.ends_with("\r\n\r\n"), "{raw}");
}

#[tokio::test]
async fn other_processes_are_served_too() {
    let emulator = start(config()).await;
    let control = async |method: &str, path: &str, body: &str| {
        let answer = send(&emulator, Call::new(method, path).body(body)).await.unwrap();
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    };
    let id = "00000000-0000-4000-8000-000000000002";
    let job = serde_json::to_string(&Job::new(PROJECT, id, "x", now()).with_tag("a", "b")).unwrap();
    assert_eq!(control("POST", "/emulator/jobs", &job).await.0, 201);
    assert!(emulator.exists(id));
    let (_, jobs) = control("GET", "/emulator/jobs", "").await;
    assert_eq!(jobs.as_array().unwrap().len(), emulator.jobs().len());

    send(&emulator, details().key(KEY.0, "wrong").signed()).await.unwrap();
    assert_eq!((emulator.counts().details, emulator.counts().other), (1, 0));
    let (_, requests) = control("GET", "/emulator/requests", "").await;
    assert_eq!(
        (&requests[0]["operation"], &requests[0]["status"]),
        (&json!("details"), &json!(401))
    );
    assert_eq!(control("DELETE", "/emulator/requests", "").await.0, 204);
    assert_eq!(emulator.requests().len(), 0);
    assert_eq!(control("GET", "/emulator/x", "").await.0, 404);
}

#[tokio::test]
async fn a_stopped_emulator_is_gone_and_can_be_followed_by_another() {
    let emulator = start(config()).await;
    emulator.fault(Fault::new(Effect::None).after(Duration::from_secs(60)));
    let hanging = send(&emulator, details().signed());
    let stopping = async {
        while emulator.counts().details == 0 {
            tokio::task::yield_now().await;
        }
        emulator.stop().await;
    };
    let (answer, ()) = tokio::join!(hanging, stopping);
    assert!(answer.is_err(), "no answer is made up");
    let error = send(&emulator, details().signed()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

    let next = Config { address: emulator.address(), ..config() };
    let next = start(next).await;
    assert_eq!(send(&next, details().signed()).await.unwrap().status, 200);
}

#[test]
fn the_sample_has_what_a_demo_needs() {
    let jobs = sample::jobs(now());
    let count = |holds: &dyn Fn(&Job) -> bool| jobs.iter().filter(|it| holds(it)).count();
    let pool = |it: &Job| it.at("/spec/resource/pool_id").as_str().map(str::to_owned);
    let mut ids: Vec<&str> = jobs.iter().map(Job::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), jobs.len(), "IDs are unique");
    assert!(jobs.iter().all(|it| it.project_id == sample::PROJECT));
    for (name, found) in [
        ("dedicated", count(&|it| pool(it).as_deref() == Some("pool-vision-1"))),
        ("another pool", count(&|it| pool(it).as_deref() == Some("pool-nlp-1"))),
        ("public", count(&|it| it.at("/spec/resource/flavor_detail").is_object())),
        ("prod", count(&|it| it.tags.iter().any(|it| it.key == "env" && it.value == "prod"))),
        ("untagged", count(&|it| it.tags.is_empty())),
        ("running", count(&|it| it.phase() == "Running")),
        ("not alice's", count(&|it| it.at("/metadata/user_name") != "alice")),
        ("heterogeneous", count(&|it| it.at("/tasks/1/task_resource/pool_id").is_string())),
        ("federated", count(&|it| it.at("/spec/resource/pool_group_id").is_string())),
    ] {
        assert!(0 < found, "{name}");
    }
    let oldest = jobs.iter().filter_map(|it| it.at("/metadata/create_time").as_i64()).min();
    assert!(oldest < Some(now().as_millisecond()));
    assert_ne!(now(), Timestamp::UNIX_EPOCH);
}
