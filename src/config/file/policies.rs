//! The section `policies`. The reference is made from these types too.

use crate::yaml::Spanned;

use serde::Deserialize;
use std::path::PathBuf;

/// The policies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Policies {
    /// `guardrails/`, `identity/`, `attachments.yaml` and `tests/`. A change takes effect by
    /// itself.
    pub(in crate::config) directory: PathBuf,
    /// What a denial says. Default: `full`.
    #[serde(default)]
    pub(in crate::config) denials: Denials,
    /// What a caller who is denied can do, such as whom to ask: one line of at most 256 characters,
    /// added to each denial with the request ID.
    pub(in crate::config) help: Option<Spanned<String>>,
    /// A candidate that judges each request as well, and decides nothing.
    pub(in crate::config) shadow: Option<Shadow>,
}

/// The shadow policies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Shadow {
    /// A policy directory like that of the policies in force. A change takes effect by itself.
    pub(in crate::config) directory: PathBuf,
}

/// What a denial says to the caller.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Denials {
    /// The error code only.
    Code,
    /// Also the deciding statement.
    #[default]
    Full,
}
