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

pub use self::decision::{Answer, Decision, Denial, Doubt, Permit, Reason, StatementName};
pub use self::diagnostic::{Code, Diagnostic, Severity, Span};
pub use self::explain::{Actual, Change, Check, Expected, Explanation, Holds, Judged, Way};
pub use self::files::Files;
pub use self::limits::Limits;
pub use self::principal::{Method, Principal};
pub use self::query::{Attribute, Attributes, Query, Sources};
pub use self::render::render;
pub use self::set::{Compiled, Place, Set};
pub use self::suite::{Case, Coverage, Suites};

/// The one action that the gate judges.
pub const ACTION: &str = "modelarts:trainJob:delete";

#[cfg(test)]
mod tests;
