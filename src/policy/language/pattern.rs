//! Wildcard patterns: `*` is any text, `?` exactly one Unicode scalar value.
//!
//! Linear time. A pattern is split at its stars. The first segment is anchored at the start, the
//! last at the end, and each one between is searched for leftmost in what remains; because a
//! segment matches a fixed number of characters, the leftmost place is the best one and there is no
//! backtracking. `str::find` searches for a segment of plain text (two-way search, linear), a
//! bit-parallel automaton for one with `?`: one step of n/64 words per character, n ≤ 2048 by the
//! limit on texts.

use std::borrow::Cow;
use std::collections::HashMap;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Piece<'a> {
    /// `?`
    Any,
    /// `*`
    Star,
    /// Literal text.
    Text(Cow<'a, str>),
}

/// Cuts `text` at `*` and `?`.
pub(in crate::policy) fn parse(text: &str) -> Vec<Piece<'static>> {
    let mut res = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['*', '?']) {
        let (literal, tail) = rest.split_at(at);
        if !literal.is_empty() {
            res.push(Piece::Text(Cow::Owned(literal.to_owned())));
        }
        let mut tail = tail.chars();
        res.push(if tail.next() == Some('*') { Piece::Star } else { Piece::Any });
        rest = tail.as_str();
    }
    if !rest.is_empty() {
        res.push(Piece::Text(Cow::Owned(rest.to_owned())));
    }
    res
}

/// Whether the whole of `text` matches.
pub(in crate::policy) fn matches(pieces: &[Piece<'_>], text: &str) -> bool {
    let mut segments = pieces.split(|it| *it == Piece::Star);
    let Some(first) = segments.next() else {
        return text.is_empty();
    };
    let Some(rest) = strip_front(first, text) else {
        return false;
    };
    let Some(last) = segments.next_back() else {
        return rest.is_empty();
    };
    let Some(mut rest) = strip_back(last, rest) else {
        return false;
    };
    for segment in segments {
        let Some(tail) = seek(segment, rest) else {
            return false;
        };
        rest = tail;
    }
    true
}

fn strip_front<'t>(segment: &[Piece<'_>], text: &'t str) -> Option<&'t str> {
    let mut rest = text;
    for piece in segment {
        rest = match piece {
            Piece::Text(literal) => rest.strip_prefix(literal.as_ref())?,
            Piece::Any | Piece::Star => {
                let mut chars = rest.chars();
                chars.next()?;
                chars.as_str()
            }
        };
    }
    Some(rest)
}

fn strip_back<'t>(segment: &[Piece<'_>], text: &'t str) -> Option<&'t str> {
    let mut rest = text;
    for piece in segment.iter().rev() {
        rest = match piece {
            Piece::Text(literal) => rest.strip_suffix(literal.as_ref())?,
            Piece::Any | Piece::Star => {
                let mut chars = rest.chars();
                chars.next_back()?;
                chars.as_str()
            }
        };
    }
    Some(rest)
}

/// What follows the leftmost occurrence of `segment`.
fn seek<'t>(segment: &[Piece<'_>], text: &'t str) -> Option<&'t str> {
    match segment {
        [Piece::Text(literal)] => {
            let at = text.find(literal.as_ref())?;
            text.get(at + literal.len()..)
        }
        _ => Automaton::new(segment).seek(text),
    }
}

/// The Shift-And automaton: bit i of the state says that the last i + 1 characters match the first
/// i + 1 of the segment.
struct Automaton {
    length: usize,
    wild: Vec<u64>,
    masks: HashMap<char, Vec<u64>>,
}

impl Automaton {
    fn new(segment: &[Piece<'_>]) -> Self {
        let mut chars = Vec::new();
        for piece in segment {
            match piece {
                Piece::Text(literal) => chars.extend(literal.chars().map(Some)),
                Piece::Any | Piece::Star => chars.push(None),
            }
        }
        let words = chars.len().div_ceil(64);
        let mut wild = vec![0; words];
        let mut masks: HashMap<char, Vec<u64>> = HashMap::new();
        for (at, it) in chars.iter().enumerate() {
            let mask = match it {
                Some(it) => masks.entry(*it).or_insert_with(|| vec![0; words]),
                None => &mut wild,
            };
            if let Some(word) = mask.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        }
        Self { length: chars.len(), wild, masks }
    }

    fn seek<'t>(&self, text: &'t str) -> Option<&'t str> {
        // Variables may have been filled in with nothing.
        let Some(last) = self.length.checked_sub(1) else {
            return Some(text);
        };
        let none = vec![0; self.wild.len()];
        let mut state = none.clone();
        let (last_word, last_bit) = (last / 64, 1u64 << (last % 64));
        let mut chars = text.chars();
        while let Some(it) = chars.next() {
            let mask = self.masks.get(&it).unwrap_or(&none);
            let mut carry = 1;
            for ((word, mask), wild) in state.iter_mut().zip(mask).zip(&self.wild) {
                let out = *word >> 63;
                *word = (*word << 1 | carry) & (mask | wild);
                carry = out;
            }
            if state.get(last_word).is_some_and(|it| it & last_bit != 0) {
                return Some(chars.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(matches(&parse(pattern), text), expected, "{pattern:?} on {text:?}");
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "a/b:c\nd", true),
            ("**", "a", true),
            ("?", "", false),
            ("?", "ä", true),
            ("?", "𝄞", true),
            ("?", "ab", false),
            ("?*", "", false),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("*a*", "bab", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*a?c*", "xaabcx", true),
            ("*a?c*", "xaacbx", true),
            ("*a?c*", "xaaxbx", false),
            ("*?b", "b", false),
            ("a*?", "ab", true),
            ("*.?", "x.y", true),
            (r"\*", r"\x", true),
        ] {
            check(pattern, text, expected);
        }
    }

    /// Variables that are filled in with nothing leave such pieces.
    #[test]
    fn empty_texts_match_nothing_between() {
        let nothing = Piece::Text("".into());
        let star = || Piece::Star;
        let any = || Piece::Any;
        for (pieces, text, expected) in [
            (vec![nothing.clone(), nothing.clone()], "", true),
            (vec![nothing.clone(), nothing.clone()], "a", false),
            (vec![star(), nothing.clone(), star()], "a", true),
            (vec![star(), nothing.clone(), nothing.clone(), star()], "", true),
            (vec![star(), nothing.clone(), nothing.clone(), star()], "a", true),
            (vec![star(), nothing.clone(), any(), nothing.clone(), star()], "", false),
            (vec![star(), nothing.clone(), any(), nothing, star()], "a", true),
        ] {
            assert_eq!(matches(&pieces, text), expected, "{pieces:?} on {text:?}");
        }
    }

    #[test]
    fn long_segments_cross_the_words_of_the_automaton() {
        let segment = format!("{}?{}", "a".repeat(70), "b".repeat(70));
        let text = format!("x{}c{}y", "a".repeat(75), "b".repeat(72));
        check(&format!("*{segment}*"), &text, true);
        check(&format!("*{segment}c*"), &text, false);
    }

    /// Attack 59 Backtracking would need some 2^64 steps here, and searching place by place 2^27.
    #[test]
    fn hostile_texts_cost_linear_time() {
        let text = "a".repeat(64 * 1024);
        check(&format!("{}b", "*a".repeat(1000)), &text, false);
        check(&format!("*{}?b*", "a".repeat(2000)), &text, false);
        check(&format!("*{}b*", "a".repeat(2000)), &text, false);
        check(&format!("{}b", "*?".repeat(1000)), &text, false);
    }

    /// The definition of a match, taken literally.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => plain(rest, text),
            (Some(('*', rest)), Some((_, tail))) => plain(rest, text) || plain(pattern, tail),
            (Some(('?', rest)), Some((_, tail))) => plain(rest, tail),
            (Some((it, rest)), Some((first, tail))) => it == first && plain(rest, tail),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn equals_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let chars = |it: &str| it.chars().collect::<Vec<_>>();
            let expected = plain(&chars(&pattern), &chars(&text));
            prop_assert_eq!(matches(&parse(&pattern), &text), expected);
        }
    }
}
