//! A small mounted file that changes under the running gate, such as a Kubernetes Secret: how it is
//! read, and how its changes are noticed, be they written in place or swapped in by a symlink.

use rustix::fs::OFlags;
use std::error::Error;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

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
    Io(io::Error),
    /// More bytes than [`Mounted::max`].
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

// Not `#[from]`: the system's words stand in the message, and would be a cause as well, and so be
// printed twice.
impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a regular file to read it, and nothing else: a pipe would block, a device might never end.
///
/// # Errors
/// The system's, or that it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Without the flag, opening a pipe waits for a writer. For a regular file the flag means
    // nothing.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|it| it <= max) {
        true => Ok(bytes),
        false => Err(ReadError::TooLarge(max)),
    }
}

/// As [`read`], without blocking.
///
/// # Errors
/// When it cannot be read, or is too large.
pub async fn load(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    let path = path.to_owned();
    spawn_blocking(move || read(&path, max)).await.map_err(io::Error::other)?
}

/// What every user of the system may do with a file or directory: "read", "change", both, or nothing.
#[must_use]
pub fn open_to_all(metadata: &Metadata) -> Option<&'static str> {
    match metadata.permissions().mode() & 0o006 {
        0 => None,
        0o002 => Some("change"),
        0o004 => Some("read"),
        _ => Some("read and change"),
    }
}

/// Warns when every user of the system can read or change a file that holds `what`, a secret.
pub fn warn_of_others(path: &Path, what: &str) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if let Some(verb) = open_to_all(&metadata) {
        let path = path.display();
        tracing::warn!(%path, "every user of this system can {verb} {what}: chmod o-rw");
    }
}

impl Mounted {
    /// Reads the whole file.
    ///
    /// # Errors
    /// When it cannot be read, or is too large.
    pub async fn read(&self) -> Result<Vec<u8>, ReadError> {
        load(&self.path, self.max).await
    }

    /// Hands every new content to `take`, for ever. What cannot be read, or is not taken, is logged
    /// once and changes nothing. `current` is what was taken before, or why nothing was, which is
    /// logged already.
    pub async fn follow<E: Error>(
        &self,
        current: Result<Vec<u8>, String>,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) {
        let current = current.map(|it| vec![it]);
        let take = |contents: &[Vec<u8>]| take(&contents.concat());
        let files = std::slice::from_ref(self);
        FileGroup { files, secrets: files }.follow(current, take, &|| ()).await;
    }

    /// As [`warn_of_others`].
    pub fn warn_of_others(&self) {
        warn_of_others(&self.path, self.what);
    }

    /// Logs what is wrong when that begins, and when it changes. `usable` says whether there is
    /// something from before.
    fn report(&self, error: &dyn Error, usable: bool, told: &mut String) {
        let error = error.to_string();
        if *told != error {
            let (what, path) = (self.what, self.path.display());
            match usable {
                true => {
                    tracing::warn!(%path, %error, "{what}: the file is unusable; what it held before stays in use");
                }
                false => {
                    tracing::error!(%path, %error, "{what}: the file is unusable, and there is nothing from before");
                }
            }
        }
        *told = error;
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
        current: Result<Vec<Vec<u8>>, String>,
        mut take: impl FnMut(&[Vec<u8>]) -> Result<(), E>,
        failed: &(dyn Fn() + Send + Sync),
    ) {
        let Some(first) = self.files.first() else { return };
        let mut last: Option<Vec<Vec<u8>>> = None;
        let (mut current, mut told) = match current {
            Ok(current) => (Some(current), String::new()),
            Err(told) => (None, told),
        };
        loop {
            tokio::time::sleep(READ_EVERY).await;
            match self.read().await {
                Ok(contents) if current.as_ref() == Some(&contents) => {
                    last = None;
                    told.clear();
                }
                // A writer may be half way through: wait until two reads in a row agree.
                Ok(contents) if last.as_ref() != Some(&contents) => last = Some(contents),
                Ok(contents) => match take(&contents) {
                    Ok(()) => {
                        let (what, path) = (first.what, first.path.display());
                        tracing::info!(%path, "{what} changed");
                        for secret in self.secrets {
                            secret.warn_of_others();
                        }
                        current = Some(contents);
                        last = None;
                        told.clear();
                    }
                    Err(error) => {
                        first.report(&error, current.is_some(), &mut told);
                        failed();
                    }
                },
                Err((file, error)) => {
                    file.report(&error, current.is_some(), &mut told);
                    failed();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::{Kept, LogConfig};

    use std::fs::{self, Permissions};

    #[test]
    fn what_every_user_may_do_is_told() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "x").unwrap();
        for (mode, expected) in [
            (0o600, None),
            (0o660, None),
            (0o640, None),
            (0o604, Some("read")),
            (0o644, Some("read")),
            (0o602, Some("change")),
            (0o666, Some("read and change")),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_to_all(&fs::metadata(&path).unwrap()), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert!(matches!(read(&path, 2), Err(ReadError::TooLarge(2))));
        assert!(read(directory.path(), 3).is_err(), "a directory");
        assert!(read(Path::new("/dev/null"), 3).is_err(), "a device");
    }

    /// What it leads to is told as it is, and again when the reason changes.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_cannot_be_used_is_told_of_once() {
        const STAYS: &str = "what it held before stays in use";
        const NOTHING: &str = "there is nothing from before";
        let missing =
            || Err("it cannot be read: No such file or directory (os error 2)".to_owned());
        for (current, contents, expected) in [
            (missing(), [None, None], [None, None]),
            (missing(), [Some("bad"), None], [Some(NOTHING), Some(NOTHING)]),
            (missing(), [Some("good"), Some("bad")], [None, Some(STAYS)]),
            (Ok(b"good".to_vec()), [None, None], [Some(STAYS), None]),
            (Ok(b"good".to_vec()), [Some("bad"), None], [Some(STAYS), Some(STAYS)]),
            (Ok(b"good".to_vec()), [None, Some("good")], [Some(STAYS), None]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            let file = Mounted { what: "the file", path: path.clone(), max: 10 };
            let log = Kept::new(&LogConfig::default(), &Clock::system());
            let take = |bytes: &[u8]| match bytes {
                b"good" => Ok(()),
                _ => Err(io::Error::other("it is bad")),
            };
            let change = async {
                for (content, expected) in contents.into_iter().zip(expected) {
                    match content {
                        Some(content) => fs::write(&path, content).unwrap(),
                        None => drop(fs::remove_file(&path)),
                    }
                    tokio::time::sleep(10 * READ_EVERY).await;
                    let text = log.take();
                    assert_eq!(text.matches("unusable").count(), expected.iter().count(), "{text}");
                    assert!(expected.is_none_or(|it| text.contains(it)), "{text}");
                }
            };
            tokio::select! {
                () = file.follow(current.clone(), take) => (),
                () = change => (),
            }
        }
    }
}
