//! Statements as clauses over the classes.

use super::asked::{self, Compared, Survey};
use super::circuit::{Circuit, Tree, Truth};
use super::parts::{self, Question};
use super::point::{Point, Setting, Variable};
use super::search::{Effort, Exhausted, Literal};
use super::space::{self, Domain, Leaf};
use crate::policy::engine::condition::{Condition, Operand, Resource, Urn};
use crate::policy::engine::set::Statement;
use crate::policy::engine::truth::Truth as Kleene;
use crate::policy::language::attachments::{Grant, Projects};
use crate::policy::language::document::Effect;
use crate::policy::language::key::Key;
use crate::policy::language::pattern;
use crate::policy::language::pattern::Piece;
use crate::policy::{Action, JobFact, Set, StatementName};

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The most comparisons with variables that a key of several values may have: each doubles its
/// classes.
pub(super) const RELATIONS_MAX: usize = 3;

/// A variable and its values in the clauses.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) domain: Domain,
    /// For a variable of one value, its leaves. For a variable of several, its leaves once for each
    /// combination of answers to the relations that it is the subject of.
    pub(super) tree: Tree,
    pub(super) absent: Literal,
    pub(super) unavailable: Literal,
    /// There is a value.
    pub(super) present: Literal,
    /// The relations that the leaves answer, by the bits of the combination.
    pub(super) relations: Vec<usize>,
    /// The request with each leaf, once with the text that is compared and once with the text that
    /// is read.
    pub(super) worlds: Vec<[Point; 2]>,
}

/// A comparison with variables, while nothing in it is absent or unavailable.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) question: Question,
    /// True if it holds. Unused for a subject of several values, each of which has its own answer.
    pub(super) literal: Literal,
}

/// Everything that is asked, over clauses.
#[derive(Debug)]
pub(super) struct Model {
    /// What is asked for.
    pub(super) action: Action,
    pub(super) circuit: Circuit,
    pub(super) bounds: BTreeMap<Variable, Bound>,
    /// Comparisons of one text with others.
    pub(super) relations: Vec<Relation>,
    pub(super) numbers: HashMap<Question, usize>,
    /// For each comparison, the texts of the variable that its subject's classes tell apart.
    pub(super) refined: BTreeMap<Compared, BTreeSet<String>>,
    /// True if it is not known whether one of the values exists.
    pub(super) unsure: Literal,
    /// The statements that ask something that is left open.
    pub(super) open: Vec<StatementName>,
    conditions: HashMap<(Condition, Effect), Truth>,
    resources: HashMap<(Resource, Effect), Truth>,
}

/// A statement in the clauses, if it is attached to the caller.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) name: StatementName,
    pub(super) truth: Truth,
}

/// A set of policies in the clauses, in the order in which it is judged.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) denies: Vec<Encoded>,
    pub(super) ceiling: Vec<Encoded>,
    pub(super) allows: Vec<Encoded>,
    pub(super) has_ceiling: bool,
}

impl Bound {
    /// How many combinations of answers there are.
    pub(super) fn combinations(&self) -> usize {
        1 << self.relations.len()
    }

    /// The bit of the combination that answers this relation, if one does.
    pub(super) fn bit(&self, relation: usize) -> Option<usize> {
        self.relations.iter().position(|it| *it == relation)
    }

    /// True if a leaf of the domain is chosen of which `holds` is true.
    pub(super) fn any(&self, circuit: &mut Circuit, holds: impl Fn(&Leaf) -> bool) -> Literal {
        let leaf = |at| self.domain.leaves.get(self.split(at).0);
        self.tree.any(circuit, |at| leaf(at).is_some_and(&holds))
    }

    /// The leaves of the tree, numbered.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (usize, Literal)> {
        self.tree.leaves().iter().copied().enumerate()
    }

    /// The leaf of the tree for this leaf of the domain with these answers.
    pub(super) fn join(&self, leaf: usize, answers: usize) -> usize {
        leaf * self.combinations() + answers
    }

    /// The leaf of the domain and the answers that a leaf of the tree stands for.
    pub(super) fn split(&self, at: usize) -> (usize, usize) {
        (at / self.combinations(), at % self.combinations())
    }
}

impl Model {
    pub(super) fn new(
        action: Action,
        sets: &[&Set],
        effort: &mut Effort<'_>,
    ) -> Result<Self, Exhausted> {
        let mut survey = Survey::default();
        sets.iter().for_each(|it| survey.add(it));
        Self::of(action, sets.iter().flat_map(|it| it.statements()), survey, effort)
    }

    /// A model of what `survey` asks, which is at least what these statements ask.
    pub(super) fn of<'a>(
        action: Action,
        statements: impl IntoIterator<Item = &'a Statement>,
        mut survey: Survey,
        effort: &mut Effort<'_>,
    ) -> Result<Self, Exhausted> {
        let refined = survey.finish();
        let domains = space::domains(survey, effort)?;
        let circuit = Circuit::new();
        let unsure = circuit.constant(false);
        let mut res = Self {
            action,
            circuit,
            bounds: BTreeMap::new(),
            relations: Vec::new(),
            numbers: HashMap::new(),
            refined,
            unsure,
            open: Vec::new(),
            conditions: HashMap::new(),
            resources: HashMap::new(),
        };
        for statement in statements {
            res.relate(statement);
        }
        res.bind(domains);
        res.connect();
        res.tabulate(effort)?;
        Ok(res)
    }

    /// Finds the comparisons with variables.
    fn relate(&mut self, statement: &Statement) {
        for condition in &statement.conditions {
            let filled = parts::templates(condition).into_iter().flat_map(asked::fillings);
            for (_, parts) in filled.filter(|(_, it)| !asked::variables(it).is_empty()) {
                let question = Question::new(condition, statement.effect, parts);
                question.into_iter().for_each(|(it, _)| self.relation(it));
            }
        }
        for urn in statement.resource.iter().flat_map(|it| &it.patterns) {
            if let Urn::Job { id: Operand::Template(parts), .. } = urn {
                let filled = asked::fillings(parts).into_iter().map(|(_, parts)| parts);
                let open = filled.filter(|it| !asked::variables(it).is_empty());
                open.for_each(|it| self.relation(Question::Job(it)));
            }
        }
    }

    fn relation(&mut self, question: Question) {
        let next = self.relations.len();
        let number = *self.numbers.entry(question.clone()).or_insert(next);
        if number == next {
            let literal = self.circuit.search.variable(false, false);
            self.relations.push(Relation { question, literal });
        }
    }

    fn bind(&mut self, domains: BTreeMap<Variable, Domain>) {
        let mut unsure = Vec::new();
        // The caller comes before its groups.
        for (variable, domain) in domains {
            let is_several = variable.is_several();
            let numbered = self.relations.iter().enumerate();
            let of = numbered
                .filter(|(_, it)| it.question.subject().variable().as_ref() == Some(&variable));
            let most = if is_several { RELATIONS_MAX } else { 0 };
            let relations: Vec<_> = of.map(|(at, _)| at).take(most).collect();
            let worlds = domain.leaves.iter().map(|it| self.worlds(&variable, it)).collect();
            let circuit = &mut self.circuit;
            let tree = Tree::new(circuit, domain.leaves.len() << relations.len(), !is_several);
            let [absent, unavailable] = match is_several {
                true => states(circuit, &variable, &tree),
                false => [Setting::Absent, Setting::Unavailable].map(|state| {
                    let is = |it: &Leaf| it.setting == state;
                    tree.any(circuit, |at| domain.leaves.get(at).is_some_and(is))
                }),
            };
            let present = circuit.all([!absent, !unavailable]);
            let bound = Bound { domain, tree, absent, unavailable, present, relations, worlds };
            unsure.push(bound.any(circuit, |it| !it.is_sure()));
            self.bounds.insert(variable, bound);
        }
        self.unsure = self.circuit.any(unsure);
    }

    /// Adds what holds between variables: a group belongs to its caller's source, a job's tags are
    /// known all or none, a job in a pool has a pool type, and questions without a number are open.
    fn connect(&mut self) {
        let circuit = &mut self.circuit;
        if let (Some(groups), Some(callers)) =
            (self.bounds.get(&Variable::Groups), self.bounds.get(&Variable::Caller))
        {
            let openings: BTreeSet<_> = callers.domain.leaves.iter().map(|it| it.opening).collect();
            for opening in openings {
                let has = groups.any(circuit, |it| it.opening == opening);
                let is = callers.any(circuit, |it| it.opening == opening);
                circuit.search.clause(&[!has, is]);
            }
        }
        let tags = self.bounds.iter().filter(|(it, _)| matches!(it, Variable::ResourceTag(_)));
        let tags: Vec<_> = tags.map(|(_, it)| it.unavailable).collect();
        for [a, b] in tags.array_windows() {
            circuit.search.clause(&[!*a, *b]);
            circuit.search.clause(&[*a, !*b]);
        }
        let bound = |fact| self.bounds.get(&Variable::Fact(fact));
        if let (Some(pools), Some(types)) = (bound(JobFact::PoolId), bound(JobFact::PoolType)) {
            circuit.search.clause(&[!pools.present, !types.absent]);
        }
    }

    /// The variable that a key is read from.
    pub(super) fn bound_of(&self, key: &Key) -> Option<&Bound> {
        self.bounds.get(&Variable::of(key)?)
    }

    fn worlds(&self, variable: &Variable, leaf: &Leaf) -> [Point; 2] {
        [&leaf.setting, &leaf.read].map(|setting| {
            let mut res = Point::new();
            match (variable, setting) {
                (Variable::Groups, Setting::Text(it)) => {
                    res.set(&Variable::Caller, &self.caller(leaf.opening));
                    res.set(variable, &Setting::Texts(vec![it.clone()]));
                }
                (_, Setting::Text(it)) if variable.is_several() => {
                    res.set(variable, &Setting::Texts(vec![it.clone()]));
                }
                _ => res.set(variable, setting),
            }
            res
        })
    }

    /// A caller whose groups begin like this.
    fn caller(&self, opening: usize) -> Setting {
        let callers = self.bounds.get(&Variable::Caller);
        let mut leaves = callers.into_iter().flat_map(|it| &it.domain.leaves);
        leaves.find(|it| it.opening == opening).map_or(Setting::Absent, |it| it.setting.clone())
    }

    /// Encodes the conditions, which takes most of the time.
    pub(super) fn prepare(
        &mut self,
        statement: &Statement,
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        for condition in &statement.conditions {
            let leaves = self.bound_of(&condition.key).map_or(0, |it| it.worlds.len());
            effort.take(1 + leaves)?;
            self.condition(condition, statement.effect, &statement.name);
        }
        Ok(())
    }

    /// Encodes a set.
    pub(super) fn side(&mut self, set: &Set, effort: &mut Effort<'_>) -> Result<Side, Exhausted> {
        let action = self.action;
        for statement in set.statements().filter(|it| it.is_about(action)) {
            self.prepare(statement, effort)?;
        }

        let mut attached: BTreeMap<u32, Vec<Literal>> = BTreeMap::new();
        for grant in set.attachments.grants() {
            let literal = self.grant(&grant);
            attached.entry(grant.policy).or_default().push(literal);
        }
        let yes = self.circuit.constant(true);
        let mut res = Side {
            denies: self.statements(&set.guardrails.denies, yes),
            ceiling: self.statements(&set.guardrails.allows, yes),
            allows: Vec::new(),
            has_ceiling: set.has_ceiling,
        };
        for (number, literals) in attached {
            let attached = self.circuit.any(literals);
            let Some(policy) = set.identity.get(number as usize) else {
                continue;
            };
            res.denies.extend(self.statements(&policy.denies, attached));
            res.allows.extend(self.statements(&policy.allows, attached));
        }
        Ok(res)
    }

    pub(super) fn grant(&mut self, grant: &Grant<'_>) -> Literal {
        let whom = self.whom(grant.to);
        let project = match grant.projects {
            Projects::All => self.circuit.constant(true),
            Projects::Like(it) => self.chosen(&Variable::Project, |world| {
                pattern::matches(it, &world.query.job.project_id)
            }),
            Projects::One(it) => {
                self.chosen(&Variable::Project, |world| world.query.job.project_id == it)
            }
        };
        self.circuit.all([whom, project])
    }

    /// True if the variable has a value with which `holds` is true of the request.
    pub(super) fn chosen(
        &mut self,
        variable: &Variable,
        holds: impl Fn(&Point) -> bool,
    ) -> Literal {
        let Some(bound) = self.bounds.get(variable) else {
            return self.circuit.constant(false);
        };
        let world = |at| bound.worlds.get(bound.split(at).0).map(|[it, _]| it);
        bound.tree.any(&mut self.circuit, |at| world(at).is_some_and(&holds))
    }

    /// Encodes the statements that are about the action asked for.
    fn statements(&mut self, them: &[Statement], attached: Literal) -> Vec<Encoded> {
        let action = self.action;
        let about = them.iter().filter(|it| it.is_about(action));
        about.map(|it| self.statement(it, attached)).collect()
    }

    fn statement(&mut self, statement: &Statement, attached: Literal) -> Encoded {
        let truths = self.truths(statement, attached);
        Encoded { name: statement.name.clone(), truth: self.circuit.all_true(&truths) }
    }

    /// What has to hold for the statement to match: that it is attached, its resource, its conditions.
    pub(super) fn truths(&mut self, statement: &Statement, attached: Literal) -> Vec<Truth> {
        let mut res = vec![Truth::certain(attached)];
        if let Some(resource) = &statement.resource {
            res.push(self.resource(resource, statement.effect));
        }
        for condition in &statement.conditions {
            res.push(self.condition(condition, statement.effect, &statement.name));
        }
        res
    }

    fn resource(&mut self, resource: &Resource, effect: Effect) -> Truth {
        if let Some(it) = self.resources.get(&(resource.clone(), effect)) {
            return *it;
        }
        let mut truths = Vec::new();
        for urn in &resource.patterns {
            truths.push(match urn {
                Urn::Any => self.circuit.truth(!resource.negated),
                Urn::Other => self.circuit.truth(resource.negated),
                Urn::Job { region, account, id } => {
                    let fits = [
                        self.chosen(&Variable::Region, |it| {
                            pattern::matches(region, &it.query.region)
                        }),
                        self.chosen(&Variable::Account, |it| {
                            pattern::matches(account, &it.query.account)
                        }),
                    ];
                    let fits = self.circuit.all(fits);
                    let id = self.id(id, resource.negated, effect);
                    match resource.negated {
                        false => self.circuit.all_true(&[Truth::certain(fits), id]),
                        true => self.circuit.any_true(&[Truth::certain(!fits), id]),
                    }
                }
            });
        }
        let res = match resource.negated {
            false => self.circuit.any_true(&truths),
            true => self.circuit.all_true(&truths),
        };
        self.resources.insert((resource.clone(), effect), res);
        res
    }

    /// Whether the job's ID meets the fifth part, or the opposite if it is negated.
    fn id(&mut self, id: &Operand<Vec<Piece<'static>>>, negated: bool, effect: Effect) -> Truth {
        match id {
            Operand::Known(it) => {
                let meets = self.chosen(&Variable::Job, |world| {
                    pattern::matches(it, &world.query.job.training_job_id)
                });
                Truth::certain(if negated { !meets } else { meets })
            }
            Operand::Template(parts) => {
                let ask = |parts| Some((Question::Job(parts), negated));
                let value = self.value(parts, ask);
                self.judge_id(&value, effect)
            }
        }
    }

    fn condition(&mut self, condition: &Condition, effect: Effect, name: &StatementName) -> Truth {
        let key = (condition.clone(), effect);
        if let Some(it) = self.conditions.get(&key) {
            return *it;
        }
        let is_part = matches!(condition.key, Key::Issuer | Key::UserName);
        let res = match Variable::of(&condition.key) {
            // A part of a name that is read as a number or an address.
            Some(_) if is_part && !parts::is_plain(condition) => self.left_open(name),
            Some(_) if condition.key == Key::PrincipalUrn => match parts::templates(condition) {
                it if it.is_empty() => self.urn(condition, effect),
                _ => self.left_open(name),
            },
            Some(it) => match self.bounds.contains_key(&it) {
                true => self.asked_of(&it, condition, effect, name),
                false => self.left_open(name),
            },
            None => {
                let point = Point::new();
                self.constant(condition.holds(effect, point.facts()))
            }
        };
        self.conditions.insert(key, res);
        res
    }

    pub(super) fn constant(&self, it: Kleene) -> Truth {
        Truth {
            holds: self.circuit.constant(it == Kleene::True),
            may_hold: self.circuit.constant(it != Kleene::False),
        }
    }

    pub(super) fn left_open(&mut self, name: &StatementName) -> Truth {
        self.open.push(name.clone());
        self.circuit.open()
    }
}

/// The state of a variable of several values besides its values: absent or unavailable.
fn states(circuit: &mut Circuit, variable: &Variable, tree: &Tree) -> [Literal; 2] {
    let any = tree.any(circuit, |_| true);
    let unavailable = match variable.may_be_unavailable() {
        true => circuit.search.variable(false, false),
        false => circuit.constant(false),
    };
    circuit.search.clause(&[!any, !unavailable]);
    let absent = circuit.all([!any, !unavailable]);
    [absent, unavailable]
}
