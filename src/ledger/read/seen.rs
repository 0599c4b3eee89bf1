//! Records that are read twice, because one directory is a copy of another.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

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
