//! The whole gate, put together from its configuration, and its life from start to drain.

mod check;
mod cloud;
mod connections;
mod health;
mod settle;
mod ship;
mod versions;

pub use self::check::{Found, check};

pub(crate) use self::cloud::upstreams;

use self::cloud::client;
use self::health::Health;
use self::settle::{LookUp, Settler};
use self::ship::Copying;
use self::versions::Past;

use crate::attributes::Resolver;
use crate::authn::{self, Authenticator};
use crate::budget;
use crate::client;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::credentials;
use crate::exchange::{Arrival, Desk, Handler};
use crate::forward::{self, Forwarder};
use crate::gateway::{Dependencies, Gateway};
use crate::ledger::{self, Opened, WriterThread};
use crate::metrics::Metrics;
use crate::policy;
use crate::reload::{Policies, Role};
use crate::server::tls::Tls;
use crate::server::{Admission, Limits, Listener, Place, Serving, admin, tls};
use crate::telemetry::{self, Collector, TraceConfig, Tracer};

use axum::body::Body;
use http::Response;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the last records and the last spans each have to reach the collector.
const FLUSH: Duration = Duration::from_secs(2);

/// How long the ledger has to write and sync what is queued.
const CLOSE: Duration = Duration::from_secs(5);

/// How long work that is given up at the end of the drain has to record its outcome.
const GIVE_UP: Duration = Duration::from_secs(1);

/// How often the numbers of requests that were refused for their rate are recorded.
const SUPPRESSED_EVERY: Duration = Duration::from_secs(60);

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity sources.
    #[error("cannot set up the identity sources (`identity`)")]
    Authn(#[from] authn::StartError),
    /// The connection to an upstream.
    #[error("cannot set up the connection to the upstream `{name}`")]
    Client {
        /// The upstream.
        name: String,
        /// Why.
        source: client::Error,
    },
    /// The credential for an upstream.
    #[error("no credential for the upstream `{name}`")]
    Credential {
        /// The upstream.
        name: String,
        /// Why.
        source: credentials::Error,
    },
    /// The budgets.
    #[error(transparent)]
    Budgets(#[from] budget::ConfigError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// A listener.
    #[error("cannot listen on {place}")]
    Listen {
        /// Where.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// SIGTERM and SIGINT cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// The TLS of a listener.
    #[error("cannot set up the TLS of {place}")]
    Tls {
        /// Whose.
        place: Place,
        /// Why.
        source: Box<tls::Error>,
    },
    /// Logs and traces.
    #[error("cannot set up telemetry")]
    Telemetry(#[from] telemetry::Error),
}

/// A gate or a forwarder that listens, and answers once it runs.
#[derive(Debug)]
pub struct App {
    listeners: Vec<Listener>,
    admission: Admission,
    admin: Listener,
    admin_address: SocketAddr,
    health: Health,
    /// A forwarder has none.
    recording: Option<Recording>,
    tracer: Tracer,
    tracker: TaskTracker,
    drain: CancellationToken,
    drain_limit: Duration,
    give_up: CancellationToken,
}

/// What answers on the data listeners.
#[derive(Clone, Debug)]
enum Data {
    Forwarder(Arc<Forwarder>),
    Gate(Arc<Gateway>),
}

impl Handler for Data {
    async fn handle(&self, arrival: Arrival) -> Response<Body> {
        match self {
            Self::Forwarder(forwarder) => forwarder.handle(arrival).await,
            Self::Gate(gateway) => gateway.handle(arrival).await,
        }
    }
}

/// What a gate closes when it ends, and fails with.
#[derive(Debug)]
struct Recording {
    gateway: Arc<Gateway>,
    thread: WriterThread,
    copying: Copying,
}

/// What every part of the process may need.
#[derive(Clone, Debug)]
struct Common {
    clock: Clock,
    metrics: Metrics,
    tracer: Tracer,
    tracker: TaskTracker,
    drain: CancellationToken,
    give_up: CancellationToken,
    collector: Option<Collector>,
}

impl App {
    /// Opens and binds everything. Logs and the panic hook are the process's, so the caller sets
    /// them up.
    ///
    /// # Errors
    /// The first thing that does not work.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let tracer = Tracer::new(&config.telemetry.trace, &metrics, &Handle::current())?;
        let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
        let admission = connections::data(&config, &metrics);
        let give_up = CancellationToken::new();
        let collector = config.telemetry.records.clone();
        let common = Common { clock, metrics, tracer, tracker, drain, give_up, collector };
        let (listeners, admin) = listeners(&config, &common).await?;
        let desk = Desk {
            job_ids: config.job_ids,
            slots: Arc::new(Semaphore::new(config.in_flight_max)),
            tracer: common.tracer.clone(),
            metrics: common.metrics.clone(),
            clock: common.clock.clone(),
            tracker: common.tracker.clone(),
            give_up: common.give_up.clone(),
        };
        let (data, recording) = match config.role {
            config::Role::Forwarder(forwarder) => {
                let forwarder = start_forwarder(*forwarder, desk, &common).await?;
                (Data::Forwarder(Arc::new(forwarder)), None)
            }
            config::Role::Gate(gate) => {
                let recording = start_gate(*gate, desk, &common).await?;
                (Data::Gate(Arc::clone(&recording.gateway)), Some(recording))
            }
        };
        let Common { metrics, tracer, tracker, drain, give_up, .. } = common;
        Ok(Self {
            listeners,
            admission,
            admin_address: admin.local_address().unwrap_or(config.admin),
            admin,
            health: Health { data, drain: drain.clone(), metrics },
            recording,
            tracer,
            tracker,
            drain,
            drain_limit: config.drain,
            give_up,
        })
    }

    /// Where the data listeners are bound, in the order of the configuration; those on Unix sockets
    /// have no address.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::local_address).collect()
    }

    /// Where the admin listener is bound.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The policies in force, which follow their directory; a forwarder has none.
    #[must_use]
    pub fn policies(&self) -> Option<&Policies> {
        match &self.health.data {
            Data::Gate(gateway) => Some(&gateway.parts().policies),
            Data::Forwarder(_) => None,
        }
    }

    /// What this gate counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.health.metrics
    }

    /// Serves until `shutdown`, then drains: what is in flight finishes within the limit, and the
    /// ledger is closed. A ledger that fails ends the process at once. Returns whether all was well
    /// to the end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> bool {
        let admin_drain = CancellationToken::new();
        let admin_tracker = TaskTracker::new();
        let serving = Serving {
            admission: self.admission,
            tracker: self.tracker.clone(),
            drain: self.drain.clone(),
            metrics: self.health.metrics.clone(),
        };
        if let Some(Recording { gateway, .. }) = &self.recording {
            self.tracker.spawn(record_suppressed(Arc::clone(gateway), self.drain.clone()));
        }
        for listener in self.listeners {
            tracing::info!(address = %listener.place(), "listening");
            self.tracker.spawn(listener.serve(self.health.data.clone(), serving.clone()));
        }
        let (health, measured) = (self.health.clone(), self.health);
        let admin = admin::admin(
            move || health.checks(),
            move |ready| {
                let Health { data, metrics, .. } = &measured;
                metrics.set_ready(ready);
                if let Data::Gate(gateway) = data {
                    metrics.set_ledger_unshipped(gateway.parts().ledger.unshipped());
                    versions::measure(&gateway.parts().budgets, metrics);
                }
                metrics.encode()
            },
        );
        let serving = Serving {
            admission: connections::admin(&serving.metrics),
            tracker: admin_tracker.clone(),
            drain: admin_drain.clone(),
            ..serving
        };
        admin_tracker.spawn(self.admin.serve(admin, serving));
        tracing::info!(address = %self.admin_address, "listening for admin");

        let failed = tokio::select! {
            () = shutdown => false,
            () = failed(self.recording.as_ref()) => true,
        };
        tracing::info!("draining");
        self.drain.cancel();
        self.tracker.close();
        let drained = tokio::time::timeout(self.drain_limit, self.tracker.wait()).await.is_ok();
        if !drained {
            tracing::warn!("not everything in flight ended in time");
            // What was sent and has no answer is recorded as that.
            self.give_up.cancel();
            let _ = tokio::time::timeout(GIVE_UP, self.tracker.wait()).await;
        }
        let closed = match self.recording {
            Some(Recording { gateway, thread, copying }) => {
                gateway.record_suppressed();
                // What does not reach the database is compared with the ledger at the next start.
                let _ = tokio::time::timeout(FLUSH, gateway.parts().budgets.flush()).await;
                let closed = close(thread).await;
                copying.end(FLUSH).await;
                closed
            }
            None => true,
        };
        admin_drain.cancel();
        self.tracer.shutdown(FLUSH).await;
        closed && !failed
    }
}

/// Closes the ledger, and returns whether everything is on stable storage. A disk that does not
/// answer does not hold up the stop: the next start finds out what is missing.
async fn close(thread: WriterThread) -> bool {
    let closed = tokio::time::timeout(CLOSE, thread.close()).await;
    if closed.is_err() {
        tracing::error!("the ledger's disk does not answer; the process ends without it");
    }
    matches!(closed, Ok(Ok(())))
}

/// Resolves when the ledger can record no more, which a forwarder's never does.
async fn failed(recording: Option<&Recording>) {
    match recording {
        Some(Recording { gateway, .. }) => gateway.parts().ledger.failed().await,
        None => std::future::pending().await,
    }
}

/// Everything that judges and records.
async fn start_gate(
    config: config::Gate,
    desk: Desk,
    common: &Common,
) -> Result<Recording, StartError> {
    let Common { clock, metrics, tracker, drain, collector, .. } = common;
    let mut opened = ledger::open(&config.ledger, clock.clone(), metrics)?;
    let copying = Copying::start(&mut opened, collector.as_ref(), metrics)?;
    let budgets = versions::budgets(&config, &opened.ledger, clock).await?;
    let (ledger, directory) = (opened.ledger.clone(), config.ledger.directory);
    let past = Past { ledger, directory, budgets: budgets.clone() };
    let limits = policy::Limits { replicas: config.budgets.replicas, ..Default::default() };
    let (telling, counting, at) = (clock.clone(), metrics.clone(), config.policies);
    let (policies, follower) =
        Policies::open((Role::InForce, at), limits.clone(), telling, counting, past.prepare())
            .await;
    tracker.spawn(follower.run(drain.clone()));
    let shadow = versions::shadow(config.shadow, limits, common).await;
    let ledger = opened.ledger.clone();
    tracker.spawn(versions::record(policies.clone(), ledger, drain.clone()));
    let upstreams = upstreams(&config.upstreams, clock, metrics, tracker, drain).await?;
    let look_up = LookUp {
        upstreams: upstreams.clone(),
        tracer: Tracer::new(&TraceConfig::default(), metrics, &Handle::current())?,
        resolver: Resolver {
            words: config.settings.pool_words.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        },
        slots: (Arc::clone(&desk.slots), desk.slots.available_permits()),
    };
    let (ledger, window) = (opened.ledger.clone(), config.settle_window);
    let (pending, settled, telling) = (opened.pending, budgets.clone(), metrics.clone());
    let settler = Settler { pending, look_up, ledger, budgets: settled, metrics: telling, window };
    tracker.spawn(settler.run(drain.clone()));
    let authenticator =
        Authenticator::start(config.identity, metrics, clock, tracker, drain).await?;
    let Opened { ledger, thread, .. } = opened;
    let parts = Dependencies { desk, authenticator, policies, shadow, budgets, upstreams, ledger };
    let gateway = Arc::new(Gateway::new(config.settings, parts));
    Ok(Recording { gateway, thread, copying })
}

/// A token and a connection are all that a forwarder has.
async fn start_forwarder(
    config: config::Forwarder,
    desk: Desk,
    common: &Common,
) -> Result<Forwarder, StartError> {
    let Common { metrics, tracker, drain, .. } = common;
    let client = client(config.roots, config.connect)
        .map_err(|source| StartError::Client { name: config.gate.name.clone(), source })?;
    let token = forward::follow(config.token, tracker, drain.clone()).await;
    Ok(Forwarder::new(desk, forward::Gate::new(config.gate, client, token, metrics)))
}

/// One record per principal and minute says how many of its requests were refused for their rate.
async fn record_suppressed(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut minutes = tokio::time::interval(SUPPRESSED_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = minutes.tick() => gateway.record_suppressed(),
        }
    }
}

/// Binds all listeners: those for data, and the one for admin. Their TLS files are followed until the
/// drain.
async fn listeners(
    config: &Config,
    common: &Common,
) -> Result<(Vec<Listener>, Listener), StartError> {
    let limits = Limits { drain: config.drain, ..Limits::default() };
    let mut listeners = Vec::new();
    for config::Listen { place, tls, principal } in &config.listen {
        let mut listener = bind(place, limits).await?;
        if let Some(principal) = principal {
            listener = listener.with_principal(Arc::clone(principal));
        }
        if let Some(config::Tls { files, .. }) = tls {
            let Common { clock, metrics, tracker, drain, .. } = common;
            let watch = (metrics.clone(), clock.clone());
            let files = (files.clone(), place.to_string());
            let tls = Tls::start(files, watch, tracker, drain.clone()).await;
            let fault = |source| StartError::Tls { place: place.clone(), source: Box::new(source) };
            listener = listener.with_tls(tls.map_err(fault)?);
        }
        listeners.push(listener);
    }
    let admin = Limits { http1_0: true, ..limits };
    Ok((listeners, bind(&Place::Tcp(config.admin), admin).await?))
}

async fn bind(place: &Place, limits: Limits) -> Result<Listener, StartError> {
    let fault = |source| StartError::Listen { place: place.clone(), source };
    Listener::bind(place, limits).await.map_err(fault)
}
