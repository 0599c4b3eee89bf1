//! What each key holds for one query.

use crate::policy::language::key::{Key, Shown};
use crate::policy::language::template::Part;
use crate::policy::language::zone::Zone;
use crate::policy::{Attribute, Attributes, Held, Query};

use jiff::Timestamp;
use std::borrow::Cow;
use std::net::IpAddr;

/// A query and what is known of its job.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Facts<'a> {
    pub(in crate::policy) query: &'a Query,
    pub(in crate::policy) attributes: &'a Attributes,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Fact<'a> {
    Absent,
    One(Value<'a>),
    /// Never an empty list.
    Several(&'a [String]),
    Unavailable,
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Value<'a> {
    /// Never an IPv4 address written in IPv6.
    Address(IpAddr),
    Boolean(bool),
    Date(Timestamp),
    Number(i64),
    Text(Cow<'a, str>),
}

/// A template filled in.
#[derive(Debug)]
pub(in crate::policy) enum Filled<T> {
    Done(T),
    /// A variable names a key that is absent and has no default, or that never fills in a variable.
    Unfillable,
    /// A variable names an unavailable key.
    Unknown,
}

impl<'a> Facts<'a> {
    pub(in crate::policy) fn get(self, key: &Key) -> Fact<'a> {
        let Self { query, attributes } = self;
        let principal = &query.principal;
        match key {
            Key::AuthMethod => text(principal.method().as_str()),
            Key::CurrentTime => Fact::One(Value::Date(query.now)),
            Key::DayOfWeek => shown(Shown::Day, &Zone::UTC, query.now),
            Key::DomainId | Key::PrincipalAccount => text(&query.account),
            Key::EnterpriseProjectId => Fact::Absent,
            Key::Groups => several(principal.groups()),
            Key::Issuer => text(principal.source()),
            Key::Job(it) => match attributes.get(*it) {
                Attribute::Value(Held::Number(it)) => number(it),
                Attribute::Value(Held::Text(it)) => text(it),
                Attribute::Value(Held::Texts(them)) => several(them),
                Attribute::Absent => Fact::Absent,
                Attribute::Unavailable | Attribute::NotAsked => Fact::Unavailable,
            },
            Key::PrincipalTag(tag) => match principal.tags().get(tag) {
                Some(it) => text(it),
                None => Fact::Absent,
            },
            Key::PrincipalUrn => {
                let urn = format!("sts::{}:external-user:{}", query.account, principal.id());
                Fact::One(Value::Text(Cow::Owned(urn)))
            }
            Key::ProjectId => text(&query.job.project_id),
            Key::RequestedRegion => text(&query.region),
            Key::ResourceTag(tag) => {
                fact(&attributes.tags, |tags| tags.get(tag).map_or(Fact::Absent, |it| text(it)))
            }
            Key::SecureTransport => {
                fact(&query.secure_transport, |it| Fact::One(Value::Boolean(*it)))
            }
            Key::SourceIp => {
                fact(&query.source_ip, |it| Fact::One(Value::Address(it.to_canonical())))
            }
            Key::TimeOfDay => shown(Shown::Time, &Zone::UTC, query.now),
            Key::Unknowable(_) => Fact::Unavailable,
            Key::UserAgent => fact(&query.user_agent, |it| text(it)),
            Key::UserId => text(principal.id()),
            Key::UserName => text(principal.name()),
            Key::Zoned(it, zone) => shown(*it, zone, query.now),
        }
    }

    /// Fills in a template whose wildcards are plain characters.
    pub(in crate::policy) fn fill(self, parts: &'a [Part]) -> Filled<Cow<'a, str>> {
        match parts {
            [part] => self.part(part),
            _ => {
                let mut res = String::new();
                self.each(parts, |_, it| res.push_str(&it)).map(|()| Cow::Owned(res))
            }
        }
    }

    /// Calls `put` with each part and its text. A variable that cannot be filled in decides even
    /// beside one that is unknown.
    pub(in crate::policy) fn each(
        self,
        parts: &'a [Part],
        mut put: impl FnMut(&'a Part, Cow<'a, str>),
    ) -> Filled<()> {
        let mut unknown = false;
        for part in parts {
            match self.part(part) {
                Filled::Done(it) => put(part, it),
                Filled::Unfillable => return Filled::Unfillable,
                Filled::Unknown => unknown = true,
            }
        }
        if unknown { Filled::Unknown } else { Filled::Done(()) }
    }

    fn part(self, part: &'a Part) -> Filled<Cow<'a, str>> {
        let variable = match part {
            Part::Any => return Filled::Done(Cow::Borrowed("?")),
            Part::Star => return Filled::Done(Cow::Borrowed("*")),
            Part::Text(it) => return Filled::Done(Cow::Borrowed(it)),
            Part::Variable(it) => it,
        };
        if matches!(variable.key, Key::Unknowable(_)) {
            return Filled::Unfillable;
        }
        let fact = match variable.key.is_several() {
            true => Fact::Absent,
            false => self.get(&variable.key),
        };
        match fact {
            Fact::Absent | Fact::Several(_) => match &variable.default {
                Some(it) => Filled::Done(Cow::Borrowed(it)),
                None => Filled::Unfillable,
            },
            Fact::One(it) => Filled::Done(it.into_text()),
            Fact::Unavailable => Filled::Unknown,
        }
    }
}

impl<'a> Value<'a> {
    /// The value as a variable is filled in with it.
    pub(in crate::policy) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Address(it) => Cow::Owned(it.to_string()),
            Self::Boolean(it) => Cow::Borrowed(if it { "true" } else { "false" }),
            Self::Date(it) => Cow::Owned(it.to_string()),
            Self::Number(it) => Cow::Owned(it.to_string()),
            Self::Text(it) => it,
        }
    }
}

impl<T> Filled<T> {
    pub(in crate::policy) fn done(self) -> Option<T> {
        match self {
            Self::Done(it) => Some(it),
            Self::Unfillable | Self::Unknown => None,
        }
    }

    pub(in crate::policy) fn map<U>(self, f: impl FnOnce(T) -> U) -> Filled<U> {
        match self {
            Self::Done(it) => Filled::Done(f(it)),
            Self::Unfillable => Filled::Unfillable,
            Self::Unknown => Filled::Unknown,
        }
    }
}

fn text(it: &str) -> Fact<'_> {
    Fact::One(Value::Text(Cow::Borrowed(it)))
}

fn shown(it: Shown, zone: &Zone, now: Timestamp) -> Fact<'static> {
    let local = zone.local(now);
    match it {
        Shown::Day => number(local.weekday().to_monday_one_offset()),
        Shown::Time => number(i64::from(local.hour()) * 100 + i64::from(local.minute())),
    }
}

fn number(it: impl Into<i64>) -> Fact<'static> {
    Fact::One(Value::Number(it.into()))
}

fn several(them: &[String]) -> Fact<'_> {
    match them {
        [] => Fact::Absent,
        _ => Fact::Several(them),
    }
}

fn fact<'a, T>(attribute: &'a Attribute<T>, value: impl FnOnce(&'a T) -> Fact<'a>) -> Fact<'a> {
    match attribute {
        Attribute::Value(it) => value(it),
        Attribute::Absent => Fact::Absent,
        Attribute::Unavailable | Attribute::NotAsked => Fact::Unavailable,
    }
}
