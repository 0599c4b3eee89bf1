//! Directories that hold parts of one ledger, or copies of it.

use super::verify::Reader;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

/// The directories in the order in which they are to be read: those of one ledger one after the other,
/// the part that begins first before the others, so that a decision comes before its end.
#[must_use]
pub fn in_order(directories: &[PathBuf]) -> Vec<&PathBuf> {
    let mut res: Vec<_> = directories.iter().collect();
    res.sort_by_cached_key(|it| {
        let first = Reader::open(it).ok()?.next().ok()??;
        Some((first.ledger_id, first.seq))
    });
    res
}

/// The records that were read so far.
#[derive(Debug, Default)]
pub struct Seen {
    state: RandomState,
    records: HashSet<(u64, u64)>,
}

impl Seen {
    /// Whether this line, number `seq` of its ledger, is read for the first time. The number alone does
    /// not tell: a copy may have gone on differently.
    pub fn is_new(&mut self, seq: u64, line: &[u8]) -> bool {
        self.records.insert((seq, self.state.hash_one(line)))
    }
}
