//! The policy engine: documents in, decisions out. Pure: no clock, no file, no network, no
//! asynchrony, no HTTP.
//!
//! [`Set::compile`] turns the [`Files`] of a policy directory into a [`Set`] or reports what is
//! wrong with them; [`Set::evaluate`] answers a [`Query`]. docs/policy-language.md describes the
//! language.

mod author;
mod budget;
mod compile;
mod diff;
mod engine;
mod language;

pub use self::author::explain::{
    Actual, Change, Check, Counted, Expected, Explanation, JudgedStatement, Way,
};
pub use self::author::render::{Complaint, render};
pub use self::author::suite::{Case, Coverage, Suites, beside};
pub use self::budget::{
    BUDGETS, BUDGETS_MAX, Budget, Budgets, Charge, DELETES_MAX, KEY_ABSENT, KEY_ALL, KEY_UNKNOWN,
    Per, WITHIN_MAX, whose,
};
pub use self::compile::{GateSetup, Setup, SourceSetup};
pub use self::diff::{
    Cause, Comparison, Could, Difference, Effort, Receiver, Shift, Undecided, Verdict,
};
pub use self::engine::attributes::{Attribute, Attributes, Held, JobFact, Sources};
pub use self::engine::decision::{
    Answer, Decision, Denial, Doubt, Permit, Reason, StatementName, budget_of,
};
pub use self::engine::principal::{Method, Principal};
pub use self::engine::query::{Action, Job, Query};
pub use self::engine::set::{Compiled, Place, Set};
pub use self::engine::truth::Truth;
pub use self::language::diagnostic::{Code, Diagnostic, Severity, Span};
pub use self::language::files::Files;
pub use self::language::limits::Limits;

#[cfg(test)]
mod tests;
