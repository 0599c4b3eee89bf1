//! One possible request: a value for every variable, so that the engine can judge it.

use crate::policy::engine::facts::{Fact, Facts};
use crate::policy::language::key::Key;
use crate::policy::{Action, Attribute, Attributes, Held, Job, JobFact, Method, Principal, Query};

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The ways in which requests can differ. All keys are computed from these.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Variable {
    Account,
    Agent,
    /// Source and name, `corp/alice`.
    Caller,
    /// A fact in the job's details.
    Fact(JobFact),
    Groups,
    Job,
    Method,
    Now,
    PrincipalTag(String),
    Project,
    Region,
    ResourceTag(String),
    Secure,
    SourceIp,
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Setting {
    Absent,
    Address(IpAddr),
    Boolean(bool),
    Date(Timestamp),
    Method(Method),
    Number(i64),
    Text(String),
    /// Groups are without their source.
    Texts(Vec<String>),
    Unavailable,
}

/// A request and what is known of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Point {
    pub(in crate::policy) query: Query,
    pub(in crate::policy) attributes: Attributes,
}

impl Variable {
    /// The variable that a key is read from. `g:PrincipalUrn` is read from the account too; a key
    /// that never holds a known value is read from none.
    pub(in crate::policy) fn of(key: &Key) -> Option<Self> {
        Some(match key {
            Key::AuthMethod => Self::Method,
            Key::CurrentTime | Key::DayOfWeek | Key::TimeOfDay | Key::Zoned(..) => Self::Now,
            Key::DomainId | Key::PrincipalAccount => Self::Account,
            Key::EnterpriseProjectId | Key::Unknowable(_) => return None,
            Key::Groups => Self::Groups,
            Key::Issuer | Key::PrincipalUrn | Key::UserId | Key::UserName => Self::Caller,
            Key::Job(fact) => Self::Fact(*fact),
            Key::PrincipalTag(tag) => Self::PrincipalTag(tag.clone()),
            Key::ProjectId => Self::Project,
            Key::RequestedRegion => Self::Region,
            Key::ResourceTag(tag) => Self::ResourceTag(tag.clone()),
            Key::SecureTransport => Self::Secure,
            Key::SourceIp => Self::SourceIp,
            Key::UserAgent => Self::Agent,
        })
    }

    pub(in crate::policy) fn is_several(&self) -> bool {
        match self {
            Self::Fact(fact) => fact.is_several(),
            _ => matches!(self, Self::Groups),
        }
    }

    pub(in crate::policy) fn may_be_absent(&self) -> bool {
        !matches!(
            self,
            Self::Account
                | Self::Caller
                | Self::Job
                | Self::Method
                | Self::Now
                | Self::Project
                | Self::Region
        )
    }

    /// Whether its value may be unavailable: it is looked up, or read from a proxy's header.
    pub(in crate::policy) fn may_be_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Agent | Self::Fact(_) | Self::ResourceTag(_) | Self::Secure | Self::SourceIp
        )
    }
}

impl Point {
    /// The request with nothing stated.
    pub(in crate::policy) fn new() -> Self {
        let query = Query {
            principal: Arc::new(Principal::new("corp", "alice", [], BTreeMap::new(), Method::Jwt)),
            action: Action::Delete,
            job: Arc::new(Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
            region: "cn-north-4".to_owned(),
            account: "123".to_owned(),
            now: Timestamp::constant(1_768_478_400, 0),
            source_ip: Attribute::Absent,
            secure_transport: Attribute::Absent,
            user_agent: Attribute::Absent,
        };
        let mut attributes =
            Attributes { tags: Attribute::Value(BTreeMap::new()), ..Attributes::default() };
        for fact in JobFact::ALL {
            attributes.set(*fact, Attribute::Absent);
        }
        Self { query, attributes }
    }

    pub(in crate::policy) fn facts(&self) -> Facts<'_> {
        Facts { query: &self.query, attributes: &self.attributes }
    }

    /// Sets a variable. A setting of the wrong type changes nothing; an unavailable tag makes all
    /// tags of the job unavailable.
    pub(in crate::policy) fn set(&mut self, variable: &Variable, setting: &Setting) {
        let Self { query, attributes } = self;
        match (variable, setting) {
            (Variable::Account, Setting::Text(it)) => query.account.clone_from(it),
            (Variable::Job, Setting::Text(it)) => {
                query.job = Arc::new(Job::new(query.job.project_id.clone(), it.clone()));
            }
            (Variable::Project, Setting::Text(it)) => {
                query.job = Arc::new(Job::new(it.clone(), query.job.training_job_id.clone()));
            }
            (Variable::Region, Setting::Text(it)) => query.region.clone_from(it),
            (Variable::Now, Setting::Date(it)) => query.now = *it,
            (Variable::Agent, Setting::Text(it)) => query.user_agent = Attribute::Value(it.clone()),
            (Variable::Agent, it) => query.user_agent = no_value(it),
            (Variable::Secure, Setting::Boolean(it)) => {
                query.secure_transport = Attribute::Value(*it);
            }
            (Variable::Secure, it) => query.secure_transport = no_value(it),
            (Variable::SourceIp, Setting::Address(it)) => query.source_ip = Attribute::Value(*it),
            (Variable::SourceIp, it) => query.source_ip = no_value(it),
            (Variable::Fact(fact), it) => attributes.set(*fact, held(it)),
            (Variable::ResourceTag(tag), it) => match it {
                Setting::Unavailable => attributes.tags = Attribute::Unavailable,
                it => {
                    let mut tags = attributes.tags.value().cloned().unwrap_or_default();
                    set_tag(&mut tags, tag, it);
                    attributes.tags = Attribute::Value(tags);
                }
            },
            (Variable::Caller | Variable::Groups | Variable::Method, it)
            | (Variable::PrincipalTag(_), it) => self.set_principal(variable, it),
            _ => (),
        }
    }

    /// The same with a variable set.
    pub(in crate::policy) fn holding(&self, variable: &Variable, setting: &Setting) -> Self {
        let mut res = self.clone();
        res.set(variable, setting);
        res
    }

    /// The same with a variable taken from another request.
    pub(in crate::policy) fn with(&self, variable: &Variable, other: &Self) -> Self {
        self.holding(variable, &other.setting(variable))
    }

    /// The same with another value for a key.
    pub(in crate::policy) fn having(&self, key: &Key, setting: &Setting) -> Self {
        Variable::of(key).map_or_else(|| self.clone(), |it| self.holding(&it, setting))
    }

    /// The value of a key that has one, as text.
    pub(in crate::policy) fn text(&self, key: &Key) -> Option<String> {
        match self.facts().get(key) {
            Fact::One(it) => Some(it.into_text().into_owned()),
            Fact::Absent | Fact::Several(_) | Fact::Unavailable => None,
        }
    }

    /// What a variable holds.
    pub(in crate::policy) fn setting(&self, variable: &Variable) -> Setting {
        let Self { query, attributes } = self;
        let principal = &query.principal;
        let one = |it: &str| Setting::Text(it.to_owned());
        match variable {
            Variable::Account => one(&query.account),
            Variable::Agent => known(&query.user_agent, |it| one(it)),
            Variable::Caller => one(principal.id()),
            Variable::Groups => {
                let prefix = principal.source().len() + 1;
                let bare = principal.groups().iter().filter_map(|it| it.get(prefix..));
                Setting::Texts(bare.map(str::to_owned).collect())
            }
            Variable::Job => one(&query.job.training_job_id),
            Variable::Fact(fact) => known(&attributes.get(*fact), |it| match it {
                Held::Number(it) => Setting::Number(*it),
                Held::Text(it) => one(it),
                Held::Texts(it) => Setting::Texts(it.to_vec()),
            }),
            Variable::Method => Setting::Method(principal.method()),
            Variable::Now => Setting::Date(query.now),
            Variable::PrincipalTag(tag) => {
                principal.tags().get(tag).map_or(Setting::Absent, |it| one(it))
            }
            Variable::Project => one(&query.job.project_id),
            Variable::Region => one(&query.region),
            Variable::ResourceTag(tag) => {
                known(&attributes.tags, |tags| tags.get(tag).map_or(Setting::Absent, |it| one(it)))
            }
            Variable::Secure => known(&query.secure_transport, |it| Setting::Boolean(*it)),
            Variable::SourceIp => known(&query.source_ip, |it| Setting::Address(*it)),
        }
    }

    fn set_principal(&mut self, variable: &Variable, setting: &Setting) {
        let it = &self.query.principal;
        let (mut source, mut name) = (it.source(), it.name());
        let prefix = source.len() + 1;
        let bare = it.groups().iter().map(|it| it.get(prefix..).unwrap_or_default().to_owned());
        let (mut groups, mut tags) = (bare.collect::<Vec<_>>(), it.tags().clone());
        let mut method = it.method();
        match (variable, setting) {
            (Variable::Caller, Setting::Text(it)) => {
                (source, name) = it.split_once('/').unwrap_or((source, name));
            }
            (Variable::Groups, Setting::Texts(it)) => groups.clone_from(it),
            (Variable::Groups, _) => groups.clear(),
            (Variable::Method, Setting::Method(it)) => method = *it,
            (Variable::PrincipalTag(tag), it) => set_tag(&mut tags, tag, it),
            _ => (),
        }
        self.query.principal = Arc::new(Principal::new(source, name, groups, tags, method));
    }
}

fn known<T>(attribute: &Attribute<T>, setting: impl FnOnce(&T) -> Setting) -> Setting {
    match attribute {
        Attribute::Value(it) => setting(it),
        Attribute::Absent => Setting::Absent,
        Attribute::Unavailable | Attribute::NotAsked => Setting::Unavailable,
    }
}

fn set_tag(tags: &mut BTreeMap<String, String>, tag: &str, setting: &Setting) {
    match setting {
        Setting::Text(it) => drop(tags.insert(tag.to_owned(), it.clone())),
        _ => drop(tags.remove(tag)),
    }
}

fn no_value<T>(setting: &Setting) -> Attribute<T> {
    match setting {
        Setting::Unavailable => Attribute::Unavailable,
        _ => Attribute::Absent,
    }
}

fn held(setting: &Setting) -> Attribute<Held<'_>> {
    match setting {
        Setting::Number(it) => Attribute::Value(Held::Number(*it)),
        Setting::Text(it) => Attribute::Value(Held::Text(it)),
        Setting::Texts(it) => Attribute::Value(Held::Texts(it)),
        _ => no_value(setting),
    }
}
