//! `lychgate audit shadow`: where the shadow policies answered differently from those in force.

use super::{Exit, print};
use crate::cli::Form;
use crate::cli::replay::{Report, Window, unread};
use crate::ledger::in_order;
use crate::replay::{Acceptance, Shadows};

use std::io;
use std::path::PathBuf;

/// Shows where the shadow policies of a gate would have answered differently, according to its
/// ledger. Exit codes are those of `lychgate replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    window: Window,
    /// Text, one JSON document, or Markdown for a comment.
    #[arg(long, value_enum, default_value_t = Form::Human)]
    format: Form,
    /// Ledger directories.
    #[arg(required = true, value_name = "LEDGER")]
    ledgers: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let mut shadows = Shadows::new(arguments.window.options(&arguments.ledgers));
    for ledger in in_order(&arguments.ledgers) {
        if let Some(exit) = unread(ledger, shadows.read(ledger)) {
            return Ok(exit);
        }
    }
    let (tally, acceptance) = (shadows.finish(), Acceptance::default());
    let report = Report::new(None, &tally, &acceptance);
    print(&report.text(arguments.format))?;
    Ok(report.exit())
}
