//! How many connections the listeners take, and from whom.

use crate::config::Config;
use crate::metrics::Metrics;
use crate::server::Admission;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Probes and one or two collectors of metrics, which the data listeners cannot crowd out.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// So that no one peer keeps the probes out.
const ADMIN_CONNECTIONS_PER_PEER_MAX: usize = 16;

/// For the data listeners.
pub(super) fn data(config: &Config, metrics: &Metrics) -> Admission {
    let exempt = config.trusted_proxies.iter().copied().chain(loopback()).collect();
    let (in_all, per_peer) = (config.connections_max, config.connections_per_peer_max);
    Admission::new(in_all, per_peer, exempt, metrics.clone())
}

/// For the admin listener.
pub(super) fn admin(metrics: &Metrics) -> Admission {
    let (in_all, per_peer) = (ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_PER_PEER_MAX);
    Admission::new(in_all, per_peer, loopback().into(), metrics.clone())
}

fn loopback() -> [IpNet; 2] {
    [
        Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into(),
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
    ]
}
