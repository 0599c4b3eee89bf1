//! `lychgate keys`: gateway access keys. This is one of the two places that print secrets.

use super::{Exit, Format};
use crate::authn::keys;
use crate::mounted;

use clap::Subcommand;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes gateway access keys.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new key pair for the file of `identity.keys`. The pair is stored nowhere else.
    Create {
        /// The principal of the key: prints the whole entry, ready for the file.
        #[arg(long, value_name = "NAME")]
        principal: Option<String>,
        /// A group of the principal; may be repeated.
        #[arg(long = "group", value_name = "NAME", requires = "principal")]
        groups: Vec<String>,
        /// A tag of the principal; may be repeated.
        #[arg(long = "tag", value_name = "KEY=VALUE", requires = "principal", value_parser = tag)]
        tags: Vec<(String, String)>,
        /// Add the entry to this file of keys, which is made if it is missing, and print the pair.
        #[arg(long, value_name = "FILE", requires = "principal")]
        add: Option<PathBuf>,
        /// Lines of YAML, or one JSON document.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

/// An entry of the file of keys, with the same field names.
#[derive(Serialize)]
struct Entry<'a> {
    ak: &'a str,
    sk: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
}

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error("cannot write {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("with this entry {path} would not be a file of keys, so it stays as it is: {message}")]
    Refused { path: PathBuf, message: String },
    #[error("the gate would not take this entry: {0}")]
    Unusable(String),
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Command::Create { principal, groups, tags, add, format } = &arguments.command;
    let pair = match keys::create() {
        Ok(pair) => pair,
        Err(error) => return super::complain(&error, Exit::Failed),
    };
    let entry = Entry {
        ak: &pair.access_key_id,
        sk: pair.secret_access_key.expose(),
        principal: principal.as_deref(),
        groups,
        tags: tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
    };
    let line = match serde_json::to_string(&entry) {
        Ok(line) => line,
        Err(error) => return super::complain(&error, Exit::Failed),
    };
    if principal.is_some()
        && add.is_none()
        && let Err(message) = keys::credentials(format!("keys:\n  - {line}\n").as_bytes())
    {
        return super::complain(&AddError::Unusable(message), Exit::Failed);
    }
    if let Some(path) = add
        && let Err(error) = append(path, &line)
    {
        return super::complain(&error, Exit::Failed);
    }
    match format {
        Format::Json => super::print_json(&entry, Exit::Ok),
        Format::Human if principal.is_some() && add.is_none() => {
            super::print(&format!("  - {line}\n"), Exit::Ok)
        }
        Format::Human => super::print(&format!("ak: {}\nsk: {}\n", entry.ak, entry.sk), Exit::Ok),
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Adds `entry`, a mapping in flow style, to the list in the file at `path`. The new file is read
/// as the gate reads it before it replaces the old one.
fn append(path: &Path, entry: &str) -> Result<(), AddError> {
    let fault = |source| AddError::Io { path: path.to_owned(), source };
    // Replace what a symbolic link points to, not the link.
    let place = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        other => other.map_err(fault)?,
    };
    let (old, mode) = match mounted::open(&place) {
        Ok(mut file) => {
            let mode = file.metadata().map_err(fault)?.permissions().mode();
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(fault)?;
            (text, mode)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => ("keys:\n".to_owned(), 0o600),
        Err(error) => return Err(fault(error)),
    };
    let first = old.lines().find(|it| it.trim_start().starts_with("- "));
    let indent = first.map_or(2, |it| it.len() - it.trim_start().len());
    let new = format!("{}\n{:indent$}- {entry}\n", old.trim_end(), "");
    keys::credentials(new.as_bytes())
        .map_err(|message| AddError::Refused { path: path.to_owned(), message })?;
    let beside = place.with_extension(format!("{}.new", std::process::id()));
    let written = replace(&beside, &place, &new, mode & 0o7777);
    if written.is_err() {
        // A partly written file holds secrets.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(fault)
}

/// Replaces a file as a whole, so that nobody reads half of it.
fn replace(beside: &Path, place: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(beside, place)
}
