//! `lychgate audit show`: decisions, each with how it ended.

use super::{Directories, Exit, text};
use crate::ledger::record::Body;
use crate::ledger::{Damage, Kind, LedgerId, Record, record};
use crate::policy::Answer;
use crate::text::escaped;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

/// Lists decisions in the order of their times, each with how it ended. What matches is held in
/// memory: narrow a large ledger down.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// Whose: the qualified name, such as corp/alice.
    #[arg(long, value_name = "SOURCE/NAME")]
    principal: Option<String>,
    /// About which training job; the table is followed by what was lost with it.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Of which batch: its request ID, the `batch.id` of its decisions.
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// In which project.
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// With which answer of the policies.
    #[arg(long, value_name = "ANSWER", value_parser = answer())]
    decision: Option<Answer>,
    /// From then on: 2026-01-15T12:00:00Z, or 2026-01-15 for its first moment in UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// A table, one JSON object per line with everything that was recorded, or CSV.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// A decision and how it ended.
#[derive(Serialize)]
struct Row {
    ledger_id: String,
    seq: u64,
    #[serde(serialize_with = "record::serialize_time")]
    time: Timestamp,
    #[serde(flatten)]
    decision: Box<record::Decision<'static>>,
    outcome: Option<record::Outcome<'static>>,
    settlement: Option<record::Settlement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone: Option<Box<record::Tombstone<'static>>>,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut rows = BTreeMap::new();
    let exit = arguments.directories.read(|it| arguments.take(&mut rows, it));
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|it| it.time);
    super::print(&match arguments.format {
        Format::Table if arguments.job.is_some() => table(&rows) + &lost(&rows),
        Format::Table => table(&rows),
        Format::Json => rows.iter().map(|it| record::to_json(it) + "\n").collect(),
        Format::Csv => csv(&rows),
    })?;
    Ok(exit)
}

impl Arguments {
    fn take(
        &self,
        rows: &mut BTreeMap<(LedgerId, u64), Row>,
        record: &Record,
    ) -> Result<(), Damage> {
        let kinds = [Kind::Decision, Kind::Outcome, Kind::Settlement, Kind::Tombstone];
        if !kinds.contains(&record.kind) {
            return Ok(());
        }
        let key = |seq| (record.ledger_id.clone(), seq);
        match record.body()? {
            Body::Decision(decision) if self.wants(record.time, &decision) => {
                let row = Row {
                    ledger_id: record.ledger_id.to_string(),
                    seq: record.seq,
                    time: record.time,
                    decision,
                    outcome: None,
                    settlement: None,
                    tombstone: None,
                };
                rows.insert(key(record.seq), row);
            }
            Body::Outcome(it) => {
                if let Some(row) = rows.get_mut(&key(it.of)) {
                    row.outcome = Some(it);
                }
            }
            Body::Settlement(it) => {
                if let Some(row) = rows.get_mut(&key(it.of)) {
                    row.settlement = Some(it);
                }
            }
            Body::Tombstone(it) => {
                if let Some(row) = rows.get_mut(&key(it.of)) {
                    row.tombstone = Some(it);
                }
            }
            Body::Decision(_)
            | Body::Checkpoint(_)
            | Body::Policies(_)
            | Body::Suppressed(_)
            | Body::Unknown => (),
        }
        Ok(())
    }

    fn wants(&self, time: Timestamp, decision: &record::Decision<'_>) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|it| it == is);
        is(&self.principal, &decision.principal)
            && is(&self.job, &decision.job)
            && is(&self.project, &decision.project)
            && self
                .batch
                .as_ref()
                .is_none_or(|wanted| decision.batch.as_ref().is_some_and(|it| it.id == *wanted))
            && self.decision.is_none_or(|it| it == decision.result)
            && self.since.is_none_or(|it| it <= time)
            && self.until.is_none_or(|it| time < it)
    }
}

impl Row {
    /// The last that is known of its end; empty when nothing is.
    fn ending(&self) -> String {
        let settled = self.settlement.map(|it| it.result);
        let ended = settled.or(self.outcome.as_ref().map(|it| it.result));
        ended.map(|it| text::word(&it)).unwrap_or_default()
    }

    fn status(&self) -> String {
        let status = self.outcome.as_ref().and_then(|it| it.status);
        status.map(|it| it.to_string()).unwrap_or_default()
    }

    fn reason(&self) -> String {
        self.decision.reason.map(|it| text::word(&it)).unwrap_or_default()
    }

    fn statement(&self) -> String {
        self.decision.statement.clone().unwrap_or_default().into_owned()
    }
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let why = if row.statement().is_empty() { row.reason() } else { row.statement() };
        vec![
            row.time.to_string(),
            row.decision.principal.to_string(),
            row.decision.project.to_string(),
            row.decision.job.to_string(),
            text::word(&row.decision.result),
            row.ending(),
            row.status(),
            why,
        ]
    };
    let heads = ["TIME", "PRINCIPAL", "PROJECT", "JOB", "DECISION", "ENDING", "STATUS", "BY"];
    text::table(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// What was lost with each job whose delete was accepted.
fn lost(rows: &[Row]) -> String {
    let mut res = String::new();
    for row in rows {
        let members = row.tombstone.as_ref().and_then(|it| serde_json::to_value(it).ok());
        let Some(Value::Object(members)) = members else { continue };
        res.push_str(&format!("\nlost with {}:\n", escaped(&row.decision.job)));
        for (name, value) in members.iter().filter(|(name, _)| *name != "of") {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            res.push_str(&format!("  {name}: {}\n", escaped(&text)));
        }
    }
    res
}

fn csv(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let decision = &row.decision;
        vec![
            row.time.to_string(),
            row.ledger_id.clone(),
            row.seq.to_string(),
            decision.request_id.to_string(),
            decision.trace_id.to_string(),
            decision.principal.to_string(),
            decision.upstream.to_string(),
            decision.project.to_string(),
            decision.job.to_string(),
            text::word(&decision.result),
            row.reason(),
            row.statement(),
            row.ending(),
            row.status(),
        ]
    };
    let heads = [
        "time",
        "ledger_id",
        "seq",
        "request_id",
        "trace_id",
        "principal",
        "upstream",
        "project",
        "job",
        "decision",
        "reason",
        "statement",
        "ending",
        "status",
    ];
    text::csv(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn answer() -> impl TypedValueParser<Value = Answer> {
    PossibleValuesParser::new(Answer::ALL.map(Answer::as_str)).map(|word| {
        // The parser before has let only these words through.
        Answer::ALL.into_iter().find(|it| it.as_str() == word).unwrap_or(Answer::Indeterminate)
    })
}

pub(in crate::cli) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let day = text.parse::<Date>().and_then(|it| format!("{it}T00:00:00Z").parse());
    day.map_err(|_| {
        "no time: write it as 2026-01-15T12:00:00Z, or 2026-01-15 for a day in UTC".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_days() {
        for (text, expected) in [
            ("2026-01-15T12:00:00Z", Some("2026-01-15T12:00:00Z")),
            ("2026-01-15T12:00:00+08:00", Some("2026-01-15T04:00:00Z")),
            ("2026-01-15", Some("2026-01-15T00:00:00Z")),
            ("2026-01-32", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(time(text).ok().map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }
}
