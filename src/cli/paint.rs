//! Colours of what commands print, on terminals that show them.

use crate::config;

use std::io::IsTerminal;

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paint(bool);

impl Paint {
    /// Leaves all text as it is.
    pub(super) const PLAIN: Self = Self(false);

    /// Paints what goes to `stream` if that shows colours and nobody objects.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        Self(config::colours(stream))
    }

    /// A heading, or what should be seen first.
    pub(super) fn head(self, text: &str) -> String {
        self.painted(text, 1)
    }

    /// What is allowed, or went well.
    pub(super) fn good(self, text: &str) -> String {
        self.painted(text, 32)
    }

    /// What is denied, or did not go well.
    pub(super) fn bad(self, text: &str) -> String {
        self.painted(text, 31)
    }

    /// What is not certain, or not good.
    pub(super) fn unsure(self, text: &str) -> String {
        self.painted(text, 33)
    }

    /// `text`, which tells of `answer`, such as `deny` or `deny explicit`.
    pub(super) fn answer(self, answer: &str, text: &str) -> String {
        match answer.split(' ').next() {
            Some("allow") => self.good(text),
            Some("deny") => self.bad(text),
            Some("indeterminate") => self.unsure(text),
            _ => text.to_owned(),
        }
    }

    fn painted(self, text: &str, code: u8) -> String {
        match self.0 && !text.is_empty() {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
impl Paint {
    /// Paints all text.
    pub(super) const COLOURED: Self = Self(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_colour_where_there_are_colours() {
        for (answer, expected) in [
            ("allow", "\u{1b}[32mx\u{1b}[0m"),
            ("deny", "\u{1b}[31mx\u{1b}[0m"),
            ("deny explicit", "\u{1b}[31mx\u{1b}[0m"),
            ("indeterminate look_up_failed", "\u{1b}[33mx\u{1b}[0m"),
            ("", "x"),
        ] {
            assert_eq!(Paint::COLOURED.answer(answer, "x"), expected, "{answer}");
            assert_eq!(Paint::PLAIN.answer(answer, "x"), "x", "{answer}");
        }
        assert_eq!(Paint::COLOURED.head(""), "");
    }
}
