//! Where the ledger is kept: a directory of segments, locked for one process.

use crate::ledger::line::{Frame, Head, LedgerId};
use crate::ledger::read::reader::{Lines, Piece, segment_name};
use crate::ledger::read::recover::{Damage, Plan, Repair};
use crate::ledger::read::{reader, recover};
use crate::mounted;

use jiff::Timestamp;
use rustix::fs::{Access, Advice, access, fadvise, fstatvfs};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the writer does to a disk; a trait so that tests can make it fail.
pub(in crate::ledger) trait Volume: Send {
    /// Starts the segment whose first record will be number `first`. The other calls work on the
    /// segment that was started last.
    fn create(&mut self, first: u64) -> io::Result<()>;

    /// Removes the oldest segments, a few at a time, if all their records are from before `before`
    /// and up to the number `shipped`.
    fn retire(&mut self, before: Timestamp, shipped: u64) -> io::Result<()>;

    /// Adds to the segment's end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the segment to `bytes`.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Returns when everything appended is on stable storage, under the segment's name.
    fn sync(&mut self) -> io::Result<()>;

    /// Free space, in bytes, that this process may use.
    fn free(&mut self) -> io::Result<u64>;
}

/// The file that the writing process locks; it holds the ledger's ID.
pub(in crate::ledger) const LOCK: &str = "ledger.lock";

/// More than the lock file ever holds: a UUID and LF.
const LOCK_BYTES_MAX: u64 = 64;

/// The most segments that retention removes when one is started: enough to keep up, and so few that
/// a clock that jumps ahead does not empty the ledger.
const RETIRED_AT_ONCE_MAX: usize = 2;

/// Only the owner may write; the group, for auditors, may read.
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
    segment: Option<Segment>,
}

/// The segment that is written to.
#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    /// Device and inode, which the path must still lead to.
    identity: (u64, u64),
    bytes: u64,
}

/// How a directory was opened.
#[derive(Debug)]
pub(in crate::ledger) struct OpenedDirectory {
    pub(in crate::ledger) directory: Directory,
    /// Where the chain stands.
    pub(in crate::ledger) head: Head,
    /// The segments that were there.
    pub(in crate::ledger) segments: Vec<u64>,
}

impl Directory {
    /// Opens `path`, creating the directory if it is missing, locks it, and repairs what a crash
    /// left.
    ///
    /// # Errors
    /// The lock is held by another process, the ledger is damaged, or the system's error.
    pub(in crate::ledger) fn open(path: &Path) -> Result<OpenedDirectory, Unopened> {
        create_durably(path)?;
        let handle = File::open(path)?;
        // The lock file can be removed under a running gate, the directory in use cannot. Where
        // directories cannot be locked (NFS), the file's lock has to do.
        if matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(Unopened::Locked);
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK))
            .map_err(of(LOCK))?;
        // A pipe would be read from for ever.
        if !lock.metadata()?.is_file() {
            return Err(of(LOCK)(io::Error::other("it is not a regular file")).into());
        }
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Unopened::Locked,
            TryLockError::Error(error) => Unopened::Io(error),
        })?;
        settle(path)?;
        let survey = recover::survey(path, read_id(&mut lock)?)?;
        let Plan { id, head, repair } = recover::plan(&survey, LedgerId::random())?;
        let named = survey.id.is_some();
        let directory = Self { path: path.to_owned(), handle, lock, id, named, segment: None };
        if let Some(repair) = repair {
            directory.repair(repair)?;
        }
        let segments = reader::segments(path)?;
        Ok(OpenedDirectory { directory, head, segments })
    }

    /// Whether `path` could be opened, without creating, locking or mending anything.
    ///
    /// # Errors
    /// As for [`open`](Self::open), except that the ledger may be in use.
    pub(in crate::ledger) fn check(path: &Path) -> Result<(), Unopened> {
        // A link that leads nowhere is there as well, and cannot be made a directory.
        let is_there = path.is_symlink() || path.try_exists()?;
        let parent = if is_there { path } else { parent(path) };
        if !parent.metadata()?.is_dir() {
            return Err(io::Error::from(ErrorKind::NotADirectory).into());
        }
        access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)?;
        if !is_there {
            return Ok(());
        }
        let id = match mounted::open(&path.join(LOCK)) {
            Ok(mut lock) if lock.try_lock_shared().is_ok() => read_id(&mut lock)?,
            // While a gate is writing, the ledger's end says nothing.
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(of(LOCK)(error).into()),
        };
        recover::plan(&recover::survey(path, id)?, LedgerId::random())?;
        Ok(())
    }

    /// The ledger's ID.
    pub(in crate::ledger) fn id(&self) -> &LedgerId {
        &self.id
    }

    fn repair(&self, repair: Repair) -> io::Result<()> {
        match repair {
            Repair::Cut { first, bytes, holes } => {
                let name = segment_name(first);
                if holes {
                    self.keep(&name, bytes)?;
                }
                let segment = OpenOptions::new().write(true).open(self.path.join(&name))?;
                let torn = segment.metadata()?.len().saturating_sub(bytes);
                tracing::warn!(
                    segment = name,
                    torn,
                    "cut off a record that a crash left unfinished"
                );
                segment.set_len(bytes)?;
                segment.sync_all()
            }
            Repair::Remove { first, holes } => {
                let name = segment_name(first);
                if holes {
                    self.keep(&name, 0)?;
                }
                tracing::warn!(
                    segment = name,
                    "removed a segment that a crash left without a record"
                );
                fs::remove_file(self.path.join(name))?;
                self.handle.sync_all()
            }
        }
    }

    /// Saves what is cut off a segment, from `bytes` on, in a file beside it, for whoever looks
    /// into the crash.
    fn keep(&self, name: &str, bytes: u64) -> io::Result<()> {
        let kept = format!("{name}.torn");
        let mut torn = File::open(self.path.join(name))?;
        torn.seek(SeekFrom::Start(bytes))?;
        let options = OpenOptions::new().append(true).create(true).mode(FILE_MODE).clone();
        let mut file = options.open(self.path.join(&kept))?;
        io::copy(&mut torn, &mut file)?;
        file.sync_all()?;
        self.handle.sync_all()?;
        tracing::error!(
            segment = name,
            bytes,
            kept,
            "a crash left a group of records incomplete; nothing was sent because of it, and it is kept"
        );
        Ok(())
    }
}

/// Creates the directory and syncs it before it is used. Its parent must exist: a mistyped path
/// must not become a ledger of its own.
fn create_durably(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(parent(path))?.sync_all(),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes sure that reading shows what is on the disk: a run that was killed, or whose sync failed,
/// may have left lines that only the page cache has, and no chain may be continued from those.
fn settle(path: &Path) -> io::Result<()> {
    for first in reader::segments(path)?.iter().rev().take(2) {
        let name = segment_name(*first);
        let segment = OpenOptions::new().write(true).open(path.join(&name)).map_err(of(&name))?;
        segment.sync_all()?;
        // After a failed sync the kernel considers pages clean that were never written; dropped
        // from the cache, they are read from the disk. A file system without a disk has nothing to
        // drop.
        let _ = fadvise(&segment, 0, None, Advice::DontNeed);
    }
    File::open(path)?.sync_all()
}

/// The ID in the lock file; `None` if no record was ever written, or the process was stopped before
/// it wrote the ID.
fn read_id(lock: &mut File) -> io::Result<Option<LedgerId>> {
    let mut text = String::new();
    lock.take(LOCK_BYTES_MAX).read_to_string(&mut text).map_err(of(LOCK))?;
    Ok(text.strip_suffix('\n').and_then(LedgerId::parse))
}

/// Names the file that an error is about.
fn of(name: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}

impl Volume for Directory {
    fn create(&mut self, first: u64) -> io::Result<()> {
        let path = self.path.join(segment_name(first));
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(&path)?;
        // A failed attempt may have left an empty file, which is as good as new; one with records
        // is not.
        let metadata = file.metadata()?;
        if metadata.len() != 0 {
            return Err(ErrorKind::AlreadyExists.into());
        }
        // Before the ID is written: a ledger with an ID and no segment counts as one that lost its
        // records.
        self.handle.sync_all()?;
        if !self.named {
            self.lock.set_len(0)?;
            self.lock.write_all_at(format!("{}\n", self.id).as_bytes(), 0)?;
            self.lock.sync_data()?;
            self.named = true;
        }
        self.segment = Some(Segment { file, path, identity: identity(&metadata), bytes: 0 });
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
                    "kept a segment past its retention: it was not shipped yet"
                );
                break;
            }
            tracing::info!(segment = segment_name(*oldest), "removed a segment past its retention");
            fs::remove_file(self.path.join(segment_name(*oldest)))?;
            // Sync each removal before the next, so that a power loss leaves no gap.
            self.handle.sync_all()?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let segment = segment(&mut self.segment)?;
        segment.file.write_all(bytes)?;
        segment.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let segment = segment(&mut self.segment)?;
        segment.bytes = bytes;
        segment.file.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let segment = segment(&mut self.segment)?;
        segment.file.sync_data()?;
        // Records in a file that has lost its name are lost, synced or not.
        let named = fs::metadata(&segment.path)?;
        if identity(&named) != segment.identity || named.len() != segment.bytes {
            return Err(io::Error::other("the segment was replaced or changed by somebody else"));
        }
        Ok(())
    }

    fn free(&mut self) -> io::Result<u64> {
        let volume = fstatvfs(&self.handle)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

fn segment(segment: &mut Option<Segment>) -> io::Result<&mut Segment> {
    segment.as_mut().ok_or_else(|| io::Error::other("no segment was created"))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// When the first record of the segment `first` was committed; `None` if it has no record.
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
