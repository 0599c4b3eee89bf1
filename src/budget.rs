//! Counts what the budgets of the policies allow, and says no when there is no room.
//!
//! A delete that the policies allow takes one unit of every budget that fits it before it is
//! recorded: [`Budgets::take`]. The [`Unit`] is given back when nothing was deleted, in whatever way
//! the work ends, and counts on otherwise. The ledger is the counter that outlives the process:
//! [`Budgets::open`] makes room for a version of the policies, and [`Budgets::fill`] counts into it
//! what the ledger says of the past.

mod postgres;
mod recount;
mod state;
#[cfg(test)]
mod tests;
mod window;

pub use self::postgres::{Config, ConfigError};
pub use self::recount::Recount;
pub use self::state::Use;

use self::postgres::Store;
use self::state::State;

use crate::policy::{self, Attributes, Query};

use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The longest time between the record of a decision and the last byte of its delete. A delete that
/// a crash cut off counts as sent no later than this.
pub const SENT_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The counters of one process; clones count together.
#[derive(Clone, Debug)]
pub struct Budgets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    time: Time,
    state: Mutex<State>,
    /// Counts instead of `state` where several processes share the budgets.
    store: Option<Store>,
}

/// Time that no change of the clock moves.
#[derive(Debug)]
struct Time {
    base: Timestamp,
    /// Nothing where it stands still.
    since: Option<Instant>,
}

/// The counters for one version of the policies.
#[derive(Clone, Debug)]
pub struct Room {
    id: u64,
    budgets: Arc<policy::Budgets>,
}

/// One delete that counts, while it is worked on. Dropping it gives the units back.
#[derive(Debug)]
#[must_use = "dropped, it is given back"]
pub struct Unit {
    charges: Vec<Charge>,
    /// Until it has ended; `None` without a row in the database too.
    held: Option<Held>,
}

#[derive(Debug)]
enum Held {
    Counter { id: u64, shared: Arc<Shared> },
    Row { id: Arc<str>, seq: Option<u64>, store: Store },
}

/// A counter from which a unit was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The budget's name.
    pub budget: Arc<str>,
    /// Whose counter.
    pub key: Arc<str>,
}

/// The fullest counter of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fullest {
    /// The budget's name.
    pub budget: Arc<str>,
    /// How many units count.
    pub used: u32,
    /// How many units fit in.
    pub limit: u32,
}

/// Why there is no unit. Nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The database that holds the counters is away or slow.
    Away,
    /// A budget has no room.
    Spent(Spent),
}

/// The database that holds the counters is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Away;

/// A budget without room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The budget without room; of several, the one that has room last.
    pub budget: Arc<str>,
    /// Whose counter.
    pub key: Arc<str>,
    /// How many deletes fit in.
    pub limit: u32,
    /// How far the budget looks back.
    pub within: SignedDuration,
    /// When there is room again; `None` while only deletes in progress fill it.
    pub room_at: Option<Timestamp>,
    /// The present time, by the clock that counts.
    pub now: Timestamp,
}

/// How the work of a unit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was deleted.
    GivenBack,
    /// The delete was accepted, or may have been.
    Kept,
    /// Nobody knows yet: it counts until [`Budgets::settle`] says otherwise.
    Unknown,
}

/// A delete of the past, as the ledger tells it.
#[derive(Clone, Debug)]
pub struct Past {
    /// The decision's number.
    pub seq: u64,
    /// Its row in a shared database, if it took one.
    pub unit: Option<String>,
    /// What was asked.
    pub query: Query,
    /// What was known of the job.
    pub attributes: Attributes,
    /// How it ended.
    pub end: PastEnd,
}

/// What the ledger says of the end of a delete that was not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastEnd {
    /// It has no outcome, and was recorded at this time.
    Open(Timestamp),
    /// It ended at this time and counts.
    Kept(Timestamp),
    /// It ended at this time, and how is not settled.
    Unknown(Timestamp),
}

impl PastEnd {
    /// From when on it counts, seen at `now`.
    #[must_use]
    pub fn counts_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Kept(at) | Self::Unknown(at) => at,
            // If the sum overflows, `now` is earlier.
            Self::Open(at) => at.checked_add(SENT_WITHIN).map_or(now, |it| it.min(now)),
        }
    }
}

impl Room {
    /// What is counted in it.
    #[must_use]
    pub fn budgets(&self) -> &policy::Budgets {
        &self.budgets
    }

    /// From when on the past matters to it; `None` if it has no budgets.
    #[must_use]
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        let within = self.budgets.within_max()?;
        Some(now.checked_sub(within).unwrap_or(Timestamp::MIN))
    }
}

impl Spent {
    /// When there is room again, in whole seconds, rounded up; `None` while only deletes in
    /// progress fill it.
    #[must_use]
    pub fn room_at(&self) -> Option<Timestamp> {
        let room_at = self.room_at?;
        let up = i64::from(room_at.subsec_nanosecond() > 0);
        Timestamp::from_second(room_at.as_second() + up).ok()
    }

    /// The seconds until there is room again, rounded up.
    #[must_use]
    pub fn seconds_to_room(&self) -> Option<u64> {
        let wait = self.room_at?.duration_since(self.now);
        let up = i64::from(wait.subsec_nanos() > 0);
        u64::try_from(wait.as_secs().saturating_add(up).max(1)).ok()
    }
}

/// Which budget is spent, for whom, and how much it allows.
impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, key, limit, within, .. } = self;
        write!(f, "the budget `{budget}` is spent: {limit} deletes within {within:#}")?;
        match policy::whose(key) {
            Some(key) => write!(f, " for `{key}`"),
            None => Ok(()),
        }
    }
}

impl Budgets {
    /// Counts in memory from `now` on, by a clock that nobody can set. At the start of a process
    /// `now` should be the wall clock's time, but not before the last record's.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self::with(now, Some(Instant::now()), None)
    }

    /// Counts in memory with the time standing still at `now`.
    #[must_use]
    pub fn standing(now: Timestamp) -> Self {
        Self::with(now, None, None)
    }

    /// Counts in a database, together with all others that use it. `holder` is the ledger's ID.
    ///
    /// # Errors
    /// The database cannot be used. It is not an error that it is away.
    pub async fn shared(now: Timestamp, config: Config, holder: &str) -> Result<Self, ConfigError> {
        let store = Store::start(config, holder).await?;
        Ok(Self::with(now, Some(Instant::now()), Some(store)))
    }

    fn with(now: Timestamp, since: Option<Instant>, store: Option<Store>) -> Self {
        let time = Time { base: now, since };
        Self(Arc::new(Shared { time, state: Mutex::default(), store }))
    }

    /// Begins to count for a version of the policies that is not in force yet. Its counters are
    /// empty but for what is taken from now on; [`Budgets::fill`] adds the past. A room whose past was
    /// not completed is given up.
    #[must_use]
    pub fn open(&self, budgets: &Arc<policy::Budgets>) -> Room {
        if let Some(store) = &self.0.store {
            store.begin();
        }
        let id = self.lock().open(budgets);
        Room { id, budgets: Arc::clone(budgets) }
    }

    /// The newest version has these budgets, and its past is known.
    #[must_use]
    pub fn knows(&self, budgets: &policy::Budgets) -> bool {
        self.lock().knows(budgets.id())
    }

    /// Returns whether every unit that was taken before `room` was opened is recorded or has ended:
    /// what the ledger says from now on holds them all.
    #[must_use]
    pub fn is_recorded(&self, room: &Room) -> bool {
        self.lock().is_recorded(room.id)
    }

    /// Counts a delete of the past into `room`.
    pub fn fill(&self, room: &Room, past: &Past) {
        let now = self.now();
        match &self.0.store {
            Some(store) => store.fill(room, past, now),
            None => self.lock().fill(room.id, past, now),
        }
    }

    /// The past of `room` is complete. Rooms that were in force before are forgotten after a while:
    /// requests that were judged by their version may still be at work. Where a database counts,
    /// nothing is taken until it has the whole past; waits for that a little.
    pub async fn filled(&self, room: &Room) {
        let now = self.now();
        let first = self.lock().filled(room.id, now);
        if let Some(store) = &self.0.store {
            store.filled(room, first).await;
        }
    }

    /// Takes a unit of every one of `budgets` that fits.
    ///
    /// # Errors
    /// Nothing is taken then.
    pub async fn take(
        &self,
        budgets: &policy::Budgets,
        query: &Query,
        attributes: &Attributes,
    ) -> Result<Unit, Refused> {
        if let Some(store) = &self.0.store {
            let (id, charges) = Box::pin(store.take(budgets, query, attributes)).await?;
            let held =
                (!charges.is_empty()).then(|| Held::Row { id, seq: None, store: store.clone() });
            return Ok(Unit { charges, held });
        }
        let now = self.now();
        let taken = self.lock().take(budgets.id(), query, attributes, now);
        let (id, charges) = taken.map_err(Refused::Spent)?;
        Ok(Unit { charges, held: Some(Held::Counter { id, shared: Arc::clone(&self.0) }) })
    }

    /// Whether units can be taken: the database, if one counts, answered the last time.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.store.as_ref().is_none_or(|it| !it.is_away())
    }

    /// Waits until all that has ended is in the database, if one counts.
    pub async fn flush(&self) {
        if let Some(store) = &self.0.store {
            store.flush().await;
        }
    }

    /// Says how a delete ended, in this process or an earlier one, that had ended as
    /// [`End::Unknown`]; `seq` is the number of its decision.
    pub fn settle(&self, seq: u64, end: End) {
        match &self.0.store {
            Some(store) => store.settle(seq, end),
            None => self.lock().settle(seq, end),
        }
    }

    /// How much of each budget of the newest version with a past is used, in the order of the file.
    #[must_use]
    pub fn uses(&self) -> Vec<Use> {
        match &self.0.store {
            Some(store) => store.uses(),
            None => self.lock().uses(self.now()),
        }
    }

    /// The fullest counter of each budget of the newest version, in the order of the file.
    #[must_use]
    pub fn fullest(&self) -> Vec<Fullest> {
        let Some(budgets) = self.lock().budgets() else { return Vec::new() };
        let uses = self.uses();
        let fullest = |budget: &policy::Budget| {
            let of_budget = uses.iter().filter(|it| it.budget == *budget.name());
            let used = of_budget.map(|it| it.used).max().unwrap_or_default();
            let used = u32::try_from(used).unwrap_or(u32::MAX);
            Fullest { budget: Arc::clone(budget.name()), used, limit: budget.share() }
        };
        budgets.iter().map(fullest).collect()
    }

    /// The time by which deletes count.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.time.now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Time {
    fn now(&self) -> Timestamp {
        let passed = self.since.map(|it| it.elapsed()).unwrap_or_default();
        let passed = SignedDuration::try_from(passed).unwrap_or_default();
        self.base.checked_add(passed).unwrap_or(self.base)
    }
}

impl Unit {
    /// What it was taken of, for the record.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Its row in a shared database, for the record.
    #[must_use]
    pub fn row(&self) -> Option<&str> {
        match &self.held {
            Some(Held::Row { id, .. }) => Some(id),
            Some(Held::Counter { .. }) | None => None,
        }
    }

    /// The decision is recorded under the number `number`.
    pub fn recorded(&mut self, number: u64) {
        match &mut self.held {
            Some(Held::Counter { id, shared }) => shared.lock().recorded(*id, number),
            Some(Held::Row { seq, .. }) => *seq = Some(number),
            None => (),
        }
    }

    /// The work has ended.
    pub fn end(mut self, end: End) {
        self.close(end);
    }

    fn close(&mut self, end: End) {
        match self.held.take() {
            Some(Held::Counter { id, shared }) => {
                let now = shared.time.now();
                shared.lock().end(id, end, now);
            }
            Some(Held::Row { id, seq, store }) => store.ended(id, seq, end),
            None => (),
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.close(End::GivenBack);
    }
}
