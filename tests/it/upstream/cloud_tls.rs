//! TLS to the cloud: whom the gate trusts, and that nothing is sent to anybody else.

use crate::front::attacks::ALLOW_ALL;
use crate::support::pki::{Authority, Pair, dns, expired, localhost, named, self_signed};
use crate::support::world::{FINISHED, World, poll};

use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// What the records of a TLS connection carry (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Somebody who listens where the cloud should be.
struct Server {
    url: String,
    /// What arrived after a greeting in an old version.
    received: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
enum Kind {
    /// TLS of today, and behind it the emulator at this address.
    Modern(Arc<ServerConfig>, SocketAddr),
    /// Answers every greeting with this record.
    Old(Vec<u8>),
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let received = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&received);
        let task = TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(&kind, stream, &sink).await;
            }
        });
        Self { url, received, task }
    }
}

async fn serve(kind: &Kind, mut stream: TcpStream, received: &Mutex<Vec<u8>>) {
    match kind {
        Kind::Modern(config, cloud) => {
            let accepted = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
            let Ok(mut stream) = accepted else { return };
            let mut cloud = TcpStream::connect(cloud).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut cloud).await;
        }
        Kind::Old(record) => {
            let mut bytes = Vec::new();
            let _ = stream.read_buf(&mut bytes).await;
            let _ = stream.write_all(record).await;
            let _ = stream.read_to_end(&mut bytes).await;
            received.lock().unwrap().extend(bytes);
        }
    }
}

/// A ServerHello of the version 3.`minor`: 1 is TLS 1.0, 2 is TLS 1.1 (RFC 4346 §7.4.1.3).
fn server_hello(minor: u8) -> Vec<u8> {
    const CIPHER_SUITE: [u8; 2] = [0xc0, 0x09];
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(CIPHER_SUITE);
    hello.push(0);
    let length = u8::try_from(hello.len()).unwrap();
    [vec![HANDSHAKE, 3, minor, 0, length + 4, 2, 0, 0, length], hello].concat()
}

/// The types of the records in `bytes`.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        kinds.push(*kind);
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        bytes = &rest[length..];
    }
    kinds
}

async fn gate(server: &Server, trusted: &Authority) -> World {
    World::builder()
        .cloud(&server.url)
        .config("region: cn-north-4\n", "region: cn-north-4\n    ca: cloud.crt\n")
        .file("cloud.crt", &trusted.certificate)
        .policies(ALLOW_ALL)
        .start()
        .await
}

/// Attack 77.
#[tokio::test]
async fn who_cannot_prove_to_be_the_cloud_gets_nothing() {
    let cloud = World::start().await;
    let address = cloud.emulator.url().strip_prefix("http://").unwrap().parse().unwrap();
    let trusted = Authority::new("trusted");
    let modern = |pair: &Pair| Kind::Modern(pair.server(), address);
    for (name, kind, good) in [
        ("the cloud", modern(&trusted.issue(&localhost())), true),
        ("expired", modern(&trusted.issue(&expired(localhost()))), false),
        ("of another name", modern(&trusted.issue(&named(&[dns("other.example")]))), false),
        ("of nobody", modern(&trusted.issue(&named(&[]))), false),
        ("of another authority", modern(&Authority::new("trusted").issue(&localhost())), false),
        ("self-signed", modern(&self_signed(&localhost())), false),
        ("TLS 1.1", Kind::Old(server_hello(2)), false),
        ("TLS 1.0", Kind::Old(server_hello(1)), false),
    ] {
        let server = Server::start(kind).await;
        let before = cloud.emulator.counts().all();
        let world = gate(&server, &trusted).await;
        let answer = world.delete("alice", FINISHED).await;
        let outcome = world.outcomes(1).await.remove(0);
        if good {
            assert_eq!(answer.status, 202, "{name}: {answer:?}");
            assert_eq!(cloud.emulator.counts().all(), before + 1);
            continue;
        }
        let said = (answer.status, answer.code());
        assert_eq!(said, (502, Some("Lychgate.5022".to_owned())), "{name}");
        assert_eq!(outcome["result"], "not_sent", "{name}");
        assert_eq!(cloud.emulator.counts().all(), before, "{name}");
        world.measures(r#"lychgate_upstream_connect_errors_total{upstream="emulator"} 1"#).await;
        if name.starts_with("TLS") {
            let received =
                poll(|| Some(server.received.lock().unwrap().clone()).filter(|it| !it.is_empty()));
            assert_eq!(records(&received.await), [HANDSHAKE, ALERT], "{name}");
        }
    }
}
