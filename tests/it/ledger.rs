//! What reads the ledger: audit, shipping.

pub(crate) mod audit;
pub(crate) mod ship;
