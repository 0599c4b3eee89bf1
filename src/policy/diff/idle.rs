//! Finds statements that do nothing, and directories under which nobody can delete anything.
//!
//! A statement is needed if it alone decides some request, for any of the actions that it is about.
//! The search looks for such a request in a small model: the statement, and those others that were
//! in the way of the requests it found before. The engine then judges the request by all
//! statements. If the small model has no request, none with more statements has one.

mod budgets;
mod tell;
#[cfg(test)]
mod tests;

use super::asked::Survey;
use super::circuit::Truth;
use super::encode::Model;
use super::point::Point;
use super::search::{Effort, Exhausted, Literal};
use super::{Answers, actions};
use crate::policy::engine::set::Statement;
use crate::policy::engine::truth::Truth as Kleene;
use crate::policy::language::attachments::Grant;
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings};
use crate::policy::language::document::Effect;
use crate::policy::{Action, Answer, Compiled, Set};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How often others are added to the model of a statement before it is left undecided.
const ROUNDS_MAX: usize = 12;

/// The most statements of one model.
const MODEL_MAX: usize = 64;

/// Findings that already say why a statement never matches.
const SAID: [Code; 4] =
    [Code::AbsentKey, Code::CapitalInJobId, Code::ImpossibleValue, Code::NeverMatches];

impl Compiled {
    /// Adds findings about statements and budgets that certainly do nothing, with this effort for each. What
    /// cannot be decided is not reported.
    pub fn examine(&mut self, effort: Effort<'_>) {
        let Some(set) = &self.set else { return };
        let mut directory = Directory::new(set, effort);
        for at in directory.order() {
            let Ok(Some(idle)) = directory.examine(at) else { continue };
            let Some(entry) = directory.entries.get_mut(at) else { continue };
            entry.is_idle = true;
            let statement = entry.statement;
            let span = statement.place.span;
            let said = |it: &Diagnostic| {
                SAID.contains(&it.code)
                    && it.path == statement.place.path
                    && (span.start..span.end).contains(&it.span.start)
            };
            if !(matches!(idle, Idle::Never(_)) && self.diagnostics.iter().any(said)) {
                let found = &mut self.diagnostics;
                let mut findings = Findings { path: &statement.place.path, found };
                idle.tell(set, statement, &mut findings);
            }
        }
        if let Ok(Some(by)) = directory.nobody() {
            tell::nobody(&by, &mut Findings { path: "", found: &mut self.diagnostics });
        }
        budgets::examine(set, effort, &mut self.diagnostics);
        self.diagnostics.sort();
    }
}

/// Why a statement does nothing.
enum Idle {
    /// It never matches, because these of its parts exclude each other.
    Never(Vec<Part>),
    /// Other statements say the same, or forbid all that it allows.
    Covered(Cover),
}

/// What a statement needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Attachment,
    Resource,
    /// The number of the condition.
    Condition(usize),
}

/// What is in the way of every request that the statement could decide.
#[derive(Default)]
struct Cover {
    /// Statements that say the same.
    same: Vec<String>,
    /// Denies.
    denies: Vec<String>,
    /// The guardrails allow none of these requests.
    ceiling: bool,
}

/// The role of a statement in the decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Deny,
    /// An Allow of the guardrails.
    Ceiling,
    Allow,
}

struct Entry<'a> {
    statement: &'a Statement,
    role: Role,
    /// Its identity policy; `None` for a guardrail.
    policy: Option<u32>,
    is_idle: bool,
}

/// All statements, in the order in which they are judged.
struct Directory<'a> {
    set: &'a Set,
    effort: Effort<'a>,
    /// The action that is examined now.
    action: Action,
    /// The actions to examine: one of those that the same statements are about is enough.
    actions: Vec<Action>,
    entries: Vec<Entry<'a>>,
    grants: BTreeMap<u32, Vec<Grant<'a>>>,
    /// By identity policy.
    numbers: BTreeMap<u32, Vec<usize>>,
    guardrails: Vec<usize>,
    /// An allowed request was found.
    is_open: bool,
}

/// Statements in one model; the first is the one that is examined.
struct Scene {
    statements: Vec<usize>,
    /// The guardrails have to allow the request.
    ceiling: bool,
    /// Look for a request where it is enough that the first may match, and the others must
    /// certainly not.
    is_doubt: bool,
}

/// The parts of the question, by where they come from.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Itself,
    Ceiling,
    Rival(usize),
}

impl<'a> Directory<'a> {
    fn new(set: &'a Set, effort: Effort<'a>) -> Self {
        let mut entries = Vec::new();
        let mut add = |statement: &'a Statement, policy: Option<u32>| {
            let role = match (statement.effect, policy) {
                (Effect::Deny, _) => Role::Deny,
                (Effect::Allow, None) => Role::Ceiling,
                (Effect::Allow, Some(_)) => Role::Allow,
            };
            entries.push(Entry { statement, role, policy, is_idle: false });
        };
        let guardrails = set.guardrails.denies.iter().chain(&set.guardrails.allows);
        guardrails.for_each(|it| add(it, None));
        for (number, policy) in set.identity.iter().enumerate() {
            let number = u32::try_from(number).ok();
            policy.denies.iter().chain(&policy.allows).for_each(|it| add(it, number));
        }
        let mut grants: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for grant in set.attachments.grants() {
            grants.entry(grant.policy).or_default().push(grant);
        }
        let (mut guardrails, mut numbers) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for (at, entry) in entries.iter().enumerate() {
            match entry.policy {
                None => guardrails.push(at),
                Some(it) => numbers.entry(it).or_default().push(at),
            }
        }
        let actions = actions(&[set]);
        let action = Action::Delete;
        Self { set, effort, action, actions, entries, grants, numbers, guardrails, is_open: false }
    }

    /// The order of examination: of two that say the same the earlier one stays, and an Allow comes
    /// after what is in its way.
    fn order(&self) -> Vec<usize> {
        let mut res: Vec<_> = (0..self.entries.len()).collect();
        res.sort_by_key(|it| (self.role(*it), Reverse(*it)));
        res
    }

    fn entry(&self, at: usize) -> Option<&Entry<'a>> {
        self.entries.get(at)
    }

    fn role(&self, at: usize) -> Option<Role> {
        self.entry(at).map(|it| it.role)
    }

    /// Why the statement does nothing for any action, if so.
    fn examine(&mut self, at: usize) -> Result<Option<Idle>, Exhausted> {
        let mut res = None;
        for action in self.actions.clone() {
            if self.entry(at).is_some_and(|it| it.statement.is_about(action)) {
                self.action = action;
                let Some(idle) = self.examine_now(at)? else { return Ok(None) };
                res = res.or(Some(idle));
            }
        }
        Ok(res)
    }

    fn examine_now(&mut self, at: usize) -> Result<Option<Idle>, Exhausted> {
        let mut effort = self.effort;
        effort.begin()?;
        if let Some(parts) = self.never(at, &mut effort)? {
            return Ok(Some(Idle::Never(parts)));
        }
        let policy = self.entry(at).and_then(|it| it.policy);
        if policy.is_some_and(|it| !self.grants.contains_key(&it)) {
            return Ok(None);
        }
        let mut scene = Scene { statements: vec![at], ceiling: false, is_doubt: false };
        let Some(cover) = self.covered(&mut scene, &mut effort)? else { return Ok(None) };
        // Statements that say the same must do so during an outage too, or this one is needed then.
        scene.is_doubt = true;
        let is_needed = !cover.same.is_empty() && self.covered(&mut scene, &mut effort)?.is_none();
        Ok((!is_needed).then_some(Idle::Covered(cover)))
    }

    /// The parts because of which the statement can never match, if it cannot.
    fn never(&self, at: usize, effort: &mut Effort<'_>) -> Result<Option<Vec<Part>>, Exhausted> {
        let (mut model, truths) = self.model(&[at], effort)?;
        let Some(truths) = truths.first() else { return Ok(None) };
        let holds: Vec<_> = truths.iter().map(|it| it.holds).collect();
        if model.circuit.search.solve(&holds, effort)? {
            return Ok(None);
        }
        let core = least(&mut model, effort)?;
        let has_resource = self.entry(at).is_some_and(|it| it.statement.resource.is_some());
        let parts = holds.iter().enumerate().filter(|(_, it)| core.contains(it));
        let parts = parts.map(|(number, _)| match (number, has_resource) {
            (0, _) => Part::Attachment,
            (1, true) => Part::Resource,
            (_, _) => Part::Condition(number - 1 - usize::from(has_resource)),
        });
        Ok(Some(parts.collect()))
    }

    /// These statements in the clauses, with what each needs.
    fn model(
        &self,
        statements: &[usize],
        effort: &mut Effort<'_>,
    ) -> Result<(Model, Vec<Vec<Truth>>), Exhausted> {
        let entries: Vec<_> = statements.iter().filter_map(|it| self.entry(*it)).collect();
        let grants = |it: &Entry<'_>| it.policy.and_then(|it| self.grants.get(&it));
        let mut survey = Survey::default();
        for entry in &entries {
            survey.statement(entry.statement);
            grants(entry).into_iter().flatten().for_each(|it| survey.grant(it));
        }
        let statements = entries.iter().map(|it| it.statement);
        let mut model = Model::of(self.action, statements, survey, effort)?;
        let mut truths = Vec::new();
        for entry in &entries {
            model.prepare(entry.statement, effort)?;
            // A policy that is attached to nobody is examined as if it were attached.
            let attached = match grants(entry) {
                Some(them) => {
                    let them: Vec<_> = them.iter().map(|it| model.grant(it)).collect();
                    model.circuit.any(them)
                }
                None => model.circuit.constant(true),
            };
            truths.push(model.truths(entry.statement, attached));
        }
        Ok((model, truths))
    }

    /// What is in the way of every request that the first statement of the scene could decide.
    /// `None` if it decides one, or if that is undecided.
    fn covered(
        &mut self,
        scene: &mut Scene,
        effort: &mut Effort<'_>,
    ) -> Result<Option<Cover>, Exhausted> {
        for _ in 0..ROUNDS_MAX {
            let (mut model, truths) = self.model(&scene.statements, effort)?;
            let asked = self.question(scene, &mut model, &truths);
            let literals: Vec<_> = asked.iter().map(|(it, _)| *it).collect();
            if !model.circuit.search.solve(&literals, effort)? {
                let core = least(&mut model, effort)?;
                let asked = asked.into_iter().filter(|(it, _)| core.contains(it));
                let mut asked: Vec<_> = asked.map(|(_, it)| it).collect();
                asked.sort_unstable();
                let mut res = Cover::default();
                asked.iter().for_each(|it| self.blame(scene, it, &mut res));
                return Ok(Some(res));
            }
            let Some(point) = model.realise(&|it| self.is_met(scene, it)).point else {
                return Ok(None);
            };
            self.is_open |= self.action == Action::Delete
                && self.set.evaluate(&point.query, &point.attributes).answer() == Answer::Allow;
            if !self.extend(scene, &point) || MODEL_MAX < scene.statements.len() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The question: does the first statement match, with no other of the scene in the way?
    fn question(
        &self,
        scene: &Scene,
        model: &mut Model,
        truths: &[Vec<Truth>],
    ) -> Vec<(Literal, Demand)> {
        let circuit = &mut model.circuit;
        let truths: Vec<_> = truths.iter().map(|it| circuit.all_true(it)).collect();
        let side = |it: &Truth| if scene.is_doubt { it.may_hold } else { it.holds };
        let (mut res, mut ceiling) = (Vec::new(), Vec::new());
        for (number, (at, truth)) in scene.statements.iter().zip(&truths).enumerate() {
            match self.relation(scene, *at) {
                _ if number == 0 => res.push((side(truth), Demand::Itself)),
                Relation::Ceiling => ceiling.push(side(truth)),
                Relation::Same => res.push((!side(truth), Demand::Rival(*at))),
                Relation::Deny => res.push((!truth.holds, Demand::Rival(*at))),
                Relation::None => (),
            }
        }
        if scene.ceiling {
            res.push((circuit.any(ceiling), Demand::Ceiling));
        }
        res
    }

    /// How another statement relates to the first of the scene.
    fn relation(&self, scene: &Scene, other: usize) -> Relation {
        let own = scene.statements.first().and_then(|it| self.role(*it));
        let is_guardrail = self.guardrails.contains(&other);
        match (own, self.role(other)) {
            (own, role) if own == role => Relation::Same,
            (Some(Role::Allow), Some(Role::Ceiling)) => Relation::Ceiling,
            (Some(Role::Allow), Some(Role::Deny)) => Relation::Deny,
            // Of Denies, only those that hold for everybody can make a guardrail Allow useless.
            (Some(Role::Ceiling), Some(Role::Deny)) if is_guardrail => Relation::Deny,
            _ => Relation::None,
        }
    }

    fn blame(&self, scene: &Scene, asked: &Demand, res: &mut Cover) {
        match asked {
            Demand::Itself => (),
            Demand::Ceiling => res.ceiling = true,
            Demand::Rival(at) => {
                let name = self.entry(*at).map(|it| it.statement.name.to_string());
                match self.relation(scene, *at) {
                    Relation::Same => res.same.extend(name),
                    _ => res.denies.extend(name),
                }
            }
        }
    }

    /// Whether the engine confirms the request as an answer to the question of the scene.
    fn is_met(&self, scene: &Scene, point: &Point) -> bool {
        let attached = self.attached(point);
        let truth = |at: &usize| self.truth(*at, point, &attached);
        let least = if scene.is_doubt { Kleene::Unknown } else { Kleene::True };
        let mut statements = scene.statements.iter();
        let own = statements.next().is_some_and(|it| least <= truth(it));
        let others = statements.all(|it| match self.relation(scene, *it) {
            Relation::Ceiling | Relation::None => true,
            Relation::Same => truth(it) < least,
            Relation::Deny => truth(it) < Kleene::True,
        });
        own && others && (!scene.ceiling || self.is_within(least, point, &attached))
    }

    /// Adds to the scene the statements that are in the way of a request; false if there are none.
    fn extend(&self, scene: &mut Scene, point: &Point) -> bool {
        let attached = self.attached(point);
        let least = if scene.is_doubt { Kleene::Unknown } else { Kleene::True };
        let Some(own) = scene.statements.first().copied() else { return false };
        let policies = attached.iter().filter_map(|it| self.numbers.get(it)).flatten();
        let before = scene.statements.len();
        for at in self.guardrails.iter().chain(policies).copied() {
            let is_idle = self.entry(at).is_none_or(|it| it.is_idle);
            if is_idle || at == own || scene.statements.contains(&at) {
                continue;
            }
            let is_in_the_way = match self.relation(scene, at) {
                Relation::Ceiling | Relation::None => false,
                Relation::Same => least <= self.truth(at, point, &attached),
                Relation::Deny => self.truth(at, point, &attached) == Kleene::True,
            };
            if is_in_the_way {
                scene.statements.push(at);
            }
        }
        let is_beyond = self.role(own) == Some(Role::Allow)
            && self.set.has_ceiling
            && !scene.ceiling
            && !self.is_within(least, point, &attached);
        if is_beyond {
            scene.ceiling = true;
            scene.statements.extend(self.ceiling());
        }
        is_beyond || before < scene.statements.len()
    }

    fn ceiling(&self) -> impl Iterator<Item = usize> {
        let is_it = |it: &usize| {
            self.entry(*it).is_some_and(|it| {
                it.role == Role::Ceiling && !it.is_idle && it.statement.is_about(self.action)
            })
        };
        self.guardrails.iter().copied().filter(is_it)
    }

    fn is_within(&self, least: Kleene, point: &Point, attached: &BTreeSet<u32>) -> bool {
        self.ceiling().any(|it| least <= self.truth(it, point, attached))
    }

    /// The policies that are attached to the caller of a request.
    fn attached(&self, point: &Point) -> BTreeSet<u32> {
        let mut res = BTreeSet::new();
        self.set.attachments.each(&point.query, |it| res.extend([it]));
        res
    }

    fn truth(&self, at: usize, point: &Point, attached: &BTreeSet<u32>) -> Kleene {
        match self.entry(at) {
            Some(it) if it.policy.is_none_or(|it| attached.contains(&it)) => {
                it.statement.matches(point.facts())
            }
            _ => Kleene::False,
        }
    }

    /// What forbids everything; `None` if somebody can delete something, or if that is undecided.
    fn nobody(&self) -> Result<Option<String>, Exhausted> {
        if self.is_open {
            return Ok(None);
        }
        let mut effort = self.effort;
        effort.begin()?;
        let mut model = Model::new(Action::Delete, &[self.set], &mut effort)?;
        let side = model.side(self.set, &mut effort)?;
        let answers = Answers::new(&mut model, side);
        if model.circuit.search.solve(&[answers.allow], &mut effort)? {
            return Ok(None);
        }
        answers.obstacle(&mut model, &[], &mut effort).map(Some)
    }
}

/// How a statement relates to the one that is examined.
enum Relation {
    /// It says something of the same kind.
    Same,
    /// It denies what the other allows.
    Deny,
    /// It allows what the other has to stay within.
    Ceiling,
    None,
}

/// For a last question without a solution: a smallest set of its assumptions that cannot hold
/// together.
fn least(model: &mut Model, effort: &mut Effort<'_>) -> Result<Vec<Literal>, Exhausted> {
    let search = &mut model.circuit.search;
    let mut res = search.core().to_vec();
    let mut at = 0;
    while at < res.len() {
        let mut fewer = res.clone();
        fewer.remove(at);
        match search.solve(&fewer, effort)? {
            true => at += 1,
            false => res = fewer,
        }
    }
    Ok(res)
}
