//! How many connections there may be: in all, and from one address.
//!
//! One peer that opens connections without end must not keep the others out. An IPv6 peer counts by
//! its /64: whoever has one address of that has all of them.

use crate::metrics::{ConnectionLimit, Metrics};

use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that tell one peer from another.
const IPV6_PEER_BITS: u32 = 64;

/// Who may connect; clones share the same places.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_all: usize,
    per_peer: usize,
    exempt: Vec<IpNet>,
    metrics: Metrics,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    /// Never zero; at most as many entries as connections.
    per_peer: HashMap<IpAddr, usize>,
}

impl Admission {
    /// At most `in_all` connections at a time, and `per_peer` of one address unless it is in one of
    /// `exempt`: a proxy speaks for many, and on loopback everybody has the same address.
    #[must_use]
    pub fn new(in_all: usize, per_peer: usize, exempt: Vec<IpNet>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { in_all, per_peer, exempt, metrics, open: Mutex::default() }))
    }

    /// A place for a connection from `peer` (`None`: it has no address), until the place is dropped.
    ///
    /// # Errors
    /// The limit that is reached; it has been counted.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Result<Place, ConnectionLimit> {
        let peer = peer.map(|it| it.to_canonical());
        let peer = peer.filter(|it| !self.0.exempt.iter().any(|net| net.contains(it))).map(key);
        let mut open = self.0.open();
        let of_peer = peer.and_then(|it| open.per_peer.get(&it)).copied().unwrap_or(0);
        let refused = if open.count >= self.0.in_all {
            Some(ConnectionLimit::InAll)
        } else if peer.is_some() && of_peer >= self.0.per_peer {
            Some(ConnectionLimit::Peer)
        } else {
            None
        };
        if let Some(limit) = refused {
            self.0.metrics.connection_refused(limit);
            return Err(limit);
        }
        open.count += 1;
        if let Some(peer) = peer {
            open.per_peer.insert(peer, of_peer + 1);
        }
        self.0.metrics.connection_opened();
        Ok(Place { admission: self.clone(), peer })
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => {
            let host_bits = u128::BITS - IPV6_PEER_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> host_bits << host_bits))
        }
    }
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    peer: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.admission.0;
        let mut open = inner.open();
        open.count -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = open.per_peer.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                open.per_peer.remove(&peer);
            }
        }
        inner.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One connection after the other, each kept.
    fn admit(peers: &[&str]) -> (Admission, Vec<Result<Place, ConnectionLimit>>) {
        let exempt = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
        let admission = Admission::new(4, 2, exempt, Metrics::new());
        let places = peers.iter().map(|it| admission.admit(it.parse().ok())).collect();
        (admission, places)
    }

    /// Attack 87
    #[test]
    fn one_peer_cannot_take_every_place() {
        use ConnectionLimit::{InAll, Peer};
        for (peers, expected) in [
            (["192.0.2.1"; 5], [None, None, Some(Peer), Some(Peer), Some(Peer)]),
            (
                ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.3"],
                [None, None, Some(Peer), None, None],
            ),
            (
                ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3", "2001:db8:0:1::1", "::1"],
                [None, None, Some(Peer), None, None],
            ),
            // A trusted proxy, the loopback, a Unix socket: up to the limit of all.
            (["10.1.1.1"; 5], [None, None, None, None, Some(InAll)]),
            (["127.0.0.1"; 5], [None, None, None, None, Some(InAll)]),
            (["unix"; 5], [None, None, None, None, Some(InAll)]),
        ] {
            let (_, places) = admit(&peers);
            let refused: Vec<_> = places.into_iter().map(Result::err).collect();
            assert_eq!(refused, expected, "{peers:?}");
        }
    }

    #[test]
    fn a_place_is_free_again_and_nothing_is_remembered() {
        let (admission, places) = admit(&["192.0.2.1", "192.0.2.1", "192.0.2.2", "unix"]);
        assert!(admission.admit("192.0.2.3".parse().ok()).is_err());
        drop(places);
        assert_eq!(admission.0.open().count, 0);
        assert!(admission.0.open().per_peer.is_empty());
        let text = admission.0.metrics.encode();
        assert!(text.contains("lychgate_connections 0\n"), "{text}");
        assert!(
            text.contains("lychgate_connections_refused_total{limit=\"in_all\"} 1\n"),
            "{text}"
        );
        assert!(admission.admit("192.0.2.1".parse().ok()).is_ok());
    }
}
