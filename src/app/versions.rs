//! What is done for each version of the policies: before it comes into force, its budgets count the
//! past, from the ledger and from what was taken while that was read; and its text is recorded.

use super::{Common, StartError};

use crate::budget::{self, Budgets, Fullest, Room};
use crate::clock::Clock;
use crate::config;
use crate::gateway::Shadow;
use crate::ledger::{self, Ledger};
use crate::metrics::Metrics;
use crate::policy;
use crate::reload::{Policies, Prepare, Role};

use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How soon to look again whether what was taken is recorded, which takes as long as a sync.
const RECORDED: Duration = Duration::from_millis(5);

/// How soon a ledger that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the shadow policies, if there are some, within the limits of those in force: nothing waits
/// for a version of them.
pub(super) async fn shadow(
    directory: Option<PathBuf>,
    limits: policy::Limits,
    common: &Common,
) -> Option<Shadow> {
    let Common { clock, metrics, tracker, drain, .. } = common;
    let (at, ready) = ((Role::Shadow, directory?), Prepare::by(async |_| ()));
    let (clock, counting) = (clock.clone(), metrics.clone());
    let (policies, follower) = Policies::open(at, limits, clock, counting, ready).await;
    tracker.spawn(follower.run(drain.clone()));
    Some(Shadow::new(policies, metrics.clone()))
}

/// The counters, and the ledger that knows what they must know.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) ledger: Ledger,
    /// The ledger's.
    pub(super) directory: PathBuf,
    pub(super) budgets: Budgets,
}

impl Past {
    /// Makes the counters of a version ready.
    pub(super) fn prepare(self) -> Prepare {
        Prepare::by(move |set| {
            let past = self.clone();
            async move {
                if !past.budgets.knows(set.budgets()) {
                    past.count(set.budgets()).await;
                }
            }
        })
    }

    /// Counters for `budgets` that hold the past, what was taken while it was read included.
    async fn count(&self, budgets: &Arc<policy::Budgets>) {
        loop {
            let room = self.budgets.open(budgets);
            while !self.budgets.is_recorded(&room) {
                sleep(RECORDED).await;
            }
            self.ledger.flushed().await;
            let (to, target) = (self.budgets.clone(), room.clone());
            let (directory, now) = (self.directory.clone(), self.budgets.now());
            let read = spawn_blocking(move || fill(&to, &target, &directory, now)).await;
            match read {
                Ok(Ok(deletes)) => {
                    self.budgets.filled(&room).await;
                    let fullest = fullest(&self.budgets);
                    tracing::info!(deletes, fullest, %now, "the budgets have counted the past");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the ledger cannot be read, so the budgets cannot count the past");
                }
                Err(error) => tracing::error!(%error, "reading the ledger was aborted"),
            }
            sleep(AGAIN).await;
        }
    }
}

/// The counters of the budgets. If the clock was set back since the last record, time goes on from
/// there.
pub(super) async fn budgets(
    config: &config::Gate,
    ledger: &Ledger,
    clock: &Clock,
) -> Result<Budgets, StartError> {
    let path = &config.ledger.directory;
    let fault = |source| ledger::OpenError::Io { path: path.clone(), source };
    let last = ledger::last_time(path).map_err(fault)?;
    let now = last.map_or(clock.now(), |it| it.max(clock.now()));
    Ok(match config.budgets.store.clone() {
        Some(store) => Budgets::shared(now, store, ledger.id().as_str()).await?,
        None => Budgets::new(now),
    })
}

/// The ledger gets the text of each version that comes into force, whether anything is judged by it
/// or not.
pub(super) async fn record(mut policies: Policies, ledger: Ledger, stop: CancellationToken) {
    loop {
        if let Some(set) = policies.current() {
            ledger.loaded(&set);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = policies.changed() => (),
        }
    }
}

/// Shows in the metrics how full the budgets are.
pub(super) fn measure(budgets: &Budgets, metrics: &Metrics) {
    let ratio = |it: Fullest| (it.budget, f64::from(it.used) / f64::from(it.limit));
    let fullest: Vec<_> = budgets.fullest().into_iter().map(ratio).collect();
    metrics.set_budgets(&fullest, budgets.is_there());
}

/// How much of the fullest counter of each budget is used, such as `per-principal 3/50`.
fn fullest(budgets: &Budgets) -> String {
    let fullest = budgets.fullest().into_iter();
    let fullest = fullest.map(|it| format!("{} {}/{}", it.budget, it.used, it.limit));
    fullest.collect::<Vec<_>>().join(", ")
}

/// Counts the past into `room`, and returns how many deletes it had.
fn fill(budgets: &Budgets, room: &Room, directory: &Path, now: Timestamp) -> io::Result<usize> {
    let mut deletes = 0;
    if let Some(since) = room.since(now) {
        let time = since..=Timestamp::MAX;
        ledger::past(&[directory.to_owned()], &time, |past: budget::Past| {
            deletes += 1;
            budgets.fill(room, &past);
        })?;
    }
    Ok(deletes)
}
