//! `lychgate audit verify`: is the ledger what the gate wrote, from its first record to its last?

use super::Directories;
use super::Exit;
use super::Format;
use crate::ledger;
use crate::ledger::Verified;
use crate::ledger::record;

use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Checks that no record was edited, removed, swapped or added, and names the first that is no good.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
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
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut exit = Exit::Ok;
    for directory in &arguments.directories.directories {
        match ledger::verify(directory) {
            Ok(Some(verified)) => {
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
    Ok(exit)
}

fn report(directory: &Path, verified: &Verified) -> Report {
    let Verified { id, first, last, records, unfinished } = verified;
    let kind = |(kind, count): (&ledger::Kind, &u64)| (super::text::word(kind), *count);
    Report {
        directory: directory.display().to_string(),
        ledger_id: id.to_string(),
        first: *first,
        last: *last,
        records: records.iter().map(kind).collect(),
        unfinished: *unfinished,
    }
}

impl Report {
    fn human(&self) -> String {
        let Self { directory, ledger_id, first, last, records, unfinished } = self;
        let kinds: Vec<_> = records.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let end = if *unfinished { "; a record is being written, or was cut off" } else { "" };
        format!(
            "{}: ledger {ledger_id}: records {first} to {last} are whole ({}){end}\n",
            super::text::escaped(directory),
            kinds.join(", ")
        )
    }
}
