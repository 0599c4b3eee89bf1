//! The policy directory as it is at the start.

use crate::gateway::Version;
use crate::ledger;
use crate::policy::Files;
use crate::policy::Limits;
use crate::policy::Set;

use std::fs;
use std::io;
use std::path::Path;

/// x
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// x
    #[error("cannot read the policies")]
    Read(#[from] io::Error),
    /// x
    #[error("the policies are refused: {0}")]
    Refused(String),
}

pub(super) fn load(directory: &Path) -> Result<(Version, String), Error> {
    let mut files = Vec::new();
    for sub in ["", "guardrails", "identity"] {
        let Ok(entries) = fs::read_dir(directory.join(sub)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() || name == "README.md" {
                continue;
            }
            let path = if sub.is_empty() { name } else { format!("{sub}/{name}") };
            files.push((path, fs::read(entry.path())?));
        }
    }
    let files: Files = files.into_iter().collect();
    let compiled = Set::compile(&files, &Limits::default());
    let set = compiled.set.ok_or_else(|| Error::Refused(format!("{:?}", compiled.diagnostics)))?;
    let texts = files.iter().map(|(path, text)| (path, std::str::from_utf8(text).unwrap_or("")));
    let recorded =
        ledger::Policies::new(set.digest(), texts).map_err(|it| Error::Refused(it.to_string()))?;
    let digest = set.digest().to_owned();
    Ok((Version { set, recorded: recorded.into() }, digest))
}
