//! What was found, counted: by class and deciding statement.

use super::Said;
use crate::ledger::Asked;
use crate::ledger::record::ShadowError;
use crate::policy::{Answer, Attributes, Query, budget_of};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many principals of a group are counted one by one; the others together.
pub const PRINCIPALS_MAX: usize = 20;

/// How an answer differs from the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The version that judged says something else today: the engine has changed, or the ledger
    /// is not what was written.
    Drift,
    /// Denied before, allowed now.
    Gained,
    /// Undecided before, allowed now: without what the other wanted to know.
    GainedBlind,
    /// Allowed before, denied now.
    Revoked,
    /// Decided before, undecided now.
    Stalled,
    /// Undecided before, denied now.
    Cleared,
    /// The candidate depends on the job's details, which were not asked for.
    NeedsDetails,
    /// The candidate depends on the job's tags, which were not asked for.
    NeedsTags,
    /// The candidate depends on both.
    NeedsDetailsAndTags,
    /// The candidate's budgets depend on deletes that are not in what was read.
    NeedsPast,
    /// The candidate could not be loaded, so it said nothing.
    NotLoaded,
    /// The same answer by another statement.
    Statement,
}

/// Decisions that differ in the same way.
#[derive(Debug)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// When the first was made.
    pub first: Timestamp,
    /// When the last was made.
    pub last: Timestamp,
    /// How many of which principal, up to [`PRINCIPALS_MAX`].
    pub principals: BTreeMap<String, u64>,
    /// How many of others.
    pub others: u64,
    /// The first of them.
    pub example: Example,
}

/// A decision that differs.
#[derive(Debug)]
pub struct Example {
    /// What was asked.
    pub query: Query,
    /// What was known of the job.
    pub attributes: Attributes,
    /// Who decided before.
    pub was: (Answer, Option<String>),
    /// What the candidate says; of [`Class::Drift`], what the record says.
    pub says: (Answer, Option<String>),
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// The decisions that were looked at.
    pub decisions: u64,
    /// Of these, the ones that do not differ.
    pub same: u64,
    /// Of these, the ones whose policy version is not in the ledger.
    pub without_policies: u64,
    /// Of these, the ones that were made without shadow policies.
    pub without_shadow: u64,
    /// Requests that were refused for their rate, and of which nothing else is known.
    pub suppressed: u64,
    /// Records of kinds that this program does not know.
    pub unknown_kinds: u64,
    /// What differs, by class and deciding statement.
    #[serde(skip)]
    pub groups: BTreeMap<(Class, String), Group>,
}

impl Class {
    /// The class of `before` and `after`; `None` if they are the same answer.
    #[must_use]
    pub fn of(before: Answer, after: Answer) -> Option<Self> {
        use Answer::{Allow, Deny, Indeterminate};
        match (before, after) {
            (Allow, Allow) | (Deny, Deny) | (Indeterminate, Indeterminate) => None,
            (Deny, Allow) => Some(Self::Gained),
            (Indeterminate, Allow) => Some(Self::GainedBlind),
            (Allow, Deny) => Some(Self::Revoked),
            (Allow | Deny, Indeterminate) => Some(Self::Stalled),
            (Indeterminate, Deny) => Some(Self::Cleared),
        }
    }

    /// More is allowed than before.
    #[must_use]
    pub fn widens(self) -> bool {
        matches!(self, Self::Gained | Self::GainedBlind)
    }

    /// What the candidate would have said is not known.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::NeedsDetails
                | Self::NeedsTags
                | Self::NeedsDetailsAndTags
                | Self::NeedsPast
                | Self::NotLoaded
        )
    }

    /// Its word, as reports and lists of accepted differences use it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Gained => "gained",
            Self::GainedBlind => "gained_blind",
            Self::Revoked => "revoked",
            Self::Stalled => "stalled",
            Self::Cleared => "cleared",
            Self::NeedsDetails => "needs_details",
            Self::NeedsTags => "needs_tags",
            Self::NeedsDetailsAndTags => "needs_details_and_tags",
            Self::NeedsPast => "needs_past",
            Self::NotLoaded => "not_loaded",
            Self::Statement => "statement",
        }
    }

    /// What it means, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Drift => "the version that judged says something else today",
            Self::Gained => "denied before, allowed now",
            Self::GainedBlind => "undecided before, allowed now",
            Self::Revoked => "allowed before, denied now",
            Self::Stalled => "decided before, undecided now",
            Self::Cleared => "undecided before, denied now",
            Self::NeedsDetails => "depends on the job's details, which were not asked for",
            Self::NeedsTags => "depends on the job's tags, which were not asked for",
            Self::NeedsDetailsAndTags => "depends on details and tags, which were not asked for",
            Self::NeedsPast => "depends on deletes that are not in what was read",
            Self::NotLoaded => "the candidate could not be loaded",
            Self::Statement => "the same answer by another statement",
        }
    }
}

impl From<ShadowError> for Class {
    fn from(error: ShadowError) -> Self {
        match error {
            ShadowError::NotLoaded => Self::NotLoaded,
            ShadowError::NeedsDetails => Self::NeedsDetails,
            ShadowError::NeedsDetailsAndTags => Self::NeedsDetailsAndTags,
            ShadowError::NeedsTags => Self::NeedsTags,
        }
    }
}

impl Tally {
    /// Counts a decision that differs. Its group is the statement that decides now, or, where none
    /// does, the one that decided before; if a budget had denied what is now allowed, that budget.
    pub(super) fn add(
        &mut self,
        class: Class,
        time: Timestamp,
        asked: &Asked<'_>,
        (was, says): (&Said<'_>, &Said<'_>),
    ) {
        let budget = was.by.filter(|it| budget_of(it).is_some() && says.answer == Answer::Allow);
        let by = budget.or(says.by).or(was.by).unwrap_or("nobody");
        let owned = |it: &Said<'_>| (it.answer, it.by.map(str::to_owned));
        let group = self.groups.entry((class, by.to_owned())).or_insert_with(|| Group {
            count: 0,
            first: time,
            last: time,
            principals: BTreeMap::new(),
            others: 0,
            example: Example {
                query: asked.query.clone(),
                attributes: asked.attributes.clone(),
                was: owned(was),
                says: owned(says),
            },
        });
        group.count += 1;
        group.first = group.first.min(time);
        group.last = group.last.max(time);
        let principal = asked.query.principal.id();
        let is_full = PRINCIPALS_MAX <= group.principals.len();
        match group.principals.get_mut(principal) {
            Some(count) => *count += 1,
            None if is_full => group.others += 1,
            None => drop(group.principals.insert(principal.to_owned(), 1)),
        }
    }
}
