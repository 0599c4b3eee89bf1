//! Stands between a socket and hyper: passes on complete, judged request heads and nothing else.
//!
//! A head that [`head`](super::head) refuses is replaced by [`SUBSTITUTE`], so that hyper answers the
//! requests before it in order, then the substitute, and closes. Which request is the substitute is
//! told to the service beside the bytes ([`Refused`]), where no header can forge it. A body is as long
//! as the one `Content-Length` of its head says, and no other framing is let through, so that the next
//! head begins where hyper takes it to begin.
//!
//! An HTTP/2 connection passes through unread but for its first bytes.

use crate::exchange::HeadFault;
use crate::server::head::Scan;

use bytes::{Buf, BytesMut};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

#[cfg(test)]
mod tests;

/// What hyper reads instead of a refused head. Nothing of the refused head is in it, and it is not
/// a request that the gate would carry out.
pub(super) const SUBSTITUTE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read from a socket at once, in bytes.
const READ_BYTES: usize = 8 * 1024;

/// How much is discarded at most before a connection is closed, in bytes.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What the guard tells the service: how many requests came before the substitute, and what was
/// wrong. At most one per connection.
pub(super) type Refused = Arc<OnceLock<(u64, HeadFault)>>;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Guard<IO> {
    io: IO,
    head_timeout: Duration,
    linger_timeout: Duration,
    protocol: Protocol,
    /// Read and not yet passed on.
    held: BytesMut,
    /// How each head begins to be judged.
    fresh: Scan,
    scan: Scan,
    /// How much of `held` may be passed on.
    cleared: usize,
    /// How much of a body is still to be passed on after that.
    body: usize,
    /// Heads passed on.
    passed: u64,
    refused: Refused,
    /// Runs from the first byte of a head to its last, and while the guard lingers.
    timer: Option<Pin<Box<Sleep>>>,
    /// The other end has sent all that it will send.
    ended: bool,
    /// What may still be discarded; `None` until the write side is shut down.
    linger: Option<usize>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Guard<IO> {
    /// Guards `io`; the judging of each head begins as `fresh`. A head has `head_timeout` from its
    /// first byte, and closing waits up to `linger_timeout` for the other end to have read its
    /// answer.
    pub(super) fn new(
        io: IO,
        fresh: Scan,
        head_timeout: Duration,
        linger_timeout: Duration,
    ) -> Self {
        Self {
            io,
            head_timeout,
            linger_timeout,
            protocol: Protocol::Http1,
            held: BytesMut::new(),
            scan: fresh.clone(),
            fresh,
            cleared: 0,
            body: 0,
            passed: 0,
            refused: Refused::default(),
            timer: None,
            ended: false,
            linger: None,
        }
    }

    /// Where the service learns of a refused head.
    pub(super) fn refused(&self) -> Refused {
        Arc::clone(&self.refused)
    }

    /// The protocol is known beforehand (ALPN).
    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Reads until the first bytes show which protocol the other end speaks. Without a byte this
    /// waits for ever; from the first byte the head's time runs.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        while PREFACE.starts_with(&self.held) && self.held.len() < PREFACE.len() {
            match self.poll_fill(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(Protocol::Http1)),
                Poll::Ready(_) => (),
                Poll::Pending if self.is_late(cx) => return Poll::Ready(Ok(Protocol::Http1)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.held.starts_with(PREFACE) {
            self.protocol = Protocol::Http2;
        }
        Poll::Ready(Ok(self.protocol))
    }

    /// Reads more into `held`; zero means that the other end sends no more.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [MaybeUninit::uninit(); READ_BYTES];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut scratch))?;
        self.held.extend_from_slice(scratch.filled());
        self.ended = scratch.filled().is_empty();
        Poll::Ready(Ok(scratch.filled().len()))
    }

    /// A head has begun and its time is over.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let timeout = self.head_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// Clears the next head or its substitute; `false` when there is none and will be none.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.refused.get().is_some() {
                return Poll::Ready(Ok(false));
            }
            match self.scan.advance(&self.held) {
                Ok(Some(length)) => {
                    self.cleared = length;
                    self.body = self.scan.body();
                    self.passed += 1;
                    self.scan = self.fresh.clone();
                    self.timer = None;
                    return Poll::Ready(Ok(true));
                }
                Ok(None) => (),
                Err(fault) => return Poll::Ready(Ok(self.refuse(fault))),
            }
            match self.poll_fill(cx)? {
                Poll::Ready(0) if self.held.is_empty() => return Poll::Ready(Ok(false)),
                Poll::Ready(0) => {
                    let fault = HeadFault::Malformed("the head ends before its empty line");
                    return Poll::Ready(Ok(self.refuse(fault)));
                }
                Poll::Ready(_) => (),
                Poll::Pending if self.is_late(cx) => {
                    return Poll::Ready(Ok(self.refuse(HeadFault::TooSlow)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn refuse(&mut self, fault: HeadFault) -> bool {
        self.held = BytesMut::from(SUBSTITUTE);
        self.cleared = SUBSTITUTE.len();
        self.timer = None;
        self.refused.set((self.passed, fault)).is_ok()
    }

    /// Reads and discards until the other end closes. A socket that is closed with unread bytes
    /// resets the connection, and the reset can overtake the answer (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.linger_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + timeout)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while !self.ended
            && let Some(left) = self.linger.filter(|it| 0 < *it)
        {
            self.held.clear();
            match ready!(self.poll_fill(cx)) {
                Ok(count) => self.linger = Some(left.saturating_sub(count)),
                Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.protocol == Protocol::Http2 {
            this.cleared = this.held.len();
            if this.cleared == 0 {
                return Pin::new(&mut this.io).poll_read(cx, out);
            }
        }
        if this.cleared == 0 && this.body != 0 {
            // The time-out of a body is its reader's. If the connection ends within the body, hyper
            // sees that end, too.
            if this.held.is_empty() && ready!(this.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            this.cleared = this.held.len().min(this.body);
            this.body -= this.cleared;
        }
        if this.cleared == 0 && !ready!(this.poll_head(cx))? {
            return Poll::Ready(Ok(()));
        }
        let count = this.cleared.min(out.remaining());
        out.put_slice(this.held.get(..count).unwrap_or_default());
        this.held.advance(count);
        this.cleared -= count;
        if this.held.is_empty() {
            // An idle connection holds no buffer.
            this.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.linger = Some(LINGER_BYTES_MAX);
            this.timer = None;
        }
        this.poll_linger(cx).map(Ok)
    }
}
