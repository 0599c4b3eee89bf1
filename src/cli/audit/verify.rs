//! `lychgate audit verify`: is the ledger what the gate wrote, from its first record to its last?

use super::{Directories, Exit, Format};
use crate::ledger::{self, Kept, PublicKey, Trust, Verified, record};

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Checks that no record was edited, removed, swapped or added, and names the first bad one.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// The public key, in PEM, that must have signed every checkpoint; may be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A file with a checkpoint that was kept elsewhere; the ledger must hold it; may be repeated.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A line per ledger for people, or a JSON object per ledger.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A ledger without a fault.
#[derive(Serialize)]
struct Report {
    directory: String,
    ledger_id: String,
    first: u64,
    last: u64,
    records: BTreeMap<String, u64>,
    unfinished: bool,
    /// The last checkpoint that one of the given keys has signed.
    signed: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let Some(mut trust) = trust(arguments) else { return Ok(Exit::Failed) };
    let mut exit = Exit::Ok;
    let mut known = Vec::new();
    for directory in &arguments.directories.directories {
        match ledger::verify_signed(directory, &trust) {
            Ok(Some(verified)) => {
                known.push((verified.id.clone(), verified.first));
                let report = report(directory, &verified);
                super::print(&match arguments.format {
                    Format::Human => report.human(),
                    Format::Json => record::to_json(&report) + "\n",
                })?;
            }
            Ok(None) => {
                super::tell(&format!("{}: no records here", directory.display()));
                exit = Exit::Failed;
            }
            Err(error) => {
                super::complain(directory, &error);
                exit = Exit::Failed;
            }
        }
    }
    let ledgers: BTreeSet<_> = known.iter().map(|(id, _)| id).collect();
    if exit == Exit::Ok && ledgers.len() < known.len() {
        // Each is whole; that they are the same ledger shows only when they are read together.
        exit = arguments.directories.read(|_| Ok(()));
    }
    let is_left =
        |it: &Kept| !known.iter().any(|(id, first)| it.ledger_id == *id && *first <= it.seq);
    trust.kept.retain(is_left);
    for Kept { ledger_id, seq, .. } in &trust.kept {
        let at = format!("the kept checkpoint {seq} of ledger {ledger_id}");
        if known.iter().any(|(id, _)| id == ledger_id) {
            super::note(&format!("{at} is older than the records that are left"));
        } else if exit == Exit::Ok {
            super::tell(&format!("{at}: no such ledger here"));
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// Reads what the ledgers are checked against; reports what cannot be read.
fn trust(arguments: &Arguments) -> Option<Trust> {
    let mut trust = Trust::default();
    for path in &arguments.key {
        match PublicKey::read(path) {
            Ok(key) => trust.keys.push(key),
            Err(error) => return unreadable(path, &error),
        }
    }
    for path in &arguments.checkpoint {
        match Kept::read(path) {
            Ok(kept) => trust.kept.push(kept),
            Err(error) => return unreadable(path, &error),
        }
    }
    Some(trust)
}

fn unreadable<T>(path: &Path, error: &(dyn Error + 'static)) -> Option<T> {
    super::tell(&format!("{}: {}", path.display(), crate::text::chain(error)));
    None
}

fn report(directory: &Path, verified: &Verified) -> Report {
    let Verified { id, first, last, records, unfinished, signed } = verified;
    let kind = |(kind, count): (&ledger::Kind, &u64)| (super::text::word(kind), *count);
    Report {
        directory: directory.display().to_string(),
        ledger_id: id.to_string(),
        first: *first,
        last: *last,
        records: records.iter().map(kind).collect(),
        unfinished: *unfinished,
        signed: *signed,
    }
}

impl Report {
    fn human(&self) -> String {
        let Self { directory, ledger_id, first, last, records, unfinished, signed } = self;
        let kind = |(kind, count): (&String, &u64)| match kind.as_str() {
            "unknown" => format!("{count} of unknown kinds"),
            _ => format!("{count} {kind}"),
        };
        let kinds: Vec<_> = records.iter().map(kind).collect();
        let end = if *unfinished { "; a record is being written, or was cut off" } else { "" };
        let signed = signed.map(|it| format!("; signed up to {it}")).unwrap_or_default();
        format!(
            "{}: ledger {ledger_id}: records {first} to {last} are whole ({}){signed}{end}\n",
            crate::text::escaped(directory),
            kinds.join(", ")
        )
    }
}
