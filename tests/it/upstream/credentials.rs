//! Temporary cloud keys from emulated issuers: each source through the same life, over TLS, and at a
//! whole gate; and who may read the files.

use crate::support::collector::{acceptor, tls_file};
use crate::support::world::{FINISHED, PATIENCE, PROJECT, World, poll, until};

use jiff::SignedDuration;
use lychgate::client::Roots;
use lychgate::clock::Clock;
use lychgate::credentials;
use lychgate::credentials::{Oidc, Parts, PodIdentity, Source};
use lychgate::emulator::Key;
use lychgate::metrics::Metrics;
use lychgate::sign::Credential;
use lychgate::trouble::Trouble;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is answered to one call.
#[derive(Clone, Copy, Debug)]
enum Reply {
    /// This access key, for so many seconds.
    Key(&'static str, i64),
    Status(u16),
    /// Nothing, ever.
    Silence,
}

/// Who issues credentials. Each call takes the next reply; the last one stays.
struct Issuer {
    address: String,
    calls: Arc<AtomicUsize>,
    replies: Arc<Mutex<Vec<Reply>>>,
    stop: CancellationToken,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Issuer {
    async fn start(replies: &[Reply], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = if tls.is_some() { "localhost" } else { "127.0.0.1" };
        let issuer = Self {
            address: format!("{scheme}://{host}:{port}"),
            calls: Arc::default(),
            replies: Arc::new(Mutex::new(replies.to_vec())),
            stop: CancellationToken::new(),
        };
        let (calls, replies) = (Arc::clone(&issuer.calls), Arc::clone(&issuer.replies));
        let (tracker, stop) = (TaskTracker::new(), issuer.stop.clone());
        tracker.clone().spawn(async move {
            let serve = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let (calls, replies, tls) = (calls.clone(), replies.clone(), tls.clone());
                    tracker.spawn(async move {
                        match tls {
                            None => answer(stream, &calls, &replies).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => answer(stream, &calls, &replies).await,
                                Err(_) => {
                                    calls.fetch_add(1, Ordering::Relaxed);
                                }
                            },
                        }
                    });
                }
            };
            stop.run_until_cancelled(serve).await;
        });
        issuer
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn replies(&self, replies: &[Reply]) {
        *self.replies.lock().unwrap() = replies.to_vec();
    }

    /// The three sources that ask this issuer.
    fn sources(&self, token: &Path, roots: &Roots) -> [Source; 3] {
        let pod = PodIdentity {
            uri: format!("{}/v1/credentials", self.address).parse().unwrap(),
            roots: roots.clone(),
            token: token.to_owned(),
        };
        let oidc = Oidc {
            endpoint: self.address.parse().unwrap(),
            roots: roots.clone(),
            provider: "provider".to_owned(),
            agency: "agency".to_owned(),
            session: "lychgate".to_owned(),
            token: token.to_owned(),
            duration: Duration::from_secs(3600),
        };
        let metadata = Source::EcsMetadata(self.address.parse().unwrap());
        [metadata, Source::PodIdentity(Some(pod)), Source::Oidc(oidc)]
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    calls: &AtomicUsize,
    replies: &Mutex<Vec<Reply>>,
) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let (status, body) = match request.starts_with(b"PUT ") {
        // An old metadata service knows no tokens.
        true => (404, String::new()),
        false => {
            calls.fetch_add(1, Ordering::Relaxed);
            let reply = {
                let mut replies = replies.lock().unwrap();
                if replies.len() == 1 { replies[0] } else { replies.remove(0) }
            };
            match reply {
                Reply::Key(id, seconds) => (200, body(&request, id, seconds)),
                Reply::Status(status) => (status, String::new()),
                Reply::Silence => std::future::pending().await,
            }
        }
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
    length.is_none_or(|it| it.parse() == Ok(body.len()))
}

/// Every issuer spells it in its own way.
fn body(request: &[u8], id: &str, seconds: i64) -> String {
    let end = Clock::system().now() + SignedDuration::from_secs(seconds);
    let (outer, names) = match request.split(|it| *it == b' ').nth(1).unwrap() {
        b"/openstack/latest/securitykey" => {
            ("credential", ["access", "secret", "securitytoken", "expires_at"])
        }
        b"/v1/credentials" => {
            ("credentials", ["accessKeyId", "secretAccessKey", "securityToken", "expiration"])
        }
        b"/v5/agencies/assume-with-oidc" => {
            ("credentials", ["access_key_id", "secret_access_key", "security_token", "expiration"])
        }
        other => panic!("{other:?}"),
    };
    let [ak, sk, token, expires] = names;
    format!(
        r#"{{"{outer}":{{"{ak}":"{id}","{sk}":"{id}-secret","{token}":"{id}-token","{expires}":"{end:.6}"}}}}"#
    )
}

/// A source at work; its task ends with this value.
struct Running {
    credential: watch::Receiver<Option<Arc<Credential>>>,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    async fn start(source: &Source) -> Self {
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        let parts = Parts {
            clock: Clock::system(),
            tracker: TaskTracker::new(),
            stop: stop.clone(),
            trouble: Trouble::default(),
            metrics: vec![metrics.upstream("u")],
            refused: watch::channel(false).1,
        };
        Self { credential: credentials::start(source, parts).await.unwrap(), metrics, stop }
    }

    fn id(&self) -> Option<String> {
        self.credential.borrow().as_ref().map(|it| it.access_key_id().to_owned())
    }

    /// The access keys of the next changes.
    async fn next(&mut self, count: usize) -> Vec<Option<String>> {
        let mut seen = Vec::new();
        for _ in 0..count {
            let changed = tokio::time::timeout(PATIENCE, self.credential.changed());
            changed.await.expect("a change in time").unwrap();
            let credential = self.credential.borrow_and_update().clone();
            if let Some(it) = &credential {
                // Always of one answer.
                let token = it.security_token().map(|it| it.expose().as_str());
                assert_eq!(token, Some(format!("{}-token", it.access_key_id()).as_str()));
            }
            let expiry = "lychgate_credential_expiry_timestamp_seconds{";
            let is_told = async || self.metrics.encode().contains(expiry) == credential.is_some();
            until("the metric does not tell the end of the credential", is_told).await;
            seen.push(credential.map(|it| it.access_key_id().to_owned()));
        }
        seen
    }
}

fn token_file() -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "word").unwrap();
    (directory, path)
}

/// Down at the start, then there, replaced ahead of its end, kept while it is valid although nobody
/// answers any more, gone at its end, and back.
#[tokio::test]
async fn every_source_goes_through_the_same_life() {
    let (_directory, token) = token_file();
    let life = async |which: usize| {
        let replies = [
            Reply::Status(500),
            Reply::Key("FIRST", 6),
            Reply::Key("SECOND", 6),
            Reply::Status(401),
            Reply::Status(503),
        ];
        let issuer = Issuer::start(&replies, None).await;
        let mut source = Running::start(&issuer.sources(&token, &Roots::Nobody)[which]).await;
        assert_eq!(source.id(), None, "not there, and no reason to end");
        let first = source.next(1).await;
        assert_eq!(first, [Some("FIRST".to_owned())], "{which}");
        assert_eq!(source.next(1).await, [Some("SECOND".to_owned())], "{which}");
        let replaced = Instant::now();
        assert_eq!(source.next(1).await, [None], "{which}");
        // Six seconds, less what a busy machine took.
        assert!(Duration::from_secs(5) < replaced.elapsed(), "{which}: {:?}", replaced.elapsed());
        issuer.replies(&[Reply::Key("THIRD", 3600)]);
        assert_eq!(source.next(1).await, [Some("THIRD".to_owned())], "{which}");
    };
    tokio::join!(life(0), life(1), life(2));
}

#[tokio::test]
async fn an_issuer_that_hangs_is_asked_again_and_never_twice_at_once() {
    let (_directory, token) = token_file();
    let life = async |which: usize| {
        let issuer = Issuer::start(&[Reply::Silence, Reply::Key("LATE", 3600)], None).await;
        let mut source = Running::start(&issuer.sources(&token, &Roots::Nobody)[which]).await;
        poll(|| Some(()).filter(|()| issuer.calls() == 1)).await;
        let asked = Instant::now();
        assert_eq!(source.next(1).await, [Some("LATE".to_owned())], "{which}");
        let took = asked.elapsed();
        assert!(Duration::from_secs(2) < took, "{which}: {took:?}");
        assert_eq!(issuer.calls(), 2, "{which}");
    };
    tokio::join!(life(0), life(1), life(2));
}

/// The metadata service is plain HTTP on the machine's own link; the other two are on a network.
#[tokio::test]
async fn issuers_over_tls_are_those_of_the_ca() {
    let (_directory, token) = token_file();
    for which in [1, 2] {
        for (ca, good) in [("ca.pem", true), ("other-ca.pem", false)] {
            let issuer = Issuer::start(&[Reply::Key("KEY", 3600)], Some(acceptor())).await;
            let roots = Roots::File(tls_file(ca));
            let mut source = Running::start(&issuer.sources(&token, &roots)[which]).await;
            if good {
                assert_eq!(source.next(1).await, [Some("KEY".to_owned())], "{which}");
            } else {
                // Refused at the handshake, and tried again.
                poll(|| Some(()).filter(|()| issuer.calls() == 2)).await;
                assert_eq!(source.id(), None, "{which}");
            }
        }
    }
}

/// A source that is down at the start makes the gate not ready instead of dead.
#[tokio::test]
async fn a_gate_waits_for_its_temporary_key() {
    let (_directory, token) = token_file();
    for source in [
        "ecs_metadata: {endpoint: 'URL'}",
        "oidc: {endpoint: 'URL', provider: p, agency: a, token: TOKEN}",
    ] {
        let issuer = Issuer::start(&[Reply::Status(500)], None).await;
        let source = source
            .replace("URL", &issuer.address)
            .replace("TOKEN", &format!("'{}'", token.display()));
        let world = World::builder()
            .config("{file: cloud.yaml}", &format!("{{{source}}}"))
            .emulator(|it| {
                it.keys = vec![Key {
                    ak: "TEMPORARY".to_owned(),
                    sk: "TEMPORARY-secret".to_owned(),
                    security_token: Some("TEMPORARY-token".to_owned()),
                    projects: vec![PROJECT.to_owned()],
                }];
            })
            .start()
            .await;
        assert_eq!(world.ready().await, 503, "{source}");
        let answer = world.delete("alice", FINISHED).await;
        assert_eq!((answer.status, answer.code().as_deref()), (503, Some("Lychgate.5034")));
        assert_eq!(world.emulator.counts().all(), 0);
        issuer.replies(&[Reply::Key("TEMPORARY", 3600)]);
        until(&format!("{source}: not ready"), async || world.ready().await == 200).await;
        assert_eq!(world.delete("alice", FINISHED).await.status, 202, "{source}");
        let request = world.emulator.requests().pop().unwrap();
        assert_eq!(request.header("x-security-token"), Some("TEMPORARY-token"));
        let metrics = world.metrics().await;
        assert!(metrics.contains("lychgate_credential_expiry_timestamp_seconds{"), "{metrics}");
        assert!(!metrics.contains("TEMPORARY"));
    }
}

/// attack 72: files that every user of the system can read are warned of, and used.
#[tokio::test]
async fn secrets_that_everybody_can_read_are_warned_of() {
    let log: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Log(Arc::clone(&writer)))
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::start().await;
    let files = ["cloud.yaml", "keys.yaml"].map(|it| world.directory.path().join(it));
    let allow = |mode: u32| {
        for file in &files {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        log.lock().unwrap().clear();
    };
    let warned = || {
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("Secret0000"), "{text}");
        text.matches("every user of this system can read").count()
    };
    let world = world.restart(|_| allow(0o644)).await;
    assert_eq!(warned(), 2);
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    let world = world.restart(|_| allow(0o640)).await;
    assert_eq!(warned(), 0);
    world.stop().await;
    drop(guard);
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
