//! `lychgate keys`: gateway access keys. This is one of the two places that print secrets.

use super::{Exit, Format};
use crate::authn::keys;

use clap::Subcommand;
use serde::Serialize;

/// Makes gateway access keys.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new key pair, to be added to the file of `identity.keys`. It is stored nowhere.
    Create {
        /// Lines of YAML, or one JSON document.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

/// The fields are called as in the file of keys.
#[derive(Serialize)]
struct Pair<'a> {
    ak: &'a str,
    sk: &'a str,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Command::Create { format } = &arguments.command;
    let pair = match keys::create() {
        Ok(pair) => pair,
        Err(error) => return super::complain(&error, Exit::Failed),
    };
    let pair = Pair { ak: &pair.access_key_id, sk: pair.secret_access_key.expose() };
    match format {
        Format::Human => {
            let Pair { ak, sk } = pair;
            super::print(&format!("ak: {ak}\nsk: {sk}\n"), Exit::Ok)
        }
        Format::Json => super::print_json(&pair, Exit::Ok),
    }
}
