//! How a value is written into a log line, so that it can neither end the line, nor colour the
//! terminal, nor turn its direction.

use crate::text::{escaped, escaped_json, is_deceptive};

use std::fmt;
use std::fmt::Write;

/// Writes `value` as a JSON string with its quotes. Beside what JSON demands, it escapes every
/// character that a terminal or a viewer does not show as itself.
pub(super) fn json(out: &mut dyn Write, value: &str) -> fmt::Result {
    if value.contains(|it| matches!(it, '"' | '\\') || is_deceptive(it)) {
        let text = serde_json::to_string(value).map_err(|_| fmt::Error)?;
        return out.write_str(&escaped_json(&text));
    }
    out.write_char('"')?;
    out.write_str(value)?;
    out.write_char('"')
}

/// Writes `value` bare when it is a plain word, else like [`json`].
pub(super) fn word(out: &mut dyn Write, value: &str) -> fmt::Result {
    let plain = |it: char| !matches!(it, ' ' | '"' | '\\' | '=') && !is_deceptive(it);
    if value.is_empty() || !value.chars().all(plain) {
        return json(out, value);
    }
    out.write_str(value)
}

/// Writes `value` as running text: what is invisible is escaped, nothing is quoted.
pub(super) fn prose(out: &mut dyn Write, value: &str) -> fmt::Result {
    out.write_str(&escaped(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        // value, as JSON, as a word, as prose
        let rows = [
            ("corp/alice", r#""corp/alice""#, "corp/alice", "corp/alice"),
            ("", r#""""#, r#""""#, ""),
            ("a b", r#""a b""#, r#""a b""#, "a b"),
            ("a=b", r#""a=b""#, r#""a=b""#, "a=b"),
            ("a,b", r#""a,b""#, "a,b", "a,b"),
            ("a\"b", r#""a\"b""#, r#""a\"b""#, "a\"b"),
            ("a\\b", r#""a\\b""#, r#""a\\b""#, "a\\b"),
            ("a\nb", r#""a\nb""#, r#""a\nb""#, r"a\u{a}b"),
            ("a\r\tb", r#""a\r\tb""#, r#""a\r\tb""#, r"a\u{d}\u{9}b"),
            ("\u{1b}[31mred", r#""\u001b[31mred""#, r#""\u001b[31mred""#, r"\u{1b}[31mred"),
            (
                "a\0\u{7f}\u{9b}",
                r#""a\u0000\u007f\u009b""#,
                r#""a\u0000\u007f\u009b""#,
                r"a\u{0}\u{7f}\u{9b}",
            ),
            ("evil\u{202e}txt", r#""evil\u202etxt""#, r#""evil\u202etxt""#, r"evil\u{202e}txt"),
            (
                "a\u{2028}b\u{feff}",
                r#""a\u2028b\ufeff""#,
                r#""a\u2028b\ufeff""#,
                r"a\u{2028}b\u{feff}",
            ),
            ("\u{e0041}", r#""\udb40\udc41""#, r#""\udb40\udc41""#, r"\u{e0041}"),
            ("ünïcode-名", r#""ünïcode-名""#, "ünïcode-名", "ünïcode-名"),
        ];
        for (value, as_json, as_word, as_prose) in rows {
            let written = |write: fn(&mut dyn Write, &str) -> fmt::Result| {
                let mut out = String::new();
                write(&mut out, value).unwrap();
                out
            };
            assert_eq!(written(json), as_json, "{value:?}");
            assert_eq!(written(word), as_word, "{value:?}");
            assert_eq!(written(prose), as_prose, "{value:?}");
            assert_eq!(serde_json::from_str::<String>(as_json).unwrap(), value);
        }
    }
}
