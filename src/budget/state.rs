//! All counters of a process under one lock.
//!
//! Each version of the policies has a room of its own. A delete is checked against the room of the
//! version that judged it and counts in every room, so that a version that comes into force knows
//! what was taken while its past was read, and one that is on its way out takes nothing twice.

use super::window::{Terms, Window};
use super::{Charge, End, Past, PastEnd, SENT_WITHIN, Spent};

use crate::policy::{self, Attributes, Budget, Query};

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// How often counters that are empty are looked for.
const SWEEP: SignedDuration = SignedDuration::from_mins(1);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The newest last.
    rooms: Vec<Counters>,
    live: HashMap<u64, Live>,
    /// What counts and may be given back yet, by the decision's number.
    unsettled: HashMap<u64, Unsettled>,
    next_room: u64,
    next_unit: u64,
    next_sweep: Option<Timestamp>,
}

/// The counters for one version of the policies.
#[derive(Clone, Debug)]
struct Counters {
    id: u64,
    budgets: Arc<policy::Budgets>,
    /// By the budget's place in the list, then by key.
    windows: Vec<HashMap<Arc<str>, Window>>,
    /// Units from this one on were counted when they were taken.
    first_unit: u64,
    /// While the past is read: what has ended meanwhile, by the decision's number.
    ended: Option<HashMap<u64, Ended>>,
    /// When a newer version took its place.
    superseded: Option<Timestamp>,
}

/// What a unit is counted by.
#[derive(Clone, Debug)]
struct Counted {
    room: u64,
    budget: usize,
    key: Arc<str>,
}

#[derive(Clone, Debug)]
struct Live {
    seq: Option<u64>,
    counted: Vec<Counted>,
}

#[derive(Clone, Debug)]
struct Unsettled {
    at: Timestamp,
    counted: Vec<Counted>,
}

/// A unit that ended while the past was read.
#[derive(Clone, Copy, Debug)]
struct Ended {
    unit: u64,
    /// From when on it counts, if it does.
    kept: Option<Timestamp>,
}

/// One counter that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The budget's name.
    pub budget: Arc<str>,
    /// Whose counter.
    pub key: Arc<str>,
    /// How many units count.
    pub used: usize,
    /// How many fit in.
    pub limit: u32,
    /// When there is room again, if there is none now and that is known.
    pub room_at: Option<Timestamp>,
}

fn terms(budget: &Budget) -> Terms {
    let limit = usize::try_from(budget.share()).unwrap_or(usize::MAX);
    Terms { limit, within: budget.within() }
}

impl State {
    pub(super) fn open(&mut self, budgets: &Arc<policy::Budgets>) -> u64 {
        let id = self.next_room;
        self.next_room += 1;
        self.rooms.retain(|it| it.ended.is_none());
        self.rooms.push(Counters {
            id,
            windows: budgets.iter().map(|_| HashMap::new()).collect(),
            budgets: Arc::clone(budgets),
            first_unit: self.next_unit,
            ended: Some(HashMap::new()),
            superseded: None,
        });
        id
    }

    pub(super) fn knows(&self, budgets: u64) -> bool {
        let is_it = |it: &Counters| it.budgets.id() == budgets && it.ended.is_none();
        self.rooms.last().is_some_and(is_it)
    }

    pub(super) fn budgets(&self) -> Option<Arc<policy::Budgets>> {
        let known = self.rooms.iter().rfind(|it| it.ended.is_none());
        known.map(|it| Arc::clone(&it.budgets))
    }

    pub(super) fn is_recorded(&self, room: u64) -> bool {
        let first = self.room(room).map_or(0, |it| it.first_unit);
        self.live.iter().all(|(unit, it)| first <= *unit || it.seq.is_some())
    }

    pub(super) fn fill(&mut self, room: u64, past: &Past, now: Timestamp) {
        let Past { seq, query, attributes, end, .. } = past;
        let live = self.live.iter_mut().find(|(_, it)| it.seq == Some(*seq));
        let Some(room) = self.rooms.iter_mut().find(|it| it.id == room) else { return };
        if let Some((unit, live)) = live {
            if *unit < room.first_unit {
                let counted = room.count(query, attributes, Window::open);
                live.counted.extend(counted);
            }
            return;
        }
        let ended = room.ended.as_ref().and_then(|it| it.get(seq)).copied();
        let at = match ended {
            Some(Ended { unit, .. }) if room.first_unit <= unit => return,
            Some(Ended { kept: None, .. }) => return,
            Some(Ended { kept: Some(at), .. }) => at,
            None => end.counts_from(now),
        };
        let counted = room.keep(query, attributes, at, now);
        if matches!(end, PastEnd::Kept(_)) || counted.is_empty() {
            return;
        }
        let unsettled = Unsettled { at, counted: Vec::new() };
        self.unsettled.entry(*seq).or_insert(unsettled).counted.extend(counted);
    }

    /// Whether it is the first room that has its past.
    pub(super) fn filled(&mut self, room: u64, now: Timestamp) -> bool {
        let is_first = self.rooms.iter().all(|it| it.id == room);
        for it in &mut self.rooms {
            match it.id == room {
                true => it.ended = None,
                false => it.superseded = it.superseded.or(Some(now)),
            }
        }
        let at_work = |it: &Counters| {
            it.superseded.is_none_or(|since| now.duration_since(since) < SENT_WITHIN)
        };
        self.rooms.retain(at_work);
        is_first
    }

    pub(super) fn take(
        &mut self,
        budgets: u64,
        query: &Query,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<(u64, Vec<Charge>), Spent> {
        self.sweep(now);
        // Every version that a request can know has a room; the newest is the cautious one to ask.
        let own = self.rooms.iter().rposition(|it| it.budgets.id() == budgets);
        let own = own.or(self.rooms.len().checked_sub(1));
        let Some(room) = own.and_then(|it| self.rooms.get_mut(it)) else {
            return Ok((self.begin(Vec::new()), Vec::new()));
        };
        if let Some(spent) = room.spent(query, attributes, now) {
            return Err(spent);
        }
        let own = room.id;
        let (mut counted, mut charges) = (Vec::with_capacity(2), Vec::with_capacity(2));
        for room in &mut self.rooms {
            for it in room.count(query, attributes, Window::open) {
                if room.id == own
                    && let Some(budget) = room.budgets.iter().nth(it.budget)
                {
                    let (budget, key) = (Arc::clone(budget.name()), Arc::clone(&it.key));
                    charges.push(Charge { budget, key });
                }
                counted.push(it);
            }
        }
        Ok((self.begin(counted), charges))
    }

    /// Opens a room for these budgets unless one counts the same. Beyond `most` rooms the oldest but
    /// the first is forgotten.
    pub(super) fn know(&mut self, budgets: &Arc<policy::Budgets>, most: usize) {
        if self.rooms.iter().all(|it| it.budgets.id() != budgets.id()) {
            if most <= self.rooms.len() {
                self.rooms.remove(1);
            }
            self.open(budgets);
            if let Some(room) = self.rooms.last_mut() {
                room.ended = None;
            }
        }
    }

    /// Counts a delete in every room, whether or not there is room for it. The decision's number is
    /// the unit's here.
    pub(super) fn count(
        &mut self,
        seq: u64,
        query: &Query,
        attributes: &Attributes,
        now: Timestamp,
    ) {
        self.sweep(now);
        let rooms = self.rooms.iter_mut();
        let counted = rooms.flat_map(|it| it.count(query, attributes, Window::open)).collect();
        self.live.insert(seq, Live { seq: Some(seq), counted });
    }

    /// How many units count in the counter of `charge`, and when one more fits in if none does now.
    pub(super) fn used(
        &mut self,
        budgets: u64,
        charge: &policy::Charge<'_>,
        now: Timestamp,
    ) -> (usize, Option<Timestamp>) {
        let room = self.rooms.iter_mut().find(|it| it.budgets.id() == budgets);
        let windows = room.and_then(|it| it.windows.get_mut(charge.number));
        let Some(window) = windows.and_then(|it| it.get_mut(&*charge.key)) else {
            return (0, None);
        };
        let terms = terms(charge.budget);
        (window.used(now, terms), window.room_at(terms))
    }

    fn begin(&mut self, counted: Vec<Counted>) -> u64 {
        let unit = self.next_unit;
        self.next_unit += 1;
        self.live.insert(unit, Live { seq: None, counted });
        unit
    }

    pub(super) fn recorded(&mut self, unit: u64, seq: u64) {
        if let Some(live) = self.live.get_mut(&unit) {
            live.seq = Some(seq);
        }
    }

    pub(super) fn end(&mut self, unit: u64, end: End, now: Timestamp) {
        let Some(Live { seq, counted }) = self.live.remove(&unit) else { return };
        let kept = (end != End::GivenBack).then_some(now);
        for it in &counted {
            self.window(it, |window, terms| {
                window.close();
                if let Some(at) = kept {
                    window.keep(at, terms);
                }
            });
        }
        let Some(seq) = seq else { return };
        for room in &mut self.rooms {
            if let Some(ended) = &mut room.ended {
                ended.insert(seq, Ended { unit, kept });
            }
        }
        if end == End::Unknown {
            self.unsettled.insert(seq, Unsettled { at: now, counted });
        }
    }

    pub(super) fn settle(&mut self, seq: u64, end: End) {
        if end == End::Unknown {
            return;
        }
        let unsettled = self.unsettled.remove(&seq);
        if end == End::Kept {
            return;
        }
        if let Some(Unsettled { at, counted }) = unsettled {
            counted.iter().for_each(|it| self.window(it, |window, _| window.give_back(at)));
        }
        for room in &mut self.rooms {
            if let Some(ended) = &mut room.ended {
                // Of a unit that was counted when it was taken, the ledger's word is not asked.
                let unit = ended.get(&seq).map_or(0, |it| it.unit);
                ended.insert(seq, Ended { unit, kept: None });
            }
        }
    }

    pub(super) fn uses(&mut self, now: Timestamp) -> Vec<Use> {
        let known = self.rooms.iter().rposition(|it| it.ended.is_none());
        let known = known.or(self.rooms.len().checked_sub(1));
        let Some(room) = known.and_then(|it| self.rooms.get_mut(it)) else {
            return Vec::new();
        };
        let mut res = Vec::new();
        for (budget, windows) in room.budgets.iter().zip(&mut room.windows) {
            let terms = terms(budget);
            let start = res.len();
            for window in windows.values_mut() {
                let used = window.used(now, terms);
                if 0 < used {
                    res.push(Use {
                        budget: Arc::clone(budget.name()),
                        key: Arc::clone(&window.key),
                        used,
                        limit: budget.share(),
                        room_at: window.room_at(terms),
                    });
                }
            }
            if let Some(of_budget) = res.get_mut(start..) {
                of_budget.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        res
    }

    /// How many counters, units at work and units to be settled it holds.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize, usize) {
        let windows = self.rooms.iter().flat_map(|it| &it.windows);
        (windows.map(HashMap::len).sum(), self.live.len(), self.unsettled.len())
    }

    fn room(&self, room: u64) -> Option<&Counters> {
        self.rooms.iter().find(|it| it.id == room)
    }

    fn window(&mut self, counted: &Counted, change: impl FnOnce(&mut Window, Terms)) {
        let Some(room) = self.rooms.iter_mut().find(|it| it.id == counted.room) else { return };
        let budget = room.budgets.iter().nth(counted.budget);
        let windows = room.windows.get_mut(counted.budget);
        if let (Some(budget), Some(windows)) = (budget, windows)
            && let Some(window) = windows.get_mut(&counted.key)
        {
            change(window, terms(budget));
        }
    }

    /// Forgets counters that are empty and units that can change nothing any more.
    fn sweep(&mut self, now: Timestamp) {
        if self.next_sweep.is_some_and(|it| now < it) {
            return;
        }
        self.next_sweep = now.checked_add(SWEEP).ok();
        for room in &mut self.rooms {
            for (budget, windows) in room.budgets.iter().zip(&mut room.windows) {
                windows.retain(|_, it| 0 < it.used(now, terms(budget)));
            }
        }
        let longest = self.rooms.iter().filter_map(|it| it.budgets.within_max()).max();
        let longest = longest.unwrap_or_default();
        self.unsettled.retain(|_, it| now.duration_since(it.at) < longest);
    }
}

impl Counters {
    /// Changes every counter of a delete; says which they are.
    fn count(
        &mut self,
        query: &Query,
        attributes: &Attributes,
        change: impl Fn(&mut Window),
    ) -> Vec<Counted> {
        let Self { id, budgets, windows, .. } = self;
        let charges = budgets.charges(query, attributes).filter_map(|charge| {
            let windows = windows.get_mut(charge.number)?;
            let window = match windows.get_mut(&*charge.key) {
                Some(it) => it,
                None => {
                    let window = Window::new(&charge.key);
                    windows.entry(Arc::clone(&window.key)).or_insert(window)
                }
            };
            change(window);
            Some(Counted { room: *id, budget: charge.number, key: Arc::clone(&window.key) })
        });
        charges.collect()
    }

    /// Counts a delete of the past from `at` on, where that still matters at `now`.
    fn keep(
        &mut self,
        query: &Query,
        attributes: &Attributes,
        at: Timestamp,
        now: Timestamp,
    ) -> Vec<Counted> {
        let Self { id, budgets, windows, .. } = self;
        let charges = budgets.charges(query, attributes).filter_map(|charge| {
            let terms = terms(charge.budget);
            if terms.within <= now.duration_since(at) {
                return None;
            }
            let windows = windows.get_mut(charge.number)?;
            let key: Arc<str> = Arc::from(&*charge.key);
            let window = windows.entry(key).or_insert_with_key(|it| Window::new(it));
            window.keep(at, terms);
            Some(Counted { room: *id, budget: charge.number, key: Arc::clone(&window.key) })
        });
        charges.collect()
    }

    /// The budget that stands in the way of a delete.
    fn spent(&mut self, query: &Query, attributes: &Attributes, now: Timestamp) -> Option<Spent> {
        let Self { budgets, windows, .. } = self;
        let spent = budgets.charges(query, attributes).filter_map(|charge| {
            let window = windows.get_mut(charge.number)?.get_mut(&*charge.key)?;
            let terms = terms(charge.budget);
            (terms.limit <= window.used(now, terms)).then(|| Spent {
                budget: Arc::clone(charge.budget.name()),
                key: Arc::clone(&window.key),
                limit: charge.budget.share(),
                within: terms.within,
                room_at: window.room_at(terms),
                now,
            })
        });
        spent.max_by_key(|it| it.room_at)
    }
}
