//! `lychgate health`: asks the admin listener, for probes of containers without a shell.

use super::Exit;
use crate::text::escaped;

use serde::Deserialize;
use std::io;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the connection, the request and each part of the answer may take.
const WAIT: Duration = Duration::from_secs(2);

/// How much of the answer is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks a running gate whether it is alive: ends with 0 if it is and with 1 if not.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The address of the admin listener, host and port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    admin: String,
    /// Ask whether it is ready for requests instead, and name the checks that fail.
    #[arg(long)]
    ready: bool,
    /// Also fail if a newer policy version was refused, although the one before it still judges.
    #[arg(long, requires = "ready")]
    current: bool,
}

/// What `/readyz` answers.
#[derive(Default, Deserialize)]
struct Readiness {
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    ok: bool,
    detail: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot ask {address}")]
    Ask { address: String, source: io::Error },
    #[error("{address}{path} answers `{line}`{missing}")]
    Status { address: String, path: &'static str, line: String, missing: String },
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let address = arguments.admin.clone();
    let path = if arguments.ready { "/readyz" } else { "/livez" };
    let answer = match ask(&address, path) {
        Ok(answer) => answer,
        Err(source) => return super::complain(&Error::Ask { address, source }, Exit::Failed),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let line = head.lines().next().unwrap_or_default().to_owned();
    let missing = missing(body);
    let is_current = missing.is_empty() || !arguments.current;
    match line.starts_with("HTTP/1.1 200 ") && is_current {
        true => super::print("ok\n", Exit::Ok),
        false => super::complain(&Error::Status { address, path, line, missing }, Exit::Failed),
    }
}

/// Whether a gate runs whose admin listener is at `address`.
pub(super) fn is_alive(address: &str) -> bool {
    ask(address, "/livez").is_ok_and(|it| it.starts_with("HTTP/1.1 200 "))
}

/// The checks that fail, each on a line of its own.
fn missing(body: &str) -> String {
    let Readiness { checks } = serde_json::from_str(body).unwrap_or_default();
    let missing = checks.iter().filter(|it| !it.ok).map(|it| match &it.detail {
        Some(detail) => format!("\n  {}: {}", escaped(&it.name), escaped(detail)),
        None => format!("\n  {}", escaped(&it.name)),
    });
    missing.collect()
}

fn ask(address: &str, path: &str) -> io::Result<String> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects to the first of the host's addresses that accepts.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for it in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&it, WAIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
