//! The breaker's gauge, and the probe of an open breaker: one look-up of a job that nobody has.

use super::Upstream;
use crate::metrics::Operation;
use crate::policy::Job;

use http::Method;
use std::future::pending;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

impl Upstream {
    /// Shows whether the breaker is open, and probes an open one that this upstream has opened,
    /// until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut credential = self.key.credentials();
        loop {
            let changed = self.key.changed();
            let refused = self.key.refused();
            self.metrics.set_breaker_open(refused.is_some());
            let mine = refused.filter(|it| it.upstream == self.config.name);
            let due = async {
                match &mine {
                    Some(refused) => sleep_until(refused.probe_at).await,
                    None => pending().await,
                }
            };
            let renewed = async {
                if credential.changed().await.is_err() {
                    // Whoever could change it is gone: a fixed credential.
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed => (),
                () = renewed => (),
                () = due => {
                    if let Some(refused) = &mine {
                        self.probe(&refused.probe).await;
                    }
                }
            }
        }
    }

    async fn probe(&self, job: &Job) {
        let Some(mut pass) = self.key.probe() else { return };
        let call = self.call(Method::GET, job, job.path(), None);
        let started = Instant::now();
        let status = async {
            let request = self.request(&call, &pass.credential).ok()?;
            let response = self.client.request(request).await.ok()?;
            let status = response.status();
            // What it says about the key is all that counts.
            drop(self.read(response, &call, &mut pass).await);
            Some(status)
        };
        let status = timeout(self.config.lookup, status).await.ok().flatten();
        self.metrics.request(Operation::Details, status, started.elapsed());
    }
}
