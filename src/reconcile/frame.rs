//! Cuts what the audit service wrote into its records: a list of objects, one object, or objects one
//! after the other. No more than one record is in memory.

use crate::text::Nesting;

use std::io;
use std::io::BufRead;

/// The longest record, in bytes: an answer of the list call holds up to 200 traces.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How deep a record may be nested.
pub const DEPTH_MAX: usize = 128;

/// Why a file of the trail cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It ends within a record or a list.
    #[error("it is cut off within a record or a list")]
    CutOff,
    /// The system's error, or that of a damaged compression.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There is something else where a JSON object should begin.
    #[error("at byte {at} (uncompressed) no JSON object begins")]
    NoRecord {
        /// Counted from 0.
        at: u64,
    },
    /// A record is nested more than [`DEPTH_MAX`] deep.
    #[error("a record is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("a record is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong,
    /// There is more of the trail than fits: more events of jobs, or more digests.
    #[error("the trail holds too much for one run: narrow it down with --since and --until")]
    TooMuch,
}

/// The records of one file.
#[derive(Debug)]
pub(super) struct Records<R> {
    reader: R,
    record: Vec<u8>,
    at: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    ListAfterComma,
    ListAfterRecord,
    ListBegin,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, record: Vec::new(), at: 0, place: Place::Between }
    }

    /// The bytes of the next object; nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Unreadable> {
        loop {
            let Some(byte) = self.reader.fill_buf()?.first().copied() else {
                let whole = self.place == Place::Between;
                return if whole { Ok(None) } else { Err(Unreadable::CutOff) };
            };
            self.place = match (self.place, byte) {
                (place, b' ' | b'\t' | b'\r' | b'\n') => place,
                (Place::Between, b'[') => Place::ListBegin,
                (Place::ListBegin | Place::ListAfterRecord, b']') => Place::Between,
                (Place::ListAfterRecord, b',') => Place::ListAfterComma,
                (Place::Between, b'{') => {
                    self.object()?;
                    return Ok(Some(&self.record));
                }
                (Place::ListBegin | Place::ListAfterComma, b'{') => {
                    self.object()?;
                    self.place = Place::ListAfterRecord;
                    return Ok(Some(&self.record));
                }
                _ => return Err(Unreadable::NoRecord { at: self.at }),
            };
            self.consume(1);
        }
    }

    fn object(&mut self) -> Result<(), Unreadable> {
        self.record.clear();
        let mut nesting = Nesting::default();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Err(Unreadable::CutOff);
            }
            let (mut used, mut done) = (0, false);
            for byte in buffer {
                used += 1;
                match nesting.after(*byte) {
                    0 => {
                        done = true;
                        break;
                    }
                    it if DEPTH_MAX < it => return Err(Unreadable::TooDeep),
                    _ => (),
                }
            }
            self.record.extend_from_slice(buffer.get(..used).unwrap_or_default());
            self.consume(used);
            if RECORD_BYTES_MAX < self.record.len() {
                return Err(Unreadable::TooLong);
            }
            if done {
                return Ok(());
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.at += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// The records, and the word of the error in the end.
    fn read(text: &[u8]) -> (Vec<String>, Option<String>) {
        let mut records = Records::new(BufReader::with_capacity(3, text));
        let mut res = Vec::new();
        loop {
            match records.next() {
                Ok(Some(it)) => res.push(String::from_utf8_lossy(it).into_owned()),
                Ok(None) => return (res, None),
                Err(error) => return (res, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn lists_objects_and_lines_are_the_same_records() {
        for (text, expected) in [
            ("", [].as_slice()),
            (" \r\n\t", &[]),
            ("[]", &[]),
            (r#"{"a":1}"#, &[r#"{"a":1}"#]),
            (r#"[{"a":1},{"a":[{}]}]"#, &[r#"{"a":1}"#, r#"{"a":[{}]}"#]),
            ("{\"a\":1}\n{\"b\":2}\n", &[r#"{"a":1}"#, r#"{"b":2}"#]),
            ("[{}]\n[{}]", &["{}", "{}"]),
            (r#"{"a":"}\"{[\\"}"#, &[r#"{"a":"}\"{[\\"}"#]),
        ] {
            let (records, error) = read(text.as_bytes());
            assert_eq!(
                (records, error),
                (expected.iter().map(ToString::to_string).collect(), None)
            );
        }
    }

    #[test]
    fn what_is_no_trail_ends_in_an_error() {
        let deep = format!("{{\"a\":{}", "[".repeat(DEPTH_MAX));
        let long = format!("{{\"a\":\"{}", "x".repeat(RECORD_BYTES_MAX));
        for (text, expected) in [
            ("[", "cut off"),
            ("[{}", "cut off"),
            ("{", "cut off"),
            (r#"{"a":"}"#, "cut off"),
            ("[{},", "cut off"),
            ("1", "at byte 0"),
            ("null", "at byte 0"),
            ("[1]", "at byte 1"),
            ("[{}{}]", "at byte 3"),
            ("[,{}]", "at byte 1"),
            ("[{},]", "at byte 4"),
            ("[[{}]]", "at byte 1"),
            ("{}]", "at byte 2"),
            ("<html>", "at byte 0"),
            (&deep, "nested"),
            (&long, "longer"),
        ] {
            let (_, error) = read(text.as_bytes());
            let error = error.unwrap_or_default();
            assert!(error.contains(expected), "{}: {error}", text.get(..20).unwrap_or(text));
        }
    }
}
