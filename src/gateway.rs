//! The life of one request, from the listener to the ledger.

pub mod refusal;

pub use self::refusal::HeadFault;
pub use self::refusal::Refusal;
