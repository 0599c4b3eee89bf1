//! One connection from its first byte to its last: protocol, guard, hyper, time-outs, drain.

use crate::authn::{self, Peer};
use crate::exchange::{Arrival, Handler, HeadFault, Refusal, refused};
use crate::server::guard::{Guard, Protocol, Refused};
use crate::server::head::Scan;
use crate::server::{Limits, Serving, head, http2, tls};

use axum::body::Body;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The most streams of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 100;

/// The most streams that the other end may reset before the gate has seen them, and that the gate may
/// have to reset, before the connection is closed (CVE-2023-44487, CVE-2025-8671).
const RESETS_MAX: usize = 64;

/// The window of a stream and of an HTTP/2 connection, in bytes: no body is longer, and a connection
/// cannot have less (RFC 9113 §6.9.2).
const WINDOW_BYTES: u32 = 65_535;

/// What hyper may buffer of a connection's answers, in bytes; an answer is not larger than that.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What `h2` decodes of a head at most, in bytes, before it answers 431 by itself: more than
/// [`HEAD_BYTES_MAX`](crate::server::head::HEAD_BYTES_MAX), so that the gate's own answer comes first.
const DECODED_BYTES_MAX: u32 = 64 * 1024;

/// What all connections of a listener share.
#[derive(Clone, Debug)]
pub(super) struct Shared<H> {
    pub(super) handler: H,
    pub(super) limits: Limits,
    pub(super) serving: Serving,
}

/// What hyper calls for each request of one connection.
struct ConnectionService<H> {
    shared: Shared<H>,
    peer: Peer,
    refused: Refused,
    /// Requests begun and requests ended, for the substitute's place and for time-outs.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Serves `stream` as [`serve`] does, after a TLS handshake within [`Limits::head`].
pub(super) async fn serve_tls<H: Handler>(
    stream: TcpStream,
    version: tls::Version,
    mut peer: Peer,
    mut shared: Shared<H>,
) {
    let accepting = TlsAcceptor::from(version.config).accept(stream);
    let stream = match tokio::time::timeout(shared.limits.head, accepting).await {
        Ok(Ok(stream)) => stream,
        failed => {
            shared.serving.metrics.tls_handshake_failed();
            match failed {
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                _ => tracing::debug!("a TLS handshake took too long"),
            }
            return;
        }
    };
    let (_, session) = stream.get_ref();
    let protocol = match session.alpn_protocol() {
        Some(tls::H2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) else {
        return serve(stream, peer, Some(protocol), shared).await;
    };
    peer.certificate = Some(authn::named_by(certificate));
    let (drain, age) = (shared.serving.drain.child_token(), shared.limits.certificate);
    shared.serving.drain = drain.clone();
    let mut serving = pin!(serve(stream, peer, Some(protocol), shared));
    tokio::select! {
        () = serving.as_mut() => return,
        () = tokio::time::sleep(age) => (),
        () = version.retired.cancelled() => (),
    }
    drain.cancel();
    serving.await;
}

/// Serves `io` until either end closes it, it has been quiet for too long, or the drain is over.
/// `agreed` is the protocol that ALPN settled on; without it the first bytes tell.
pub(super) async fn serve<IO, H>(
    io: IO,
    peer: Peer,
    agreed: Option<Protocol>,
    mut shared: Shared<H>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    // Polling a token takes its lock, so each connection has a token of its own.
    shared.serving.drain = shared.serving.drain.child_token();
    let limits = shared.limits;
    let scan = if limits.http1_0 { Scan::with_http1_0() } else { Scan::default() };
    let mut guard = Guard::new(io, scan, limits.head, limits.linger);
    let Some(protocol) = protocol(&mut guard, agreed, &shared).await else {
        return;
    };
    let connection = Arc::new(ConnectionService {
        peer,
        refused: guard.refused(),
        begun: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        shared,
    });
    let service = hyper::service::service_fn({
        let connection = Arc::clone(&connection);
        move |request| Arc::clone(&connection).handle(request)
    });
    let io = TokioIo::new(guard);
    match protocol {
        Protocol::Http1 => {
            connection.drive(protocol, Box::pin(http1().serve_connection(io, service))).await
        }
        Protocol::Http2 => {
            let builder =
                http2_builder(OnTracker(connection.shared.serving.tracker.clone()), limits);
            connection.drive(protocol, Box::pin(builder.serve_connection(io, service))).await;
        }
    }
}

/// The protocol of a connection; `None` when it closed or stayed silent.
async fn protocol<IO, H>(
    guard: &mut Guard<IO>,
    agreed: Option<Protocol>,
    shared: &Shared<H>,
) -> Option<Protocol>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(protocol) = agreed {
        guard.set_protocol(protocol);
        return agreed;
    }
    tokio::select! {
        protocol = poll_fn(|cx| guard.poll_protocol(cx)) => protocol.ok(),
        () = tokio::time::sleep(shared.limits.idle) => None,
        () = quiet_drain(shared) => None,
    }
}

/// Ends when a connection without a request may be closed because the gate drains.
async fn quiet_drain<H>(shared: &Shared<H>) {
    shared.serving.drain.cancelled().await;
    tokio::time::sleep(shared.limits.drain_quiet).await;
}

fn http1() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        // A client may shut down its write side and still wait for its answer. Without this hyper
        // also reads ahead during a request.
        .half_close(true)
        // The guard has the time-outs.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
}

fn http2_builder(
    executor: OnTracker,
    limits: Limits,
) -> hyper::server::conn::http2::Builder<OnTracker> {
    let mut builder = hyper::server::conn::http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(DECODED_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES_MAX)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping);
    builder
}

impl<H: Handler> ConnectionService<H> {
    /// Drives a connection to its end.
    async fn drive<C>(&self, protocol: Protocol, mut connection: Pin<Box<C>>)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let limits = self.shared.limits;
        let closed = tokio::select! {
            closed = self.until_quiet(connection.as_mut(), limits.idle) => closed,
            () = self.shared.serving.drain.cancelled() => false,
        };
        if closed {
            return;
        }
        let mut deadline = Instant::now() + limits.close;
        if self.shared.serving.drain.is_cancelled() {
            deadline = Instant::now() + limits.drain;
        }
        if self.shared.serving.drain.is_cancelled() && protocol == Protocol::Http1 {
            // Each answer now says `Connection: close`. A client that is between two requests may be
            // about to send the next one, and a close would cross it on the way. (HTTP/2 tells the
            // client which requests were taken, and needs no such pause.)
            let quiet = self.until_quiet(connection.as_mut(), limits.drain_quiet);
            match tokio::time::timeout_at(deadline, quiet).await {
                Ok(true) | Err(_) => return,
                Ok(false) => (),
            }
        }
        connection.as_mut().graceful_shutdown();
        let end = tokio::time::timeout_at(deadline, connection).await;
        log_end(end.unwrap_or(Ok(())));
    }

    /// Drives a connection until it ends (`true`), or until no request has been begun or was under
    /// way for one to two times `period`.
    async fn until_quiet<C>(&self, mut connection: Pin<&mut C>, period: Duration) -> bool
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut seen = None;
        loop {
            let mut pause = pin!(tokio::time::sleep(period));
            tokio::select! {
                end = connection.as_mut() => {
                    log_end(end);
                    return true;
                }
                () = pause.as_mut() => (),
            }
            let begun = self.begun.load(Ordering::Relaxed);
            let is_busy = begun != self.ended.load(Ordering::Relaxed);
            if !is_busy && seen == Some(begun) {
                return false;
            }
            seen = Some(begun);
        }
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let place = self.begun.fetch_add(1, Ordering::Relaxed);
        let _ended = Ended(&self.ended);
        let (head, body) = request.into_parts();
        let fault = match head.version {
            Version::HTTP_2 => http2::check(&head, body.is_end_stream()).err(),
            _ => self.refused.get().filter(|(at, _)| *at == place).map(|(_, fault)| *fault),
        };
        let fault = fault.or_else(|| self.foreign_host(&head));
        let is_http1 = head.version != Version::HTTP_2;
        let Shared { handler, serving: Serving { metrics, drain, .. }, .. } = &self.shared;
        if let Some(fault) = fault {
            metrics.head_refused(Refusal::Head(fault).code());
        }
        let body = if body.is_end_stream() { Body::empty() } else { Body::new(body) };
        // In a box, because hyper and what catches panics hand it on by copying it.
        let arrival = Arrival { head, peer: self.peer.clone(), fault, body };
        let response = Box::pin(handler.handle(arrival));
        let mut response = match AssertUnwindSafe(response).catch_unwind().await {
            Ok(response) => response,
            Err(_panic) => {
                // The process's panic hook counts it and tells where.
                tracing::error!("a handler panicked; its request is answered with 500");
                refused(&Refusal::Internal, &Uuid::new_v4().to_string())
            }
        };
        if is_http1 && drain.is_cancelled() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// A listener that vouches for whoever reaches it must not be reached by a web page whose host
    /// name resolves to loopback.
    fn foreign_host(&self, parts: &Parts) -> Option<HeadFault> {
        self.peer.principal.as_ref()?;
        let host = parts.headers.get(header::HOST).and_then(|it| it.to_str().ok());
        let host = parts.uri.authority().map(|it| it.as_str()).or(host);
        (!host.is_some_and(head::is_loopback_host)).then_some(HeadFault::Host)
    }
}

/// Counts a request as ended, answered or given up.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn log_end(end: hyper::Result<()>) {
    match end {
        Ok(()) => (),
        // The guard should have refused it; its answer would have had a body.
        Err(error) if error.is_parse() => {
            tracing::error!(%error, "hyper refused a head that the guard had passed");
        }
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Runs HTTP/2 streams on the server's tracker, so that shutdown waits for them.
#[derive(Clone, Debug)]
struct OnTracker(TaskTracker);

impl<F> hyper::rt::Executor<F> for OnTracker
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
