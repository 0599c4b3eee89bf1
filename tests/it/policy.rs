//! The policy language: findings, the engine against the reference, docs and library.

pub(crate) mod findings;
pub(crate) mod policy_compare;
pub(crate) mod policy_diff;
pub(crate) mod policy_docs;
pub(crate) mod policy_library;
pub(crate) mod wrong_forms;
