//! How the gate is, for `/readyz`: what must hold, and what is worth knowing.

use crate::forward::Forwarder;
use crate::gateway::Gateway;
use crate::ledger::{self, Ledger};
use crate::metrics::Metrics;
use crate::reload::Policies;
use crate::server::admin::Check;

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What readiness and metrics are read from.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) ready: Ready,
    pub(super) drain: CancellationToken,
    pub(super) metrics: Metrics,
}

/// What must be there before requests can be answered.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    Forwarder(Arc<Forwarder>),
    Gate { gateway: Arc<Gateway>, ledger: Ledger, policies: Policies },
}

impl Health {
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = match &self.ready {
            Ready::Forwarder(forwarder) => vec![check("token", forwarder.has_token())],
            Ready::Gate { gateway, ledger, policies } => gate(gateway, ledger, policies),
        };
        checks.push(check("serving", !self.drain.is_cancelled()));
        checks
    }
}

fn check(name: &'static str, ok: bool) -> Check {
    Check { name, ok, counted: true, detail: None }
}

/// Something with several sources, and what is wrong with some of them.
fn sources(name: &'static str, ok: bool, troubles: &[String]) -> Check {
    let detail = (!troubles.is_empty()).then(|| troubles.join("; "));
    Check { detail, ..check(name, ok) }
}

fn gate(gateway: &Gateway, ledger: &Ledger, policies: &Policies) -> Vec<Check> {
    let state = policies.state();
    let in_force = state.in_force.map(|it| {
        let (digest, loaded, findings) = (it.set.digest(), it.loaded, it.findings);
        format!("version {digest}, loaded {loaded}, {findings} findings")
    });
    let refused = state.refusal.map(|it| match it.digest {
        Some(digest) => format!("version {digest} refused {}, {} errors", it.time, it.errors),
        None => format!("unreadable since {}", it.time),
    });
    vec![
        Check { detail: in_force, ..check("policies", gateway.has_policies()) },
        // The version in force goes on judging, so a version that is refused does not make the gate
        // unready.
        Check {
            counted: false,
            detail: refused.clone(),
            ..check("policies_current", refused.is_none())
        },
        check("budgets", gateway.can_count()),
        check("ledger", ledger.status() == ledger::Status::Writable),
        sources("identity", gateway.can_verify(), &gateway.identity_troubles()),
        sources("credential", gateway.has_credential(), &gateway.credential_troubles()),
    ]
}
