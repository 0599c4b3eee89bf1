//! A question and its answer as a case at the end of a suite.

use crate::cli::case;
use crate::policy::{Attributes, Decision, Files, Query, Suites};

use std::path::Path;
use std::{fs, io};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read or write {path}")]
    Io { path: String, source: io::Error },
    #[error("no case can be added at the end of {path} ({message}); nothing was written")]
    Suite { path: String, message: String },
}

/// Adds the case to the suite at `path`, which is made if it is missing. Nothing is written unless
/// the suite can be read with it.
pub(super) fn append(
    path: &Path,
    name: &str,
    query: &Query,
    attributes: &Attributes,
    decision: &Decision,
) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.display().to_string(), source };
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "cases:\n".to_owned(),
        Err(error) => return Err(failed(error)),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let by = decision.decider();
    text.push_str(&case::text(name, query, attributes, decision.answer(), by));
    let files: Files = [("tests/suite.yaml", text.clone())].into_iter().collect();
    let suites = Suites::read(&files, None);
    let whole = suites.cases.iter().any(|it| it.name == name);
    if let Some(error) = suites.diagnostics.first().filter(|_| !whole) {
        let message = error.message.clone();
        return Err(Error::Suite { path: path.display().to_string(), message });
    }
    fs::write(path, text).map_err(failed)
}
