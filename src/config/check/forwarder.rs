//! The configuration of a forwarder, whose only upstream is of kind `gate`. What would do nothing
//! there is refused, so that nobody relies on it.

use super::{Checker, place};
use crate::config::file::File;
use crate::config::{Forwarder, file};
use crate::forward;
use crate::yaml::{Place, Spanned};

/// The default of `projects`: the central gate knows which ones it serves.
const EVERY_PROJECT: &str = "*";

impl Checker<'_> {
    /// Whoever reaches the listener is its principal, and the central gate knows the forwarder by
    /// its token.
    pub(super) fn forwarding_listeners(&mut self, written: &[file::Listen]) {
        for listen in written {
            let Some(principal) = &listen.principal else {
                // A Unix socket needs one anyway.
                if let Some(address) = &listen.address {
                    self.complain(
                        address,
                        "a forwarder verifies no credential, so each of its listeners needs a `principal`",
                    );
                }
                continue;
            };
            let file::FixedPrincipal { groups, tags, .. } = &principal.value;
            if !groups.is_empty() || !tags.is_empty() {
                self.complain(
                    principal,
                    "a forwarder tells nobody the groups and tags of a principal: the central gate knows the caller by the token",
                );
            }
        }
    }

    /// `None` only with a complaint.
    pub(super) fn forwarder(&mut self, mut file: File) -> Option<Forwarder> {
        self.idle_sections(&file);
        for other in &file.upstreams.value {
            if 1 < file.upstreams.value.len() && other.kind.value == file::Kind::Gate {
                self.complain(
                    &other.kind,
                    "a forwarder has one upstream, the central gate: no other gate and no cloud beside it",
                );
            }
        }
        let gate = file.upstreams.value.pop()?;
        if gate.kind.value != file::Kind::Gate {
            return None;
        }
        self.idle_settings(&gate);
        self.upstream_name(&gate.name);
        let endpoint = self.upstream_endpoint(&gate.endpoint);
        let token = self.required(&gate.name, "token", gate.token);
        let projects = match gate.projects {
            Some(projects) => self.projects(projects),
            None => vec![EVERY_PROJECT.to_owned()],
        };
        let endpoint = endpoint?;
        Some(Forwarder {
            roots: self.roots(gate.ca.as_ref(), &endpoint),
            token: self.path(&token?.value),
            connect: file.timeouts.connect.value.0,
            gate: forward::Config {
                name: gate.name.value,
                projects,
                endpoint,
                request: file.timeouts.request.value.0,
            },
        })
    }

    fn idle_sections(&mut self, file: &File) {
        const JUDGES: &str = "a forwarder judges nothing: the central gate does, with its own";
        let limits = &file.limits.per_principal;
        let sections = [
            (file.identity.as_ref().map(place), "identity", JUDGES),
            (file.policies.as_ref().map(place), "policies", JUDGES),
            (file.budgets.as_ref().map(place), "budgets", JUDGES),
            (file.attributes.as_ref().map(place), "attributes", JUDGES),
            (
                file.ledger.as_ref().map(place),
                "ledger",
                "a forwarder decides nothing that it could record: the central gate keeps the ledger",
            ),
            (
                file.settle.as_ref().map(place),
                "settle",
                "a forwarder has no ledger to settle: the central gate does",
            ),
            (
                Some(place(limits)).filter(|it| it.place != Place::default()),
                "per_principal",
                "a forwarder has one principal per listener: `in_flight` limits it, and the central gate its rate",
            ),
        ];
        for (place, name, why) in sections {
            if let Some(place) = place {
                self.complain(&place, format!("take `{name}` out: {why}"));
            }
        }
    }

    fn idle_settings(&mut self, gate: &file::Upstream) {
        let settings: [(Option<Spanned<()>>, &str); 5] = [
            (gate.region.as_ref().map(place), "region"),
            (gate.account.as_ref().map(place), "account"),
            (gate.credentials.as_ref().map(place), "credentials"),
            (gate.algorithm.as_ref().map(place), "algorithm"),
            (gate.in_flight.as_ref().map(place), "in_flight"),
        ];
        for (place, name) in settings {
            if let Some(place) = place {
                let message = format!("an upstream of kind gate has no `{name}`");
                self.complain(&place, message);
            }
        }
    }
}
