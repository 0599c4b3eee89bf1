//! Who asks: the credentials of a request → a [`Principal`](crate::policy::Principal).

mod error;

pub use self::error::Error;

use crate::policy::Principal;

use std::net::IpAddr;
use std::sync::Arc;

/// What the listener knows of the other end of a connection, before authentication.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the other end; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The listener is bound to a loopback address or a Unix socket, so that `address` says nothing.
    pub local: bool,
    /// The connection is TLS.
    pub secure: bool,
    /// The listener's fixed principal; such a listener has no other method.
    pub principal: Option<Arc<Principal>>,
}
