//! Evaluation: `¬D ∧ C ∧ A` in Kleene's three-valued logic.
//!
//! D = some Deny matches, C = some guardrail Allow matches (or there is none), A = some attached
//! identity Allow matches. Attached policies are found by hash look-ups, so that the cost does not
//! grow with policies of others. An allow without variables next to other text allocates nothing.

use crate::policy::engine::facts::Facts;
use crate::policy::engine::set::Statement;
use crate::policy::engine::truth::Truth;
use crate::policy::{
    Action, Attributes, Decision, Denial, Doubt, Permit, Query, Reason, Set, Sources, StatementName,
};

use std::collections::BTreeSet;

/// Whether some statement of a list matches: the first that does, and the sources that the
/// undecided ones name.
struct FirstMatch<'a> {
    truth: Truth,
    /// The number of the policy and the statement that makes it true.
    first: Option<(u32, &'a Statement)>,
    wanted: Sources,
}

impl Set {
    /// Judges `query` with what is known of the job. Never fails: the answer is
    /// [`Decision::Indeterminate`] if, and only if, something unknown could change it.
    ///
    /// If several statements would decide, the first one is named: guardrails before identity,
    /// files by the bytes of their paths, statements as written.
    #[must_use]
    pub fn evaluate(&self, query: &Query, attributes: &Attributes) -> Decision {
        let facts = Facts { query, attributes };

        let mut deny = FirstMatch::new();
        deny.look(0, &self.guardrails.denies, facts);
        if let Some(denied) = deny.denied() {
            return denied;
        }
        let mut allow = FirstMatch::new();
        self.attachments.each(query, |number| {
            if let Some(policy) = self.identity.get(number as usize) {
                deny.look(number, &policy.denies, facts);
                allow.look(number, &policy.allows, facts);
            }
        });
        if let Some(denied) = deny.denied() {
            return denied;
        }
        let mut ceiling = FirstMatch::new();
        match self.has_ceiling {
            true => ceiling.look(0, &self.guardrails.allows, facts),
            false => ceiling.truth = Truth::True,
        }

        let denial = |reason| Decision::Deny(Denial { reason, statement: None });
        match (deny.truth, ceiling.truth, allow.truth) {
            (_, Truth::False, _) => denial(Reason::OutsideGuardrails),
            (_, _, Truth::False) => denial(Reason::NothingAllows),
            (Truth::False, Truth::True, Truth::True) => match allow.name() {
                Some(name) => Decision::Allow(Permit::new(query, name)),
                None => denial(Reason::NothingAllows),
            },
            _ => {
                let wanted = deny.wanted.union(ceiling.unsettled()).union(allow.unsettled());
                Decision::Indeterminate(Doubt { wanted })
            }
        }
    }

    /// The names of the keys that leave `query` undecided, in order: what would have to be known of
    /// the request or its job. Too slow for every request, because it walks through all statements
    /// that could decide.
    #[must_use]
    pub fn undecided(&self, query: &Query, attributes: &Attributes) -> BTreeSet<String> {
        let facts = Facts { query, attributes };
        let statements = self.statements_about(query);
        let undecided = statements.filter(|it| it.matches(facts) == Truth::Unknown);
        undecided
            .flat_map(|it| it.conditions.iter().map(move |condition| (it.effect, condition)))
            .filter(|(effect, condition)| condition.holds(*effect, facts) == Truth::Unknown)
            .map(|(_, condition)| condition.key.to_string())
            .collect()
    }
}

impl<'a> FirstMatch<'a> {
    fn new() -> Self {
        Self { truth: Truth::False, first: None, wanted: Sources::default() }
    }

    /// Searches the policy with this number for a match, unless an earlier policy has one.
    fn look(&mut self, number: u32, statements: &'a [Statement], facts: Facts<'_>) {
        if self.first.is_some_and(|(first, _)| first <= number) {
            return;
        }
        for statement in statements {
            match statement.matches(facts) {
                Truth::True => {
                    self.truth = Truth::True;
                    self.first = Some((number, statement));
                    break;
                }
                Truth::Unknown => {
                    self.truth = self.truth.max(Truth::Unknown);
                    self.wanted = self.wanted.union(statement.sources);
                }
                Truth::False => (),
            }
        }
    }

    fn name(&self) -> Option<StatementName> {
        self.first.map(|(_, it)| it.name.clone())
    }

    fn denied(&self) -> Option<Decision> {
        let statement = Some(self.name()?);
        Some(Decision::Deny(Denial { reason: Reason::ExplicitDeny, statement }))
    }

    /// The sources that could still make it true or false.
    fn unsettled(&self) -> Sources {
        match self.truth {
            Truth::Unknown => self.wanted,
            Truth::False | Truth::True => Sources::default(),
        }
    }
}

impl Statement {
    pub(in crate::policy) fn is_about(&self, action: Action) -> bool {
        self.actions.cover(action, self.effect)
    }

    /// Whether action, resource and conditions all hold.
    pub(in crate::policy) fn matches(&self, facts: Facts<'_>) -> Truth {
        if !self.is_about(facts.query.action) {
            return Truth::False;
        }
        let resource = match &self.resource {
            Some(it) => it.holds(self.effect, facts),
            None => Truth::True,
        };
        if resource == Truth::False {
            return Truth::False;
        }
        let conditions = self.conditions.iter().map(|it| it.holds(self.effect, facts));
        resource.min(Truth::all(conditions))
    }
}
