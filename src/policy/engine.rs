//! The engine: a compiled set of policies, a query, a three-valued decision.

pub(super) mod attributes;
pub(super) mod condition;
pub(super) mod decision;
pub(super) mod evaluate;
pub(super) mod facts;
pub(super) mod point;
pub(super) mod principal;
pub(super) mod query;
pub(super) mod set;
pub(super) mod truth;
