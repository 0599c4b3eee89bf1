//! A client that writes requests by hand, so that nothing stands between a test and the bytes.

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use lychgate::emulator::Emulator;
use serde_json::Value;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
pub(crate) const KEY: (&str, &str) =
    ("AKEXAMPLE0000000000A", "sKexample/Secret+Key0000000000000000000A");

/// When all this happens.
pub(crate) fn now() -> Timestamp {
    "2026-01-15T12:00:00Z".parse().unwrap()
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    date: Timestamp,
    key: (String, String),
    unsigned: Vec<String>,
}

impl Call {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![("Host".to_owned(), "modelarts.example".to_owned())],
            body: String::new(),
            date: now(),
            key: (KEY.0.to_owned(), KEY.1.to_owned()),
            unsigned: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub(crate) fn date(mut self, date: Timestamp) -> Self {
        self.date = date;
        self
    }

    pub(crate) fn key(mut self, ak: &str, sk: &str) -> Self {
        self.key = (ak.to_owned(), sk.to_owned());
        self
    }

    /// Sends the header `name` (lower case) without signing it.
    pub(crate) fn unsigned_header(mut self, name: &str) -> Self {
        self.unsigned.push(name.to_owned());
        self
    }

    /// Adds `X-Sdk-Date`, `X-Project-Id` unless there is one, and the signature of all headers. The
    /// path has to be one that signs as it is written, and without query.
    pub(crate) fn signed(mut self) -> Self {
        let date = self.date.strftime("%Y%m%dT%H%M%SZ").to_string();
        self.headers.push(("X-Sdk-Date".to_owned(), date.clone()));
        if !self.headers.iter().any(|(name, _)| name == "X-Project-Id") {
            let project = self.path.split('/').nth(2).unwrap_or_default().to_owned();
            self.headers.push(("X-Project-Id".to_owned(), project));
        }
        let mut signed: Vec<(String, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.as_str()))
            .filter(|(name, _)| !self.unsigned.contains(name))
            .collect();
        signed.sort();
        let lines: String = signed.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
        let names = signed.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(";");
        let canonical = format!(
            "{}\n{}/\n\n{lines}\n{names}\n{}",
            self.method,
            self.path,
            sha256(self.body.as_bytes())
        );
        let text = format!("SDK-HMAC-SHA256\n{date}\n{}", sha256(canonical.as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.1.as_bytes());
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let value = format!(
            "SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}",
            self.key.0
        );
        self.header("Authorization", &value)
    }

    fn bytes(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = match self.body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        format!("{} {} HTTP/1.1\r\n{headers}{length}\r\n{}", self.method, self.path, self.body)
            .into_bytes()
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The value of the header `name` (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error_code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection that is kept open.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(emulator: &Emulator) -> Self {
        Self(TcpStream::connect(emulator.address()).await.unwrap())
    }

    pub(crate) async fn send(&mut self, call: Call) -> io::Result<Answer> {
        self.exchange(&call.bytes()).await
    }

    /// Sends `bytes` and reads one answer, shorter than promised when the connection ends.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        self.0.write_all(bytes).await?;
        let mut text = Vec::new();
        let head = loop {
            if let Some(at) = text.windows(4).position(|it| it == b"\r\n\r\n") {
                break at;
            }
            if self.0.read_buf(&mut text).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let mut body = text.split_off(head + 4);
        let head = String::from_utf8(text).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|it| it.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, it)| it.parse().unwrap());
        while body.len() < length {
            if self.0.read_buf(&mut body).await? == 0 {
                break;
            }
        }
        Ok(Answer { status, headers, body: String::from_utf8(body).unwrap() })
    }
}

/// Sends one call on a connection of its own.
pub(crate) async fn send(emulator: &Emulator, call: Call) -> io::Result<Answer> {
    exchange(emulator, &call.bytes()).await
}

/// Sends these bytes on a connection of their own.
pub(crate) async fn exchange(emulator: &Emulator, bytes: &[u8]) -> io::Result<Answer> {
    let mut connection = Connection(TcpStream::connect(emulator.address()).await?);
    connection.exchange(bytes).await
}
