//! A policy version as the ledger keeps it: its text, cut into records.

use super::Error;
use super::line::MEMBERS_BYTES_MAX;
use super::record;
use super::record::Body;
use super::record::PolicyText;
use super::record::written_len;

use std::mem;
use std::sync::Arc;

/// How much text one part holds, in bytes as written; the rest of a record is names.
const PART_BYTES_MAX: usize = MEMBERS_BYTES_MAX - 1024;

/// What a file adds to a part besides its path and text: `{"path":"","text":""},`.
const FILE_BYTES: usize = 22;

/// One version of the policies, ready to be recorded.
#[derive(Debug)]
pub struct Policies {
    digest: Arc<str>,
    parts: Vec<Vec<u8>>,
}

impl Policies {
    /// Takes the version `digest` (SHA-256 in hex) with its `files`, path and text each, in the
    /// order of their paths.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a path is so long that no record holds it.
    pub fn new<'a>(
        digest: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let parts = split(files)?;
        let count = u32::try_from(parts.len()).map_err(|_| Error::TooLarge)?;
        let parts = (1..).zip(parts).map(|(part, files)| {
            let digest = digest.into();
            let body = Body::Policies(record::Policies { digest, part, parts: count, files });
            record::to_members(&body).map_err(|_| Error::TooLarge)
        });
        Ok(Self { digest: Arc::from(digest), parts: parts.collect::<Result<_, _>>()? })
    }

    /// The version's digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(super) fn shared_digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// The members of its records, in order.
    pub(super) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }
}

/// Fills parts with files; a text that does not fit goes on in the next part.
fn split<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Vec<PolicyText<'a>>>, Error> {
    let mut res = Vec::new();
    let mut part = Vec::new();
    let mut room = PART_BYTES_MAX;
    for (path, text) in files {
        let name = FILE_BYTES + path.chars().map(written_len).sum::<usize>();
        if PART_BYTES_MAX / 2 < name {
            return Err(Error::TooLarge);
        }
        let mut rest = text;
        loop {
            // A piece is at least half a part, so that a path is not repeated for a few letters.
            let whole = rest.chars().map(written_len).sum::<usize>();
            if room < name + whole.min(PART_BYTES_MAX / 4) {
                res.push(mem::take(&mut part));
                room = PART_BYTES_MAX;
            }
            let (piece, left) = cut(rest, room - name);
            room -= name + piece.chars().map(written_len).sum::<usize>();
            part.push(PolicyText { path: path.into(), text: piece.into() });
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
    }
    if !part.is_empty() || res.is_empty() {
        res.push(part);
    }
    Ok(res)
}

/// The longest beginning of `text` that is written in `bytes`, and the rest.
fn cut(text: &str, bytes: usize) -> (&str, &str) {
    let mut room = bytes;
    for (at, it) in text.char_indices() {
        match room.checked_sub(written_len(it)) {
            Some(left) => room = left,
            None => return text.split_at_checked(at).unwrap_or((text, "")),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::proptest;
    use proptest::test_runner::Config as ProptestConfig;

    #[track_caller]
    fn check(files: &[(String, String)]) -> usize {
        let given = files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        let policies = Policies::new("00ff", given).unwrap();
        let mut read: Vec<(String, String)> = Vec::new();
        for (index, members) in policies.parts().iter().enumerate() {
            assert!(members.len() <= MEMBERS_BYTES_MAX, "{}", members.len());
            let text = format!("{{{}}}", std::str::from_utf8(members).unwrap());
            let Body::Policies(part) = serde_json::from_str(&text).unwrap() else { panic!() };
            assert_eq!(
                (part.digest.as_ref(), part.part),
                ("00ff", u32::try_from(index + 1).unwrap())
            );
            assert_eq!(usize::try_from(part.parts).unwrap(), policies.parts().len());
            for file in part.files {
                match read.last_mut() {
                    Some((path, text)) if *path == file.path => text.push_str(&file.text),
                    _ => read.push((file.path.into_owned(), file.text.into_owned())),
                }
            }
        }
        assert_eq!(read, files);
        policies.parts().len()
    }

    #[test]
    fn a_version_is_spread_over_as_many_records_as_it_needs() {
        let file = |path: &str, text: String| (path.to_owned(), text);
        for (files, parts) in [
            (vec![], 1),
            (vec![file("a.json", String::new())], 1),
            (vec![file("a.json", "{}".to_owned()), file("b.json", "{}".to_owned())], 1),
            (vec![file("a.json", "x".repeat(PART_BYTES_MAX - 28))], 1),
            (vec![file("a.json", "x".repeat(PART_BYTES_MAX))], 2),
            (vec![file("a.json", "\n".repeat(256 * 1024))], 9),
            (vec![file("a.json", "\0".repeat(256 * 1024))], 25),
            (vec![file("a.json", "\u{202e}".repeat(20_000))], 2),
            ((0..100).map(|it| file(&format!("{it:03}"), "y".repeat(2000))).collect(), 4),
        ] {
            assert_eq!(check(&files), parts);
        }
        let path = "p".repeat(PART_BYTES_MAX);
        assert!(matches!(Policies::new("00ff", [(path.as_str(), "")]), Err(Error::TooLarge)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn no_text_is_lost(texts in vec(vec(any::<char>(), 0..20_000), 0..4)) {
            let files: Vec<_> = texts
                .iter()
                .enumerate()
                .map(|(index, text)| (index.to_string(), text.iter().collect()))
                .collect();
            check(&files);
        }
    }
}
