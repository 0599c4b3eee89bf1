//! `lychgate audit stats`: how many decisions, by what came of them and by whom.

use super::{Directories, Exit, Format, text};
use crate::ledger::record::Body;
use crate::ledger::{Damage, Ending, Kind, Record, record};
use crate::policy::Answer;

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// Counts decisions by answer, reason and principal, and how they ended.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// Tables, or one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What was counted.
#[derive(Default, Serialize)]
struct Stats {
    /// The time of the earliest record.
    since: Option<String>,
    /// The time of the latest record.
    until: Option<String>,
    /// All records, of whatever kind.
    records: u64,
    /// By answer, and by reason where it was no.
    decisions: BTreeMap<String, u64>,
    /// Outcomes and settlements by what they say. What is settled as `gone` or `present` may have
    /// had the outcome `unknown` before, and is then counted under both.
    endings: BTreeMap<String, u64>,
    principals: BTreeMap<String, Principal>,
}

/// One principal's decisions.
#[derive(Default, Serialize)]
struct Principal {
    allow: u64,
    deny: u64,
    indeterminate: u64,
    /// Requests beyond the rate limit, which were not recorded one by one.
    suppressed: u64,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut stats = Stats::default();
    let mut span: Option<(Timestamp, Timestamp)> = None;
    let exit = arguments.directories.read(|record| {
        let (since, until) = span.unwrap_or((record.time, record.time));
        span = Some((since.min(record.time), until.max(record.time)));
        stats.count(record)
    });
    stats.since = span.map(|(since, _)| since.to_string());
    stats.until = span.map(|(_, until)| until.to_string());
    super::print(&match arguments.format {
        Format::Human => stats.human(),
        Format::Json => record::to_json(&stats) + "\n",
    })?;
    Ok(exit)
}

impl Stats {
    fn count(&mut self, record: &Record) -> Result<(), Damage> {
        self.records += 1;
        if matches!(record.kind, Kind::Checkpoint | Kind::Policies | Kind::Unknown) {
            return Ok(());
        }
        match record.body()? {
            Body::Decision(it) => self.decision(&it),
            Body::Outcome(it) => self.ending(it.result),
            Body::Settlement(it) => self.ending(it.result),
            Body::Suppressed(it) => {
                let principal = self.principals.entry(it.principal.into_owned()).or_default();
                principal.suppressed = principal.suppressed.saturating_add(it.count);
            }
            Body::Checkpoint(_) | Body::Policies(_) | Body::Tombstone(_) | Body::Unknown => (),
        }
        Ok(())
    }

    fn decision(&mut self, decision: &record::Decision<'_>) {
        let mut answer = text::word(&decision.result);
        if let Some(reason) = decision.reason {
            answer = format!("{answer} {}", text::word(&reason));
        }
        *self.decisions.entry(answer).or_default() += 1;
        let principal = self.principals.entry(decision.principal.to_string()).or_default();
        *match decision.result {
            Answer::Allow => &mut principal.allow,
            Answer::Deny => &mut principal.deny,
            Answer::Indeterminate => &mut principal.indeterminate,
        } += 1;
    }

    fn ending(&mut self, ending: Ending) {
        *self.endings.entry(text::word(&ending)).or_default() += 1;
    }

    fn human(&self) -> String {
        let span = match (&self.since, &self.until) {
            (Some(since), Some(until)) => format!(", {since} to {until}"),
            _ => String::new(),
        };
        let counts = |head, counts: &BTreeMap<String, u64>| {
            let row = |(what, count): (&String, &u64)| vec![what.clone(), count.to_string()];
            text::table(&[head, "COUNT"], &counts.iter().map(row).collect::<Vec<_>>())
        };
        let principal = |(name, it): (&String, &Principal)| {
            let Principal { allow, deny, indeterminate, suppressed } = it;
            let counts = [allow, deny, indeterminate, suppressed].map(ToString::to_string);
            [vec![name.clone()], counts.to_vec()].concat()
        };
        let heads = ["PRINCIPAL", "ALLOW", "DENY", "INDETERMINATE", "SUPPRESSED"];
        let principals: Vec<_> = self.principals.iter().map(principal).collect();
        [
            format!("{} records{span}\n", self.records),
            counts("DECISION", &self.decisions),
            counts("ENDING", &self.endings),
            text::table(&heads, &principals),
        ]
        .join("\n")
    }
}
