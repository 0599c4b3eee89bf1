//! Where the ledger is kept: a directory of segments, locked for one process.

use crate::ledger::line::{Frame, Head, LedgerId};
use crate::ledger::read::reader::{Lines, Piece, segment_name};
use crate::ledger::read::recover::{Damage, Plan, Repair};
use crate::ledger::read::{reader, recover};

use jiff::Timestamp;
use rustix::fs::fstatvfs;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the writer does to a disk; a trait so that tests can have disks that fail.
pub(in crate::ledger) trait Volume: Send {
    /// Starts the segment whose first record will be number `first`; later calls mean it.
    fn create(&mut self, first: u64) -> io::Result<()>;

    /// Removes the oldest segments whose records are all from before `before` and none of them
    /// after the number `shipped`; a few at a time.
    fn retire(&mut self, before: Timestamp, shipped: u64) -> io::Result<()>;

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
pub(in crate::ledger) const LOCK: &str = "ledger.lock";

/// More than the lock file ever holds: a UUID and LF.
const LOCK_BYTES_MAX: u64 = 64;

/// How many segments retention removes when one is started. More than keep up with it are never
/// removed at once, so that a clock that jumps ahead does not empty the ledger.
const RETIRED_AT_ONCE_MAX: usize = 2;

/// Auditors of the group may read; nobody else.
const FILE_MODE: u32 = 0o640;

/// A directory on a real disk.
#[derive(Debug)]
pub(in crate::ledger) struct Directory {
    path: PathBuf,
    /// The directory itself, for `fsync` and `fstatvfs`.
    handle: File,
    /// Holds the lock, and the ledger's ID from the first record on.
    lock: File,
    id: LedgerId,
    /// The lock file holds the ID.
    named: bool,
    segment: Option<File>,
}

/// How a directory was opened.
#[derive(Debug)]
pub(in crate::ledger) struct Found {
    pub(in crate::ledger) directory: Directory,
    /// Where the chain stands.
    pub(in crate::ledger) head: Head,
    /// The segments that were there.
    pub(in crate::ledger) segments: Vec<u64>,
}

impl Directory {
    /// Opens `path`, creating the directory if it is missing, locks it, and undoes what a crash
    /// left.
    ///
    /// # Errors
    /// The lock is held by another process, the ledger is damaged, or the system's error.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Found, Unopened> {
        fs::create_dir_all(path)?;
        let handle = File::open(path)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Unopened::Locked,
            TryLockError::Error(error) => Unopened::Io(error),
        })?;
        let survey = recover::survey(path, read_id(&mut lock)?)?;
        let Plan { id, head, repair } = recover::plan(&survey, LedgerId::random())?;
        let named = survey.id.is_some();
        let directory = Self { path: path.to_owned(), handle, lock, id, named, segment: None };
        if let Some(repair) = repair {
            directory.repair(repair)?;
        }
        let segments = reader::segments(path)?;
        Ok(Found { directory, head, segments })
    }

    /// The ledger's ID.
    pub(in crate::ledger) fn id(&self) -> &LedgerId {
        &self.id
    }

    fn repair(&self, repair: Repair) -> io::Result<()> {
        match repair {
            Repair::Cut { first, bytes } => {
                let name = segment_name(first);
                let segment = OpenOptions::new().write(true).open(self.path.join(&name))?;
                let torn = segment.metadata()?.len().saturating_sub(bytes);
                tracing::warn!(
                    segment = name,
                    torn,
                    "cut a record off that a crash left unfinished"
                );
                segment.set_len(bytes)?;
                segment.sync_all()
            }
            Repair::Remove { first } => {
                let name = segment_name(first);
                tracing::warn!(
                    segment = name,
                    "removed a segment that a crash left without a record"
                );
                fs::remove_file(self.path.join(name))?;
                self.handle.sync_all()
            }
        }
    }
}

/// The ID in the lock file; nothing if no record was ever written, or if the process was stopped
/// before it could say so.
fn read_id(lock: &mut File) -> io::Result<Option<LedgerId>> {
    let mut text = String::new();
    lock.take(LOCK_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.strip_suffix('\n').and_then(LedgerId::parse))
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
        if !self.named {
            self.lock.set_len(0)?;
            self.lock.write_all_at(format!("{}\n", self.id).as_bytes(), 0)?;
            self.lock.sync_data()?;
            self.named = true;
        }
        self.handle.sync_all()?;
        self.segment = Some(segment);
        Ok(())
    }

    fn retire(&mut self, before: Timestamp, shipped: u64) -> io::Result<()> {
        let segments = reader::segments(&self.path)?;
        let next = segments.iter().skip(1);
        for (oldest, next) in segments.iter().zip(next).take(RETIRED_AT_ONCE_MAX) {
            if first_time(&self.path, *next)?.is_none_or(|it| before <= it) {
                break;
            }
            if shipped.saturating_add(1) < *next {
                let segment = segment_name(*oldest);
                tracing::warn!(
                    segment,
                    shipped,
                    "kept a segment past its retention: it is not shipped"
                );
                break;
            }
            tracing::info!(segment = segment_name(*oldest), "removed a segment past its retention");
            fs::remove_file(self.path.join(segment_name(*oldest)))?;
        }
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

/// When the first record of the segment `first` was committed; nothing if it has none to tell.
fn first_time(path: &Path, first: u64) -> io::Result<Option<Timestamp>> {
    let mut lines = Lines::open(path, first)?;
    let Some(Piece::Line(line)) = lines.next()? else { return Ok(None) };
    Ok(Frame::parse(line).and_then(|(frame, _)| frame.time()).ok())
}

/// Why a directory was not opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::ledger) enum Unopened {
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("in use by another process")]
    Locked,
}
