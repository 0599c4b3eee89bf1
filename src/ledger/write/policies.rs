//! A policy version as the ledger keeps it: its text, cut into records.

use crate::ledger::line::MEMBERS_BYTES_MAX;
use crate::ledger::record::{Body, PolicyText, written_len};
use crate::ledger::{Error, record};

use crate::policy;

use data_encoding::BASE64;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;

/// How much text one part holds, in bytes as written; the rest of a record is for names.
const PART_BYTES_MAX: usize = MEMBERS_BYTES_MAX - 1024;

/// What a file adds to a part besides its path and text: `{"path":"","base64":true,"text":""},`.
const FILE_BYTES: usize = 36;

/// The members of the records that hold the text of the version `digest`, in order.
///
/// # Errors
/// [`Error::TooLarge`] if a path is so long that no record holds it.
pub(super) fn records(digest: &str, files: &policy::Files) -> Result<Vec<Vec<u8>>, Error> {
    let parts = split(files)?;
    let count = u32::try_from(parts.len()).map_err(|_| Error::TooLarge)?;
    let parts = (1..).zip(parts).map(|(part, files)| {
        let digest = digest.into();
        let body = Body::Policies(record::Policies { digest, part, parts: count, files });
        record::to_members(&body).map_err(|_| Error::TooLarge)
    });
    parts.collect()
}

impl record::Policies<'_> {
    /// Puts a version together from its parts, in order; `None` if some are missing or cannot be
    /// read.
    #[must_use]
    pub fn join(parts: &[Self]) -> Option<policy::Files> {
        let whole = parts.iter().zip(1..).all(|(it, part)| it.part == part)
            && parts.iter().all(|it| usize::try_from(it.parts) == Ok(parts.len()));
        let mut texts: BTreeMap<&str, (String, bool)> = BTreeMap::new();
        for file in parts.iter().flat_map(|it| &it.files) {
            let (text, base64) = texts.entry(&file.path).or_default();
            text.push_str(&file.text);
            *base64 = file.base64;
        }
        let bytes = |(text, base64): (String, bool)| match base64 {
            true => BASE64.decode(text.as_bytes()).ok(),
            false => Some(text.into_bytes()),
        };
        let files = texts.into_iter().map(|(path, text)| Some((path, bytes(text)?)));
        files.collect::<Option<policy::Files>>().filter(|_| whole && !parts.is_empty())
    }
}

/// Fills parts with files; a text that does not fit goes on in the next part.
fn split(files: &policy::Files) -> Result<Vec<Vec<PolicyText<'_>>>, Error> {
    let mut res = Vec::new();
    let mut part = Vec::new();
    let mut room = PART_BYTES_MAX;
    for (path, bytes) in files.iter() {
        let name = FILE_BYTES + path.chars().map(written_len).sum::<usize>();
        if PART_BYTES_MAX / 2 < name {
            return Err(Error::TooLarge);
        }
        let (text, base64) = match str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), false),
            Err(_) => (Cow::Owned(BASE64.encode(bytes)), true),
        };
        let mut rest = &*text;
        loop {
            // Start a new part rather than repeat a path for a few letters.
            let whole = rest.chars().map(written_len).sum::<usize>();
            if room < name + whole.min(PART_BYTES_MAX / 4) {
                res.push(mem::take(&mut part));
                room = PART_BYTES_MAX;
            }
            let (piece, left) = cut(rest, room - name);
            room -= name + piece.chars().map(written_len).sum::<usize>();
            let text = Cow::Owned(piece.to_owned());
            part.push(PolicyText { path: path.into(), base64, text });
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

/// The longest beginning of `text` that fits into `bytes` as written, and the rest.
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

    /// How many records it took.
    #[track_caller]
    fn check(files: &policy::Files) -> usize {
        let records = records("00ff", files).unwrap();
        let read = |members: &Vec<u8>| {
            assert!(members.len() <= MEMBERS_BYTES_MAX, "{}", members.len());
            let text = format!("{{{}}}", str::from_utf8(members).unwrap());
            let Body::Policies(part) = serde_json::from_str(&text).unwrap() else { panic!() };
            assert_eq!(part.digest, "00ff");
            part
        };
        let mut parts: Vec<_> = records.iter().map(read).collect();
        assert!(record::Policies::join(&parts).as_ref() == Some(files));
        parts.pop();
        assert_eq!(record::Policies::join(&parts), None);
        records.len()
    }

    #[test]
    fn a_version_is_spread_over_as_many_records_as_it_needs() {
        let one = |text: Vec<u8>| policy::Files::from_iter([("a.json", text)]);
        let hundred = (0..100).map(|it| (format!("{it:03}"), vec![b'y'; 2000]));
        for (files, parts) in [
            (policy::Files::default(), 1),
            (one(Vec::new()), 1),
            (policy::Files::from_iter([("a.json", "{}"), ("b.json", "{}")]), 1),
            (one(vec![b'x'; PART_BYTES_MAX - 42]), 1),
            (one(vec![b'x'; PART_BYTES_MAX]), 2),
            (one(vec![b'\n'; 256 * 1024]), 9),
            (one(vec![0; 256 * 1024]), 25),
            (one(vec![0xff; 256 * 1024]), 6),
            (one("\u{202e}".repeat(20_000).into_bytes()), 2),
            (hundred.collect(), 4),
        ] {
            assert_eq!(check(&files), parts);
        }
        let path = "p".repeat(PART_BYTES_MAX);
        let files = policy::Files::from_iter([(path, "")]);
        assert!(matches!(records("00ff", &files), Err(Error::TooLarge)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn no_text_is_lost(texts in vec(vec(any::<char>(), 0..20_000), 0..4)) {
            let text = |it: &Vec<char>| it.iter().collect::<String>();
            check(&(0..).zip(&texts).map(|(path, it)| (format!("{path}"), text(it))).collect());
        }
    }
}
