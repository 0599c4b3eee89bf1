//! The policy engine: documents in, decisions out. Pure: no clock, no file, no network, no
//! asynchrony, no HTTP.

mod decision;
mod principal;
mod query;

pub use self::decision::Decision;
pub use self::decision::Denial;
pub use self::decision::Doubt;
pub use self::decision::Permit;
pub use self::decision::Reason;
pub use self::decision::StatementName;
pub use self::principal::Method;
pub use self::principal::Principal;
pub use self::query::Attribute;
pub use self::query::Attributes;
pub use self::query::Query;
pub use self::query::Sources;

/// The one action that the gate judges.
pub const ACTION: &str = "modelarts:trainJob:delete";
