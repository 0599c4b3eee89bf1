//! The search: is there an assignment of true and false under which every clause holds?
//!
//! It decides one variable and computes what follows from the clauses. On a contradiction it adds a
//! clause that says which decisions exclude each other, so that it does not make the same mistake
//! twice. It ends with an assignment, with the proof that there is none, or when the allowed effort
//! is spent. The same questions in the same order give the same answers. (This is conflict-driven
//! clause learning, as in SAT solvers.)

#![expect(
    clippy::indexing_slicing,
    reason = "every index is a variable, a literal or a clause that this module has made"
)]

use std::collections::BinaryHeap;
use std::fmt;
use std::ops::Not;

/// How many conflicts there are before the search starts again with what it has learnt.
const RESTART: u64 = 128;

/// A variable or its negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Literal(u32);

impl Literal {
    fn variable(self) -> usize {
        (self.0 >> 1) as usize
    }

    fn index(self) -> usize {
        self.0 as usize
    }

    fn is_negated(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Not for Literal {
    type Output = Self;

    fn not(self) -> Self {
        Self(self.0 ^ 1)
    }
}

/// How much work a comparison may take.
#[derive(Clone, Copy)]
pub struct Effort<'a> {
    /// In steps of the search, some millions a second.
    pub steps: u64,
    /// Asked now and then: whether to go on.
    pub go_on: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Effort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effort").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Effort<'_> {
    /// Whether to begin at all.
    pub(super) fn begin(&mut self) -> Result<(), Exhausted> {
        if (self.go_on)() { Ok(()) } else { Err(Exhausted) }
    }

    /// Uses up steps, if there are enough left.
    pub(super) fn take(&mut self, steps: usize) -> Result<(), Exhausted> {
        let before = self.steps >> 12;
        self.steps = self.steps.saturating_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        if before != self.steps >> 12 && !(self.go_on)() {
            self.steps = 0;
        }
        if 0 < self.steps { Ok(()) } else { Err(Exhausted) }
    }
}

/// The steps are used up, or there was no time left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// Clauses and what is known to follow from them.
#[derive(Debug, Default)]
pub(super) struct Search {
    clauses: Vec<Vec<Literal>>,
    /// For each literal, the clauses that have it as their first or second.
    watches: Vec<Vec<usize>>,
    /// By variable.
    values: Vec<Option<bool>>,
    reasons: Vec<Option<usize>>,
    levels: Vec<usize>,
    /// For each variable, the value that is tried first.
    preferred: Vec<bool>,
    /// For each variable, when it was last part of a conflict.
    stamps: Vec<u64>,
    order: BinaryHeap<(u64, usize)>,
    clock: u64,
    trail: Vec<Literal>,
    decisions: Vec<usize>,
    /// The part of the trail whose consequences have been drawn.
    drawn: usize,
    /// The clauses contradict each other, so that there is no assignment.
    broken: bool,
    core: Vec<Literal>,
}

impl Search {
    /// A new variable; `preferred` is the value that is tried first, and with `early` it is decided
    /// before others.
    pub(super) fn variable(&mut self, preferred: bool, early: bool) -> Literal {
        let variable = self.values.len();
        self.values.push(None);
        self.reasons.push(None);
        self.levels.push(0);
        self.preferred.push(preferred);
        let stamp = u64::from(early);
        self.stamps.push(stamp);
        self.clock = self.clock.max(1);
        self.order.push((stamp, variable));
        self.watches.extend([Vec::new(), Vec::new()]);
        Literal(u32::try_from(variable << 1).unwrap_or(u32::MAX))
    }

    /// Demands that at least one of the literals holds.
    pub(super) fn clause(&mut self, literals: &[Literal]) {
        self.back_to(0);
        let mut them: Vec<_> =
            literals.iter().copied().filter(|it| self.value(*it) != Some(false)).collect();
        them.sort_unstable();
        them.dedup();
        if them.iter().any(|it| self.value(*it) == Some(true) || them.contains(&!*it)) {
            return;
        }
        match them.as_slice() {
            [] => self.broken = true,
            [it] => {
                self.assign(*it, None);
                self.broken |= self.consequences().is_some();
            }
            _ => {
                self.add(them);
            }
        }
    }

    /// An assignment under which all clauses and all `assumptions` hold, if there is one. It stays
    /// readable by [`Self::holds`] until the next clause or question.
    pub(super) fn solve(
        &mut self,
        assumptions: &[Literal],
        effort: &mut Effort<'_>,
    ) -> Result<bool, Exhausted> {
        self.back_to(0);
        self.core.clear();
        let mut conflicts = 0;
        while !self.broken {
            let before = self.drawn;
            let conflict = self.consequences();
            effort.take(1 + self.drawn.saturating_sub(before)).inspect_err(|_| self.back_to(0))?;
            if let Some(conflict) = conflict {
                if self.decisions.is_empty() {
                    self.broken = true;
                    break;
                }
                conflicts += 1;
                self.learn(conflict);
                if conflicts % RESTART == 0 {
                    self.back_to(0);
                }
                continue;
            }
            let next = match assumptions.get(self.decisions.len()) {
                Some(it) if self.value(*it) == Some(false) => {
                    self.core = self.blame(*it);
                    return Ok(false);
                }
                Some(it) => Some(*it),
                None => self.undecided(),
            };
            let Some(next) = next else {
                return Ok(true);
            };
            self.decisions.push(self.trail.len());
            if self.value(next).is_none() {
                self.assign(next, None);
            }
        }
        Ok(false)
    }

    /// The literal holds in the assignment that was found.
    pub(super) fn holds(&self, literal: Literal) -> bool {
        self.value(literal) == Some(true)
    }

    /// After a question without a solution: assumptions that cannot hold together.
    pub(super) fn core(&self) -> &[Literal] {
        &self.core
    }

    /// The assumptions because of which `failed`, also an assumption, cannot hold.
    fn blame(&self, failed: Literal) -> Vec<Literal> {
        let mut seen = vec![false; self.values.len()];
        seen[failed.variable()] = true;
        let mut res = vec![failed];
        for literal in self.trail.iter().rev() {
            let variable = literal.variable();
            if !seen[variable] || self.levels[variable] == 0 {
                continue;
            }
            match self.reasons[variable] {
                Some(it) => self.clauses[it].iter().for_each(|it| seen[it.variable()] = true),
                // Without a reason it is an assumption: nothing else has been decided yet.
                None => res.push(*literal),
            }
        }
        res
    }

    fn value(&self, literal: Literal) -> Option<bool> {
        self.values[literal.variable()].map(|it| it != literal.is_negated())
    }

    fn assign(&mut self, literal: Literal, reason: Option<usize>) {
        let variable = literal.variable();
        self.values[variable] = Some(!literal.is_negated());
        self.reasons[variable] = reason;
        self.levels[variable] = self.decisions.len();
        self.trail.push(literal);
    }

    fn add(&mut self, clause: Vec<Literal>) -> usize {
        let at = self.clauses.len();
        for it in clause.iter().take(2) {
            self.watches[it.index()].push(at);
        }
        self.clauses.push(clause);
        at
    }

    fn undecided(&mut self) -> Option<Literal> {
        while let Some((stamp, variable)) = self.order.pop() {
            if self.values[variable].is_none() && stamp == self.stamps[variable] {
                let sign = u32::from(!self.preferred[variable]);
                return Some(Literal(u32::try_from(variable << 1).unwrap_or(u32::MAX) | sign));
            }
        }
        None
    }

    fn back_to(&mut self, level: usize) {
        let Some(length) = self.decisions.get(level).copied() else {
            return;
        };
        for literal in self.trail.split_off(length) {
            let variable = literal.variable();
            self.values[variable] = None;
            self.order.push((self.stamps[variable], variable));
        }
        self.decisions.truncate(level);
        self.drawn = length;
    }

    /// Assigns everything that follows; returns a clause that can no longer hold, if there is one.
    fn consequences(&mut self) -> Option<usize> {
        while let Some(literal) = self.trail.get(self.drawn).copied() {
            self.drawn += 1;
            let wrong = !literal;
            let mut left = std::mem::take(&mut self.watches[wrong.index()]);
            let mut kept = 0;
            let mut conflict = None;
            for at in 0..left.len() {
                let number = left[at];
                if conflict.is_some() || !self.rewatch(number, wrong) {
                    left[kept] = number;
                    kept += 1;
                    if conflict.is_some() {
                        continue;
                    }
                    let first = self.clauses[number][0];
                    match self.value(first) {
                        Some(true) => (),
                        Some(false) => conflict = Some(number),
                        None => self.assign(first, Some(number)),
                    }
                }
            }
            left.truncate(kept);
            self.watches[wrong.index()].append(&mut left);
            if conflict.is_some() {
                return conflict;
            }
        }
        None
    }

    /// Finds another literal to watch in place of a false one; without one, only the first literal
    /// can still make the clause hold.
    fn rewatch(&mut self, number: usize, wrong: Literal) -> bool {
        let clause = &mut self.clauses[number];
        if clause[0] == wrong {
            clause.swap(0, 1);
        }
        let values = &self.values;
        let value = |it: Literal| values[it.variable()].map(|value| value != it.is_negated());
        if value(clause[0]) == Some(true) {
            return false;
        }
        let other = (2..clause.len()).find(|at| value(clause[*at]) != Some(false));
        if let Some(other) = other {
            clause.swap(1, other);
            let watched = clause[1];
            self.watches[watched.index()].push(number);
        }
        other.is_some()
    }

    /// Learns from a clause that cannot hold: goes back along the reasons until one literal of the
    /// last decision is left, and back to where that literal follows.
    fn learn(&mut self, conflict: usize) {
        let level = self.decisions.len();
        let mut seen = vec![false; self.values.len()];
        let mut learnt = Vec::new();
        let (mut open, mut at, mut reason) = (0, self.trail.len(), Some(conflict));
        let last = loop {
            for literal in reason.map(|it| self.clauses[it].clone()).unwrap_or_default() {
                let variable = literal.variable();
                if seen[variable] || self.levels[variable] == 0 || self.holds(literal) {
                    continue;
                }
                seen[variable] = true;
                self.stamp(variable);
                match self.levels[variable] == level {
                    true => open += 1,
                    false => learnt.push(literal),
                }
            }
            let next = loop {
                at -= 1;
                if seen[self.trail[at].variable()] {
                    break self.trail[at];
                }
            };
            open -= 1;
            if open == 0 {
                break next;
            }
            reason = self.reasons[next.variable()];
        };
        // The latest of the others is watched too.
        learnt.sort_by_key(|it| std::cmp::Reverse(self.levels[it.variable()]));
        let back = learnt.first().map_or(0, |it| self.levels[it.variable()]);
        learnt.insert(0, !last);
        self.back_to(back);
        match learnt.len() {
            1 => self.assign(!last, None),
            _ => {
                let number = self.add(learnt);
                self.assign(!last, Some(number));
            }
        }
    }

    fn stamp(&mut self, variable: usize) {
        self.clock += 1;
        self.stamps[variable] = self.clock;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn solve(variables: usize, clauses: &[Vec<i8>], assumed: &[i8]) -> Option<Vec<bool>> {
        let mut search = Search::default();
        let all: Vec<_> =
            (0..variables).map(|it| search.variable(it % 3 == 0, it % 2 == 0)).collect();
        let literal = |it: i8| {
            let variable = all[usize::from(it.unsigned_abs()) - 1];
            if it < 0 { !variable } else { variable }
        };
        let mut effort = Effort { steps: u64::MAX, go_on: &|| true };
        let mut res = None;
        // Add clauses one by one, as is done between questions.
        for clause in clauses {
            search.clause(&clause.iter().map(|it| literal(*it)).collect::<Vec<_>>());
            let assumed: Vec<_> = assumed.iter().map(|it| literal(*it)).collect();
            let found = search.solve(&assumed, &mut effort).unwrap();
            if !found {
                let core = search.core().to_vec();
                assert!(core.iter().all(|it| assumed.contains(it)), "{core:?} of {assumed:?}");
                assert!(!search.solve(&core, &mut effort).unwrap(), "{core:?}");
            }
            res = found.then(|| all.iter().map(|it| search.holds(*it)).collect());
        }
        res
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_everything_finds(
            clauses in prop::collection::vec(prop::collection::vec(1_i8..=8, 1..4), 1..40),
            signs in prop::collection::vec(any::<bool>(), 160),
            assumed in prop::collection::vec(1_i8..=8, 0..3),
        ) {
            let mut signs = signs.into_iter().cycle();
            let mut sign = |it: &i8| if signs.next().unwrap() { *it } else { -*it };
            let clauses: Vec<Vec<i8>> =
                clauses.iter().map(|it| it.iter().map(&mut sign).collect()).collect();
            let assumed: Vec<i8> = assumed.iter().map(&mut sign).collect();
            let holds = |model: &[bool], it: &i8| model[it.unsigned_abs() as usize - 1] == (0 < *it);
            let right = |model: &[bool]| {
                clauses.iter().all(|clause| clause.iter().any(|it| holds(model, it)))
                    && assumed.iter().all(|it| holds(model, it))
            };
            let exists = (0..256_u32).any(|bits| {
                right(&(0..8).map(|it| bits >> it & 1 == 1).collect::<Vec<_>>())
            });
            let found = solve(8, &clauses, &assumed);
            prop_assert_eq!(found.is_some(), exists);
            if let Some(model) = found {
                prop_assert!(right(&model));
            }
        }
    }

    /// Seven pigeons in six holes: hard, because no few clauses contradict each other.
    #[test]
    fn the_budget_is_kept() {
        let holes = 9;
        let mut search = Search::default();
        let pigeons: Vec<Vec<_>> = (0..=holes)
            .map(|_| (0..holes).map(|_| search.variable(false, false)).collect())
            .collect();
        for pigeon in &pigeons {
            search.clause(pigeon);
        }
        for hole in 0..holes {
            for (at, pigeon) in pigeons.iter().enumerate() {
                for other in &pigeons[..at] {
                    search.clause(&[!pigeon[hole], !other[hole]]);
                }
            }
        }
        let mut effort = Effort { steps: 20_000, go_on: &|| true };
        assert_eq!(search.solve(&[], &mut effort), Err(Exhausted));
        let mut stopped = Effort { steps: u64::MAX, go_on: &|| false };
        assert_eq!(search.solve(&[], &mut stopped), Err(Exhausted));
    }
}
