//! The one owner of the file: a thread that takes everything in the queue, writes it as one group,
//! syncs once, and only then lets the requests go on.
//!
//! A failed write is undone and tried again with the next group. A failed sync is final: the kernel
//! may have dropped what it could not write, and a second sync could then succeed without it.

#[cfg(test)]
mod tests;

use super::entry::Note;
use super::policies;
use super::queue::{Item, Queue, Submission};
use super::volume::Volume;
use crate::ledger::checkpoint::Signer;
use crate::ledger::line::{Head, Kind};
use crate::ledger::read::cursor::Shipped;
use crate::ledger::{Entry, Error, LedgerId, Pending, Status};

use crate::clock::Clock;
use crate::metrics::{LedgerFault, LedgerRecord, Metrics};
use crate::policy;

use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A segment that is older than this gets no more records, so that retention can remove whole
/// segments.
pub const SEGMENT_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// How soon a failed write is tried again when no new group comes.
const RETRY: Duration = Duration::from_secs(1);

/// How often free space is checked when nothing is written.
const IDLE: Duration = Duration::from_secs(5);

/// How often free space is checked while records are written; what the ledger itself has written
/// since then is counted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A buffer larger than this is given back after its group.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

pub(in crate::ledger) struct Writer {
    id: LedgerId,
    head: Head,
    clock: Clock,
    volume: Box<dyn Volume>,
    queue: Arc<Queue>,
    status: watch::Sender<Status>,
    pending: mpsc::Sender<Pending>,
    /// The number of the last record on stable storage.
    committed: watch::Sender<u64>,
    shipped: Shipped,
    metrics: Metrics,
    limits: Limits,
    segment: Option<Segment>,
    /// How many more bytes can be written before free space falls below the reserve.
    room: u64,
    /// When free space was last checked.
    looked_at: Instant,
    /// Records that could not be written yet and must not be lost.
    backlog: Vec<Note>,
    buffer: Vec<u8>,
    /// How many records this process wrote after the last checkpoint.
    unsigned: u64,
    /// When it wrote that checkpoint, or started.
    signed_at: Instant,
    /// Nothing more is queued.
    closing: bool,
}

/// Settings of the writer; see [`Config`](crate::ledger::Config).
#[derive(Debug)]
pub(in crate::ledger) struct Limits {
    pub(in crate::ledger) reserve_bytes: u64,
    pub(in crate::ledger) segment_bytes: u64,
    pub(in crate::ledger) retain: SignedDuration,
    /// Signs checkpoints.
    pub(in crate::ledger) signer: Option<Signer>,
}

/// The segment that is written to.
struct Segment {
    /// How many of its bytes are known to be good.
    bytes: u64,
    since: Timestamp,
    /// The policy versions whose text it holds.
    policies: HashSet<String>,
}

/// Records that are written together.
struct Group {
    time: Timestamp,
    head: Head,
    bytes: Vec<u8>,
    policies: Vec<String>,
    policy_records: usize,
    /// The decisions with their record numbers.
    decisions: Vec<(u64, Submission)>,
    notes: Vec<Note>,
    /// Its last line, if that is a checkpoint.
    checkpoint: Option<String>,
}

/// Why a group is not on stable storage.
enum Fault {
    /// Nothing of it is in the file.
    Write(io::Error),
    /// What is in the file is unknown.
    Final(io::Error),
}

/// The ends of the channels that [`open`](crate::ledger::open) hands to a writer.
pub(in crate::ledger) struct Channels {
    pub(in crate::ledger) queue: Arc<Queue>,
    pub(in crate::ledger) status: watch::Sender<Status>,
    pub(in crate::ledger) pending: mpsc::Sender<Pending>,
    pub(in crate::ledger) committed: watch::Sender<u64>,
    pub(in crate::ledger) shipped: Shipped,
    pub(in crate::ledger) metrics: Metrics,
}

impl Writer {
    /// Continues the chain of `id` after `head`, in a new segment.
    pub(in crate::ledger) fn new(
        (id, head): (LedgerId, Head),
        clock: Clock,
        volume: Box<dyn Volume>,
        channels: Channels,
        limits: Limits,
    ) -> Self {
        let Channels { queue, status, pending, committed, shipped, metrics } = channels;
        Self {
            id,
            head,
            clock,
            volume,
            queue,
            status,
            pending,
            committed,
            shipped,
            metrics,
            limits,
            segment: None,
            room: 0,
            looked_at: Instant::now(),
            backlog: Vec::new(),
            buffer: Vec::new(),
            unsigned: 0,
            signed_at: Instant::now(),
            closing: false,
        }
    }

    /// Writes groups until the queue is closed and empty, or a sync fails.
    pub(in crate::ledger) fn run(mut self) {
        loop {
            let wait = if self.backlog.is_empty() { IDLE } else { RETRY };
            let taken = self.queue.take(wait);
            self.metrics.set_ledger_queue(taken.items.len());
            let done = taken.closing && taken.items.is_empty();
            self.closing = done;
            if let Err(error) = self.commit(taken.items) {
                tracing::error!(%error, "the ledger failed for good");
                self.metrics.ledger_failed(LedgerFault::Sync);
                self.status.send_replace(Status::Failed);
                return;
            }
            if done {
                let lost = !self.backlog.is_empty();
                self.status.send_replace(if lost { Status::Failed } else { Status::Closed });
                return;
            }
        }
    }

    /// Writes `items` as one group and answers those who wait.
    ///
    /// # Errors
    /// Only a fault that is final.
    fn commit(&mut self, mut items: Vec<Item>) -> io::Result<()> {
        let barriers = items.extract_if(.., |it| matches!(it, Item::Barrier(_)));
        let barriers: Vec<_> = barriers.collect();
        self.commit_records(items)?;
        for barrier in barriers {
            if let Item::Barrier(reply) = barrier
                && self.backlog.is_empty()
            {
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    fn commit_records(&mut self, items: Vec<Item>) -> io::Result<()> {
        let items = self.admit(items);
        if items.is_empty() && self.backlog.is_empty() && !self.is_checkpoint_due(0) {
            return self.probe();
        }
        let group = self.group(items);
        let start = Instant::now();
        match self.store(&group) {
            Ok(()) => {
                self.count(&group, start.elapsed());
                self.conclude(group);
            }
            Err(Fault::Write(error)) => self.postpone(group, error),
            Err(Fault::Final(error)) => return Err(error),
        }
        Ok(())
    }

    /// Refuses decisions while the disk is nearly full; the records that end decisions may use the
    /// reserve.
    fn admit(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        if self.room == 0 || LOOK_EVERY <= self.looked_at.elapsed() {
            // If the free space is unknown, the write will show.
            let free = self.volume.free().inspect(|it| self.metrics.set_ledger_free(*it));
            let free = free.map_or(u64::MAX, |it| it.saturating_add(1));
            self.room = free.saturating_sub(self.limits.reserve_bytes);
            self.looked_at = Instant::now();
        }
        let full = self.room == 0;
        self.status.send_if_modified(|status| {
            let before = *status;
            *status = match before {
                Status::Writable if full => Status::Full,
                Status::Full if !full => Status::Writable,
                other => other,
            };
            *status != before
        });
        if full {
            for item in items.extract_if(.., |it| !matches!(it, Item::Note(_))) {
                if let Item::Decision(submission) = item {
                    self.metrics.ledger_failed(LedgerFault::Reserve);
                    let _ = submission.reply.send(Err(Error::Full));
                }
            }
        }
        items
    }

    /// Frames the records. The group may still fail, so nothing in the writer changes, except that
    /// a new segment may be started.
    fn group(&mut self, items: Vec<Item>) -> Group {
        let now = self.clock.now();
        if self.segment.as_ref().is_some_and(|it| it.is_done(now, &self.limits)) {
            self.segment = None;
        }
        let mut group = Group {
            time: now,
            head: self.head,
            bytes: mem::take(&mut self.buffer),
            policies: Vec::new(),
            policy_records: 0,
            decisions: Vec::new(),
            notes: Vec::new(),
            checkpoint: None,
        };
        for note in mem::take(&mut self.backlog) {
            group.push_note(&self.id, note);
        }
        for item in items {
            match item {
                Item::Decision(submission) => {
                    // No decision may refer to a version that the ledger does not hold.
                    if let Err(error) = self.policies(&mut group, &submission.policies) {
                        let _ = submission.reply.send(Err(error));
                        continue;
                    }
                    group.push(&self.id, &submission.members);
                    group.decisions.push((group.head.seq, submission));
                }
                Item::Note(note) => group.push_note(&self.id, note),
                // `commit` has taken these out.
                Item::Barrier(_) => (),
                Item::Policies(set) => {
                    if let Err(error) = self.policies(&mut group, &set) {
                        tracing::error!(%error, "the text of the policies cannot be recorded");
                    }
                }
            }
        }
        if self.is_checkpoint_due(group.head.seq - self.head.seq) {
            self.checkpoint(&mut group);
        }
        group
    }

    /// Whether a checkpoint should end a group of `records`.
    fn is_checkpoint_due(&self, records: u64) -> bool {
        let records = self.unsigned + records;
        self.limits.signer.as_ref().is_some_and(|it| {
            it.is_due(records, self.signed_at.elapsed()) || self.closing && 0 < records
        })
    }

    /// Signs everything up to the end of `group`. The checkpoint is not kept for a second attempt:
    /// if the group cannot be written, the records before it may change.
    fn checkpoint(&self, group: &mut Group) {
        let Some(signer) = &self.limits.signer else { return };
        let Head { hash, .. } = group.head;
        match signer.sign(&self.id, group.head.next(), group.time, hash) {
            Ok(members) => {
                let start = group.bytes.len();
                group.push(&self.id, &members);
                let line = group.bytes.get(start..).unwrap_or_default().trim_ascii_end();
                group.checkpoint = Some(String::from_utf8_lossy(line).into_owned());
            }
            Err(error) => tracing::error!(%error, "checkpoint cannot be written"),
        }
    }

    /// Puts the text of a policy version into the segment, once.
    fn policies(&self, group: &mut Group, set: &policy::Set) -> Result<(), Error> {
        let digest = set.digest();
        let written = self.segment.as_ref().is_some_and(|it| it.policies.contains(digest));
        if written || group.policies.iter().any(|it| it == digest) {
            return Ok(());
        }
        let records = policies::records(digest, set.files())?;
        for members in &records {
            group.push(&self.id, members);
        }
        group.policy_records += records.len();
        group.policies.push(digest.to_owned());
        Ok(())
    }

    /// Brings the group to stable storage, or leaves the file as it was.
    fn store(&mut self, group: &Group) -> Result<(), Fault> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => {
                self.volume.create(self.head.next()).map_err(Fault::Write)?;
                let oldest = group.time.saturating_sub(self.limits.retain).unwrap_or(group.time);
                if let Err(error) = self.volume.retire(oldest, self.shipped.seq()) {
                    tracing::warn!(%error, "old ledger segments cannot be removed");
                }
                none.insert(Segment { bytes: 0, since: group.time, policies: HashSet::new() })
            }
        };
        if let Err(error) = self.volume.append(&group.bytes) {
            self.volume.truncate(segment.bytes).map_err(Fault::Final)?;
            return Err(Fault::Write(error));
        }
        self.volume.sync().map_err(Fault::Final)?;
        let bytes = u64::try_from(group.bytes.len()).unwrap_or(u64::MAX);
        segment.bytes += bytes;
        self.room = self.room.saturating_sub(bytes);
        segment.policies.extend(group.policies.iter().cloned());
        self.unsigned += group.head.seq - self.head.seq;
        self.head = group.head;
        self.committed.send_replace(self.head.seq);
        Ok(())
    }

    fn count(&self, group: &Group, took: Duration) {
        let count = |records: usize| u64::try_from(records).unwrap_or(u64::MAX);
        self.metrics.ledger_records(LedgerRecord::Policies, count(group.policy_records));
        self.metrics.ledger_records(LedgerRecord::Decision, count(group.decisions.len()));
        for note in &group.notes {
            if let Some(kind) = counted(note.kind) {
                self.metrics.ledger_records(kind, 1);
            }
        }
        let checkpoints = usize::from(group.checkpoint.is_some());
        self.metrics.ledger_records(LedgerRecord::Checkpoint, count(checkpoints));
        let records =
            group.policy_records + group.decisions.len() + group.notes.len() + checkpoints;
        self.metrics.ledger_committed(records, took);
    }

    /// Lets the requests of a stored group proceed.
    fn conclude(&mut self, group: Group) {
        self.set_status(Status::Writable);
        for (seq, Submission { mut pending, reply, .. }) in group.decisions {
            pending.seq = seq;
            pending.time = group.time;
            // The writer, not the request, makes the entry: if the request vanished while it
            // waited, the entry comes back here, is dropped, and thereby gets its outcome.
            let _ = reply.send(Ok(Entry::new(pending, self.queue.clone())));
        }
        for pending in group.notes.into_iter().filter_map(|it| it.pending) {
            // If it is not settled in this process, the next start finds it again.
            let _ = self.pending.try_send(pending);
        }
        if let Some(checkpoint) = group.checkpoint {
            // Whoever keeps this line can tell later whether the ledger was cut or rewritten.
            tracing::info!(checkpoint, "checkpoint");
            self.unsigned = 0;
            self.signed_at = Instant::now();
        }
        self.keep(group.bytes);
    }

    /// Refuses the requests of a group that could not be written; keeps what must not be lost.
    fn postpone(&mut self, group: Group, error: io::Error) {
        tracing::warn!(%error, "the ledger cannot be written to");
        self.metrics.ledger_failed(LedgerFault::Write);
        self.set_status(Status::Unwritable);
        let error = Arc::new(error);
        for (_, submission) in group.decisions {
            let _ = submission.reply.send(Err(Error::Write(Arc::clone(&error))));
        }
        self.backlog = group.notes;
        self.room = 0;
        self.keep(group.bytes);
    }

    /// After a failed write, finds out whether writing works again. No request would do so, because
    /// none arrive while the gate is not ready.
    fn probe(&mut self) -> io::Result<()> {
        let Some(segment) = &self.segment else { return Ok(()) };
        if *self.status.borrow() != Status::Unwritable {
            return Ok(());
        }
        let written = self.volume.append(b"{");
        self.volume.truncate(segment.bytes)?;
        if written.is_ok() {
            self.set_status(Status::Writable);
        }
        Ok(())
    }

    fn set_status(&self, to: Status) {
        self.status.send_if_modified(|status| mem::replace(status, to) != to);
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.buffer = buffer;
    }
}

impl Drop for Writer {
    /// Runs also when the thread panics: nobody may wait for a writer that is gone.
    fn drop(&mut self) {
        self.queue.end();
        self.status.send_if_modified(|status| {
            let lost = !matches!(status, Status::Closed | Status::Failed);
            if lost {
                *status = Status::Failed;
            }
            lost
        });
    }
}

impl Segment {
    fn is_done(&self, now: Timestamp, limits: &Limits) -> bool {
        limits.segment_bytes <= self.bytes || SEGMENT_AGE_MAX <= now.duration_since(self.since)
    }
}

impl Group {
    fn push(&mut self, id: &LedgerId, members: &[u8]) {
        self.head.append(&mut self.bytes, id, self.time, members);
    }

    fn push_note(&mut self, id: &LedgerId, note: Note) {
        self.push(id, &note.members);
        self.notes.push(note);
    }
}

/// What a record counts as in the metrics; `None` for a kind that is never written.
fn counted(kind: Kind) -> Option<LedgerRecord> {
    Some(match kind {
        Kind::Checkpoint => LedgerRecord::Checkpoint,
        Kind::Decision => LedgerRecord::Decision,
        Kind::Outcome => LedgerRecord::Outcome,
        Kind::Policies => LedgerRecord::Policies,
        Kind::Settlement => LedgerRecord::Settlement,
        Kind::Suppressed => LedgerRecord::Suppressed,
        Kind::Tombstone => LedgerRecord::Tombstone,
        Kind::Unknown => return None,
    })
}
