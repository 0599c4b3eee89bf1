//! `lychgate audit reconcile`: who deleted jobs past the gate, according to the cloud's audit
//! trail.

use super::{Directories, Exit, Format, show, text};
use crate::clock::Clock;
use crate::ledger::record;
use crate::mounted;
use crate::reconcile::{self, Book, Class, DECISIONS_MAX, Finding, Gap, Report, Trail, Unbound};

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// How many findings the text form shows; JSON has them all.
const SHOWN_MAX: usize = 100;

/// Compares the cloud's audit trail with the ledgers: which jobs were deleted past the gate? The
/// trail is what CTS writes to OBS, answers of its list call, or such records one per line,
/// compressed or not. Ends with 0 if no job was, 2 if one was, and 5 if the trail is not whole, so
/// that this is uncertain.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    directories: Directories,
    /// A file of the trail, or a directory with all files below it; may be repeated.
    #[arg(long, required = true, value_name = "FILE|DIR")]
    trail: Vec<PathBuf>,
    /// Compare from this time on: a time, a day in UTC, or 25h for that long ago. By default from
    /// where the ledgers begin.
    #[arg(long, value_name = "TIME", value_parser = show::time)]
    since: Option<Timestamp>,
    /// Compare up to this time. By default up to --lateness ago.
    #[arg(long, value_name = "TIME", value_parser = show::time)]
    until: Option<Timestamp>,
    /// How late a record may arrive: anything younger is not compared yet.
    #[arg(long, value_name = "SPAN", default_value = "30m", value_parser = span)]
    lateness: SignedDuration,
    /// The trail is known to be whole: hours without a record were quiet. Digests, if there are
    /// any, are still checked.
    #[arg(long)]
    complete: bool,
    /// Only deletes in this project, and events that name none; may be repeated.
    #[arg(long, value_name = "ID")]
    project: Vec<String>,
    /// Another name of the gate, besides the keys in its ledgers: a key ID, a user name, or a URN,
    /// with `*` at its end for every session of an agency; may be repeated.
    #[arg(long, value_name = "WORD")]
    gate: Vec<String>,
    /// Also write the result to this file, for the textfile collector of the Prometheus node
    /// exporter.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Text, or one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let now = Clock::system().now();
    let before = |it: SignedDuration| now.checked_sub(it).unwrap_or(Timestamp::MIN);
    let unbound = Unbound {
        since: arguments.since,
        until: arguments.until,
        settled: before(arguments.lateness),
    };
    let mut book = Book::default();
    arguments.gate.iter().for_each(|it| book.also_gate(it));
    arguments.project.iter().for_each(|it| book.only_project(it));
    let exit = arguments.directories.read(|it| book.take(it, &unbound));
    if exit != Exit::Ok {
        return Ok(exit);
    }
    if book.is_full() {
        super::tell(&format!(
            "the ledgers hold more than {DECISIONS_MAX} deletes: narrow them down with --since"
        ));
        return Ok(Exit::CannotSay);
    }
    let projects = arguments.project.iter().cloned().collect();
    let mut trail = Trail::new(book.window(&unbound), projects);
    for path in &arguments.trail {
        if let Err(error) = read(path, &mut trail) {
            super::tell(&format!("{}: {error}", path.display()));
            return Ok(Exit::Failed);
        }
    }
    let report = reconcile::reconcile(trail, book, arguments.complete);
    super::print(&match arguments.format {
        Format::Human => human(&report),
        Format::Json => record::to_json(&report) + "\n",
    })?;
    if let Some(path) = &arguments.metrics
        && let Err(error) = write_metrics(path, &report, now)
    {
        super::tell(&format!("{}: {error}", path.display()));
        return Ok(Exit::Failed);
    }
    Ok(match report.bypasses() {
        0 if report.is_complete() => Exit::Ok,
        0 => Exit::CannotSay,
        _ => Exit::Differs,
    })
}

/// Reads a file, or all files below a directory in the order of their names. A file that is not a
/// trail is reported and counted; one that cannot be opened is an error.
fn read(path: &Path, trail: &mut Trail) -> io::Result<()> {
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // A link to a directory could lead back here.
            let is_link = entry.file_type()?.is_symlink();
            if path.is_file() || path.is_dir() && !is_link {
                read(&path, trail)?;
                continue;
            }
            // If it were skipped in silence, a clean answer could be wrong.
            let what = "neither a file nor a directory: remove it, or give what it points to";
            let what = format!("{} is {what} as --trail", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        return Ok(());
    }
    if let Err(error) = trail.read(&path.to_string_lossy(), mounted::open(path)?) {
        super::tell(&format!("{}: {error}", path.display()));
    }
    Ok(())
}

fn human(report: &Report) -> String {
    let Report { window, classes, read, decisions, gaps, findings } = report;
    let mut res = format!(
        "{} to {}: {decisions} decisions in the ledgers; {} records in {} files of the trail, of \
         which {} are about other things, {} outside this time or project, {} duplicates\n\n",
        window.since, window.until, read.records, read.files, read.other, read.outside, read.folded
    );
    let counted = classes.iter().filter(|(_, count)| **count != 0);
    let rows: Vec<_> = counted
        .map(|(class, count)| {
            vec![text::word(class), count.to_string(), meaning(*class).to_owned()]
        })
        .collect();
    res += &text::table(&["CLASS", "COUNT", ""], &rows);
    if !findings.is_empty() {
        let rows: Vec<_> = findings.iter().take(SHOWN_MAX).map(row).collect();
        let heads = ["TIME", "CLASS", "JOB", "WHO", "FROM", "KEY", "TRACE", "LEDGER"];
        res = res + "\n" + &text::table(&heads, &rows);
    }
    // Writing to a string cannot fail.
    let more = findings.len().saturating_sub(SHOWN_MAX);
    if more != 0 {
        let _ = writeln!(res, "and {more} more: --format json lists them all");
    }
    res.push('\n');
    for Gap { since, until, why } in gaps {
        let time = |it: &Option<Timestamp>| it.map(|it| it.to_string()).unwrap_or_default();
        let why = crate::text::escaped(why);
        let _ = match since {
            Some(_) => writeln!(res, "not whole: {} to {}: {why}", time(since), time(until)),
            None => writeln!(res, "not whole: {why}"),
        };
    }
    let _ = match (report.bypasses(), report.is_complete()) {
        (0, true) => writeln!(res, "nobody deleted a job past the gate"),
        (0, false) => {
            writeln!(res, "cannot tell whether anybody deleted a job past the gate")
        }
        (count, _) => writeln!(res, "deleted past the gate: {count}"),
    };
    res
}

fn row(finding: &Finding) -> Vec<String> {
    let or_dash = |it: Option<&String>| it.cloned().unwrap_or_else(|| "-".to_owned());
    let who = finding.principal_urn.as_ref().or(finding.user.as_ref());
    let ledger = match (&finding.principal, finding.seq) {
        (Some(principal), Some(seq)) => format!("{principal} seq {seq}"),
        _ => "-".to_owned(),
    };
    vec![
        finding.time.to_string(),
        text::word(&finding.class),
        or_dash(finding.job.as_ref()),
        or_dash(who),
        or_dash(finding.source_ip.as_ref()),
        or_dash(finding.access_key.as_ref()),
        or_dash(finding.trace_id.as_ref()),
        ledger,
    ]
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Attempt => "tried past the gate, refused by the cloud",
        Class::Bypass => "deleted past the gate",
        Class::Console => "deleted in the console",
        Class::DeniedHere => "denied by the gate, then deleted past it",
        Class::Differs => "refused by the cloud says the ledger, deleted says the trail",
        Class::Failed => "accepted by the cloud, but failed afterwards",
        Class::GateKey => "deleted with the gate's key, but in no ledger",
        Class::Matched => "deleted through the gate",
        Class::Missing => "deleted through the gate, but not in the trail, which has gaps",
        Class::Retagged => "tags changed shortly before a delete through the gate",
        Class::Settled => "the ledger does not know how it ended, the trail does",
        Class::System => "deleted by the cloud itself",
        Class::Unsettled => "neither ledger nor trail knows how it ended",
    }
}

/// Writes the result in Prometheus' text format. A collector sees the old file or the new one.
fn write_metrics(path: &Path, report: &Report, now: Timestamp) -> io::Result<()> {
    let classes: BTreeMap<_, _> =
        report.classes.iter().map(|(class, count)| (text::word(class), count)).collect();
    let mut res = String::new();
    let mut metric = |name: &str, help: &str, samples: String| {
        let _ = write!(res, "# HELP {name} {help}\n# TYPE {name} gauge\n{samples}");
    };
    metric(
        "lychgate_reconcile_events",
        "Events and deletes that the last comparison of audit trail and ledgers found, by class",
        classes
            .iter()
            .map(|(class, count)| {
                format!("lychgate_reconcile_events{{class=\"{class}\"}} {count}\n")
            })
            .collect(),
    );
    for (name, help, value) in [
        ("bypasses", "Jobs that were deleted past the gate", report.bypasses().to_string()),
        (
            "complete",
            "1 if the audit trail was whole, as far as can be told",
            u8::from(report.is_complete()).to_string(),
        ),
        (
            "until_timestamp_seconds",
            "Unix time up to which the audit trail was compared",
            report.window.until.as_second().to_string(),
        ),
        ("timestamp_seconds", "Unix time of the comparison", now.as_second().to_string()),
    ] {
        let name = format!("lychgate_reconcile_{name}");
        metric(&name, help, format!("{name} {value}\n"));
    }
    // The collector reads only names that end in `.prom`.
    let mut beside = OsString::from(path);
    beside.push(".new");
    fs::write(&beside, res)?;
    fs::rename(&beside, path)
}

fn span(text: &str) -> Result<SignedDuration, String> {
    let span = text.parse::<SignedDuration>().ok().filter(|it| !it.is_negative());
    span.ok_or_else(|| "not a length of time: write it as 30m or 36h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Window;

    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;

    /// What is left out could hold a bypass.
    #[test]
    fn nothing_below_a_directory_is_left_out_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let window =
            Window { since: Timestamp::MIN, until: Timestamp::MAX, wanted: Timestamp::MAX };
        let mut trail = Trail::new(window, BTreeSet::new());
        fs::write(path.join("a.json"), "[]").unwrap();
        read(path, &mut trail).unwrap();
        for target in [path, &path.join("nowhere")] {
            symlink(target, path.join("b")).unwrap();
            let error = read(path, &mut trail).unwrap_err().to_string();
            assert!(error.contains("neither a file nor a directory"), "{error}");
            fs::remove_file(path.join("b")).unwrap();
        }
        // A pipe would be waited for.
        let pipe = path.join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();
        assert!(read(path, &mut trail).is_err());
        assert!(read(&pipe, &mut trail).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn spans_are_of_time() {
        assert_eq!(span("30m"), Ok(SignedDuration::from_mins(30)));
        for text in ["", "x", "-1h", "25"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
