//! Listeners: accept connections within limits, hand their requests to a [`Handler`], drain.
//!
//! `axum::serve` cannot set limits and hyper hides what arrived, so connections are built here with
//! hyper's own builders behind a `guard`. A refused request arrives as a substitute, with the fault
//! that its answer has to name.

pub mod admin;
mod admission;
mod connection;
mod guard;
pub mod head;
mod http2;
mod socket;
pub mod tls;

pub use self::admission::Admission;
pub use self::socket::{Place, SOCKET_PATH_BYTES_MAX, is_stale};

use crate::authn::Peer;
use crate::exchange::Handler;
use crate::metrics::Metrics;
use crate::policy::Principal;
use crate::server::connection::Shared;
use crate::server::socket::{Socket, Stream};
use crate::server::tls::Tls;
use crate::trouble::Seldom;

use futures_util::FutureExt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause after failed accepts.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Between two warnings that connections are refused; the metric counts each.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(60);

/// The limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// HTTP/1.0 is answered as well, with or without a `Host`: probes of load balancers speak it.
    pub http1_0: bool,
    /// From a head's first byte to its last; also for a TLS handshake.
    pub head: Duration,
    /// A connection without a request is closed after one to two times this.
    pub idle: Duration,
    /// How long a closing connection may take to send what it has to send.
    pub close: Duration,
    /// How long the other end of a connection that is being closed may take to read its answer and
    /// close.
    pub linger: Duration,
    /// Between HTTP/2 pings, and for their answer.
    pub ping: Duration,
    /// How long a connection lives on the verification of its client certificate, which may expire
    /// meanwhile. Afterwards it ends as in a drain, and the client connects anew.
    pub certificate: Duration,
    /// How long requests may take to finish once the gate drains.
    pub drain: Duration,
    /// While the gate drains, a connection without a request is closed after one to two times this.
    pub drain_quiet: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            http1_0: false,
            head: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            close: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            ping: Duration::from_secs(20),
            certificate: Duration::from_secs(5 * 60),
            drain: Duration::from_secs(25),
            drain_quiet: Duration::from_millis(500),
        }
    }
}

/// What a listener serves and how it ends; the same for all listeners of the process.
#[derive(Clone, Debug)]
pub struct Serving {
    /// How many connections there may be; one more is closed at once.
    pub admission: Admission,
    /// Counts refused heads.
    pub metrics: Metrics,
    /// Holds every task of every connection.
    pub tracker: TaskTracker,
    /// Stops accepting and starts to close connections.
    pub drain: CancellationToken,
}

/// A bound listener.
pub struct Listener {
    socket: Socket,
    place: Place,
    principal: Option<Arc<Principal>>,
    tls: Option<Tls>,
    limits: Limits,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds `place`. The file of a Unix socket is for the process's own user alone (mode 0600),
    /// replaces one that nobody listens on, and is removed when the listener stops.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub async fn bind(place: &Place, limits: Limits) -> io::Result<Self> {
        let socket = Socket::bind(place).await?;
        let place = socket.place()?;
        Ok(Self { socket, place, principal: None, tls: None, limits })
    }

    /// Everyone on this listener is `principal`. A request for a host that is not loopback is
    /// refused.
    #[must_use]
    pub fn with_principal(mut self, principal: Arc<Principal>) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Everyone on this TCP listener speaks TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where it is bound.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The address that was bound; `None` for a Unix socket.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }

    /// Accepts connections and lets `handler` answer their requests until `serving.drain` is cancelled. The
    /// connections are then still finishing on `serving.tracker`, for at most [`Limits::drain`].
    pub async fn serve<H: Handler>(self, handler: H, serving: Serving) {
        let shared = Shared { handler, limits: self.limits, serving };
        let mut pause = ACCEPT_PAUSE_MIN;
        let refusals = Seldom::new(REFUSALS_TOLD_EVERY);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shared.serving.drain.cancelled() => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = ACCEPT_PAUSE_MIN;
                    self.spawn(stream, address, &shared, &refusals);
                }
                // The other end gave up between its SYN and our accept.
                Err(error) if is_of_one_connection(&error) => (),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => (),
                        () = shared.serving.drain.cancelled() => break,
                    }
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
        self.socket.unlink();
        // The system has told these clients already that they are connected.
        while let Some(Ok((stream, address))) = self.socket.accept().now_or_never() {
            self.spawn(stream, address, &shared, &refusals);
        }
    }

    /// Serves one connection in a task of its own, or closes it when it is one too many.
    fn spawn<H: Handler>(
        &self,
        stream: Stream,
        address: Option<IpAddr>,
        shared: &Shared<H>,
        refusals: &Seldom,
    ) {
        let place = match shared.serving.admission.admit(address) {
            Ok(place) => place,
            Err(limit) => {
                if let Some(left_out) = refusals.happened() {
                    let peer = address.map_or_else(|| "unix".to_owned(), |it| it.to_string());
                    let limit = limit.as_str();
                    tracing::warn!(
                        limit,
                        peer,
                        left_out,
                        "too many connections: new ones are closed"
                    );
                }
                return;
            }
        };
        let peer = Peer {
            address,
            local: self.local_address().is_none_or(|it| it.ip().is_loopback()),
            secure: self.tls.is_some(),
            principal: self.principal.clone(),
            certificate: None,
        };
        let (tls, shared) = (self.tls.as_ref().map(Tls::version), shared.clone());
        shared.serving.tracker.clone().spawn(async move {
            match (stream, tls) {
                (Stream::Tcp(stream), Some(tls)) => {
                    // In a box: it is large, and connections without TLS should not pay for that.
                    Box::pin(connection::serve_tls(stream, tls, peer, shared)).await;
                }
                (Stream::Tcp(stream), None) => connection::serve(stream, peer, None, shared).await,
                (Stream::Unix(stream), _) => connection::serve(stream, peer, None, shared).await,
            }
            drop(place);
        });
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
