//! Where the ledger is kept: a directory of segments, locked for one process.

use rustix::fs::fstatvfs;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// What the writer does to a disk; a trait so that tests can have disks that fail.
pub(super) trait Volume: Send {
    /// Starts the segment whose first record will be number `first`; later calls mean it.
    fn create(&mut self, first: u64) -> io::Result<()>;

    /// Adds to the segment's end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the segment to `bytes`.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Returns when all that was appended is on stable storage.
    fn sync(&mut self) -> io::Result<()>;

    /// Free space, in bytes, that this process may use.
    fn free(&mut self) -> io::Result<u64>;
}

/// The name of the file that is locked by the process that writes, and holds the ledger's ID.
pub(super) const LOCK: &str = "ledger.lock";

/// Auditors of the group may read; nobody else.
const FILE_MODE: u32 = 0o640;

/// A directory on a real disk.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The directory itself, for `fsync` and `fstatvfs`.
    handle: File,
    lock: File,
    segment: Option<File>,
}

impl Directory {
    /// Opens `path`, creating the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if another process holds the lock; otherwise the system's error.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let handle = File::open(path)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path: path.to_owned(), handle, lock, segment: None })
    }
}

impl Volume for Directory {
    fn create(&mut self, first: u64) -> io::Result<()> {
        let segment = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(self.path.join(segment_name(first)))?;
        // One that a failed attempt left behind is as good as new; one with records is not.
        if segment.metadata()?.len() != 0 {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.handle.sync_all()?;
        self.segment = Some(segment);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        segment(&self.segment)?.write_all(bytes)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        segment(&self.segment)?.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        segment(&self.segment)?.sync_data()
    }

    fn free(&mut self) -> io::Result<u64> {
        let volume = fstatvfs(&self.handle)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

fn segment(segment: &Option<File>) -> io::Result<&File> {
    segment.as_ref().ok_or_else(|| io::Error::other("no segment was created"))
}

/// The file of the segment whose first record is number `first`.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}
