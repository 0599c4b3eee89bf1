//! What callers are told beside yes and no, and what operators find of it.

use crate::support::collector::{Collector, Mood};
use crate::support::http;
use crate::support::world::{FINISHED, PATIENCE, PROJECT, PROTECTED, World, poll};

use rustix::process::Signal;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::time::Instant;

/// Each line of the log that tells of a 401 says why, from where, and what the caller claimed.
#[tokio::test]
async fn a_caller_that_is_not_known_leaves_its_reason() {
    let world = World::builder().binary("").start().await;
    let hour = lychgate::clock::Clock::system().now().as_second() + 3600;
    let claims = |iss: &str, aud: &str| {
        world.sign(&json!({"iss": iss, "sub": "s", "email": "eve", "aud": aud, "exp": hour}))
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let signed = format!(
        "X-Sdk-Date: 20260115T120000Z\r\nAuthorization: SDK-HMAC-SHA256 Access=NOBODY,SignedHeaders=x-sdk-date,Signature={}\r\n",
        "0".repeat(64)
    );
    for (fields, code, reason, claimed) in [
        (String::new(), "4011", "no_credential", ""),
        (bearer("a.b.c"), "4013", "form", ""),
        (bearer(&claims("https://evil.example\u{1b}[2J", "lychgate")), "4013", "issuer", "issuer="),
        (bearer(&claims("https://id.example", "other")), "4015", "audience", "key_id="),
        ("Authorization: Basic YTpi\r\n".to_owned(), "4013", "scheme", ""),
        (signed, "4016", "access_key", "access_key=NOBODY"),
    ] {
        let head = format!(
            "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: g\r\n{fields}\r\n"
        );
        let answer = http::send(world.gate, head.as_bytes()).await;
        assert_eq!(answer.code(), Some(format!("Lychgate.{code}")), "{reason}");
        let needle = format!("identity={reason} ");
        let line = poll(|| {
            let output = world.process().output();
            output.lines().find(|it| it.contains(&needle)).map(str::to_owned)
        });
        let line = line.await;
        assert!(line.contains("peer=127.0.0.1") && line.contains(claimed), "{line}");
        assert!(!line.contains("evil.example\u{1b}"), "{line}");
        let series = format!(r#"result="Lychgate.{code}",reason="{reason}""#);
        assert!(world.metrics().await.contains(&series), "{series}");
    }
}

#[tokio::test]
async fn a_denial_says_what_to_do() {
    let world = World::builder()
        .config("{directory: policies}", "{directory: policies, help: Ask ml-platform@example.com}")
        .start()
        .await;
    for (name, job, part) in [
        ("alice", PROTECTED, "denied by `guardrails/protect#NoProd`"),
        ("carol", FINISHED, "it came with no groups, and "),
    ] {
        let answer = world.delete(name, job).await;
        let id = answer.header("x-lychgate-request-id").unwrap();
        let end = format!(". Ask ml-platform@example.com (request ID {id})");
        let message = answer.message();
        assert!(message.contains(part) && message.ends_with(&end), "{message}");
    }
}

/// A metric that nothing sets is an alert that never fires: each one that is declared has a series in
/// a gate that has met what it counts.
#[tokio::test]
async fn every_metric_is_set_in_a_whole_gate() {
    let collector = Collector::http(Mood::Well).await;
    let otlp = format!("{{log: human, otlp: 'http://{}'}}", collector.address);
    let world = World::builder().config("{log: human}", &otlp).start().await;
    for (name, job) in [("alice", PROTECTED), ("alice", FINISHED), ("carol", FINISHED)] {
        world.delete(name, job).await;
    }
    http::send(world.gate, b"DELETE /x#y HTTP/1.1\r\nHost: g\r\n\r\n").await;
    // The issuer's keys are unreadable, and the cloud is gone.
    std::fs::write(world.directory.path().join("jwks.json"), "{}").unwrap();
    world.emulator.stop().await;
    world.delete("alice", FINISHED).await;
    // What needs another configuration or a fault of the disk has a test of its own.
    let elsewhere = [
        "lychgate_connections_refused",
        "lychgate_credential_expiry_timestamp_seconds",
        "lychgate_ledger_failures",
        "lychgate_shadow_decisions",
        "lychgate_tls_certificate_expiry_timestamp_seconds",
        "lychgate_upstream_unreadable_dates",
    ];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = world.metrics().await;
        let is_set = |name: &str| text.lines().any(|it| it.starts_with(name));
        let names = lychgate::metrics::DEFINITIONS.iter().map(|it| it.name);
        let wanted = names.filter(|it| !elsewhere.iter().any(|other| it.starts_with(other)));
        let missing: Vec<_> = wanted.filter(|it| !is_set(it)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "nothing sets {missing:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Blanks and commas as RFC 9110 allows them; a token as long as it may be.
#[tokio::test]
async fn credentials_are_read_as_they_are_written_elsewhere() {
    let world = World::start().await;
    let hour = lychgate::clock::Clock::system().now().as_second() + 3600;
    let long = world.sign(&json!({
        "iss": "https://id.example", "sub": "alice", "email": "alice", "aud": "lychgate",
        "exp": hour, "groups": ["ml-research"], "padding": "x".repeat(9_600),
    }));
    let short = world.token("alice");
    for (value, status) in [
        (format!("Bearer {long}"), 403),
        (format!("Bearer   {short}"), 403),
        (format!("Bearer {}", "x".repeat(17_000)), 431),
    ] {
        let head = format!(
            "DELETE /v2/{PROJECT}/training-jobs/{PROTECTED} HTTP/1.1\r\nHost: g\r\nAuthorization: {value}\r\n\r\n"
        );
        let answer = http::send(world.gate, head.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", answer.message());
        if status == 431 {
            assert_eq!(answer.message(), "Authorization is longer than 16 KiB");
        }
    }
}

/// Probes of load balancers speak HTTP/1.0 without a host; nobody else is answered in it.
#[tokio::test]
async fn only_the_admin_listener_answers_http_1_0() {
    let world = World::start().await;
    for head in ["GET /readyz HTTP/1.0\r\n\r\n", "GET /readyz HTTP/1.0\r\nHost: a\r\n\r\n"] {
        assert_eq!(http::send(world.admin, head.as_bytes()).await.status, 200, "{head}");
        assert_eq!(http::send(world.gate, head.as_bytes()).await.status, 505, "{head}");
    }
    for head in
        ["GET /readyz HTTP/1.1\r\n\r\n", "GET /readyz HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"]
    {
        assert_eq!(http::send(world.admin, head.as_bytes()).await.status, 400, "{head}");
    }
    assert_eq!(http::send(world.admin, b"GET /readyz HTTP/0.9\r\n\r\n").await.status, 505);
}

/// The variables of OpenTelemetry that make sense take effect, and the others are named.
#[tokio::test]
async fn the_environment_says_where_traces_go() {
    let collector = Collector::http(Mood::Well).await;
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", collector.address);
    let before = format!("{endpoint} OTEL_EXPORTER_OTLP_PROTOCOL=grpc");
    let world = World::builder().binary(&before).start().await;
    world.delete("alice", FINISHED).await;
    collector.wait().await;
    let output = world.process().output();
    assert!(output.contains("OTEL_EXPORTER_OTLP_PROTOCOL has no effect"), "{output}");
    world.stop().await;
    let before = collector.received().len();
    for switch in [
        "OTEL_SDK_DISABLED=true",
        "OTEL_TRACES_EXPORTER=none",
        "OTEL_TRACES_SAMPLER=parentbased_always_off",
    ] {
        let world = World::builder().binary(&format!("{endpoint} {switch}")).start().await;
        world.delete("alice", FINISHED).await;
        // A stop sends what waits.
        world.stop().await;
        assert_eq!(collector.received().len(), before, "{switch}");
    }
}

#[tokio::test]
async fn a_start_says_with_what_and_a_hang_up_ends_nothing() {
    let world = World::builder().binary("HTTPS_PROXY=http://proxy:3128").start().await;
    let said = async |text: &str| {
        let line = || {
            let output = world.process().output();
            output.lines().find(|it| it.contains(text)).map(str::to_owned)
        };
        poll(line).await
    };
    let line = said(" started ").await;
    for part in ["version=", "path=lychgate.yaml", "ledger=", "upstreams=", "sources=", "digest="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    said("HTTPS_PROXY has no effect").await;
    let path = world.directory.path().join("policies/identity/new.json");
    let policy = r#"{"Version":"5.0","Statement":[{"Effect":"Deny","Action":["modelarts:trainJob:delete"]}]}"#;
    std::fs::write(&path, policy).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    world.process().signal(Signal::HUP);
    said("SIGHUP").await;
    let line = said("policies changed").await;
    assert!(line.contains("changed=+identity/new.json"), "{line}");
    let line = said("every user of this system can change the policies").await;
    assert!(line.contains("identity/new.json"), "{line}");
    assert_eq!(world.ready().await, 200);
}
