//! Budgets: how many deletes may be accepted in any stretch of time, for whom and for what.
//!
//! This module knows what `budgets.yaml` says and which counters a delete belongs to;
//! `crate::budget` counts.

mod read;
#[cfg(test)]
mod tests;

pub(super) use self::read::{Named, named, read, usual};

use crate::policy::engine::condition::Condition;
use crate::policy::engine::facts::Facts;
use crate::policy::engine::truth::Truth;
use crate::policy::language::document::Effect;
use crate::policy::{Attribute, Attributes, Query, Sources};

use aws_lc_rs::digest;
use jiff::SignedDuration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The file of the budgets in a policy directory.
pub const BUDGETS: &str = "budgets.yaml";

/// The longest time that a budget looks back.
pub const WITHIN_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The most budgets of a directory.
pub const BUDGETS_MAX: usize = 32;

/// The most deletes of one budget.
pub const DELETES_MAX: u32 = 100_000;

/// The budgets of one version of the policies, in the order of the file.
#[derive(Debug)]
pub struct Budgets {
    list: Vec<Budget>,
    id: u64,
}

/// One budget.
#[derive(Debug)]
pub struct Budget {
    name: Arc<str>,
    per: Per,
    deletes: u32,
    share: u32,
    within: SignedDuration,
    when: Vec<Condition>,
    /// The sources of the job's facts that `when` and `per` name.
    sources: Sources,
    scope: String,
}

/// What has a counter of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// All deletes together.
    All,
    /// The members of this group, qualified, together.
    Group(String),
    /// Each pool of the job.
    Pool,
    /// Each principal.
    Principal,
    /// Each project.
    Project,
    /// Each identity source.
    Source,
    /// Each value of this tag of the principal.
    Tag(String),
}

/// The key of the one counter of [`Per::All`].
pub const KEY_ALL: &str = "*";

/// The key of principals without the tag, or jobs without a pool.
pub const KEY_ABSENT: &str = "";

/// The key of a job whose pools are not known.
pub const KEY_UNKNOWN: &str = "?";

/// Whose counter has the key `key`; `None` if it is shared.
#[must_use]
pub fn whose(key: &str) -> Option<&str> {
    (![KEY_ABSENT, KEY_ALL, KEY_UNKNOWN].contains(&key)).then_some(key)
}

/// A counter that one delete takes a unit of.
#[derive(Clone, Debug)]
pub struct Charge<'a> {
    /// The budget.
    pub budget: &'a Budget,
    /// The budget's place in the list.
    pub number: usize,
    /// The key of its counter.
    pub key: Cow<'a, str>,
}

impl Default for Budgets {
    /// The default budgets, if no other process shares them.
    fn default() -> Self {
        Self::usual(1)
    }
}

impl Budgets {
    /// The default budgets, for a directory without budgets.yaml: 50 deletes by one principal in
    /// any hour, 500 in one project in any 24 hours.
    fn usual(replicas: u32) -> Self {
        let hours = SignedDuration::from_hours;
        let list = vec![
            Budget::new("per-principal", Per::Principal, 50, hours(1), replicas),
            Budget::new("per-project", Per::Project, 500, hours(24), replicas),
        ];
        Self::new(list)
    }

    /// The budgets in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Budget> {
        self.list.iter()
    }

    /// How far the longest of them looks back; `None` without budgets.
    #[must_use]
    pub fn within_max(&self) -> Option<SignedDuration> {
        self.list.iter().map(|it| it.within).max()
    }

    /// The counters that a delete belongs to. If facts of the job are unknown, it belongs to more
    /// counters, never to fewer.
    pub fn charges<'a>(
        &'a self,
        query: &'a Query,
        attributes: &'a Attributes,
    ) -> impl Iterator<Item = Charge<'a>> {
        let facts = Facts { query, attributes };
        let fitting = self.list.iter().enumerate().filter(move |(_, it)| it.holds(facts));
        fitting.flat_map(move |(number, budget)| {
            budget.keys(facts).map(move |key| Charge { budget, number, key })
        })
    }

    /// The first budget without room for a delete, if each has already counted what `spent` says.
    pub(super) fn overspent<'a>(
        &'a self,
        query: &'a Query,
        attributes: &'a Attributes,
        spent: &BTreeMap<String, u64>,
    ) -> Option<&'a Budget> {
        let full =
            |it: &Budget| spent.get(&*it.name).is_some_and(|spent| u64::from(it.share) <= *spent);
        self.charges(query, attributes).map(|it| it.budget).find(|it| full(it))
    }

    fn new(list: Vec<Budget>) -> Self {
        let terms =
            |it: &Budget| format!("{}\0{}\0{}\0{:?}\0", it.name, it.scope, it.share, it.within);
        let terms: String = list.iter().map(terms).collect();
        let hash = digest::digest(&digest::SHA256, terms.as_bytes());
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Self { list, id: u64::from_be_bytes(first) }
    }

    /// A number that two versions of the budgets share only if they count alike.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Budget {
    /// A budget without conditions.
    fn new(name: &str, per: Per, deletes: u32, within: SignedDuration, replicas: u32) -> Self {
        let scope = per.to_string();
        Self {
            name: Arc::from(name),
            sources: Sources { details: per == Per::Pool, tags: false },
            per,
            deletes,
            share: deletes / replicas.max(1),
            within,
            when: Vec::new(),
            scope,
        }
    }

    /// Its name, unique in its directory: lower-case letters, digits and hyphens.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many deletes it allows, over all processes.
    #[must_use]
    pub fn deletes(&self) -> u32 {
        self.deletes
    }

    /// How many deletes it allows to this process.
    #[must_use]
    pub fn share(&self) -> u32 {
        self.share
    }

    /// How far it looks back.
    #[must_use]
    pub fn within(&self) -> SignedDuration {
        self.within
    }

    /// What it counts and for whom, as text: budgets with the same text count the same deletes.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    pub(super) fn when(&self) -> &[Condition] {
        &self.when
    }

    fn holds(&self, facts: Facts<'_>) -> bool {
        let of_group = match &self.per {
            Per::Group(group) => facts.query.principal.groups().contains(group),
            _ => true,
        };
        // In doubt a budget counts, as a Deny in doubt denies.
        of_group && self.when.iter().all(|it| it.holds(Effect::Deny, facts) != Truth::False)
    }

    fn keys<'a>(&'a self, facts: Facts<'a>) -> impl Iterator<Item = Cow<'a, str>> {
        let Facts { query, attributes } = facts;
        let principal = &query.principal;
        let (one, several) = match &self.per {
            Per::All => (Some(KEY_ALL), &[][..]),
            Per::Group(group) => (Some(group.as_str()), &[][..]),
            Per::Pool => match &attributes.pool_id {
                Attribute::Value(pools) => (None, pools.as_slice()),
                Attribute::Absent => (Some(KEY_ABSENT), &[][..]),
                _ => (Some(KEY_UNKNOWN), &[][..]),
            },
            Per::Principal => (Some(principal.id()), &[][..]),
            Per::Project => (Some(query.job.project_id.as_str()), &[][..]),
            Per::Source => (Some(principal.source()), &[][..]),
            Per::Tag(tag) => {
                (Some(principal.tags().get(tag).map_or(KEY_ABSENT, String::as_str)), &[][..])
            }
        };
        one.into_iter().chain(several.iter().map(String::as_str)).map(Cow::Borrowed)
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Group(it) => write!(f, "group:{it}"),
            Self::Pool => f.write_str("pool"),
            Self::Principal => f.write_str("principal"),
            Self::Project => f.write_str("project"),
            Self::Source => f.write_str("source"),
            Self::Tag(it) => write!(f, "tag:{it}"),
        }
    }
}
