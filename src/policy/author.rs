//! The authors' tools: suites of cases, explanations, findings as text.

pub(super) mod explain;
pub(super) mod render;
pub(super) mod suite;
