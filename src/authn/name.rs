//! What may be a name of a principal, a group or a tag: names end up in policies, records and
//! terminals, where an unprintable character could make one look like another.

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
    if text.chars().any(is_unprintable) {
        return Err("has control characters or ones that change the direction of text");
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

fn is_unprintable(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
        for bad in ["", " a", "a\n", "a\u{0}b", "a\u{202e}b", "a\u{200b}", "\u{feff}a", &long] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
