//! Lints of texts that are not what they look like: spaces at an end, characters that are not seen,
//! and what looks like a variable.

use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::json::Text;
use crate::policy::language::operator::Comparison;
use crate::policy::language::template;
use crate::policy::language::template::Part;
use crate::text::is_deceptive;

/// How the names of keys begin.
const KEYS: [&str; 3] = ["g:", "lychgate:", "modelarts:"];

/// Small Cyrillic and Greek letters that look like Latin ones.
pub(super) const ALIKE: [(char, char); 24] = [
    ('а', 'a'),
    ('е', 'e'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('у', 'y'),
    ('х', 'x'),
    ('і', 'i'),
    ('ј', 'j'),
    ('ѕ', 's'),
    ('к', 'k'),
    ('м', 'm'),
    ('т', 't'),
    ('в', 'b'),
    ('н', 'h'),
    ('ο', 'o'),
    ('α', 'a'),
    ('ν', 'v'),
    ('ρ', 'p'),
    ('τ', 't'),
    ('υ', 'u'),
    ('κ', 'k'),
    ('ι', 'i'),
    ('ε', 'e'),
];

/// Looks at a text that is compared with a key.
pub(super) fn compared(
    comparison: Comparison,
    text: &Text,
    parts: &[Part],
    findings: &mut Findings<'_>,
) {
    let literals = || template::literals(parts);
    let blank = |it: Option<char>| it.is_some_and(char::is_whitespace);
    let begins = match parts.first() {
        Some(Part::Text(it)) => comparison != Comparison::EndWith && blank(it.chars().next()),
        _ => false,
    };
    let ends = match parts.last() {
        Some(Part::Text(it)) => comparison != Comparison::StartWith && blank(it.chars().last()),
        _ => false,
    };
    let hidden = literals().any(|it| it.contains(is_unseen));
    report(&text.value, text.span, begins || ends, hidden, findings);
    if literals().any(is_mixed) {
        let message = format!("`{}` has letters that only look like Latin ones", text.value);
        findings.hint(
            Code::UnlikelyValue,
            text.span,
            message,
            "type it again instead of pasting it",
        );
    }
    if comparison == Comparison::Match && literals().any(is_other_pattern) {
        let message = format!("`{}` is read character by character, `*` and `?` aside", text.value);
        let hint = "values are not regular expressions: list several values instead";
        findings.hint(Code::UnlikelyValue, text.span, message, hint);
    }
    if literals().any(names_key) {
        let message = format!("`{}` is plain text: nothing is filled in", text.value);
        let hint = "a variable is written `${key}`, such as `${g:UserName}`";
        findings.hint(Code::UnlikelyValue, text.span, message, hint);
    }
}

/// Looks at the key of a tag.
pub(super) fn tag_key(tag: &str, span: Span, findings: &mut Findings<'_>) {
    report(tag, span, tag.trim() != tag, tag.contains(is_unseen), findings);
}

fn report(written: &str, span: Span, blank: bool, hidden: bool, findings: &mut Findings<'_>) {
    if hidden {
        let message = format!("`{written}` has characters that are not seen, or look like a space");
        findings.hint(Code::UnlikelyValue, span, message, "type it again instead of pasting it");
    } else if blank {
        let message = format!("`{written}` begins or ends with a space, and the space counts");
        findings.hint(Code::UnlikelyValue, span, message, "leave the space out");
    }
}

/// Whether Latin letters stand beside others that look like them.
fn is_mixed(text: &str) -> bool {
    let alike = |it: char| ALIKE.iter().any(|(other, _)| *other == it);
    text.split(|it: char| !it.is_alphabetic())
        .any(|word| word.contains(alike) && word.contains(|it: char| it.is_ascii_alphabetic()))
}

fn is_unseen(it: char) -> bool {
    is_deceptive(it) || it.is_whitespace() && it != ' '
}

/// Whether the text has signs that mean something in patterns of other languages: `^a`, `a$`, `[0-9]`,
/// `(a|b)`, `{a,b}`.
fn is_other_pattern(text: &str) -> bool {
    let within = |open, close, sign| {
        let rest = text.split_once(open).map(|(_, it)| it);
        rest.and_then(|it| it.split_once(close)).is_some_and(|(it, _)| it.contains(sign))
    };
    text.starts_with('^')
        || text.ends_with('$')
        || within('[', ']', '-')
        || within('(', ')', '|')
        || within('{', '}', ',')
}

/// Whether the text has the name of a key after a mark that other languages put before a variable.
fn names_key(text: &str) -> bool {
    let marks = ['$', '{', '(', '[', '<', '%', '@'];
    text.char_indices().filter(|(_, it)| marks.contains(it)).any(|(at, mark)| {
        let rest = text.get(at + mark.len_utf8()..).unwrap_or_default().trim_start();
        KEYS.iter().any(|key| {
            let found = rest.get(..key.len()).is_some_and(|it| it.eq_ignore_ascii_case(key));
            let after = rest.get(key.len()..).and_then(|it| it.chars().next());
            found && after.is_some_and(|it| it.is_ascii_alphabetic())
        })
    })
}
