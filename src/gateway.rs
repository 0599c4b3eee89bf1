//! The life of one request, from the listener to the ledger. It reads from top to bottom:
//! [`Gateway::handle`] → `judge` (who asks for what, and may it be?) → `carry_out` (write it down,
//! then do it).
//!
//! What holds here, and by what:
//!
//! 1. Nothing is sent without a [`policy::Permit`], which only an evaluation makes and sending spends.
//! 2. Nothing is sent without a ledger [`Entry`], which exists only once it is on stable storage.
//! 3. Every entry gets exactly one outcome: `close` or `Drop`.
//! 4. A client that hangs up cancels nothing that was decided: from the record on the work runs in
//!    a tracked task of its own, and the handler only waits for it.

pub(crate) mod exchange;
mod rate;
pub mod refusal;
mod resolve;
pub(crate) mod response;
mod source;

pub use self::rate::{OTHERS, PRINCIPALS_MAX, Rate};
pub use self::refusal::{ForwardFault, HeadFault, Refusal};

use self::exchange::Exchange;
use self::rate::Buckets;
use self::resolve::{Case, Judged, Resolver, Unknown};

use crate::attributes::PoolWords;
use crate::authn::{self, Authenticator, Peer};
use crate::clock::Clock;
use crate::ledger::{self, Ending, Entry, Ledger, Outcome};
use crate::metrics::{AuthMethod, Metrics, Origin};
use crate::policy::{self, Attribute, Decision, Denial, Method, Principal, Query};
use crate::route::{self, JobIds};
use crate::sign;
use crate::telemetry::{self, Stage, Tracer};
use crate::upstream::{Answer, DeleteError, LookUpError, LookedUp, Upstreams};

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use ipnet::IpNet;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

/// How often a decision is made anew because what it was based on became too old.
const JUDGEMENTS_MAX: usize = 2;

/// The longest answer to the look-up after a delete without an answer, in bytes.
const SETTLE_BYTES_MAX: usize = crate::attributes::ANSWER_BYTES_MAX;

/// One version of the policies, and how the ledger keeps it.
#[derive(Debug)]
pub struct Version {
    /// What answers.
    pub set: Arc<policy::Set>,
    /// Its text.
    pub recorded: Arc<ledger::Policies>,
}

/// What a gateway does differently from another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which job IDs the route accepts.
    pub job_ids: JobIds,
    /// Denials name the deciding statement.
    pub named_denials: bool,
    /// Whose `X-Forwarded-*` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The most requests that are worked on at once.
    pub in_flight_max: usize,
    /// How often one principal may ask.
    pub per_principal: Rate,
    /// How old looked-up attributes may be when the delete leaves.
    pub attributes_max_age: Duration,
    /// What `modelarts:poolType` is called.
    pub pool_words: PoolWords,
}

/// The parts that a gateway works with.
#[derive(Debug)]
pub struct Dependencies {
    /// Who asks.
    pub authenticator: Authenticator,
    /// The policies in force; `None` before the first version.
    pub policies: watch::Receiver<Option<Arc<Version>>>,
    /// The clouds.
    pub upstreams: Upstreams,
    /// Where decisions are recorded.
    pub ledger: Ledger,
    /// Begins traces.
    pub tracer: Tracer,
    /// Counts.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
    /// Holds the work that no client can cancel.
    pub tracker: TaskTracker,
    /// Ends that work; what was sent by then and not answered is recorded as `unknown`.
    pub give_up: CancellationToken,
}

/// The enforcement point; one for all listeners.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    parts: Dependencies,
    resolver: Resolver,
    slots: Arc<Semaphore>,
    buckets: Buckets,
}

impl Gateway {
    /// Puts a gateway together.
    #[must_use]
    pub fn new(settings: Settings, parts: Dependencies) -> Self {
        let words = settings.pool_words.clone();
        let resolver = Resolver { words, metrics: parts.metrics.clone() };
        let slots = Arc::new(Semaphore::new(settings.in_flight_max));
        let buckets = Buckets::new(settings.per_principal, PRINCIPALS_MAX);
        Self { settings, parts, resolver, slots, buckets }
    }

    /// A version of the policies is in force.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.parts.policies.borrow().is_some()
    }

    /// At least one identity source can verify.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        self.parts.authenticator.can_verify()
    }

    /// At least one upstream has a credential.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.parts.upstreams.iter().any(|it| it.has_credential())
    }

    /// Records how many requests were refused for their rate since the last call; to be called
    /// every minute, and before the ledger is closed.
    pub fn record_suppressed(&self) {
        for (principal, refused) in self.buckets.take_refused(Instant::now()) {
            self.parts.ledger.suppressed(&principal, refused.since, refused.count);
        }
    }

    /// The router of a data listener: every method and path comes to [`Gateway::handle`].
    pub fn router(self: &Arc<Self>) -> Router {
        let gateway = Arc::clone(self);
        Router::new().fallback(async move |request: Request<Body>| gateway.handle(request).await)
    }

    /// Answers `request`, whose extensions hold its [`Peer`] and, if its head was refused, the
    /// [`HeadFault`]. A refusal is an answer like any other, so this cannot fail.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (head, _) = request.into_parts();
        let Some(peer) = head.extensions.get::<Peer>().cloned() else {
            return response::refused(&Refusal::Internal, Uuid::new_v4());
        };
        let Dependencies { tracer, metrics, clock, .. } = &self.parts;
        let mut exchange = Exchange::begin(&head, &peer, tracer, metrics, clock.now());
        let span = telemetry::request_span(&exchange.request_id, exchange.trace.trace_id());
        let id = exchange.id;
        let judged = match self.judge(&mut exchange, &head, &peer).instrument(span.clone()).await {
            Ok(judged) => judged,
            Err(refusal) => return refuse(exchange, &refusal),
        };
        // From here on the client's connection has no say: the handler only waits.
        let gateway = Arc::clone(self);
        let work = async move {
            let done = tokio::select! {
                done = gateway.carry_out(&mut exchange, judged) => done,
                () = gateway.parts.give_up.cancelled() => Err(Refusal::OutcomeUnknown),
            };
            match done {
                Ok(Done::Answered(answer)) => {
                    exchange.facts.upstream_request_id = answer.request_id().map(str::to_owned);
                    let response = response::passed_on(answer, exchange.id);
                    exchange.finish(response, Origin::Upstream, None)
                }
                Ok(Done::Gone) => {
                    let response = response::gone(exchange.id);
                    exchange.finish(response, Origin::Gateway, None)
                }
                Err(refusal) => refuse(exchange, &refusal),
            }
        };
        match self.parts.tracker.spawn(work.instrument(span)).await {
            Ok(response) => response,
            Err(_panicked) => response::refused(&Refusal::Internal, id),
        }
    }

    /// Who asks for what, and may it be? Nothing has happened yet when this is cancelled.
    async fn judge(
        &self,
        exchange: &mut Exchange,
        head: &Parts,
        peer: &Peer,
    ) -> Result<Judged, Refusal> {
        let parts = &self.parts;
        if let Some(fault) = head.extensions.get::<HeadFault>() {
            return Err(Refusal::Head(*fault));
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        exchange.slot = Some(slot.map_err(|_| Refusal::Overloaded)?);

        let parsing = exchange.trace.start(Stage::Parse);
        let job = route::parse(&head.method, &target(head), self.settings.job_ids);
        exchange.trace.end(parsing);
        let job = Arc::new(job.map_err(Refusal::Route)?);
        exchange.facts.job = Some(Arc::clone(&job));

        let now = parts.clock.now();
        let authenticating = exchange.trace.start(Stage::Authenticate);
        let authenticated =
            parts.authenticator.authenticate(head, &job.project_id, peer, now).await;
        exchange.trace.end(authenticating);
        let method = auth_method(&authenticated, head);
        let principal = authenticated.map_err(Refusal::Identity);
        parts.metrics.authentication(method, principal.as_ref().err().map(Refusal::code));
        let principal = principal?;
        exchange.facts.principal = Some(principal.id().to_owned());
        if !self.buckets.admit(principal.id(), Instant::now(), now) {
            return Err(Refusal::Rate);
        }

        let upstream = parts.upstreams.for_project(&job.project_id);
        let upstream = Arc::clone(upstream.ok_or(Refusal::ProjectNotServed)?);
        exchange.facts.upstream = Some(upstream.config().name.clone());
        exchange.upstream_slot = Some(upstream.enter().ok_or(Refusal::Overloaded)?);
        let policies = parts.policies.borrow().clone().ok_or(Refusal::NoPolicies)?;
        let trusted = &self.settings.trusted_proxies;
        let (source_ip, secure_transport) = source::source(peer, &head.headers, trusted);
        let query = Query {
            principal,
            job,
            region: upstream.config().region.clone(),
            account: upstream.config().account.clone(),
            now,
            source_ip,
            secure_transport,
            user_agent: user_agent(head),
        };
        Ledger::fits(&query).map_err(|_| Refusal::Ledger)?;
        Ok(self.resolver.resolve(exchange, Case { query, upstream, policies }).await)
    }

    /// Writes the decision down, then acts on it. Nothing cancels this but the end of the process.
    async fn carry_out(
        &self,
        exchange: &mut Exchange,
        mut judged: Judged,
    ) -> Result<Done, Refusal> {
        for judgement in 1..=JUDGEMENTS_MAX {
            self.parts.metrics.decision(resolve::word(&judged.decision));
            let mut entry = self.record(exchange, &judged).await?;
            let Judged { case, decision, known_since, unknown_because, .. } = judged;
            let permit = match decision {
                Decision::Allow(permit) => permit,
                Decision::Deny(denial) => {
                    entry.close(Ending::Denied.into());
                    return Err(self.denied(&case.query, denial));
                }
                Decision::Indeterminate(_) => return undecided(entry, unknown_because),
            };
            let fresh_until = known_since.map(|it| it + self.settings.attributes_max_age);
            let trace = &mut exchange.trace;
            match case.upstream.delete(permit, &mut entry, fresh_until, trace).await {
                Err(DeleteError::Stale) => {
                    entry.close(Ending::NotSent.into());
                    if judgement == JUDGEMENTS_MAX {
                        break;
                    }
                    judged = self.resolver.resolve(exchange, case).await;
                }
                Err(DeleteError::Unanswered) => return settle(exchange, &case, entry).await,
                sent => return close(entry, sent),
            }
        }
        Err(Refusal::AttributesUnavailable)
    }

    async fn record(&self, exchange: &mut Exchange, judged: &Judged) -> Result<Entry, Refusal> {
        let recording = exchange.trace.start(Stage::Record);
        let entry = self
            .parts
            .ledger
            .record(&ledger::Judged {
                request_id: &exchange.request_id,
                caller_request_id: exchange.caller_request_id.as_deref(),
                trace_id: exchange.trace.trace_id(),
                peer: exchange.peer,
                upstream: &judged.case.upstream.config().name,
                query: &judged.case.query,
                attributes: &judged.attributes,
                decision: &judged.decision,
                policies: &judged.case.policies.recorded,
            })
            .await;
        exchange.trace.end(recording);
        entry.map_err(|error| match error {
            ledger::Error::Closed => Refusal::Stopping,
            error => {
                tracing::error!(%error, "the decision was not recorded");
                Refusal::Ledger
            }
        })
    }

    fn denied(&self, query: &Query, denial: Denial) -> Refusal {
        Refusal::Denied {
            principal: query.principal.id().to_owned(),
            resource: query.urn(),
            denial,
            named: self.settings.named_denials,
        }
    }
}

/// The answer to a request whose handler panicked outside the gateway's own tasks.
#[must_use]
pub fn panicked(refusal: &Refusal) -> Response<Body> {
    response::refused(refusal, Uuid::new_v4())
}

/// How a permitted delete ended well.
#[derive(Debug)]
enum Done {
    /// The cloud answered; whatever it said is passed on.
    Answered(Answer),
    /// The cloud did not answer, and the job is gone.
    Gone,
}

/// Ends the exchange with the gate's own answer.
pub(crate) fn refuse(exchange: Exchange, refusal: &Refusal) -> Response<Body> {
    let response = response::refused(refusal, exchange.id);
    exchange.finish(response, Origin::Gateway, Some(refusal.code()))
}

/// The policies could not tell. Only who might have been allowed gets here, so that the job does
/// not exist may be told.
fn undecided(entry: Entry, because: Option<Unknown>) -> Result<Done, Refusal> {
    let (status, request_id) = match &because {
        Some(Unknown::NoSuchJob(answer)) => {
            (Some(answer.status.as_u16()), answer.request_id().map(str::to_owned))
        }
        _ => (None, None),
    };
    entry.close(Outcome { result: Ending::Refused, status, upstream_request_id: request_id });
    Err(match because {
        Some(Unknown::NoSuchJob(answer)) => return Ok(Done::Answered(*answer)),
        Some(Unknown::Failed(LookUpError::BreakerOpen | LookUpError::KeyRefused)) => {
            Refusal::CloudRefusesKey
        }
        Some(Unknown::Failed(LookUpError::NoCredential)) => Refusal::NoCloudCredential,
        Some(Unknown::Failed(_) | Unknown::Unreadable(_)) | None => Refusal::AttributesUnavailable,
    })
}

/// The cloud answered, or it is certain that nothing was sent.
fn close(entry: Entry, sent: Result<Answer, DeleteError>) -> Result<Done, Refusal> {
    let answered = |status: StatusCode, request_id: Option<&str>| Outcome {
        result: Ending::Sent,
        status: Some(status.as_u16()),
        upstream_request_id: request_id.map(str::to_owned),
    };
    let (outcome, result) = match sent {
        Ok(answer) => (answered(answer.status, answer.request_id()), Ok(Done::Answered(answer))),
        Err(DeleteError::KeyRefused) => {
            (answered(StatusCode::UNAUTHORIZED, None), Err(Refusal::CloudRefusesKey))
        }
        Err(DeleteError::Unusable(status)) => {
            (answered(status, None), Err(Refusal::UnusableAnswer))
        }
        Err(DeleteError::BreakerOpen) => (Ending::NotSent.into(), Err(Refusal::CloudRefusesKey)),
        Err(DeleteError::Connect) => (Ending::NotSent.into(), Err(Refusal::Connect)),
        Err(DeleteError::NoCredential) => (Ending::NotSent.into(), Err(Refusal::NoCloudCredential)),
        Err(DeleteError::NotInTime | DeleteError::Stale) => {
            (Ending::NotSent.into(), Err(Refusal::NothingSent))
        }
        Err(DeleteError::Unanswered) => (Ending::Unknown.into(), Err(Refusal::OutcomeUnknown)),
    };
    entry.close(outcome);
    result
}

/// Sent, and no answer: one look tells whether the job is gone. It says what was seen, never who
/// caused it.
async fn settle(exchange: &mut Exchange, case: &Case, entry: Entry) -> Result<Done, Refusal> {
    let Case { query, upstream, .. } = case;
    let (seen, done) = upstream.details(&query.job, &exchange.trace, SETTLE_BYTES_MAX).await;
    exchange.trace.add(done);
    match seen {
        Ok(LookedUp::NoSuchJob(answer)) => {
            entry.close(Outcome {
                result: Ending::Gone,
                status: Some(answer.status.as_u16()),
                upstream_request_id: answer.request_id().map(str::to_owned),
            });
            Ok(Done::Gone)
        }
        Ok(LookedUp::Found(_)) | Err(_) => {
            entry.close(Ending::Unknown.into());
            Err(Refusal::OutcomeUnknown)
        }
    }
}

/// The request target as it arrived. Over HTTP/1.1 it has no authority, or the route refuses it.
pub(crate) fn target(head: &Parts) -> Cow<'_, str> {
    let path_and_query = head.uri.path_and_query();
    match (head.version, head.uri.authority(), path_and_query) {
        (http::Version::HTTP_2, _, Some(it)) | (_, None, Some(it)) => Cow::Borrowed(it.as_str()),
        _ => Cow::Owned(head.uri.to_string()),
    }
}

/// By which method the caller is known, or tried to be.
fn auth_method(authenticated: &Result<Arc<Principal>, authn::Error>, head: &Parts) -> AuthMethod {
    let presented = || head.headers.get(http::header::AUTHORIZATION)?.to_str().ok();
    match authenticated {
        Ok(principal) => match principal.method() {
            Method::Jwt => AuthMethod::Jwt,
            Method::Key => AuthMethod::Key,
            Method::Local => AuthMethod::Local,
            Method::Mtls => AuthMethod::Mtls,
        },
        Err(authn::Error::NoCredential | authn::Error::SeveralCredentials) => AuthMethod::None,
        Err(authn::Error::Certificate(_)) => AuthMethod::Mtls,
        Err(_) if presented().is_some_and(sign::Authorization::is_signature) => AuthMethod::Key,
        Err(_) => AuthMethod::Jwt,
    }
}

fn user_agent(head: &Parts) -> Attribute<String> {
    match head.headers.get(http::header::USER_AGENT).map(HeaderValue::to_str) {
        Some(Ok(text)) => Attribute::Value(text.to_owned()),
        Some(Err(_)) => Attribute::Unavailable,
        None => Attribute::Absent,
    }
}
