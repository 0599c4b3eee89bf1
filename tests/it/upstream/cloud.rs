//! The gate's own key: what happens when the cloud refuses it, and how it is changed.

use crate::support::http::said;
use crate::support::world::{
    CLOUD_AK, CLOUD_SK, FINISHED, PATIENCE, PROJECT, UNKNOWN, World, poll, until,
};

use futures_util::future::join_all;
use jiff::SignedDuration;
use lychgate::clock::Clock;
use lychgate::emulator::{Effect, Fault, Key, Operation};
use lychgate::mounted::READ_EVERY;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const OPEN: &str = r#"lychgate_upstream_breaker_open{upstream="emulator"} 1"#;
const CLOSED: &str = r#"lychgate_upstream_breaker_open{upstream="emulator"} 0"#;

fn key(ak: &str, sk: &str) -> Key {
    let (ak, sk) = (ak.to_owned(), sk.to_owned());
    Key { ak, sk, security_token: None, projects: vec![PROJECT.to_owned()] }
}

fn refused() -> (u16, Option<String>) {
    (502, Some("Lychgate.5021".to_owned()))
}

#[tokio::test]
async fn a_bad_key_fails_once_however_many_ask() {
    let first =
        World::builder().emulator(|it| it.keys = vec![key(CLOUD_AK, "other")]).start().await;
    // A replica with a ledger of its own, and the same key.
    let second = World::builder().behind(&first).start().await;
    let cloud = &first.emulator;
    let answers = join_all((0..20).map(|_| first.delete("alice", FINISHED))).await;
    assert!(answers.iter().all(|it| said(it) == refused()), "{answers:?}");
    assert_eq!((cloud.failed_signatures(CLOUD_AK), cloud.counts().all()), (1, 1));
    first.measures(OPEN).await;
    let asked =
        r#"lychgate_upstream_requests_total{upstream="emulator",operation="details",status="#;
    let asked: Vec<_> = first
        .metrics()
        .await
        .lines()
        .filter_map(|it| it.strip_prefix(asked).map(str::to_owned))
        .collect();
    assert_eq!(asked, [r#""4xx"} 1"#], "what an open breaker holds back is no request");
    for record in first.records("decision") {
        let said = (record["result"].as_str(), record["reason"].as_str());
        assert_eq!(said, (Some("indeterminate"), Some("look_up_failed")), "{record}");
    }

    let both = (0..20).map(|at| [&first, &second][at % 2].delete("alice", FINISHED));
    let answers = join_all(both).await;
    assert!(answers.iter().all(|it| said(it) == refused()), "{answers:?}");
    assert_eq!((cloud.failed_signatures(CLOUD_AK), cloud.lockouts()), (2, 0));
    assert_eq!(cloud.counts().all(), 2);
    assert!(first.outcomes(30).await.iter().all(|it| it["result"] != "sent"));
}

#[tokio::test]
async fn a_refused_delete_opens_the_breaker_too() {
    let world = World::start().await;
    world.emulator.fault(Fault::new(Effect::KeyRefused).at(Operation::Delete));
    for _ in 0..3 {
        assert_eq!(said(&world.delete("alice", FINISHED).await), refused());
    }
    assert_eq!(world.emulator.counts().delete, 1);
    let outcomes = world.outcomes(3).await;
    let results: Vec<_> = outcomes.iter().map(|it| it["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["sent", "refused", "refused"]);
}

#[tokio::test]
async fn a_401_about_the_request_leaves_the_breaker_closed() {
    let scripted = |code: &str| Effect::Scripted {
        status: 401,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: format!(r#"{{"error_code":"{code}","error_msg":"no"}}"#),
    };
    let world = World::start().await;
    for effect in [Effect::PermissionRefused, scripted("ModelArts.0210"), Effect::Forbidden] {
        world.emulator.fault(Fault::new(effect.clone()).at(Operation::Delete).times(1));
        let answer = world.delete("alice", FINISHED).await;
        assert!(matches!(answer.status, 401 | 403), "{effect:?}: {answer:?}");
    }
    world.measures(CLOSED).await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

#[tokio::test]
async fn every_answer_that_may_mean_the_key_opens_the_breaker() {
    for (status, kind, body) in [
        (401, "application/json", r#"{"error_code":"APIGW.0301","error_msg":"no"}"#),
        (401, "application/json", r#"{"error_code":"APIG.0307","error_msg":"no"}"#),
        (401, "application/json", r#"{"error_code":"ModelArts.0203","error_msg":"no"}"#),
        (403, "application/json", r#"{"error_code":"ModelArts.0203","error_msg":"no"}"#),
        (401, "application/json", "{}"),
        (401, "text/html", "<h1>who are you</h1>"),
        (401, "text/plain", ""),
    ] {
        let world = World::start().await;
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let effect = Effect::Scripted { status, headers, body: body.to_owned() };
        world.emulator.fault(Fault::new(effect).at(Operation::Delete).times(1));
        for _ in 0..2 {
            assert_eq!(said(&world.delete("alice", FINISHED).await), refused(), "{body}");
        }
        assert_eq!(world.emulator.counts().delete, 1, "{body}");
        let outcome = world.outcomes(1).await.swap_remove(0);
        assert_eq!(outcome["status"], status, "{body}");
        assert!(outcome["upstream_request_id"].is_string(), "{body}: {outcome}");
    }
}

#[tokio::test]
async fn a_probe_closes_the_breaker_when_the_cloud_takes_the_key_again() {
    let world =
        World::builder().emulator(|it| it.keys = vec![key(CLOUD_AK, "other")]).start().await;
    assert_eq!(said(&world.delete("alice", FINISHED).await), refused());
    world.measures(OPEN).await;
    let minutes = async |minutes: u64| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60 * minutes)).await;
        tokio::time::resume();
    };
    let probed = async |count: u64| {
        poll(|| Some(()).filter(|()| world.emulator.counts().all() == count)).await;
    };
    minutes(4).await;
    assert_eq!(said(&world.delete("alice", FINISHED).await), refused());
    assert_eq!(world.emulator.counts().all(), 1);
    // The first probe comes after 5 to 7 minutes, and is refused.
    minutes(4).await;
    probed(2).await;
    assert_eq!(world.emulator.failed_signatures(CLOUD_AK), 2);
    assert_eq!(said(&world.delete("alice", FINISHED).await), refused());
    world.emulator.insert_key(key(CLOUD_AK, CLOUD_SK));
    minutes(11).await;
    probed(3).await;
    world.measures(CLOSED).await;
    let probe = world.emulator.requests().pop().unwrap();
    assert_eq!(
        (probe.method.as_str(), probe.target.as_str()),
        (
            "GET",
            format!("/v2/{PROJECT}/training-jobs/00000000-0000-4000-8000-000000000000").as_str()
        )
    );
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

#[tokio::test]
async fn the_clouds_clock_is_measured_and_stops_the_gate_before_signatures_fail() {
    for (seconds, open) in [(-200, false), (600, false), (850, true), (-850, true)] {
        let world = World::start().await;
        world.emulator.fault(Fault::new(Effect::DateOffset { seconds }).at(Operation::Delete));
        // What was accepted is passed on, whatever the clock says.
        assert_eq!(world.delete("alice", FINISHED).await.status, 202, "{seconds}");
        let metrics = world.metrics().await;
        let skew = metrics.lines().find_map(|it| {
            it.strip_prefix(r#"lychgate_upstream_clock_skew_seconds{upstream="emulator"} "#)
        });
        let skew: i64 = skew.unwrap().parse().unwrap();
        assert!((seconds - 3..=seconds).contains(&skew), "{skew} for {seconds}");
        world.measures(if open { OPEN } else { CLOSED }).await;
        let next = world.delete("alice", FINISHED).await;
        assert_eq!(said(&next) == refused(), open, "{seconds}: {next:?}");
    }
}

/// A date that cannot be is counted, and the clock is not judged by it.
#[tokio::test]
async fn a_date_that_is_none_says_nothing() {
    for date in ["Fri, 31 Dec 9999 23:59:59 GMT", "tomorrow"] {
        let world = World::start().await;
        let text = format!("HTTP/1.1 202 Accepted\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
        world.emulator.fault(Fault::new(Effect::Raw { text }).at(Operation::Delete));
        assert_eq!(world.delete("alice", FINISHED).await.status, 202, "{date}");
        world.measures(r#"lychgate_upstream_unreadable_dates_total{upstream="emulator"} 1"#).await;
        world.measures(CLOSED).await;
    }
}

/// Attack 71: the gate's clock is wrong, and the caller is not told that it is unauthorised.
#[tokio::test]
async fn a_wrong_clock_of_the_gate_is_the_gates_fault() {
    let minutes = SignedDuration::from_mins(16);
    let clock = Clock::manual(Clock::system().now().checked_add(minutes).unwrap());
    let world =
        World::builder().clock(clock).emulator(|it| it.clock = Clock::system()).start().await;
    for _ in 0..3 {
        assert_eq!(said(&world.delete("alice", FINISHED).await), refused());
    }
    assert_eq!(world.emulator.failed_signatures(CLOUD_AK), 1);
    world.measures(OPEN).await;
    // The gate's clock stands still, so that the cloud's comes closer meanwhile.
    let metrics = world.metrics().await;
    let skew = metrics.lines().find_map(|it| {
        it.strip_prefix(r#"lychgate_upstream_clock_skew_seconds{upstream="emulator"} "#)
    });
    let skew: i64 = skew.unwrap().parse().unwrap();
    assert!((-961..-900).contains(&skew), "{skew}");
}

/// Attack 72: under load a new key takes effect within two seconds, and no
/// request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_credential_takes_effect_without_a_failed_request() {
    const NEW: &str = "CLOUDKEY0000000000BB";
    let unlimited = "limits: {per_principal: {rate: 10000, burst: 10000}}\nledger:";
    let world = World::builder().config("ledger:", unlimited).start().await;
    world.emulator.insert_key(key(NEW, "new"));
    let file = world.directory.path().join("cloud.yaml");
    let answered = AtomicUsize::new(0);
    let (done, started) = (AtomicBool::new(false), Instant::now());
    let load = async |job: &str| {
        while !done.load(Ordering::Relaxed) {
            assert!(started.elapsed() < PATIENCE, "the rotation took no effect");
            let answer = world.delete("dave", job).await;
            // The job may be gone, which the cloud says only to a key that it takes.
            assert!(matches!(said(&answer), (202, _) | (400, Some(_))), "{answer:?}");
            assert!(answer.code().is_none_or(|it| it == "ModelArts.2775"), "{answer:?}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let rotate = async {
        poll(|| Some(()).filter(|()| 20 < answered.load(Ordering::Relaxed))).await;
        let half = format!("ak: {NEW}\n");
        // Half a file, none, and nonsense change nothing.
        fs::write(&file, half).unwrap();
        tokio::time::sleep(READ_EVERY * 3).await;
        fs::remove_file(&file).unwrap();
        tokio::time::sleep(READ_EVERY * 3).await;
        fs::write(&file, "{").unwrap();
        tokio::time::sleep(READ_EVERY * 3).await;
        let uses = |ak: &str| {
            let request = world.emulator.requests().pop().unwrap();
            request.header("authorization").unwrap().contains(ak)
        };
        assert!(uses(CLOUD_AK));
        // A Secret volume swaps a symlink.
        let swapped = world.directory.path().join("swapped.yaml");
        fs::write(&swapped, format!("ak: {NEW}\nsk: new\n")).unwrap();
        let link = world.directory.path().join("link");
        symlink(&swapped, &link).unwrap();
        let rotated = Instant::now();
        fs::rename(&link, &file).unwrap();
        poll(|| Some(()).filter(|()| uses(NEW))).await;
        let took = rotated.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        // What was signed before may still arrive; then the old key goes.
        poll(|| {
            let requests = world.emulator.requests();
            let last = requests.iter().rev().take(50);
            let new = last.filter(|it| it.header("authorization").unwrap().contains(NEW)).count();
            Some(()).filter(|()| new == 50)
        })
        .await;
        world.emulator.remove_key(CLOUD_AK);
        let before = answered.load(Ordering::Relaxed);
        poll(|| Some(()).filter(|()| before + 20 < answered.load(Ordering::Relaxed))).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(load(FINISHED), load(UNKNOWN), load(UNKNOWN), rotate);
    assert_eq!(world.emulator.failed_signatures(NEW), 0);
}

#[tokio::test]
async fn a_credential_that_comes_later_makes_the_gate_ready() {
    let world = World::builder().config("file: cloud.yaml", "file: later.yaml").start().await;
    assert_eq!(world.ready().await, 503);
    let answer = world.delete("alice", FINISHED).await;
    assert_eq!(said(&answer), (503, Some("Lychgate.5034".to_owned())));
    assert_eq!(world.emulator.counts().all(), 0);
    crate::support::world::put(
        world.directory.path(),
        "later.yaml",
        &format!("ak: {CLOUD_AK}\nsk: {CLOUD_SK}\n"),
    );
    until("not ready", async || world.ready().await == 200).await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

#[tokio::test]
async fn a_hanging_upstream_sheds_what_it_cannot_take() {
    let limited = "region: cn-north-4\n    in_flight: 2\n";
    let world = World::builder()
        .config("region: cn-north-4\n", limited)
        .emulator(|it| it.terminating_look_ups = 100)
        .start()
        .await;
    let slow = Fault::new(Effect::None).after(Duration::from_millis(500));
    world.emulator.fault(slow.at(Operation::Delete));
    let (a, b, shed) =
        tokio::join!(world.delete("alice", FINISHED), world.delete("alice", FINISHED), async {
            poll(|| Some(()).filter(|()| world.emulator.counts().delete == 2)).await;
            world.delete("alice", FINISHED).await
        });
    assert_eq!((a.status, b.status), (202, 202));
    assert_eq!(said(&shed), (503, Some("Lychgate.5035".to_owned())));
    let after: u32 = shed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&after));
    assert_eq!(world.emulator.counts().delete, 2);
    // The places are free again.
    assert_ne!(said(&world.delete("alice", FINISHED).await), said(&shed));
}
