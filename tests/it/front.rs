//! What reaches the gate: listeners, heads, attacks, tokens, HTTP/2, TLS.

pub(crate) mod admin;
pub(crate) mod attacks;
pub(crate) mod deceit;
pub(crate) mod frames;
pub(crate) mod head;
pub(crate) mod http2;
pub(crate) mod listen;
pub(crate) mod proxies;
pub(crate) mod server;
pub(crate) mod siege;
pub(crate) mod tls;
pub(crate) mod tokens;
