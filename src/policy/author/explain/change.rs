//! What a key holds, and what it would have to hold instead.

use crate::policy::engine::facts::Fact;
use crate::policy::engine::point::{Point, Variable};
use crate::policy::language::key::Key;

use serde::Serialize;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "values", rename_all = "lowercase")]
pub enum Actual {
    /// Nothing.
    Absent,
    /// Not known.
    Unavailable,
    /// Its values as text.
    #[serde(rename = "value")]
    Values(Vec<String>),
}

/// One key that would have to hold something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key, such as `modelarts:poolId`.
    pub key: String,
    /// What it holds now.
    pub from: Actual,
    /// What it would have to hold; for `lychgate:groups`, all groups with the new one.
    pub to: Actual,
    /// The Denies of the guardrails that would no longer apply to the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifts: Vec<String>,
}

impl Actual {
    pub(super) fn of(key: &Key, world: &Point) -> Self {
        world.facts().get(key).into()
    }
}

impl From<Fact<'_>> for Actual {
    fn from(it: Fact<'_>) -> Self {
        match it {
            Fact::Absent => Self::Absent,
            Fact::Unavailable => Self::Unavailable,
            Fact::One(it) => Self::Values(vec![it.into_text().into_owned()]),
            Fact::Several(them) => Self::Values(them.to_vec()),
        }
    }
}

/// Whether the key may hold something else without making it another caller or another job. What
/// says who asks for which job is there in every request; so is the time, which may change.
pub(super) fn is_changeable(key: &Key) -> bool {
    Variable::of(key).is_some_and(|it| it == Variable::Now || it.may_be_absent())
}
