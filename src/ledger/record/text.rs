//! Records as JSON text: one line whatever a value holds, without any character that could make a
//! terminal or an editor show something else.

use crate::text::is_deceptive;

use serde::Serialize;
use serde_json::ser::Formatter;
use std::io;

/// `it` as JSON on one line, in which no character hides or moves anything.
#[must_use]
pub fn to_json(it: &impl Serialize) -> String {
    let mut res = Vec::with_capacity(1024);
    // Records are made of what JSON can hold, so this cannot fail.
    let written = it.serialize(&mut serde_json::Serializer::with_formatter(&mut res, Inert));
    written.ok().and_then(|()| String::from_utf8(res).ok()).unwrap_or_default()
}

/// The members of `body`'s JSON object, without its braces.
///
/// # Errors
/// None with the types of the schema; serde has the last word.
pub(in crate::ledger) fn to_members(body: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut res = Vec::with_capacity(1024);
    body.serialize(&mut serde_json::Serializer::with_formatter(&mut res, Inert))?;
    res.pop();
    if !res.is_empty() {
        res.remove(0);
    }
    Ok(res)
}

/// Compact JSON in which control and invisible characters beyond ASCII are escaped too. JSON's own
/// rules escape only those below U+0020.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // JSON has escaped what is below U+0020; of ASCII that leaves U+007F.
        if fragment.is_ascii() && !fragment.as_bytes().contains(&0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut buffer = [0; 4];
        for it in fragment.chars() {
            if !is_deceptive(it) {
                writer.write_all(it.encode_utf8(&mut buffer).as_bytes())?;
                continue;
            }
            for unit in it.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// How many bytes `it` takes as written here.
pub(in crate::ledger) fn written_len(it: char) -> usize {
    match it {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        _ if is_deceptive(it) => 6 * it.len_utf16(),
        _ => it.len_utf8(),
    }
}
