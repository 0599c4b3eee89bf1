//! A listener that speaks TLS.

use crate::support::toy::{World, limits, loopback, within};

use lychgate::clock::Clock;
use lychgate::exchange::{Arrival, Handler};
use lychgate::metrics::Metrics;
use lychgate::server::tls::{Files, Setting, Tls};
use lychgate::server::{Limits, Listener};

use axum::body::Body;
use http::Response;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn files(certificate: &str, key: &str, client_ca: Option<&str>) -> Files {
    let (certificate, key, client_ca) = (file(certificate), file(key), client_ca.map(file));
    Files { certificate, key, client_ca }
}

/// Answers what it was told of the connection.
#[derive(Clone)]
struct Mirror;

impl Handler for Mirror {
    async fn handle(&self, Arrival { head, peer, fault, .. }: Arrival) -> Response<Body> {
        let (secure, local) = (peer.secure, peer.local);
        let text = format!("{:?} secure={secure} local={local} {fault:?}", head.version);
        Response::new(text.into())
    }
}

async fn start(limits: Limits) -> World {
    start_with(limits, None).await
}

async fn start_with(limits: Limits, client_ca: Option<&str>) -> World {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let files = files("localhost.pem", "localhost.key", client_ca);
    let watch = (Metrics::new(), Clock::system());
    let tls = Tls::start((files, "here".to_owned()), watch, &tasks, stop).await.unwrap();
    let listener = Listener::bind(&loopback(), limits).await.unwrap();
    World::serve_on(listener.with_tls(tls), Mirror)
}

/// Trusts the listener, and has a certificate of its own or none.
fn client(protocols: &[&str], certificate: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        true => {
            let chain = CertificateDer::pem_file_iter(file("localhost.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(file("localhost.key")).unwrap();
            config.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
        false => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn dial(world: &World, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    within(connector.connect(name, world.connect().await)).await.unwrap()
}

async fn connect(world: &World, protocols: &[&str]) -> TlsStream<TcpStream> {
    dial(world, &client(protocols, false)).await
}

/// One request on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"None") {
        answer.push(within(stream.read_u8()).await?);
    }
    Ok(())
}

#[tokio::test]
async fn http1_is_guarded_behind_tls() {
    let world = start(limits()).await;
    for (protocols, head, expected) in [
        (
            ["http/1.1"].as_slice(),
            "GET / HTTP/1.1\r\nHost: gate",
            "HTTP/1.1 secure=true local=true None",
        ),
        (&[], "GET / HTTP/1.1\r\nHost: gate", "HTTP/1.1 secure=true local=true None"),
        (&["http/1.1"], "GET / HTTP/1.1", "Some(Malformed(\"no Host field\"))"),
        (&["http/1.1"], "PRI * HTTP/2.0", "Some(Version)"),
    ] {
        let mut stream = connect(&world, protocols).await;
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // To the end, which rustls only takes for one after a `close_notify`.
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with(expected), "{answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn http2_is_agreed_on() {
    let world = start(limits()).await;
    let stream = connect(&world, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut sender = crate::front::http2::connect(&world, stream).await;
    let request = http::Request::get("https://gate/").body(Default::default()).unwrap();
    let answer = crate::front::http2::send(&mut sender, request).await.unwrap();
    assert_eq!(answer, "200 HTTP/2.0 secure=true local=true None");
    drop(sender);
    world.stop().await;
}

/// A session that is resumed is not verified again, so there is none where certificates count.
#[tokio::test]
async fn every_certificate_is_verified_anew() {
    for (client_ca, expected) in
        [(None, HandshakeKind::Resumed), (Some("ca.pem"), HandshakeKind::Full)]
    {
        let world = start_with(limits(), client_ca).await;
        let config = client(&["http/1.1"], true);
        let mut first = dial(&world, &config).await;
        ask(&mut first).await.unwrap();
        let second = dial(&world, &config).await;
        assert_eq!(second.get_ref().1.handshake_kind(), Some(expected), "{client_ca:?}");
        drop((first, second));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_connection_outlives_its_certificate_by_so_much_and_no_more() {
    let limits = Limits {
        certificate: Duration::from_millis(100),
        drain_quiet: Duration::from_millis(50),
        ..limits()
    };
    let world = start_with(limits, Some("ca.pem")).await;
    let mut without = dial(&world, &client(&["http/1.1"], false)).await;
    ask(&mut without).await.unwrap();
    for protocol in ["http/1.1", "h2"] {
        let mut with = dial(&world, &client(&[protocol], true)).await;
        if protocol == "h2" {
            let mut sender = crate::front::http2::connect(&world, with).await;
            within(async {
                while sender.ready().await.is_ok() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            continue;
        }
        // However busy it is.
        let closed = async { while ask(&mut with).await.is_ok() {} };
        within(closed).await;
    }
    ask(&mut without).await.unwrap();
    drop(without);
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_tls_is_closed() {
    let world = start(Limits { head: Duration::from_millis(50), ..limits() }).await;
    for sent in ["GET / HTTP/1.1\r\nHost: gate\r\n\r\n", "", "\x16\x03\x01"] {
        let mut stream = world.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP"), "{sent:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_listener() {
    let pair = "the certificate and its key cannot be used together";
    let now = Clock::system().now();
    for (certificate, key, client_ca, setting, expected) in [
        ("missing.pem", "localhost.key", None, Setting::Certificate, "missing.pem: it cannot be"),
        ("localhost.pem", "missing.key", None, Setting::Key, "missing.key: it cannot be read"),
        ("localhost.pem", "localhost.pem", None, Setting::Key, "it holds no PEM private key"),
        ("localhost.key", "localhost.key", None, Setting::Certificate, "holds no PEM certificate"),
        ("ca.pem", "localhost.key", None, Setting::Key, pair),
        ("localhost.pem", "localhost.key", Some("missing"), Setting::ClientCa, "cannot be read"),
        ("localhost.pem", "localhost.key", Some("localhost.key"), Setting::ClientCa, "holds no"),
        ("localhost.pem", "localhost.key", Some("README.md"), Setting::ClientCa, "holds no"),
    ] {
        let error = files(certificate, key, client_ca).check(now).await.err().unwrap();
        assert_eq!(error.setting, setting, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    files("localhost.pem", "localhost.key", Some("other-ca.pem")).check(now).await.unwrap();
}
