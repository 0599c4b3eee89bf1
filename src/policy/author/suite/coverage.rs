//! Which statements the cases of the suites have tested.

use crate::policy::engine::facts::Facts;
use crate::policy::engine::truth::Truth;
use crate::policy::{Attributes, Decision, Query, Set, StatementName};

use std::collections::HashSet;

/// Which statements have decided something: those that a decision names and, for a request inside
/// the guardrails, the first guardrail Allow that matches.
#[derive(Debug)]
pub struct Coverage<'a> {
    set: &'a Set,
    seen: HashSet<&'a StatementName>,
}

impl<'a> Coverage<'a> {
    /// Nothing has decided yet.
    #[must_use]
    pub fn new(set: &'a Set) -> Self {
        Self { set, seen: HashSet::new() }
    }

    /// Counts a decision of the set.
    pub fn add(&mut self, query: &Query, attributes: &Attributes, decision: &Decision) {
        let facts = Facts { query, attributes };
        let ceiling = || {
            let mut allows = self.set.guardrails.allows.iter();
            allows.find(|it| it.matches(facts) == Truth::True).map(|it| &it.name)
        };
        if let Decision::Allow(_) = decision {
            self.seen.extend(ceiling());
        }
        let decider = decision.decider();
        let decider = self.set.statements().find(|it| Some(it.name.as_str()) == decider);
        self.seen.extend(decider.map(|it| &it.name));
    }

    /// The statements that never decided anything, by file and place.
    #[must_use]
    pub fn undecided(&self) -> Vec<&'a StatementName> {
        let unseen = self.set.statements().filter(|it| !self.seen.contains(&it.name));
        let mut res: Vec<_> = unseen.collect();
        res.sort_by_key(|it| &it.place);
        res.into_iter().map(|it| &it.name).collect()
    }
}
