//! Text of others, made harmless where people and terminals read it. One list for names, log lines,
//! records and everything that a command prints, so that they cannot differ.

pub mod suggest;

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;

/// An error with its causes.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What is wrong with a JSON text, without the place.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// How deeply a JSON text is nested, followed byte by byte.
#[derive(Debug, Default)]
pub struct Nesting {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Nesting {
    /// The number of open brackets and braces after `byte`.
    pub const fn after(&mut self, byte: u8) -> usize {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => (),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => (),
        }
        self.depth
    }
}

/// A character that is not seen, moves the cursor or turns the direction of writing: Unicode's
/// control and format characters and line and paragraph separators (categories Cc, Cf, Zl, Zp),
/// what a renderer may leave out (Default_Ignorable_Code_Point), and the empty Braille cell.
#[must_use]
pub const fn is_deceptive(it: char) -> bool {
    matches!(it,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}'
        | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with its deceptive characters, line ends included, as `\u{…}`.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut res = String::with_capacity(text.len());
    for it in text.chars() {
        if is_deceptive(it) {
            // Writing into a String cannot fail.
            let _ = write!(res, "{}", it.escape_unicode());
        } else {
            res.push(it);
        }
    }
    Cow::Owned(res)
}

/// JSON text with the deceptive characters that its strings hold as `\u` and four digits. Between
/// strings, JSON has no such character but line ends, and within them no line end.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    let hides = |it: char| is_deceptive(it) && it != '\n';
    if !json.contains(hides) {
        return Cow::Borrowed(json);
    }
    let mut res = String::with_capacity(json.len());
    for it in json.chars() {
        if !hides(it) {
            res.push(it);
            continue;
        }
        for unit in it.encode_utf16(&mut [0; 2]) {
            let _ = write!(res, "\\u{unit:04x}");
        }
    }
    Cow::Owned(res)
}

#[cfg(test)]
mod tests {
    use super::*;

    use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
    use icu_properties::{CodePointMapData, CodePointSetData};

    #[test]
    fn the_list_is_unicodes() {
        let category = CodePointMapData::<GeneralCategory>::new();
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        for it in '\0'..=char::MAX {
            let hidden = matches!(
                category.get(it),
                GeneralCategory::Control
                    | GeneralCategory::Format
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
            );
            let expected = hidden || ignorable.contains(it) || it == '\u{2800}';
            assert_eq!(is_deceptive(it), expected, "{}", it.escape_unicode());
        }
    }

    #[test]
    fn nothing_moves_a_terminal() {
        for (text, escaped_text) in [
            ("a b", "a b"),
            ("数据", "数据"),
            ("a\n::error x", "a\\u{a}::error x"),
            ("\x1b]0;x\x07", "\\u{1b}]0;x\\u{7}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
        ] {
            assert_eq!(escaped(text), escaped_text);
            let json = serde_json::to_string_pretty(&[text]).unwrap();
            let harmless = escaped_json(&json);
            assert!(!harmless.contains(|it| is_deceptive(it) && it != '\n'), "{harmless}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&harmless).unwrap(), [text]);
        }
    }
}
