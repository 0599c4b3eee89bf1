//! One counter: the deletes of one key of one budget.

use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many units beyond its limit a window remembers, for those that may be given back yet. More
/// than that are there only after a limit was lowered.
const BEYOND: usize = 4096;

/// What counts now. A unit that is being worked on counts whatever its age, because its delete may
/// yet arrive; the others count from when their work ended, after which nothing can arrive.
///
/// Eight to sixteen bytes for each delete of the time that the budget looks back, and for no more
/// of them than the limit and [`BEYOND`].
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) key: Arc<str>,
    /// Oldest first.
    kept: VecDeque<Timestamp>,
    open: usize,
}

/// How far and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) limit: usize,
    pub(super) within: SignedDuration,
}

impl Window {
    pub(super) fn new(key: &str) -> Self {
        Self { key: Arc::from(key), kept: VecDeque::new(), open: 0 }
    }

    /// How many units count at `now`. What has left the window is forgotten.
    pub(super) fn used(&mut self, now: Timestamp, terms: Terms) -> usize {
        let left = |it: &Timestamp| now.duration_since(*it) >= terms.within;
        while self.kept.front().is_some_and(left) {
            self.kept.pop_front();
        }
        self.kept.len() + self.open
    }

    /// When a unit fits in again, if none does now; nothing if units that are being worked on are
    /// in the way, which end soon.
    pub(super) fn room_at(&self, terms: Terms) -> Option<Timestamp> {
        let used = self.kept.len() + self.open;
        let leaving = used.checked_sub(terms.limit)?;
        // An overflow is far beyond any time that is waited for.
        self.kept.get(leaving)?.checked_add(terms.within).ok()
    }

    /// A unit is taken for work that begins.
    pub(super) fn open(&mut self) {
        self.open += 1;
    }

    /// The work of a unit has ended, and the unit is given back or counts on.
    pub(super) fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A unit counts from `at`.
    pub(super) fn keep(&mut self, at: Timestamp, terms: Terms) {
        // Only the past is counted in another order.
        if self.kept.back().is_none_or(|it| *it <= at) {
            self.kept.push_back(at);
        } else {
            let place = self.kept.partition_point(|it| *it <= at);
            self.kept.insert(place, at);
        }
        if terms.limit + BEYOND < self.kept.len() {
            self.kept.pop_front();
        }
    }

    /// A unit that counted from `at` is given back.
    pub(super) fn give_back(&mut self, at: Timestamp) {
        if let Ok(place) = self.kept.binary_search(&at) {
            self.kept.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const WITHIN: i64 = 10;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn terms(limit: usize) -> Terms {
        Terms { limit, within: SignedDuration::from_secs(WITHIN) }
    }

    #[test]
    fn a_window_slides() {
        let mut window = Window::new("k");
        for second in [5, 1, 3] {
            window.keep(at(second), terms(3));
        }
        for (now, used, room) in
            [(5, 3, Some(11)), (10, 3, Some(11)), (11, 2, None), (13, 1, None), (15, 0, None)]
        {
            assert_eq!(window.used(at(now), terms(3)), used, "at {now}");
            assert_eq!(window.room_at(terms(3)), room.map(at), "at {now}");
        }
    }

    #[test]
    fn room_comes_when_enough_have_left() {
        let mut window = Window::new("k");
        (1..=5).for_each(|it| window.keep(at(it), terms(9)));
        // The limit was lowered to two: four must leave before one fits in.
        assert_eq!(window.room_at(terms(2)), Some(at(4 + WITHIN)));
        window.open();
        assert_eq!(window.room_at(terms(2)), Some(at(5 + WITHIN)));
        window.open();
        assert_eq!(window.room_at(terms(2)), None);
    }

    #[test]
    fn memory_is_bounded_when_a_limit_was_lowered() {
        let mut window = Window::new("k");
        for second in 0..20_000 {
            window.keep(at(second), terms(10));
        }
        assert_eq!(window.kept.len(), 10 + BEYOND);
        assert_eq!(window.kept.back(), Some(&at(19_999)));
    }

    proptest! {
        /// The same as counting a list.
        #[test]
        fn a_window_counts_like_a_list(
            steps in prop::collection::vec((0..3_u8, 0..4_i64), 1..200),
            limit in 1..5_usize,
        ) {
            let (mut window, mut list, mut open) = (Window::new("k"), Vec::new(), 0_usize);
            let mut now = 0;
            for (step, more) in steps {
                now += more;
                match step {
                    0 => {
                        window.open();
                        open += 1;
                    }
                    1 if 0 < open => {
                        window.close();
                        window.keep(at(now), terms(limit));
                        open -= 1;
                        list.push(now);
                    }
                    2 if !list.is_empty() => window.give_back(at(list.pop().unwrap())),
                    _ => (),
                }
                let used = open + list.iter().filter(|it| now - **it < WITHIN).count();
                prop_assert_eq!(window.used(at(now), terms(limit)), used);
                // There is room exactly from the time that was told.
                if limit <= used && let Some(room) = window.room_at(terms(limit)) {
                    let used_at = |now: i64| {
                        open + list.iter().filter(|it| now - **it < WITHIN).count()
                    };
                    prop_assert!(used_at(room.as_second()) < limit);
                    prop_assert!(limit <= used_at(room.as_second() - 1));
                }
            }
        }
    }
}
