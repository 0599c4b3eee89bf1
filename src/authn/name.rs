//! What may be a name of a principal, a group or a tag: names end up in policies, records and
//! terminals, where an unprintable character could make one look like another.

use crate::text::is_deceptive;

use std::collections::BTreeMap;

/// The longest name, group, tag key or tag value, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// The most groups of one principal.
pub(super) const GROUPS_MAX: usize = 256;

/// The most tags of one principal.
pub(super) const TAGS_MAX: usize = 64;

/// Says what is wrong with `text` as a name.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if NAME_BYTES_MAX < text.len() {
        return Err("is longer than 256 bytes");
    }
    if text.trim() != text {
        return Err("starts or ends with a space");
    }
    if text.chars().any(|it| is_deceptive(it) || (it.is_whitespace() && it != ' ')) {
        return Err("has characters that are not seen or change the direction of text");
    }
    Ok(())
}

/// Says what is wrong with the name, groups and tags of a principal that a file describes.
///
/// # Errors
/// The first of what is wrong, in words.
pub fn check_principal(
    name: &str,
    groups: &[String],
    tags: &BTreeMap<String, String>,
) -> Result<(), String> {
    check(name).map_err(|it| format!("the name of a principal {it}"))?;
    if GROUPS_MAX < groups.len() {
        return Err(format!("`{name}` has more than {GROUPS_MAX} groups"));
    }
    for group in groups {
        check(group).map_err(|it| format!("a group of `{name}` {it}"))?;
    }
    if TAGS_MAX < tags.len() {
        return Err(format!("`{name}` has more than {TAGS_MAX} tags"));
    }
    for (key, value) in tags {
        check(key).map_err(|it| format!("a tag key of `{name}` {it}"))?;
        check_value(value).map_err(|it| format!("a tag of `{name}` {it}"))?;
    }
    Ok(())
}

/// Says what is wrong with `text` as the value of a tag, which may be empty.
pub(super) fn check_value(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Ok(()),
        _ => check(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable() {
        for good in ["alice", "ålice@corp.example", "system:serviceaccount:ns:job", "A b", "数据"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in [
            "a\u{ad}b",
            "a\u{61c}",
            "\u{34f}a",
            "\u{115f}",
            "a\u{180e}b",
            "a\u{2800}b",
            "\u{3164}",
            "a\u{fe0f}",
            "a\u{fffa}b",
            "a\u{e0041}b",
            "a\u{a0}b",
            "a\u{3000}b",
            "a\u{2003}b",
            "a\u{9b}b",
            "",
            " a",
            "a\n",
            "a\u{0}b",
            "a\u{202e}b",
            "a\u{200b}",
            "\u{feff}a",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
