//! What a check of a configuration finds beyond the file itself: the same code as in `serve` opens
//! everything, and lets go of it again. Nothing is created, no request is sent or answered.

use super::{Common, StartError, bind, client, upstreams};
use crate::authn::Authenticator;
use crate::clock::Clock;
use crate::config::{Config, Forwarder, Gate, Role};
use crate::forward;
use crate::ledger;
use crate::metrics::Metrics;
use crate::server::{Limits, Place, is_stale};
use crate::telemetry::Tracer;
use crate::text::chain;

use std::io;
use std::io::ErrorKind;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a check finds, one text each.
#[derive(Debug, Default)]
pub struct Found {
    /// What would keep the process from starting or from serving.
    pub faults: Vec<String>,
    /// The addresses that another process has, which may be this gate, if it runs.
    pub taken: Vec<String>,
    /// What the gate may find otherwise: later, under its own account, or in the pod that the file
    /// is for.
    pub lacking: Vec<String>,
}

/// Opens everything that `serve` would.
pub async fn check(config: &Config, clock: Clock) -> Found {
    let mut res = Found::default();
    let metrics = Metrics::new();
    let tracer = match Tracer::new(&config.telemetry.trace, &metrics, &Handle::current()) {
        Ok(tracer) => tracer,
        Err(error) => {
            res.faults.push(chain(&StartError::from(error)));
            return res;
        }
    };
    // Every task ends at its first step, before it asks anything over the network.
    let drain = CancellationToken::new();
    drain.cancel();
    let common = Common {
        clock,
        metrics,
        tracer,
        tracker: TaskTracker::new(),
        give_up: drain.clone(),
        drain,
        collector: None,
    };
    let admin = Place::Tcp(config.admin);
    let (mut places, mut held) = (Vec::new(), Vec::new());
    for place in config.listen.iter().map(|it| &it.place).chain([&admin]) {
        let result = match place {
            // Held until all of them are: two must not be for one address.
            Place::Tcp(_) => bind(place, Limits::default()).await.map(|it| held.push(it)),
            Place::Unix(_) if places.contains(&place) => {
                let source = io::Error::new(ErrorKind::AddrInUse, "it is in the file twice");
                Err(StartError::Listen { place: place.clone(), source })
            }
            Place::Unix(path) => is_stale(path)
                .map(drop)
                .map_err(|source| StartError::Listen { place: place.clone(), source }),
        };
        match result {
            Ok(()) => (),
            Err(StartError::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && !places.contains(&place) =>
            {
                res.taken.push(format!("cannot listen on {place}: {source}"));
            }
            // Of a socket that only the gate's own account may open.
            Err(StartError::Listen { source, .. })
                if source.kind() == ErrorKind::PermissionDenied
                    && matches!(place, Place::Unix(it) if it.symlink_metadata().is_ok()) =>
            {
                res.lacking.push(format!("cannot listen on {place}: {source}"));
            }
            Err(error) => res.faults.push(chain(&error)),
        }
        places.push(place);
    }
    drop(held);
    match &config.role {
        Role::Gate(gate) => gate_faults(gate, &common, &mut res).await,
        Role::Forwarder(it) => res.lacking.extend(forwarder_faults(it).await),
    }
    res
}

async fn forwarder_faults(it: &Forwarder) -> impl Iterator<Item = String> + use<> {
    let name = it.gate.name.clone();
    let roots = client(it.roots.clone(), it.connect).err();
    let roots = roots.map(|source| chain(&StartError::Client { name, source }));
    roots.into_iter().chain(forward::fault(&it.token).await)
}

async fn gate_faults(gate: &Gate, common: &Common, found: &mut Found) {
    let Common { clock, metrics, tracker, drain, .. } = common;
    if let Err(error) = ledger::check(&gate.ledger) {
        found.faults.push(chain(&error));
    }
    match upstreams(&gate.upstreams, clock, metrics, tracker, drain).await {
        Ok(upstreams) => {
            found.faults.extend(upstreams.iter().filter_map(|it| it.credential_trouble()));
        }
        Err(error) => found.faults.push(chain(&error)),
    }
    match Authenticator::start(gate.identity.clone(), metrics, clock, tracker, drain).await {
        // Keys of issuers may still come over the network.
        Ok(it) if gate.identity.issuers.is_empty() && !it.can_verify() => {
            found.lacking.extend(it.troubles());
        }
        Ok(_) => (),
        Err(error) => found.faults.push(chain(&StartError::from(error))),
    }
}
