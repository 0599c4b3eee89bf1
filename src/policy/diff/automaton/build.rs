//! Builds the automaton: from the start, state after state, until nothing new can be reached.

use super::{Automaton, Class, Lane, Part, Phase, Places, STATES_MAX, State, Universe, another};
use crate::policy::diff::search::{Effort, Exhausted};

use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    phase: Phase,
    active: Places,
    /// What the head has come to.
    frozen: Places,
}

pub(super) struct Builder {
    lanes: Vec<Lane>,
    universe: Universe,
    found: HashMap<Key, usize>,
    keys: Vec<Key>,
    states: Vec<State>,
}

impl Builder {
    pub(super) fn new(lanes: Vec<Lane>, universe: Universe) -> Self {
        Self { lanes, universe, found: HashMap::new(), keys: Vec::new(), states: Vec::new() }
    }

    pub(super) fn build(mut self, effort: &mut Effort<'_>) -> Result<Automaton, Exhausted> {
        let first = [Part::Whole, Part::Head, Part::Opening];
        let start = Key {
            phase: Phase::Start,
            active: self.starts(|it| first.contains(&it)),
            frozen: Vec::new(),
        };
        self.state(start, None);
        let mut at = 0;
        while at < self.states.len() {
            effort.take(self.expand(at))?;
            if STATES_MAX < self.states.len() {
                return Err(Exhausted);
            }
            at += 1;
        }
        let mut classes = Vec::new();
        let mut by_answer: BTreeMap<_, usize> = BTreeMap::new();
        for (at, key) in self.keys.iter().enumerate() {
            let Some(answer) = self.answer(key) else {
                continue;
            };
            let (accepted, opening) = &answer;
            let class = match by_answer.get(&answer) {
                Some(it) => *it,
                None => {
                    let literal = |it: &usize| {
                        self.lanes.get(*it).is_some_and(|it| {
                            it.part == Part::Whole && it.glob.is_literal() && it.starts == [0]
                        })
                    };
                    classes.push(Class {
                        opening: opening.clone(),
                        is_literal: accepted.iter().any(literal),
                        text: text(&self.states, at),
                    });
                    by_answer.insert(answer, classes.len() - 1);
                    classes.len() - 1
                }
            };
            if let Some(state) = self.states.get_mut(at) {
                state.class = Some(class);
            }
        }
        Ok(Automaton { states: self.states, classes, universe: self.universe })
    }

    fn starts(&self, wanted: impl Fn(Part) -> bool) -> Places {
        let lanes = self.lanes.iter().enumerate().filter(|(_, it)| wanted(it.part));
        lanes.flat_map(|(at, it)| it.starts.iter().map(move |place| (at, *place))).collect()
    }

    fn state(&mut self, key: Key, from: Option<(usize, char)>) -> usize {
        if let Some(it) = self.found.get(&key) {
            return *it;
        }
        let depth = from.and_then(|(it, _)| self.states.get(it)).map_or(0, |it| it.depth + 1);
        let phase = key.phase;
        self.states.push(State { phase, next: Vec::new(), other: None, class: None, from, depth });
        self.keys.push(key.clone());
        self.found.insert(key, self.states.len() - 1);
        self.states.len() - 1
    }

    /// Finds what follows a state; returns what it cost.
    fn expand(&mut self, at: usize) -> usize {
        let (Some(key), Some(state)) = (self.keys.get(at).cloned(), self.states.get(at)) else {
            return 0;
        };
        if state.depth == self.universe.longest {
            return 1;
        }
        let places = key.active.iter();
        let elements = places.filter_map(|(lane, place)| {
            self.lanes.get(*lane).and_then(|it| it.glob.elements.get(*place))
        });
        let mut letters: BTreeSet<char> = elements.flat_map(|it| it.letters()).collect();
        if self.universe.is_qualified && matches!(key.phase, Phase::Start | Phase::Head) {
            letters.insert('/');
        }
        letters.retain(|it| (self.universe.allowed)(*it));
        let other = another(self.universe.allowed, &letters);
        let mut next = Vec::new();
        for letter in letters.iter().copied() {
            let to = self.step(&key, letter).map(|it| self.state(it, Some((at, letter))));
            next.push((letter, to));
        }
        let other = other.and_then(|letter| {
            self.step(&key, letter).map(|it| self.state(it, Some((at, letter))))
        });
        let cost = (1 + key.active.len()) * (1 + next.len());
        if let Some(state) = self.states.get_mut(at) {
            (state.next, state.other) = (next, other);
        }
        cost / 8
    }

    fn step(&self, key: &Key, letter: char) -> Option<Key> {
        let is_slash = self.universe.is_qualified && letter == '/';
        let phase = match (key.phase, self.universe.is_qualified, is_slash) {
            (Phase::Start, true, true) => return None,
            (Phase::Head, _, true) => Phase::Cut,
            (Phase::Start | Phase::Head, true, false) => Phase::Head,
            _ => Phase::Tail,
        };
        let cut = phase == Phase::Cut;
        let (mut active, mut frozen) = (Vec::new(), key.frozen.clone());
        for places in key.active.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((number, _)) = places.first() else {
                continue;
            };
            let Some(lane) = self.lanes.get(*number) else {
                continue;
            };
            let places: Vec<_> = places.iter().map(|(_, place)| *place).collect();
            let stepped = lane.glob.step(&places, letter).into_iter().map(|it| (*number, it));
            match (cut, lane.part) {
                (true, Part::Head) if places.contains(&lane.glob.end()) => {
                    frozen.push((*number, lane.glob.end()));
                }
                (true, Part::Head) => (),
                (true, Part::Opening) => frozen.extend(stepped),
                _ => active.extend(stepped),
            }
        }
        if cut {
            active.extend(self.starts(|it| it == Part::Tail));
            active.sort_unstable();
        }
        Some(Key { phase, active, frozen })
    }

    /// The lanes whose shape the text has, and how far the opening ones are; nothing if there is no
    /// such text.
    fn answer(&self, key: &Key) -> Option<(Vec<usize>, Places)> {
        let whole = match key.phase {
            Phase::Start => self.universe.may_be_empty,
            Phase::Head | Phase::Cut => false,
            Phase::Tail => true,
        };
        let ends = |(lane, place): &&(usize, usize)| {
            self.lanes.get(*lane).is_some_and(|it| it.glob.end() == *place)
        };
        let is_opening = |(lane, _): &&(usize, usize)| {
            self.lanes.get(*lane).is_some_and(|it| it.part == Part::Opening)
        };
        let heads = key.frozen.iter().filter(|it| !is_opening(it));
        let active = key.active.iter().filter(ends).filter(|it| !is_opening(it));
        let mut accepted: Vec<_> = active.chain(heads).map(|(lane, _)| *lane).collect();
        accepted.sort_unstable();
        let excepted =
            self.universe.except.is_some() && accepted.contains(&self.lanes.len().wrapping_sub(1));
        let places = key.frozen.iter().chain(&key.active);
        let opening = places.filter(is_opening).copied().collect();
        (whole && !excepted).then_some((accepted, opening))
    }
}

/// The text that led to a state first, which is a shortest one.
fn text(states: &[State], mut at: usize) -> String {
    let mut letters = Vec::new();
    while let Some((before, letter)) = states.get(at).and_then(|it| it.from) {
        letters.push(letter);
        at = before;
    }
    letters.iter().rev().collect()
}
