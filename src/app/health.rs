//! How the gate is, for `/readyz`: what must hold, and what is worth knowing.

use super::Data;

use crate::gateway::Dependencies;
use crate::ledger;
use crate::metrics::Metrics;
use crate::server::admin::Check;

use tokio_util::sync::CancellationToken;

/// What readiness and metrics are read from.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) data: Data,
    pub(super) drain: CancellationToken,
    pub(super) metrics: Metrics,
}

impl Health {
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = match &self.data {
            Data::Forwarder(forwarder) => vec![check("token", forwarder.has_token())],
            Data::Gate(gateway) => gate(gateway.parts()),
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

fn gate(parts: &Dependencies) -> Vec<Check> {
    let Dependencies { authenticator, policies, budgets, upstreams, ledger, .. } = parts;
    let credential_troubles: Vec<_> =
        upstreams.iter().filter_map(|it| it.credential_trouble()).collect();
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
        Check { detail: in_force.clone(), ..check("policies", in_force.is_some()) },
        // The version in force goes on judging, so a version that is refused does not make the gate
        // unready.
        Check {
            counted: false,
            detail: refused.clone(),
            ..check("policies_current", refused.is_none())
        },
        check("budgets", budgets.is_there()),
        check("ledger", ledger.status() == ledger::Status::Writable),
        sources("identity", authenticator.can_verify(), &authenticator.troubles()),
        sources("credential", upstreams.iter().any(|it| it.has_credential()), &credential_troubles),
    ]
}
