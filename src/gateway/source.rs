//! Where a request comes from: the peer, or whom a trusted proxy says it speaks for.

use crate::authn::Peer;
use crate::policy::Attribute;
use crate::text;

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The most entries of an `X-Forwarded-For` list that are read.
const FORWARDED_FOR_MAX: usize = 32;

/// The values of `g:SourceIp` and `g:SecureTransport`.
pub(super) fn source(
    peer: &Peer,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> (Attribute<IpAddr>, Attribute<bool>) {
    let Some(address) = peer.address.filter(|_| !peer.local) else {
        return (Attribute::Absent, Attribute::Value(peer.secure));
    };
    let address = address.to_canonical();
    let is_trusted = |it: &IpAddr| trusted.iter().any(|network| network.contains(it));
    if !is_trusted(&address) {
        return (Attribute::Value(address), Attribute::Value(peer.secure));
    }
    (forwarded_for(headers, address, is_trusted), forwarded_proto(headers, peer.secure))
}

/// The right-most entry that is not itself a trusted proxy; the left-most if all are.
fn forwarded_for(
    headers: &HeaderMap,
    peer: IpAddr,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> Attribute<IpAddr> {
    let mut source = peer;
    let mut count = 0;
    let mut lists: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    lists.reverse();
    for list in lists {
        let Ok(list) = list.to_str() else { return Attribute::Unavailable };
        for entry in list.rsplit(',') {
            count += 1;
            let entry = address(entry.trim_matches([' ', '\t']));
            let (Some(entry), true) = (entry, count <= FORWARDED_FOR_MAX) else {
                tracing::warn!(
                    %peer,
                    x_forwarded_for = %text::escaped(list),
                    "a trusted proxy names no address that can be read"
                );
                return Attribute::Unavailable;
            };
            source = entry.to_canonical();
            if !is_trusted(&source) {
                return Attribute::Value(source);
            }
        }
    }
    Attribute::Value(source)
}

/// An address, with a port or in brackets as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|it| it.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

fn forwarded_proto(headers: &HeaderMap, secure: bool) -> Attribute<bool> {
    let mut values = headers.get_all("x-forwarded-proto").iter();
    match (values.next().map(|it| it.as_bytes()), values.next()) {
        (None, _) => Attribute::Value(secure),
        (Some(it), None) if it.eq_ignore_ascii_case(b"https") => Attribute::Value(true),
        (Some(it), None) if it.eq_ignore_ascii_case(b"http") => Attribute::Value(false),
        (Some(_), _) => Attribute::Unavailable,
    }
}

/// `g:UserAgent`.
pub(super) fn user_agent(head: &http::request::Parts) -> Attribute<String> {
    match head.headers.get(http::header::USER_AGENT).map(http::HeaderValue::to_str) {
        Some(Ok(text)) => Attribute::Value(text.to_owned()),
        Some(Err(_)) => Attribute::Unavailable,
        None => Attribute::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Attribute::{Absent, Unavailable, Value};

    fn ask(peer: &str, headers: &[(&'static str, &str)]) -> (Attribute<String>, Attribute<bool>) {
        let peer = Peer {
            address: peer.parse().ok(),
            local: peer.is_empty(),
            secure: false,
            principal: None,
            certificate: None,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let (address, secure) = source(&peer, &map, &trusted);
        let address = match address {
            Value(it) => Value(it.to_string()),
            Absent => Absent,
            Unavailable | Attribute::NotAsked => Unavailable,
        };
        (address, secure)
    }

    /// Attack 35.
    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        let ip = |it: &str| Value(it.to_owned());
        for (peer, list, expected) in [
            ("192.0.2.1", "198.51.100.7", ip("192.0.2.1")),
            ("10.1.1.1", "198.51.100.7", ip("198.51.100.7")),
            ("10.1.1.1", "203.0.113.9, 198.51.100.7", ip("198.51.100.7")),
            ("10.1.1.1", "198.51.100.7, 10.2.2.2", ip("198.51.100.7")),
            ("10.1.1.1", "10.3.3.3,10.2.2.2", ip("10.3.3.3")),
            ("10.1.1.1", "junk, 198.51.100.7", ip("198.51.100.7")),
            ("10.1.1.1", "198.51.100.7, junk", Unavailable),
            ("10.1.1.1", "junk, 10.2.2.2", Unavailable),
            ("10.1.1.1", "198.51.100.7:51008", ip("198.51.100.7")),
            ("10.1.1.1", "198.51.100.7:80, 10.2.2.2:443", ip("198.51.100.7")),
            ("10.1.1.1", "[2001:db8::7]:51008", ip("2001:db8::7")),
            ("10.1.1.1", "[2001:db8::7]", ip("2001:db8::7")),
            ("10.1.1.1", "198.51.100.7:", Unavailable),
            ("10.1.1.1", "198.51.100.7:x", Unavailable),
            ("10.1.1.1", "unknown", Unavailable),
            ("10.1.1.1", "[198.51.100.7", Unavailable),
            ("10.1.1.1", "", Unavailable),
            ("::ffff:10.1.1.1", "::ffff:198.51.100.7", ip("198.51.100.7")),
            ("fd00::1", "2001:db8::7", ip("2001:db8::7")),
            ("", "198.51.100.7", Absent),
        ] {
            let (address, _) = ask(peer, &[("x-forwarded-for", list)]);
            assert_eq!(address, expected, "{peer} {list}");
        }
        assert_eq!(ask("10.1.1.1", &[]).0, ip("10.1.1.1"));
        let two = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "10.2.2.2")];
        assert_eq!(ask("10.1.1.1", &two).0, ip("198.51.100.7"));
        let long = vec!["10.2.2.2"; FORWARDED_FOR_MAX + 1].join(",");
        assert_eq!(ask("10.1.1.1", &[("x-forwarded-for", &long)]).0, Unavailable);
    }

    #[test]
    fn only_a_trusted_proxy_says_how_it_was_reached() {
        for (peer, value, expected) in [
            ("192.0.2.1", "https", Value(false)),
            ("10.1.1.1", "https", Value(true)),
            ("10.1.1.1", "HTTP", Value(false)),
            ("10.1.1.1", "https,http", Unavailable),
            ("10.1.1.1", "", Unavailable),
        ] {
            assert_eq!(ask(peer, &[("x-forwarded-proto", value)]).1, expected, "{peer} {value}");
        }
    }
}
