//! Values as they are written, and faults in our words.

use super::*;

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    count: Option<u32>,
    #[serde(default)]
    word: Option<Word>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Off,
    On,
}

fn entry(text: &str, texts: Texts) -> Result<Entry, Vec<String>> {
    let mut faults = Vec::new();
    let entry = parse(text, &mut faults).and_then(|it| it.read(texts, &mut faults));
    entry.filter(|_| faults.is_empty()).ok_or_else(|| faults.iter().map(told).collect())
}

fn told(it: &Fault) -> String {
    let Place { line, column, .. } = it.place.unwrap();
    let hint = it.hint.as_deref().unwrap_or_default();
    format!("{line}:{column} {} ({hint})", it.message)
}

#[test]
fn values_are_read_as_they_are_written() {
    let text = "name: 0x1F\ntags: {a: true, b: '1.10', ü: ~x}\ncount: 7\nword: on\n";
    let entry = entry(text, Texts::AsWritten).unwrap();
    assert_eq!(entry.name.value, "0x1F");
    assert_eq!(entry.name.place, Place { start: 6, end: 10, line: 1, column: 7 });
    let tags = [("a", "true"), ("b", "1.10"), ("ü", "~x")];
    assert_eq!(entry.tags, tags.map(|(key, it)| (key.to_owned(), it.to_owned())).into());
    assert_eq!((entry.count, entry.word), (Some(7), Some(Word::On)));
}

#[test]
fn what_is_wrong_is_said_in_words_of_ours() {
    for (text, expected) in [
        (
            "nme: a\ncout: 1",
            &[
                "1:1 there is no field `nme` here (did you mean `name`?)",
                "2:1 there is no field `cout` here (did you mean `count`?)",
            ][..],
        ),
        ("tags: {}", &["1:1 `name` is missing ()"]),
        ("name: [a]", &["1:7 a text is needed here, and this is a list ()"]),
        ("name: true", &["1:7 a text is needed here (write it in quotes: `\"true\"`)"]),
        (
            "name: a\ncount: many",
            &["2:8 a whole number from 0 is needed here, and this is a text ()"],
        ),
        (
            "name: a\ncount: '7'",
            &[
                "2:8 a whole number from 0 is needed here, and this is a text (leave out the quotes)",
            ],
        ),
        ("name: a\ncount: -1", &["2:8 a whole number from 0 to 4294967295 is needed here ()"]),
        ("name: a\nword: of", &["2:7 `of` means nothing here (did you mean `off`?)"]),
        (
            "- a",
            &[
                "1:1 a mapping is needed here, and this is a list (its fields are name, tags, count, word)",
            ],
        ),
        ("name: a\nname: b", &["2:1 `name` is here twice (leave one of the two out)"]),
        (
            "name: a\nname: b\ntags: {x: y, x: z}\ncout: 1",
            &[
                "2:1 `name` is here twice (leave one of the two out)",
                "3:14 `x` is here twice (leave one of the two out)",
                "4:1 there is no field `cout` here (did you mean `count`?)",
            ],
        ),
        (
            "name: !env a",
            &["1:12 tags (`!`) are not read (put a text that begins with `!` into quotes)"],
        ),
        (
            "name: &x a",
            &["1:10 anchors (`&`) and aliases (`*`) are not read (write out what it stands for)"],
        ),
    ] {
        assert_eq!(entry(text, Texts::Quoted).unwrap_err(), expected, "{text}");
    }
    for text in ["name: a\n---\nname: b", "name: *x", "<<: {name: a}", "name: 'a", "a: b: c"] {
        let faults = entry(text, Texts::Quoted).unwrap_err();
        let ours = |it: &String| {
            !["Policy", "budget", "serde", "breach", " at line "]
                .iter()
                .any(|word| it.contains(word))
        };
        assert!(faults.iter().all(ours), "{text}: {faults:?}");
    }
}

/// Whoever writes a secret into the wrong place does not find it in a log.
#[test]
fn of_a_file_with_secrets_no_word_is_repeated() {
    for (text, expected) in [
        (
            "name: a\nhunter2: 1",
            "2:1: there is no such field here (the fields are name, tags, count, word)",
        ),
        ("nam: hunter2", "1:1: there is no such field here (did you mean `name`?)"),
        (
            "name: a\ntags: {hunter2: a, hunter2: b}",
            "2:20: a field is here twice (leave one of the two out)",
        ),
        ("name: a\nword: hunter2", "2:7: this means nothing here"),
        ("name: [hunter2]", "1:7: a text is needed here, and this is a list"),
        (
            "name: a\ncount: hunter2",
            "2:8: a whole number from 0 is needed here, and this is a text",
        ),
        (
            "name: a\ncout: 1\ncount: x",
            "2:1: there is no such field here (did you mean `count`?); 3:8: a whole number from 0 is needed here, and this is a text",
        ),
    ] {
        assert_eq!(read_secret::<Entry>(text).unwrap_err().to_string(), expected, "{text}");
    }
    for text in [
        "name: 'hunter2",
        "name: *hunter2",
        "name: &hunter2 a",
        "name: !hunter2 a",
        "hunter2",
        "%hunter2",
        "a: hunter2: b",
        "{hunter2",
        "name: @hunter2",
        "name: \"\\hunter2\"",
    ] {
        let told = read_secret::<Entry>(text).unwrap_err().to_string();
        assert!(!told.contains("hunter"), "{told}");
    }
}
