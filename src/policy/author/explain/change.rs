//! Facts that could be different: what a key holds, and the same request with a key changed.

use crate::policy::engine::facts::{Fact, Facts};
use crate::policy::language::key::Key;
use crate::policy::{Attribute, Attributes, Held, Principal, Query};

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actual {
    /// Nothing.
    Absent,
    /// Not known.
    Unavailable,
    /// Its values as text.
    Values(Vec<String>),
}

/// One key that would have to hold something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key, such as `modelarts:poolId`.
    pub key: String,
    /// What it holds now.
    pub from: Actual,
    /// What it would have to hold; for `lychgate:groups`, all groups with the new one.
    pub to: Actual,
    /// The Denies of the guardrails that would no longer apply to the caller.
    pub lifts: Vec<String>,
}

impl From<Fact<'_>> for Actual {
    fn from(it: Fact<'_>) -> Self {
        match it {
            Fact::Absent => Self::Absent,
            Fact::Unavailable => Self::Unavailable,
            Fact::One(it) => Self::Values(vec![it.into_text().into_owned()]),
            Fact::Several(them) => Self::Values(them.to_vec()),
        }
    }
}

/// What a key could hold instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Absent,
    Address(IpAddr),
    Boolean(bool),
    Date(Timestamp),
    /// One more group, qualified.
    Group(String),
    Number(i64),
    Text(String),
    Texts(Vec<String>),
}

/// A request and its job: the case, or the case with changes.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) query: Query,
    pub(super) attributes: Attributes,
}

impl World {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts { query: &self.query, attributes: &self.attributes }
    }

    pub(super) fn holds(&self, key: &Key) -> Actual {
        self.facts().get(key).into()
    }

    /// The same with `key` set to `setting`. A job's tags are known all or not at all: where they
    /// are unavailable, one that is set is the only one.
    pub(super) fn with(&self, key: &Key, setting: &Setting) -> Self {
        let mut res = self.clone();
        let (query, attributes) = (&mut res.query, &mut res.attributes);
        match (key, setting) {
            (Key::Groups, Setting::Group(group)) => {
                let groups = query.principal.groups().iter().chain([group]);
                let groups = groups.cloned().collect::<Vec<_>>();
                query.principal = principal(query, &groups, query.principal.tags().clone());
            }
            (Key::PrincipalTag(tag), _) => {
                let mut tags = query.principal.tags().clone();
                set_tag(&mut tags, tag, setting);
                query.principal = principal(query, query.principal.groups(), tags);
            }
            (Key::ResourceTag(tag), _) => {
                let mut tags = attributes.tags.value().cloned().unwrap_or_default();
                set_tag(&mut tags, tag, setting);
                attributes.tags = Attribute::Value(tags);
            }
            (Key::CurrentTime, Setting::Date(it)) => query.now = *it,
            (Key::SecureTransport, _) => query.secure_transport = boolean(setting),
            (Key::SourceIp, _) => query.source_ip = address(setting),
            (Key::UserAgent, _) => query.user_agent = text(setting),
            (Key::Job(fact), _) => attributes.set(*fact, held(setting)),
            // Who asks, and for what, does not change.
            _ => (),
        }
        res
    }
}

/// The key may hold something else without making it another caller or another job. Groups change
/// only by one more.
pub(super) fn is_changeable(key: &Key) -> bool {
    match key {
        Key::CurrentTime
        | Key::Groups
        | Key::Job(_)
        | Key::PrincipalTag(_)
        | Key::ResourceTag(_)
        | Key::SecureTransport
        | Key::SourceIp
        | Key::UserAgent => true,
        Key::AuthMethod
        | Key::DayOfWeek
        | Key::DomainId
        | Key::EnterpriseProjectId
        | Key::Issuer
        | Key::PrincipalAccount
        | Key::PrincipalUrn
        | Key::ProjectId
        | Key::RequestedRegion
        | Key::TimeOfDay
        | Key::Unknowable(_)
        | Key::UserId
        | Key::UserName
        | Key::Zoned(..) => false,
    }
}

/// The caller with these qualified groups and these tags.
fn principal(query: &Query, groups: &[String], tags: BTreeMap<String, String>) -> Arc<Principal> {
    let it = &query.principal;
    let bare = groups.iter().filter_map(|group| {
        let bare = group.strip_prefix(it.source())?.strip_prefix('/')?;
        Some(bare.to_owned())
    });
    Arc::new(Principal::new(it.source(), it.name(), bare, tags, it.method()))
}

fn set_tag(tags: &mut BTreeMap<String, String>, key: &str, setting: &Setting) {
    match setting {
        Setting::Text(it) => drop(tags.insert(key.to_owned(), it.clone())),
        _ => drop(tags.remove(key)),
    }
}

fn address(setting: &Setting) -> Attribute<IpAddr> {
    match setting {
        Setting::Address(it) => Attribute::Value(*it),
        _ => Attribute::Absent,
    }
}

fn boolean(setting: &Setting) -> Attribute<bool> {
    match setting {
        Setting::Boolean(it) => Attribute::Value(*it),
        _ => Attribute::Absent,
    }
}

fn text(setting: &Setting) -> Attribute<String> {
    match setting {
        Setting::Text(it) => Attribute::Value(it.clone()),
        _ => Attribute::Absent,
    }
}

fn held(setting: &Setting) -> Attribute<Held<'_>> {
    match setting {
        Setting::Number(it) => Attribute::Value(Held::Number(*it)),
        Setting::Text(it) => Attribute::Value(Held::Text(it)),
        Setting::Texts(them) => Attribute::Value(Held::Texts(them)),
        _ => Attribute::Absent,
    }
}
