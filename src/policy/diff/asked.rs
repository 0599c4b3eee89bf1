//! What two sets of policies ask of each variable.

use super::automaton::{Lane, Part};
use super::glob::Glob;
use super::point::{Setting, Variable};
use super::typed::Cuts;
use crate::policy::Set;
use crate::policy::engine::condition::{Condition, Listed, Operand, Operands, Resource, Test, Urn};
use crate::policy::engine::set::Statement;
use crate::policy::language::attachments::{Grant, Projects, Target};
use crate::policy::language::key::{Key, Shown};
use crate::policy::language::operator::Comparison;
use crate::policy::language::template::Part as Written;
use crate::policy::language::value;
use crate::policy::language::value::Decimal;

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The most literals that a variable takes over from another that it is compared with.
const LITERALS_MAX: usize = 200;

/// The questions about one variable.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    pub(super) lanes: Vec<Lane>,
    numbers: HashMap<Lane, usize>,
    pub(super) cuts: Cuts,
}

/// The questions about all variables.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) asked: BTreeMap<Variable, Questions>,
    /// The questions about `g:PrincipalUrn`.
    pub(super) urns: Vec<Lane>,
    /// Listed texts with one variable, and what they are compared with.
    compared: BTreeSet<Compared>,
}

/// What is compared, whether regardless of letter case, and with which pattern.
pub(super) type Compared = (Subject, bool, Vec<Written>);

/// What a listed value is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The ID of the job.
    Job,
    Key(Key),
}

impl Questions {
    /// Adds a question, once; returns its number.
    pub(super) fn lane(&mut self, lane: Lane) -> usize {
        let next = self.lanes.len();
        let number = *self.numbers.entry(lane.clone()).or_insert(next);
        if number == next {
            self.lanes.push(lane);
        }
        number
    }
}

impl Subject {
    pub(super) fn variable(&self) -> Option<Variable> {
        match self {
            Self::Job => Some(Variable::Job),
            Self::Key(key) => Variable::of(key),
        }
    }

    /// Which part of the variable's text it is.
    pub(super) fn part(&self) -> Part {
        match self {
            Self::Key(Key::Issuer) => Part::Head,
            Self::Key(Key::UserName) => Part::Tail,
            _ => Part::Whole,
        }
    }

    pub(super) fn is_urn(&self) -> bool {
        *self == Self::Key(Key::PrincipalUrn)
    }
}

/// The same comparison of texts by `StringMatch`, if letter case counts.
pub(super) fn as_pattern(comparison: Comparison, parts: &[Written]) -> Vec<Written> {
    let mut res = parts.to_vec();
    match comparison {
        Comparison::EndWith => res.insert(0, Written::Star),
        Comparison::StartWith => res.push(Written::Star),
        Comparison::Equals | Comparison::EqualsIgnoreCase | Comparison::Match => (),
    }
    res.dedup_by(|a, b| *a == Written::Star && *b == Written::Star);
    res
}

/// The keys that fill in a variable, each once. Keys that may hold several values, that hold
/// nothing, or that nobody knows, never do.
pub(super) fn variables(parts: &[Written]) -> Vec<&Key> {
    let mut res = Vec::new();
    for part in parts {
        if let Written::Variable(it) = part
            && Variable::of(&it.key).is_some()
            && !it.key.is_several()
            && !res.contains(&&it.key)
        {
            res.push(&it.key);
        }
    }
    res
}

/// The parts with the defaults filled in for variables that are in `absent` or never hold anything;
/// `None` if one of them has no default.
pub(super) fn without(parts: &[Written], absent: &[&Key]) -> Option<Vec<Written>> {
    let parts = parts.iter().map(|part| match part {
        Written::Variable(it) if matches!(it.key, Key::Unknowable(_)) => None,
        Written::Variable(it) => {
            let holds = Variable::of(&it.key).is_some() && !it.key.is_several();
            match holds && !absent.contains(&&it.key) {
                true => Some(part.clone()),
                false => it.default.clone().map(Written::Text),
            }
        }
        _ => Some(part.clone()),
    });
    parts.collect()
}

/// Each way to fill in defaults: which keys are absent, and what is left of the parts.
pub(super) fn fillings(parts: &[Written]) -> Vec<(Vec<&Key>, Vec<Written>)> {
    let mut subsets: Vec<Vec<&Key>> = vec![Vec::new()];
    for key in variables(parts) {
        if Variable::of(key).is_some_and(|it| it.may_be_absent()) {
            let more: Vec<_> = subsets.iter().map(|it| [it.as_slice(), &[key]].concat()).collect();
            subsets.extend(more);
        }
    }
    let filled = subsets.into_iter().filter_map(|absent| {
        let parts = without(parts, &absent)?;
        Some((absent, parts))
    });
    filled.collect()
}

impl Survey {
    pub(super) fn add(&mut self, set: &Set) {
        for statement in set.statements() {
            self.statement(statement);
        }
        for grant in set.attachments.grants() {
            self.grant(&grant);
        }
    }

    /// Adds the questions of an attachment: whom a policy is attached to, and for which projects.
    pub(super) fn grant(&mut self, grant: &Grant<'_>) {
        let (variable, part, text) = match grant.to {
            Target::Any => (None, Part::Whole, ""),
            Target::Group(it) => (Some(Variable::Groups), Part::Whole, it),
            Target::Source(it) => (Some(Variable::Caller), Part::Head, it),
            Target::User(it) => (Some(Variable::Caller), Part::Whole, it),
        };
        if let Some(variable) = variable {
            self.lane(variable, Glob::text(text, false), part);
        }
        match grant.projects {
            Projects::All => (),
            Projects::One(it) => {
                self.lane(Variable::Project, Glob::text(it, false), Part::Whole);
            }
            Projects::Like(it) => {
                self.lane(Variable::Project, Glob::pieces(it), Part::Whole);
            }
        }
    }

    /// Gives the values of variables that do not vary a class of their own.
    pub(super) fn fix(&mut self, holds: impl Fn(&Variable) -> Option<Setting>) {
        let fixed: Vec<_> =
            self.asked.keys().filter_map(|it| Some((it.clone(), holds(it)?))).collect();
        for (variable, setting) in fixed {
            match setting {
                Setting::Text(it) => self.lane(variable, Glob::text(&it, false), Part::Whole),
                Setting::Texts(them) => {
                    for it in them {
                        self.lane(variable.clone(), Glob::text(&it, false), Part::Whole);
                    }
                }
                Setting::Number(it) => {
                    let cuts = &mut self.asked.entry(variable).or_default().cuts;
                    let number = Decimal::parse(&it.to_string()).map(Decimal::into_owned);
                    cuts.numbers.extend(number);
                }
                _ => (),
            }
        }
    }

    /// A text that is compared with a variable takes over the literals of that variable, so that it
    /// is known which classes are the same. Returns the literals taken over.
    pub(super) fn finish(&mut self) -> BTreeMap<Compared, BTreeSet<String>> {
        let mut res: BTreeMap<Compared, BTreeSet<String>> = BTreeMap::new();
        let compared = std::mem::take(&mut self.compared);
        // A second round, because what is compared may itself be compared with a variable.
        for _ in 0..2 {
            for it in &compared {
                let (subject, folded, parts) = it;
                let keys = variables(parts);
                let [key] = keys.as_slice() else {
                    continue;
                };
                for literal in self.literals(&Subject::Key((*key).clone())) {
                    self.glob(subject, Glob::filled(*folded, parts, &literal));
                    res.entry(it.clone()).or_default().insert(literal);
                }
            }
        }
        res
    }

    fn literals(&self, subject: &Subject) -> Vec<String> {
        if let Subject::Key(key) = subject
            && let (Some(list), Some(Variable::Method)) = (key.closed_list(), Variable::of(key))
        {
            return list.iter().map(|it| (*it).to_owned()).collect();
        }
        let asked = subject.variable().and_then(|it| self.asked.get(&it));
        let lanes = asked.into_iter().flat_map(|it| &it.lanes).filter(|it| it.glob.is_literal());
        let text = |it: &Lane| {
            let text = it.glob.letters();
            let parts = text.split_once('/').filter(|_| it.part == Part::Whole);
            match (subject.part(), parts) {
                (Part::Head, Some((head, _))) => Some(head.to_owned()),
                (Part::Tail, Some((_, tail))) => Some(tail.to_owned()),
                (part, _) => (part == it.part).then_some(text),
            }
        };
        lanes.filter_map(text).take(LITERALS_MAX).collect()
    }

    pub(super) fn statement(&mut self, statement: &Statement) {
        if let Some(Resource { patterns, .. }) = &statement.resource {
            for urn in patterns {
                let Urn::Job { region, account, id } = urn else {
                    continue;
                };
                self.lane(Variable::Region, Glob::pieces(region), Part::Whole);
                self.lane(Variable::Account, Glob::pieces(account), Part::Whole);
                match id {
                    Operand::Known(it) => {
                        self.lane(Variable::Job, Glob::pieces(it), Part::Whole);
                    }
                    Operand::Template(it) => {
                        self.template(&Subject::Job, Some(Comparison::Match), it);
                    }
                }
            }
        }
        for condition in &statement.conditions {
            self.condition(condition);
        }
    }

    fn condition(&mut self, condition: &Condition) {
        let key = &condition.key;
        let Some(variable) = Variable::of(key) else {
            return;
        };
        let cuts = self.cuts(&variable);
        if let Some((shown, zone)) = key.shown() {
            let clock = cuts.clocks.entry(zone.clone()).or_default();
            clock.days |= shown == Shown::Day;
        }
        if *key == Key::PrincipalUrn {
            self.asked.entry(Variable::Account).or_default();
        }
        if let Test::Listed(Listed { operands, .. }) = &condition.test {
            self.operands(key, &variable, operands);
        }
    }

    fn cuts(&mut self, variable: &Variable) -> &mut Cuts {
        &mut self.asked.entry(variable.clone()).or_default().cuts
    }

    fn operands(&mut self, key: &Key, variable: &Variable, operands: &Operands) {
        let subject = &Subject::Key(key.clone());
        match operands {
            Operands::Address(them) => {
                let named = self.named(subject, them, value::range);
                let cuts = self.cuts(variable);
                cuts.reads.addresses = true;
                cuts.ranges.extend(named);
            }
            Operands::Boolean(them) => {
                self.named(subject, them, value::boolean);
                self.cuts(variable).reads.booleans = true;
            }
            Operands::Date(_, them) => {
                let named = self.named(subject, them, value::date);
                let cuts = self.cuts(variable);
                cuts.reads.dates = true;
                cuts.dates.extend(named);
            }
            Operands::Number(_, them) => {
                let read = |it: &str| Decimal::parse(it).map(Decimal::into_owned);
                let named = self.named(subject, them, read);
                let cuts = self.cuts(variable);
                cuts.reads.numbers = true;
                match key.shown() {
                    Some((Shown::Time, zone)) => {
                        cuts.clocks.entry(zone.clone()).or_default().times.extend(named);
                    }
                    _ => cuts.numbers.extend(named),
                }
            }
            Operands::Match(them) => {
                for it in them {
                    match it {
                        Operand::Known(it) => self.glob(subject, Glob::pieces(it)),
                        Operand::Template(it) => {
                            self.template(subject, Some(Comparison::Match), it);
                        }
                    }
                }
            }
            Operands::Text(comparison, them) => {
                for it in them {
                    match it {
                        Operand::Known(it) => {
                            self.text(subject, *comparison, &[Written::Text(it.clone())]);
                        }
                        Operand::Template(it) => self.template(subject, Some(*comparison), it),
                    }
                }
            }
        }
    }

    /// Adds the questions of listed values that are not texts; returns the values that they name, the
    /// defaults of their variables filled in.
    fn named<T: Clone>(
        &mut self,
        subject: &Subject,
        them: &[Operand<T>],
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut res = Vec::new();
        for it in them {
            match it {
                Operand::Known(it) => res.push(it.clone()),
                Operand::Template(parts) => {
                    self.template(subject, None, parts);
                    let filled = fillings(parts).into_iter();
                    res.extend(filled.filter_map(|(_, parts)| read(&constant(&parts)?)));
                }
            }
        }
        res
    }

    /// Adds the questions of a listed value with variables; `comparison` is that of texts, and `None` for
    /// what is read as something else.
    fn template(&mut self, subject: &Subject, comparison: Option<Comparison>, parts: &[Written]) {
        let keys = variables(parts).into_iter().filter_map(Variable::of);
        for variable in subject.variable().into_iter().chain(keys) {
            self.asked.entry(variable).or_default();
        }
        for key in variables(parts) {
            if *key == Key::PrincipalUrn {
                self.asked.entry(Variable::Account).or_default();
            }
        }
        let Some(comparison) = comparison else {
            return;
        };
        for (_, parts) in fillings(parts) {
            match variables(&parts).len() {
                0 => self.text(subject, comparison, &parts),
                1 => {
                    let folded = comparison == Comparison::EqualsIgnoreCase;
                    let parts = as_pattern(comparison, &parts);
                    self.compared.insert((subject.clone(), folded, parts));
                }
                _ => (),
            }
        }
    }

    /// Adds the question of a listed text without variables.
    fn text(&mut self, subject: &Subject, comparison: Comparison, parts: &[Written]) {
        let folded = comparison == Comparison::EqualsIgnoreCase;
        self.glob(subject, Glob::filled(folded, &as_pattern(comparison, parts), ""));
    }

    fn glob(&mut self, subject: &Subject, glob: Glob) {
        if subject.is_urn() {
            let lane = Lane { glob, starts: Glob::START.to_vec(), part: Part::Whole };
            if !self.urns.contains(&lane) {
                self.urns.push(lane);
            }
        } else if let Some(variable) = subject.variable() {
            self.lane(variable, glob, subject.part());
        }
    }

    fn lane(&mut self, variable: Variable, glob: Glob, part: Part) {
        let lane = Lane { glob, starts: Glob::START.to_vec(), part };
        self.asked.entry(variable).or_default().lane(lane);
    }
}

/// The text of parts without variables and wildcards.
fn constant(parts: &[Written]) -> Option<String> {
    let text = |it: &Written| match it {
        Written::Text(it) => Some(it.clone()),
        Written::Any => Some("?".to_owned()),
        Written::Star => Some("*".to_owned()),
        Written::Variable(_) => None,
    };
    parts.iter().map(text).collect()
}
