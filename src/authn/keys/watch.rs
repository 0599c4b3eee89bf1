//! Keeps the keys equal to the file: a mounted secret changes under the running gate.

use super::Keys;
use crate::authn::StartError;
use crate::mounted::{Mounted, ReadError};
use crate::yaml::Faults;

use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The largest key file, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error("it is not UTF-8")]
    NotText,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Loads `path` and starts to watch it until `stop`.
///
/// # Errors
/// When the first version cannot be used: a gate whose keys are wrong from the start says so
/// instead of running.
pub(in crate::authn) async fn watch(
    path: PathBuf,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<watch::Receiver<Arc<Keys>>, StartError> {
    let file = Mounted { what: "the gateway keys", path, max: FILE_BYTES_MAX };
    let first = async {
        let bytes = file.read().await?;
        Ok((parse(&bytes)?, bytes))
    };
    let (keys, bytes) = first.await.map_err(|error: Error| StartError::Keys {
        path: file.path.clone(),
        message: error.to_string(),
    })?;
    file.warn_of_others();
    let (sender, receiver) = watch::channel(Arc::new(keys));
    tasks.spawn(async move {
        let take = |bytes: &[u8]| parse(bytes).map(|it| drop(sender.send_replace(Arc::new(it))));
        stop.run_until_cancelled(file.follow(Ok(bytes), take)).await;
    });
    Ok(receiver)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Keys, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    Ok(Keys::parse(text)?)
}
