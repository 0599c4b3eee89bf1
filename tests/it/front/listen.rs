//! Listeners of a whole gate: TLS, client certificates, Unix sockets, fixed principals.

mod local;
mod rotation;

use crate::front::attacks::ALLOW_ALL;
use crate::house::cli::lychgate;
use crate::support::http::{Answer, Connection};
use crate::support::pki::{Authority, dns, expired, localhost, named, uri};
use crate::support::world::{Builder, FINISHED, PROJECT, World, poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

const LISTEN: &str = "  - {address: '127.0.0.1:0'}\n";

const TLS: &str = "  - address: '127.0.0.1:0'
    tls: {certificate: tls.crt, key: tls.key, client_ca: clients.crt}
";

/// A gate whose one listener is `listen`, with these authorities for itself and for its clients.
fn behind_tls(server: &Authority, clients: &Authority) -> Builder {
    let pair = server.issue(&localhost());
    World::builder()
        .config(LISTEN, TLS)
        .file("tls.crt", &pair.certificate)
        .file("tls.key", &pair.key)
        .file("clients.crt", &clients.certificate)
        .policies(ALLOW_ALL)
}

fn delete(host: &str, fields: &str) -> String {
    format!(
        "DELETE /v2/{PROJECT}/training-jobs/{FINISHED} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    )
}

fn said(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.code())
}

fn code(code: u16) -> (u16, Option<String>) {
    (code / 10, Some(format!("Lychgate.{code}")))
}

/// One delete over HTTP/2; the status, and the error code. `None` when the connection was closed.
async fn delete_h2(
    address: SocketAddr,
    config: Option<Arc<ClientConfig>>,
    authority: &str,
    fields: &[(&str, &str)],
) -> Option<(u16, Option<String>)> {
    let stream: Box<dyn crate::support::http::Stream> = match config {
        Some(config) => {
            let stream = crate::support::http::tls(address, config).await.ok()?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
            Box::new(stream)
        }
        None => Box::new(tokio::net::TcpStream::connect(address).await.unwrap()),
    };
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio_util::task::TaskTracker::new().spawn(connection);
    let path = format!("/v2/{PROJECT}/training-jobs/{FINISHED}");
    let mut request = http::Request::delete(format!("https://{authority}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer =
        tokio::time::timeout(crate::support::world::PATIENCE, sender.send_request(request));
    let answer = answer.await.unwrap().ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    let _ = driver.await;
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    Some((status, body.map(|it| it["error_code"].as_str().unwrap().to_owned())))
}

/// What a job that is gone already gives, which is as good as a 202 here.
fn is_accepted(said: &(u16, Option<String>)) -> bool {
    matches!(said, (202, None)) || *said == (400, Some("ModelArts.2775".to_owned()))
}

#[tokio::test]
async fn a_certificate_is_a_principal_where_nothing_else_is_presented() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let world = behind_tls(&server, &clients).start().await;
    const SPIFFE: &str = "spiffe://corp.example/ns/ml/sa/cleanup";
    let mail = rcgen::SanType::Rfc822Name("a@corp.example".try_into().unwrap());
    let long = format!("spiffe://corp.example/{}", "a".repeat(256));
    let mut decisions = 0;
    for (names, expected) in [
        (vec![uri(SPIFFE)], Ok(SPIFFE)),
        (vec![dns("a.corp.example"), uri(SPIFFE)], Ok(SPIFFE)),
        (vec![uri("urn:x"), uri(SPIFFE)], Err("a SPIFFE ID and another URI")),
        (vec![uri("SPIFFE://a/b"), uri(SPIFFE)], Err("a SPIFFE ID and another URI")),
        (vec![uri("SPIFFE://corp.example/a")], Err("not of the form")),
        (vec![uri("spiffe://")], Err("not of the form")),
        (vec![dns("a.corp.example"), uri("spiffe://corp.example")], Err("not of the form")),
        (vec![uri("spiffe://corp.example/a/../b")], Err("not of the form")),
        (vec![uri("urn:x"), dns("a.corp.example"), dns("b.corp.example")], Ok("a.corp.example")),
        (vec![mail.clone(), uri("urn:x")], Ok("urn:x")),
        (vec![uri(SPIFFE), uri("spiffe://corp.example/other")], Err("a SPIFFE ID and another URI")),
        (vec![dns("*.corp.example")], Err("`*`")),
        (vec![mail], Err("it names nobody")),
        (vec![], Err("it names nobody")),
        (vec![uri(&long)], Err("longer than 256 bytes")),
    ] {
        let pair = clients.issue(&named(&names));
        let config = server.client(Some(&pair), &["h2"]);
        let over_h2 = delete_h2(world.gate, Some(config), "gate", &[]).await.unwrap();
        let config = server.client(Some(&pair), &["http/1.1"]);
        let mut connection = Connection::open_tls(world.gate, config).await.unwrap();
        let answer = connection.ask(delete("gate", "").as_bytes()).await.unwrap();
        match expected {
            Ok(name) => {
                assert!(is_accepted(&said(&answer)) && is_accepted(&over_h2), "{answer:?}");
                decisions += 2;
                let records = world.records("decision");
                assert_eq!(records.len(), decisions);
                for record in &records[decisions - 2..] {
                    assert_eq!(record["principal"], format!("mtls/{name}"));
                    assert_eq!(record["source"], "mtls");
                    assert_eq!(record["context"]["auth_method"], "mtls");
                    assert_eq!(record["context"]["secure_transport"]["value"], true);
                }
            }
            Err(message) => {
                assert_eq!((said(&answer), over_h2), (code(4013), code(4013)), "{message}");
                assert!(answer.message().contains(message), "{}", answer.message());
            }
        }
    }
    world
        .measures(
            r#"lychgate_authentications_total{method="mtls",result="accepted",reason="none"} 8"#,
        )
        .await;
    world
        .measures(r#"lychgate_authentications_total{method="mtls",result="Lychgate.4013",reason="certificate"} 22"#)
        .await;
}

#[tokio::test]
async fn a_credential_of_the_request_comes_before_the_certificate() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let world = behind_tls(&server, &clients).start().await;
    let pair = clients.issue(&named(&[dns("a.corp.example")]));
    let good = format!("Bearer {}", world.token("alice"));
    let both = format!("Authorization: {good}\r\nX-Auth-Token: {}\r\n", world.token("alice"));
    for (fields, shown, expected) in [
        (String::new(), Some(&pair), Ok("mtls/a.corp.example")),
        (format!("Authorization: {good}\r\n"), Some(&pair), Ok("corp/alice")),
        (format!("Authorization: {good}\r\n"), None, Ok("corp/alice")),
        (format!("Authorization: {good}x\r\n"), Some(&pair), Err(4013)),
        ("Authorization: Basic YTpi\r\n".to_owned(), Some(&pair), Err(4013)),
        (both, Some(&pair), Err(4012)),
        (String::new(), None, Err(4011)),
    ] {
        let config = server.client(shown, &["http/1.1"]);
        let mut connection = Connection::open_tls(world.gate, config).await.unwrap();
        let answer = connection.ask(delete("gate", &fields).as_bytes()).await.unwrap();
        match expected {
            Ok(principal) => {
                assert!(is_accepted(&said(&answer)), "{fields}: {answer:?}");
                let records = world.records("decision");
                assert_eq!(records.last().unwrap()["principal"], principal);
            }
            Err(expected) => assert_eq!(said(&answer), code(expected), "{fields}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_verified_gets_no_connection() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let world = behind_tls(&server, &clients).start().await;
    let params = named(&[dns("a.corp.example")]);
    // The same name from an authority of the same name: the key is what counts.
    let foreign = Authority::new("clients").issue(&params);
    let over = clients.issue(&expired(params));
    for pair in [&foreign, &over, &server.issue(&localhost())] {
        for protocol in ["http/1.1", "h2"] {
            let config = server.client(Some(pair), &[protocol]);
            if protocol == "h2" {
                assert_eq!(delete_h2(world.gate, Some(config), "gate", &[]).await, None);
                continue;
            }
            if let Ok(mut connection) = Connection::open_tls(world.gate, config).await {
                assert!(connection.ask(delete("gate", "").as_bytes()).await.is_none());
            }
        }
    }
    world.measures("lychgate_tls_handshake_failures_total 6").await;
    assert!(world.records("decision").is_empty());
    assert_eq!(world.emulator.counts().all(), 0);
}

/// A certificate that is not replaced in time is measured, logged, and found by `check`.
#[tokio::test]
async fn the_end_of_a_certificate_is_told() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let pair = server.issue(&expired(localhost()));
    let world = behind_tls(&server, &clients)
        .file("tls.crt", &pair.certificate)
        .file("tls.key", &pair.key)
        .binary("")
        .start()
        .await;
    let metrics = world.metrics().await;
    let series = metrics
        .lines()
        .find(|it| it.starts_with("lychgate_tls_certificate_expiry_timestamp_seconds{listener="));
    assert!(series.is_some_and(|it| it.ends_with(" 1609459200")), "{series:?}");
    let told = "the certificate expired at 2021-01-01T00:00:00Z";
    let line = poll(|| {
        let output = world.process().output();
        output.lines().find(|it| it.contains(told)).map(str::to_owned)
    });
    assert!(line.await.contains("listener="));
    let config = world.directory.path().join("lychgate.yaml");
    let checked = lychgate(&["check", "--config", config.to_str().unwrap()]);
    let line = checked.stdout.lines().find(|it| it.contains(told));
    assert!(line.is_some_and(|it| it.starts_with("warning")), "{}", checked.stdout);
}

/// Attachments name certificates like anybody else, and the policies see how they came.
#[tokio::test]
async fn policies_are_attached_to_certificates() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let statement = |condition: &str| {
        format!(
            r#"{{"Version":"5.0","Statement":[{{"Effect":"Allow","Action":["modelarts:trainJob:delete"],"Condition":{condition}}}]}}"#
        )
    };
    let world = behind_tls(&server, &clients)
        .policies(&[
            ("identity/one.json", &statement(r#"{"StringEquals":{"g:UserName":["spiffe://a/b"]}}"#)),
            (
                "identity/all.json",
                &statement(
                    r#"{"StringEquals":{"lychgate:authMethod":["mtls"],"g:UserName":["c.example"]}}"#,
                ),
            ),
            (
                "attachments.yaml",
                "- {to: ['user:mtls/spiffe://a/b'], policies: [one]}\n- {to: ['source:mtls'], policies: [all]}\n",
            ),
        ])
        // Certificates alone are an identity source.
        .config("  keys: {file: keys.yaml}\n", "")
        .start()
        .await;
    assert_eq!(world.ready().await, 200);
    for (name, allowed) in [
        (uri("spiffe://a/b"), true),
        (uri("spiffe://a/c"), false),
        (dns("c.example"), true),
        (dns("d.example"), false),
    ] {
        let pair = clients.issue(&named(&[name]));
        let config = server.client(Some(&pair), &["http/1.1"]);
        let mut connection = Connection::open_tls(world.gate, config).await.unwrap();
        let answer = connection.ask(delete("gate", "").as_bytes()).await.unwrap();
        match allowed {
            true => assert!(is_accepted(&said(&answer)), "{answer:?}"),
            false => assert_eq!(said(&answer), code(4033)),
        }
    }
}
