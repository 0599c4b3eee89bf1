//! What reads the ledger: audit, shipping.

pub(crate) mod audit;
pub(crate) mod past_the_gate;
pub(crate) mod replay;
pub(crate) mod ship;
