//! A pattern and a text, separated by LF: the matcher agrees with the definition.
//!
//! In the pattern, TAB ends a piece of text, so that there are neighbouring and empty ones, as the
//! variables of a template make them.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The matcher as it stands in the library, where only the module `policy` can use it.
#[path = "."]
mod policy {
    #[path = "../../src/policy/language/pattern.rs"]
    mod pattern;

    use pattern::Piece;

    pub fn matches(written: &str, text: &str) -> bool {
        let mut pieces = Vec::new();
        for (at, part) in written.split('\t').enumerate() {
            if at > 0 {
                pieces.push(Piece::Text("".into()));
            }
            pieces.extend(pattern::parse(part));
        }
        pattern::matches(&pieces, text)
    }
}

fuzz_target!(|input: &str| {
    let Some((written, text)) = input.split_once('\n') else {
        return;
    };
    let symbols: Vec<char> = written.chars().filter(|it| *it != '\t').collect();
    let text_symbols: Vec<char> = text.chars().collect();
    assert_eq!(policy::matches(written, text), matches(&symbols, &text_symbols));
});

/// The definition, one row per character of the pattern: whether what has been read of it matches
/// each beginning of the text.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for symbol in pattern {
        let before = row.clone();
        row[0] = *symbol == '*' && before[0];
        for (at, it) in text.iter().enumerate() {
            row[at + 1] = match symbol {
                '*' => before[at + 1] || row[at],
                '?' => before[at],
                _ => before[at] && it == symbol,
            };
        }
    }
    row[text.len()]
}
