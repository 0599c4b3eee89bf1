//! A decision with its reasons: what every statement says, and for a denial the way to an allow.

mod alphabet;
mod change;
#[cfg(test)]
mod tests;
mod way;

pub use self::change::{Actual, Change};
pub use self::way::Way;

use crate::policy::engine::condition::{Condition, Listed, Test};
use crate::policy::engine::facts::{Fact, Facts};
use crate::policy::engine::set::{Policy, Statement};
use crate::policy::engine::truth::Truth;
use crate::policy::language::diagnostic::Findings;
use crate::policy::language::document::Effect;
use crate::policy::language::json::Text;
use crate::policy::language::template::Part;
use crate::policy::language::{document, template};
use crate::policy::{Attributes, Charge, Decision, Limits, Place, Query, Set, Span, StatementName};

use serde::Serialize;
use std::collections::HashMap;

/// A decision with its reasons. It holds values of the request and the job, so it must not reach
/// callers.
#[derive(Debug)]
pub struct Explanation {
    /// What the policies say.
    pub decision: Decision,
    /// Every statement that could matter: the guardrails, then what is attached to the caller for
    /// the project, by file and place.
    pub statements: Vec<JudgedStatement>,
    /// The budgets that count the delete, in the order of the file; none if the policies do not
    /// allow it.
    pub budgets: Vec<Counted>,
    /// What would make it allowed; `None` if it is.
    pub way: Option<Way>,
}

/// A statement, judged.
#[derive(Debug)]
pub struct JudgedStatement {
    /// Its name.
    pub name: StatementName,
    /// Where it stands.
    pub place: Place,
    /// It is a Deny; otherwise it is an Allow.
    pub denies: bool,
    /// It is a guardrail; otherwise it is attached to the caller.
    pub is_guardrail: bool,
    /// Whether it matches: all its checks hold.
    pub holds: Truth,
    /// What it demands, as written: `Resource` or `NotResource` if there is one, then conditions.
    pub checks: Vec<Check>,
}

/// One thing that a statement demands.
#[derive(Debug)]
pub struct Check {
    /// The operator as written, `Resource` or `NotResource`.
    pub operator: String,
    /// The key as written; the resource of the request for `Resource` and `NotResource`.
    pub key: Option<String>,
    /// Where key or `Resource` stand in the file.
    pub span: Span,
    /// The values that it lists.
    pub expected: Vec<Expected>,
    /// What the key holds.
    pub actual: Actual,
    /// Whether it holds.
    pub holds: Truth,
    /// The key holds several values and the operator has no qualifier: in an Allow all of them must
    /// meet it, in a Deny one is enough.
    pub several: bool,
}

/// A budget that counts the delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Its name.
    pub name: String,
    /// The key of its counter.
    pub key: String,
    /// How many deletes fit in, over all gates.
    pub deletes: u32,
    /// How far it looks back.
    pub within_seconds: i64,
    /// How many deletes it has counted before, according to the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<u64>,
}

/// One listed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// As written.
    pub written: String,
    /// With its variables filled in; `None` if it has no variables, or they cannot be filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled: Option<String>,
}

impl Counted {
    fn new(it: Charge<'_>) -> Self {
        Self {
            name: it.budget.name().to_string(),
            key: it.key.into_owned(),
            deletes: it.budget.deletes(),
            within_seconds: it.budget.within().as_secs(),
            spent: None,
        }
    }
}

impl Set {
    /// Judges like [`Set::evaluate`] and says why. Judges every statement that could matter, and
    /// searches for other facts with which the request would be allowed, so it costs a great deal
    /// more.
    #[must_use]
    pub fn explain(&self, query: &Query, attributes: &Attributes) -> Explanation {
        let decision = self.evaluate(query, attributes);
        let way = match &decision {
            Decision::Allow(_) => None,
            Decision::Deny(_) | Decision::Indeterminate(_) => {
                Some(way::find(self, query, attributes))
            }
        };
        let statements = self.statements_of(query, attributes);
        let budgets = match &decision {
            Decision::Allow(_) => {
                self.budgets.charges(query, attributes).map(Counted::new).collect()
            }
            Decision::Deny(_) | Decision::Indeterminate(_) => Vec::new(),
        };
        Explanation { decision, statements, budgets, way }
    }

    /// Every statement that could matter, judged: the guardrails, then what is attached to the
    /// caller for the project, by file and place.
    #[must_use]
    pub fn statements_of(&self, query: &Query, attributes: &Attributes) -> Vec<JudgedStatement> {
        let facts = Facts { query, attributes };
        let mut written = Written { set: self, documents: HashMap::new() };
        let mut statements = Vec::new();
        judge(&self.guardrails, true, facts, &mut written, &mut statements);
        for policy in self.attached(query) {
            judge(policy, false, facts, &mut written, &mut statements);
        }
        statements
    }
}

fn judge<'a>(
    policy: &'a Policy,
    is_guardrail: bool,
    facts: Facts<'_>,
    written: &mut Written<'a>,
    res: &mut Vec<JudgedStatement>,
) {
    let start = res.len();
    for statement in policy.statements().filter(|it| it.is_about(facts.query.action)) {
        res.push(JudgedStatement {
            name: statement.name.clone(),
            place: statement.place.clone(),
            denies: statement.effect == Effect::Deny,
            is_guardrail,
            holds: statement.matches(facts),
            checks: written.checks(statement, facts),
        });
    }
    if let Some(added) = res.get_mut(start..) {
        added.sort_by(|a, b| a.place.cmp(&b.place));
    }
}

/// The documents that the statements come from, read again to show them as written.
struct Written<'a> {
    set: &'a Set,
    documents: HashMap<&'a str, Vec<document::Statement>>,
}

impl<'a> Written<'a> {
    fn checks(&mut self, statement: &'a Statement, facts: Facts<'_>) -> Vec<Check> {
        let (set, place) = (self.set, &statement.place);
        let document = self.documents.entry(&place.path).or_insert_with(|| read(set, &place.path));
        // The set has compiled, so every statement and all its conditions are found.
        let Some(raw) = document.iter().find(|it| it.span == place.span) else {
            return Vec::new();
        };
        let mut res = Vec::new();
        if let (Some(resource), Some(choice)) = (&statement.resource, &raw.resource) {
            res.push(Check {
                operator: (if choice.negated { "NotResource" } else { "Resource" }).to_owned(),
                key: None,
                span: choice.name,
                expected: expected(&choice.values, facts),
                actual: Actual::Values(vec![facts.query.urn()]),
                holds: resource.holds(statement.effect, facts),
                several: false,
            });
        }
        let conditions = statement.conditions.iter().zip(&raw.conditions);
        res.extend(conditions.map(|(condition, raw)| Check {
            operator: raw.operator.value.clone(),
            key: Some(raw.key.value.clone()),
            span: raw.key.span,
            expected: expected(&raw.values, facts),
            actual: facts.get(&condition.key).into(),
            holds: condition.holds(statement.effect, facts),
            several: is_several(condition, facts),
        }));
        res
    }
}

fn is_several(condition: &Condition, facts: Facts<'_>) -> bool {
    matches!(condition.test, Test::Listed(Listed { qualifier: None, .. }))
        && matches!(facts.get(&condition.key), Fact::Several([_, _, ..]))
}

fn read(set: &Set, path: &str) -> Vec<document::Statement> {
    // It has compiled, and no caller sets higher limits than the default.
    let (bytes, mut ignored) = (set.files.get(path).unwrap_or_default(), Vec::new());
    document::read(bytes, &Limits::default(), &mut Findings { path, found: &mut ignored })
}

fn expected(values: &[Text], facts: Facts<'_>) -> Vec<Expected> {
    let filled = |text: &str| {
        let parts = template::parse(text, true).ok()?;
        let variable = parts.iter().any(|it| matches!(it, Part::Variable(_)));
        Some(facts.fill(&parts).done().filter(|_| variable)?.into_owned())
    };
    let values = values.iter().map(|it| it.value.as_str());
    values.map(|it| Expected { written: it.to_owned(), filled: filled(it) }).collect()
}
