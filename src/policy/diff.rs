//! Two versions of the policies, compared for every possible request.
//!
//! docs/policy-diff.md describes the method. In short: what both versions ask cuts the values of
//! each variable of a request into finitely many classes (`space`); the statements become clauses
//! over them (`encode`, `listed`, `relation`); a search (`search`) finds an assignment for which
//! the two answer differently, or proves that there is none; and a request is made from the
//! assignment (`witness`) and judged by the engine under both versions before it is reported.

mod asked;
mod automaton;
mod circuit;
mod encode;
mod glob;
mod idle;
mod listed;
mod parts;
mod relation;
mod search;
mod space;
#[cfg(test)]
mod tests;
mod typed;
mod who;
mod witness;

pub use self::search::Effort;
pub use self::who::{Could, Receiver};

use self::circuit::Circuit;
use self::encode::{Encoded, Model, Side};
use self::search::{Exhausted, Literal};
use crate::policy::engine::point::Point;
use crate::policy::engine::{decision, point};
use crate::policy::{Action, Answer, Attributes, Decision, Query, Set};

use serde::Serialize;
use std::collections::BTreeSet;

/// How many assignments that no request could be made from are excluded before the search for such
/// a difference is given up.
const ASIDE_MAX: usize = 12;

/// How the answer to a request can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// Denied before, allowed now.
    Gained,
    /// Undecided before because something is unavailable, allowed now nevertheless.
    GainedBlind,
    /// Allowed before, denied now.
    Revoked,
    /// Decided before, undecided now because something is unavailable.
    Stalled,
    /// Undecided before, denied now.
    Cleared,
}

/// A request that the two versions answer differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// How.
    pub shift: Shift,
    /// What causes it: a statement, `ceiling` or `none`, and of which version.
    pub cause: Cause,
    /// The request; every fact in it is needed.
    pub query: Query,
    /// What is known of its job.
    pub attributes: Attributes,
    /// What the old version says.
    pub old: Verdict,
    /// What the new version says.
    pub new: Verdict,
}

/// What causes a difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A decider of the old version, which no longer decides.
    Old(String),
    /// A decider of the new version, which now decides.
    New(String),
}

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The decision in one word.
    pub answer: Answer,
    /// The deciding statement, `ceiling` or `none`; `None` if nothing is decided.
    pub decider: Option<String>,
}

/// Something that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Undecided {
    /// The kind of difference; `None` if it concerns all.
    pub shift: Option<Shift>,
    /// Why, and where.
    pub reason: String,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// One for each kind and cause, by kind.
    pub differences: Vec<Difference>,
    /// What is open: there may be more differences than those that were found.
    pub undecided: Vec<Undecided>,
    /// The request about which the comparison and the engine disagree, in which case the comparison
    /// is wrong.
    pub disagreement: Option<String>,
}

impl Shift {
    /// Every kind, the gravest first.
    pub const ALL: [Self; 5] =
        [Self::Gained, Self::GainedBlind, Self::Revoked, Self::Stalled, Self::Cleared];

    /// The word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::GainedBlind => "gained_blind",
            Self::Revoked => "revoked",
            Self::Stalled => "stalled",
            Self::Cleared => "cleared",
        }
    }

    /// The kind of change from one answer to another.
    #[must_use]
    pub fn between(old: Answer, new: Answer) -> Option<Self> {
        match (old, new) {
            (Answer::Deny, Answer::Allow) => Some(Self::Gained),
            (Answer::Indeterminate, Answer::Allow) => Some(Self::GainedBlind),
            (Answer::Allow, Answer::Deny) => Some(Self::Revoked),
            (Answer::Allow | Answer::Deny, Answer::Indeterminate) => Some(Self::Stalled),
            (Answer::Indeterminate, Answer::Deny) => Some(Self::Cleared),
            _ => None,
        }
    }
}

impl Verdict {
    fn new(decision: &Decision) -> Self {
        Self { answer: decision.answer(), decider: decision.decider().map(str::to_owned) }
    }

    fn decider(&self) -> String {
        self.decider.clone().unwrap_or_default()
    }

    fn is_by_statement(&self) -> bool {
        self.decider
            .as_ref()
            .is_some_and(|it| ![decision::CEILING, decision::NONE].contains(&it.as_str()))
    }
}

impl Cause {
    /// The cause of a change of answers: the Deny that was removed or added, else the Allow, else
    /// what decided before.
    fn new(shift: Shift, old: &Verdict, new: &Verdict) -> Self {
        match shift {
            Shift::Gained if old.is_by_statement() => Self::Old(old.decider()),
            Shift::Gained | Shift::GainedBlind | Shift::Cleared => Self::New(new.decider()),
            Shift::Revoked if new.is_by_statement() => Self::New(new.decider()),
            Shift::Revoked | Shift::Stalled => Self::Old(old.decider()),
        }
    }
}

impl Difference {
    /// The difference that a request shows; `None` if the two answers are the same.
    #[must_use]
    pub fn of(
        query: Query,
        attributes: Attributes,
        old: &Decision,
        new: &Decision,
    ) -> Option<Self> {
        let (old, new) = (Verdict::new(old), Verdict::new(new));
        let shift = Shift::between(old.answer, new.answer)?;
        Some(Self { shift, cause: Cause::new(shift, &old, &new), query, attributes, old, new })
    }
}

impl Comparison {
    /// Compares two versions: every difference of these kinds, one request for each cause.
    #[must_use]
    pub fn new(old: &Set, new: &Set, shifts: &[Shift], mut effort: Effort<'_>) -> Self {
        let mut res = Self::default();
        if res.compare(old, new, shifts, &mut effort) == Err(Exhausted) {
            let reason = "there is more to look through than the limits allow".to_owned();
            res.undecided.push(Undecided { shift: None, reason });
        }
        res
    }

    fn compare(
        &mut self,
        old: &Set,
        new: &Set,
        shifts: &[Shift],
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        effort.begin()?;
        for action in actions(&[old, new]) {
            if self.disagreement.is_none() {
                self.compare_for(action, [old, new], shifts, effort)?;
            }
        }
        self.differences.sort_by_key(|it| it.shift);
        Ok(())
    }

    fn compare_for(
        &mut self,
        action: Action,
        [old, new]: [&Set; 2],
        shifts: &[Shift],
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        let mut model = Model::new(action, &[old, new], effort)?;
        let sides = [model.side(old, effort)?, model.side(new, effort)?];
        let sides = sides.map(|it| Answers::new(&mut model, it));
        for shift in shifts {
            let mut hunt =
                Hunt { model: &mut model, sets: [old, new], sides: &sides, shift: *shift };
            hunt.run(self, effort)?;
            if self.disagreement.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// The actions to ask about: of those that the same statements are about, which are answered alike,
/// one is enough.
fn actions(sets: &[&Set]) -> Vec<Action> {
    let mut res: Vec<(Action, Vec<bool>)> = Vec::new();
    for action in Action::ALL {
        let about = sets.iter().flat_map(|it| it.about(action)).collect();
        if res.iter().all(|(_, other)| *other != about) {
            res.push((action, about));
        }
    }
    res.into_iter().map(|(it, _)| it).collect()
}

/// A set of policies in the clauses, with its answers.
#[derive(Debug)]
struct Answers {
    side: Side,
    allow: Literal,
    deny: Literal,
    /// No Deny is certain.
    undenied: Literal,
    /// By statement: none before it is certain.
    first_deny: Vec<Literal>,
    first_allow: Vec<Literal>,
    /// Some Allow of the guardrails may hold.
    within: Literal,
    /// Some Allow of the guardrails holds, or there is none; and some other Allow does.
    ceiling: Literal,
    allows: Literal,
}

impl Answers {
    fn new(model: &mut Model, side: Side) -> Self {
        let circuit = &mut model.circuit;
        let truths = |them: &[Encoded]| them.iter().map(|it| it.truth).collect::<Vec<_>>();
        let deny = circuit.any_true(&truths(&side.denies));
        let ceiling = match side.has_ceiling {
            true => circuit.any_true(&truths(&side.ceiling)),
            false => circuit.truth(true),
        };
        let allow = circuit.any_true(&truths(&side.allows));
        Self {
            allow: circuit.all([!deny.may_hold, ceiling.holds, allow.holds]),
            deny: circuit.any([deny.holds, !ceiling.may_hold, !allow.may_hold]),
            undenied: !deny.holds,
            first_deny: first(circuit, &side.denies),
            first_allow: first(circuit, &side.allows),
            within: ceiling.may_hold,
            ceiling: ceiling.holds,
            allows: allow.holds,
            side,
        }
    }

    fn is(&self, circuit: &mut Circuit, answer: Answer) -> Literal {
        match answer {
            Answer::Allow => self.allow,
            Answer::Deny => self.deny,
            Answer::Indeterminate => circuit.all([!self.allow, !self.deny]),
        }
    }

    /// True if this decider decides; `None` if there is no such decider.
    fn by(&self, circuit: &mut Circuit, decider: &str) -> Option<Literal> {
        match decider {
            decision::CEILING => Some(circuit.all([self.undenied, !self.within])),
            decision::NONE => Some(circuit.all([self.undenied, self.within, self.deny])),
            _ => {
                let of = |them: &[Encoded], first: &[Literal]| {
                    let at = them.iter().position(|it| it.name.as_str() == decider)?;
                    first.get(at).copied()
                };
                match of(&self.side.denies, &self.first_deny) {
                    Some(it) => Some(it),
                    None => of(&self.side.allows, &self.first_allow)
                        .map(|it| circuit.all([self.allow, it])),
                }
            }
        }
    }
}

/// By statement: it holds, and none before it does.
fn first(circuit: &mut Circuit, statements: &[Encoded]) -> Vec<Literal> {
    let mut before = circuit.constant(false);
    let mut res = Vec::new();
    for it in statements {
        res.push(circuit.all([it.truth.holds, !before]));
        before = circuit.any([before, it.truth.holds]);
    }
    res
}

/// The search for differences of one kind.
struct Hunt<'a> {
    model: &'a mut Model,
    sets: [&'a Set; 2],
    sides: &'a [Answers; 2],
    shift: Shift,
}

impl Hunt<'_> {
    fn run(&mut self, res: &mut Comparison, effort: &mut Effort<'_>) -> Result<(), Exhausted> {
        let changed = self.changed();
        let sure = !self.model.unsure;
        // Exclude what was found already, for other actions too.
        let of_kind = res.differences.iter().filter(|it| it.shift == self.shift);
        let mut found: Vec<_> = of_kind.map(|it| it.cause.clone()).collect();
        let by: Vec<_> = found.iter().filter_map(|it| self.by(it)).collect();
        let mut done: Vec<_> = by.into_iter().map(|it| !it).collect();
        let mut aside = 0;
        while self
            .model
            .circuit
            .search
            .solve(&[&[changed, sure], done.as_slice()].concat(), effort)?
        {
            let shift = self.shift;
            let sets = self.sets;
            let realised = self.model.realise(&|it| {
                judge(sets, it).is_some_and(|(it, cause)| it == shift && !found.contains(&cause))
            });
            let Some(point) = realised.point else {
                if realised.is_exact {
                    res.disagreement = Some(self.contradiction());
                    return Ok(());
                }
                res.undecided.push(Undecided { shift: Some(shift), reason: self.model.doubt() });
                let done_too = self.model.aside();
                aside += 1;
                match done_too {
                    Some(it) if aside < ASIDE_MAX => done.push(it),
                    _ => return Ok(()),
                }
                continue;
            };
            let judged = judge(sets, &point);
            let point = witness::shrink(&point, &|it| judge(sets, it) == judged);
            let [before, after] = sets.map(|it| it.evaluate(&point.query, &point.attributes));
            let Some(it) = Difference::of(point.query, point.attributes, &before, &after) else {
                res.disagreement = Some(self.contradiction());
                return Ok(());
            };
            let by = self.by(&it.cause);
            found.push(it.cause.clone());
            res.differences.push(it);
            // To find the same cause again would never end.
            match by {
                Some(it) if !done.contains(&!it) => done.push(!it),
                _ => {
                    res.disagreement = Some(self.contradiction());
                    return Ok(());
                }
            }
        }
        if self.model.circuit.search.solve(&[&[changed], done.as_slice()].concat(), effort)? {
            let reason = "a text is compared as text and also read as a number, a date, an \
                          address or a truth value, and it depends on whether it can be both";
            res.undecided.push(Undecided { shift: Some(self.shift), reason: reason.to_owned() });
        }
        res.undecided.sort();
        res.undecided.dedup();
        Ok(())
    }

    /// True if this is the cause.
    fn by(&mut self, cause: &Cause) -> Option<Literal> {
        let circuit = &mut self.model.circuit;
        let [old, new] = self.sides;
        let by = match cause {
            Cause::Old(it) => old.by(circuit, it),
            Cause::New(it) => new.by(circuit, it),
        };
        // An Allow is the cause only where no Deny is.
        by.map(|it| match (self.shift, cause) {
            (Shift::Gained, Cause::New(_)) => circuit.all([it, old.undenied]),
            (Shift::Revoked, Cause::Old(_)) => circuit.all([it, new.undenied]),
            _ => it,
        })
    }

    /// True if the answers differ in this way.
    fn changed(&mut self) -> Literal {
        let [old, new] = self.sides;
        let answers = [Answer::Allow, Answer::Deny, Answer::Indeterminate];
        let pairs = answers.iter().flat_map(|old| answers.iter().map(move |new| (*old, *new)));
        let circuit = &mut self.model.circuit;
        let of_kind: Vec<_> = pairs
            .filter(|(old, new)| Shift::between(*old, *new) == Some(self.shift))
            .map(|(before, after)| {
                let both = [old.is(circuit, before), new.is(circuit, after)];
                circuit.all(both)
            })
            .collect();
        circuit.any(of_kind)
    }

    /// The request about which the search and the engine disagree.
    fn contradiction(&self) -> String {
        format!("the engine does not confirm a `{}` request that was found", self.shift.as_str())
    }
}

/// How the engine's answers to a request differ, if they do, and why.
fn judge(sets: [&Set; 2], point: &Point) -> Option<(Shift, Cause)> {
    let [old, new] = sets.map(|it| Verdict::new(&it.evaluate(&point.query, &point.attributes)));
    let shift = Shift::between(old.answer, new.answer)?;
    Some((shift, Cause::new(shift, &old, &new)))
}

impl Model {
    /// Why no request could be made from the assignment that was found.
    fn doubt(&self) -> String {
        let open: BTreeSet<_> = self.open.iter().map(ToString::to_string).collect();
        let compared: BTreeSet<_> =
            self.relations.iter().map(|it| it.question.to_string()).collect();
        let them: Vec<_> = open.into_iter().chain(compared).collect();
        format!("it depends on texts that cannot be compared letter by letter: {}", them.join(", "))
    }
}
