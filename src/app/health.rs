//! How the gate is, for `/readyz`: what must hold, and what is worth knowing.

use crate::gateway::Gateway;
use crate::ledger;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::server::admin::Check;

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What readiness and metrics are read from.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) gateway: Arc<Gateway>,
    pub(super) ledger: Ledger,
    pub(super) policies: Policies,
    pub(super) drain: CancellationToken,
    pub(super) metrics: Metrics,
}

impl Health {
    pub(super) fn checks(&self) -> Vec<Check> {
        let check = |name, ok| Check { name, ok, counted: true, detail: None };
        let state = self.policies.state();
        let in_force = state.in_force.map(|it| {
            let (digest, loaded, findings) = (it.set.digest(), it.loaded, it.findings);
            format!("version {digest}, loaded {loaded}, {findings} findings")
        });
        let refused = state.refusal.map(|it| match it.digest {
            Some(digest) => format!("version {digest} refused {}, {} errors", it.time, it.errors),
            None => format!("unreadable since {}", it.time),
        });
        vec![
            Check { detail: in_force, ..check("policies", self.gateway.has_policies()) },
            // What is in force goes on judging, so a version that is refused makes nobody unready.
            Check {
                counted: false,
                detail: refused.clone(),
                ..check("policies_current", refused.is_none())
            },
            check("ledger", self.ledger.status() == ledger::Status::Writable),
            check("serving", !self.drain.is_cancelled()),
            check("identity", self.gateway.can_verify()),
            check("credential", self.gateway.has_credential()),
        ]
    }
}
