//! Connections: HTTP/1.1 over TCP, with the ability to break off in ways that HTTP does not know.

use super::service::{Cut, Origin, Reply, Service};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections are served at once; more are closed at once.
const CONNECTIONS_MAX: usize = 4096;

/// How long to wait after an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The longest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much of what arrived is kept for the journal.
const RAW_BYTES_MAX: usize = 64 * 1024;

/// How much of a waiting request is looked at without reading it.
const PEEK_BYTES: usize = 4096;

/// Accepts connections until `stop`; then closes them all, answered or not.
pub(super) async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut connection = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // An error of accept concerns one connection, or passes when others end.
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if CONNECTIONS_MAX < tasks.len() {
            continue;
        }
        connection += 1;
        let stop = stop.clone();
        let serving = serve(stream, peer, connection, Arc::clone(&service));
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, connection: u64, service: Arc<Service>) {
    // A refusal costs latency, nothing else.
    drop(stream.set_nodelay(true));
    let raw = Arc::new(Mutex::new(Vec::new()));
    let wire = Wire { stream, raw: Arc::clone(&raw), reset: false, service: Arc::clone(&service) };
    let (cut, mut cuts) = mpsc::channel(1);
    let answer = service_fn(move |request| {
        let (service, cut) = (Arc::clone(&service), cut.clone());
        let raw = std::mem::take(&mut *raw.lock().unwrap_or_else(PoisonError::into_inner));
        async move {
            let origin = Origin { connection, peer, raw: Bytes::from(raw) };
            match service.reply(request, origin).await {
                Reply::Answer(response) => Ok::<_, Infallible>(response),
                Reply::Cut(it) => {
                    // Whoever receives it drops this future.
                    drop(cut.send(it).await);
                    std::future::pending().await
                }
            }
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let mut serving = http.serve_connection(TokioIo::new(wire), answer);
    let cut = tokio::select! {
        _ = &mut serving => return,
        cut = cuts.recv() => cut,
    };
    let mut wire = serving.into_parts().io.into_inner();
    match cut {
        // The client may be gone at any point, which is its own affair.
        Some(Cut::Close(bytes)) => {
            drop(wire.write_all(&bytes).await);
            drop(wire.shutdown().await);
        }
        Some(Cut::Hold(bytes)) => {
            drop(wire.write_all(&bytes).await);
            drop(tokio::io::copy(&mut wire, &mut tokio::io::sink()).await);
        }
        Some(Cut::Reset) => wire.reset = true,
        None => {}
    }
}

/// A TCP connection that remembers what it read and can be reset.
struct Wire {
    stream: TcpStream,
    /// What was read since somebody took it.
    raw: Arc<Mutex<Vec<u8>>>,
    /// Whether the end is an RST and not a FIN.
    reset: bool,
    service: Arc<Service>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset {
            // If it fails the connection ends with a FIN, or with an RST for the unread bytes.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl Wire {
    /// Whether the request that waits is to be reset unread.
    fn poll_unread(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.service.may_reset_unread() {
            return Poll::Ready(Ok(false));
        }
        let mut bytes = [0; PEEK_BYTES];
        let mut head = ReadBuf::new(&mut bytes);
        ready!(self.stream.poll_peek(cx, &mut head))?;
        Poll::Ready(Ok(self.service.resets_unread(head.filled())))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_unread(cx))? {
            this.reset = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        let mut raw = this.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let room = RAW_BYTES_MAX.saturating_sub(raw.len());
        raw.extend(read.iter().take(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset {
            // A FIN now would be all that the client sees of the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
