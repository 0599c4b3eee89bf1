//! The gate's own cloud credentials: where they come from, and how they stay fresh. Each source is
//! one task that publishes whole credentials: access key, secret and token are always from one
//! answer or one reading of a file.

mod file;

use crate::metrics;
use crate::sign::Credential;

use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A mounted file; its changes take effect within two seconds.
    File(PathBuf),
    /// The variables of the official SDKs, as they were at the start.
    Environment(Option<Arc<Credential>>),
}

/// Why a source can never have a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment of a process does not change.
    #[error("`HUAWEICLOUD_SDK_AK` and `HUAWEICLOUD_SDK_SK` are not set")]
    Environment,
}

/// What every source needs.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Holds the source's task.
    pub tracker: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
    /// The upstreams that sign with the credential.
    pub metrics: Vec<metrics::Upstream>,
}

/// A credential and how long it is good for.
#[derive(Clone, Debug)]
struct Issued {
    credential: Credential,
    expires: Option<Timestamp>,
}

/// Where a source puts what it has.
#[derive(Debug)]
struct Publisher {
    sender: watch::Sender<Option<Arc<Credential>>>,
    metrics: Vec<metrics::Upstream>,
}

/// Starts to provide the credential of `source`. There may be none at first: the gate is not ready
/// then, and becomes it as soon as there is one.
///
/// # Errors
/// When there will never be one.
pub async fn start(
    source: &Source,
    Parts { tracker, stop, metrics }: Parts,
) -> Result<watch::Receiver<Option<Arc<Credential>>>, Error> {
    let (sender, receiver) = watch::channel(None);
    let publisher = Publisher { sender, metrics };
    match source {
        Source::File(path) => {
            let file = file::CredentialFile::open(path.clone(), publisher).await;
            tracker.spawn(async move { stop.run_until_cancelled(file.follow()).await });
        }
        Source::Environment(credential) => {
            let credential = credential.clone().ok_or(Error::Environment)?;
            publisher.sender.send_replace(Some(credential));
        }
    }
    Ok(receiver)
}

impl Publisher {
    fn publish(&self, issued: Option<Issued>) {
        let expires = issued.as_ref().and_then(|it| it.expires);
        self.sender.send_replace(issued.map(|it| Arc::new(it.credential)));
        for upstream in &self.metrics {
            upstream.set_credential_expiry(expires);
        }
    }
}
