//! What a check of a configuration finds beyond the file itself: the same code as in `serve` opens
//! everything, and lets go of it again. Nothing is created, no request is sent or answered.

use super::{Common, StartError, bind, upstreams};
use crate::authn::Authenticator;
use crate::clock::Clock;
use crate::config::{Config, Gate, Role};
use crate::ledger;
use crate::metrics::Metrics;
use crate::server::{Limits, Place, is_stale};
use crate::telemetry::Tracer;
use crate::text::chain;

use std::io::ErrorKind;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything that would keep the gate of `config` from starting or from serving, one text each; and
/// the addresses that another process has, which may be this gate, if it runs.
pub async fn check(config: &Config, clock: Clock) -> (Vec<String>, Vec<String>) {
    let metrics = Metrics::new();
    let tracer = match Tracer::new(&config.telemetry.trace, &metrics, &Handle::current()) {
        Ok(tracer) => tracer,
        Err(error) => return (vec![chain(&StartError::from(error))], Vec::new()),
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
    let (mut found, mut taken, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let mut places = Vec::new();
    for place in config.listen.iter().map(|it| &it.place).chain([&admin]) {
        let result = match place {
            // Held until all of them are: two must not be for one address.
            Place::Tcp(_) => bind(place, Limits::default()).await.map(|it| held.push(it)),
            Place::Unix(path) => is_stale(path)
                .map(drop)
                .map_err(|source| StartError::Listen { place: place.clone(), source }),
        };
        match result {
            Ok(()) => (),
            Err(StartError::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && !places.contains(&place) =>
            {
                taken.push(format!("cannot listen on {place}: {source}"));
            }
            Err(error) => found.push(chain(&error)),
        }
        places.push(place);
    }
    drop(held);
    if let Role::Gate(gate) = &config.role {
        found.extend(gate_faults(gate, &common).await);
    }
    (found, taken)
}

async fn gate_faults(gate: &Gate, common: &Common) -> Vec<String> {
    let Common { clock, metrics, tracker, drain, .. } = common;
    let mut found = Vec::new();
    if let Err(error) = ledger::check(&gate.ledger) {
        found.push(chain(&error));
    }
    match upstreams(&gate.upstreams, clock, metrics, tracker, drain).await {
        Ok(upstreams) => found.extend(upstreams.iter().filter_map(|it| it.credential_trouble())),
        Err(error) => found.push(chain(&error)),
    }
    match Authenticator::start(gate.identity.clone(), metrics, clock, tracker, drain).await {
        // Keys of issuers may still come over the network.
        Ok(it) if gate.identity.issuers.is_empty() && !it.can_verify() => {
            found.extend(it.troubles());
        }
        Ok(_) => (),
        Err(error) => found.push(chain(&StartError::from(error))),
    }
    found
}
