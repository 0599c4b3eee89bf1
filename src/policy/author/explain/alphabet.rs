//! The values that each key could hold instead: a finite alphabet.
//!
//! It is made of the values that the statements list, and of the case's own:
//!
//! * equality: the listed value; `StringMatch`: the pattern with nothing for `*` and `x` for `?`;
//!   `StringStartWith`, `StringEndWith`: the listed text, and each start with each end of one
//!   statement put together;
//! * numbers and dates: the listed one, one less, one more (a second for dates);
//! * the time, where a condition reads the clock or the calendar (`lychgate:timeOfDay`,
//!   `lychgate:dayOfWeek`): on each of the seven days from now and from each listed date, midnight and
//!   the listed times of day, one minute less and one more;
//! * addresses: the first and the last of the listed range, and their neighbours outside;
//! * every value of a key whose values are a closed list; `true` and `false`; for texts `other`;
//! * where a key fills in a variable: what would make the filled-in text equal to the case's;
//! * for `modelarts:poolId` and `modelarts:poolType`: each of these alone, and added to the case's
//!   own;
//! * for `lychgate:groups`: each group of the caller's source that a condition or an attachment names,
//!   added to the caller's;
//! * absent, for every key but `g:CurrentTime`.

use super::change::{self, Actual};
use crate::policy::engine::condition::{Operand, Operands, Resource, Test};
use crate::policy::engine::facts::Facts;
use crate::policy::engine::point::{Point, Setting};
use crate::policy::engine::set::Statement;
use crate::policy::language::key::{Key, Shown};
use crate::policy::language::kind::Kind;
use crate::policy::language::operator::Comparison;
use crate::policy::language::pattern::Piece;
use crate::policy::language::template::Part;
use crate::policy::language::value;
use crate::policy::language::zone::Zone;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::slice;

/// A text that no statement is expected to list.
const OTHER: &str = "other";

/// The keys that the statements ask about and that could hold something else, except groups.
pub(super) fn keys(statements: &[&Statement]) -> Vec<Key> {
    let mut res: Vec<Key> = Vec::new();
    for statement in statements {
        res.extend(statement.conditions.iter().map(|it| it.key.origin().clone()));
        res.extend(statement.conditions.iter().flat_map(|it| it.keys().skip(1)).cloned());
        res.extend(statement.resource.iter().flat_map(Resource::keys).cloned());
    }
    let mut seen = HashSet::new();
    res.retain(|it| *it != Key::Groups && change::is_changeable(it) && seen.insert(it.clone()));
    res
}

/// What `key` could hold instead, the likeliest first.
pub(super) fn settings(key: &Key, statements: &[&Statement], world: &Point) -> Vec<Setting> {
    let mut found = Collector { facts: world.facts(), texts: Vec::new(), settings: Vec::new() };
    for statement in statements {
        found.statement(key, statement);
    }
    if *key == Key::CurrentTime {
        found.calendar(statements);
    }
    let mut res = std::mem::take(&mut found.settings);
    let texts = found.texts.into_iter();
    let texts = texts.chain(key.closed_list().into_iter().flatten().map(|it| (*it).to_owned()));
    // No job holds an empty text: that is absent.
    let may_be_empty = !matches!(key, Key::Job(_));
    let texts = texts.chain([OTHER.to_owned()]).filter(|it| may_be_empty || !it.is_empty());
    match (key.kind(), key.is_several()) {
        (Kind::Text, false) => res.extend(texts.map(Setting::Text)),
        (Kind::Text, true) => {
            let texts: Vec<_> = texts.collect();
            res.extend(texts.iter().map(|it| Setting::Texts(vec![it.clone()])));
            if let Actual::Values(them) = Actual::of(key, world) {
                let more = texts.iter().map(|it| [them.as_slice(), slice::from_ref(it)].concat());
                res.extend(more.map(Setting::Texts));
            }
        }
        (Kind::Boolean, _) => res.extend([true, false].map(Setting::Boolean)),
        (Kind::Address | Kind::Date | Kind::Number, _) => (),
    }
    if *key != Key::CurrentTime {
        res.push(Setting::Absent);
    }
    let now = Actual::of(key, world);
    let mut unique: Vec<Setting> = Vec::new();
    for it in res {
        if !unique.contains(&it) && Actual::of(key, &world.having(key, &it)) != now {
            unique.push(it);
        }
    }
    unique
}

struct Collector<'a> {
    facts: Facts<'a>,
    texts: Vec<String>,
    settings: Vec<Setting>,
}

impl Collector<'_> {
    fn statement(&mut self, key: &Key, statement: &Statement) {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for condition in &statement.conditions {
            if condition.key == *key
                && let Test::Listed(it) = &condition.test
            {
                let listed = self.operands(&it.operands);
                match &it.operands {
                    Operands::Text(Comparison::StartWith, _) => starts.extend(listed.clone()),
                    Operands::Text(Comparison::EndWith, _) => ends.extend(listed.clone()),
                    _ => (),
                }
                self.texts.extend(listed);
            }
            for parts in condition.test.templates() {
                if let Actual::Values(them) = self.facts.get(&condition.key).into() {
                    let fitting = them.iter().filter_map(|it| self.fitting(key, parts, it));
                    let fitting: Vec<_> = fitting.collect();
                    self.texts.extend(fitting);
                }
            }
        }
        for parts in statement.resource.iter().flat_map(Resource::templates) {
            let job = &self.facts.query.job.training_job_id;
            self.texts.extend(self.fitting(key, parts, job));
        }
        for start in &starts {
            self.texts.extend(ends.iter().map(|end| format!("{start}{end}")));
        }
    }

    /// Times at which clock and calendar show what the statements ask about.
    fn calendar(&mut self, statements: &[&Statement]) {
        let conditions = statements.iter().flat_map(|it| &it.conditions);
        let asked: Vec<_> = conditions.filter(|it| it.key.shown().is_some()).collect();
        if asked.is_empty() {
            return;
        }
        let mut minutes: BTreeMap<&Zone, Vec<i64>> = BTreeMap::new();
        for condition in asked {
            let Some((shown, zone)) = condition.key.shown() else {
                continue;
            };
            let minutes = minutes.entry(zone).or_insert_with(|| vec![0]);
            if let (Shown::Time, Test::Listed(it)) = (shown, &condition.test)
                && let Operands::Number(_, them) = &it.operands
            {
                let listed = self.read(them, |it| minute_of_day(&it.to_string()), minute_of_day);
                minutes.extend(listed.into_iter().flat_map(|it| [it, it - 1, it + 1]));
            }
        }
        let listed = self.settings.iter().filter_map(|it| match it {
            Setting::Date(it) => Some(*it),
            _ => None,
        });
        let now = self.facts.query.now;
        let mut dates = Vec::new();
        for from in [now].into_iter().chain(listed) {
            for (zone, minutes) in &minutes {
                for day in 0..7 {
                    dates.extend(minutes.iter().filter_map(|it| zone.moment(from, day, *it)));
                }
            }
        }
        dates.retain(|it| now < *it);
        dates.sort_unstable();
        self.settings.extend(dates.into_iter().map(Setting::Date));
    }

    /// The listed texts; listed values of other types become settings as well.
    fn operands(&mut self, operands: &Operands) -> Vec<String> {
        let mut texts = Vec::new();
        match operands {
            Operands::Address(them) => {
                for net in self.read(them, |it| Some(*it), value::range) {
                    for it in addresses(&net) {
                        texts.push(it.to_string());
                        self.settings.push(Setting::Address(it));
                    }
                }
            }
            Operands::Boolean(_) => texts.extend(["true", "false"].map(str::to_owned)),
            Operands::Date(_, them) => {
                // Not beyond what a request's time can be.
                let known = |it: &SignedDuration| Timestamp::from_duration(*it).ok();
                for date in self.read(them, known, |it| known(&value::date(it)?)) {
                    for it in dates(date) {
                        texts.push(it.to_string());
                        self.settings.push(Setting::Date(it));
                    }
                }
            }
            Operands::Number(_, them) => {
                for number in self.read(them, |it| Some(it.to_string()), |it| Some(it.to_owned())) {
                    texts.push(number.clone());
                    for it in numbers(&number) {
                        texts.push(it.to_string());
                        // An age is never negative.
                        if 0 <= it {
                            self.settings.push(Setting::Number(it));
                        }
                    }
                }
            }
            Operands::Match(them) => texts.extend(them.iter().filter_map(|it| self.pattern(it))),
            Operands::Text(_, them) => {
                texts.extend(self.read(them, |it| Some(it.clone()), |it| Some(it.to_owned())));
            }
        }
        texts
    }

    /// What is listed: the values without variables, and what the others are filled in with.
    fn read<T, U>(
        &self,
        them: &[Operand<T>],
        known: impl Fn(&T) -> Option<U>,
        read: impl Fn(&str) -> Option<U>,
    ) -> Vec<U> {
        let values = them.iter().filter_map(|it| match it {
            Operand::Known(it) => known(it),
            Operand::Template(parts) => read(&self.facts.fill(parts).done()?),
        });
        values.collect()
    }

    fn pattern(&self, operand: &Operand<Vec<Piece<'static>>>) -> Option<String> {
        let mut res = String::new();
        match operand {
            Operand::Known(pieces) => {
                for it in pieces {
                    match it {
                        Piece::Any => res.push('x'),
                        Piece::Star => (),
                        Piece::Text(it) => res.push_str(it),
                    }
                }
                Some(res)
            }
            Operand::Template(parts) => {
                let filled = self.facts.each(parts, |part, it| match part {
                    Part::Any => res.push('x'),
                    Part::Star => (),
                    Part::Text(_) | Part::Variable(_) => res.push_str(&it),
                });
                filled.done().map(|()| res)
            }
        }
    }

    /// What `key` must hold for the template to become `text`, if it is the template's only
    /// variable.
    fn fitting(&self, key: &Key, parts: &[Part], text: &str) -> Option<String> {
        let at = parts.iter().position(|it| matches!(it, Part::Variable(it) if it.key == *key))?;
        let (before, after) = parts.split_at(at);
        let (_, after) = after.split_first()?;
        // `*` is filled in with nothing here too.
        let plain = |parts: &[Part]| {
            parts.iter().filter(|it| **it != Part::Star).cloned().collect::<Vec<_>>()
        };
        let (before, after) = (plain(before), plain(after));
        let rest = text.strip_prefix(&*self.facts.fill(&before).done()?)?;
        rest.strip_suffix(&*self.facts.fill(&after).done()?).map(str::to_owned)
    }
}

/// First and last of a range, and their neighbours.
fn addresses(net: &IpNet) -> Vec<IpAddr> {
    let (first, last) = (net.network(), net.broadcast());
    let step = |it: IpAddr, by: i8| match it {
        IpAddr::V4(it) => {
            it.to_bits().checked_add_signed(by.into()).map(|it| IpAddr::V4(it.into()))
        }
        IpAddr::V6(it) => {
            let moved = it.to_bits().checked_add_signed(by.into());
            moved.map(|it| IpAddr::V6(it.into()).to_canonical())
        }
    };
    [Some(first), Some(last), step(first, -1), step(last, 1)].into_iter().flatten().collect()
}

fn dates(it: Timestamp) -> Vec<Timestamp> {
    let second = SignedDuration::from_secs(1);
    let moved = [it.checked_sub(second).ok(), it.checked_add(second).ok()];
    [Some(it)].into_iter().chain(moved).flatten().collect()
}

/// The whole part of a number and its neighbours.
fn numbers(text: &str) -> Vec<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let Ok(it) = whole.parse::<i64>() else {
        return Vec::new();
    };
    let all = [Some(it), it.checked_sub(1), it.checked_add(1)];
    all.into_iter().flatten().collect()
}

/// The minute of the day that a listed time of day, `hhmm` as a number, names; `None` for what no
/// clock shows, however large.
fn minute_of_day(text: &str) -> Option<i64> {
    let time = numbers(text).first().copied().filter(|it| (0..=2400).contains(it))?;
    Some(time / 100 * 60 + (time % 100).min(60))
}
