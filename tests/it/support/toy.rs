//! A real listener on the loopback with a handler that says what reached it.

use lychgate::exchange::{Arrival, Handler, Refusal};
use lychgate::metrics::Metrics;
use lychgate::server::{Admission, Limits, Listener, Place, Serving};

use axum::body::Body;
use http::Response;
use http_body_util::{BodyExt, Collected};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than any test takes that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const GOOD: &str = "DELETE /v2/p/training-jobs/j HTTP/1.1\r\nHost: gate\r\n\r\n";

/// A served toy: it answers a good head with 202 and the number and target of the request,
/// a refused one with its status and code.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) tracker: TaskTracker,
    pub(crate) drain: CancellationToken,
    pub(crate) metrics: Metrics,
    /// Requests whose head was good.
    pub(crate) reached: Arc<AtomicUsize>,
    /// `/wait` answers when it gets a permit.
    pub(crate) gate: Arc<Semaphore>,
}

/// The default limits, with time-outs that a test can wait for.
pub(crate) fn limits() -> Limits {
    Limits { linger: Duration::from_millis(200), ..Limits::default() }
}

/// Any free port.
pub(crate) fn loopback() -> Place {
    Place::Tcp("127.0.0.1:0".parse().unwrap())
}

impl World {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_for(10_000, 10_000, limits).await
    }

    /// With so many connections in all, and from one peer.
    pub(crate) async fn start_for(in_all: usize, per_peer: usize, limits: Limits) -> Self {
        let reached = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let toy = Toy { reached: Arc::clone(&reached), gate: Arc::clone(&gate) };
        let metrics = Metrics::new();
        let admission = Admission::new(in_all, per_peer, Vec::new(), metrics.clone());
        let listener = Listener::bind(&loopback(), limits).await.unwrap();
        Self { reached, gate, ..Self::serve_for(admission, metrics, listener, toy) }
    }

    pub(crate) async fn serve(handler: impl Handler, limits: Limits) -> Self {
        let listener = Listener::bind(&loopback(), limits).await.unwrap();
        Self::serve_on(listener, handler)
    }

    pub(crate) fn serve_on(listener: Listener, handler: impl Handler) -> Self {
        let metrics = Metrics::new();
        let admission = Admission::new(10_000, 10_000, Vec::new(), metrics.clone());
        Self::serve_for(admission, metrics, listener, handler)
    }

    fn serve_for(
        admission: Admission,
        metrics: Metrics,
        listener: Listener,
        handler: impl Handler,
    ) -> Self {
        let address = listener.local_address().unwrap();
        let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
        let serving = Serving {
            admission,
            metrics: metrics.clone(),
            tracker: tracker.clone(),
            drain: drain.clone(),
        };
        tracker.spawn(listener.serve(handler, serving));
        Self {
            address,
            tracker,
            drain,
            metrics,
            reached: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `bytes`, then nothing more, and reads to the end. A reset is a failure.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// What [`World::exchange`] answers, in short: status and body of each response.
    pub(crate) async fn answers(&self, bytes: &[u8]) -> Vec<String> {
        split(&self.exchange(bytes).await)
    }

    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }

    /// Drains and waits until no task is left.
    pub(crate) async fn stop(self) {
        self.drain.cancel();
        self.tracker.close();
        within(self.tracker.wait()).await;
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("an answer in time")
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("a close without a reset");
    answer
}

/// Reads one response; the toy's are short and have a `Content-Length`.
pub(crate) async fn read_one(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        answer.push(within(stream.read_u8()).await.unwrap());
        let text = str::from_utf8(&answer).unwrap();
        if let Some(head) = text.strip_suffix("\r\n\r\n") {
            let length: usize = field(head, "content-length").unwrap().parse().unwrap();
            let mut body = vec![0; length];
            within(stream.read_exact(&mut body)).await.unwrap();
            return text.to_owned() + str::from_utf8(&body).unwrap();
        }
    }
}

pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(": "))
}

/// The responses of a connection as `status body`.
pub(crate) fn split(mut text: &str) -> Vec<String> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let length: usize = field(head, "content-length").map_or(0, |it| it.parse().unwrap());
        let (body, rest) = rest.split_at(length);
        answers.push(format!("{} {body}", &head["HTTP/1.1 ".len()..][..3]));
        text = rest;
    }
    assert_eq!(text, "", "nothing but responses");
    answers
}

/// Answers as [`World`] says.
#[derive(Clone)]
struct Toy {
    reached: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Handler for Toy {
    async fn handle(&self, Arrival { head, fault, body, .. }: Arrival) -> Response<Body> {
        if let Some(fault) = fault {
            return answer(&Refusal::Head(fault));
        }
        let number = self.reached.fetch_add(1, Ordering::Relaxed);
        match head.uri.path() {
            "/panic" => panic!("as asked"),
            "/wait" => self.gate.acquire().await.unwrap().forget(),
            _ => (),
        }
        let mut text = format!("{number} {} {}", head.method, head.uri);
        match body.collect().await.map(Collected::to_bytes) {
            Ok(body) if body.is_empty() => (),
            Ok(body) => text += &format!(" {}", String::from_utf8_lossy(&body)),
            Err(_) => text += " broken off",
        }
        let body = text;
        Response::builder().status(202).body(Body::from(body)).unwrap()
    }
}

fn answer(refusal: &Refusal) -> Response<Body> {
    let body = format!("Lychgate.{}", refusal.code());
    Response::builder().status(refusal.status()).body(Body::from(body)).unwrap()
}
