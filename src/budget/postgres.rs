//! Exact sharing: the counters of several processes as rows of one PostgreSQL table.
//!
//! A delete takes its rows in one transaction, under a lock for each counter, which has ended
//! before the decision is recorded. A row counts from [`SENT_WITHIN`](super::SENT_WITHIN) after it
//! was taken, which no delete outlasts, until its end is known: then from now on, or it is removed.
//! So what a crash leaves counts too long rather than too short, until the next start compares it
//! with the ledger. All times are the database's.

mod connect;
mod keep;
mod sql;

pub use self::connect::{Config, ConfigError};

use self::keep::{Comparison, Keeper, Message};
use self::sql::Row;
use super::{Away, Charge, End, Past, Refused, Room, Use};

use crate::policy::{self, Attributes, Query};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use jiff::Timestamp;
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Error;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The longest that a request waits for the database; after that the database counts as away.
const TAKE: Duration = Duration::from_secs(5);

/// The longest that work may take that no request waits for.
const KEEP: Duration = Duration::from_secs(10);

/// How long a version waits for the database before it comes into force, and nothing is taken yet.
const COMPARED: Duration = Duration::from_secs(2);

/// How soon something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The counters in a database; clones use the same connections.
#[derive(Clone, Debug)]
pub(super) struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Replaced when the connection string changes.
    pool: RwLock<Pool>,
    /// Whose rows these are: the ledger's ID.
    holder: String,
    messages: mpsc::UnboundedSender<Message>,
    away: watch::Sender<bool>,
    /// How many comparisons with the ledger are not done yet.
    comparing: AtomicUsize,
    /// Rows that count and can still be given back, by the decision's number.
    unsettled: Mutex<HashMap<u64, Arc<str>>>,
    /// The past of the version that comes into force, while it is read.
    past: Mutex<Vec<Row>>,
    uses: Mutex<Vec<Use>>,
}

impl Store {
    /// Uses the database that `config` names, for the ledger `holder`. It is not an error that it
    /// is away.
    ///
    /// # Errors
    /// The connection string or the roots cannot be used.
    pub(super) async fn start(config: Config, holder: &str) -> Result<Self, ConfigError> {
        let (text, pool) = config.read().await?;
        let (messages, inbox) = mpsc::unbounded_channel();
        let shared = Shared {
            pool: RwLock::new(pool),
            holder: holder.to_owned(),
            messages,
            // Until it has answered.
            away: watch::Sender::new(true),
            comparing: AtomicUsize::new(0),
            unsettled: Mutex::default(),
            past: Mutex::default(),
            uses: Mutex::default(),
        };
        let store = Self(Arc::new(shared));
        // Nothing waits for these tasks: `flush` waits for their work.
        let tasks = TaskTracker::new();
        tasks.spawn(Keeper { store: store.clone(), inbox }.run());
        let follower = store.clone();
        tasks.spawn(async move {
            let set = |pool| {
                *follower.0.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
            };
            config.follow(text, set).await;
        });
        Ok(store)
    }

    /// The last request to the database failed, or it does not have the past yet.
    pub(super) fn is_away(&self) -> bool {
        self.is_comparing() || *self.0.away.borrow()
    }

    fn is_comparing(&self) -> bool {
        0 < self.0.comparing.load(Ordering::Acquire)
    }

    /// Takes a row of every budget that fits.
    pub(super) async fn take(
        &self,
        budgets: &policy::Budgets,
        query: &Query,
        attributes: &Attributes,
    ) -> Result<(Arc<str>, Vec<Charge>), Refused> {
        let unit: Arc<str> = Uuid::new_v4().hyphenated().to_string().into();
        if self.is_comparing() {
            return Err(Refused::Away);
        }
        let charges: Vec<_> = budgets.charges(query, attributes).collect();
        if !charges.is_empty() {
            let holder = &self.0.holder;
            let mut begun = false;
            let taking = async |it: &ClientWrapper| {
                begun = true;
                sql::take(it, holder, &unit, &charges).await
            };
            match self.run(TAKE, taking).await {
                Ok(Ok(())) => (),
                Ok(Err(spent)) => return Err(Refused::Spent(spent)),
                Err(Away) => {
                    // The unit may have been taken, and only the answer be missing. Without a
                    // connection there is nothing to remember for as long as the database is away.
                    if begun {
                        self.send(Message::End(unit, End::GivenBack));
                    }
                    return Err(Refused::Away);
                }
            }
        }
        let charge = |it: &policy::Charge<'_>| Charge {
            budget: Arc::clone(it.budget.name()),
            key: Arc::from(&*it.key),
        };
        Ok((unit, charges.iter().map(charge).collect()))
    }

    /// The work of `unit` has ended. If it is not known how, the decision's number is kept.
    pub(super) fn ended(&self, unit: Arc<str>, seq: Option<u64>, end: End) {
        if end == End::Unknown
            && let Some(seq) = seq
        {
            self.unsettled(|it| it.insert(seq, Arc::clone(&unit)));
        }
        self.send(Message::End(unit, end));
    }

    pub(super) fn settle(&self, seq: u64, end: End) {
        if end == End::Unknown {
            return;
        }
        if let Some(unit) = self.unsettled(|it| it.remove(&seq)) {
            self.send(Message::End(unit, end));
        }
    }

    /// Forgets a past that was noted and not completed: with a delete twice, the comparison would fail.
    pub(super) fn begin(&self) {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes a delete of the past, for [`Store::filled`].
    pub(super) fn fill(&self, room: &Room, past: &Past, now: Timestamp) {
        let unit: Arc<str> = match &past.unit {
            Some(it) => Arc::from(it.as_str()),
            None => format!("{}:{}", self.0.holder, past.seq).into(),
        };
        if !matches!(past.end, super::PastEnd::Kept(_)) {
            self.unsettled(|it| it.insert(past.seq, Arc::clone(&unit)));
        }
        let at = past.end.counts_from(now);
        let charges = room.budgets.charges(&past.query, &past.attributes);
        let rows = charges.map(|it| Row {
            unit: unit.to_string(),
            budget: it.number,
            key: it.key.into_owned(),
            age: now.duration_since(at).as_secs_f64(),
        });
        let mut noted = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(rows);
    }

    /// Has the rows compared with the noted past: rows that it does not have are removed, if the
    /// process is `starting` and so nothing is at work, and missing rows are added. Nothing is
    /// taken before that is done; waits for it a little.
    pub(super) async fn filled(&self, room: &Room, starting: bool) {
        let rows = mem::take(&mut *self.0.past.lock().unwrap_or_else(PoisonError::into_inner));
        let budgets = Arc::clone(&room.budgets);
        let (done, compared) = oneshot::channel();
        self.0.comparing.fetch_add(1, Ordering::AcqRel);
        self.send(Message::Compare(Comparison { budgets, rows, starting, done }));
        let _ = timeout(COMPARED, compared).await;
    }

    /// How much of each budget is used, as of the last query.
    pub(super) fn uses(&self) -> Vec<Use> {
        self.0.uses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the ends of all units are in the database.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Message::Flush(done));
        let _ = flushed.await;
    }

    /// Runs `work` on a connection. If that fails or takes longer than `limit`, the connection is
    /// closed, because its state is not known then.
    async fn run<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&ClientWrapper) -> Result<T, Error>,
    ) -> Result<T, Away> {
        let deadline = Instant::now() + limit;
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let done = match timeout_at(deadline, pool.get()).await {
            Ok(Ok(client)) => match timeout_at(deadline, work(&client)).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => {
                    drop(Object::take(client));
                    Err(sql::text(&error))
                }
                Err(_) => {
                    drop(Object::take(client));
                    Err(format!("no answer in {} s", limit.as_secs()))
                }
            },
            Ok(Err(error)) => Err(connect::text(&error)),
            Err(_) => Err(format!("no connection in {} s", limit.as_secs())),
        };
        self.note(done.as_ref().err());
        done.map_err(|_| Away)
    }

    /// Logs once that the database is away, and once that it is back.
    fn note(&self, error: Option<&String>) {
        let changed = self.0.away.send_if_modified(|away| {
            let was = mem::replace(away, error.is_some());
            was != *away
        });
        match error {
            Some(error) if changed => {
                tracing::error!(error, "the database of the budgets is away; nothing is deleted");
            }
            Some(error) => tracing::debug!(error, "the database of the budgets is away"),
            None if changed => tracing::info!("the database of the budgets answers again"),
            None => (),
        }
    }

    fn send(&self, message: Message) {
        // The keeper outlives every store.
        let _ = self.0.messages.send(message);
    }

    fn unsettled<T>(&self, change: impl FnOnce(&mut HashMap<u64, Arc<str>>) -> T) -> T {
        change(&mut self.0.unsettled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
