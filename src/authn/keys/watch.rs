//! Keeps the keys equal to the file: a mounted secret changes under the running gate.

use super::Keys;
use super::file::Fault;
use crate::authn::StartError;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the file is read. A change counts when it has been read twice alike, so that it takes
/// effect within three times this long.
const READ_EVERY: Duration = Duration::from_millis(500);

/// The largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is not UTF-8")]
    NotText,
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
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
    let first = async {
        let bytes = read(&path).await?;
        Ok((parse(&bytes)?, bytes))
    };
    let (keys, bytes) = first.await.map_err(|error: Error| StartError::Keys {
        path: path.clone(),
        message: error.to_string(),
    })?;
    warn_of_readers(&path).await;
    let (sender, receiver) = watch::channel(Arc::new(keys));
    tasks.spawn(async move {
        stop.run_until_cancelled(follow(&path, bytes, &sender)).await;
    });
    Ok(receiver)
}

async fn follow(path: &Path, mut current: Vec<u8>, keys: &watch::Sender<Arc<Keys>>) {
    let mut last: Option<Vec<u8>> = None;
    let mut failing = false;
    loop {
        tokio::time::sleep(READ_EVERY).await;
        match read(path).await {
            Ok(bytes) if bytes == current => {
                last = None;
                failing = false;
            }
            // A writer may be half way through: wait until two reads in a row agree.
            Ok(bytes) if last.as_ref() != Some(&bytes) => last = Some(bytes),
            Ok(bytes) => match parse(&bytes) {
                Ok(parsed) => {
                    keys.send_replace(Arc::new(parsed));
                    tracing::info!(path = %path.display(), "the gateway keys have changed");
                    warn_of_readers(path).await;
                    current = bytes;
                    last = None;
                    failing = false;
                }
                Err(error) => report(path, &error, &mut failing),
            },
            Err(error) => report(path, &error, &mut failing),
        }
    }
}

/// Says once what is wrong, and nothing more until the file has been good again.
fn report(path: &Path, error: &Error, failing: &mut bool) {
    if !*failing {
        let path = path.display();
        tracing::warn!(%path, %error, "the gateway keys stay as they were: the file is unusable");
    }
    *failing = true;
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    File::open(path).await?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    match u64::try_from(bytes.len()).is_ok_and(|it| it <= FILE_BYTES_MAX) {
        true => Ok(bytes),
        false => Err(Error::TooLarge),
    }
}

fn parse(bytes: &[u8]) -> Result<Keys, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    Ok(Keys::parse(text)?)
}

async fn warn_of_readers(path: &Path) {
    const OTHERS_READ: u32 = 0o004;
    let Ok(metadata) = tokio::fs::metadata(path).await else { return };
    if metadata.permissions().mode() & OTHERS_READ != 0 {
        let path = path.display();
        tracing::warn!(%path, "every user of this system can read the gateway keys: chmod o-r");
    }
}
