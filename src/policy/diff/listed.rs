//! Conditions as clauses over the classes of their key, and of the keys that their values name.

use super::asked;
use super::circuit::Truth;
use super::encode::{Bound, Model};
use super::parts::{self, Question};
use super::point::{Point, Setting, Variable};
use super::search::Literal;
use crate::policy::StatementName;
use crate::policy::engine::condition::{Condition, Listed, Test};
use crate::policy::engine::truth::Truth as Kleene;
use crate::policy::language::document::Effect;
use crate::policy::language::key::Key;
use crate::policy::language::operator::Qualifier;
use crate::policy::language::template::Part;

use std::collections::HashMap;

/// A listed value with variables.
#[derive(Debug)]
pub(super) struct Value {
    /// True if a variable without default is absent, or can never be filled in.
    unfillable: Literal,
    /// True if a variable is unavailable.
    unknown: Literal,
    /// The question for each combination of absent variables.
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    when: Literal,
    question: Question,
    /// The answer has to be negated.
    turned: bool,
    /// The number of the relation; `None` if no variable is left.
    relation: Option<usize>,
}

/// What leaves that a condition judges alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The answer does not depend on the listed values.
    Certain(Kleene),
    /// The answer of the values without variables, and of each way of each other value if the leaf
    /// determines it.
    Compared(bool, Vec<Option<bool>>),
}

impl Bound {
    /// How the condition judges each leaf of the tree.
    fn kinds(&self, condition: &Condition, effect: Effect, values: &[Value]) -> Vec<Kind> {
        let known = parts::known(condition);
        let ways: Vec<_> = values.iter().flat_map(|it| &it.ways).collect();
        let mut res = Vec::new();
        for (leaf, [plain, read]) in self.domain.leaves.iter().zip(&self.worlds) {
            let world = if parts::is_plain(condition) { plain } else { read };
            let facts = world.facts();
            let says = known.holds(effect, facts);
            let is_there = !matches!(leaf.setting, Setting::Absent | Setting::Unavailable);
            let settled = match &condition.test {
                Test::Listed(it) => (says == Kleene::True) != it.negated,
                Test::Null { .. } | Test::Unknowable => true,
            };
            let certain =
                settled || !is_there || values.is_empty() || !parts::is_readable(condition, facts);
            for combination in 0..self.combinations() {
                res.push(match certain {
                    true => Kind::Certain(says),
                    false => {
                        let answer = |way: &&Way| match way.relation {
                            None => Some(way.question.holds(facts)),
                            Some(it) => Some(combination >> self.bit(it)? & 1 == 1),
                        };
                        Kind::Compared(says == Kleene::True, ways.iter().map(answer).collect())
                    }
                });
            }
        }
        res
    }
}

impl Model {
    /// `g:PrincipalUrn` has no variable: it follows from the account and the caller.
    pub(super) fn urn(&mut self, condition: &Condition, effect: Effect) -> Truth {
        let (Some(accounts), Some(callers)) =
            (self.bounds.get(&Variable::Account), self.bounds.get(&Variable::Caller))
        else {
            return self.circuit.truth(false);
        };
        let mut res = Vec::new();
        for (account, [world, _]) in accounts.worlds.iter().enumerate() {
            let mut world = world.clone();
            let holds: Vec<_> = callers
                .worlds
                .iter()
                .map(|[caller, _]| {
                    world.query.principal = caller.query.principal.clone();
                    condition.holds(effect, world.facts()) == Kleene::True
                })
                .collect();
            let callers = callers.tree.any(&mut self.circuit, |at| holds.get(at) == Some(&true));
            let account = accounts.tree.leaf(account);
            res.push(self.circuit.all([callers].into_iter().chain(account)));
        }
        Truth::certain(self.circuit.any(res))
    }

    /// Encodes a condition on a key that is read from one variable.
    pub(super) fn asked_of(
        &mut self,
        variable: &Variable,
        condition: &Condition,
        effect: Effect,
        name: &StatementName,
    ) -> Truth {
        let ask = |parts| Question::new(condition, effect, parts);
        let templates = parts::templates(condition);
        let values: Vec<_> = templates.into_iter().map(|it| self.value(it, ask)).collect();
        let Some(bound) = self.bounds.get(variable) else {
            return self.left_open(name);
        };
        let several = variable.is_several();
        let relations = values.iter().flat_map(|it| &it.ways).filter_map(|it| it.relation);
        if several && relations.into_iter().any(|it| !bound.relations.contains(&it)) {
            return self.left_open(name);
        }
        let kinds = bound.kinds(condition, effect, &values);
        let mut numbers: HashMap<&Kind, usize> = HashMap::new();
        let mut groups = Vec::new();
        let mut of = Vec::new();
        for kind in &kinds {
            let number = *numbers.entry(kind).or_insert(groups.len());
            if number == groups.len() {
                groups.push(kind);
            }
            of.push(number);
        }
        let mut judged = Vec::new();
        for (number, kind) in groups.into_iter().enumerate() {
            let truth = match kind {
                Kind::Certain(it) => self.constant(*it),
                Kind::Compared(known, answers) => {
                    self.compared(condition, effect, &values, (*known, answers))
                }
            };
            let Some(bound) = self.bounds.get(variable) else {
                continue;
            };
            let chosen = bound.tree.any(&mut self.circuit, |at| of.get(at) == Some(&number));
            judged.push((chosen, truth));
        }
        match several {
            true => self.several(variable, condition, effect, &judged),
            false => self.one_of(&judged),
        }
    }

    /// Encodes a listed value; `ask` makes a question from it with its defaults filled in.
    pub(super) fn value(
        &mut self,
        parts: &[Part],
        ask: impl Fn(Vec<Part>) -> Option<(Question, bool)>,
    ) -> Value {
        let keys = asked::variables(parts);
        let bounds = keys.iter().filter_map(|it| self.bound_of(it));
        let unknown: Vec<_> = bounds.map(|it| it.unavailable).collect();
        let unknown = self.circuit.any(unknown);
        let mut unfillable = vec![];
        for part in parts {
            let Part::Variable(it) = part else {
                continue;
            };
            let holds = keys.contains(&&it.key);
            let never = matches!(it.key, Key::Unknowable(_)) || (!holds && it.default.is_none());
            match (never, holds && it.default.is_none()) {
                (true, _) => unfillable.push(self.circuit.constant(true)),
                (false, true) => unfillable.extend(self.bound_of(&it.key).map(|it| it.absent)),
                (false, false) => (),
            }
        }
        let mut ways = Vec::new();
        for (absent, filled) in asked::fillings(parts) {
            let when: Vec<_> = keys
                .iter()
                .filter_map(|key| {
                    let bound = self.bound_of(key)?;
                    Some(if absent.contains(key) { bound.absent } else { bound.present })
                })
                .collect();
            let when = self.circuit.all(when);
            if let Some((question, turned)) = ask(filled) {
                let relation = self.numbers.get(&question).copied();
                ways.push(Way { when, question, turned, relation });
            }
        }
        Value { unfillable: self.circuit.any(unfillable), unknown, ways }
    }

    /// The listed values together, for leaves with these answers.
    fn compared(
        &mut self,
        condition: &Condition,
        effect: Effect,
        values: &[Value],
        (known, answers): (bool, &[Option<bool>]),
    ) -> Truth {
        let mut truths = vec![self.circuit.truth(known)];
        let mut answers = answers.iter();
        for value in values {
            let mut met = Vec::new();
            for (way, answer) in value.ways.iter().zip(&mut answers) {
                let relation = way.relation.and_then(|it| self.relations.get(it));
                let answer = match (answer, relation) {
                    (Some(it), _) => self.circuit.constant(*it),
                    (None, Some(it)) => it.literal,
                    (None, None) => continue,
                };
                met.push(self.goes(way, answer));
            }
            truths.push(self.judge(value, effect, met));
        }
        match &condition.test {
            Test::Listed(Listed { negated: true, .. }) => self.circuit.all_true(&truths),
            _ => self.circuit.any_true(&truths),
        }
    }

    /// True if the value has come this way and the answer to its question meets it.
    fn goes(&mut self, way: &Way, answer: Literal) -> Literal {
        let answer = if way.turned { !answer } else { answer };
        self.circuit.all([way.when, answer])
    }

    /// Whether a value is met, where `met` is true if one of its ways meets it.
    fn judge(&mut self, value: &Value, effect: Effect, met: Vec<Literal>) -> Truth {
        let met = self.circuit.any(met);
        let met = self.circuit.all([!value.unfillable, !value.unknown, met]);
        let cautious = self.circuit.constant(effect == Effect::Deny);
        let cautious = self.circuit.all([value.unfillable, cautious]);
        let holds = self.circuit.any([met, cautious]);
        let unknown = self.circuit.all([!value.unfillable, value.unknown]);
        Truth { holds, may_hold: self.circuit.any([holds, unknown]) }
    }

    /// Encodes the fifth part of a resource.
    pub(super) fn judge_id(&mut self, value: &Value, effect: Effect) -> Truth {
        let mut met = Vec::new();
        for way in &value.ways {
            let answer = match way.relation.and_then(|it| self.relations.get(it)) {
                Some(it) => it.literal,
                None => self.chosen(&Variable::Job, |it| way.question.holds(it.facts())),
            };
            met.push(self.goes(way, answer));
        }
        self.judge(value, effect, met)
    }

    fn one_of(&mut self, judged: &[(Literal, Truth)]) -> Truth {
        let both = |truth: fn(&Truth) -> Literal| {
            judged.iter().map(move |(chosen, it)| [*chosen, truth(it)])
        };
        let (holds, may): (Vec<_>, Vec<_>) =
            both(|it| it.holds).zip(both(|it| it.may_hold)).unzip();
        let holds: Vec<_> = holds.into_iter().map(|it| self.circuit.all(it)).collect();
        let may: Vec<_> = may.into_iter().map(|it| self.circuit.all(it)).collect();
        Truth { holds: self.circuit.any(holds), may_hold: self.circuit.any(may) }
    }

    /// For several values: whether one is enough or every one has to hold, and the answer without
    /// any.
    fn several(
        &mut self,
        variable: &Variable,
        condition: &Condition,
        effect: Effect,
        judged: &[(Literal, Truth)],
    ) -> Truth {
        let all = match &condition.test {
            Test::Listed(Listed { qualifier: Some(it), .. }) => *it == Qualifier::All,
            Test::Listed(_) => effect == Effect::Allow,
            Test::Null { .. } | Test::Unknowable => false,
        };
        let Some(bound) = self.bounds.get(variable) else {
            return self.circuit.truth(false);
        };
        let (absent, unavailable, present) = (bound.absent, bound.unavailable, bound.present);
        let there = match all {
            false => self.one_of(judged),
            true => {
                let mut each = vec![Truth::certain(present)];
                for (chosen, truth) in judged {
                    each.push(Truth {
                        holds: self.circuit.any([!*chosen, truth.holds]),
                        may_hold: self.circuit.any([!*chosen, truth.may_hold]),
                    });
                }
                self.circuit.all_true(&each)
            }
        };
        let nothing = condition.holds(effect, Point::new().facts());
        let nothing = self.constant(nothing);
        let nothing = self.circuit.all_true(&[nothing, Truth::certain(absent)]);
        let unknown = Truth { holds: self.circuit.constant(false), may_hold: unavailable };
        self.circuit.any_true(&[there, nothing, unknown])
    }
}
