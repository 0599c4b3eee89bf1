//! Past deletes that may still count against a budget: the ledger is the budgets' counter.
//!
//! Nothing is checked here; `audit verify` does that.

use super::glance::{Glance, each_line};
use super::reader::{first_line, last_line, segments};
use super::seen::{Seen, in_order};
use crate::budget::{End, Past, PastEnd, SENT_WITHIN};
use crate::ledger::line::Kind;
use crate::ledger::record::{Decision, Ending, unit_end};

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::{io, mem};

/// Calls `visit` with each delete of the ledgers in `directories` that was not given back and may have
/// happened in `time`; some are older. What was recorded after `time` is as if it were not there.
/// Several directories may hold parts of one ledger, or copies. Blocks.
///
/// # Errors
/// A directory cannot be read.
pub fn past(
    directories: &[PathBuf],
    time: &RangeInclusive<Timestamp>,
    mut visit: impl FnMut(Past),
) -> io::Result<()> {
    let since = time.start().checked_sub(SENT_WITHIN).unwrap_or(Timestamp::MIN);
    let time = since..=*time.end();
    let mut seen = (1 < directories.len()).then(Seen::default);
    let (mut ledger, mut waiting) = (String::new(), BTreeMap::new());
    for directory in in_order(directories) {
        each_line(directory, &recent(directory, since)?, |glance, line| {
            if glance.ledger_id != ledger {
                glance.ledger_id.clone_into(&mut ledger);
                mem::take(&mut waiting).into_iter().filter_map(Waiting::ended).for_each(&mut visit);
            }
            if seen.as_mut().is_none_or(|it| it.is_new(glance.seq, line))
                && let Some(past) = follow(&glance, line, &time, &mut waiting)
            {
                visit(past);
            }
        })?;
    }
    waiting.into_iter().filter_map(Waiting::ended).for_each(visit);
    Ok(())
}

/// The time of the last record of the ledger in `directory`, if it has any.
///
/// # Errors
/// The directory cannot be read.
pub fn last_time(directory: &Path) -> io::Result<Option<Timestamp>> {
    for first in segments(directory)?.into_iter().rev() {
        if let Some(line) = last_line(directory, first)? {
            return Ok(time_of(&line));
        }
    }
    Ok(None)
}

/// The segments from the first one on that holds something as young as `since`. Where the clock was
/// set back, younger records stand before older ones, so both ends of a segment are read.
fn recent(directory: &Path, since: Timestamp) -> io::Result<Vec<u64>> {
    let all = segments(directory)?;
    let is_recent =
        |line: Option<Vec<u8>>| line.is_none_or(|it| time_of(&it).is_none_or(|it| since <= it));
    let mut start = all.len();
    for (at, first) in all.iter().enumerate() {
        if is_recent(last_line(directory, *first)?) || is_recent(first_line(directory, *first)?) {
            start = at;
            break;
        }
    }
    Ok(all.into_iter().skip(start).collect())
}

fn time_of(line: &[u8]) -> Option<Timestamp> {
    serde_json::from_slice::<Glance<'_>>(line).ok()?.time.parse().ok()
}

/// An allowed delete whose end is not read yet.
struct Waiting {
    /// The members of its record.
    line: Vec<u8>,
    recorded: Timestamp,
    /// When its request ended, if the outcome was `unknown`.
    ended: Option<Timestamp>,
}

/// Takes the line into account; returns the delete that ends with it, if that counts.
fn follow(
    glance: &Glance<'_>,
    line: &[u8],
    counts: &RangeInclusive<Timestamp>,
    waiting: &mut BTreeMap<u64, Waiting>,
) -> Option<Past> {
    let time = glance.time.parse().ok().filter(|it| it <= counts.end())?;
    let result = glance.result.as_deref()?;
    match glance.kind {
        Kind::Decision if result == "allow" && *counts.start() <= time => {
            let it = Waiting { line: line.to_vec(), recorded: time, ended: None };
            waiting.insert(glance.seq, it);
            None
        }
        Kind::Outcome | Kind::Settlement => {
            let of = glance.of?;
            let ending: Ending = serde_json::from_value(result.into()).ok()?;
            match unit_end(ending, glance.status) {
                End::GivenBack => {
                    waiting.remove(&of);
                    None
                }
                End::Unknown => {
                    waiting.get_mut(&of)?.ended = Some(time);
                    None
                }
                End::Kept => {
                    let it = waiting.remove(&of)?;
                    let at = match (glance.kind, it.ended) {
                        (_, Some(ended)) => ended,
                        (Kind::Settlement, None) => PastEnd::Open(it.recorded).counts_from(time),
                        (_, None) => time,
                    };
                    it.past(of, PastEnd::Kept(at))
                }
            }
        }
        _ => None,
    }
}

impl Waiting {
    /// One whose end was not read, with its number.
    fn ended((seq, it): (u64, Self)) -> Option<Past> {
        let end = match it.ended {
            Some(at) => PastEnd::Unknown(at),
            None => PastEnd::Open(it.recorded),
        };
        it.past(seq, end)
    }

    /// `None` if the record cannot be read; `audit verify` reports that.
    fn past(self, seq: u64, end: PastEnd) -> Option<Past> {
        let record: Decision<'_> = serde_json::from_slice(&self.line).ok()?;
        let unit = record.unit.as_deref().map(str::to_owned);
        let (query, attributes) = (record.query(), record.attributes.into_owned());
        Some(Past { seq, unit, query, attributes, end })
    }
}
