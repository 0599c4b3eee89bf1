//! What an upstream needs: its connections, and its credential.

use super::StartError;
use crate::client::{self, Client, Roots};
use crate::clock::Clock;
use crate::config;
use crate::credentials;
use crate::metrics::Metrics;
use crate::trouble::Trouble;
use crate::upstream::{self, Upstream, Upstreams};

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The upstreams of a configuration, each with its connections and its credential, which tasks in
/// `tracker` keep fresh until `stop`. Those that sign with one credential share its key, so that
/// one breaker guards it.
///
/// # Errors
/// The first that cannot be set up.
pub(crate) async fn upstreams(
    written: &[config::Upstream],
    clock: &Clock,
    metrics: &Metrics,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Upstreams, StartError> {
    let mut keys: Vec<(&credentials::Source, upstream::Key)> = Vec::new();
    let mut upstreams = Vec::new();
    for it in written {
        let name = || it.config.name.clone();
        let client = client(it.roots.clone(), it.connect)
            .map_err(|source| StartError::Client { name: name(), source })?;
        let known = keys.iter().find(|(source, _)| *source == &it.credentials);
        let key = match known {
            Some((_, key)) => key.clone(),
            None => {
                let sharers = written.iter().filter(|other| other.credentials == it.credentials);
                let trouble = Trouble::default();
                let (refuse, refused) = watch::channel(false);
                let parts = credentials::Parts {
                    refused,
                    trouble: trouble.clone(),
                    clock: clock.clone(),
                    tracker: tracker.clone(),
                    stop: stop.clone(),
                    metrics: sharers.map(|it| metrics.upstream(&it.config.name)).collect(),
                };
                let credential = credentials::start(&it.credentials, parts)
                    .await
                    .map_err(|source| StartError::Credential { name: name(), source })?;
                let key = upstream::Key::new(credential, trouble, refuse);
                keys.push((&it.credentials, key.clone()));
                key
            }
        };
        upstreams.push(Upstream::new(it.config.clone(), client, key, clock.clone(), metrics));
    }
    let upstreams = Upstreams::new(upstreams);
    for upstream in upstreams.iter() {
        tracker.spawn(Arc::clone(upstream).keep(stop.clone()));
    }
    Ok(upstreams)
}

/// Connections to an upstream.
pub(super) fn client(roots: Roots, connect: Duration) -> Result<Client, client::Error> {
    client::new(&client::Config {
        roots,
        connect,
        idle: upstream::IDLE,
        // There are no more connections than requests at work, which `in_flight` limits. Closing
        // some of them between two requests would only mean connecting again.
        idle_per_host: usize::MAX,
    })
}
