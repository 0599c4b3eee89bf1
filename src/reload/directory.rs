//! Reads a policy directory whole, or not at all.

use crate::mounted;
use crate::policy::{Files, Limits};

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The directories that a policy directory has.
pub(super) const DIRECTORIES: [&str; 3] = ["guardrails", "identity", "tests"];

/// Files beside documents: attachments.yaml and suites.
const OTHER_FILES_MAX: usize = 1000;

/// All files together.
const TOTAL_BYTES_MAX: usize = 256 << 20;

/// How often a directory that changes while it is read is read again.
const READS_MAX: usize = 5;

/// How long to wait before that.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no image of a directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It never was the same twice in a row.
    #[error("{} changes faster than it can be read", .0.display())]
    Changing(PathBuf),
    /// Something in it cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The name of a file is not UTF-8.
    #[error("{} has a name that is not UTF-8", .0.display())]
    Name(PathBuf),
    /// More than a policy directory may hold.
    #[error("{} holds more than {files} files or {TOTAL_BYTES_MAX} bytes", path.display())]
    TooMuch {
        /// The directory.
        path: PathBuf,
        /// How many files it may hold.
        files: usize,
    },
}

/// Reads a policy directory: twice, until it is the same twice in a row, because files may be
/// replaced meanwhile. Names that start with a dot or end in `~` and `README.md` are left out. What
/// else has no place in a policy directory is in the image, so that compiling reports it; a
/// directory there is an empty file whose path ends in `/`. Blocks.
///
/// # Errors
/// [`Error`]; nothing is left out silently, and what is neither file nor directory cannot be read.
pub fn read(directory: &Path, limits: &Limits) -> Result<Files, Error> {
    let mut last = None;
    for _ in 0..READS_MAX {
        let image = Image::of(directory, limits);
        match (image, &last) {
            (Ok(image), Some(Ok(before))) if image == *before => return Ok(image),
            // A swap between listing and reading looks like a missing file.
            (Err(error), Some(Err(_))) => return Err(error),
            (image, _) => last = Some(image),
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::Changing(directory.to_owned()))
}

/// Reads a policy directory once: what is read may be half of one version and half of another.
pub(super) fn read_once(directory: &Path, limits: &Limits) -> Result<Files, Error> {
    Image::of(directory, limits)
}

/// The first thing in a policy directory that every user of the system can change. Blocks.
pub(super) fn open_to_all(root: &Path) -> Option<PathBuf> {
    let mut directories: Vec<_> = DIRECTORIES.iter().map(|it| root.join(it)).collect();
    directories.push(root.to_owned());
    let entries = directories.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut paths = entries.map(|it| it.path()).chain([root.to_owned()]);
    let changeable = |it: &PathBuf| {
        let can = fs::metadata(it).ok().and_then(|it| mounted::open_to_all(&it));
        can.is_some_and(|it| it.contains("change"))
    };
    paths.find(changeable)
}

struct Image<'a> {
    root: &'a Path,
    limits: &'a Limits,
    files: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl<'a> Image<'a> {
    fn of(root: &'a Path, limits: &'a Limits) -> Result<Files, Error> {
        let mut image = Self { root, limits, files: Vec::new(), bytes: 0 };
        image.directory(root, "")?;
        Ok(image.files.into_iter().collect())
    }

    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<(), Error> {
        let failed = |error| Error::Io { path: directory.to_owned(), error };
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|it| it.to_str()) else {
                return Err(Error::Name(path));
            };
            // Swap files, backups and folders of editors and version control, `..data` of a ConfigMap.
            if name.starts_with('.') || name.ends_with('~') || name == "README.md" {
                continue;
            }
            let relative = format!("{prefix}{name}");
            // Follows links: a ConfigMap's files are links.
            let kind = fs::metadata(&path).map_err(|error| io_error(&path, error))?;
            if kind.is_dir() && prefix.is_empty() && DIRECTORIES.contains(&name) {
                self.directory(&path, &format!("{relative}/"))?;
            } else if kind.is_dir() {
                self.add(format!("{relative}/"), Vec::new())?;
            } else {
                let bytes = self.file(&path)?;
                self.add(relative, bytes)?;
            }
        }
        Ok(())
    }

    /// One byte more than allowed is enough to tell that a file is too large.
    fn file(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let limit = self.limits.attachments_bytes.max(self.limits.document_bytes) + 1;
        let mut bytes = Vec::new();
        let file = mounted::open(path).map_err(|error| io_error(path, error))?;
        let read = file.take(limit as u64).read_to_end(&mut bytes);
        read.map_err(|error| io_error(path, error))?;
        Ok(bytes)
    }

    fn add(&mut self, path: String, bytes: Vec<u8>) -> Result<(), Error> {
        let files = self.limits.documents + OTHER_FILES_MAX;
        self.bytes += bytes.len();
        self.files.push((path, bytes));
        match self.files.len() <= files && self.bytes <= TOTAL_BYTES_MAX {
            true => Ok(()),
            false => Err(Error::TooMuch { path: self.root.to_owned(), files }),
        }
    }
}

fn io_error(path: &Path, error: io::Error) -> Error {
    Error::Io { path: path.to_owned(), error }
}
