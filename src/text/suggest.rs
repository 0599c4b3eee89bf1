//! Which known word the author may have meant.

/// The candidate nearest to `word`, if it is near: letter case aside, at most a third of its
/// characters (and at least two) inserted, deleted, replaced or swapped with a neighbour.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &'a str| {
        let distance = distance(word, candidate);
        (distance <= (candidate.chars().count() / 3).max(2)).then_some((distance, candidate))
    };
    candidates.into_iter().filter_map(near).min().map(|(_, candidate)| candidate)
}

/// The question for the nearest candidate or, if none is near, `otherwise`.
#[must_use]
pub fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: impl Into<String>,
) -> String {
    match nearest(word, candidates) {
        Some(it) => format!("did you mean `{it}`?"),
        None => otherwise.into(),
    }
}

/// How many characters must be inserted, deleted, replaced or swapped with a neighbour to make one
/// text the other, ASCII case aside.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("Delete", "delete", 0),
            ("deltee", "delete", 1),
            ("delet", "delete", 1),
            ("trainJobs", "trainJob", 1),
            ("poolId", "poolType", 4),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let words = ["StringEquals", "StringNotEquals", "Bool"];
        assert_eq!(nearest("StringEqual", words), Some("StringEquals"));
        assert_eq!(nearest("bool", words), Some("Bool"));
        assert_eq!(nearest("Frobnicate", words), None);
    }
}
