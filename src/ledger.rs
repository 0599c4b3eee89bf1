//! The record of what the gate decided and did. Records are only added.
//!
//! Append-only lines of JSON, each chained to the one before it, in a directory that one process
//! holds. [`Ledger::record`] returns once a decision is on stable storage, and nothing is sent
//! before. Each decision's [`Entry`] gets exactly one outcome. Decisions that a crash leaves open
//! are found at the next start and handed out as [`Pending`].

pub mod record;

mod checkpoint;
mod line;
mod read;
mod write;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use self::checkpoint::{Checkpoints, Kept, KeyError, PublicKey};
pub use self::line::{Fault, Kind, LINE_BYTES_MAX, LedgerId};
pub use self::read::cursor::Unshipped;
pub use self::read::past::{last_time, past};
pub use self::read::recover::Damage;
pub use self::read::scan::{Asked, Charged, Ended, Scanned, Told};
pub use self::read::seen::{Seen, in_order};
pub use self::read::tail::{Line, TAIL_BYTES_MAX, TAIL_RECORDS_MAX, Tail, TailError};
pub use self::read::verify::{Reader, Record, Trust, Unverified, Verified, verify, verify_signed};
pub use self::record::{Ending, unit_end};
pub use self::write::entry::{Entry, Outcome, Pending, Signed};
pub use self::write::judged::{Judged, Recorded, Undecided};
pub use self::write::queue::QUEUE_MAX;
pub use self::write::writer::SEGMENT_AGE_MAX;

use self::checkpoint::Signer;
use self::line::{Head, MEMBERS_BYTES_MAX};
use self::read::cursor::Shipped;
use self::record::{Body, written_len};
use self::write::entry::Note;
use self::write::queue::{Item, Queue};
use self::write::volume::{Directory, OpenedDirectory, Unopened, Volume};
use self::write::writer::{Channels, Limits, Writer};

use crate::clock::Clock;
use crate::metrics::{LedgerFault, Metrics};
use crate::policy;

use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};
use tokio::sync::{mpsc, oneshot, watch};

/// How many decisions may wait to be settled in this process; the next start finds the others.
pub const PENDING_MAX: usize = 1024;

/// The most bytes, as written, that the principal, its groups and tags and the user agent may take
/// together. The rest of a record is for the job's attributes and names.
pub const QUERY_BYTES_MAX: usize = 40 * 1024;

/// How long [`Ledger::flushed`] waits before it checks again.
const FLUSH_AGAIN: Duration = Duration::from_millis(100);

/// The settings of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it is kept; created if missing. One process at a time.
    pub directory: PathBuf,
    /// Free space, in bytes, under which no more decisions are recorded.
    pub reserve: u64,
    /// The length, in bytes, at which a segment gets no more groups of records.
    pub segment: u64,
    /// How long records are kept, counted from when they were written.
    pub retain: SignedDuration,
    /// Whether and when checkpoints are signed.
    pub checkpoints: Option<Checkpoints>,
    /// The records are shipped elsewhere, and segments are kept until they were.
    pub ship: bool,
    /// The records of this run are echoed.
    pub echo: bool,
}

/// A ledger in use; clones write to the same one.
#[derive(Clone, Debug)]
pub struct Ledger {
    id: LedgerId,
    queue: Arc<Queue>,
    status: watch::Receiver<Status>,
    /// The number of the last record on stable storage.
    committed: watch::Receiver<u64>,
    shipped: Shipped,
    metrics: Metrics,
}

/// What [`open`] opened.
#[derive(Debug)]
pub struct Opened {
    /// For requests.
    pub ledger: Ledger,
    /// For the end of the process.
    pub thread: WriterThread,
    /// Decisions whose effect is not known: left open by an earlier run, or ended as `unknown` in
    /// this one. Whoever looks up what happened records it with [`Ledger::settle`].
    pub pending: mpsc::Receiver<Pending>,
    /// For whoever ships the records, if [`Config::ship`] is set.
    pub unshipped: Option<Unshipped>,
    /// For whoever echoes the records of this run, if [`Config::echo`] is set.
    pub echo: Option<Tail>,
}

/// The thread that writes. Closing it waits for all that is queued.
#[derive(Debug)]
pub struct WriterThread {
    queue: Arc<Queue>,
    status: watch::Receiver<Status>,
    thread: JoinHandle<()>,
}

/// Whether decisions can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Closed in good order.
    Closed,
    /// A sync failed: final for this process, which should exit.
    Failed,
    /// Free space is under the reserve.
    Full,
    /// A write or sync takes so long that the disk seems to hang.
    Stalled,
    /// The last write failed; writing is tried again.
    Unwritable,
    /// Decisions can be recorded.
    Writable,
}

/// Why a decision was not recorded. Whatever the reason, nothing may be sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// [`QUEUE_MAX`] decisions wait already.
    #[error("too many decisions wait for the ledger")]
    Busy,
    /// The gate is stopping.
    #[error("the ledger is closed")]
    Closed,
    /// The ledger failed for good.
    #[error("the ledger failed")]
    Failed,
    /// Free space is under the reserve.
    #[error("the ledger's disk is nearly full")]
    Full,
    /// The record would be longer than [`LINE_BYTES_MAX`].
    #[error("the record would be longer than {LINE_BYTES_MAX} bytes")]
    TooLarge,
    /// The write failed, and was undone.
    #[error("the ledger cannot be written to")]
    Write(#[source] Arc<io::Error>),
}

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A crash of the gate cannot have left it like this; it is not touched.
    #[error(
        "the ledger in {path} is damaged; keep it for those who audit it, and start with an empty directory"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Damage,
    },
    /// The system's error.
    #[error("the ledger directory {path} cannot be used")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key for checkpoints cannot be used.
    #[error("the checkpoint key {path} cannot be used")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Another process holds the directory.
    #[error("the ledger directory {0} is in use by another process")]
    Locked(PathBuf),
}

/// Opens the ledger in `config.directory` and starts its thread.
///
/// # Errors
/// The directory or the key cannot be used, another process holds the directory, or the ledger in
/// it is damaged.
pub fn open(config: &Config, clock: Clock, metrics: &Metrics) -> Result<Opened, OpenError> {
    let signer = config.signer()?;
    let opened = Directory::open(&config.directory).map_err(|it| config.unopened(it))?;
    let OpenedDirectory { directory, head, segments } = opened;
    let limits = Limits {
        reserve_bytes: config.reserve,
        segment_bytes: config.segment,
        retain: config.retain,
        signer,
    };
    let at = (directory.id().clone(), head);
    let io = |source| config.unopened(Unopened::Io(source));
    let started = start(at, clock, Box::new(directory), limits, metrics).map_err(io)?;
    let (mut opened, pending) = started;
    let Ledger { id, committed, shipped, .. } = opened.ledger.clone();
    if config.echo {
        let (id, committed) = (id.clone(), committed.clone());
        opened.echo = Some(Tail::new(&config.directory, id, head.seq, committed));
    }
    if config.ship {
        opened.unshipped = Some(Unshipped::open(&config.directory, id, committed, shipped));
    }
    if !segments.is_empty() {
        let (ledger, path) = (opened.ledger.clone(), config.directory.clone());
        let hand_out = move || write::pending::hand_out(&path, &segments, &ledger, &pending);
        thread::Builder::new().name("ledger-pending".to_owned()).spawn(hand_out).map_err(io)?;
    }
    Ok(opened)
}

/// Whether a ledger could be opened in `config.directory`, as far as can be told without touching it.
///
/// # Errors
/// See [`open`].
pub fn check(config: &Config) -> Result<(), OpenError> {
    config.signer()?;
    Directory::check(&config.directory).map_err(|it| config.unopened(it))
}

impl Config {
    fn signer(&self) -> Result<Option<Signer>, OpenError> {
        let signer = self.checkpoints.as_ref().map(|it| {
            Signer::read(it).map_err(|source| OpenError::Key { path: it.key.clone(), source })
        });
        signer.transpose()
    }

    fn unopened(&self, error: Unopened) -> OpenError {
        let path = self.directory.clone();
        match error {
            Unopened::Damaged(source) => OpenError::Damaged { path, source },
            Unopened::Io(source) => OpenError::Io { path, source },
            Unopened::Locked => OpenError::Locked(path),
        }
    }
}

/// Starts the thread that continues the chain `at`. The sender takes what earlier runs left open.
fn start(
    at: (LedgerId, Head),
    clock: Clock,
    volume: Box<dyn Volume>,
    limits: Limits,
    metrics: &Metrics,
) -> io::Result<(Opened, mpsc::Sender<Pending>)> {
    let queue = Arc::new(Queue::default());
    let (status_sender, status) = watch::channel(Status::Writable);
    let (pending_sender, pending) = mpsc::channel(PENDING_MAX);
    let (committed_sender, committed) = watch::channel(at.1.seq);
    let shipped = Shipped::default();
    let channels = Channels {
        queue: Arc::clone(&queue),
        status: status_sender,
        pending: pending_sender.clone(),
        committed: committed_sender,
        shipped: shipped.clone(),
        metrics: metrics.clone(),
    };
    let id = at.0.clone();
    let writer = Writer::new(at, clock, volume, channels, limits);
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(|| writer.run())?;
    let ledger = Ledger {
        id,
        queue: Arc::clone(&queue),
        status: status.clone(),
        committed,
        shipped,
        metrics: metrics.clone(),
    };
    let thread = WriterThread { queue, status, thread };
    let opened = Opened { ledger, thread, pending, unshipped: None, echo: None };
    Ok((opened, pending_sender))
}

impl Ledger {
    /// The random name of this ledger.
    #[must_use]
    pub fn id(&self) -> &LedgerId {
        &self.id
    }

    /// Checks that the record of `query` will be short enough, whatever the job's attributes are.
    /// Call it before they are looked up.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn fits(&self, query: &policy::Query) -> Result<(), Error> {
        let principal = &query.principal;
        let texts = principal.groups().iter().map(String::as_str);
        let texts = texts
            .chain(principal.tags().iter().flat_map(|(key, value)| [key.as_str(), value]))
            .chain([principal.id(), principal.source()])
            .chain(query.user_agent.value().map(String::as_str));
        // Quotes and a comma or colon around each.
        let bytes = |of: fn(&str) -> usize| texts.clone().map(|it| 4 + of(it)).sum::<usize>();
        // A byte takes at most six as written, so that short texts need not be read.
        let fits = bytes(|it| 6 * it.len()) <= QUERY_BYTES_MAX
            || bytes(|it| it.chars().map(written_len).sum()) <= QUERY_BYTES_MAX;
        if fits {
            return Ok(());
        }
        self.metrics.ledger_failed(LedgerFault::RecordSize);
        Err(Error::TooLarge)
    }

    /// Records `judged`, and returns once it cannot be lost any more.
    ///
    /// # Errors
    /// Each of [`Error`]; nothing may be sent then.
    pub async fn record(&self, judged: Judged<'_>) -> Result<Recorded, Error> {
        let recorded = self.record_all(vec![judged]).await?;
        recorded.into_iter().next().ok_or(Error::Failed)
    }

    /// Records all of `judged` as one group, in this order, and returns once none of them can be
    /// lost any more.
    ///
    /// # Errors
    /// Each of [`Error`]; nothing may be sent then. What was recorded nevertheless is closed as not
    /// sent.
    pub async fn record_all(&self, judged: Vec<Judged<'_>>) -> Result<Vec<Recorded>, Error> {
        let (replies, entries): (Vec<_>, Vec<_>) =
            judged.iter().map(|_| oneshot::channel()).unzip();
        let submissions = judged.iter().zip(replies).map(|(it, reply)| it.submission(reply));
        let submitted = submissions.collect::<Result<_, _>>().and_then(|it| self.queue.submit(it));
        let submitted = submitted.inspect_err(|error| match error {
            Error::Busy => self.metrics.ledger_failed(LedgerFault::Queue),
            Error::TooLarge => self.metrics.ledger_failed(LedgerFault::RecordSize),
            Error::Closed | Error::Failed | Error::Full | Error::Write(_) => (),
        })?;
        // Let requests that are ready run first: their decisions then share this one's group. Where
        // there are none this takes no time.
        tokio::task::yield_now().await;
        drop(submitted);
        let mut recorded = Vec::with_capacity(judged.len());
        for (judged, entry) in judged.into_iter().zip(entries) {
            let entry = entry.await.unwrap_or(Err(Error::Failed))?;
            recorded.push(Recorded::new(judged.decision, judged.unit, entry));
        }
        Ok(recorded)
    }

    /// Records a policy version that came into force, with its text. Not awaited: each segment gets
    /// the text of every version that judged in it anyway.
    pub fn loaded(&self, policies: &Arc<policy::Set>) {
        self.queue.add(Item::Policies(Arc::clone(policies)));
    }

    /// Records how the decision number `of` ended, once that is known. Not awaited: if the record
    /// is lost, the next start hands the decision out again.
    pub fn settle(&self, of: u64, result: Ending) {
        let body = Body::Settlement(record::Settlement { of, result });
        self.note(Kind::Settlement, record::to_members(&body));
    }

    /// Records that `count` requests of `principal` since `since` were refused for their rate. Not
    /// awaited, and lost if the process dies.
    pub fn suppressed(&self, principal: &str, since: Timestamp, count: u64) {
        let body = record::Suppressed { principal: principal.into(), since, count };
        self.note(Kind::Suppressed, record::to_members(&Body::Suppressed(body)));
    }

    /// Records what is lost with a job, without its tags where they do not fit. Not awaited, and lost
    /// if the process dies.
    pub fn tombstone(&self, tombstone: record::Tombstone<'_>) {
        match record::to_members(&Body::Tombstone(Box::new(tombstone.clone()))) {
            Ok(members) if MEMBERS_BYTES_MAX < members.len() => match tombstone.tags {
                Some(_) => self.tombstone(record::Tombstone { tags: None, ..tombstone }),
                None => tracing::error!(of = tombstone.of, "tombstone is too long to be written"),
            },
            members => self.note(Kind::Tombstone, members),
        }
    }

    fn note(&self, kind: Kind, members: serde_json::Result<Vec<u8>>) {
        match members {
            Ok(members) => self.queue.add(Item::Note(Note { kind, members, pending: None })),
            Err(error) => {
                let kind = kind.as_str();
                tracing::error!(%error, "a {kind} record cannot be written");
            }
        }
    }

    /// Waits until all that was queued so far is on stable storage; for ever if it never is.
    pub async fn flushed(&self) {
        loop {
            let (reply, flushed) = oneshot::channel();
            self.queue.add(Item::Barrier(reply));
            if flushed.await.is_ok() {
                return;
            }
            tokio::time::sleep(FLUSH_AGAIN).await;
        }
    }

    /// Whether decisions can be recorded now.
    #[must_use]
    pub fn status(&self) -> Status {
        match *self.status.borrow() {
            Status::Writable if self.queue.is_stalled() => Status::Stalled,
            status => status,
        }
    }

    /// How many records a restart would have to ship; 0 if records are not shipped.
    #[must_use]
    pub fn unshipped(&self) -> u64 {
        self.committed.borrow().saturating_sub(self.shipped.seq())
    }

    /// Returns when the ledger has failed for good. The process should then exit: what is queued is
    /// lost, and nothing was sent because of it.
    pub async fn failed(&self) {
        let mut status = self.status.clone();
        // The writer sets `Failed` or `Closed` before it ends.
        if status.wait_for(|it| *it == Status::Failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl WriterThread {
    /// Refuses new decisions, waits until all that is queued is on stable storage, and ends the
    /// thread. Call it when no request is at work any more: an outcome that comes later is lost,
    /// and the next start settles its decision.
    ///
    /// # Errors
    /// [`Error::Failed`] if the ledger failed before.
    pub async fn close(mut self) -> Result<(), Error> {
        self.queue.close();
        let end = self.status.wait_for(|it| matches!(it, Status::Closed | Status::Failed)).await;
        let closed = end.is_ok_and(|it| *it == Status::Closed);
        // The thread has nothing left to do but to free what it holds.
        let joined = self.thread.join();
        if closed && joined.is_ok() { Ok(()) } else { Err(Error::Failed) }
    }
}
