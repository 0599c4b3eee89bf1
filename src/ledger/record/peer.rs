//! The member `peer`: an address, or the word for a Unix socket.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::net::IpAddr;

const UNIX: &str = "unix";

pub(super) fn serialize<S: Serializer>(
    peer: &Option<IpAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match peer {
        Some(address) => address.serialize(serializer),
        None => UNIX.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    match &*Cow::<str>::deserialize(deserializer)? {
        UNIX => Ok(None),
        address => address.parse().map(Some).map_err(D::Error::custom),
    }
}
