//! The other side: what the cloud answers, keys, regions, the emulator.

pub(crate) mod answers;
pub(crate) mod cloud;
pub(crate) mod cloud_tls;
pub(crate) mod credentials;
pub(crate) mod emulator;
pub(crate) mod regions;
pub(crate) mod settle;
pub(crate) mod sign;
