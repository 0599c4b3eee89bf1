//! The breaker's gauge, and the probe of an open breaker: one look-up of a job that nobody has.

use super::{Call, Upstream};
use crate::metrics::Operation;
use crate::policy::Job;

use http::Method;
use std::future::pending;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The job that is asked for. A key that the cloud accepts is told that there is none.
const NO_JOB: &str = "00000000-0000-4000-8000-000000000000";

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
                    // It is one that never changes.
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed => (),
                () = renewed => (),
                () = due => {
                    if let Some(refused) = &mine {
                        self.probe(&refused.project_id).await;
                    }
                }
            }
        }
    }

    async fn probe(&self, project_id: &str) {
        let Some(mut pass) = self.key.probe() else { return };
        let path = Job::new(project_id, NO_JOB).path();
        let url = self.url(&path);
        let call = Call { method: Method::GET, path, url, project_id, traceparent: None };
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
