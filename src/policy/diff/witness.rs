//! From classes to a request: finds texts of these classes that compare as they have to.

use super::asked::Subject;
use super::automaton::{Automaton, Part};
use super::encode::Model;
use super::glob::Glob;
use super::parts::Question;
use super::point::{Point, Setting, Variable};
use super::search::Literal;
use crate::policy::{Attribute, JobFact};

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// How many requests are tried before a difference counts as undecided.
const TRIES: usize = 400;

/// The most steps of the search for one text.
const STEPS: usize = 20_000;

/// One value of a request in the making, with the class that it has to stay in.
#[derive(Clone, Debug)]
struct Slot {
    variable: Variable,
    leaf: usize,
    /// For a variable of several values, the answers that this value has to give.
    answers: usize,
    setting: Setting,
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    slots: Vec<Slot>,
    /// Variables of several values that hold none.
    empty: Vec<(Variable, Setting)>,
    /// The request for everything that is not stated.
    usual: Point,
}

/// A comparison and the answer that it must have.
struct Wish {
    slot: usize,
    question: Question,
    wanted: bool,
}

impl Draft {
    /// The assignment that was found, with a text for each class.
    pub(super) fn new(model: &Model) -> Self {
        let mut res = Self { slots: Vec::new(), empty: Vec::new(), usual: model.point() };
        for (variable, bound) in &model.bounds {
            let found = bound.tree.found(&model.circuit);
            if found.is_empty() {
                let unavailable = model.circuit.search.holds(bound.unavailable);
                let setting = if unavailable { Setting::Unavailable } else { Setting::Absent };
                res.empty.push((variable.clone(), setting));
            }
            for (leaf, answers) in found.into_iter().map(|it| bound.split(it)) {
                let setting = bound.domain.leaves.get(leaf).map(|it| it.setting.clone());
                let setting = setting.unwrap_or(Setting::Absent);
                res.slots.push(Slot { variable: variable.clone(), leaf, answers, setting });
            }
        }
        res
    }

    fn point(&self) -> Point {
        let mut res = self.usual.clone();
        let mut several: BTreeMap<&Variable, Vec<String>> = BTreeMap::new();
        for (variable, setting) in &self.empty {
            res.set(variable, setting);
        }
        for slot in &self.slots {
            match &slot.setting {
                Setting::Text(it) if slot.variable.is_several() => {
                    several.entry(&slot.variable).or_default().push(it.clone());
                }
                it => res.set(&slot.variable, it),
            }
        }
        for (variable, texts) in several {
            res.set(variable, &Setting::Texts(texts));
        }
        res
    }

    /// The request with only one value of a variable of several.
    fn alone(&self, slot: &Slot) -> Point {
        let mut res = self.point();
        if let Setting::Text(it) = &slot.setting
            && slot.variable.is_several()
        {
            res.set(&slot.variable, &Setting::Texts(vec![it.clone()]));
        }
        res
    }

    fn with(&self, slot: usize, text: String) -> Self {
        let mut res = self.clone();
        if let Some(it) = res.slots.get_mut(slot) {
            it.setting = Setting::Text(text);
        }
        res
    }
}

/// The result of [`Model::realise`].
pub(super) struct Realised {
    pub(super) point: Option<Point>,
    /// A request that agrees with the assignment in every respect was judged.
    pub(super) is_exact: bool,
}

impl Model {
    /// A request with nothing stated but the action.
    pub(super) fn point(&self) -> Point {
        let mut res = Point::new();
        res.query.action = self.action;
        res
    }

    /// Searches for a request that agrees with the assignment and for which `fits` is true.
    pub(super) fn realise(&self, fits: &dyn Fn(&Point) -> bool) -> Realised {
        let draft = Draft::new(self);
        let wishes = self.wishes(&draft);
        let mut open = VecDeque::from([draft]);
        let mut seen = HashSet::new();
        let mut is_exact = false;
        let mut tries = 0;
        while let Some(draft) = open.pop_front()
            && tries < TRIES
        {
            tries += 1;
            let point = draft.point();
            if fits(&point) {
                return Realised { point: Some(point), is_exact: true };
            }
            let failed = wishes.iter().find(|it| {
                let slot = draft.slots.get(it.slot);
                slot.is_some_and(|slot| it.question.holds(draft.alone(slot).facts()) != it.wanted)
            });
            let Some(failed) = failed else {
                is_exact = true;
                continue;
            };
            for next in self.changes(&draft, failed) {
                let texts: Vec<_> = next.slots.iter().map(|it| it.setting.clone()).collect();
                if seen.insert(texts) {
                    open.push_back(next);
                }
            }
        }
        Realised { point: None, is_exact: is_exact && self.open.is_empty() }
    }

    /// The literal that excludes this combination of classes and answers, from which no request
    /// could be made; `None` if there are no comparisons.
    pub(super) fn aside(&mut self) -> Option<Literal> {
        let draft = Draft::new(self);
        let wishes = self.wishes(&draft);
        let mut them = Vec::new();
        for (relation, question) in self.relations.iter().map(|it| (it.literal, &it.question)) {
            if wishes.iter().any(|it| it.question == *question) {
                let holds = self.circuit.search.holds(relation);
                them.push(if holds { relation } else { !relation });
            }
        }
        for wish in &wishes {
            let slot = draft.slots.get(wish.slot)?;
            let bound = self.bounds.get(&slot.variable)?;
            them.extend(bound.tree.leaf(bound.join(slot.leaf, slot.answers)));
        }
        (!them.is_empty()).then(|| !self.circuit.all(them))
    }

    /// The answers that the comparisons must have.
    fn wishes(&self, draft: &Draft) -> Vec<Wish> {
        let mut res = Vec::new();
        for (number, relation) in self.relations.iter().enumerate() {
            let Some(variable) = relation.question.subject().variable() else {
                continue;
            };
            let keys = relation.question.keys();
            let holds = |it| self.circuit.search.holds(it);
            let present =
                keys.iter().all(|it| self.bound_of(it).is_some_and(|it| holds(it.present)));
            let bit = self.bounds.get(&variable).and_then(|it| it.bit(number));
            for (at, slot) in draft.slots.iter().enumerate() {
                let there = !matches!(slot.setting, Setting::Absent | Setting::Unavailable);
                if slot.variable == variable && there && present {
                    let wanted = match bit {
                        Some(bit) => slot.answers >> bit & 1 == 1,
                        None => holds(relation.literal),
                    };
                    res.push(Wish { slot: at, question: relation.question.clone(), wanted });
                }
            }
        }
        res
    }

    /// The drafts with one text of the comparison changed within its class.
    fn changes(&self, draft: &Draft, wish: &Wish) -> Vec<Draft> {
        let mut res = Vec::new();
        let Some(slot) = draft.slots.get(wish.slot) else {
            return res;
        };
        let keys = wish.question.keys();
        let subject = wish.question.subject();
        let point = draft.alone(slot);
        let own = match &subject {
            Subject::Job => Some(point.query.job.training_job_id.clone()),
            Subject::Key(key) if key.is_several() => match &slot.setting {
                Setting::Text(it) => Some(it.clone()),
                _ => None,
            },
            Subject::Key(key) => point.text(key),
        };
        let own = own.unwrap_or_default();
        for key in keys {
            let text = point.text(key).unwrap_or_default();
            let other = Variable::of(key);
            let Some(at) = draft.slots.iter().position(|it| Some(&it.variable) == other.as_ref())
            else {
                continue;
            };
            if wish.wanted
                && let Some(it) = self.image(draft, wish, &text)
            {
                res.push(draft.with(wish.slot, it));
            }
            // Texts next to the other text, and parts of it.
            let part = Subject::Key(key.clone()).part();
            for text in near(&own) {
                res.extend(self.replaced(draft, at, part, &text));
            }
        }
        if !wish.wanted || wish.question.compared().is_none() {
            for text in varied(&own) {
                res.extend(self.replaced(draft, wish.slot, subject.part(), &text));
            }
        }
        res
    }

    /// The slot's text, or a part of it, replaced, if it stays in its class.
    fn replaced(&self, draft: &Draft, at: usize, part: Part, text: &str) -> Option<Draft> {
        let slot = draft.slots.get(at)?;
        let Setting::Text(whole) = &slot.setting else {
            return None;
        };
        let text = match (part, whole.split_once('/')) {
            (Part::Head, Some((_, tail))) => format!("{text}/{tail}"),
            (Part::Tail, Some((head, _))) => format!("{head}/{text}"),
            _ => text.to_owned(),
        };
        let domain = &self.bounds.get(&slot.variable)?.domain;
        (domain.is_of(slot.leaf, &text) && text != *whole).then(|| draft.with(at, text))
    }

    /// A text of the subject's class for which the comparison holds with `text` in place of the
    /// variable.
    fn image(&self, draft: &Draft, wish: &Wish, text: &str) -> Option<String> {
        let (folded, parts) = wish.question.compared()?;
        let slot = draft.slots.get(wish.slot)?;
        let domain = &self.bounds.get(&slot.variable)?.domain;
        let leaf = domain.leaves.get(slot.leaf)?;
        let automaton = domain.automaton(leaf)?;
        let glob = Glob::filled(folded, parts, text);
        let (prefix, places) = match (&slot.variable, wish.question.subject().part()) {
            (Variable::Groups, _) => {
                let source = draft.point().query.principal.source().to_owned();
                (String::new(), glob.run(Glob::START, &format!("{source}/")))
            }
            (Variable::Caller, Part::Tail) => {
                let source = draft.point().query.principal.source().to_owned();
                (format!("{source}/"), Glob::START.to_vec())
            }
            (Variable::Caller, Part::Head) => return None,
            _ => (String::new(), Glob::START.to_vec()),
        };
        fit(automaton, &prefix, &glob, places, |text| domain.is_of(slot.leaf, text))
    }
}

/// A shortest text that begins with `prefix`, has the shape, and is accepted.
fn fit(
    automaton: &Automaton,
    prefix: &str,
    glob: &Glob,
    places: Vec<usize>,
    accepts: impl Fn(&str) -> bool,
) -> Option<String> {
    let start = prefix.chars().try_fold(0, |state, it| automaton.step(state, it))?;
    let mut open = VecDeque::from([(start, places.clone(), prefix.to_owned())]);
    let mut seen = HashSet::from([(start, places)]);
    while let Some((state, places, text)) = open.pop_front()
        && seen.len() < STEPS
    {
        if places.contains(&glob.end()) && accepts(&text) {
            return Some(text);
        }
        let elements = places.iter().filter_map(|it| glob.elements.get(*it));
        let mut letters: BTreeSet<char> =
            automaton.letters(state).chain(elements.flat_map(|it| it.letters())).collect();
        letters.extend(automaton.another(&letters));
        for letter in letters {
            let next = glob.step(&places, letter);
            if let Some(state) = automaton.step(state, letter)
                && !next.is_empty()
                && seen.insert((state, next.clone()))
            {
                open.push_back((state, next, format!("{text}{letter}")));
            }
        }
    }
    None
}

/// Texts that are related to this one: its parts, and texts a little longer or shorter.
fn near(text: &str) -> Vec<String> {
    let mut res = vec![text.to_owned()];
    let starts = text.char_indices().map(|(at, _)| at);
    for start in starts {
        let rest = text.get(start..).unwrap_or_default();
        let ends = rest.char_indices().map(|(at, it)| at + it.len_utf8());
        res.extend(ends.filter_map(|end| rest.get(..end)).map(str::to_owned));
    }
    res.push(String::new());
    res.extend(varied(text));
    res.truncate(TRIES);
    res
}

/// Variations of this text.
fn varied(text: &str) -> Vec<String> {
    let mut res = Vec::new();
    if let Ok(it) = text.parse::<i64>() {
        let steps = [1, -1].map(|by| it.checked_add(by));
        res.extend(steps.into_iter().flatten().map(|it| it.to_string()));
    }
    if let Ok(it) = text.parse::<jiff::Timestamp>() {
        let second = jiff::SignedDuration::from_secs(1);
        res.extend(it.checked_add(second).ok().map(|it| it.to_string()));
        res.extend(it.checked_sub(second).ok().map(|it| it.to_string()));
    }
    for more in ["y", "z", "2", "w", "v"] {
        res.push(format!("{text}{more}"));
        res.push(format!("{more}{text}"));
        res.push(more.to_owned());
    }
    res.extend(["true", "false", "192.0.2.1", "7"].map(str::to_owned));
    res
}

/// Removes everything from a request that does not matter, until every fact left is needed.
pub(super) fn shrink(point: &Point, fits: &dyn Fn(&Point) -> bool) -> Point {
    let mut best = point.clone();
    settle_pool_type(&mut best, fits);
    loop {
        let smaller = smaller(&best).into_iter().find(|it| fits(it));
        match smaller {
            Some(it) => best = it,
            None => return best,
        }
    }
}

/// Gives a job in a pool a pool type, which every such job has.
fn settle_pool_type(point: &mut Point, fits: &dyn Fn(&Point) -> bool) {
    let dedicated = Setting::Texts(vec!["dedicated".to_owned()]);
    let typed = point.holding(&Variable::Fact(JobFact::PoolType), &dedicated);
    if lacks_pool_type(point) && fits(&typed) {
        *point = typed;
    }
}

fn lacks_pool_type(point: &Point) -> bool {
    let attributes = &point.attributes;
    attributes.pool_id.value().is_some() && attributes.pool_type == Attribute::Absent
}

/// The requests with one thing less.
fn smaller(point: &Point) -> Vec<Point> {
    let mut changes = Vec::new();
    for variable in possible() {
        if let Setting::Texts(them) = point.setting(&variable) {
            for at in 0..them.len() {
                let mut rest = them.clone();
                rest.remove(at);
                changes.push((variable.clone(), Setting::Texts(rest)));
            }
        }
        changes.push((variable, Setting::Absent));
    }
    let tags = point.query.principal.tags().keys().cloned().map(Variable::PrincipalTag);
    changes.extend(tags.map(|it| (it, Setting::Absent)));
    let tags = point.attributes.tags.value().into_iter().flat_map(|it| it.keys().cloned());
    // Where tags are unavailable, to set any one makes all of them known.
    let tags = tags.chain([String::new()]).map(Variable::ResourceTag);
    changes.extend(tags.map(|it| (it, Setting::Absent)));
    let usual = Point::new();
    changes.extend(USUAL.iter().map(|it| (it.clone(), usual.setting(it))));
    let changed = changes.iter().map(|(variable, setting)| point.holding(variable, setting));
    let is_possible = |it: &Point| !lacks_pool_type(it) || lacks_pool_type(point);
    changed.filter(|it| it != point && is_possible(it)).collect()
}

/// The variables that may be absent.
fn possible() -> Vec<Variable> {
    let facts = JobFact::ALL.iter().copied().map(Variable::Fact);
    let others = [Variable::Agent, Variable::Groups, Variable::Secure, Variable::SourceIp];
    others.into_iter().chain(facts).collect()
}

/// The variables that take their usual value where they do not matter.
const USUAL: &[Variable] = &[
    Variable::Method,
    Variable::Account,
    Variable::Caller,
    Variable::Job,
    Variable::Now,
    Variable::Project,
    Variable::Region,
];
