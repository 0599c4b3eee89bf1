//! What tests are made of: a whole gate, processes, clients, certificates, the reference interpreter.

pub(crate) mod binary;
pub(crate) mod collector;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod pki;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod reference;
pub(crate) mod toy;
pub(crate) mod world;
