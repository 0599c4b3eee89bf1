//! Time zones, by the names of the IANA Time Zone Database.

use crate::policy::language::suggest;

use jiff::civil::{DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

/// The built-in database, so that a name means the same on every machine.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone, compared by name.
#[derive(Clone)]
pub(in crate::policy) struct Zone {
    /// Empty for UTC without a name.
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// The zone where none is named.
    pub(in crate::policy) const UTC: Self = Self { name: String::new(), rules: TimeZone::UTC };

    /// Names are exact, letter case included: `Asia/Shanghai`.
    ///
    /// # Errors
    /// The name that may have been meant.
    pub(in crate::policy) fn named(name: &str) -> Result<Self, Option<String>> {
        let known = || DATABASE.available().map(|it| it.as_str().to_owned());
        // The database itself ignores letter case.
        match known().any(|it| it == name).then(|| DATABASE.get(name)) {
            Some(Ok(rules)) => Ok(Self { name: name.to_owned(), rules }),
            _ => {
                let all: Vec<_> = known().collect();
                Err(suggest::nearest(name, all.iter().map(String::as_str)).map(str::to_owned))
            }
        }
    }

    pub(in crate::policy) fn name(&self) -> &str {
        &self.name
    }

    /// What clock and calendar show there.
    pub(in crate::policy) fn local(&self, it: Timestamp) -> DateTime {
        self.rules.to_datetime(it)
    }

    /// When the clock shows this minute of the day, so many days after the day of `from`.
    pub(in crate::policy) fn moment(
        &self,
        from: Timestamp,
        days: i64,
        minute: i64,
    ) -> Option<Timestamp> {
        let midnight = self.local(from).date().to_datetime(Time::midnight());
        let there = midnight.checked_add(SignedDuration::from_mins(days * 1440 + minute)).ok()?;
        self.rules.to_timestamp(there).ok()
    }

    /// The moments after `from` at which the clock is set, in order.
    pub(in crate::policy) fn changes(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.rules.following(from).map(|it| it.timestamp())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_set_as_the_zones_have_it() {
        for (zone, utc, local) in [
            ("Asia/Shanghai", "2026-01-15T16:30:00Z", "2026-01-16T00:30:00"),
            ("Asia/Kolkata", "2026-01-15T12:00:00Z", "2026-01-15T17:30:00"),
            ("Europe/Berlin", "2026-01-15T12:00:00Z", "2026-01-15T13:00:00"),
            ("Europe/Berlin", "2026-07-15T12:00:00Z", "2026-07-15T14:00:00"),
            ("America/New_York", "2026-03-08T06:59:59Z", "2026-03-08T01:59:59"),
            ("America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T03:00:00"),
        ] {
            let shown = Zone::named(zone).unwrap().local(utc.parse().unwrap());
            assert_eq!(shown.to_string(), local, "{zone} {utc}");
        }
        for (name, meant) in [
            ("Asia/Shanghi", Some("Asia/Shanghai")),
            ("asia/shanghai", Some("Asia/Shanghai")),
            ("UTC+8", None),
        ] {
            let found = Zone::named(name).unwrap_err();
            assert!(meant.is_none() || found.as_deref() == meant, "{name}: {found:?}");
        }
    }
}
