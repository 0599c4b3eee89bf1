//! `lychgate completions`: completion scripts for shells.

use super::Exit;

use clap::CommandFactory;
use clap_complete::Shell;

/// Prints a completion script for a shell.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "lychgate", &mut script);
    super::print(&String::from_utf8_lossy(&script), Exit::Ok)
}
