//! The front desk: what the server hands over, the one life of an exchange, and the answers.
//!
//! `run` is that life, for the gate and for the forwarder. What differs between them is the
//! `Middle`.

mod body;
mod refusal;
mod response;

#[cfg(test)]
mod tests;

pub use self::refusal::{
    BodyFault, CODES, CameWith, Denied, FIELD_LINE_BYTES_MAX, ForwardFault, HEAD_BYTES_MAX,
    HEAD_FIELDS_MAX, HeadFault, JobFault, Refusal,
};

pub(crate) use self::response::{
    Relayed, Reply, X_LYCHGATE_ORIGIN, X_LYCHGATE_REQUEST_ID, X_REQUEST_ID, refused,
};

use crate::authn::{Claimed, Peer};
use crate::clock::Clock;
use crate::metrics::{Decision, IdentityFault, InFlight, Metrics, Origin};
use crate::policy::Job;
use crate::route::{self, JobIds, Operation, batch};
use crate::telemetry::{self, Stage, Stranger, Summary, Trace, Tracer};

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

/// The longest request ID of a caller that is recorded, in characters.
const CALLER_REQUEST_ID_MAX: usize = 64;

/// The status that logs and metrics give a request whose client left before anything was decided.
/// Nobody receives it; the number is nginx's.
const CLIENT_LEFT: u16 = 499;

/// A request as the server hands it over.
#[derive(Debug)]
pub struct Arrival {
    /// Its head, without anything that the server added.
    pub head: Parts,
    /// The other end of its connection.
    pub peer: Peer,
    /// Why it is to be refused whatever it asks for; `head` is then not to be trusted.
    pub fault: Option<HeadFault>,
    /// The body, which only a batch delete has.
    pub body: Body,
}

impl Arrival {
    /// The request target as it arrived. Over HTTP/1.1 it has no authority, or the route refuses
    /// it.
    fn target(&self) -> Cow<'_, str> {
        let uri = &self.head.uri;
        match (self.head.version, uri.authority(), uri.path_and_query()) {
            (http::Version::HTTP_2, _, Some(it)) | (_, None, Some(it)) => {
                Cow::Borrowed(it.as_str())
            }
            _ => Cow::Owned(uri.to_string()),
        }
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    BatchDelete(Batch),
    Delete(Arc<Job>),
    Get(Arc<Job>),
}

/// A batch delete.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) project_id: String,
    pub(crate) jobs: Vec<batch::Item>,
    /// The bytes that the jobs were read from, which the caller's signature covers.
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn project_id(&self) -> &str {
        match self {
            Self::BatchDelete(batch) => &batch.project_id,
            Self::Delete(job) | Self::Get(job) => &job.project_id,
        }
    }

    /// How many jobs it is about.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::BatchDelete(batch) => u32::try_from(batch.jobs.len()).unwrap_or(u32::MAX),
            Self::Delete(_) | Self::Get(_) => 1,
        }
    }

    /// The path that was parsed.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::BatchDelete(batch) => batch::path(&batch.project_id),
            Self::Delete(job) | Self::Get(job) => job.path(),
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        match self {
            Self::BatchDelete(batch) => &batch.body,
            Self::Delete(_) | Self::Get(_) => &[],
        }
    }
}

/// What answers the requests of a listener. A refusal is an answer like any other, so this cannot
/// fail.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request; dropped when its client leaves.
    fn handle(&self, arrival: Arrival) -> impl Future<Output = Response<Body>> + Send;
}

/// What stands between the front desk and the cloud: a gate or a forwarder.
pub(crate) trait Middle: Send + Sync + 'static {
    /// What was judged, and is to be carried out.
    type Work: Send;

    /// What callers are told when the work is given up after something was sent.
    const OUTCOME_UNKNOWN: Refusal;

    fn desk(&self) -> &Desk;

    /// Finds out who asks for what, and whether it may be done. If this is cancelled, nothing has
    /// happened yet.
    fn judge(
        &self,
        exchange: &mut Exchange,
        from: (&Parts, &Peer),
        asked: Asked,
    ) -> impl Future<Output = Result<Self::Work, Refusal>> + Send;

    /// Does it. Only the end of a drain cancels this; a client that leaves does not.
    fn carry_out(
        &self,
        exchange: &mut Exchange,
        judged: Self::Work,
    ) -> impl Future<Output = Result<Reply, Refusal>> + Send;
}

/// What every exchange needs.
#[derive(Debug)]
pub struct Desk {
    /// Which job IDs the route accepts.
    pub job_ids: JobIds,
    /// As many permits as requests may be worked on at once.
    pub slots: Arc<Semaphore>,
    /// Begins traces.
    pub tracer: Tracer,
    /// Counts.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
    /// Holds the work that no client can cancel.
    pub tracker: TaskTracker,
    /// Ends that work, at the end of a drain.
    pub give_up: CancellationToken,
}

/// The life of an exchange.
pub(crate) async fn run<M: Middle>(middle: Arc<M>, mut arrival: Arrival) -> Response<Body> {
    let desk = middle.desk();
    let mut exchange = Exchange::begin(desk, &arrival);
    let span = telemetry::request_span(&exchange.request_id, exchange.trace.trace_id());
    // In boxes, because a future is copied as a whole each time it is handed on.
    let judging = Box::pin(async {
        let asked = exchange.admit(desk, &mut arrival).await?;
        middle.judge(&mut exchange, (&arrival.head, &arrival.peer), asked).await
    });
    let judged = match judging.instrument(span.clone()).await {
        Ok(judged) => judged,
        Err(refusal) => return exchange.refuse(&refusal),
    };
    let id = exchange.request_id.clone();
    let (tracker, give_up) = (desk.tracker.clone(), desk.give_up.clone());
    // From here on the client's connection has no say: a hang-up must not leave half a delete
    // behind, so the work has a task of its own and this one only waits.
    let work = Box::pin(async move {
        let done = tokio::select! {
            done = middle.carry_out(&mut exchange, judged) => Some(done),
            () = give_up.cancelled() => None,
        };
        match done.unwrap_or_else(|| Err(exchange.given_up::<M>())) {
            Ok(reply) => exchange.answer(reply),
            Err(refusal) => exchange.refuse(&refusal),
        }
    });
    match tracker.spawn(work.instrument(span)).await {
        Ok(response) => response,
        Err(_panicked) => refused(&Refusal::Internal, &id),
    }
}

/// A request in flight: its ID, its trace, and what has become known of it for logs and spans. It
/// ends with its answer; dropped before, its client has left or its task has panicked.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request_id: String,
    /// The caller's own, if it sent a printable one.
    pub(crate) caller_request_id: Option<String>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) facts: Facts,
    /// For each delete that is carried out, whether bytes of it have begun to leave.
    sending: Mutex<Vec<Arc<AtomicBool>>>,
    decided: Mutex<Option<(Decision, Option<String>)>>,
    /// Counts against the upstream's `in_flight` while the request is worked on.
    pub(crate) upstream_slot: Option<OwnedSemaphorePermit>,
    pub(crate) trace: Trace,
    /// Counts against `limits.in_flight` likewise.
    slot: Option<OwnedSemaphorePermit>,
    ended: bool,
    secure: bool,
    method: Method,
    metrics: Metrics,
    _in_flight: InFlight,
}

/// What has become known of a request so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) principal: Option<String>,
    /// Why the caller's identity is not known, and who it claimed to be.
    pub(crate) stranger: Option<(IdentityFault, Claimed)>,
    pub(crate) job: Option<Arc<Job>>,
    /// The keys that left it undecided for good, separated by commas.
    undecided: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) upstream_request_id: Option<String>,
}

impl Exchange {
    fn begin(desk: &Desk, Arrival { head, peer, .. }: &Arrival) -> Self {
        Self {
            request_id: Uuid::new_v4().to_string(),
            caller_request_id: caller_request_id(&head.headers),
            peer: peer.address,
            facts: Facts::default(),
            sending: Mutex::default(),
            decided: Mutex::default(),
            upstream_slot: None,
            trace: desk.tracer.begin(&head.headers, desk.clock.now()),
            slot: None,
            ended: false,
            secure: peer.secure,
            method: head.method.clone(),
            metrics: desk.metrics.clone(),
            _in_flight: desk.metrics.in_flight(),
        }
    }

    /// What `arrival` asks for, if it is one of the things that go through.
    async fn admit(&mut self, desk: &Desk, arrival: &mut Arrival) -> Result<Asked, Refusal> {
        if let Some(fault) = arrival.fault {
            return Err(fault.into());
        }
        // The slot before the parse: a request beyond the limit must cost as little as possible.
        let slot = Arc::clone(&desk.slots).try_acquire_owned();
        self.slot = Some(slot.map_err(|_| Refusal::Overloaded)?);
        let parse = || route::parse(&arrival.head.method, &arrival.target(), desk.job_ids);
        match self.trace.within(Stage::Parse, parse)? {
            Operation::Delete(job) => Ok(Asked::Delete(self.about(job, arrival).await?)),
            Operation::Get(job) => Ok(Asked::Get(self.about(job, arrival).await?)),
            Operation::BatchDelete(project_id) => {
                // Before it is known who asks, because the caller's signature covers the body.
                let body = body::read(arrival).await?;
                let jobs = batch::parse(&project_id, &body, desk.job_ids);
                let jobs = jobs.map_err(BodyFault::Jobs)?;
                Ok(Asked::BatchDelete(Batch { project_id, jobs, body }))
            }
        }
    }

    /// Notes the one job that `arrival`, which must have no body, is about.
    async fn about(&mut self, job: Job, arrival: &mut Arrival) -> Result<Arc<Job>, Refusal> {
        body::end(arrival).await?;
        let job = Arc::new(job);
        self.facts.job = Some(Arc::clone(&job));
        Ok(job)
    }

    /// Notes what was decided. Of several decisions, one that is not an allow is shown.
    pub(crate) fn decided(&self, decision: Decision, statement: Option<String>) {
        let mut decided = lock(&self.decided);
        if decision != Decision::Allow || decided.is_none() {
            *decided = Some((decision, statement));
        }
    }

    /// `sending` will tell whether something may have been sent.
    pub(crate) fn watch(&self, sending: Arc<AtomicBool>) {
        lock(&self.sending).push(sending);
    }

    /// What the caller is told when its work is given up; the same as the ledger says.
    fn given_up<M: Middle>(&self) -> Refusal {
        match lock(&self.sending).iter().any(|it| it.load(Ordering::Acquire)) {
            true => M::OUTCOME_UNKNOWN,
            false => Refusal::Stopping,
        }
    }

    fn answer(mut self, reply: Reply) -> Response<Body> {
        self.facts.upstream_request_id = reply.upstream_request_id().map(str::to_owned);
        let (response, origin) = reply.into_response(&self.request_id);
        self.end(response.status(), origin, None);
        self.for_once(response)
    }

    /// Ends with the gate's own answer.
    fn refuse(mut self, refusal: &Refusal) -> Response<Body> {
        if let Refusal::Undecidable { keys, .. } = refusal {
            self.facts.undecided =
                Some(keys.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        self.end(refusal.status(), Origin::Gateway, Some(refusal.code()));
        self.for_once(refused(refusal, &self.request_id))
    }

    /// The answer to a look is for its caller alone, and soon out of date.
    fn for_once(&self, mut response: Response<Body>) -> Response<Body> {
        if self.method == Method::GET {
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, no_store);
        }
        response
    }

    fn end(&mut self, status: StatusCode, origin: Origin, error_code: Option<u16>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Facts { principal, stranger, job, undecided, upstream, upstream_request_id } =
            &self.facts;
        let (decision, statement) = lock(&self.decided).take().unzip();
        let took = self.trace.finish(&Summary {
            secure: self.secure,
            error_code,
            principal: principal.as_deref(),
            stranger: stranger.as_ref().map(|(fault, claimed)| Stranger {
                fault: *fault,
                peer: self.peer,
                issuer: claimed.issuer.as_deref(),
                key_id: claimed.key_id.as_deref(),
                access_key: claimed.access_key.as_deref(),
            }),
            job: job.as_deref(),
            decision,
            statement: statement.as_ref().and_then(Option::as_deref),
            undecided: undecided.as_deref(),
            upstream: upstream.as_deref(),
            upstream_request_id: upstream_request_id.as_deref(),
            ..Summary::new(&self.request_id, &self.method, status, origin)
        });
        self.metrics.request(status, origin, error_code, took);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let refusal = Refusal::Internal;
            return self.end(refusal.status(), Origin::Gateway, Some(refusal.code()));
        }
        let left = StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST);
        self.end(left, Origin::Gateway, None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caller_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&X_REQUEST_ID)?.to_str().ok()?;
    let printable = id.bytes().all(|it| it.is_ascii_graphic() || it == b' ');
    (printable && (1..=CALLER_REQUEST_ID_MAX).contains(&id.len())).then(|| id.to_owned())
}
