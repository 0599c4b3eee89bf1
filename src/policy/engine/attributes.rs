//! What is known of a job: the one table of its facts.
//!
//! A fact is a row of `job_facts!` and a field in the reader of the cloud's answer
//! (`attributes/answer.rs`), which does not compile without it. Conditions, records, suites,
//! `explain` and the comparison go through the table.

use crate::policy::language::kind::Kind;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A fact that a condition may ask for. Unknown is not absent: a condition on an attribute that is
/// unavailable, or was not asked for, is neither true nor false.
///
/// As text it is `{"value":…}`, `"absent"`, `"unavailable"` or `"not_asked"`, so that none of them
/// can be taken for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute<T> {
    /// Known and present.
    Value(T),
    /// Known to be missing.
    Absent,
    /// Asked for, but not found out.
    Unavailable,
    /// Not asked for, because nothing depended on it.
    #[default]
    NotAsked,
}

impl<T> Attribute<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(it) => Some(it),
            Self::Absent | Self::Unavailable | Self::NotAsked => None,
        }
    }

    /// Marks it as unavailable unless it is known.
    fn fail(&mut self) {
        if matches!(self, Self::NotAsked) {
            *self = Self::Unavailable;
        }
    }

    /// The same as another type; a value for which `f` returns `None` becomes absent.
    pub(in crate::policy) fn and_then<'a, U>(
        &'a self,
        value: impl FnOnce(&'a T) -> Option<U>,
    ) -> Attribute<U> {
        match self {
            Self::Value(it) => value(it).map_or(Attribute::Absent, Attribute::Value),
            Self::Absent => Attribute::Absent,
            Self::Unavailable => Attribute::Unavailable,
            Self::NotAsked => Attribute::NotAsked,
        }
    }
}

/// What a fact of a job holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Held<'a> {
    /// Whole seconds.
    Number(i64),
    /// One text.
    Text(&'a str),
    /// Several texts; an empty list counts as absent.
    Texts(&'a [String]),
}

/// A type that a fact of a job may have.
trait Holds: Sized {
    const KIND: Kind;
    const IS_SEVERAL: bool;
    fn held(&self) -> Held<'_>;
    fn of(held: &Held<'_>) -> Option<Self>;
}

impl Holds for i64 {
    const KIND: Kind = Kind::Number;
    const IS_SEVERAL: bool = false;

    fn held(&self) -> Held<'_> {
        Held::Number(*self)
    }

    fn of(held: &Held<'_>) -> Option<Self> {
        if let Held::Number(it) = held { Some(*it) } else { None }
    }
}

impl Holds for String {
    const KIND: Kind = Kind::Text;
    const IS_SEVERAL: bool = false;

    fn held(&self) -> Held<'_> {
        Held::Text(self)
    }

    fn of(held: &Held<'_>) -> Option<Self> {
        if let Held::Text(it) = held { Some((*it).to_owned()) } else { None }
    }
}

impl Holds for Vec<String> {
    const KIND: Kind = Kind::Text;
    const IS_SEVERAL: bool = true;

    fn held(&self) -> Held<'_> {
        Held::Texts(self)
    }

    fn of(held: &Held<'_>) -> Option<Self> {
        let Held::Texts(them) = held else { return None };
        (!them.is_empty()).then(|| them.to_vec())
    }
}

macro_rules! job_facts {
    ($(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $fact:ident, $condition:literal, $case:literal, $values:expr;
    )*) => {
        /// What is known of the job. `default()` is the state before anything was asked.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
        pub struct Attributes {
            $(
                #[doc = concat!("`", $condition, "`.")]
                $(#[$doc])*
                pub $field: Attribute<$type>,
            )*
            /// `g:ResourceTag/<key>`; a job without tags has an empty map, not `Absent`.
            pub tags: Attribute<BTreeMap<String, String>>,
        }

        /// A fact that the job's details tell: all but its tags.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum JobFact {
            $(
                #[doc = concat!("`", $condition, "`.")]
                $fact,
            )*
        }

        impl JobFact {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$fact),*];

            /// The fields that a case of a suite may state of its job.
            pub(in crate::policy) const FIELDS: &'static [&'static str] =
                &[$($case,)* "tags", "unavailable"];

            /// The condition key.
            #[must_use]
            pub fn condition(self) -> &'static str {
                match self {
                    $(Self::$fact => $condition,)*
                }
            }

            /// Its name in a case of a suite.
            #[must_use]
            pub fn case(self) -> &'static str {
                match self {
                    $(Self::$fact => $case,)*
                }
            }

            pub(in crate::policy) fn kind(self) -> Kind {
                match self {
                    $(Self::$fact => <$type as Holds>::KIND,)*
                }
            }

            pub(in crate::policy) fn is_several(self) -> bool {
                match self {
                    $(Self::$fact => <$type as Holds>::IS_SEVERAL,)*
                }
            }

            /// The values that it can have, where they are a closed list.
            pub(in crate::policy) fn values(self) -> Option<&'static [&'static str]> {
                match self {
                    $(Self::$fact => $values,)*
                }
            }
        }

        impl Attributes {
            /// What is known of one fact.
            #[must_use]
            pub fn get(&self, fact: JobFact) -> Attribute<Held<'_>> {
                match fact {
                    $(JobFact::$fact => self.$field.and_then(|it| Some(it.held())),)*
                }
            }

            /// Sets one fact; a value of the wrong type makes it absent.
            pub fn set(&mut self, fact: JobFact, to: Attribute<Held<'_>>) {
                match fact {
                    $(JobFact::$fact => self.$field = to.and_then(Holds::of),)*
                }
            }

            /// Notes that `sources` were asked: facts that they did not tell become unavailable.
            pub fn asked(&mut self, sources: Sources) {
                if sources.details {
                    $(self.$field.fail();)*
                }
                if sources.tags {
                    self.tags.fail();
                }
            }
        }
    };
}

impl Attributes {
    /// The sources that were asked: those whose facts are not [`Attribute::NotAsked`].
    #[must_use]
    pub fn sources(&self) -> Sources {
        let details = !matches!(self.phase, Attribute::NotAsked);
        Sources { details, tags: !matches!(self.tags, Attribute::NotAsked) }
    }
}

// Kinds and phases: ModelArts API reference, ShowTrainingJobDetails.
job_facts! {
    /// Several for a heterogeneous job, never an empty list.
    pool_id: Vec<String> = PoolId, "modelarts:poolId", "pool_id", None;
    /// Several for a heterogeneous job, never an empty list.
    pool_type: Vec<String> = PoolType, "modelarts:poolType", "pool_type", None;
    phase: String = Phase, "lychgate:jobPhase", "phase", Some(&[
        "Abnormal", "Completed", "Creating", "Failed", "Pending", "Running", "Terminated",
        "Terminating",
    ]);
    kind: String = Kind, "lychgate:jobKind", "kind", Some(&[
        "autosearch_job", "diag_job", "edge_job", "federated_pool_job", "hetero_job", "job",
        "mrs_job", "visualization_job",
    ]);
    name: String = Name, "lychgate:jobName", "name", None;
    /// A Huawei user name.
    owner: String = Owner, "lychgate:jobOwner", "owner", None;
    /// Whole seconds since creation.
    age: i64 = Age, "lychgate:jobAge", "age", None;
    workspace_id: String = Workspace, "lychgate:workspaceId", "workspace", None;
}

/// The two places where attributes come from, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The job's details: everything but the tags.
    pub details: bool,
    /// The job's tags.
    pub tags: bool,
}

impl Sources {
    /// Nothing is wanted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        !self.details && !self.tags
    }

    /// The sources in `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { details: self.details && !other.details, tags: self.tags && !other.tags }
    }

    /// The sources in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { details: self.details || other.details, tags: self.tags || other.tags }
    }
}
