//! The gate's own cloud key, from a mounted file.

use crate::secret::Secret;
use crate::sign;
use crate::sign::Credential;

use serde::Deserialize;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// The largest credential file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why there is no credential. The messages never hold a part of the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AK, SK or token have characters that they cannot have.
    #[error("the credential in {path} cannot be used")]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sign::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file means something else.
    #[error(
        "{path}:{line}:{column}: not a credential: write `ak: …`, `sk: …` and, if it is temporary, `security_token: …`"
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ak: String,
    sk: String,
    security_token: Option<String>,
}

/// Reads the credential file at `path`.
///
/// # Errors
/// When it cannot be read or used.
pub(super) fn read(path: &Path) -> Result<Credential, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(fail)?.len();
    if FILE_BYTES_MAX < length {
        return Err(fail(io::Error::other("longer than a credential can be")));
    }
    let text = fs::read_to_string(path).map_err(fail)?;
    // What the reader says may quote the file, so only the place is told.
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |it| (it.line(), it.column()));
        Error::Syntax { path: path.to_owned(), line, column }
    })?;
    Credential::new(file.ak, Secret::new(file.sk), file.security_token.map(Secret::new))
        .map_err(|source| Error::Credential { path: path.to_owned(), source })
}
