//! All questions about one text as one automaton: which combinations of answers a text can have,
//! and a shortest text for each.
//!
//! Texts with the same answers to all questions form one *class*. The automaton reads a text letter
//! by letter and knows for every question how far its shape has come; letters that no question
//! names are all alike. The states that can be reached are finitely many and all visited: every
//! text belongs to a class.

mod build;

use self::build::Builder;

use super::glob::Glob;
use super::search::{Effort, Exhausted};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The most states of an automaton.
const STATES_MAX: usize = 60_000;

/// One question: a shape, where it begins, and which part of the text it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) glob: Glob,
    pub(super) starts: Vec<usize>,
    pub(super) part: Part,
}

/// A part of a text with a slash, such as `corp/alice`; the first slash counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    Whole,
    /// The text before the slash.
    Head,
    /// The beginning of another text: the whole of this one, or its head and the slash.
    Opening,
    /// The text after the slash.
    Tail,
}

/// Which texts there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Universe {
    pub(super) allowed: fn(char) -> bool,
    pub(super) may_be_empty: bool,
    /// The most letters.
    pub(super) longest: usize,
    /// There is a slash, with text before and after it.
    pub(super) is_qualified: bool,
    /// A text that does not occur.
    pub(super) except: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Phase {
    Start,
    Head,
    /// Right after the slash.
    Cut,
    Tail,
}

/// How far the lanes have come: lane and place.
pub(super) type Places = Vec<(usize, usize)>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// By letter, in order; all other letters lead to `other`.
    next: Vec<(char, Option<usize>)>,
    other: Option<usize>,
    pub(super) class: Option<usize>,
    /// The state before and the letter that led here first.
    from: Option<(usize, char)>,
    depth: usize,
}

/// Texts with the same answers of all lanes.
#[derive(Debug)]
pub(super) struct Class {
    /// How far the opening lanes have come.
    pub(super) opening: Places,
    /// There is only one such text.
    pub(super) is_literal: bool,
    pub(super) text: String,
}

/// A shape of texts: from a place and a letter to the next place, and whether a text may end there.
pub(super) type Step = fn(u8, char) -> Option<(u8, bool)>;

/// The letters of numbers, dates and addresses.
const SHAPED: &str = "0123456789-.:+TZabcdefABCDEF";

#[derive(Debug)]
pub(super) struct Automaton {
    pub(super) states: Vec<State>,
    pub(super) classes: Vec<Class>,
    universe: Universe,
}

impl Universe {
    /// Any text at all.
    pub(super) const TEXT: Self = Self {
        allowed: |_| true,
        may_be_empty: true,
        longest: usize::MAX,
        is_qualified: false,
        except: None,
    };
}

impl Automaton {
    /// Builds the automaton by visiting every state that can be reached.
    pub(super) fn new(
        lanes: &[Lane],
        universe: Universe,
        effort: &mut Effort<'_>,
    ) -> Result<Self, Exhausted> {
        let mut lanes = lanes.to_vec();
        lanes.extend(universe.except.map(|it| Lane {
            glob: Glob::text(it, false),
            starts: Glob::START.to_vec(),
            part: Part::Whole,
        }));
        Builder::new(lanes, universe).build(effort)
    }

    /// Where one more letter leads; `None` if no text goes on like this.
    pub(super) fn step(&self, state: usize, letter: char) -> Option<usize> {
        if !(self.universe.allowed)(letter) {
            return None;
        }
        let state = self.states.get(state)?;
        match state.next.binary_search_by_key(&letter, |(it, _)| *it) {
            Ok(at) => state.next.get(at).and_then(|(_, it)| *it),
            Err(_) => state.other,
        }
    }

    /// The class of a text; `None` if it does not occur.
    pub(super) fn class(&self, text: &str) -> Option<usize> {
        if self.universe.longest < text.chars().count() {
            return None;
        }
        let state = text.chars().try_fold(0, |state, it| self.step(state, it))?;
        self.states.get(state)?.class
    }

    /// Texts of each class that are made of these letters alone and have this shape: `step` says
    /// where a letter leads, and whether the text so far may end there. At most `most` of each class;
    /// none only if there is none.
    pub(super) fn shaped(&self, step: Step, most: usize) -> BTreeMap<usize, Vec<String>> {
        let most = if STATES_MAX / 30 < self.states.len() { 1 } else { most };
        let mut res: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut open = VecDeque::from([(0, 0_u8, String::new())]);
        let mut seen: HashMap<(usize, u8), usize> = HashMap::new();
        while let Some((state, shape, text)) = open.pop_front() {
            for letter in SHAPED.chars() {
                let Some((next, may_end)) = step(shape, letter) else {
                    continue;
                };
                let Some(to) = self.step(state, letter) else {
                    continue;
                };
                // Visit each often enough to get texts of several lengths.
                let times = seen.entry((to, next)).or_default();
                if most <= *times {
                    continue;
                }
                *times += 1;
                let text = format!("{text}{letter}");
                if may_end && let Some(class) = self.states.get(to).and_then(|it| it.class) {
                    let texts = res.entry(class).or_default();
                    if texts.len() < most {
                        texts.push(text.clone());
                    }
                }
                open.push_back((to, next, text));
            }
        }
        res
    }

    /// The states of this phase.
    pub(super) fn at(&self, phase: Phase) -> BTreeSet<usize> {
        let states = self.states.iter().enumerate().filter(|(_, it)| it.phase == phase);
        states.map(|(at, _)| at).collect()
    }

    /// The letters that this state tells apart.
    pub(super) fn letters(&self, state: usize) -> impl Iterator<Item = char> {
        self.states.get(state).into_iter().flat_map(|it| &it.next).map(|(it, _)| *it)
    }

    /// A letter of this universe that is not in `taken`, preferably a common one.
    pub(super) fn another(&self, taken: &BTreeSet<char>) -> Option<char> {
        another(self.universe.allowed, taken)
    }

    /// Every state that can be reached from `states`.
    pub(super) fn closure(&self, states: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut res = states.clone();
        let mut open: Vec<_> = states.iter().copied().collect();
        while let Some(state) = open.pop() {
            for next in self.successors(state) {
                if res.insert(next) {
                    open.push(next);
                }
            }
        }
        res
    }

    pub(super) fn successors(&self, state: usize) -> impl Iterator<Item = usize> {
        let state = self.states.get(state);
        let next = state.into_iter().flat_map(|it| &it.next).filter_map(|(_, it)| *it);
        next.chain(state.and_then(|it| it.other))
    }
}

fn another(allowed: fn(char) -> bool, taken: &BTreeSet<char>) -> Option<char> {
    let plain = "xyzwvutsrqponmlkjihgfedcba".chars().chain('0'..='9').chain(['-', '_', '.']);
    let rare = ('A'..='Z').chain('\u{a1}'..=char::MAX);
    plain.chain(rare).find(|it| allowed(*it) && !taken.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::language::pattern;

    use proptest::prelude::*;

    fn automaton(lanes: &[(&str, Part)], universe: Universe) -> Automaton {
        let lane = |(text, part): &(&str, Part)| Lane {
            glob: Glob::pieces(&pattern::parse(text)),
            starts: vec![0],
            part: *part,
        };
        let lanes: Vec<_> = lanes.iter().map(lane).collect();
        let mut effort = Effort { steps: u64::MAX, go_on: &|| true };
        Automaton::new(&lanes, universe, &mut effort).unwrap()
    }

    proptest! {
        /// Two texts of one class have the same answers, and every text has a class.
        #[test]
        fn classes_are_the_answers(
            patterns in prop::collection::vec("[ab*?]{0,5}", 0..5),
            text in "[abcx]{0,6}",
        ) {
            let lanes: Vec<_> = patterns.iter().map(|it| (it.as_str(), Part::Whole)).collect();
            let automaton = automaton(&lanes, Universe::TEXT);
            let answers = |text: &str| -> Vec<bool> {
                patterns.iter().map(|it| pattern::matches(&pattern::parse(it), text)).collect()
            };
            let class = &automaton.classes[automaton.class(&text).unwrap()];
            prop_assert_eq!(answers(&class.text), answers(&text));
            prop_assert!(class.text.len() <= text.len());
            prop_assert!(!class.is_literal || class.text == text);
            let all: BTreeSet<_> = automaton.classes.iter().map(|it| answers(&it.text)).collect();
            prop_assert_eq!(all.len(), automaton.classes.len());
        }

        #[test]
        fn names_are_cut_at_their_first_slash(
            patterns in prop::collection::vec("[ab/*?]{0,5}", 0..4),
            text in "[abx]{1,3}/[abx/]{1,4}",
        ) {
            let parts = [Part::Head, Part::Tail, Part::Whole, Part::Opening];
            let lanes: Vec<_> =
                patterns.iter().zip(parts).map(|(it, part)| (it.as_str(), part)).collect();
            let qualified =
                Universe { is_qualified: true, may_be_empty: false, ..Universe::TEXT };
            let automaton = automaton(&lanes, qualified);
            let answers = |text: &str| -> Vec<bool> {
                let (head, tail) = text.split_once('/').unwrap();
                lanes.iter().map(|(pattern, part)| {
                    let of = match part {
                        Part::Head => head.to_owned(),
                        Part::Tail => tail.to_owned(),
                        Part::Whole => text.to_owned(),
                        Part::Opening => format!("{head}/b"),
                    };
                    pattern::matches(&pattern::parse(pattern), &of)
                }).collect()
            };
            let class = &automaton.classes[automaton.class(&text).unwrap()];
            prop_assert_eq!(answers(&class.text), answers(&text));
            prop_assert_eq!(automaton.class("/a"), None);
            prop_assert_eq!(automaton.class("a/"), None);
            prop_assert_eq!(automaton.class("a"), None);
        }
    }

    #[test]
    fn universes_are_bounded() {
        let digits = Universe {
            allowed: |it| it.is_ascii_digit(),
            may_be_empty: false,
            longest: 3,
            except: Some("12"),
            ..Universe::TEXT
        };
        let found = automaton(&[("1*", Part::Whole), ("????", Part::Whole)], digits);
        let texts: Vec<_> = found.classes.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert_eq!((found.class("12"), found.class(""), found.class("1234")), (None, None, None));
        assert_eq!(found.class("a"), None);
        assert!(found.class("13").is_some() && found.class("13") == found.class("1"));
    }

    #[test]
    fn what_grows_without_end_is_given_up() {
        let texts: Vec<_> = (0..24).map(|it| format!("*{}*", char::from(b'a' + it))).collect();
        let lanes = texts.iter().map(|it| Lane {
            glob: Glob::pieces(&pattern::parse(it)),
            starts: vec![0],
            part: Part::Whole,
        });
        let lanes: Vec<_> = lanes.collect();
        let mut effort = Effort { steps: 200_000, go_on: &|| true };
        assert_eq!(Automaton::new(&lanes, Universe::TEXT, &mut effort).err(), Some(Exhausted));
    }
}
