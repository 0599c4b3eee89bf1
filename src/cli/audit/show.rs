//! `lychgate audit show`: decisions, each with how it ended.

use super::text::Columns;
use super::{Directories, Exit, text};
use crate::cli::paint::Paint;
use crate::clock::Clock;
use crate::ledger::record::Body;
use crate::ledger::{
    Damage, Ending, Kind, LedgerId, Reader, Record, Seen, Unverified, in_order, record,
};
use crate::policy::Answer;
use crate::text::escaped;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use std::{io, mem, thread};

/// How many decisions the table shows by default.
const LAST: usize = 100;

/// How often `--follow` looks for new records.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Lists decisions by time, each with how it ended. All that match are held in memory: narrow the
/// choice down if the ledger is large.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    wanted: Wanted,
    /// Only the last so many, 0 for all [default: 100 in a table, else all].
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Then show each decision when it ends, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// A table, one JSON object per line with everything that was recorded, or CSV.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show times in the zone of this system instead of UTC (table only).
    #[arg(long)]
    local: bool,
    /// The width of the table in characters [default: the terminal's; without a terminal nothing is
    /// cut].
    #[arg(long, value_name = "COLUMNS")]
    width: Option<usize>,
}

/// Which decisions. A text may end in `*`, which stands for anything.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// Of this principal: the qualified name, such as corp/alice or corp/*.
    #[arg(long, value_name = "SOURCE/NAME")]
    principal: Option<String>,
    /// About this training job; the beginning of its ID is enough. What was lost with it is shown
    /// below the table.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Of this batch: its request ID, which is the `batch.id` of its decisions.
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// In this project.
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Of this request: the ID that its answer named, or the beginning of it.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// With this answer of the policies.
    #[arg(long, value_name = "ANSWER", value_parser = answer())]
    decision: Option<Answer>,
    /// Decided by this statement, such as guardrails/protect#NoProd or guardrails/*.
    #[arg(long, value_name = "FILE#SID")]
    statement: Option<String>,
    /// That ended like this: sent, denied, refused, gone, present, unknown or not_sent.
    #[arg(long, value_name = "WORD")]
    ending: Option<String>,
    /// With this HTTP status from the cloud.
    #[arg(long, value_name = "STATUS")]
    status: Option<u16>,
    /// From this time on: 2026-01-15T12:00:00Z, 2026-01-15 for the start of that day in UTC, or 2h
    /// or 3d for so long ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
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
    time: Timestamp,
    #[serde(flatten)]
    decision: Box<record::Decision<'static>>,
    outcome: Option<record::Outcome<'static>>,
    settlement: Option<record::Settlement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone: Option<Box<record::Tombstone<'static>>>,
}

/// What was read of some ledgers.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<(LedgerId, u64), Row>,
    /// Those of `rows` whose end was read since the last call of [`Rows::take_ended`].
    ended: Vec<(LedgerId, u64)>,
    decisions: u64,
}

const TABLE: [&str; 8] =
    ["TIME", "PRINCIPAL", "PROJECT", "JOB", "DECISION", "ENDING", "STATUS", "BY"];

const CSV: [&str; 14] = [
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

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    if arguments.follow {
        return arguments.follow();
    }
    let mut read = Rows::default();
    let exit = arguments.directories.read(|it| read.take(&arguments.wanted, it));
    let decisions = read.decisions;
    let mut rows: Vec<Row> = read.rows.into_values().collect();
    rows.retain(|it| arguments.wanted.wants_end(it));
    let found = rows.len();
    arguments.newest(&mut rows);
    if found == 0 {
        super::note(&format!("none of {decisions} decisions match"));
    } else if rows.len() < found {
        super::note(&format!("the last {} of {found} decisions; --last 0 for all", rows.len()));
    }
    super::print(&match arguments.format {
        Format::Table => {
            let columns = arguments.columns(&rows);
            let table = columns.table(&arguments.cells(&rows, &columns.heads));
            match arguments.wanted.job {
                Some(_) => table + &lost(&rows),
                None => table,
            }
        }
        Format::Json => json(&rows),
        Format::Csv => text::csv(&CSV, &rows.iter().map(Row::csv).collect::<Vec<_>>()),
    })?;
    Ok(exit)
}

impl Arguments {
    /// Prints what has ended so far, and whatever ends from now on.
    fn follow(&self) -> io::Result<Exit> {
        let mut readers = Vec::new();
        for directory in in_order(&self.directories.directories) {
            match Reader::open(directory) {
                Ok(reader) => readers.push((directory, reader)),
                Err(error) => {
                    super::complain(directory, &error.into());
                    return Ok(Exit::Failed);
                }
            }
        }
        let mut seen = (1 < readers.len()).then(Seen::default);
        let (mut read, mut columns) = (Rows::default(), None);
        loop {
            for (directory, reader) in &mut readers {
                let resumed = reader.resume().map_err(Unverified::from);
                let done = resumed.and_then(|()| read.rest(&self.wanted, reader, &mut seen));
                if let Err(error) = done {
                    super::complain(directory, &error);
                    return Ok(Exit::Failed);
                }
            }
            let mut rows = read.take_ended();
            rows.retain(|it| self.wanted.wants_end(it));
            let first = columns.is_none();
            if first {
                self.newest(&mut rows);
            }
            let columns = columns.get_or_insert_with(|| self.columns(&rows));
            super::print(&match self.format {
                Format::Table if first => columns.table(&self.cells(&rows, &columns.heads)),
                Format::Table => columns.lines(&self.cells(&rows, &columns.heads)),
                Format::Json => json(&rows),
                Format::Csv => {
                    let rows: Vec<_> = rows.iter().map(Row::csv).collect();
                    let text = text::csv(&CSV, &rows);
                    let lines = text.split_inclusive('\n').skip(usize::from(!first));
                    lines.collect()
                }
            })?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Sorts `rows` and keeps the newest.
    fn newest(&self, rows: &mut Vec<Row>) {
        rows.sort_by_key(|it| it.time);
        let last = match (self.last, self.format) {
            (Some(0), _) | (None, Format::Json | Format::Csv) => usize::MAX,
            (Some(last), _) => last,
            (None, Format::Table) => LAST,
        };
        rows.drain(..rows.len().saturating_sub(last));
    }

    /// The columns of the table, made to fit: IDs are cut first, because the beginning is enough to
    /// ask for one, and a project that all rows share is left out.
    fn columns(&self, rows: &[Row]) -> Columns {
        let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let paint = Paint::of(&io::stdout());
        let columns = Columns::of(&TABLE, &self.cells(rows, &TABLE)).painted(paint);
        let fits = |it: usize| columns.width() <= it;
        let Some(width) = self.width.or_else(terminal).filter(|it| !fits(*it)) else {
            return columns;
        };
        let mut heads = TABLE.to_vec();
        if rows
            .windows(2)
            .all(|it| matches!(it, [a, b] if a.decision.project == b.decision.project))
        {
            heads.retain(|it| *it != "PROJECT");
        }
        let place = |name: &&str| heads.iter().position(|it| it == name);
        let yielding: Vec<_> =
            ["PROJECT", "JOB", "BY", "PRINCIPAL"].iter().filter_map(place).collect();
        let columns = Columns::of(&heads, &self.cells(rows, &heads));
        columns.within(width, &yielding).painted(paint)
    }

    fn cells(&self, rows: &[Row], heads: &[&str]) -> Vec<Vec<String>> {
        let zone = if self.local { TimeZone::system() } else { TimeZone::UTC };
        let cells = |row: &Row| {
            let why = if row.statement().is_empty() { row.reason() } else { row.statement() };
            let time = row.time.to_zoned_datetime(zone.clone());
            let cell = |head: &&str| match *head {
                "TIME" => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                "PRINCIPAL" => row.decision.principal.to_string(),
                "PROJECT" => row.decision.project.to_string(),
                "JOB" => row.decision.job.to_string(),
                "DECISION" => text::word(&row.decision.result),
                "ENDING" => row.ending(),
                "STATUS" => row.status().map(|it| it.to_string()).unwrap_or_default(),
                _ => why.clone(),
            };
            heads.iter().map(cell).collect()
        };
        rows.iter().map(cells).collect()
    }
}

impl Rows {
    fn take(&mut self, wanted: &Wanted, record: &Record) -> Result<(), Damage> {
        let kinds = [Kind::Decision, Kind::Outcome, Kind::Settlement, Kind::Tombstone];
        if !kinds.contains(&record.kind) {
            return Ok(());
        }
        let key = |seq| (record.ledger_id.clone(), seq);
        let ended = match record.body()? {
            Body::Decision(decision) => {
                self.decisions += 1;
                if wanted.wants(record.time, &decision) {
                    let row = Row {
                        ledger_id: record.ledger_id.to_string(),
                        seq: record.seq,
                        time: record.time,
                        decision,
                        outcome: None,
                        settlement: None,
                        tombstone: None,
                    };
                    self.rows.insert(key(record.seq), row);
                }
                return Ok(());
            }
            Body::Outcome(it) => {
                let (key, ended) = (key(it.of), it.result != Ending::Unknown);
                let row = self.rows.get_mut(&key).map(|row| row.outcome = Some(it));
                row.filter(|()| ended).map(|()| key)
            }
            Body::Settlement(it) => {
                let key = key(it.of);
                self.rows.get_mut(&key).map(|row| row.settlement = Some(it)).map(|()| key)
            }
            Body::Tombstone(it) => {
                if let Some(row) = self.rows.get_mut(&key(it.of)) {
                    row.tombstone = Some(it);
                }
                None
            }
            Body::Checkpoint(_) | Body::Policies(_) | Body::Suppressed(_) | Body::Unknown => None,
        };
        self.ended.extend(ended);
        Ok(())
    }

    /// Takes the records that `reader` has not read yet, and no directory before.
    fn rest(
        &mut self,
        wanted: &Wanted,
        reader: &mut Reader,
        seen: &mut Option<Seen>,
    ) -> Result<(), Unverified> {
        while let Some(record) = reader.next()? {
            if seen.as_mut().is_none_or(|it| it.is_new(record.seq, &record.text)) {
                self.take(wanted, &record)?;
            }
        }
        Ok(())
    }

    /// Those that have ended since the last call; one without an answer of the cloud ends when it
    /// is settled.
    fn take_ended(&mut self) -> Vec<Row> {
        let ended = mem::take(&mut self.ended);
        let mut rows: Vec<_> = ended.into_iter().filter_map(|it| self.rows.remove(&it)).collect();
        rows.sort_by_key(|it| it.time);
        rows
    }
}

impl Wanted {
    fn wants(&self, time: Timestamp, decision: &record::Decision<'_>) -> bool {
        let begins = |wanted: &Option<String>, is: &str| {
            wanted.as_ref().is_none_or(|it| is.starts_with(it.trim_end_matches('*')))
        };
        matches(self.principal.as_deref(), &decision.principal)
            && begins(&self.job, &decision.job)
            && matches(self.project.as_deref(), &decision.project)
            && self
                .batch
                .as_ref()
                .is_none_or(|wanted| decision.batch.as_ref().is_some_and(|it| it.id == *wanted))
            && begins(&self.request_id, &decision.request_id)
            && matches(self.statement.as_deref(), decision.statement.as_deref().unwrap_or_default())
            && self.decision.is_none_or(|it| it == decision.result)
            && self.since.is_none_or(|it| it <= time)
            && self.until.is_none_or(|it| time < it)
    }

    fn wants_end(&self, row: &Row) -> bool {
        matches(self.ending.as_deref(), &row.ending())
            && self.status.is_none_or(|it| row.status() == Some(it))
    }
}

/// Whether `text` is the `wanted` one, if one is wanted.
fn matches(wanted: Option<&str>, text: &str) -> bool {
    match wanted.map(|it| it.strip_suffix('*').ok_or(it)) {
        None => true,
        Some(Ok(beginning)) => text.starts_with(beginning),
        Some(Err(whole)) => text == whole,
    }
}

impl Row {
    /// The latest ending that is known, as text; empty if there is none.
    fn ending(&self) -> String {
        let settled = self.settlement.map(|it| it.result);
        let ended = settled.or(self.outcome.as_ref().map(|it| it.result));
        ended.map(|it| text::word(&it)).unwrap_or_default()
    }

    fn status(&self) -> Option<u16> {
        self.outcome.as_ref().and_then(|it| it.status)
    }

    fn reason(&self) -> String {
        self.decision.reason.map(|it| text::word(&it)).unwrap_or_default()
    }

    fn statement(&self) -> String {
        self.decision.statement.clone().unwrap_or_default().into_owned()
    }

    fn csv(&self) -> Vec<String> {
        let decision = &self.decision;
        vec![
            self.time.to_string(),
            self.ledger_id.clone(),
            self.seq.to_string(),
            decision.request_id.to_string(),
            decision.trace_id.to_string(),
            decision.principal.to_string(),
            decision.upstream.to_string(),
            decision.project.to_string(),
            decision.job.to_string(),
            text::word(&decision.result),
            self.reason(),
            self.statement(),
            self.ending(),
            self.status().map(|it| it.to_string()).unwrap_or_default(),
        ]
    }
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

fn json(rows: &[Row]) -> String {
    rows.iter().map(|it| record::to_json(it) + "\n").collect()
}

fn answer() -> impl TypedValueParser<Value = Answer> {
    PossibleValuesParser::new(Answer::ALL.map(Answer::as_str)).map(|word| {
        // The value parser lets only these words through.
        Answer::ALL.into_iter().find(|it| it.as_str() == word).unwrap_or(Answer::Indeterminate)
    })
}

/// Reads a moment, a day, or how long ago.
pub(in crate::cli) fn time(text: &str) -> Result<Timestamp, String> {
    at(text, Clock::system().now()).ok_or_else(|| {
        "not a time: write it as 2026-01-15T12:00:00Z, as 2026-01-15 for a day in UTC, or as 90m, 2h or 3d for so long ago".to_owned()
    })
}

fn at(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    // The parser of dates would take one with a time as well, and leave the time out.
    if let Some(day) = text.parse::<Date>().ok().filter(|_| matches!(text.len(), 8 | 10)) {
        return day.to_zoned_datetime(TimeZone::UTC).ok().map(|it| it.timestamp());
    }
    let ago = text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_sub(ago).ok().filter(|it| *it <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_days_or_ago() {
        let now = "2026-01-15T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-15T12:00:00Z", Some("2026-01-15T12:00:00Z")),
            ("2026-01-15T12:00:00+08:00", Some("2026-01-15T04:00:00Z")),
            ("2026-01-15", Some("2026-01-15T00:00:00Z")),
            ("20260115", Some("2026-01-15T00:00:00Z")),
            ("26-01-15", None),
            ("2026-01-15T12:00:00", None),
            ("2026-01-15 12:00", None),
            ("2026-01-15T12:00:00-04[America/New_York]", Some("2026-01-15T16:00:00Z")),
            ("2026-01-15[Asia/Shanghai]", None),
            ("90m", Some("2026-01-15T10:30:00Z")),
            ("1h", Some("2026-01-15T11:00:00Z")),
            ("3d", Some("2026-01-12T12:00:00Z")),
            ("-1h", None),
            ("2026-01-32", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(at(text, now).map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }
}
