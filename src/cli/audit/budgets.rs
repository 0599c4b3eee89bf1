//! `lychgate audit budgets`: how much of each budget is used, according to the ledgers.

use super::show::time;
use super::{Directories, Exit, Format, text};
use crate::budget::{Budgets, Use};
use crate::clock::Clock;
use crate::ledger::record::{self, Body};
use crate::ledger::{self, Damage, LedgerId, Record};
use crate::policy::{KEY_ABSENT, KEY_UNKNOWN, Set};
use crate::replay::Versions;

use jiff::Timestamp;
use serde::Serialize;
use std::io;
use std::sync::Arc;

/// Shows how much of each budget is used, by whom, and when there is room again. The budgets are
/// those of the newest policies in the ledgers; what several gates have used is added up.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// As of this time instead of now: 2026-01-15T12:00:00Z, or 2h for so long ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// A table, or one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What is used, as `--format json` prints it.
#[derive(Serialize)]
struct Report {
    at: Timestamp,
    /// The version whose budgets these are.
    policy_digest: Option<String>,
    counters: Vec<Counter>,
}

#[derive(Serialize)]
struct Counter {
    budget: String,
    /// Whose counter it is; `None` for a budget of which nothing is used.
    key: Option<String>,
    used: usize,
    limit: u32,
    within_seconds: i64,
    /// When there is room again; `None` if there is room now.
    room_at: Option<Timestamp>,
}

/// The version that was in force last: a decision tells, too, because the text of one that comes
/// back is written once in a segment.
#[derive(Default)]
struct Newest {
    of: Option<(LedgerId, Timestamp)>,
    digest: Option<String>,
    /// That version, if it can be used.
    set: Option<Arc<Set>>,
    versions: Versions,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let at = arguments.at.unwrap_or_else(|| Clock::system().now());
    let mut newest = Newest::default();
    let exit = arguments.directories.read(|it| newest.take(it));
    let mut report = Report { at, policy_digest: None, counters: Vec::new() };
    if let Some(digest) = newest.digest {
        let Some(set) = newest.set else {
            super::tell(&format!(
                "the newest policies in the ledgers ({digest}) are not whole, or do not compile here: \
                 use the version of the program that the gate runs"
            ));
            return Ok(Exit::Failed);
        };
        report.counters = counters(&set, arguments, at)?;
        report.policy_digest = Some(digest);
    }
    super::print(&match arguments.format {
        Format::Human => report.human(),
        Format::Json => record::to_json(&report) + "\n",
    })?;
    Ok(exit)
}

impl Newest {
    fn take(&mut self, record: &Record) -> Result<(), Damage> {
        // Within a ledger the order counts, because its clock may have been set back.
        let is_newer = |(ledger, time): &(LedgerId, Timestamp)| {
            *ledger == record.ledger_id || *time <= record.time
        };
        let body = record.body()?;
        let digest = match &body {
            Body::Policies(it) if it.part == it.parts => Some(&it.digest),
            Body::Decision(it) => Some(&it.policy_digest),
            _ => None,
        };
        let digest = digest.filter(|_| self.of.as_ref().is_none_or(is_newer));
        let digest = digest.map(|it| it.clone().into_owned());
        self.versions.add(body);
        if let Some(digest) = digest {
            self.of = Some((record.ledger_id.clone(), record.time));
            self.set = self.versions.get(&digest).cloned();
            self.digest = Some(digest);
        }
        Ok(())
    }
}

fn counters(set: &Set, arguments: &Arguments, at: Timestamp) -> io::Result<Vec<Counter>> {
    let budgets = Budgets::standing(at);
    let room = budgets.open(set.budgets());
    if let Some(since) = room.since(at) {
        // Without `--at` a record counts whatever its time, as for a gate whose clock was set back.
        let time = since..=arguments.at.unwrap_or(Timestamp::MAX);
        let directories = &arguments.directories.directories;
        ledger::past(directories, &time, |it| budgets.fill(&room, &it))?;
    }
    let uses = budgets.uses();
    let mut res = Vec::new();
    for budget in set.budgets().iter() {
        let counter = |it: Option<&Use>| Counter {
            budget: budget.name().to_string(),
            key: it.map(|it| it.key.to_string()),
            used: it.map_or(0, |it| it.used),
            limit: budget.deletes(),
            within_seconds: budget.within().as_secs(),
            room_at: it.and_then(|it| it.room_at),
        };
        let of_budget = uses.iter().filter(|it| it.budget == *budget.name());
        let before = res.len();
        res.extend(of_budget.map(|it| counter(Some(it))));
        if res.len() == before {
            res.push(counter(None));
        }
    }
    Ok(res)
}

impl Report {
    fn human(&self) -> String {
        match &self.policy_digest {
            None => return "the ledgers hold no policies\n".to_owned(),
            Some(_) if self.counters.is_empty() => return "no budgets are in force\n".to_owned(),
            Some(_) => (),
        }
        let row = |it: &Counter| {
            let key = match it.key.as_deref() {
                Some(KEY_ABSENT) => "(none)",
                Some(KEY_UNKNOWN) => "(unknown)",
                Some(key) => key,
                None => "-",
            };
            vec![
                it.budget.clone(),
                key.to_owned(),
                it.used.to_string(),
                it.limit.to_string(),
                format!("{}s", it.within_seconds),
                it.room_at.map_or_else(|| "now".to_owned(), |it| it.to_string()),
            ]
        };
        let rows: Vec<_> = self.counters.iter().map(row).collect();
        text::table(&["BUDGET", "KEY", "USED", "LIMIT", "WITHIN", "ROOM"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::{Decision, Policies, PolicyText};
    use crate::ledger::{Kind, fixture};
    use crate::policy::Files;

    const A: &str = "6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f";
    const B: &str = "7f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f";

    fn record(ledger: &str, time: i64, text: &str) -> Record {
        Record {
            ledger_id: LedgerId::parse(ledger).unwrap(),
            seq: 1,
            time: Timestamp::from_second(time).unwrap(),
            kind: Kind::Unknown,
            file: String::new(),
            line: 1,
            text: text.as_bytes().to_vec(),
        }
    }

    /// A delete that cannot be read would not be counted.
    #[test]
    fn what_cannot_be_read_is_an_error() {
        let text = r#"{"kind":"outcome","of":1,"result":"evaporated","duration_ms":1}"#;
        assert!(Newest::default().take(&record(A, 1, text)).is_err());
        let text = text.replace("evaporated", "sent");
        assert!(Newest::default().take(&record(A, 1, &text)).is_ok());
    }

    #[test]
    fn the_newest_policies_are_the_last_whole_ones_of_a_ledger() {
        const PATH: &str = "guardrails/g.json";
        let deny = |of: &str| {
            format!(
                r#"{{"Version": "5.0", "Statement": [{{"Sid": "{of}", "Effect": "Deny", "Action": ["*"]}}]}}"#
            )
        };
        let (x, y) = (&*deny("X"), &*deny("Y"));
        let files = |text: &str| [(PATH, text)].into_iter().collect::<Files>();
        let policies = |of: &str, part, parts, text: &str| {
            let file = PolicyText { path: PATH.into(), text: text.into(), base64: false };
            let files = files(of).digest().into();
            record::to_json(&Body::Policies(Policies {
                digest: files,
                part,
                parts,
                files: vec![file],
            }))
        };
        let whole = |it| policies(it, 1, 1, it);
        let (first, rest) = x.split_at(5);
        let decision = |of: &str| {
            let decision =
                Decision { policy_digest: files(of).digest().into(), ..fixture::decision() };
            record::to_json(&Body::Decision(Box::new(decision)))
        };
        for (records, expected) in [
            (vec![(A, 1, whole(x)), (A, 2, whole(y))], Some(y)),
            // The clock was set back.
            (vec![(A, 2, whole(x)), (A, 1, whole(y))], Some(y)),
            (vec![(A, 2, whole(x)), (B, 1, whole(y))], Some(x)),
            (vec![(A, 1, whole(x)), (B, 2, whole(y))], Some(y)),
            (vec![(A, 1, policies(x, 1, 2, first)), (A, 1, policies(x, 2, 2, rest))], Some(x)),
            // A version that comes back is not written again.
            (vec![(A, 1, whole(x)), (A, 2, whole(y)), (A, 3, decision(x))], Some(x)),
            (vec![(A, 1, whole(x)), (B, 2, whole(y)), (A, 1, decision(x))], Some(y)),
            // A crash came between the parts.
            (vec![(A, 1, whole(x)), (A, 2, policies(y, 1, 2, y))], Some(x)),
            (vec![(A, 1, policies(x, 1, 2, x))], None),
            (vec![], None),
        ] {
            let mut newest = Newest::default();
            for (ledger, time, text) in &records {
                newest.take(&record(ledger, *time, text)).unwrap();
            }
            let expected = expected.map(|it| files(it).digest());
            assert_eq!(newest.digest, expected, "{records:?}");
            assert_eq!(newest.set.map(|it| it.digest().to_owned()), expected);
        }
    }
}
