//! The policy engine: documents in, decisions out. Pure: no clock, no file, no network, no
//! asynchrony, no HTTP.
//!
//! [`Set::compile`] turns the [`Files`] of a policy directory into a [`Set`] or says what is wrong
//! with them; [`Set::evaluate`] answers a [`Query`]. The language is that of docs/policy-language.md.

mod attachments;
mod compile;
mod condition;
mod decision;
mod diagnostic;
mod document;
mod evaluate;
mod explain;
mod facts;
mod files;
mod json;
mod key;
mod limits;
mod lint;
mod operator;
mod pattern;
mod principal;
mod query;
mod render;
mod set;
mod suggest;
mod suite;
mod template;
mod truth;
mod value;
mod yaml;

pub use self::decision::Answer;
pub use self::decision::Decision;
pub use self::decision::Denial;
pub use self::decision::Doubt;
pub use self::decision::Permit;
pub use self::decision::Reason;
pub use self::decision::StatementName;
pub use self::diagnostic::Code;
pub use self::diagnostic::Diagnostic;
pub use self::diagnostic::Severity;
pub use self::diagnostic::Span;
pub use self::explain::Actual;
pub use self::explain::Change;
pub use self::explain::Check;
pub use self::explain::Expected;
pub use self::explain::Explanation;
pub use self::explain::Holds;
pub use self::explain::Judged;
pub use self::explain::Way;
pub use self::files::Files;
pub use self::limits::Limits;
pub use self::principal::Method;
pub use self::principal::Principal;
pub use self::query::Attribute;
pub use self::query::Attributes;
pub use self::query::Query;
pub use self::query::Sources;
pub use self::render::render;
pub use self::set::Compiled;
pub use self::set::Place;
pub use self::set::Set;
pub use self::suite::Case;
pub use self::suite::Coverage;
pub use self::suite::Suites;

/// The one action that the gate judges.
pub const ACTION: &str = "modelarts:trainJob:delete";

#[cfg(test)]
mod tests;
