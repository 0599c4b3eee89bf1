//! A connection that is looked at once more before a request goes out on it. A peer that has closed
//! it meanwhile, or that says something before it was asked, will not read the request: nothing is
//! written then, and that is certain, where a request that was written could have been carried out.

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection for one request after the other, without bodies that are still being written when
/// their answer comes.
#[derive(Debug)]
pub struct Probed<T> {
    inner: T,
    /// The next byte that is written is the first of a request.
    between: bool,
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error("the peer has closed the connection")]
    Closed,
    #[error("the peer answers before it was asked")]
    Unsolicited,
}

impl<T: Read + Unpin> Probed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, between: true }
    }

    /// Lets the first byte of a request go only where nothing is there to be read.
    fn probe(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.between, false) {
            return Ok(());
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let why = match Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Unwritten::Unsolicited,
            Poll::Ready(_) => Unwritten::Closed,
        };
        // Whatever is tried on it fails alike.
        self.between = true;
        Err(io::Error::new(ErrorKind::NotConnected, why))
    }
}

impl<T: Read + Unpin> Read for Probed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.between = true;
        }
        read
    }
}

impl<T: Read + Write + Unpin> Write for Probed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.probe(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.probe(cx)?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }
}

impl<T: Connection> Connection for Probed<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use hyper_util::rt::TokioIo;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn write<T: Read + Write + Unpin>(to: &mut Probed<T>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, bytes)).await
    }

    async fn read<T: Read + Write + Unpin>(from: &mut Probed<T>) -> u8 {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        poll_fn(|cx| Pin::new(&mut *from).poll_read(cx, buffer.unfilled())).await.unwrap();
        buffer.filled()[0]
    }

    #[tokio::test]
    async fn a_request_begins_where_nothing_is_to_be_read() {
        let (here, mut there) = tokio::io::duplex(64);
        let mut connection = Probed::new(TokioIo::new(here));
        // In two parts, of which the second may cross the answer.
        assert_eq!(write(&mut connection, b"GE").await.unwrap(), 2);
        there.write_all(b"2").await.unwrap();
        assert_eq!(write(&mut connection, b"T").await.unwrap(), 1);
        assert_eq!(read(&mut connection).await, b'2');
        assert_eq!(write(&mut connection, b"a").await.unwrap(), 1);
        there.write_all(b"3").await.unwrap();
        assert_eq!(read(&mut connection).await, b'3');

        there.write_all(b"4").await.unwrap();
        for _ in 0..2 {
            let error = write(&mut connection, b"b").await.unwrap_err();
            assert!(error.to_string().contains("before it was asked"), "{error}");
            there.write_all(b"5").await.unwrap();
        }
        let mut sent = [0; 4];
        there.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"GETa");
        drop(connection);
        assert_eq!(there.read(&mut sent).await.unwrap(), 0, "nothing else was written");
    }

    #[tokio::test]
    async fn a_closed_connection_takes_no_request() {
        let (here, there) = tokio::io::duplex(64);
        let mut connection = Probed::new(TokioIo::new(here));
        drop(there);
        let error = write(&mut connection, b"GET").await.unwrap_err();
        let why = error.get_ref().and_then(|it| it.downcast_ref::<Unwritten>());
        assert!(matches!(why, Some(Unwritten::Closed)), "{error}");
    }
}
