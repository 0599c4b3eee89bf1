//! `lychgate audit`: reads ledgers and checks every record on the way. It writes nothing and takes
//! no lock, so that it can read the ledger of a running gate.

mod budgets;
mod pending;
mod reconcile;
mod shadow;
pub(super) mod show;
mod stats;
pub(super) mod text;
mod verify;

use super::{Exit, Format};
use crate::ledger::{Damage, Kind, Reader, Record, Seen, Unverified, in_order};

use clap::Subcommand;
use std::io;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Reads ledgers.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Budgets(budgets::Arguments),
    Pending(pending::Arguments),
    Reconcile(reconcile::Arguments),
    Shadow(shadow::Arguments),
    Show(show::Arguments),
    Stats(stats::Arguments),
    Verify(verify::Arguments),
}

/// The arguments of every subcommand.
#[derive(Debug, clap::Args)]
struct Directories {
    /// Ledger directories; the records of several are merged by time.
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let done = match &arguments.command {
        Command::Budgets(arguments) => budgets::run(arguments),
        Command::Pending(arguments) => pending::run(arguments),
        Command::Reconcile(arguments) => reconcile::run(arguments),
        Command::Shadow(arguments) => shadow::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
    };
    match done {
        Ok(exit) => exit,
        // The reader of a pipe has what it wants.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => super::complain(&error, Exit::Failed),
    }
}

impl Directories {
    /// Hands every record of every ledger to `take`, one ledger after the other, up to the first
    /// bad record of each, which is reported on stderr. A record that several directories have, because
    /// one is a copy of another, is handed out once.
    fn read(&self, mut take: impl FnMut(&Record) -> Result<(), Damage>) -> Exit {
        let mut exit = Exit::Ok;
        let mut passed_over = 0_u64;
        let mut seen = (1 < self.directories.len()).then(Seen::default);
        // The last record of the directories before, and of this one.
        let (mut known, mut last) = (None, None);
        for directory in in_order(&self.directories) {
            let (mut is_empty, mut again, mut other) = (true, 0_u64, None);
            let read = read(directory, |record| {
                is_empty = false;
                last = Some((record.ledger_id.clone(), record.seq));
                if seen.as_mut().is_some_and(|it| !it.is_new(record.seq, &record.text)) {
                    again += 1;
                    return Ok(());
                }
                let has_number = |(id, to): &(_, u64)| *id == record.ledger_id && record.seq <= *to;
                if other.is_none() && known.as_ref().is_some_and(has_number) {
                    other = Some((record.file.clone(), record.line));
                }
                passed_over += u64::from(record.kind == Kind::Unknown);
                take(record)
            });
            known = known.max(last.take());
            let at = directory.display();
            if let Err(error) = read {
                complain(directory, &error);
                exit = Exit::Failed;
            } else if is_empty {
                note(&format!("{at}: no records here"));
            }
            if let Some((file, line)) = other {
                tell(&format!(
                    "{at}/{file}:{line}: another directory has another record of this number: one of \
                     them was rewritten, or is a copy that was written to; read them one at a time"
                ));
                exit = Exit::Failed;
            }
            if again != 0 {
                note(&format!(
                    "{at}: {again} records are passed over: another directory has them too"
                ));
            }
        }
        if passed_over != 0 {
            note(&format!("records of kinds that this program does not know: {passed_over}"));
        }
        exit
    }
}

fn read(
    directory: &Path,
    mut take: impl FnMut(&Record) -> Result<(), Damage>,
) -> Result<(), Unverified> {
    let mut reader = Reader::open(directory)?;
    while let Some(record) = reader.next()? {
        take(&record)?;
    }
    Ok(())
}

/// Reports what is wrong in `directory`, as `directory/file:line: what`.
pub(super) fn complain(directory: &Path, error: &Unverified) {
    let at = directory.display();
    let text = match error {
        Unverified::Damaged(Damage::Line { file, line, fault }) => {
            format!("{at}/{file}:{line}: {fault}")
        }
        Unverified::Damaged(damage) => format!("{at}: {damage}"),
        Unverified::Io(error) => format!("{at}: {error}"),
        error => format!("{at}: {error}"),
    };
    tell(&text);
}

/// Reports an error on stderr.
pub(super) fn tell(text: &str) {
    // Where stderr is closed, the exit code has to do.
    let _ = writeln!(io::stderr(), "error: {}", crate::text::escaped(text));
}

/// Writes a note to stderr.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {}", crate::text::escaped(text));
}

/// Writes `text` to stdout.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
