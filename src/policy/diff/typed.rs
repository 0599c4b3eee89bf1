//! Values with an order or a range: those that the policies name cut the others into finitely many
//! classes.

use super::automaton::Step;
use crate::policy::language::value;
use crate::policy::language::value::Decimal;
use crate::policy::language::zone::Zone;

use ipnet::IpNet;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The values that the policies name for one variable that is not text, or is read as something
/// else.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts {
    pub(super) numbers: BTreeSet<Decimal<'static>>,
    pub(super) dates: BTreeSet<SignedDuration>,
    pub(super) ranges: BTreeSet<IpNet>,
    /// Questions about clock and calendar, by time zone.
    pub(super) clocks: BTreeMap<Zone, Clock>,
    pub(super) reads: Reads,
}

/// Questions about the clock and calendar of one time zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// The named times of day, as numbers.
    pub(super) times: BTreeSet<Decimal<'static>>,
    /// The day of the week is asked for.
    pub(super) days: bool,
}

/// What a text is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) addresses: bool,
    pub(super) booleans: bool,
    pub(super) dates: bool,
    pub(super) numbers: bool,
}

/// How a text reads: its place among the named values, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reading {
    number: Option<usize>,
    date: Option<usize>,
    address: Option<Vec<bool>>,
    boolean: Option<bool>,
}

impl Reads {
    pub(super) fn anything(self) -> bool {
        self != Self::default()
    }
}

impl Cuts {
    pub(super) fn read(&self, text: &str) -> Reading {
        let Reads { addresses, booleans, dates, numbers } = self.reads;
        let number = Decimal::parse(text).filter(|_| numbers);
        let date = value::date(text).filter(|_| dates);
        let address = value::address(text).filter(|_| addresses);
        Reading {
            number: number.map(|it| place(&self.numbers, |other| other.cmp(&it))),
            date: date.map(|it| place(&self.dates, |other| other.cmp(&it))),
            address: address.map(|it| self.within(it)),
            boolean: value::boolean(text).filter(|_| booleans),
        }
    }

    fn within(&self, address: IpAddr) -> Vec<bool> {
        self.ranges.iter().map(|it| it.contains(&address)).collect()
    }

    /// Texts that read as everything that texts can read as, most of them spelt in several ways.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut res = Vec::new();
        if self.reads.numbers {
            for it in numbers(&self.numbers) {
                let (sign, digits) = match it.strip_prefix('-') {
                    Some(digits) => ("-", digits),
                    None => ("", it.as_str()),
                };
                let point = if it.contains('.') { "" } else { "." };
                res.push(format!("{sign}0{digits}"));
                res.push(format!("{it}{point}0"));
                res.push(format!("{sign}00{digits}{point}00"));
                res.push(it);
            }
        }
        if self.reads.dates {
            // Dates in texts may lie a little beyond the times of requests.
            let named = self.dates.iter().flat_map(|it| {
                let steps = [0, 1, -1].map(SignedDuration::from_nanos);
                steps.map(|by| it.checked_add(by).and_then(|it| EPOCH.checked_add(it).ok()))
            });
            let noon = DateTime::constant(2026, 1, 15, 12, 0, 0, 0);
            for it in [noon].into_iter().chain(named.flatten()) {
                res.push(format!("{it}+00:00"));
                res.push(format!("{it}Z"));
            }
        }
        if self.reads.addresses {
            res.extend(self.addresses().iter().map(ToString::to_string));
        }
        if self.reads.booleans {
            // All spellings, so that nothing stays open.
            for word in ["true", "false"] {
                for upper in 0..1_u8 << word.len() {
                    let letter = |(at, it): (usize, char)| match upper >> at & 1 {
                        0 => it,
                        _ => it.to_ascii_uppercase(),
                    };
                    res.push(word.chars().enumerate().map(letter).collect());
                }
            }
        }
        res
    }

    /// A whole number of every class.
    pub(super) fn integers(&self) -> Vec<i64> {
        let near = self.numbers.iter().filter_map(|it| {
            let text = it.to_string();
            text.split('.').next().and_then(|it| it.parse::<i64>().ok())
        });
        let steps = |it: i64| [0, 1, -1].map(|by| it.checked_add(by));
        let near: Vec<_> = near.flat_map(steps).flatten().collect();
        let all = [86_400].into_iter().chain(near);
        let class = |it: &i64| place(&self.numbers, |other| other.compare_integer(*it).reverse());
        unique(all, class)
    }

    /// An address of every class.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = vec![
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::UNSPECIFIED.into(),
            // After the IPv4 addresses in IPv6 form, which are IPv4 addresses.
            Ipv6Addr::from_bits(1 << 48).into(),
        ];
        for range in &self.ranges {
            all.push(range.network());
            let behind: Option<IpAddr> = match range.broadcast() {
                IpAddr::V4(it) => {
                    it.to_bits().checked_add(1).map(|it| Ipv4Addr::from_bits(it).into())
                }
                IpAddr::V6(it) => {
                    it.to_bits().checked_add(1).map(|it| Ipv6Addr::from_bits(it).into())
                }
            };
            all.extend(behind);
        }
        let all = all.into_iter().map(|it| it.to_canonical());
        unique(all, |it| (it.is_ipv4(), self.within(*it)))
    }

    /// A time of every class. Between two named instants clocks and calendar repeat themselves:
    /// within nine days, with the offsets of each time of the year, they show everything that they
    /// ever show, as long as zones keep their rules.
    pub(super) fn instants(&self) -> Vec<Timestamp> {
        let named: Vec<_> =
            self.dates.iter().filter_map(|it| Timestamp::from_duration(*it).ok()).collect();
        let noon = Timestamp::constant(1_768_478_400, 0);
        let long_before = named.first().and_then(|it| it.checked_sub(days(30)).ok());
        let just_after =
            named.iter().filter_map(|it| it.checked_add(SignedDuration::from_nanos(1)).ok());
        let from: Vec<_> = [noon].into_iter().chain(long_before).chain(just_after).collect();
        let mut all = [from.clone(), named].concat();
        for from in from.into_iter().flat_map(|it| self.windows(it)) {
            for (zone, clock) in &self.clocks {
                for (day, minute) in
                    (-1..=8).flat_map(|day| minutes(&clock.times).map(move |it| (day, it)))
                {
                    all.extend(zone.moment(from, day, minute));
                }
            }
        }
        // Times after the next named instant belong to its class and do no harm.
        unique(all.into_iter(), |it| self.class(*it))
    }

    /// The starts of the periods to examine: `from`, and every time that a clock is set in the year
    /// after.
    fn windows(&self, from: Timestamp) -> Vec<Timestamp> {
        let end = from.checked_add(days(366)).unwrap_or(Timestamp::MAX);
        let changes = self.clocks.keys().flat_map(|it| it.changes(from).take_while(|it| *it < end));
        [from].into_iter().chain(changes).collect()
    }

    /// The class of an instant: its place among the named values.
    fn class(&self, it: Timestamp) -> (usize, Vec<(usize, Option<i8>)>) {
        let date = place(&self.dates, |other| other.cmp(&it.as_duration()));
        let shown = self.clocks.iter().map(|(zone, clock)| {
            let local = zone.local(it);
            let time = i64::from(local.hour()) * 100 + i64::from(local.minute());
            let time = place(&clock.times, |other| other.compare_integer(time).reverse());
            (time, clock.days.then(|| local.weekday().to_monday_one_offset()))
        });
        (date, shown.collect())
    }
}

/// The first minute of the day of every class.
fn minutes(clock: &BTreeSet<Decimal<'static>>) -> impl Iterator<Item = i64> + use<> {
    let class = |it: &i64| {
        let time = it / 60 * 100 + it % 60;
        place(clock, |other| other.compare_integer(time).reverse())
    };
    unique(0..24 * 60, class).into_iter()
}

impl Reading {
    /// The shape of the texts that can read like this; `None` if all of them are known.
    pub(super) fn shape(&self) -> Option<Step> {
        match self {
            Self { number: Some(_), .. } => Some(number_step),
            Self { date: Some(_), .. } => Some(|_, it| {
                matches!(it, '0'..='9' | '-' | ':' | '.' | '+' | 'T' | 'Z').then_some((0, true))
            }),
            Self { address: Some(_), .. } => Some(|_, it| {
                (it.is_ascii_hexdigit() || matches!(it, '.' | ':')).then_some((0, true))
            }),
            _ => None,
        }
    }
}

/// `-?digits(.digits)?`
pub(super) fn number_step(place: u8, letter: char) -> Option<(u8, bool)> {
    match (place, letter) {
        (0, '-') => Some((1, false)),
        (0..=2, '0'..='9') => Some((2, true)),
        (2, '.') => Some((3, false)),
        (3 | 4, '0'..='9') => Some((4, true)),
        _ => None,
    }
}

/// The place of a value among the named ones, which `compare` compares with it: on one of them or
/// between two.
fn place<T>(named: &BTreeSet<T>, compare: impl Fn(&T) -> std::cmp::Ordering) -> usize {
    named
        .iter()
        .map(|it| match compare(it) {
            std::cmp::Ordering::Less => 2,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Greater => 0,
        })
        .sum()
}

fn days(it: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * it)
}

/// The first of each class.
fn unique<T, K: Eq + std::hash::Hash>(
    them: impl Iterator<Item = T>,
    class: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut seen = HashSet::new();
    them.filter(|it| seen.insert(class(it))).collect()
}

/// Numbers on, between and outside the named ones.
fn numbers(named: &BTreeSet<Decimal<'static>>) -> Vec<String> {
    let texts: Vec<_> = named.iter().map(ToString::to_string).collect();
    let longest = texts.iter().map(String::len).max().unwrap_or(0);
    let far = "9".repeat(longest + 1);
    let mut res = vec!["0".to_owned(), "7".to_owned(), far.clone(), format!("-{far}")];
    for text in texts {
        // Only so much further from zero that no other lies between.
        let point = if text.contains('.') { "" } else { "." };
        res.push(format!("{text}{point}{}1", "0".repeat(longest)));
        res.push(text);
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(numbers: &[&str], dates: &[&str], ranges: &[&str]) -> Cuts {
        Cuts {
            numbers: numbers.iter().map(|it| Decimal::parse(it).unwrap().into_owned()).collect(),
            dates: dates.iter().map(|it| value::date(it).unwrap()).collect(),
            ranges: ranges.iter().map(|it| value::range(it).unwrap()).collect(),
            clocks: BTreeMap::new(),
            reads: Reads { addresses: true, booleans: true, dates: true, numbers: true },
        }
    }

    #[test]
    fn whole_numbers_lie_on_and_between() {
        let found = |numbers: &[&str]| {
            let mut res = cuts(numbers, &[], &[]).integers();
            res.sort_unstable();
            res
        };
        assert_eq!(found(&[]), [86_400]);
        assert_eq!(found(&["5"]), [4, 5, 86_400]);
        assert_eq!(found(&["5", "5.5", "6", "8"]), [4, 5, 6, 7, 8, 86_400]);
        assert_eq!(found(&["-0.5", "0"]), [-1, 0, 86_400]);
        assert_eq!(found(&["9223372036854775807"]), [86_400, i64::MAX]);
    }

    #[test]
    fn texts_read_as_everything() {
        let numbers = ["-5", "-4.5", "0.25", "5", "5.5", "1000000000000000000000"];
        let dates = ["2026-01-15T12:00:00Z", "2026-01-16T00:00:00Z"];
        let cuts = cuts(&numbers, &dates, &["10.0.0.0/8", "10.0.0.0/16", "fd00::/8"]);
        let readings: HashSet<_> = cuts.texts().iter().map(|it| cuts.read(it)).collect();
        let count = |of: fn(&Reading) -> bool| readings.iter().filter(|it| of(it)).count();
        assert_eq!(count(|it| it.number.is_some()), 2 * numbers.len() + 1);
        assert!(2 * dates.len() < count(|it| it.date.is_some()));
        // Of one range, of two, of the other, of none.
        assert_eq!(count(|it| it.address.is_some()), 4);
        assert_eq!(count(|it| it.boolean.is_some()), 2);
    }

    /// Every quarter of an hour of three weeks around the named instants is of a class that is there,
    /// and so is every one of a year in zones that set their clocks.
    #[test]
    fn instants_are_complete() {
        let utc = "";
        for (dates, clocks, start, weeks) in [
            (&[][..], &[(utc, &["930", "1800"][..])][..], "2026-01-05T00:00:00Z", 3),
            (
                &["2026-01-15T12:00:00Z"],
                &[(utc, &["0", "1200.5", "2359"])],
                "2026-01-05T00:00:00Z",
                3,
            ),
            (
                &["2026-01-15T12:00:00Z", "2026-01-16T00:30:00Z"],
                &[(utc, &["1200"])],
                "2026-01-05T00:00:00Z",
                3,
            ),
            (
                &["2026-01-15T12:00:00Z", "2026-01-15T12:00:00.000000001Z"],
                &[],
                "2026-01-05T00:00:00Z",
                3,
            ),
            (
                &[],
                &[("Asia/Shanghai", &["900", "1700"]), ("Europe/Berlin", &["1000"])],
                "2026-01-16T00:00:00Z",
                51,
            ),
            (
                &["2026-06-01T00:00:00Z"],
                &[("America/New_York", &["30", "230"]), (utc, &["400"]), ("Asia/Kolkata", &[])],
                "2026-05-05T00:00:00Z",
                50,
            ),
        ] {
            let mut cuts = cuts(&[], dates, &[]);
            for (zone, times) in clocks {
                let zone = if zone.is_empty() { Zone::UTC } else { Zone::named(zone).unwrap() };
                let times = times.iter().map(|it| Decimal::parse(it).unwrap().into_owned());
                cuts.clocks.insert(zone, Clock { times: times.collect(), days: true });
            }
            let found: HashSet<_> = cuts.instants().into_iter().map(|it| cuts.class(it)).collect();
            let start = start.parse::<Timestamp>().unwrap().as_second();
            for quarter in 0..weeks * 7 * 96 {
                let it = Timestamp::from_second(start + quarter * 900).unwrap();
                assert!(found.contains(&cuts.class(it)), "{it} {dates:?} {clocks:?}");
            }
        }
    }
}
