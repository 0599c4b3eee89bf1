//! A small mounted file that changes under the running gate, such as a Kubernetes Secret: how it is
//! read, and how its changes are noticed, be they written in place or swapped in by a symlink.

use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// How often the file is read. A change counts when it has been read twice alike, so that it takes
/// effect within three times this long.
pub const READ_EVERY: Duration = Duration::from_millis(500);

/// A file that holds secrets.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// What it holds, for messages: "the gateway keys".
    pub what: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// The most bytes that it may have.
    pub max: u64,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system said no.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// More bytes than [`Mounted::max`].
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

impl Mounted {
    /// Reads the whole file.
    ///
    /// # Errors
    /// When it cannot be read, or is too large.
    pub async fn read(&self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        File::open(&self.path).await?.take(self.max + 1).read_to_end(&mut bytes).await?;
        match u64::try_from(bytes.len()).is_ok_and(|it| it <= self.max) {
            true => Ok(bytes),
            false => Err(ReadError::TooLarge(self.max)),
        }
    }

    /// Hands every new content to `take`, for ever. What cannot be read, or is not taken, is told
    /// once and changes nothing. `current` is what was taken before.
    pub async fn follow<E: Error>(
        &self,
        current: Option<Vec<u8>>,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) {
        let current = current.map(|it| vec![it]);
        let take = |contents: &[Vec<u8>]| take(&contents.concat());
        let files = std::slice::from_ref(self);
        FileGroup { files, secrets: files }.follow(current, take, &|| ()).await;
    }

    /// Warns when every user of the system can read the file.
    pub async fn warn_of_readers(&self) {
        const OTHERS_READ: u32 = 0o004;
        let Ok(metadata) = tokio::fs::metadata(&self.path).await else { return };
        if metadata.permissions().mode() & OTHERS_READ != 0 {
            let (what, path) = (self.what, self.path.display());
            tracing::warn!(%path, "every user of this system can read {what}: chmod o-r");
        }
    }

    /// Says once what is wrong, and nothing more until all has been good again.
    fn report(&self, error: &dyn Error, failing: &mut bool) {
        if !*failing {
            let (what, path) = (self.what, self.path.display());
            tracing::warn!(%path, %error, "{what} stayed as they were: the file is unusable");
        }
        *failing = true;
    }
}

/// Files that only mean something together, such as a certificate and its key.
#[derive(Clone, Copy, Debug)]
pub struct FileGroup<'a> {
    /// All of them.
    pub files: &'a [Mounted],
    /// Those of `files` that nobody else should read.
    pub secrets: &'a [Mounted],
}

impl<'a> FileGroup<'a> {
    /// The contents of all files, in their order.
    ///
    /// # Errors
    /// The first that cannot be read, or is too large.
    pub async fn read(self) -> Result<Vec<Vec<u8>>, (&'a Mounted, ReadError)> {
        let mut contents = Vec::new();
        for file in self.files {
            contents.push(file.read().await.map_err(|error| (file, error))?);
        }
        Ok(contents)
    }

    /// As [`Mounted::follow`]; `failed` is called for each attempt that failed.
    pub async fn follow<E: Error>(
        self,
        mut current: Option<Vec<Vec<u8>>>,
        mut take: impl FnMut(&[Vec<u8>]) -> Result<(), E>,
        failed: &(dyn Fn() + Send + Sync),
    ) {
        let Some(first) = self.files.first() else { return };
        let mut last: Option<Vec<Vec<u8>>> = None;
        let mut failing = false;
        loop {
            tokio::time::sleep(READ_EVERY).await;
            match self.read().await {
                Ok(contents) if current.as_ref() == Some(&contents) => {
                    last = None;
                    failing = false;
                }
                // A writer may be half way through: wait until two reads in a row agree.
                Ok(contents) if last.as_ref() != Some(&contents) => last = Some(contents),
                Ok(contents) => match take(&contents) {
                    Ok(()) => {
                        let (what, path) = (first.what, first.path.display());
                        tracing::info!(%path, "{what} changed");
                        for secret in self.secrets {
                            secret.warn_of_readers().await;
                        }
                        current = Some(contents);
                        last = None;
                        failing = false;
                    }
                    Err(error) => {
                        first.report(&error, &mut failing);
                        failed();
                    }
                },
                Err((file, error)) => {
                    file.report(&error, &mut failing);
                    failed();
                }
            }
        }
    }
}
