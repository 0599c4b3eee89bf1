//! `lychgate audit stats`: how many jobs were deleted, and how many decisions there were by result,
//! statement and principal.

use super::show::time;
use super::text::Columns;
use super::{Directories, Exit, Format, text};
use crate::cli::paint::Paint;
use crate::ledger::record::{Body, Reason};
use crate::ledger::{Damage, Ending, Kind, LedgerId, Record, record};
use crate::policy::Answer;

use jiff::Timestamp;
use serde::Serialize;
use std::collections::hash_map::Entry::Occupied;
use std::collections::{BTreeMap, HashMap};
use std::io;

/// Counts deletes by how they ended, and decisions by answer, reason, statement and principal.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// From this time on: 2026-01-15T12:00:00Z, 2026-01-15 for the start of that day in UTC, or 2h
    /// or 3d for so long ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
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
    /// How deletes ended.
    deletes: Deletes,
    /// By answer, and by reason unless it was an allow.
    decisions: BTreeMap<String, u64>,
    /// Outcomes and settlements of these decisions by result. A decision that was settled as `gone`
    /// or `present` may have had the outcome `unknown` before, and then counts under both.
    endings: BTreeMap<String, u64>,
    /// Decisions by the statement that decided.
    statements: BTreeMap<String, u64>,
    principals: BTreeMap<String, Principal>,
    /// Decisions whose end is not known yet.
    #[serde(skip)]
    open: HashMap<(LedgerId, u64), Open>,
}

/// How the deletes that somebody asked for ended.
#[derive(Default, Serialize)]
struct Deletes {
    deleted: u64,
    already_gone: u64,
    refused_by_the_cloud: u64,
    still_there: u64,
    not_sent: u64,
    unknown: u64,
    denied: u64,
    undecided: u64,
}

/// One principal's decisions.
#[derive(Default, Serialize)]
struct Principal {
    allow: u64,
    deny: u64,
    indeterminate: u64,
    /// How many of the allowed deletes deleted a job.
    deleted: u64,
    /// Requests beyond the rate limit, which were not recorded one by one.
    suppressed: u64,
}

/// A decision whose end was not read yet.
struct Open {
    principal: String,
    answer: Answer,
    no_such_job: bool,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut stats = Stats::default();
    let mut span: Option<(Timestamp, Timestamp)> = None;
    let Arguments { since, until, .. } = *arguments;
    let exit = arguments.directories.read(|record| {
        let time = record.time;
        let is_within = since.is_none_or(|it| it <= time) && until.is_none_or(|it| time < it);
        if is_within {
            let (since, until) = span.unwrap_or((time, time));
            span = Some((since.min(time), until.max(time)));
            stats.records += 1;
        }
        match record.kind {
            // They belong to their decisions, whenever those end.
            Kind::Outcome | Kind::Settlement => stats.count(record),
            Kind::Decision | Kind::Suppressed | Kind::Tombstone if is_within => stats.count(record),
            _ => Ok(()),
        }
    });
    stats.since = span.map(|(since, _)| since.to_string());
    stats.until = span.map(|(_, until)| until.to_string());
    let is_open = stats.open.values().filter(|it| it.answer == Answer::Allow);
    stats.deletes.unknown = u64::try_from(is_open.count()).unwrap_or(u64::MAX);
    super::print(&match arguments.format {
        Format::Human => stats.human(Paint::of(&io::stdout())),
        Format::Json => record::to_json(&stats) + "\n",
    })?;
    Ok(exit)
}

impl Stats {
    fn count(&mut self, record: &Record) -> Result<(), Damage> {
        let key = |seq| (record.ledger_id.clone(), seq);
        match record.body()? {
            Body::Decision(it) => self.decision(key(record.seq), &it),
            Body::Outcome(it) => self.ending(key(it.of), it.result, it.status),
            Body::Settlement(it) => self.ending(key(it.of), it.result, None),
            Body::Suppressed(it) => {
                let principal = self.principals.entry(it.principal.into_owned()).or_default();
                principal.suppressed = principal.suppressed.saturating_add(it.count);
            }
            Body::Checkpoint(_) | Body::Policies(_) | Body::Tombstone(_) | Body::Unknown => (),
        }
        Ok(())
    }

    fn decision(&mut self, key: (LedgerId, u64), decision: &record::Decision<'_>) {
        let mut answer = text::word(&decision.result);
        if let Some(reason) = decision.reason {
            answer = format!("{answer} {}", text::word(&reason));
        }
        *self.decisions.entry(answer).or_default() += 1;
        if let Some(statement) = &decision.statement {
            *self.statements.entry(statement.to_string()).or_default() += 1;
        }
        let principal = decision.principal.to_string();
        let counts = self.principals.entry(principal.clone()).or_default();
        *match decision.result {
            Answer::Allow => &mut counts.allow,
            Answer::Deny => &mut counts.deny,
            Answer::Indeterminate => &mut counts.indeterminate,
        } += 1;
        let no_such_job = decision.reason == Some(Reason::NoSuchJob);
        self.open.insert(key, Open { principal, answer: decision.result, no_such_job });
    }

    fn ending(&mut self, key: (LedgerId, u64), ending: Ending, status: Option<u16>) {
        let Occupied(open) = self.open.entry(key) else { return };
        *self.endings.entry(text::word(&ending)).or_default() += 1;
        if ending == Ending::Unknown {
            return;
        }
        let open = open.remove();
        let is_deleted = match ending {
            Ending::Sent => status.is_some_and(|it| (200..300).contains(&it)),
            // The delete was sent, and the job was gone afterwards.
            Ending::Gone => true,
            _ => false,
        };
        if is_deleted {
            self.principals.entry(open.principal).or_default().deleted += 1;
        }
        let deletes = &mut self.deletes;
        *match ending {
            _ if is_deleted => &mut deletes.deleted,
            Ending::Refused if open.no_such_job => &mut deletes.already_gone,
            Ending::Refused => &mut deletes.undecided,
            Ending::Denied => &mut deletes.denied,
            Ending::NotSent => &mut deletes.not_sent,
            Ending::Present => &mut deletes.still_there,
            Ending::Gone | Ending::Sent | Ending::Unknown => &mut deletes.refused_by_the_cloud,
        } += 1;
    }

    fn human(&self, paint: Paint) -> String {
        let table = |heads: &[&'static str], rows: &[Vec<String>]| {
            Columns::of(heads, rows).painted(paint).table(rows)
        };
        let span = match (&self.since, &self.until) {
            (Some(since), Some(until)) => format!(", {since} to {until}"),
            _ => String::new(),
        };
        let counts = |head, counts: &BTreeMap<String, u64>| {
            let row = |(what, count): (&String, &u64)| vec![what.clone(), count.to_string()];
            table(&[head, "COUNT"], &counts.iter().map(row).collect::<Vec<_>>())
        };
        let principal = |(name, it): (&String, &Principal)| {
            let Principal { allow, deny, indeterminate, deleted, suppressed } = it;
            let counts = [deleted, allow, deny, indeterminate, suppressed];
            [vec![name.clone()], counts.map(ToString::to_string).to_vec()].concat()
        };
        let heads = ["PRINCIPAL", "DELETED", "ALLOW", "DENY", "INDETERMINATE", "SUPPRESSED"];
        let principals: Vec<_> = self.principals.iter().map(principal).collect();
        let mut parts = vec![
            format!("{} records{span}\n", self.records),
            table(&["DELETE", "COUNT", "MEANS"], &self.deletes.rows()),
            counts("DECISION", &self.decisions),
            counts("ENDING", &self.endings),
        ];
        if !self.statements.is_empty() {
            parts.push(counts("STATEMENT", &self.statements));
        }
        parts.push(table(&heads, &principals));
        parts.join("\n")
    }
}

impl Deletes {
    fn rows(&self) -> Vec<Vec<String>> {
        let rows = [
            ("deleted", self.deleted, "ModelArts accepted it, or the job was gone afterwards"),
            ("already gone", self.already_gone, "there was no such job; nothing was sent"),
            ("refused by the cloud", self.refused_by_the_cloud, "its answer was not 2xx"),
            (
                "still there",
                self.still_there,
                "no answer, and the job was there at the last look-up",
            ),
            ("not sent", self.not_sent, "allowed, but nothing was sent"),
            ("unknown", self.unknown, "no answer yet: lychgate audit pending"),
            ("denied", self.denied, "by the policies or a budget; nothing was sent"),
            ("undecided", self.undecided, "the policies could not tell; nothing was sent"),
        ];
        let row = |(what, count, means): (&str, u64, &str)| {
            vec![what.to_owned(), count.to_string(), means.to_owned()]
        };
        rows.into_iter().filter(|it| 0 < it.1).map(row).collect()
    }
}
