//! The central gate behind a forwarder, and the one call that is made there. The request is built
//! from nothing: no header of the caller is copied.

use super::Token;
use crate::client::{self, Client, NotSent};
use crate::exchange::{
    Asked, Exchange, ForwardFault, Relayed, X_LYCHGATE_ORIGIN, X_LYCHGATE_REQUEST_ID, X_REQUEST_ID,
};
use crate::metrics::{self, Metrics};
use crate::telemetry::{self, Running, Stage, TRACEPARENT};
use crate::upstream::{self, Answer, BODY_BYTES_MAX, FOUND_BYTES_MAX};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// How often a delete is tried: once more when it is certain that the first did not leave.
const ATTEMPTS_MAX: usize = 2;

/// Which gate, and for what.
#[derive(Clone, Debug)]
pub struct Config {
    /// A short name for logs and metrics.
    pub name: String,
    /// Project IDs, exact or with one `*` at the end.
    pub projects: Vec<String>,
    /// Scheme and authority, without a path.
    pub endpoint: Uri,
    /// The limit for the delete, from the first byte to the whole answer.
    pub request: Duration,
}

/// The central gate.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    client: Client,
    token: watch::Receiver<Option<Arc<Token>>>,
    metrics: metrics::Upstream,
    /// It refused the token, and a warning was given.
    refused: AtomicBool,
}

impl Gate {
    /// `client` must not retry by itself.
    #[must_use]
    pub fn new(
        config: Config,
        client: Client,
        token: watch::Receiver<Option<Arc<Token>>>,
        metrics: &Metrics,
    ) -> Self {
        let metrics = metrics.upstream(&config.name);
        Self { config, client, token, metrics, refused: AtomicBool::new(false) }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.borrow().is_some()
    }

    /// Asks the central gate for what the caller asked for, under the exchange's ID, which the
    /// central gate records as the ID of its caller.
    pub(super) async fn ask(
        &self,
        asked: &Asked,
        exchange: &Exchange,
    ) -> Result<Relayed, ForwardFault> {
        let token = self.token.borrow().clone().ok_or(ForwardFault::NoToken)?;
        let started = Instant::now();
        let deadline = started + self.config.request;
        let url = client::url(&self.config.endpoint, &asked.path()).unwrap_or_default();
        let (stage, operation) = match asked {
            Asked::BatchDelete(_) => (Stage::ForwardBatch, metrics::Operation::Delete),
            Asked::Delete(_) => (Stage::Forward, metrics::Operation::Delete),
            Asked::Get(_) => (Stage::Details, metrics::Operation::Details),
        };
        let running = exchange.trace.start(stage);
        let build = || self.request(asked, &url, (&token, &exchange.request_id), running);
        let looks = matches!(asked, Asked::Get(_));
        exchange.watch(Arc::new(AtomicBool::new(!looks)));
        let (status, relayed) = match self.send(build, deadline).await {
            Ok(response) => {
                let status = response.status();
                let relayed = timeout_at(deadline, self.read(response, asked, &token)).await;
                (Some(status), relayed.ok().flatten().ok_or(ForwardFault::UnusableAnswer))
            }
            Err(ForwardFault::OutcomeUnknown) if looks => (None, Err(ForwardFault::Unseen)),
            Err(fault) => (None, Err(fault)),
        };
        self.metrics.request(operation, status, started.elapsed());
        exchange.trace.add(running.answered(&telemetry::Answer {
            upstream: &self.config.name,
            url: &url,
            status,
            error: relayed.as_ref().err().copied().map(word),
            request_id: relayed.as_ref().ok().and_then(|it| it.request_id.to_str().ok()),
        }));
        if let Ok(relayed) = &relayed {
            self.note(relayed.answer.status);
        }
        relayed
    }

    /// Sends once, and once more when it is certain that the first did not leave.
    async fn send(
        &self,
        build: impl Fn() -> Option<Request<Full<Bytes>>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ForwardFault> {
        let mut attempt = 1;
        loop {
            let request = build().ok_or(ForwardFault::Connect)?;
            match client::send(&self.client, request, deadline, deadline).await {
                Err(NotSent::Closed) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(NotSent::Closed | NotSent::Connect) => {
                    self.metrics.connect_failed();
                    return Err(ForwardFault::Connect);
                }
                Err(NotSent::Late) => return Err(ForwardFault::NothingSent),
                Ok(response) => return response.ok_or(ForwardFault::OutcomeUnknown),
            }
        }
    }

    fn request(
        &self,
        asked: &Asked,
        url: &Uri,
        (token, request_id): (&Token, &str),
        running: Running,
    ) -> Option<Request<Full<Bytes>>> {
        let host = HeaderValue::from_str(url.authority()?.as_str()).ok()?;
        let mut request = match asked {
            // The bytes as they were signed and parsed; the central gate parses them anew.
            Asked::BatchDelete(batch) => Request::new(Full::new(batch.body.clone())),
            Asked::Delete(_) | Asked::Get(_) => Request::new(Full::default()),
        };
        *request.method_mut() = match asked {
            Asked::BatchDelete(_) => Method::POST,
            Asked::Delete(_) => Method::DELETE,
            Asked::Get(_) => Method::GET,
        };
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        headers.insert(header::AUTHORIZATION, token.authorization().clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(request_id).ok()?);
        headers.insert(TRACEPARENT, running.traceparent());
        if matches!(asked, Asked::BatchDelete(_)) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Some(request)
    }

    /// `None` for an answer that cannot be handed back: one without the marks of a gate came from
    /// something else, whose 202 would not mean that anything was deleted.
    async fn read(
        &self,
        response: Response<Incoming>,
        asked: &Asked,
        token: &Token,
    ) -> Option<Relayed> {
        let headers = response.headers();
        let marks = [X_LYCHGATE_ORIGIN, X_LYCHGATE_REQUEST_ID].map(|it| headers.get(it).cloned());
        let is_origin = |it: &HeaderValue| *it == "gateway" || *it == "upstream";
        let is_id = |it: &HeaderValue| it.to_str().is_ok_and(|it| Uuid::try_parse(it).is_ok());
        let (origin, request_id) = match marks {
            [Some(origin), Some(id)] if is_origin(&origin) && is_id(&id) => (origin, id),
            _ => {
                let (upstream, status) = (&self.config.name, response.status().as_u16());
                tracing::warn!(upstream, status, "what answered is not a gate");
                return None;
            }
        };
        let secrets = [token.expose()];
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter(|it| !upstream::echoes(it, &secrets)).cloned().collect();
        let answer = match asked {
            Asked::Get(_) if response.status() == StatusCode::OK => {
                Answer::found(response, &secrets).await
            }
            // It says of each job what that would have been told alone.
            Asked::BatchDelete(_) => Answer::read(response, FOUND_BYTES_MAX, &secrets).await,
            Asked::Delete(_) | Asked::Get(_) => {
                Answer::read(response, BODY_BYTES_MAX, &secrets).await
            }
        };
        let answer = answer.ok()?;
        Some(Relayed { answer, origin, request_id, challenges })
    }

    /// Warns once when the token is refused, until the central gate has taken one again.
    fn note(&self, status: StatusCode) {
        let refused = status == StatusCode::UNAUTHORIZED;
        if refused && !self.refused.swap(true, Ordering::Relaxed) {
            let upstream = &self.config.name;
            tracing::warn!(upstream, "the gate refuses this forwarder's token");
        }
        if !refused {
            self.refused.store(false, Ordering::Relaxed);
        }
    }
}

/// One word of a small set, for traces.
fn word(fault: ForwardFault) -> &'static str {
    match fault {
        ForwardFault::Connect => "connect",
        ForwardFault::NothingSent => "connect_timeout",
        ForwardFault::NoToken => "no_credential",
        ForwardFault::OutcomeUnknown | ForwardFault::Unseen => "no_answer",
        ForwardFault::UnusableAnswer => "unusable_answer",
    }
}
