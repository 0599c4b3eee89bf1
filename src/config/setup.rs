//! What the configuration of a gate has that its policies can name.

use super::{Config, Gate};
use crate::authn::{self, keys};
use crate::policy::{GateSetup, Method, Setup};

use jiff::Timestamp;
use std::collections::BTreeSet;

impl Config {
    /// What the policies are compared with; of a forwarder, which has none, the time alone.
    #[must_use]
    pub fn setup(&self, now: Timestamp) -> Setup {
        let gate = self.gate();
        let words = gate.map(|it| it.settings.pool_words.clone()).unwrap_or_default();
        Setup {
            now,
            pool_types: vec![words.dedicated, words.public],
            gate: gate.map(|it| self.gate_setup(it)),
        }
    }

    fn gate_setup(&self, gate: &Gate) -> GateSetup {
        let authn::Config { issuers, keys, certificates } = &gate.identity;
        let mut res = GateSetup { tags: Some(BTreeSet::new()), ..GateSetup::default() };
        for it in issuers {
            let tags = it.claims.tags.keys().cloned().collect();
            res.source(&it.name, it.claims.groups.is_some(), Some(tags), Method::Jwt);
        }
        for it in self.listen.iter().filter_map(|it| it.principal.as_ref()) {
            let tags = it.tags().keys().cloned().collect();
            res.source(it.source(), !it.groups().is_empty(), Some(tags), Method::Local);
        }
        if let Some(path) = keys {
            res.source(keys::SOURCE, true, keys::tags(path), Method::Key);
        }
        if *certificates {
            res.source("mtls", false, Some(BTreeSet::new()), Method::Mtls);
        }
        for it in gate.upstreams.iter().map(|it| &it.config) {
            res.projects.extend(it.projects.iter().cloned());
            res.regions.insert(it.region.clone());
            res.accounts.insert(it.account.clone());
        }
        res
    }
}
