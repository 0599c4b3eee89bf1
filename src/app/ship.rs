//! Ships the ledger to a collector, and echoes it to stdout.
//!
//! Shipping is at least once: a record is sent until the collector has taken it, in this run or a
//! later one. Both read the ledger's files, so that whoever takes the records can be slow or away
//! for days, and no request waits for them.

use crate::ledger::{Line, Opened, Tail, TailError, Unshipped};
use crate::metrics::{LedgerFault, Metrics};
use crate::telemetry::{self, Collector, Entry, Records, Undelivered};

use http::StatusCode;
use std::error::Error;
use std::io::Write;
use std::time::Duration;
use std::{io, thread};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

/// How long a record waits for others.
const GATHER: Duration = Duration::from_millis(500);

/// How often the collector's position is saved while there is more to send. Each save is synced,
/// and too many of them would hold up the ledger's own syncs.
const SAVE: Duration = Duration::from_secs(1);

/// The pause after a failure; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a collector can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Copies of the ledger that are being made.
#[derive(Debug)]
pub(super) struct Copying {
    tracker: TaskTracker,
    echoed: Option<oneshot::Receiver<()>>,
}

impl Copying {
    /// Starts to copy what the configuration of `opened` wants to be copied.
    ///
    /// # Errors
    /// The collector's URL or its certificates are unusable.
    pub(super) fn start(
        opened: &mut Opened,
        collector: Option<&Collector>,
        metrics: &Metrics,
    ) -> Result<Self, telemetry::Error> {
        let tracker = TaskTracker::new();
        if let (Some(unshipped), Some(collector)) = (opened.unshipped.take(), collector) {
            let ledger_id = opened.ledger.id().to_string();
            let (collector, metrics) = (Records::new(collector)?, metrics.clone());
            tracker.spawn(Shipper { unshipped, ledger_id, collector, metrics }.run());
        }
        let echoed = opened.echo.take().map(|tail| echo(tail, Handle::current()));
        Ok(Self { tracker, echoed })
    }

    /// Waits at most `limit` for the last records of a ledger that is closed. The next run goes on
    /// with those that were not shipped.
    pub(super) async fn end(self, limit: Duration) {
        self.tracker.close();
        let copied = async {
            self.tracker.wait().await;
            if let Some(echoed) = self.echoed {
                // Without a thread there is nothing to wait for.
                let _ = echoed.await;
            }
        };
        if timeout(limit, copied).await.is_err() {
            tracing::warn!("the last records were not copied in time");
        }
    }
}

/// What ships.
#[derive(Debug)]
struct Shipper {
    unshipped: Unshipped,
    ledger_id: String,
    collector: Records,
    metrics: Metrics,
}

impl Shipper {
    /// Ships until the ledger is closed and all of it was taken; then the first failure ends it.
    async fn run(self) {
        // Only the end of the runtime, or a panic while files are read.
        if let Err(error) = self.ship().await {
            tracing::error!(%error, "shipping the ledger has stopped");
        }
    }

    async fn ship(mut self) -> Result<(), JoinError> {
        let mut failures = 0;
        // How many records are sent at once, after a collector found a request too large.
        let mut most = usize::MAX;
        let mut lines: Vec<Line> = Vec::new();
        let mut saved = Instant::now();
        loop {
            if lines.is_empty() {
                if !self.unshipped.tail.wait().await {
                    return Ok(());
                }
                if failures == 0 {
                    self.pause(GATHER).await;
                }
                let (unshipped, read) = read(self.unshipped).await?;
                self.unshipped = unshipped;
                match read {
                    Ok(read) => lines = read,
                    Err(error) => {
                        tracing::error!(%error, "the ledger cannot be shipped");
                        self.metrics.ledger_failed(LedgerFault::Ship);
                    }
                }
            }
            let count = lines.len().min(most);
            let delivered = match lines.get(..count) {
                Some([]) | None => Err(PAUSE_MAX),
                Some(lines) => self.send(lines, failures, &mut most).await,
            };
            match delivered {
                Ok(last) => {
                    failures = 0;
                    most = most.saturating_mul(2);
                    lines.drain(..count);
                    if lines.is_empty() && self.unshipped.tail.is_read() || SAVE <= saved.elapsed()
                    {
                        self.unshipped = save(self.unshipped, last).await?;
                        saved = Instant::now();
                    }
                }
                Err(_) if self.unshipped.tail.is_closed() => return Ok(()),
                Err(pause) => {
                    failures += 1;
                    self.pause(pause).await;
                }
            }
        }
    }

    /// Sends `lines`, and gives the number of the last of them.
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    async fn send(&self, lines: &[Line], failures: u32, most: &mut usize) -> Result<u64, Duration> {
        let entries: Vec<_> = lines.iter().map(|it| entry(&self.ledger_id, it)).collect();
        match self.collector.send(&entries).await {
            Ok(rejected) => {
                if 0 < failures {
                    tracing::info!("the collector takes ledger records again");
                }
                if 0 < rejected.records {
                    let why = rejected.message;
                    tracing::error!(
                        records = rejected.records,
                        why,
                        "the collector rejected ledger records"
                    );
                    self.metrics.ledger_rejected(rejected.records);
                }
                Ok(entries.last().map_or(0, |it| it.seq))
            }
            Err(error) => {
                if failures == 0 {
                    let url = self.collector.url();
                    let error = &error as &dyn Error;
                    tracing::warn!(%url, error, "the collector does not take ledger records");
                }
                self.metrics.ledger_failed(LedgerFault::Ship);
                let Undelivered::Refused { status, retry_after } = error else {
                    return Err(backoff(failures, None, fastrand::f64()));
                };
                if status == StatusCode::PAYLOAD_TOO_LARGE && 1 < lines.len() {
                    *most = lines.len() / 2;
                    return Err(Duration::ZERO);
                }
                Err(backoff(failures, retry_after, fastrand::f64()))
            }
        }
    }

    /// Waits, or returns at once when the ledger is closed.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => (),
            () = self.unshipped.tail.closed() => (),
        }
    }
}

fn entry<'a>(ledger_id: &'a str, line: &'a Line) -> Entry<'a> {
    let kind = line.kind.as_str();
    Entry { ledger_id, seq: line.seq, time: line.time, kind, text: &line.text }
}

async fn read(
    mut unshipped: Unshipped,
) -> Result<(Unshipped, Result<Vec<Line>, TailError>), JoinError> {
    spawn_blocking(move || {
        let read = unshipped.tail.read();
        (unshipped, read)
    })
    .await
}

async fn save(unshipped: Unshipped, seq: u64) -> Result<Unshipped, JoinError> {
    spawn_blocking(move || {
        if let Err(error) = unshipped.save(seq) {
            tracing::warn!(%error, "cannot save how far the ledger was shipped: after a restart some records are shipped again");
        }
        unshipped
    })
    .await
}

/// The pause after so many `failures` and one more: longer each time, between half of it and all of
/// it (`draw`, 0 to 1) so that replicas do not come back together, and no shorter than the collector asked for.
fn backoff(failures: u32, retry_after: Option<Duration>, draw: f64) -> Duration {
    let pause = PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX);
    let pause = pause / 2 + pause.mul_f64(draw / 2.0);
    pause.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Writes what `tail` reads to stdout, in a thread of its own, because a stdout that nobody reads
/// blocks its writer. The receiver is told when the ledger is closed and all of it was written.
fn echo(mut tail: Tail, runtime: Handle) -> oneshot::Receiver<()> {
    let (done, echoed) = oneshot::channel();
    let run = move || {
        while runtime.block_on(tail.wait()) {
            if let Err(error) = tail.read().map_err(io::Error::other).and_then(|it| print(&it)) {
                tracing::error!(%error, "echoing the ledger to stdout has stopped");
                break;
            }
        }
        let _ = done.send(());
    };
    if let Err(error) = thread::Builder::new().name("ledger-echo".to_owned()).spawn(run) {
        tracing::error!(%error, "the ledger cannot be echoed to stdout");
    }
    echoed
}

fn print(lines: &[Line]) -> io::Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_to_its_limit_and_minds_what_the_collector_asks_for() {
        let seconds = Duration::from_secs;
        for (failures, asked, least, most) in [
            (0, None, 500, 1_000),
            (1, None, 1_000, 2_000),
            (5, None, 16_000, 32_000),
            (6, None, 30_000, 60_000),
            (u32::MAX, None, 30_000, 60_000),
            (0, Some(seconds(7)), 7_000, 7_000),
            (6, Some(seconds(7)), 30_000, 60_000),
            (0, Some(seconds(86_400)), 600_000, 600_000),
        ] {
            for draw in [0.0, 1.0] {
                let pause = backoff(failures, asked, draw).as_millis();
                assert!((least..=most).contains(&pause), "{failures} {asked:?}: {pause}");
            }
        }
    }
}
