//! The forwarder: two gates in a row, the first with nothing but a token; and the first alone in
//! front of something that stands in for the second, to see what goes out and what comes back.

use crate::front::attacks;
use crate::support::collector::{Collector, Mood, tls_file};
use crate::support::http::{self, Answer, Connection, refused, said};
use crate::support::process;
use crate::support::world::{
    self, AUDIENCE, FINISHED, ISSUER, PROJECT, PROTECTED, Running, UNKNOWN, World, poll, until,
};

use futures_util::future::join_all;
use lychgate::cli::Exit;
use lychgate::client::USER_AGENT;
use lychgate::clock::Clock;
use lychgate::upstream::BODY_BYTES_MAX;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A running forwarder.
struct Forwarder {
    running: Running,
    directory: TempDir,
}

impl Forwarder {
    async fn start(endpoint: &str, token: &str) -> Self {
        Self::with(endpoint, token, &[]).await
    }

    /// Replaces texts in the configuration file. An empty token is no file.
    async fn with(endpoint: &str, token: &str, changes: &[(&str, &str)]) -> Self {
        let directory = Self::prepare(endpoint, token, changes);
        let running = Running::start(directory.path(), Clock::system()).await;
        Self { running, directory }
    }

    fn prepare(endpoint: &str, token: &str, changes: &[(&str, &str)]) -> TempDir {
        let mut text = format!(
            "listen: [{{address: '127.0.0.1:0', principal: {{name: trainer}}}}]
admin: {{address: '127.0.0.1:0'}}
upstreams:
  - {{name: central, kind: gate, endpoint: '{endpoint}', token: token}}
limits: {{in_flight: 8}}
timeouts: {{connect: 1s, request: 3s, drain: 5s}}
telemetry: {{log: human}}
"
        );
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let directory = TempDir::new().unwrap();
        world::put(directory.path(), "lychgate.yaml", &text);
        if !token.is_empty() {
            world::put(directory.path(), "token", token);
        }
        directory
    }

    async fn before(world: &World, name: &str) -> Self {
        Self::start(&url(world.gate), &world.token(name)).await
    }

    async fn delete(&self, job: &str) -> Answer {
        http::send(self.running.gate, head(job).as_bytes()).await
    }

    fn set_token(&self, token: &str) {
        let path = self.directory.path();
        world::put(path, "token.new", token);
        fs::rename(path.join("token.new"), path.join("token")).unwrap();
    }

    async fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
        http::send(self.running.admin, request.as_bytes()).await
    }

    /// The status of `/readyz`.
    async fn ready(&self) -> u16 {
        self.admin("/readyz").await.status
    }

    async fn stop(self) -> Exit {
        let _ = self.running.shutdown.send(());
        self.running.running.await.unwrap()
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn head(job: &str) -> String {
    format!("DELETE /v2/{PROJECT}/training-jobs/{job} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A look and a batch go through two gates as they go through one.
#[tokio::test]
async fn looks_and_batches_are_forwarded() {
    let it = r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete","modelarts:trainJob:get"]}]}"#;
    let deny = r#"{"Version":"5.0","Statement":[{"Sid":"P","Effect":"Deny","Action":["*"],"Condition":{"StringEquals":{"g:ResourceTag/env":"prod"}}}]}"#;
    let help = format!("denials: full, help: '{}'", "数".repeat(256));
    let world = World::builder()
        .policies(&[
            ("identity/it.json", it),
            ("guardrails/protect.json", deny),
            ("attachments.yaml", "- {to: [any], policies: [it]}\n"),
        ])
        .config("directory: policies", &format!("directory: policies, {help}"))
        .start()
        .await;
    let forwarder = Forwarder::before(&world, "alice").await;
    let look = async |job: &str| {
        let head = head(job).replacen("DELETE", "GET", 1);
        http::send(forwarder.running.gate, head.as_bytes()).await
    };
    let batch = async |jobs: &[&str]| {
        let item = |id: &&str| json!({"kind": "job", "metadata": {"id": id}});
        let body = json!({"jobs": jobs.iter().map(item).collect::<Vec<_>>()}).to_string();
        let length = body.len();
        let request = format!(
            "POST /v2/{PROJECT}/training-jobs/batch-delete HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        http::send(forwarder.running.gate, request.as_bytes()).await
    };
    let seen = look(FINISHED).await;
    assert_eq!((seen.status, seen.header("x-lychgate-origin")), (200, Some("upstream")));
    let jobs = world.emulator.jobs();
    let job = jobs.iter().find(|it| it.id() == FINISHED).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap(), job.details);
    assert_eq!(said(&look(PROTECTED).await), refused(403, "4033"));
    assert_eq!(look(UNKNOWN).await.code().as_deref(), Some("ModelArts.2775"));

    let denied = batch(&[FINISHED, PROTECTED]).await;
    assert_eq!(said(&denied), refused(403, "4031"));
    assert!(denied.message().contains(PROTECTED), "{denied:?}");
    assert!(world.emulator.exists(FINISHED));
    assert_eq!(said(&batch(&[]).await), refused(400, "4008"));
    assert_eq!(batch(&[FINISHED]).await.status, 202);
    assert!(!world.emulator.exists(FINISHED));
    let callers: Vec<_> =
        world.records("decision").iter().map(|it| it["batch"]["of"].as_u64().unwrap()).collect();
    assert_eq!(callers, [2, 2, 1], "the forwarder asked for nothing that the gate did not judge");
    // Each job with all that it would have been told alone.
    let mut job = world.emulator.jobs().into_iter().find(|it| it.id() == PROTECTED).unwrap();
    let ids: Vec<_> = (0..80).map(|it| format!("00000000-0000-0000-0000-{it:012}")).collect();
    for id in &ids {
        job.details["metadata"]["id"] = json!(id);
        world.emulator.insert(job.clone());
    }
    let denied = batch(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(said(&denied), refused(403, "4031"));
    assert!(BODY_BYTES_MAX < denied.body.len(), "{}", denied.body.len());

    // What answers a look without the marks of a gate is no gate.
    let central = Central::start(Does::Answers(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            .to_owned(),
    ))
    .await;
    let alone = Forwarder::start(&url(central.address), "a.b.c").await;
    let head = head(FINISHED).replacen("DELETE", "GET", 1);
    let answer = http::send(alone.running.gate, head.as_bytes()).await;
    assert_eq!(said(&answer), refused(502, "5023"));
    let central = Central::start(Does::HangsUp).await;
    let alone = Forwarder::start(&url(central.address), "a.b.c").await;
    let answer = http::send(alone.running.gate, head.as_bytes()).await;
    assert_eq!(said(&answer), refused(504, "5043"));
}

/// What the stand-in for the central gate does with a request.
#[derive(Clone)]
enum Does {
    /// These bytes, and the next request of the connection.
    Answers(String),
    /// These bytes, and the end of the connection.
    AnswersOnce(String),
    /// These bytes, once it is told to.
    Waits(Arc<Notify>, String),
    Hangs,
    HangsUp,
}

/// Stands in for the central gate.
struct Central {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Central {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::default());
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&heads);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, does.clone(), Arc::clone(&kept)));
            }
        });
        Self { address, heads, _tasks: tasks }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    async fn asked(&self, times: usize) {
        poll(|| Some(()).filter(|()| self.heads().len() == times)).await;
    }
}

async fn serve(mut stream: TcpStream, does: Does, heads: Arc<Mutex<Vec<String>>>) {
    loop {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        heads.lock().unwrap().push(String::from_utf8(bytes).unwrap());
        match &does {
            Does::Answers(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            Does::AnswersOnce(answer) => return stream.write_all(answer.as_bytes()).await.unwrap(),
            Does::Waits(told, answer) => {
                told.notified().await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Does::Hangs => std::future::pending().await,
            Does::HangsUp => return,
        }
    }
}

/// The ID that the central gate gives to the request.
const CENTRAL: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// An answer with the marks of a gate.
fn marked(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nX-Lychgate-Origin: upstream\r\nX-Lychgate-Request-Id: {CENTRAL}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_delete_goes_through_two_gates() {
    let world = World::start().await;
    let forwarder = Forwarder::before(&world, "alice").await;
    assert_eq!(forwarder.ready().await, 200);
    let answer = forwarder.delete(FINISHED).await;
    assert_eq!((answer.status, answer.body.as_slice()), (202, b"".as_slice()));
    assert_eq!(answer.header("x-lychgate-origin"), Some("upstream"));
    assert!(!world.emulator.exists(FINISHED));
    let decision = &world.records("decision")[0];
    assert_eq!(decision["principal"], "corp/alice");
    assert_eq!(decision["request_id"], answer.header("x-lychgate-request-id").unwrap());
    // The forwarder's own ID, by which its log lines are found.
    assert!(decision["caller_request_id"].as_str().is_some_and(|it| it.len() == 36), "{decision}");

    for (job, status, code) in [(UNKNOWN, 400, "ModelArts.2775"), (PROTECTED, 403, "Lychgate.4031")]
    {
        let answer = forwarder.delete(job).await;
        assert_eq!(said(&answer), (status, Some(code.to_owned())));
        let decision = world.records("decision").pop().unwrap();
        assert_eq!(decision["request_id"], answer.header("x-lychgate-request-id").unwrap());
    }
    let metrics = String::from_utf8(forwarder.admin("/metrics").await.body).unwrap();
    for line in [
        r#"lychgate_requests_total{status="202",error_code="none",origin="upstream"} 1"#,
        r#"lychgate_upstream_requests_total{upstream="central",operation="delete",status="2xx"} 1"#,
        r#"lychgate_upstream_requests_total{upstream="central",operation="delete",status="4xx"} 2"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }

    // No key, no policy, no ledger.
    let files = fs::read_dir(forwarder.directory.path()).unwrap();
    let files: BTreeSet<_> =
        files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, BTreeSet::from(["lychgate.yaml".to_owned(), "token".to_owned()]));
    assert_eq!(forwarder.stop().await, Exit::Ok);
}

/// Attacks 13, 34, 35, 37: what the caller sends stays where it was sent to.
#[tokio::test]
async fn what_the_central_gate_gets_is_built_from_nothing() {
    let central = Central::start(Does::Answers(marked("202 Accepted", "", ""))).await;
    let forwarder = Forwarder::start(&url(central.address), "a.service.token\n").await;
    let mut head = head(FINISHED);
    head.truncate(head.len() - 2);
    head.push_str(&format!("traceparent: 00-{TRACE_ID}-b7ad6b7169203331-01\r\n"));
    for field in [
        "Authorization: SDK-HMAC-SHA256 Access=MARK, SignedHeaders=x-sdk-date, Signature=MARK",
        "X-Auth-Token: MARK",
        "X-Security-Token: MARK",
        "X-Project-Id: MARK",
        "X-Domain-Id: MARK",
        "X-Sdk-Date: 20260115T120000Z",
        "X-Sdk-Content-Sha256: MARK",
        "Proxy-Authorization: Basic MARK",
        "Cookie: session=MARK",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-User: MARK",
        "X-HTTP-Method-Override: GET",
        "X-Request-Id: MARK",
        "User-Agent: MARK",
        "tracestate: MARK",
        "baggage: MARK",
        "Connection: authorization, x-auth-token",
        "Content-Type: application/json",
    ] {
        head.push_str(&format!("{field}\r\n"));
    }
    head.push_str("\r\n");
    assert_eq!(http::send(forwarder.running.gate, head.as_bytes()).await.status, 202);

    let sent = central.heads().pop().unwrap();
    assert!(!sent.contains("MARK"), "{sent}");
    let (line, fields) = sent.trim_end().split_once("\r\n").unwrap();
    assert_eq!(line, format!("DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1"));
    let fields: Vec<_> = fields
        .split("\r\n")
        .map(|it| it.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let names: BTreeSet<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["authorization", "host", "traceparent", "user-agent", "x-request-id"];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(fields.len(), expected.len());
    let field = |name: &str| fields.iter().find(|(it, _)| it == name).unwrap().1;
    assert_eq!(field("authorization"), "Bearer a.service.token");
    assert_eq!(field("host"), central.address.to_string());
    assert_eq!(field("user-agent"), USER_AGENT);
    // Nobody here sees spans, so that what follows hangs below the caller's.
    assert_eq!(field("traceparent"), format!("00-{TRACE_ID}-b7ad6b7169203331-01"));
}

#[tokio::test]
async fn an_answer_of_the_gate_comes_back_as_it_came() {
    let json = r#"{"error_code":"Lychgate.4031","error_msg":"no  \u00e4","request_id":"central"}"#;
    for (status, fields, body) in [
        ("202 Accepted", "", ""),
        ("202 Accepted", "X-Request-Id: cloud-1\r\n", ""),
        ("403 Forbidden", "Content-Type: application/json\r\nX-Request-Id: central\r\n", json),
        (
            "401 Unauthorized",
            "Content-Type: application/json\r\nWWW-Authenticate: Bearer\r\n",
            json,
        ),
        ("429 Too Many Requests", "Content-Type: application/json\r\nRetry-After: 7\r\n", json),
        ("400 Bad Request", "Content-Type: text/plain\r\n", "not json"),
        ("503 Service Unavailable", "Content-Type: application/json\r\nRetry-After: 3\r\n", json),
    ] {
        let central = Central::start(Does::Answers(marked(status, fields, body))).await;
        let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
        let answer = forwarder.delete(FINISHED).await;
        assert_eq!(answer.status.to_string(), status.split(' ').next().unwrap());
        assert_eq!(answer.body, body.as_bytes(), "{status}");
        assert_eq!(answer.header("x-lychgate-origin"), Some("upstream"));
        assert_eq!(answer.header("x-lychgate-request-id"), Some(CENTRAL));
        for field in fields.split_terminator("\r\n") {
            let (name, value) = field.split_once(": ").unwrap();
            assert_eq!(answer.header(name), Some(value), "{status}");
        }
    }
}

/// Above all a 202: of something that is no gate it would not mean that a job was deleted.
#[tokio::test]
async fn what_is_no_answer_of_a_gate_is_not_handed_back() {
    let long = "a".repeat(BODY_BYTES_MAX + 1);
    let html = "Content-Type: text/html\r\n";
    for answer in [
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 202 Accepted\r\nX-Lychgate-Origin: upstream\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        marked("202 Accepted", "", "").replace("upstream", "evil"),
        marked("202 Accepted", "", "").replace(CENTRAL, "evil"),
        marked("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: x\r\n", ""),
        marked("307 Temporary Redirect", "Location: http://127.0.0.1/\r\n", ""),
        marked("502 Bad Gateway", html, "<h1>no</h1>"),
        marked("400 Bad Request", "Content-Type: text/plain\r\n", &long),
        marked("400 Bad Request", "Content-Type: text/plain\r\n", "whole").replace(": 5", ": 9"),
    ] {
        let central = Central::start(Does::AnswersOnce(answer.clone())).await;
        let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
        let got = forwarder.delete(FINISHED).await;
        assert_eq!(said(&got), refused(502, "5023"), "{answer}");
        assert_eq!(got.header("x-lychgate-origin"), Some("gateway"));
        assert_eq!(got.header("location"), None);
    }
}

/// attack 78
#[tokio::test]
async fn an_echo_of_the_token_is_withheld() {
    let body = r#"{"error_code":"x","error_msg":"you sent secret.service.token"}"#;
    let answer = marked("400 Bad Request", "Content-Type: application/json\r\n", body);
    let central = Central::start(Does::Answers(answer)).await;
    let forwarder = Forwarder::start(&url(central.address), "secret.service.token").await;
    assert_eq!(forwarder.delete(FINISHED).await.message(), "you sent [withheld]");
}

#[tokio::test]
async fn a_rotated_token_is_the_one_that_counts() {
    let world = World::start().await;
    let forwarder = Forwarder::before(&world, "carol").await;
    assert_eq!(said(&forwarder.delete(FINISHED).await), refused(403, "4033"));
    // Neither nothing nor half a token takes the good one's place.
    fs::remove_file(forwarder.directory.path().join("token")).unwrap();
    assert_eq!(said(&forwarder.delete(FINISHED).await), refused(403, "4033"));
    forwarder.set_token("");
    assert_eq!(said(&forwarder.delete(FINISHED).await), refused(403, "4033"));
    assert_eq!(forwarder.ready().await, 200);

    forwarder.set_token(&world.token("alice"));
    let is_used = async || forwarder.delete(FINISHED).await.status == 202;
    until("the new token is not used", is_used).await;
}

#[tokio::test]
async fn a_token_that_the_central_gate_refuses_is_told_as_it_tells_it() {
    let world = World::start().await;
    let now = Clock::system().now().as_second();
    let claims = |audience: &str, expires: i64| {
        json!({
            "iss": ISSUER, "aud": audience, "sub": "alice", "iat": now - 7200, "exp": expires,
        })
    };
    for (token, code) in [
        (world.sign(&claims(AUDIENCE, now - 3600)), "4014"),
        (world.sign(&claims("other", now + 3600)), "4015"),
        ("a.b.c".to_owned(), "4013"),
    ] {
        let forwarder = Forwarder::start(&url(world.gate), &token).await;
        let answer = forwarder.delete(FINISHED).await;
        assert_eq!(said(&answer), refused(401, code));
        assert_eq!(answer.header("x-lychgate-origin"), Some("gateway"));
    }
    assert_eq!(world.emulator.counts().all(), 0);
}

/// The real process: what it says of a token that is refused, and that it does not say the token.
#[tokio::test]
async fn a_refused_token_is_warned_of_once() {
    let refusal = marked(
        "401 Unauthorized",
        "Content-Type: application/json\r\n",
        r#"{"error_code":"Lychgate.4013","error_msg":"no","request_id":"central"}"#,
    );
    let central = Central::start(Does::Answers(refusal)).await;
    let log = [("{log: human}", "{log: json}")];
    let directory = Forwarder::prepare(&url(central.address), "secret.service.token", &log);
    let mut forwarder = process::Gate::start(directory.path(), &[]);
    let address = forwarder.address().await;
    for _ in 0..3 {
        let answer = http::send(address, head(FINISHED).as_bytes()).await;
        assert_eq!(said(&answer), refused(401, "4013"));
    }
    let log = poll(|| {
        let log = forwarder.log();
        Some(log.clone()).filter(|_| log.matches(r#""message":"request""#).count() == 3)
    })
    .await;
    assert_eq!(log.matches("the gate refuses this forwarder's token").count(), 1, "{log}");
    assert_eq!(log.matches(r#""principal":"local/trainer""#).count(), 3, "{log}");
    assert_eq!(log.matches(&format!(r#""upstream_request_id":"{CENTRAL}""#)).count(), 3, "{log}");
    assert!(!log.contains("secret.service"), "{log}");
    assert_eq!(forwarder.stop().await, Some(0));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_until_there_is_one() {
    let central = Central::start(Does::Answers(marked("202 Accepted", "", ""))).await;
    for unusable in ["", "\n", "two words"] {
        let forwarder = Forwarder::start(&url(central.address), unusable).await;
        assert_eq!(forwarder.ready().await, 503);
        let answer = forwarder.delete(FINISHED).await;
        assert_eq!(said(&answer), refused(503, "5034"), "{unusable:?}");
        assert!(answer.header("retry-after").is_some());
        assert!(central.heads().is_empty());

        forwarder.set_token("a.b.c");
        until("the token is not read", async || forwarder.ready().await == 200).await;
        assert_eq!(forwarder.delete(FINISHED).await.status, 202);
        central.heads.lock().unwrap().clear();
    }
}

/// Attacks 1–22: a forwarder is as strict as a gate, and what it refuses goes no further.
#[tokio::test]
async fn hostile_requests_end_at_the_forwarder() {
    let world = World::builder().policies(attacks::ALLOW_ALL).start().await;
    let forwarder = Forwarder::before(&world, "alice").await;
    for attack in attacks::ATTACKS {
        // Credentials are not looked at here, and which projects there are the central gate says.
        if matches!(attack.number, 10 | 39) {
            continue;
        }
        let request = attack.bytes("Authorization: Bearer x\r\n");
        let request = String::from_utf8(request).unwrap().replace("Host: gate", "Host: localhost");
        let answer = http::send(forwarder.running.gate, request.as_bytes()).await;
        let (status, code) = attack.expected;
        assert_eq!(said(&answer), refused(status, code), "{}: {}", attack.number, attack.line);
        assert_eq!(answer.header("x-lychgate-origin"), Some("gateway"));
    }
    let metrics = world.metrics().await;
    assert!(!metrics.contains("lychgate_requests_total{"), "{metrics}");
    assert_eq!(forwarder.delete(FINISHED).await.status, 202);
}

/// A page that a browser was led to by a name of its own (DNS rebinding) gets no delete.
#[tokio::test]
async fn a_host_that_is_not_loopback_ends_at_the_forwarder() {
    let central = Central::start(Does::Answers(marked("202 Accepted", "", ""))).await;
    let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
    let request = head(FINISHED).replace("localhost", "evil.example");
    let answer = http::send(forwarder.running.gate, request.as_bytes()).await;
    assert_eq!(said(&answer), refused(400, "4006"));
    assert!(central.heads().is_empty());
}

#[tokio::test]
async fn the_way_to_the_central_gate_is_tls() {
    let [certificate, key] = ["localhost.pem", "localhost.key"].map(tls_file);
    let tls = format!(
        "{{address: '127.0.0.1:0', tls: {{certificate: {}, key: {}}}}}",
        certificate.display(),
        key.display()
    );
    let world =
        World::builder().config("{address: '127.0.0.1:0'}\nadmin", &format!("{tls}\nadmin"));
    let world = world.start().await;
    let endpoint = format!("https://localhost:{}", world.gate.port());
    for (ca, expected) in [
        ("other-ca.pem", refused(502, "5022")),
        ("ca.pem", refused(403, "4031")),
        ("ca.pem", (202, None)),
    ] {
        let job = if expected.0 == 202 { FINISHED } else { PROTECTED };
        let ca = format!("token: token, ca: {}", tls_file(ca).display());
        let changes = [("token: token", ca.as_str())];
        let forwarder = Forwarder::with(&endpoint, &world.token("alice"), &changes).await;
        assert_eq!(said(&forwarder.delete(job).await), expected);
    }
    assert_eq!(world.records("decision").len(), 2);
}

#[tokio::test]
async fn what_is_not_for_this_forwarder_is_refused_by_it() {
    let central = Central::start(Does::Answers(marked("202 Accepted", "", ""))).await;
    let projects = [("token: token", "token: token, projects: ['ff*']")];
    let forwarder = Forwarder::with(&url(central.address), "a.b.c", &projects).await;
    assert_eq!(said(&forwarder.delete(FINISHED).await), refused(404, "4042"));
    assert!(central.heads().is_empty());
}

/// Attacks 70–73, with the central gate in the place of the cloud.
#[tokio::test]
async fn a_central_gate_that_fails_is_told_by_what_is_certain() {
    let silent = Central::start(Does::Hangs).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let tls = format!("https://localhost:{}", silent.address.port());
    let plain = Central::start(Does::Answers(marked("202 Accepted", "", ""))).await;
    let wrong = Collector::https(Mood::Well).await;
    let ca = format!("token: token, ca: {}", tls_file("ca.pem").display());
    let other_ca = format!("token: token, ca: {}", tls_file("other-ca.pem").display());
    let soon = ("request: 3s", "request: 300ms");
    for (endpoint, changes, (status, code), asked) in [
        (url(dead), vec![], (502, "5022"), 0),
        (url(silent.address), vec![soon], (504, "5042"), 1),
        // No handshake in time: by the limit for connects, or by that for the whole.
        (
            tls.clone(),
            vec![("token: token", ca.as_str()), ("connect: 1s", "connect: 300ms")],
            (502, "5022"),
            0,
        ),
        (
            tls,
            vec![("token: token", ca.as_str()), ("connect: 1s", "connect: 9s"), soon],
            (504, "5041"),
            0,
        ),
        // It speaks no TLS, or another authority vouches for it.
        (
            format!("https://localhost:{}", plain.address.port()),
            vec![("token: token", ca.as_str())],
            (502, "5022"),
            0,
        ),
        (
            format!("https://localhost:{}", wrong.address.port()),
            vec![("token: token", other_ca.as_str())],
            (502, "5022"),
            0,
        ),
    ] {
        silent.heads.lock().unwrap().clear();
        let forwarder = Forwarder::with(&endpoint, "a.b.c", &changes).await;
        let answer = forwarder.delete(FINISHED).await;
        assert_eq!(said(&answer), refused(status, code), "{endpoint} {changes:?}");
        assert_eq!(silent.heads().len() + plain.heads().len(), asked, "{endpoint} {changes:?}");
        assert!(wrong.heads().is_empty());
    }
    let central = Central::start(Does::HangsUp).await;
    let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
    assert_eq!(said(&forwarder.delete(FINISHED).await), refused(504, "5042"));
    assert_eq!(central.heads().len(), 1, "what may have been read is not sent again");
}

#[tokio::test]
async fn a_connection_that_the_gate_has_closed_costs_no_request() {
    let central = Central::start(Does::AnswersOnce(marked("202 Accepted", "", ""))).await;
    let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
    for _ in 0..10 {
        assert_eq!(forwarder.delete(FINISHED).await.status, 202);
    }
    assert_eq!(central.heads().len(), 10);
}

#[tokio::test]
async fn more_than_the_limit_is_shed() {
    let told = Arc::new(Notify::new());
    let does = Does::Waits(Arc::clone(&told), marked("202 Accepted", "", ""));
    let central = Central::start(does).await;
    let one = [("in_flight: 8", "in_flight: 1")];
    let forwarder = Forwarder::with(&url(central.address), "a.b.c", &one).await;
    let first = async {
        let answer = forwarder.delete(FINISHED).await;
        assert_eq!(answer.status, 202);
    };
    let second = async {
        central.asked(1).await;
        let answers = join_all((0..3).map(|_| forwarder.delete(FINISHED))).await;
        assert!(answers.iter().all(|it| said(it) == refused(503, "5035")), "{answers:?}");
        told.notify_one();
    };
    tokio::join!(first, second);
    assert_eq!(central.heads().len(), 1);
}

#[tokio::test]
async fn what_was_accepted_is_finished_when_it_stops() {
    let told = Arc::new(Notify::new());
    let does = Does::Waits(Arc::clone(&told), marked("202 Accepted", "", ""));
    let central = Central::start(does).await;
    let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
    let mut connection = Connection::open(forwarder.running.gate).await;
    connection.write(head(FINISHED).as_bytes()).await;
    central.asked(1).await;
    let admin = forwarder.running.admin;
    let stopping = forwarder.stop();
    let rest = async {
        // The probes see the drain before it is over.
        let request = b"GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n";
        until("still ready", async || http::send(admin, request).await.status == 503).await;
        told.notify_one();
        connection.answer().await.unwrap()
    };
    let (exit, answer) = tokio::join!(stopping, rest);
    assert_eq!((exit, answer.status), (Exit::Ok, 202));
    assert_eq!(answer.header("connection"), Some("close"));
}

/// The delete was under way: what becomes of it is still told to logs and metrics.
#[tokio::test]
async fn a_caller_that_hangs_up_cancels_nothing() {
    let told = Arc::new(Notify::new());
    let does = Does::Waits(Arc::clone(&told), marked("202 Accepted", "", ""));
    let central = Central::start(does).await;
    let forwarder = Forwarder::start(&url(central.address), "a.b.c").await;
    let mut connection = Connection::open(forwarder.running.gate).await;
    connection.write(head(FINISHED).as_bytes()).await;
    central.asked(1).await;
    drop(connection);
    told.notify_one();
    let line = r#"lychgate_requests_total{status="202",error_code="none",origin="upstream"} 1"#;
    let is_counted = async || {
        let metrics = String::from_utf8(forwarder.admin("/metrics").await.body).unwrap();
        metrics.lines().any(|it| it == line)
    };
    until("the delete is not counted", is_counted).await;
}

/// A look in a trace must not read as a delete.
#[tokio::test]
async fn spans_say_what_the_gate_was_asked_for() {
    let collector = Collector::http(Mood::Well).await;
    let otlp = format!("{{log: human, otlp: 'http://{}'}}", collector.address);
    let world = World::start().await;
    let changes = [("{log: human}", otlp.as_str())];
    let forwarder = Forwarder::with(&url(world.gate), &world.token("alice"), &changes).await;
    let delete = head(FINISHED);
    let batch = format!(r#"{{"jobs":[{{"kind":"job","metadata":{{"id":"{FINISHED}"}}}}]}}"#);
    let batch = format!(
        "POST /v2/{PROJECT}/training-jobs/batch-delete HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{batch}",
        batch.len()
    );
    for request in [delete.replacen("DELETE", "GET", 1), batch, delete] {
        http::send(forwarder.running.gate, request.as_bytes()).await;
    }
    assert_eq!(forwarder.stop().await, Exit::Ok);
    let received = collector.received();
    let spans = received.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans);
    let calls = spans.filter(|it| it.kind() == SpanKind::Client).map(|it| it.name.as_str());
    let expected = [
        "DELETE /v2/{project_id}/training-jobs/{training_job_id}",
        "GET /v2/{project_id}/training-jobs/{training_job_id}",
        "POST /v2/{project_id}/training-jobs/batch-delete",
    ];
    assert_eq!(calls.collect::<BTreeSet<_>>(), expected.into());
}

#[tokio::test]
async fn one_trace_shows_both_gates() {
    let collector = Collector::http(Mood::Well).await;
    let otlp = format!("{{log: human, otlp: 'http://{}'}}", collector.address);
    let world = World::builder().config("{log: human}", &otlp).start().await;
    let changes = [("{log: human}", otlp.as_str())];
    let token = world.token("alice");
    let forwarder = Forwarder::with(&url(world.gate), &token, &changes).await;
    let traced = format!("\r\ntraceparent: 00-{TRACE_ID}-b7ad6b7169203331-01\r\n\r\n");
    let request = head(FINISHED).replace("\r\n\r\n", &traced);
    let answer = http::send(forwarder.running.gate, request.as_bytes()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.records("decision")[0]["trace_id"], TRACE_ID);
    let requests = world.emulator.requests();
    // Both send their last spans when they stop.
    assert_eq!(forwarder.stop().await, Exit::Ok);
    assert_eq!(world.stop().await.0, Exit::Ok);

    let received = collector.received();
    let spans: Vec<_> =
        received.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans).collect();
    let hex = |it: &[u8]| it.iter().map(|it| format!("{it:02x}")).collect::<String>();
    assert!(spans.iter().all(|it| hex(&it.trace_id) == TRACE_ID));
    let servers: Vec<_> = spans.iter().filter(|it| it.kind() == SpanKind::Server).collect();
    assert_eq!(servers.len(), 2);
    let first = servers.iter().find(|it| hex(&it.parent_span_id) == "b7ad6b7169203331").unwrap();
    let second = servers.iter().find(|it| it.span_id != first.span_id).unwrap();
    let call = spans.iter().find(|it| it.span_id == second.parent_span_id).unwrap();
    assert_eq!(call.kind(), SpanKind::Client);
    assert_eq!(call.parent_span_id, first.span_id);
    // What the forwarder does: parse and call; what the central gate does, down to the cloud.
    let below = |parent: &[u8]| {
        let mut names: Vec<_> = spans
            .iter()
            .filter(|it| it.parent_span_id == parent)
            .map(|it| it.name.split(' ').next().unwrap())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(below(&first.span_id), ["DELETE", "parse"]);
    let judged = ["DELETE", "GET", "authenticate", "evaluate", "parse", "record", "sign"];
    assert_eq!(below(&second.span_id), judged);
    // What the cloud was told hangs below the spans of the calls.
    let ids: Vec<_> = spans.iter().map(|it| hex(&it.span_id)).collect();
    for request in requests {
        let traceparent = request.header("traceparent").unwrap();
        assert!(ids.iter().any(|it| traceparent == format!("00-{TRACE_ID}-{it}-01")));
    }
}
