//! The gate's own cloud credentials: where they come from, and how they stay fresh. Each source is
//! one task that publishes whole credentials: access key, secret and token are always from one
//! answer or one reading of a file.

mod file;
mod provider;
mod refresh;
#[cfg(test)]
mod tests;

use self::provider::{Issuer, Provider};

use crate::client::{self, Roots};
use crate::clock::Clock;
use crate::metrics;
use crate::sign::Credential;
use crate::trouble::Trouble;

use http::Uri;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The metadata service of the virtual machine, at scheme and authority.
    EcsMetadata(Uri),
    /// A mounted file; its changes take effect within two seconds.
    File(PathBuf),
    /// The variables of the official SDKs, as they were at the start.
    Environment(Option<Arc<Credential>>),
    /// The cloud's token service, which takes a token of an OpenID Connect provider.
    Oidc(Oidc),
    /// The identity agent of a CCE cluster, if the environment names one.
    PodIdentity(Option<PodIdentity>),
}

/// Whom to become, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// The token service: scheme and authority.
    pub endpoint: Uri,
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// The URN of the identity provider.
    pub provider: String,
    /// The URN of the agency to become.
    pub agency: String,
    /// What the session is called in the cloud's records.
    pub session: String,
    /// The file with the provider's token; read for every call.
    pub token: PathBuf,
    /// How long a credential is to be valid, in whole seconds.
    pub duration: Duration,
}

/// Where a pod asks for its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// The full address.
    pub uri: Uri,
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// The file with the pod's token; read for every call.
    pub token: PathBuf,
}

/// Why a source can never have a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment of a process does not change.
    #[error("`HUAWEICLOUD_SDK_AK` and `HUAWEICLOUD_SDK_SK` are not set")]
    Environment,
    /// The connection to whoever issues the credential.
    #[error("cannot set up the connection")]
    Client(#[from] client::Error),
    /// The environment of a process does not change.
    #[error(
        "`HC_CONTAINER_CREDENTIALS_FULL_URI` and `HC_CONTAINER_AUTHORIZATION_TOKEN_FILE` are not set"
    )]
    PodIdentity,
}

/// Reads a credential as it stands in a file.
///
/// # Errors
/// What is wrong, without a part of the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Credential, String> {
    file::parse(bytes).map_err(|it| it.to_string())
}

/// What every source needs.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Tells when a credential ends.
    pub clock: Clock,
    /// Holds the source's task.
    pub tracker: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
    /// Where it says why there is no new credential.
    pub trouble: Trouble,
    /// The upstreams that sign with the credential.
    pub metrics: Vec<metrics::Upstream>,
    /// The cloud refuses the credential.
    pub refused: watch::Receiver<bool>,
}

/// A credential and how long it is valid.
#[derive(Clone, Debug)]
struct Issued {
    credential: Credential,
    expires: Option<Timestamp>,
}

/// Where a source puts what it has.
#[derive(Debug)]
struct Publisher {
    sender: watch::Sender<Option<Arc<Credential>>>,
    trouble: Trouble,
    metrics: Vec<metrics::Upstream>,
}

/// Starts to provide the credential of `source`. There may be none at first: the gate is not ready
/// then, and becomes it as soon as there is one.
///
/// # Errors
/// When there will never be one.
pub async fn start(
    source: &Source,
    Parts { clock, tracker, stop, trouble, metrics, refused }: Parts,
) -> Result<watch::Receiver<Option<Arc<Credential>>>, Error> {
    let (sender, receiver) = watch::channel(None);
    let publisher = Publisher { sender, trouble, metrics };
    let issuer = match source {
        Source::File(path) => {
            let following = file::follow(path.clone(), publisher).await;
            tracker.spawn(async move { stop.run_until_cancelled(following).await });
            return Ok(receiver);
        }
        Source::Environment(credential) => {
            let credential = credential.clone().ok_or(Error::Environment)?;
            publisher.sender.send_replace(Some(credential));
            return Ok(receiver);
        }
        Source::EcsMetadata(endpoint) => Issuer::Metadata(endpoint.clone()),
        Source::Oidc(oidc) => Issuer::Oidc(oidc.clone()),
        Source::PodIdentity(pod) => Issuer::PodIdentity(pod.clone().ok_or(Error::PodIdentity)?),
    };
    let kept = refresh::keep(Provider::new(issuer)?, publisher, clock, refused);
    tracker.spawn(async move { stop.run_until_cancelled(kept).await });
    Ok(receiver)
}

impl Publisher {
    fn publish(&self, issued: Option<Issued>) {
        let expires = issued.as_ref().and_then(|it| it.expires);
        if issued.is_some() {
            self.trouble.end();
        }
        self.sender.send_replace(issued.map(|it| Arc::new(it.credential)));
        for upstream in &self.metrics {
            upstream.set_credential_expiry(expires);
        }
    }
}
