//! Comparisons of one text with another: `lychgate:jobOwner` with `${g:UserName}`.
//!
//! Whether they hold depends on both variables at once. The two texts are read in step, which shows
//! all pairs of classes that go together; for classes of a single text the engine says whether the
//! two are the same. Comparisons that read numbers, dates, addresses or truth values, or that name
//! several variables, are left open: a difference that depends on one is real if a request shows
//! it, and undecided otherwise.

use super::asked::Subject;
use super::automaton::{Automaton, Part, Phase};
use super::encode::{Bound, Model};
use super::glob::Glob;
use super::parts::Question;
use super::search::{Effort, Exhausted};
use crate::policy::language::key::Key;
use crate::policy::language::template::Part as Written;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The most pairs of states that are visited for one comparison, and of leaves that are compared
/// one by one.
const PAIRS_MAX: usize = 400_000;

/// Which classes go together.
type Pairs = BTreeMap<usize, BTreeSet<usize>>;

impl Model {
    /// Adds what is known about the relations.
    pub(super) fn tabulate(&mut self, effort: &mut Effort<'_>) -> Result<(), Exhausted> {
        self.one_each();
        let questions: Vec<_> = self.relations.iter().map(|it| it.question.clone()).collect();
        for (number, question) in questions.iter().enumerate() {
            let keys = question.keys();
            let [key] = keys.as_slice() else {
                continue;
            };
            let (subject, of) = (question.subject(), Subject::Key((*key).clone()));
            if subject == of {
                self.same(number, question);
                continue;
            }
            if subject.variable() == of.variable() || subject.is_urn() || of.is_urn() {
                continue;
            }
            if question.compared().is_some() {
                if let Some(pairs) = self.pairs(question, &of, effort)? {
                    self.restrict(number, &subject, &of, &pairs);
                }
                self.settle(number, question, &of, effort)?;
                for (other, two) in questions.iter().enumerate() {
                    self.follow((number, question), (other, two));
                }
            }
        }
        Ok(())
    }

    /// No two of several values are the same: at most one equals a text without wildcards, and a
    /// class of one text has one answer.
    fn one_each(&mut self) {
        for bound in self.bounds.values().filter(|it| !it.relations.is_empty()) {
            let leaves: Vec<_> = bound.leaves().collect();
            for (bit, number) in bound.relations.iter().enumerate() {
                let compared = self.relations.get(*number).and_then(|it| it.question.compared());
                if compared.is_some_and(|(folded, parts)| !folded && is_exact(parts)) {
                    let met = leaves.iter().filter(|(at, _)| bound.split(*at).1 >> bit & 1 == 1);
                    self.circuit.at_most_one(met.map(|(_, it)| *it));
                }
            }
            for same in leaves.chunk_by(|(a, _), (b, _)| bound.split(*a).0 == bound.split(*b).0) {
                let leaf = same.first().map_or(0, |(at, _)| bound.split(*at).0);
                if bound.domain.leaves.get(leaf).is_some_and(|it| it.is_literal) {
                    self.circuit.at_most_one(same.iter().map(|(_, it)| *it));
                }
            }
        }
    }

    /// Relates two patterns of one variable: a text that is `a${key}` ends in `${key}`, and is not
    /// `${key}`.
    fn follow(&mut self, (number, one): (usize, &Question), (other, two): (usize, &Question)) {
        let (Some((folded, first)), Some((folds, second))) = (one.compared(), two.compared())
        else {
            return;
        };
        if number == other
            || folded
            || !is_exact(first)
            || one.subject() != two.subject()
            || one.keys() != two.keys()
        {
            return;
        }
        let length = |them: &[Written]| -> usize {
            let text =
                |it: &Written| if let Written::Text(it) = it { it.chars().count() } else { 0 };
            them.iter().map(text).sum()
        };
        // A letter that occurs in no text stands for the variable.
        const VARIABLE: &str = "\u{10ffff}";
        let text: String = first
            .iter()
            .map(|it| if let Written::Text(it) = it { it.as_str() } else { VARIABLE })
            .collect();
        let shape = Glob::filled(folds, second, VARIABLE);
        let follows = shape.run(Glob::START, &text).contains(&shape.end());
        let excluded = is_exact(second) && length(first) != length(second);
        if follows || excluded {
            self.never(number, other, !follows);
        }
    }

    /// Excludes that the first relation holds while the second is `answer`.
    fn never(&mut self, first: usize, second: usize, answer: bool) {
        let (Some(one), Some(two)) = (self.relations.get(first), self.relations.get(second)) else {
            return;
        };
        let bound = one.question.subject().variable().and_then(|it| self.bounds.get(&it));
        let bits = bound.map(|it| [first, second].map(|relation| it.bit(relation)));
        let clause = match (bits, bound) {
            (Some([Some(first), Some(second)]), Some(bound)) => {
                vec![!bound.tree.any(&mut self.circuit, |at| {
                    let (_, answers) = bound.split(at);
                    answers >> first & 1 == 1 && (answers >> second & 1 == 1) == answer
                })]
            }
            (Some([None, None]), _) => {
                vec![!one.literal, if answer { !two.literal } else { two.literal }]
            }
            _ => return,
        };
        self.circuit.search.clause(&clause);
    }

    /// Settles the comparison of a key with itself and nothing but `*` around it.
    fn same(&mut self, number: usize, question: &Question) {
        let plain = question.parts().is_some_and(|parts| {
            parts.iter().filter(|it| matches!(it, Written::Variable(_))).count() == 1
                && parts.iter().all(|it| matches!(it, Written::Variable(_) | Written::Star))
        });
        if !plain {
            return;
        }
        let Some(variable) = question.subject().variable() else {
            return;
        };
        let holds = self.chosen(&variable, |world| question.holds(world.facts()));
        let (Some(relation), Some(bound)) =
            (self.relations.get(number), self.bounds.get(&variable))
        else {
            return;
        };
        let (literal, present) = (relation.literal, bound.present);
        self.circuit.search.clause(&[!present, !literal, holds]);
        self.circuit.search.clause(&[!present, literal, !holds]);
    }

    fn pairs(
        &self,
        question: &Question,
        of: &Subject,
        effort: &mut Effort<'_>,
    ) -> Result<Option<Pairs>, Exhausted> {
        let subject = question.subject();
        let Some((folded, parts)) = question.compared() else {
            return Ok(None);
        };
        if subject == Subject::Key(Key::Groups) || subject.part() == Part::Head {
            return Ok(None);
        }
        let automaton = |it: &Subject| self.bounds.get(&it.variable()?)?.domain.automata.first();
        let (Some(left), Some(right)) = (automaton(&subject), automaton(of)) else {
            return Ok(None);
        };
        InStep { left, right, folded }.pairs(subject.part(), of.part(), parts, effort)
    }

    /// If the relation holds, the two classes must be one of `pairs`.
    fn restrict(&mut self, number: usize, subject: &Subject, of: &Subject, pairs: &Pairs) {
        let (Some(variable), Some(other)) = (subject.variable(), of.variable()) else {
            return;
        };
        let (Some(bound), Some(second)) = (self.bounds.get(&variable), self.bounds.get(&other))
        else {
            return;
        };
        let class = |bound: &Bound, leaf: usize| bound.domain.leaves.get(leaf)?.class;
        let mut by_partners: BTreeMap<Option<&BTreeSet<usize>>, BTreeSet<usize>> = BTreeMap::new();
        for leaf in 0..bound.worlds.len() {
            if let Some(it) = class(bound, leaf) {
                by_partners.entry(pairs.get(&it)).or_default().insert(leaf);
            }
        }
        let Some(relation) = self.relations.get(number) else {
            return;
        };
        let bit = bound.bit(number);
        for (partners, leaves) in by_partners {
            let chosen = bound.tree.any(&mut self.circuit, |at| {
                let (leaf, answers) = bound.split(at);
                leaves.contains(&leaf) && bit.is_none_or(|it| answers >> it & 1 == 1)
            });
            let partner = second.tree.any(&mut self.circuit, |at| {
                let class = class(second, at);
                class.is_some_and(|it| partners.is_some_and(|them| them.contains(&it)))
            });
            let mut clause = vec![!chosen, partner, !second.present];
            match (bit, variable.is_several()) {
                (Some(_), _) => (),
                (None, false) => clause.push(!relation.literal),
                // The values of this variable do not record the answer.
                (None, true) => continue,
            }
            self.circuit.search.clause(&clause);
        }
    }

    /// If the other text is a single known one, the engine decides the relation.
    fn settle(
        &mut self,
        number: usize,
        question: &Question,
        of: &Subject,
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        let subject = question.subject();
        let compared = question.compared().and_then(|(folded, parts)| {
            self.refined.get(&(subject.clone(), folded, parts.to_vec()))
        });
        let (Some(literals), Some(variable), Some(other), Subject::Key(key)) =
            (compared, subject.variable(), of.variable(), of)
        else {
            return Ok(());
        };
        let (Some(bound), Some(second), Some(relation)) =
            (self.bounds.get(&variable), self.bounds.get(&other), self.relations.get(number))
        else {
            return Ok(());
        };
        let bit = bound.bit(number);
        if PAIRS_MAX < bound.worlds.len() * literals.len()
            || (bit.is_none() && variable.is_several())
        {
            return Ok(());
        }
        for (at, [world, _]) in second.worlds.iter().enumerate() {
            let text = world.text(key).filter(|it| literals.contains(it));
            let (Some(_), Some(leaf)) = (text, second.tree.leaf(at)) else {
                continue;
            };
            effort.take(bound.worlds.len())?;
            let holds: Vec<_> = bound
                .worlds
                .iter()
                .map(|[first, _]| question.holds(first.with(&other, world).facts()))
                .collect();
            let wrong = |answer: bool| {
                let holds = &holds;
                move |at: usize| {
                    let (leaf, answers) = bound.split(at);
                    let said = bit.map(|it| answers >> it & 1 == 1);
                    said.is_none_or(|it| it == answer) && holds.get(leaf) == Some(&!answer)
                }
            };
            for answer in [true, false] {
                let wrong = bound.tree.any(&mut self.circuit, wrong(answer));
                let mut clause = vec![!leaf, !wrong, !bound.present];
                if bit.is_none() {
                    clause.push(if answer { !relation.literal } else { relation.literal });
                }
                self.circuit.search.clause(&clause);
            }
        }
        Ok(())
    }
}

/// Whether the pattern has no wildcards.
fn is_exact(parts: &[Written]) -> bool {
    parts.iter().all(|it| matches!(it, Written::Text(_) | Written::Variable(_)))
}

/// Two texts that are read together.
struct InStep<'a> {
    left: &'a Automaton,
    right: &'a Automaton,
    folded: bool,
}

impl InStep<'_> {
    /// The pairs of classes for which the left text is `parts` with the right text in place of the
    /// variable; `None` if there is too much to visit.
    fn pairs(
        &self,
        left_part: Part,
        right_part: Part,
        parts: &[Written],
        effort: &mut Effort<'_>,
    ) -> Result<Option<Pairs>, Exhausted> {
        let starts = |automaton: &Automaton, part| match part {
            Part::Tail => automaton.at(Phase::Cut),
            Part::Head | Part::Opening | Part::Whole => BTreeSet::from([0]),
        };
        let mut parts = parts.iter();
        let before: Vec<_> =
            parts.by_ref().take_while(|it| !matches!(it, Written::Variable(_))).cloned().collect();
        let after: Vec<_> = parts.cloned().collect();
        if after.iter().any(|it| matches!(it, Written::Variable(_))) {
            return Ok(None);
        }
        let first = self.through(&starts(self.left, left_part), &before);
        let second = starts(self.right, right_part);
        let mut open: VecDeque<(usize, usize)> =
            first.iter().flat_map(|a| second.iter().map(move |b| (*a, *b))).collect();
        let mut seen: BTreeSet<_> = open.iter().copied().collect();
        let mut ends: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        let mut res = Pairs::new();
        while let Some((left, right)) = open.pop_front() {
            if PAIRS_MAX < seen.len() {
                return Ok(None);
            }
            let partners = self.ends(right, right_part);
            if !partners.is_empty() {
                let classes = ends.entry(left).or_insert_with(|| {
                    let ends = self.through(&BTreeSet::from([left]), &after);
                    ends.iter().filter_map(|it| self.left.states.get(*it)?.class).collect()
                });
                for class in classes.iter() {
                    res.entry(*class).or_default().extend(&partners);
                }
            }
            let next = self.next(left, right, right_part);
            effort.take(1 + next.len())?;
            open.extend(next.into_iter().filter(|it| seen.insert(*it)));
        }
        Ok(Some(res))
    }

    /// The classes of a right text that ends here, or whose head does.
    fn ends(&self, state: usize, part: Part) -> BTreeSet<usize> {
        let class = |it: &usize| self.right.states.get(*it)?.class;
        match part {
            Part::Head => {
                let cut = self.right.step(state, '/').map(|it| BTreeSet::from([it]));
                let cut = cut.filter(|_| {
                    self.right.states.get(state).is_some_and(|it| it.phase == Phase::Head)
                });
                self.right.closure(&cut.unwrap_or_default()).iter().filter_map(class).collect()
            }
            Part::Opening | Part::Tail | Part::Whole => class(&state).into_iter().collect(),
        }
    }

    /// The pairs that one more letter of both leads to.
    fn next(&self, left: usize, right: usize, right_part: Part) -> Vec<(usize, usize)> {
        let mut letters: BTreeSet<char> =
            self.left.letters(left).chain(self.right.letters(right)).collect();
        if self.folded {
            let more: Vec<_> = letters.iter().flat_map(|it| cases(*it)).collect();
            letters.extend(more);
        }
        letters.extend(self.left.another(&letters));
        letters.extend(self.right.another(&letters));
        let mut res = Vec::new();
        for letter in letters.iter().filter(|it| right_part != Part::Head || **it != '/') {
            let partners = if self.folded { cases(*letter) } else { vec![*letter] };
            for partner in partners {
                if let (Some(left), Some(right)) =
                    (self.left.step(left, partner), self.right.step(right, *letter))
                {
                    res.push((left, right));
                }
            }
        }
        res
    }

    /// The states that these parts can lead the left text to.
    fn through(&self, states: &BTreeSet<usize>, parts: &[Written]) -> BTreeSet<usize> {
        let mut states = states.clone();
        for part in parts {
            match part {
                Written::Any => {
                    states = states.iter().flat_map(|it| self.left.successors(*it)).collect();
                }
                Written::Star => states = self.left.closure(&states),
                Written::Text(text) => {
                    for letter in text.chars() {
                        let cases = if self.folded { cases(letter) } else { vec![letter] };
                        let step = |state: &usize| {
                            cases.iter().filter_map(|it| self.left.step(*state, *it)).collect()
                        };
                        states = states.iter().flat_map::<Vec<_>, _>(step).collect();
                    }
                }
                Written::Variable(_) => (),
            }
        }
        states
    }
}

/// The letter in both cases if it is an ASCII letter, else as it is.
fn cases(letter: char) -> Vec<char> {
    let mut res = vec![letter.to_ascii_lowercase(), letter.to_ascii_uppercase()];
    res.dedup();
    res
}
