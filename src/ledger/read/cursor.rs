//! The shipping cursor: how far the records were shipped, in a file beside the segments.

use super::tail::Tail;
use crate::ledger::line::LedgerId;
use crate::mounted;

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};
use tokio::sync::watch;

/// The name of the file.
const CURSOR: &str = "ledger.shipped";

/// The new file, before it replaces the old one.
const NEW: &str = "ledger.shipped.new";

/// More than the file ever holds.
const CURSOR_BYTES_MAX: u64 = 256;

/// How far the records were shipped, for the ledger's thread, which keeps what comes after.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Shipped(Arc<AtomicU64>);

impl Default for Shipped {
    /// For a ledger that is not shipped.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Shipped {
    /// The number of the last record that is known to be shipped, also after a restart.
    pub(in crate::ledger) fn seq(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, seq: u64) {
        self.0.store(seq, Ordering::Release);
    }
}

/// The records that were not shipped yet, oldest first.
#[derive(Debug)]
pub struct Unshipped {
    /// Reads them.
    pub tail: Tail,
    directory: PathBuf,
    id: LedgerId,
    shipped: Shipped,
}

#[derive(Debug, Deserialize, Serialize)]
struct Written {
    ledger_id: String,
    seq: u64,
}

impl Unshipped {
    /// Goes on where an earlier run stopped, or starts with the oldest record.
    pub(in crate::ledger) fn open(
        directory: &Path,
        id: LedgerId,
        committed: watch::Receiver<u64>,
        shipped: Shipped,
    ) -> Self {
        let last = *committed.borrow();
        let after = match read(directory, &id) {
            Ok(after) => after.filter(|it| *it <= last),
            Err(error) => {
                tracing::warn!(%error, "cannot read what was shipped: everything is shipped again");
                None
            }
        };
        let after = after.unwrap_or_else(|| oldest(directory).saturating_sub(1));
        shipped.set(after);
        let tail = Tail::new(directory, id.clone(), after, committed);
        Self { tail, directory: directory.to_owned(), id, shipped }
    }

    /// Notes for later runs that everything up to the record number `seq` was shipped. Blocks until
    /// the note is on stable storage.
    ///
    /// # Errors
    /// The note cannot be written: later runs ship again what came after the last one.
    pub fn save(&self, seq: u64) -> io::Result<()> {
        let written = Written { ledger_id: self.id.to_string(), seq };
        let new = self.directory.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(serde_json::to_string(&written)?.as_bytes())?;
        file.sync_data()?;
        fs::rename(new, self.directory.join(CURSOR))?;
        self.shipped.set(seq);
        Ok(())
    }
}

/// How far the ledger `id` was shipped, according to the file; `None` without one.
fn read(directory: &Path, id: &LedgerId) -> io::Result<Option<u64>> {
    let file = match mounted::open(&directory.join(CURSOR)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(CURSOR_BYTES_MAX).read_to_string(&mut text)?;
    let written: Written = serde_json::from_str(&text)?;
    Ok(Some(written.seq).filter(|_| written.ledger_id == id.as_str()))
}

/// The number of the oldest record; 1 if there are no records.
fn oldest(directory: &Path) -> u64 {
    let segments = super::reader::segments(directory).unwrap_or_default();
    segments.first().copied().unwrap_or(1)
}
