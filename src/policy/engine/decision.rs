//! The answer to a [`Query`].

use crate::policy::{Action, Job, Query, Sources};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What the policies say: `¬D ∧ C ∧ A` in Kleene's three-valued logic, where D = some Deny matches,
/// C = some guardrail Allow matches (or there is none), A = some attached identity Allow matches.
#[derive(Debug)]
pub enum Decision {
    /// The formula is true.
    Allow(Permit),
    /// The formula is false.
    Deny(Denial),
    /// The formula is unknown.
    Indeterminate(Doubt),
}

/// A decision in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Not decided.
    Indeterminate,
}

impl Answer {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Indeterminate];

    /// The word that suites, reports and records use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Indeterminate => "indeterminate",
        }
    }
}

impl Decision {
    /// The decision in one word.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Allow(_) => Answer::Allow,
            Self::Deny(_) => Answer::Deny,
            Self::Indeterminate(_) => Answer::Indeterminate,
        }
    }

    /// The denial, if it is one.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Deny(denial) => Some(denial),
            Self::Allow(_) | Self::Indeterminate(_) => None,
        }
    }

    /// The statement that decided, where one did.
    #[must_use]
    pub fn statement(&self) -> Option<&StatementName> {
        match self {
            Self::Allow(permit) => Some(permit.statement()),
            Self::Deny(denial) => denial.statement.as_ref(),
            Self::Indeterminate(_) => None,
        }
    }

    /// The decider as suites name it: the deciding statement, `ceiling` outside the guardrails,
    /// `none` if nothing allows. `None` if nothing is decided.
    #[must_use]
    pub fn decider(&self) -> Option<&str> {
        match self {
            Self::Allow(permit) => Some(permit.statement().as_str()),
            Self::Deny(Denial { statement: Some(name), .. }) => Some(name.as_str()),
            Self::Deny(Denial { reason: Reason::OutsideGuardrails, .. }) => Some(CEILING),
            Self::Deny(_) => Some(NONE),
            Self::Indeterminate(_) => None,
        }
    }
}

/// The decider of a request outside the guardrails.
pub(in crate::policy) const CEILING: &str = "ceiling";

/// The decider of a request that nothing allows.
pub(in crate::policy) const NONE: &str = "none";

/// How the decider begins for a request for which a budget has no room, as if the budget were a
/// statement of its file.
const BUDGET: &str = "budgets#";

/// The name of the budget that this decider names, if it names one.
#[must_use]
pub fn budget_of(decider: &str) -> Option<&str> {
    decider.strip_prefix(BUDGET)
}

/// Proof that the policies allow what was asked. Only an evaluation makes one, for the job and the
/// action that it was asked about; neither can be replaced, and sending spends it:
///
/// ```compile_fail,E0451
/// # use lychgate::policy::{Action, Job, Permit, StatementName};
/// # use std::sync::Arc;
/// fn forged(job: Arc<Job>, statement: StatementName) -> Permit {
///     Permit { action: Action::Delete, job, statement }
/// }
/// ```
///
/// ```compile_fail,E0616
/// # use lychgate::policy::{Job, Permit};
/// # use std::sync::Arc;
/// fn for_another_job(mut permit: Permit, other: Arc<Job>) -> Permit {
///     permit.job = other;
///     permit
/// }
/// ```
///
/// ```compile_fail,E0382
/// # fn send(_: lychgate::policy::Permit) {}
/// fn twice(permit: lychgate::policy::Permit) {
///     send(permit);
///     send(permit);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit is there to be spent"]
pub struct Permit {
    action: Action,
    job: Arc<Job>,
    statement: StatementName,
}

impl Permit {
    pub(in crate::policy) fn new(query: &Query, statement: StatementName) -> Self {
        Self { action: query.action, job: Arc::clone(&query.job), statement }
    }

    /// The job that may be deleted, once; `None` if no delete was asked for.
    #[must_use]
    pub fn spend(self) -> Option<Arc<Job>> {
        self.action.is_delete().then_some(self.job)
    }

    /// The identity statement that allows it.
    #[must_use]
    pub fn statement(&self) -> &StatementName {
        &self.statement
    }
}

/// A denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The first reason that is certain.
    pub reason: Reason,
    /// The deciding Deny, or the budget, as `budgets#<name>`; `None` for the other reasons.
    pub statement: Option<StatementName>,
}

impl Denial {
    /// The denial because the budget `name` has no room.
    #[must_use]
    pub fn over_budget(name: &str) -> Self {
        let statement = Some(StatementName::new(&format!("{BUDGET}{name}")));
        Self { reason: Reason::OverBudget, statement }
    }

    /// The budget without room.
    #[must_use]
    pub fn budget(&self) -> Option<&str> {
        let name = self.statement.as_ref().filter(|_| self.reason == Reason::OverBudget)?;
        budget_of(name.as_str())
    }
}

/// Why it is denied; the first reason in this order is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Some Deny statement matches.
    ExplicitDeny,
    /// The guardrails contain Allows and none of them matches.
    OutsideGuardrails,
    /// No attached identity Allow matches.
    NothingAllows,
    /// The policies allow it, but a budget has no room; an evaluation alone never says so.
    OverBudget,
}

/// The policies cannot decide without facts that are unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The sources that the undecided statements name. It does not help to ask a source again;
    /// empty if only facts of the request itself are unavailable.
    pub wanted: Sources,
}

/// Names a statement: `guardrails/protect#NoProd`, or `guardrails/protect#2` for the second
/// statement of a document when it has no `Sid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementName(Arc<str>);

impl StatementName {
    pub(in crate::policy) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StatementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
