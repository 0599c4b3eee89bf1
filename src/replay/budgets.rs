//! What the candidate's budgets say to what its policies allow, in order of time.
//!
//! The code of the gate counts the deletes twice: those that were recorded, and those that the candidate
//! would have allowed. A count is no proof: a record is written shortly after its unit was taken, other
//! gates may have used the same counter, and the ledger may begin later than a budget looks back. So the
//! record comes before the count. A budget that had room has room for the candidate too, if the
//! candidate's is no stricter and no more was deleted; the same holds for one without room. Where there
//! is only the count, a budget that it shows as spent is spent; one that it shows with room has room
//! only if everything that it counts was read.

use crate::budget::{End, Recount, SENT_WITHIN};
use crate::ledger::{Asked, Charged, Ended, Ending, unit_end};
use crate::policy::{self, Answer, Budget, Charge};

use jiff::{SignedDuration, Timestamp};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The deletes of one ledger.
#[derive(Debug)]
pub(super) struct Counted {
    candidate: Arc<policy::Budgets>,
    /// How many gates have a part of the recorded budgets.
    replicas: u32,
    /// What was recorded, counted by the candidate's budgets and by those of the versions that decided.
    then: Recount,
    /// What the candidate allows; `None` while that is the same.
    now: Option<Recount>,
    /// What either allows and has not ended yet, by the decision's number.
    open: BTreeMap<u64, Open>,
    /// The last batch that was read.
    batch: Option<(String, Fate)>,
    /// From then on every delete is known; `None` if all of them are.
    known_from: Option<Timestamp>,
    /// Other gates use the same counters.
    is_shared: bool,
    clock: Clock,
}

#[derive(Debug)]
struct Open {
    at: Timestamp,
    /// Only the candidate allows it.
    is_extra: bool,
    batch: Option<Fate>,
}

/// Whether all jobs of a batch were allowed, and whether the candidate allows all: one that is not
/// allowed keeps the others.
type Fate = Rc<Cell<(bool, bool)>>;

/// Time as the gate counts it: it never goes back, even if the clock is set back.
#[derive(Debug)]
struct Clock {
    now: Timestamp,
    /// How far the clock was set back.
    behind: SignedDuration,
}

/// What the candidate's budgets say to a delete that its policies allow.
#[derive(Debug)]
pub(super) enum Room {
    /// All of them have room.
    Free,
    /// This one has none.
    Spent(Arc<str>),
    /// Whether this one has room depends on deletes that were not read.
    Unknown(Arc<str>),
}

/// What was recorded of the budgets.
#[derive(Clone, Copy)]
enum Recorded<'a> {
    Free,
    /// This one had no room; `None` if its version has no budget of this name.
    Spent(Option<&'a Budget>),
    /// The policies did not allow, so no budget was asked.
    NotAsked,
}

impl Counted {
    /// For a ledger whose first record has this number and time.
    pub(super) fn new(
        candidate: &Arc<policy::Budgets>,
        replicas: u32,
        first: (u64, Timestamp),
    ) -> Self {
        let (seq, time) = first;
        let mut then = Recount::default();
        then.know(candidate);
        // What began before may have ended so much later.
        let known_from = (seq != 1).then(|| time.checked_add(SENT_WITHIN).unwrap_or(time));
        Self {
            candidate: Arc::clone(candidate),
            replicas,
            then,
            now: None,
            open: BTreeMap::new(),
            batch: None,
            known_from,
            is_shared: false,
            clock: Clock { now: time, behind: SignedDuration::ZERO },
        }
    }

    /// The time of the next record. A delete that a crash cut off counts from when its gate would count
    /// it at the latest.
    pub(super) fn at(&mut self, time: Timestamp) {
        let now = self.clock.at(time);
        while let Some(first) = self.open.first_entry()
            && let Ok(sent) = first.get().at.checked_add(SENT_WITHIN)
            && sent <= now
        {
            let (seq, open) = first.remove_entry();
            self.close(seq, End::Unknown, sent, Some((open, None)));
        }
    }

    /// What the candidate's budgets say to a delete that its policies allow, where those in force
    /// have the budgets `base`.
    pub(super) fn room(&mut self, asked: &Asked<'_>, base: &Arc<policy::Budgets>) -> Room {
        let recorded = Recorded::of(asked, base);
        if let (Recorded::Free, true) = (recorded, self.is_as_it_was(base)) {
            return Room::Free;
        }
        let candidate = Arc::clone(&self.candidate);
        let charges: Vec<_> = candidate.charges(&asked.query, &asked.attributes).collect();
        if let Recorded::Spent(Some(budget)) = recorded
            && let Some(name) = self.still_spent(&charges, budget)
        {
            return Room::Spent(name);
        }
        let is_known = self.is_known(asked, base, recorded);
        let (mut spent, mut unknown) = (None, None);
        for charge in &charges {
            let (then, now, room_at) = self.used(charge);
            let Charge { budget, .. } = charge;
            let had_room = matches!(recorded, Recorded::Free)
                && now <= then
                && base.iter().any(|it| is_no_stricter(budget, it));
            if had_room {
                continue;
            }
            let limit = usize::try_from(budget.share()).unwrap_or(usize::MAX);
            if limit <= now {
                // Like a gate, it names the one that has room last.
                spent = spent.max(Some((room_at, Arc::clone(budget.name()))));
            } else if !is_known || !self.is_read(budget.within()) {
                unknown = unknown.or_else(|| Some(Arc::clone(budget.name())));
            }
        }
        match (spent, unknown) {
            (Some((_, name)), _) => Room::Spent(name),
            // What the policies newly allow is not hidden because a budget may yet deny it.
            (None, Some(name)) if !matches!(recorded, Recorded::NotAsked) => Room::Unknown(name),
            (None, _) => Room::Free,
        }
    }

    /// Counts the decision number `seq` as it was recorded, and as the candidate answers it.
    pub(super) fn take(
        &mut self,
        seq: u64,
        asked: &Asked<'_>,
        base: Option<&Arc<policy::Budgets>>,
        allows: bool,
    ) {
        if let Some(base) = base {
            self.then.know(base);
        }
        let allowed = asked.result == Answer::Allow;
        if allowed && !asked.charges.is_empty() {
            self.is_shared = asked.is_shared;
        }
        if allowed != allows {
            self.now.get_or_insert_with(|| self.then.clone());
        }
        let batch = asked.batch.as_deref().map(|it| self.fate(it, allowed, allows));
        let (query, attributes, at) = (&asked.query, &asked.attributes, self.clock.now);
        if allowed {
            self.then.take(seq, query, attributes, at);
        }
        if let Some(now) = self.now.as_mut().filter(|_| allows) {
            now.take(seq, query, attributes, at);
        }
        if allowed || allows {
            self.open.insert(seq, Open { at, is_extra: !allowed, batch });
        }
    }

    /// A decision has ended, or was settled.
    pub(super) fn end(&mut self, it: Ended) {
        let open = self.open.remove(&it.of).map(|open| (open, Some(it.result)));
        self.close(it.of, unit_end(it.result, it.status), self.clock.now, open);
    }

    fn close(&mut self, seq: u64, end: End, at: Timestamp, open: Option<(Open, Option<Ending>)>) {
        self.then.end(seq, end, at);
        let Some(now) = &mut self.now else { return };
        let end = match open {
            Some((Open { is_extra, batch, .. }, ending)) => {
                let (allowed, allows) = batch.map_or((true, true), |it| it.get());
                let was_kept_back = !allowed && ending == Some(Ending::NotSent);
                match () {
                    () if !allows => End::GivenBack,
                    // Of what only the candidate allows, assume that the cloud accepts it.
                    () if is_extra || was_kept_back => End::Kept,
                    () => end,
                }
            }
            None => end,
        };
        now.end(seq, end, at);
    }

    fn fate(&mut self, batch: &str, allowed: bool, allows: bool) -> Fate {
        let fate = match &self.batch {
            Some((id, fate)) if id == batch => Rc::clone(fate),
            _ => {
                let fate = Rc::new(Cell::new((true, true)));
                self.batch = Some((batch.to_owned(), Rc::clone(&fate)));
                fate
            }
        };
        let (then, now) = fate.get();
        fate.set((then && allowed, now && allows));
        fate
    }

    /// The candidate has the budgets `base`, and has allowed what was allowed.
    fn is_as_it_was(&self, base: &policy::Budgets) -> bool {
        self.now.is_none() && self.candidate.id() == base.id()
    }

    /// The candidate's budget that has no room because `budget`, which is no stricter, had none.
    fn still_spent(&mut self, charges: &[Charge<'_>], budget: &Budget) -> Option<Arc<str>> {
        let own = charges.iter().find(|it| is_no_stricter(budget, it.budget))?;
        // Of a job with several pools it is not known which one had no room.
        let mut keys = charges.iter().filter(|it| it.number == own.number);
        let is_spent = keys.all(|it| {
            let (then, now, _) = self.used(it);
            then <= now
        });
        is_spent.then(|| Arc::clone(own.budget.name()))
    }

    /// How many units count in a counter of the candidate, by the record and by the candidate's
    /// answers; and when there is room again.
    fn used(&mut self, charge: &Charge<'_>) -> (usize, usize, Option<Timestamp>) {
        let Self { candidate, then, now, clock, .. } = self;
        let (then, room_at) = then.used(candidate, charge, clock.now);
        match now {
            Some(now) => {
                let (now, room_at) = now.used(candidate, charge, clock.now);
                (then, now, room_at)
            }
            None => (then, then, room_at),
        }
    }

    /// If a budget had no room, whether the deletes that were read explain it.
    fn is_known(
        &mut self,
        asked: &Asked<'_>,
        base: &policy::Budgets,
        recorded: Recorded<'_>,
    ) -> bool {
        let Recorded::Spent(budget) = recorded else { return true };
        let Some(budget) = budget else { return false };
        let share = usize::try_from(budget.deletes() / self.replicas.max(1)).unwrap_or(usize::MAX);
        let charges = base.charges(&asked.query, &asked.attributes);
        let mut own = charges.filter(|it| it.budget.name() == budget.name());
        own.any(|it| share <= self.then.used(base, &it, self.clock.now).0)
    }

    /// Whether every delete of that time was read.
    fn is_read(&self, within: SignedDuration) -> bool {
        let start = self.clock.now.checked_sub(within).unwrap_or(Timestamp::MIN);
        !self.is_shared && self.known_from.is_none_or(|it| it <= start)
    }
}

impl Clock {
    fn at(&mut self, time: Timestamp) -> Timestamp {
        let now = time.checked_add(self.behind).unwrap_or(time);
        if now < self.now {
            self.behind += self.now.duration_since(now);
        }
        self.now = self.now.max(now);
        self.now
    }
}

impl<'a> Recorded<'a> {
    fn of(asked: &Asked<'_>, base: &'a policy::Budgets) -> Self {
        match (asked.result, &asked.budget) {
            (Answer::Allow, _) => Self::Free,
            (_, Some(name)) => Self::Spent(base.iter().find(|it| **it.name() == **name)),
            (_, None) => Self::NotAsked,
        }
    }
}

/// Both count the same deletes, and where `budget` has no room `other` has none either.
fn is_no_stricter(budget: &Budget, other: &Budget) -> bool {
    budget.scope() == other.scope()
        && budget.within() <= other.within()
        && other.deletes() <= budget.deletes()
}

/// Its version has the budget that had no room, and that budget counts the delete.
pub(super) fn could_deny(asked: &Asked<'_>, base: &policy::Budgets) -> bool {
    let mut charges = base.charges(&asked.query, &asked.attributes);
    asked.budget.as_deref().is_some_and(|name| charges.any(|it| **it.budget.name() == *name))
}

/// The counters of an allow are those that its version's budgets say.
pub(super) fn are_charges_of(asked: &Asked<'_>, base: &policy::Budgets) -> bool {
    let mut count = 0;
    let are_there = base.charges(&asked.query, &asked.attributes).all(|charge| {
        count += 1;
        let is_it = |it: &Charged<'_>| it.budget == **charge.budget.name() && it.key == charge.key;
        asked.charges.iter().any(is_it)
    });
    are_there && count == asked.charges.len()
}
