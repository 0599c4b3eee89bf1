//! `lychgate audit pending`: the decisions whose end is not in the ledger.

use super::{Directories, Exit, Format, text};
use crate::ledger::record::Body;
use crate::ledger::{Damage, Kind, LedgerId, Record, record};
use crate::policy::Answer;

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// Lists the decisions without a final outcome: deletes whose effect is unknown and, while a gate
/// runs, the requests it is working on.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// A table, or one JSON object per line.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A decision that is open.
#[derive(Serialize)]
struct Open {
    ledger_id: String,
    seq: u64,
    time: Timestamp,
    request_id: String,
    principal: String,
    project: String,
    job: String,
    upstream: String,
    decision: Answer,
    /// The outcome is `unknown`: perhaps sent, no answer. Otherwise there is no outcome yet.
    unknown: bool,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut open = BTreeMap::new();
    let exit = arguments.directories.read(|it| count(&mut open, it));
    let mut open: Vec<_> = open.into_values().collect();
    open.sort_by_key(|it| it.time);
    super::print(&match arguments.format {
        Format::Human => human(&open),
        Format::Json => open.iter().map(|it| record::to_json(it) + "\n").collect(),
    })?;
    Ok(exit)
}

fn count(open: &mut BTreeMap<(LedgerId, u64), Open>, record: &Record) -> Result<(), Damage> {
    if !matches!(record.kind, Kind::Decision | Kind::Outcome | Kind::Settlement) {
        return Ok(());
    }
    let key = |seq| (record.ledger_id.clone(), seq);
    match record.body()? {
        Body::Decision(it) => {
            let decision = Open {
                ledger_id: record.ledger_id.to_string(),
                seq: record.seq,
                time: record.time,
                request_id: it.request_id.into_owned(),
                principal: it.principal.into_owned(),
                project: it.project.into_owned(),
                job: it.job.into_owned(),
                upstream: it.upstream.into_owned(),
                decision: it.result,
                unknown: false,
            };
            open.insert(key(record.seq), decision);
        }
        Body::Outcome(it) if !it.result.is_final() => {
            if let Some(open) = open.get_mut(&key(it.of)) {
                open.unknown = true;
            }
        }
        Body::Outcome(record::Outcome { of, .. })
        | Body::Settlement(record::Settlement { of, .. }) => {
            open.remove(&key(of));
        }
        Body::Checkpoint(_)
        | Body::Policies(_)
        | Body::Suppressed(_)
        | Body::Tombstone(_)
        | Body::Unknown => (),
    }
    Ok(())
}

fn human(open: &[Open]) -> String {
    let rows: Vec<_> = open
        .iter()
        .map(|it| {
            let state = if it.unknown { "sent, effect unknown" } else { "no outcome" };
            vec![
                it.time.to_string(),
                it.ledger_id.clone(),
                it.seq.to_string(),
                it.principal.clone(),
                it.project.clone(),
                it.job.clone(),
                text::word(&it.decision),
                state.to_owned(),
            ]
        })
        .collect();
    let heads = ["TIME", "LEDGER", "SEQ", "PRINCIPAL", "PROJECT", "JOB", "DECISION", "STATE"];
    text::table(&heads, &rows)
}
