//! One request: what arrives, what goes wrong with it, what is answered.

use super::answer::Answer;
use super::fault::{Effect, Fault, Reset};
use super::journal::{Operation, Request};
use super::keys::Keys;
use super::signature::Received;
use super::state::{State, path_of};
use super::{Config, control};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The longest request body; the service itself stops at 12 MB.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Everything the connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) started: Instant,
    state: Mutex<State>,
}

/// Where a request came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) connection: u64,
    pub(super) peer: SocketAddr,
    /// The bytes that arrived since the request before this one.
    pub(super) raw: Bytes,
}

/// What happens to the connection.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(http::Response<Full<Bytes>>),
    Cut(Cut),
}

/// An end of the connection that HTTP does not know.
#[derive(Debug)]
pub(super) enum Cut {
    /// These bytes, then the end.
    Close(Bytes),
    /// These bytes, then nothing until the client ends it.
    Hold(Bytes),
    Reset,
}

impl Service {
    pub(super) fn new(config: Config) -> Self {
        let mut keys = Keys::default();
        config.keys.iter().cloned().for_each(|it| keys.insert(it));
        let state = State::new(keys);
        Self { config, started: Instant::now(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request that waits to be read, beginning with `head`, is to be reset unread;
    /// counts the fault down when it is.
    pub(super) fn resets_unread(&self, head: &[u8]) -> bool {
        let unread = Effect::Reset { when: Reset::Unread };
        let line = head.split(|it| *it == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return false;
        };
        let operation = Operation::of(method, path_of(target));
        take_fault(&mut self.state().faults, |it| {
            it.effect == unread && it.operation.is_none_or(|it| it == operation)
        })
        .is_some()
    }

    /// Whether a fault waits for [`Service::resets_unread`].
    pub(super) fn may_reset_unread(&self) -> bool {
        let unread = Effect::Reset { when: Reset::Unread };
        self.state().faults.iter().any(|it| it.effect == unread)
    }

    /// Answers a request, or says how its connection ends.
    pub(super) async fn reply(&self, request: http::Request<Incoming>, origin: Origin) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path.starts_with("/emulator/") && origin.peer.ip().is_loopback() {
            let answer = match read(body).await {
                Some(body) => {
                    let request = (head.method.as_str(), path);
                    control::answer(self.state(), &self.config, self.started, request, &body)
                }
                None => Answer::body_too_large(),
            };
            return self.finish(answer, None);
        }
        let operation = Operation::of(head.method.as_str(), path);
        let number = self.record(&head, operation, origin);
        let fault = take_fault(&mut self.state().faults, |it| {
            it.effect != Effect::Reset { when: Reset::Unread }
                && it.operation.is_none_or(|it| it == operation)
        });
        let Fault { delay, effect, .. } = fault.unwrap_or(Fault::new(Effect::None));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match &effect {
            Effect::Raw { text } => return Reply::Cut(Cut::Close(text.clone().into())),
            Effect::Reset { when: Reset::Arrived } => return Reply::Cut(Cut::Reset),
            _ => {}
        }
        if let Some(answer) = effect.answer() {
            return self.finish(answer, Some(number));
        }
        let answer = match read(body).await {
            Some(body) => self.carry_out(&head, &body),
            None => Answer::body_too_large(),
        };
        match &effect {
            Effect::Reset { when: Reset::Done } => Reply::Cut(Cut::Reset),
            Effect::Close => {
                self.state().journal.answered(number, Instant::now(), answer.status);
                Reply::Cut(Cut::Close(whole(&answer)))
            }
            Effect::Silent => Reply::Cut(Cut::Hold(Bytes::new())),
            Effect::Stalled => Reply::Cut(Cut::Hold(half(&answer))),
            Effect::Truncated => Reply::Cut(Cut::Close(half(&answer))),
            effect => self.finish(effect.spoil(answer), Some(number)),
        }
    }

    fn record(&self, head: &Parts, operation: Operation, origin: Origin) -> u64 {
        let text = |it: &HeaderValue| String::from_utf8_lossy(it.as_bytes()).into_owned();
        self.state().journal.arrived(Request {
            connection: origin.connection,
            arrived: Instant::now(),
            time: self.config.clock.now(),
            operation,
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.iter().map(|(k, v)| (k.to_string(), text(v))).collect(),
            raw: origin.raw,
            answered: None,
        })
    }

    /// Adds what every answer has, and notes that it was given.
    fn finish(&self, answer: Answer, number: Option<u64>) -> Reply {
        if let Some(number) = number {
            self.state().journal.answered(number, Instant::now(), answer.status);
        }
        let date = http_date(self.config.clock.now(), answer.date_offset_s);
        let mut response = http::Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        let headers = response.headers_mut();
        for (name, value) in
            [(header::DATE, date), (super::answer::X_REQUEST_ID, answer.request_id)]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        Reply::Answer(response)
    }

    fn carry_out(&self, head: &Parts, body: &[u8]) -> Answer {
        let headers: Vec<(String, Vec<u8>)> =
            head.headers.iter().map(|(k, v)| (k.to_string(), v.as_bytes().to_vec())).collect();
        let target = head.uri.path_and_query().map_or("", |it| it.as_str());
        let request = Received { method: head.method.as_str(), target, headers: &headers, body };
        self.state().carry_out(&request, &self.config)
    }
}

/// The first fault that `fits`, counted down and removed when it has happened often enough.
fn take_fault(faults: &mut Vec<Fault>, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
    let index = faults.iter().position(fits)?;
    let fault = faults.get_mut(index)?;
    let taken = fault.clone();
    if let Some(times) = &mut fault.times {
        *times = times.saturating_sub(1);
        if *times == 0 {
            faults.remove(index);
        }
    }
    Some(taken)
}

/// The whole body; `None` when it is too long or broken off.
async fn read(body: Incoming) -> Option<Bytes> {
    Some(Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?.to_bytes())
}

/// The whole answer as written on the wire, without what every answer has.
fn whole(answer: &Answer) -> Bytes {
    written(answer, answer.body.len(), answer.body.len())
}

/// The answer up to the middle of the body that its head promises.
fn half(answer: &Answer) -> Bytes {
    // An empty body has no middle, so two bytes are promised in its place.
    written(answer, answer.body.len().max(2), answer.body.len() / 2)
}

fn written(answer: &Answer, promised: usize, sent: usize) -> Bytes {
    let mut text = format!(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {promised}\r\n\r\n",
        answer.status
    )
    .into_bytes();
    text.extend(answer.body.iter().take(sent));
    text.into()
}

fn http_date(now: Timestamp, offset_s: i64) -> String {
    let time = now.checked_add(SignedDuration::from_secs(offset_s)).unwrap_or(now);
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}
