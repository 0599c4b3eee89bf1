//! The shape of a text: letters, letters in any case, `?` and `*`.

use crate::policy::language::pattern::Piece;
use crate::policy::language::template::Part;

/// One place of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    Any,
    Letter(char),
    /// A lower-case ASCII letter that stands for both of its cases.
    Folded(char),
}

/// A pattern of elements; before each, and after the last, there may be a `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Glob {
    pub(super) elements: Vec<Element>,
    /// For each place, one more than there are elements: any text may stand here.
    pub(super) loops: Vec<bool>,
}

impl Element {
    pub(super) fn meets(self, letter: char) -> bool {
        match self {
            Self::Any => true,
            Self::Letter(it) => it == letter,
            Self::Folded(it) => it == letter.to_ascii_lowercase(),
        }
    }

    /// The letters that meet it; none for `?`, which they all do.
    pub(super) fn letters(self) -> impl Iterator<Item = char> {
        let both = match self {
            Self::Any => [None, None],
            Self::Letter(it) => [Some(it), None],
            Self::Folded(it) => [Some(it), Some(it.to_ascii_uppercase())],
        };
        both.into_iter().flatten()
    }
}

impl Glob {
    /// The shape of one text, compared exactly or regardless of ASCII letter case.
    pub(super) fn text(text: &str, folded: bool) -> Self {
        let mut res = Self::empty();
        res.push_text(text, folded);
        res
    }

    pub(super) fn pieces(pieces: &[Piece<'_>]) -> Self {
        let mut res = Self::empty();
        for piece in pieces {
            match piece {
                Piece::Any => res.push(Element::Any),
                Piece::Star => res.star(),
                Piece::Text(it) => res.push_text(it, false),
            }
        }
        res
    }

    /// The shape of a pattern whose variable has become `text`.
    pub(super) fn filled(folded: bool, parts: &[Part], text: &str) -> Self {
        let mut res = Self::empty();
        for part in parts {
            match part {
                Part::Any => res.push(Element::Any),
                Part::Star => res.star(),
                Part::Text(it) => res.push_text(it, folded),
                Part::Variable(_) => res.push_text(text, folded),
            }
        }
        res
    }

    fn empty() -> Self {
        Self { elements: Vec::new(), loops: vec![false] }
    }

    fn push_text(&mut self, text: &str, folded: bool) {
        for it in text.chars() {
            self.push(match folded && it.is_ascii_alphabetic() {
                true => Element::Folded(it.to_ascii_lowercase()),
                false => Element::Letter(it),
            });
        }
    }

    fn push(&mut self, it: Element) {
        self.elements.push(it);
        self.loops.push(false);
    }

    /// Appends a `*`.
    fn star(&mut self) {
        if let Some(it) = self.loops.last_mut() {
            *it = true;
        }
    }

    /// Whether only one text meets it.
    pub(super) fn is_literal(&self) -> bool {
        !self.loops.contains(&true)
            && self.elements.iter().all(|it| matches!(it, Element::Letter(_)))
    }

    /// The letters of a literal.
    pub(super) fn letters(&self) -> String {
        self.elements.iter().flat_map(|it| it.letters()).collect()
    }

    /// The place after the last element.
    pub(super) fn end(&self) -> usize {
        self.elements.len()
    }

    /// The places that `letter` leads to from these places, which are in order. A place with a `*`
    /// covers all places before it.
    pub(super) fn step(&self, places: &[usize], letter: char) -> Vec<usize> {
        let mut res = Vec::new();
        for place in places {
            if self.loops.get(*place) == Some(&true) {
                res.push(*place);
            }
            if self.elements.get(*place).is_some_and(|it| it.meets(letter)) {
                res.push(place + 1);
            }
        }
        self.tidy(&mut res);
        res
    }

    /// Sorts places and drops those that a `*` after them covers.
    pub(super) fn tidy(&self, places: &mut Vec<usize>) {
        places.sort_unstable();
        places.dedup();
        let last = places.iter().rposition(|it| self.loops.get(*it) == Some(&true));
        places.drain(..last.unwrap_or(0));
    }

    /// The places that the whole text leads to.
    pub(super) fn run(&self, places: &[usize], text: &str) -> Vec<usize> {
        text.chars().fold(places.to_vec(), |places, it| self.step(&places, it))
    }

    /// The place before any text.
    pub(super) const START: &[usize] = &[0];

    #[cfg(test)]
    fn matches(&self, text: &str) -> bool {
        self.run(Self::START, text).contains(&self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::language::pattern;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_pattern(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
            let pieces = pattern::parse(&pattern);
            let expected = pattern::matches(&pieces, &text);
            prop_assert_eq!(Glob::pieces(&pieces).matches(&text), expected);
        }
    }

    #[test]
    fn letters_fold_where_they_are_told_to() {
        let folded = Glob::text("a-Bé", true);
        for (text, expected) in [("A-bé", true), ("a-Bé", true), ("a-BÉ", false), ("a_bé", false)]
        {
            assert_eq!(folded.matches(text), expected, "{text}");
        }
        assert!(!folded.is_literal());
        assert!(Glob::text("a-B", false).is_literal());
        assert!(Glob::text("1-2", true).is_literal());
    }
}
