//! The plainest HTTP/1.1 client: bytes out, bytes in, so that a test sees what is on the wire.

use crate::support::world::PATIENCE;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One answer, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "`{name}` twice: {self:?}");
        value
    }

    /// `error_code` of the body, which must then have the three members of an error.
    pub(crate) fn code(&self) -> Option<String> {
        if self.body.is_empty() {
            return None;
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(body["error_msg"].as_str().is_some_and(|it| !it.is_empty()), "{body}");
        Some(body["error_code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn message(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["error_msg"].as_str().unwrap().to_owned()
    }
}

/// Status and code, to be compared.
pub(crate) fn said(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.code())
}

/// What an answer of the gate's own has [`said`].
pub(crate) fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(format!("Lychgate.{code}")))
}

/// Sends `request` on a connection of its own and reads one answer.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.write(request).await;
    connection.answer().await.expect("an answer")
}

/// TLS to `localhost` at `address`; the error is the handshake's. With TLS 1.3 a server refuses a
/// client's certificate only after the client's handshake.
pub(crate) async fn tls(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    timeout(PATIENCE, connecting).await.expect("a handshake in time")
}

/// A connection that keeps what it has read too much.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// TCP, TLS or a Unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn open_unix(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap())
    }

    /// As [`tls`].
    pub(crate) async fn open_tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        Ok(Self::over(tls(address, config).await?))
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends a request and reads its answer; `None` when the connection was closed instead.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Option<Answer> {
        let _ = self.stream.write_all(request).await;
        let _ = self.stream.flush().await;
        self.answer().await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer; `None` when the connection was closed instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer()).await.expect("an answer in time")
    }

    /// The first line of the next answer, for answers whose end cannot be told.
    pub(crate) async fn status_line(&mut self) -> String {
        while !self.buffer.contains(&b'\n') {
            assert!(timeout(PATIENCE, self.fill()).await.expect("an answer in time"), "no answer");
        }
        String::from_utf8_lossy(&self.buffer).lines().next().unwrap().to_owned()
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                assert!(self.buffer.is_empty(), "half an answer: {:?}", self.buffer);
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |it: &str| {
            let (name, value) = it.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let length = headers.iter().find(|(it, _)| it == "content-length");
        let length: usize = length.map_or(0, |(_, it)| it.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.fill().await, "half a body");
        }
        let body = self.buffer.drain(..length).collect();
        Some(Answer { status, headers, body })
    }

    /// False at the end of the connection, also when it was reset.
    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) > 0
    }
}
