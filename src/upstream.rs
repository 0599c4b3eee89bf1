//! The cloud behind the gate: which upstream serves a project, and the three calls that the gate
//! makes there. Every call is built from nothing and signed anew; no header of the client is copied.

mod answer;
mod breaker;
mod error;
mod probe;
mod projects;
mod skew;

pub use self::answer::{Answer, BODY_BYTES_MAX, FOUND_BYTES_MAX, echoes};
pub use self::breaker::Key;
pub use self::error::{DeleteError, LookUpError};
pub use self::projects::{Config, Upstreams, claim};

use self::answer::Unusable;
use self::breaker::Pass;

use crate::client::{self, Client, NotSent};
use crate::clock::Clock;
use crate::ledger::{Entry, Signed};
use crate::metrics::{self, Metrics, Operation};
use crate::policy::{Job, Permit};
use crate::sign::{self, Credential};
use crate::telemetry::{self, Done, Running, Stage, TRACEPARENT, Trace};
use crate::text::chain;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// An idle connection is given up after this time: shorter than the cloud's own limit, so that a
/// delete does not meet a connection that is just being closed.
pub const IDLE: Duration = Duration::from_secs(4);

/// How often one call is tried: once more when it is certain that the first did not leave.
const ATTEMPTS_MAX: usize = 2;

/// One cloud endpoint with its connections and its credential.
#[derive(Debug)]
pub struct Upstream {
    config: Config,
    host: String,
    client: Client,
    key: Key,
    clock: Clock,
    metrics: metrics::Upstream,
    slots: Arc<Semaphore>,
    /// Its clock is so far from ours that a warning was given.
    skewed: AtomicBool,
}

/// One request to the cloud, before it is signed.
struct Call<'a> {
    method: Method,
    path: String,
    /// Of `path` at the upstream.
    url: Option<Uri>,
    job: &'a Job,
    traceparent: Option<HeaderValue>,
}

/// What a look-up found.
#[derive(Debug)]
pub enum LookedUp {
    /// A 200, with its body.
    Found(Box<Answer>),
    /// What was asked for does not exist, in the cloud's words. Only [`Answer::is_no_such_job`]
    /// tells whether it is the job that does not exist.
    NotFound(Box<Answer>),
}

impl Upstream {
    /// `client` must not retry by itself.
    #[must_use]
    pub fn new(config: Config, client: Client, key: Key, clock: Clock, metrics: &Metrics) -> Self {
        let host = config.endpoint.authority().map(ToString::to_string).unwrap_or_default();
        let metrics = metrics.upstream(&config.name);
        let slots = Arc::new(Semaphore::new(config.in_flight_max));
        let skewed = AtomicBool::new(false);
        Self { config, host, client, key, clock, metrics, slots, skewed }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A place among the requests that are worked on; `None` when all are taken.
    #[must_use]
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// There is a credential to sign with.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.key.has_credential()
    }

    /// Why the last attempt to get a credential failed.
    #[must_use]
    pub fn credential_trouble(&self) -> Option<String> {
        let trouble = self.key.trouble()?;
        Some(format!("{}: {trouble}", self.config.name))
    }

    /// Asks for the job's details. The stage is ready to be added to `trace`.
    ///
    /// # Errors
    /// When no answer says what the job is, or that there is none.
    pub async fn details(&self, job: &Job, trace: &Trace) -> (Result<LookedUp, LookUpError>, Done) {
        self.look_up(job, (Operation::Details, job.path()), trace.start(Stage::Details)).await
    }

    /// Asks for the job's tags. The stage is ready to be added to `trace`.
    ///
    /// # Errors
    /// When no answer says what the tags are, or that there is no such job.
    pub async fn tags(&self, job: &Job, trace: &Trace) -> (Result<LookedUp, LookUpError>, Done) {
        self.look_up(job, (Operation::Tags, job.tags_path()), trace.start(Stage::Tags)).await
    }

    async fn look_up(
        &self,
        job: &Job,
        (operation, path): (Operation, String),
        running: Running,
    ) -> (Result<LookedUp, LookUpError>, Done) {
        let started = Instant::now();
        let call = self.call(Method::GET, job, path, Some(running.traceparent()));
        let limit = self.config.lookup;
        let result = timeout(limit, self.ask(&call)).await;
        let result =
            result.unwrap_or_else(|_| Err(LookUpError::Failed(format!("none within {limit:?}"))));
        let (status, request_id, unasked) = match &result {
            Ok(LookedUp::Found(answer) | LookedUp::NotFound(answer))
            | Err(LookUpError::Refused(answer)) => (Some(answer.status), answer.request_id(), None),
            Err(LookUpError::KeyRefused(status) | LookUpError::Status(status)) => {
                (Some(*status), None, None)
            }
            Err(LookUpError::BreakerOpen) => (None, None, Some("breaker_open")),
            Err(LookUpError::NoCredential) => (None, None, Some("no_credential")),
            Err(LookUpError::Failed(_)) => (None, None, None),
        };
        let error = unasked.or_else(|| status.is_none().then_some("no_answer"));
        let done = self.done(running, call.url, (status, request_id), error);
        if unasked.is_none() {
            self.metrics.request(operation, status, started.elapsed());
        }
        (result, done)
    }

    /// How a call ended, for traces.
    fn done(
        &self,
        running: Running,
        url: Option<Uri>,
        (status, request_id): (Option<StatusCode>, Option<&str>),
        error: Option<&'static str>,
    ) -> Done {
        running.answered(&telemetry::Answer {
            upstream: &self.config.name,
            url: &url.unwrap_or_default(),
            status,
            error,
            request_id,
        })
    }

    async fn ask(&self, call: &Call<'_>) -> Result<LookedUp, LookUpError> {
        let failed = |it: &dyn Error| LookUpError::Failed(chain(it));
        let mut pass = self.key.admit().await?;
        let mut attempt = 1;
        let response = loop {
            let request = self.request(call, &pass.credential).map_err(|it| failed(&it))?;
            match self.client.request(request).await {
                Ok(response) => break response,
                Err(error) if error.is_connect() => {
                    self.metrics.connect_failed();
                    return Err(failed(&error));
                }
                // A GET may be asked twice; a fresh connection is the usual cure.
                Err(_) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(failed(&error)),
            }
        };
        let status = response.status();
        if status == StatusCode::OK {
            pass.accepted();
            if self.is_skewed(response.headers()) {
                pass.refused(&self.config.name, call.job);
            }
            let credential = Arc::clone(&pass.credential);
            drop(pass);
            let found = Answer::found(response, &secrets(&credential)).await;
            return found.map(|it| LookedUp::Found(Box::new(it))).map_err(|it| failed(&it));
        }
        let answer = match self.read(response, call, &mut pass).await {
            Ok(answer) if !answer.refuses_key() => answer,
            Err(_) if status != StatusCode::UNAUTHORIZED => {
                return Err(LookUpError::Status(status));
            }
            Ok(_) | Err(_) => return Err(LookUpError::KeyRefused(status)),
        };
        match answer.is_not_found() {
            true => Ok(LookedUp::NotFound(Box::new(answer))),
            false => Err(LookUpError::Refused(Box::new(answer))),
        }
    }

    /// Deletes the job that `permit` is for; there is no way to do it without a permit and a
    /// recorded decision. Marks `entry` as sent before the first byte leaves. Nothing is sent after
    /// `fresh_until`, when what was looked up becomes too old to act on.
    ///
    /// # Errors
    /// Says for certain when nothing was sent; [`DeleteError::Unanswered`] when that is not certain.
    pub async fn delete(
        &self,
        permit: Permit,
        entry: &mut Entry,
        fresh_until: Option<Instant>,
        trace: &Trace,
    ) -> Result<Answer, DeleteError> {
        let job = permit.spend().ok_or(DeleteError::NotPermitted)?;
        let started = Instant::now();
        let limits = Limits { fresh_until, deadline: started + self.config.request };
        let mut pass = timeout_at(limits.leave_by(), self.key.admit())
            .await
            .map_err(|_| limits.why_not_left())??;
        let running = trace.start(Stage::Forward);
        let traceparent = Some(running.traceparent());
        let call = self.call(Method::DELETE, &job, job.path(), traceparent);
        let (status, id, answer) = match self.send((&call, &pass), entry, trace, limits).await {
            // There is a status, so the cloud has answered; only a part of the body can be missing.
            Ok(response) => {
                let status = response.status();
                let id = answer::request_id(response.headers(), &secrets(&pass.credential));
                let reading = self.read(response, &call, &mut pass);
                let answer = timeout_at(limits.deadline, reading).await;
                let answer = answer.ok().and_then(Result::ok);
                // An interim status as the last word says nothing of the delete.
                let unusable = match status.is_informational() {
                    true => DeleteError::Unanswered,
                    false => DeleteError::Unusable(status, id.clone()),
                };
                (Some(status), id, answer.ok_or(unusable))
            }
            Err(error) => (None, None, Err(error)),
        };
        // One that was too old to be sent says little of the cloud, whose look-ups are counted.
        if !matches!(answer, Err(DeleteError::Stale)) {
            self.metrics.request(Operation::Delete, status, started.elapsed());
        }
        let error = answer.as_ref().err().map(DeleteError::word);
        trace.add(self.done(running, call.url, (status, id.as_deref()), error));
        match answer {
            Ok(answer) if answer.refuses_key() => Err(DeleteError::KeyRefused(answer.status, id)),
            Err(DeleteError::Unusable(status @ StatusCode::UNAUTHORIZED, id)) => {
                Err(DeleteError::KeyRefused(status, id))
            }
            answer => answer,
        }
    }

    /// Reads an answer other than that of a job that was found, and notes what it says about the
    /// key.
    async fn read(
        &self,
        response: Response<Incoming>,
        call: &Call<'_>,
        pass: &mut Pass,
    ) -> Result<Answer, Unusable> {
        // A 401 counts against the key until its code says something else, even if that never comes.
        if response.status() == StatusCode::UNAUTHORIZED {
            pass.refused(&self.config.name, call.job);
        }
        let is_skewed = self.is_skewed(response.headers());
        let answer = Answer::read(response, BODY_BYTES_MAX, &secrets(&pass.credential)).await;
        match &answer {
            Ok(answer) if answer.refuses_key() => pass.refused(&self.config.name, call.job),
            Ok(answer) if answer.proves_key() => pass.accepted(),
            Ok(_) => pass.found_nothing(),
            Err(_) => (),
        }
        if is_skewed {
            pass.refused(&self.config.name, call.job);
        }
        answer
    }

    /// Sends once, and once more when it is certain that the first did not leave.
    async fn send(
        &self,
        (call, pass): (&Call<'_>, &Pass),
        entry: &mut Entry,
        trace: &Trace,
        limits: Limits,
    ) -> Result<Response<Incoming>, DeleteError> {
        let mut attempt = 1;
        loop {
            if limits.fresh_until.is_some_and(|it| it <= Instant::now()) {
                return Err(DeleteError::Stale);
            }
            let sign = || self.request(call, &pass.credential);
            let request = trace.within(Stage::Sign, sign).map_err(|_| DeleteError::Connect)?;
            let date = request.headers().get(sign::X_SDK_DATE).and_then(|it| it.to_str().ok());
            entry.sending(Signed {
                access_key: pass.credential.access_key_id().to_owned(),
                date: date.unwrap_or_default().to_owned(),
            });
            match client::send(&self.client, request, limits.leave_by(), limits.deadline).await {
                Err(NotSent::Closed) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(NotSent::Closed | NotSent::Connect) => {
                    self.metrics.connect_failed();
                    return Err(DeleteError::Connect);
                }
                Err(NotSent::Late) => return Err(limits.why_not_left()),
                Ok(response) => return response.ok_or(DeleteError::Unanswered),
            }
        }
    }

    /// A request without a body, signed for this moment.
    fn request(
        &self,
        call: &Call<'_>,
        credential: &Credential,
    ) -> Result<Request<Full<Bytes>>, sign::Error> {
        let unsigned = sign::Request {
            method: &call.method,
            target: &call.path,
            host: &self.host,
            project_id: &call.job.project_id,
            user_agent: client::USER_AGENT,
        };
        let now = self.clock.now();
        let headers = sign::sign(&unsigned, credential, &self.config.algorithm, now)?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.url.clone().ok_or(sign::Error::HeaderValue("path"))?;
        *request.headers_mut() = headers;
        if let Some(traceparent) = &call.traceparent {
            request.headers_mut().insert(TRACEPARENT, traceparent.clone());
        }
        Ok(request)
    }

    /// A call about `job`, to a path of it.
    fn call<'a>(
        &self,
        method: Method,
        job: &'a Job,
        path: String,
        traceparent: Option<HeaderValue>,
    ) -> Call<'a> {
        let url = client::url(&self.config.endpoint, &path);
        Call { method, path, url, job, traceparent }
    }
}

/// What an answer must not echo.
fn secrets(credential: &Credential) -> Vec<&str> {
    let token = credential.security_token().map(|it| it.expose().as_str());
    [Some(credential.access_key_id()), token].into_iter().flatten().collect()
}

/// Until when a delete may leave, and until when its answer may come.
#[derive(Clone, Copy)]
struct Limits {
    /// What was looked up becomes too old to act on.
    fresh_until: Option<Instant>,
    deadline: Instant,
}

impl Limits {
    fn leave_by(&self) -> Instant {
        self.fresh_until.map_or(self.deadline, |it| it.min(self.deadline))
    }

    /// Why a delete that has not left by then does not leave at all.
    fn why_not_left(&self) -> DeleteError {
        match self.leave_by() < self.deadline {
            true => DeleteError::Stale,
            false => DeleteError::NotInTime,
        }
    }
}
