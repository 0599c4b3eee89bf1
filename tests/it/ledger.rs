//! What reads the ledger: audit, shipping.

pub(crate) mod audit;
pub(crate) mod replay;
pub(crate) mod ship;
