//! What `ledger` takes.

use super::{Size, Span};
use crate::yaml::Spanned;

use serde::Deserialize;
use std::path::PathBuf;

/// Where decisions are recorded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Ledger {
    /// One per process, on a disk that keeps what it has synced.
    pub(in crate::config) directory: PathBuf,
    /// When less space is free, the gate records no decision, and so deletes nothing. Default:
    /// `64MiB`.
    pub(in crate::config) reserve: Option<Size>,
    /// The length after which a new segment is begun; at least 1MiB. Default: `64MiB`.
    pub(in crate::config) segment: Option<Spanned<Size>>,
    /// The age at which a segment is removed. Default: `400d`.
    pub(in crate::config) retain: Option<Span>,
    /// An Ed25519 key, PKCS#8 in PEM, that signs checkpoints; without one there are none.
    pub(in crate::config) checkpoint_key: Option<PathBuf>,
    /// A checkpoint is written after this many records. Default: `1000`.
    pub(in crate::config) checkpoint_records: Option<Spanned<u64>>,
    /// … or this long after the last one. Default: `1m`.
    pub(in crate::config) checkpoint_interval: Option<Spanned<Span>>,
    /// For which accepted deletes the ledger keeps what is lost with the job: name, owner, times,
    /// places of output and logs, never environment variables, parameters or commands. Default:
    /// `details`.
    #[serde(default)]
    pub(in crate::config) tombstones: Tombstones,
    /// Send every record to the collector of `telemetry.otlp` as well (OTLP logs), at least once.
    /// Default: `false`.
    pub(in crate::config) ship: Option<Spanned<bool>>,
    /// Print every record on stdout as well. Default: `false`.
    #[serde(default)]
    pub(in crate::config) echo: bool,
}

/// Which deleted jobs the ledger describes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Tombstones {
    /// All; details that no policy asks for are looked up.
    Always,
    /// Those whose details a policy asked for.
    #[default]
    Details,
    /// None.
    Off,
}
