//! The forwarder: a gate's little brother beside a workload. It judges nothing and holds no cloud
//! key; it checks what a request asks for, puts its own token for the central gate in place of any
//! credential, and sends the same delete there. The central gate's answer is handed back as it came.
//!
//! The life of one request: [`Forwarder::handle`] → `admit` (is it the one route?) → [`gate::Gate`]
//! (send it, once it is under way whatever the caller's connection does).

mod gate;
mod token;

pub use self::gate::{Config, Gate};
pub use self::token::{FILE_BYTES_MAX, Token, follow};

use self::gate::Relayed;

use crate::authn::{self, Peer};
use crate::clock::Clock;
use crate::gateway::exchange::Exchange;
use crate::gateway::{self, HeadFault, Refusal, response};
use crate::metrics::{AuthMethod, Metrics, Origin};
use crate::policy::Job;
use crate::route::{self, JobIds};
use crate::telemetry::{self, Stage, Tracer};
use crate::upstream;

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{Request, Response, header};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

/// What a forwarder does differently from another.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which job IDs the route accepts.
    pub job_ids: JobIds,
    /// The most requests that are worked on at once.
    pub in_flight_max: usize,
}

/// The parts that a forwarder works with.
#[derive(Debug)]
pub struct Dependencies {
    /// Where deletes go.
    pub gate: Gate,
    /// Begins traces.
    pub tracer: Tracer,
    /// Counts.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
    /// Holds the work that no client can cancel.
    pub tracker: TaskTracker,
}

/// One for all listeners.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
    parts: Dependencies,
    slots: Arc<Semaphore>,
}

impl Forwarder {
    /// Puts a forwarder together.
    #[must_use]
    pub fn new(settings: Settings, parts: Dependencies) -> Self {
        let slots = Arc::new(Semaphore::new(settings.in_flight_max));
        Self { settings, parts, slots }
    }

    /// There is a token for the central gate.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.parts.gate.has_token()
    }

    /// The router of a data listener: every method and path comes to [`Forwarder::handle`].
    pub fn router(self: &Arc<Self>) -> Router {
        let forwarder = Arc::clone(self);
        Router::new().fallback(async move |request: Request<Body>| forwarder.handle(request).await)
    }

    /// Answers `request`, whose extensions hold its [`Peer`] and, if its head was refused, the
    /// [`HeadFault`].
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (head, _) = request.into_parts();
        let Some(peer) = head.extensions.get::<Peer>().cloned() else {
            return response::refused(&Refusal::Internal, Uuid::new_v4());
        };
        let Dependencies { tracer, metrics, clock, .. } = &self.parts;
        let mut exchange = Exchange::begin(&head, &peer, tracer, metrics, clock.now());
        let span = telemetry::request_span(&exchange.request_id, exchange.trace.trace_id());
        let id = exchange.id;
        let job = match self.admit(&mut exchange, &head, &peer) {
            Ok(job) => job,
            Err(refusal) => return gateway::refuse(exchange, &refusal),
        };
        // As at the gate, a caller that hangs up does not leave half a delete behind.
        let forwarder = Arc::clone(self);
        let work = async move {
            let Exchange { request_id, trace, .. } = &mut exchange;
            match forwarder.parts.gate.delete(&job, request_id, trace).await {
                Ok(relayed) => {
                    exchange.facts.upstream_request_id = relayed.request_id().map(str::to_owned);
                    let response = hand_back(relayed, exchange.id);
                    exchange.finish(response, Origin::Upstream, None)
                }
                Err(fault) => gateway::refuse(exchange, &Refusal::Forward(fault)),
            }
        };
        match self.parts.tracker.spawn(work.instrument(span)).await {
            Ok(response) => response,
            Err(_panicked) => response::refused(&Refusal::Internal, id),
        }
    }

    /// What is asked for, if that is the one thing that goes through.
    fn admit(
        &self,
        exchange: &mut Exchange,
        head: &Parts,
        peer: &Peer,
    ) -> Result<Arc<Job>, Refusal> {
        if let Some(fault) = head.extensions.get::<HeadFault>() {
            return Err(Refusal::Head(*fault));
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        exchange.slot = Some(slot.map_err(|_| Refusal::Overloaded)?);

        let parsing = exchange.trace.start(Stage::Parse);
        let job = route::parse(&head.method, &gateway::target(head), self.settings.job_ids);
        exchange.trace.end(parsing);
        let job = Arc::new(job.map_err(Refusal::Route)?);
        exchange.facts.job = Some(Arc::clone(&job));

        // Its name is for logs and spans; to the central gate the caller is who the token says.
        let principal = peer.principal.as_ref();
        let principal = principal.ok_or(Refusal::Identity(authn::Error::NoCredential))?;
        self.parts.metrics.authentication(AuthMethod::Local, None);
        exchange.facts.principal = Some(principal.id().to_owned());

        let gate = self.parts.gate.config();
        if upstream::claim(&gate.projects, &job.project_id).is_none() {
            return Err(Refusal::ProjectNotServed);
        }
        exchange.facts.upstream = Some(gate.name.clone());
        Ok(job)
    }
}

/// The central gate's answer with the central gate's own marks: who answered, and under which ID.
fn hand_back(relayed: Relayed, id: Uuid) -> Response<Body> {
    let Relayed { answer, origin, request_id, challenges } = relayed;
    let mut response = response::passed_on(answer, id);
    let headers = response.headers_mut();
    headers.insert(response::X_LYCHGATE_ORIGIN, origin);
    headers.insert(response::X_LYCHGATE_REQUEST_ID, request_id);
    for challenge in challenges {
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
