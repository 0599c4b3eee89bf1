//! Builds clauses from ands, ors, and variables that have one of several values.

use super::search::{Literal, Search};

use std::collections::HashMap;
use std::ops::Range;

/// Clauses, with a literal for every formula that was built once.
#[derive(Debug)]
pub(super) struct Circuit {
    pub(super) search: Search,
    gates: HashMap<Vec<Literal>, Literal>,
    yes: Literal,
}

/// A three-valued truth as two literals: it holds; it holds or is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    pub(super) holds: Literal,
    pub(super) may_hold: Literal,
}

/// Values of which exactly one is chosen, or any number, with a literal for each half, quarter and
/// so on.
#[derive(Debug)]
pub(super) struct Tree {
    leaves: Vec<Literal>,
    root: Option<Node>,
    is_one: bool,
}

#[derive(Debug)]
struct Node {
    literal: Literal,
    leaves: Range<usize>,
    halves: Option<Box<[Self; 2]>>,
}

impl Truth {
    /// A truth that is never unknown.
    pub(super) fn certain(it: Literal) -> Self {
        Self { holds: it, may_hold: it }
    }
}

impl Circuit {
    pub(super) fn new() -> Self {
        let mut search = Search::default();
        let yes = search.variable(true, true);
        search.clause(&[yes]);
        Self { search, gates: HashMap::new(), yes }
    }

    pub(super) fn constant(&self, it: bool) -> Literal {
        if it { self.yes } else { !self.yes }
    }

    /// True if all of them hold.
    pub(super) fn all(&mut self, them: impl IntoIterator<Item = Literal>) -> Literal {
        self.gate(them, false)
    }

    /// True if any of them holds. The search tries first that none does, so that requests are as
    /// plain as possible.
    pub(super) fn any(&mut self, them: impl IntoIterator<Item = Literal>) -> Literal {
        !self.gate(them.into_iter().map(|it| !it), true)
    }

    fn gate(&mut self, them: impl IntoIterator<Item = Literal>, preferred: bool) -> Literal {
        let yes = self.yes;
        let mut them: Vec<_> = them.into_iter().filter(|it| *it != yes).collect();
        them.sort_unstable();
        them.dedup();
        // A variable and its negation are neighbours.
        let apart = them.array_windows().all(|[a, b]| *a != !*b);
        match them.as_slice() {
            [] => yes,
            _ if !apart || them.contains(&!yes) => !yes,
            [it] => *it,
            _ => match self.gates.get(&them) {
                Some(it) => *it,
                None => {
                    let gate = self.search.variable(preferred, false);
                    for it in &them {
                        self.search.clause(&[!gate, *it]);
                    }
                    let mut long: Vec<_> = them.iter().map(|it| !*it).collect();
                    long.push(gate);
                    self.search.clause(&long);
                    self.gates.insert(them, gate);
                    gate
                }
            },
        }
    }

    pub(super) fn at_most_one(&mut self, them: impl IntoIterator<Item = Literal>) {
        let mut before = !self.yes;
        for it in them {
            self.search.clause(&[!it, !before]);
            before = self.any([before, it]);
        }
    }

    pub(super) fn truth(&self, it: bool) -> Truth {
        Truth::certain(self.constant(it))
    }

    pub(super) fn all_true(&mut self, them: &[Truth]) -> Truth {
        Truth {
            holds: self.all(them.iter().map(|it| it.holds)),
            may_hold: self.all(them.iter().map(|it| it.may_hold)),
        }
    }

    pub(super) fn any_true(&mut self, them: &[Truth]) -> Truth {
        Truth {
            holds: self.any(them.iter().map(|it| it.holds)),
            may_hold: self.any(them.iter().map(|it| it.may_hold)),
        }
    }

    /// A truth that nothing is known about.
    pub(super) fn open(&mut self) -> Truth {
        let (holds, may_hold) =
            (self.search.variable(false, false), self.search.variable(false, false));
        self.search.clause(&[!holds, may_hold]);
        Truth { holds, may_hold }
    }
}

impl Tree {
    /// `count` values: exactly one of them, preferably the first, or any number.
    pub(super) fn new(circuit: &mut Circuit, count: usize, is_one: bool) -> Self {
        let leaves: Vec<_> = (0..count)
            .map(|at| circuit.search.variable(is_one && at == 0, is_one && at == 0))
            .collect();
        let root = (!leaves.is_empty()).then(|| Node::new(circuit, &leaves, 0..count, is_one));
        if is_one {
            circuit.search.clause(root.as_ref().map(|it| it.literal).as_slice());
        }
        Self { leaves, root, is_one }
    }

    pub(super) fn leaves(&self) -> &[Literal] {
        &self.leaves
    }

    pub(super) fn leaf(&self, at: usize) -> Option<Literal> {
        self.leaves.get(at).copied()
    }

    /// The leaves that are chosen in the assignment that was found.
    pub(super) fn found(&self, circuit: &Circuit) -> Vec<usize> {
        let leaves = self.leaves.iter().enumerate();
        leaves.filter(|(_, it)| circuit.search.holds(**it)).map(|(at, _)| at).collect()
    }

    /// True if one of these values is chosen.
    pub(super) fn any(&self, circuit: &mut Circuit, chosen: impl Fn(usize) -> bool) -> Literal {
        let chosen: Vec<_> = (0..self.leaves.len()).map(chosen).collect();
        let cover = self.cover(&chosen);
        if self.is_one {
            let others: Vec<_> = chosen.iter().map(|it| !it).collect();
            let others = self.cover(&others);
            if others.len() < cover.len() {
                return !circuit.any(others);
            }
        }
        circuit.any(cover)
    }

    fn cover(&self, chosen: &[bool]) -> Vec<Literal> {
        let mut res = Vec::new();
        if let Some(root) = &self.root {
            root.cover(chosen, &mut res);
        }
        res
    }
}

impl Node {
    fn new(circuit: &mut Circuit, all: &[Literal], leaves: Range<usize>, is_one: bool) -> Self {
        let middle = leaves.start.midpoint(leaves.end);
        if middle == leaves.start {
            let literal = all.get(middle).copied().unwrap_or(circuit.yes);
            return Self { literal, leaves, halves: None };
        }
        let halves = [leaves.start..middle, middle..leaves.end]
            .map(|half| Self::new(circuit, all, half, is_one));
        let [left, right] = halves.each_ref().map(|it| it.literal);
        if is_one {
            circuit.search.clause(&[!left, !right]);
        }
        let literal = circuit.any([left, right]);
        Self { literal, leaves, halves: Some(Box::new(halves)) }
    }

    fn cover(&self, chosen: &[bool], res: &mut Vec<Literal>) {
        let mine = chosen.get(self.leaves.clone()).unwrap_or_default();
        if mine.iter().all(|it| *it) {
            res.push(self.literal);
        } else if let Some(halves) = &self.halves
            && mine.contains(&true)
        {
            halves.iter().for_each(|it| it.cover(chosen, res));
        }
    }
}
