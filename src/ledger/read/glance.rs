//! The members of a line by which a start knows which decisions are open and which deletes count.
//!
//! Nothing is checked here; `audit verify` does that.

use super::reader::{Lines, Piece};
use crate::ledger::line::Kind;

use serde::Deserialize;
use std::borrow::Cow;
use std::io;
use std::path::Path;

/// Some members of a line; those that other kinds of record do not have are absent.
#[derive(Deserialize)]
pub(in crate::ledger) struct Glance<'a> {
    pub(in crate::ledger) ledger_id: &'a str,
    pub(in crate::ledger) seq: u64,
    pub(in crate::ledger) kind: Kind,
    pub(in crate::ledger) time: &'a str,
    #[serde(borrow)]
    pub(in crate::ledger) result: Option<Cow<'a, str>>,
    pub(in crate::ledger) status: Option<u16>,
    pub(in crate::ledger) of: Option<u64>,
    #[serde(borrow)]
    pub(in crate::ledger) request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in crate::ledger) upstream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in crate::ledger) project: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(in crate::ledger) job: Option<Cow<'a, str>>,
}

/// Calls `visit` with each line of `segments` in `directory` that can be read. Blocks.
pub(in crate::ledger) fn each_line(
    directory: &Path,
    segments: &[u64],
    mut visit: impl FnMut(Glance<'_>, &[u8]),
) -> io::Result<()> {
    for first in segments {
        let mut lines = match Lines::open(directory, *first) {
            // Retention removed it after the list was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        while let Some(Piece::Line(line)) = lines.next()? {
            if let Ok(glance) = serde_json::from_slice(line) {
                visit(glance, line);
            }
        }
    }
    Ok(())
}
