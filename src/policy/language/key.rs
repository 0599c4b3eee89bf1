//! The condition keys: what each is called, what it holds, where it comes from.

use crate::policy::language::kind::Kind;
use crate::policy::language::suggest;
use crate::policy::language::zone::Zone;
use crate::policy::{JobFact, Sources};

use std::fmt;

/// In which requests a key has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Always,
    Sometimes,
}

/// A row of the table of keys.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    kind: Kind,
    presence: Presence,
}

macro_rules! keys {
    ($($key:ident = $name:literal, $kind:ident, $presence:ident;)*) => {
        /// What a condition asks about.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(in crate::policy) enum Key {
            $($key,)*
            /// What the job's details say.
            Job(JobFact),
            PrincipalTag(String),
            ResourceTag(String),
            /// Huawei documents it and the gate cannot know it; the name as in [`UNKNOWABLE`].
            Unknowable(&'static str),
            /// What the clock or calendar of a time zone shows.
            Zoned(Shown, Zone),
        }

        /// The keys of the request and of the caller that are not tags.
        const PLAIN: &[Key] = &[$(Key::$key),*];

        impl Key {
            fn row(&self) -> Row {
                use self::Presence::{Always, Sometimes};
                let (name, kind, presence) = match self {
                    $(Self::$key => ($name, Kind::$kind, $presence),)*
                    Self::Job(it) => (it.condition(), it.kind(), Sometimes),
                    Self::PrincipalTag(_) => (PRINCIPAL_TAG, Kind::Text, Sometimes),
                    Self::ResourceTag(_) => (RESOURCE_TAG, Kind::Text, Sometimes),
                    Self::Unknowable(name) => (*name, Kind::Text, Sometimes),
                    Self::Zoned(Shown::Day, _) => (DAY_OF_WEEK, Kind::Number, Always),
                    Self::Zoned(Shown::Time, _) => (TIME_OF_DAY, Kind::Number, Always),
                };
                Row { name, kind, presence }
            }
        }
    };
}

// The keys that have to be looked up in the cloud are in `job_facts!`.
keys! {
    AuthMethod = "lychgate:authMethod", Text, Always;
    CurrentTime = "g:CurrentTime", Date, Always;
    DayOfWeek = "lychgate:dayOfWeek", Number, Always;
    DomainId = "g:DomainId", Text, Always;
    EnterpriseProjectId = "g:EnterpriseProjectId", Text, Sometimes;
    Groups = "lychgate:groups", Text, Sometimes;
    Issuer = "lychgate:issuer", Text, Always;
    PrincipalAccount = "g:PrincipalAccount", Text, Always;
    PrincipalUrn = "g:PrincipalUrn", Text, Always;
    ProjectId = "lychgate:projectId", Text, Always;
    RequestedRegion = "g:RequestedRegion", Text, Always;
    SecureTransport = "g:SecureTransport", Boolean, Sometimes;
    SourceIp = "g:SourceIp", Address, Sometimes;
    TimeOfDay = "lychgate:timeOfDay", Number, Always;
    UserAgent = "g:UserAgent", Text, Sometimes;
    UserId = "g:UserId", Text, Always;
    UserName = "g:UserName", Text, Always;
}

/// What is read off a clock or calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Shown {
    /// The day of the week, 1 for Monday.
    Day,
    /// Hours and minutes as one number.
    Time,
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Fault {
    /// `g:ResourceTag/` without a tag key.
    NoTagKey,
    /// No such key; the name that may have been meant.
    Unknown(Option<&'static str>),
    /// `lychgate:timeOfDay/` with an unknown time zone; the one that may have been meant.
    Zone(Option<String>),
}

const PRINCIPAL_TAG: &str = "g:PrincipalTag/";
const RESOURCE_TAG: &str = "g:ResourceTag/";
const DAY_OF_WEEK: &str = "lychgate:dayOfWeek/";
const TIME_OF_DAY: &str = "lychgate:timeOfDay/";

/// The zone of keys that name none.
static UTC: Zone = Zone::UTC;

/// Keys of Huawei Cloud that only Huawei Cloud can answer: what its IAM knows of the caller's login,
/// organisation and network, and of requests that carry tags. A name ending in `/` takes a tag key.
pub(in crate::policy) const UNKNOWABLE: &[&str] = &[
    "g:CalledVia",
    "g:CalledViaFirst",
    "g:CalledViaLast",
    "g:DomainName",
    "g:MFAAge",
    "g:MFAPresent",
    "g:PrincipalId",
    "g:PrincipalIsRootUser",
    "g:PrincipalOrgId",
    "g:PrincipalOrgPath",
    "g:PrincipalType",
    "g:ProjectName",
    "g:Referer",
    "g:RequestTag/",
    "g:ResourceOrgId",
    "g:ResourceOrgPath",
    "g:ServiceName",
    "g:SourceIdentity",
    "g:SourceVpc",
    "g:SourceVpce",
    "g:TagKeys",
    "g:TokenIssueTime",
    "g:ViaService",
    "g:VpcSourceIp",
];

/// All keys that the gate knows and that are not tags.
pub(in crate::policy) fn plain() -> impl Iterator<Item = Key> + Clone {
    PLAIN.iter().cloned().chain(JobFact::ALL.iter().copied().map(Key::Job))
}

/// Their names.
pub(in crate::policy) fn names() -> impl Iterator<Item = &'static str> + Clone {
    plain().map(|it| it.row().name)
}

impl Key {
    /// Names fold ASCII case; tag keys are exact.
    pub(in crate::policy) fn parse(name: &str) -> Result<Self, Fault> {
        for (prefix, tag) in [
            (PRINCIPAL_TAG, Self::PrincipalTag as fn(String) -> Self),
            (RESOURCE_TAG, Self::ResourceTag),
        ] {
            match strip_prefix_folded(name, prefix) {
                Some("") => return Err(Fault::NoTagKey),
                Some(it) => return Ok(tag(it.to_owned())),
                None => (),
            }
        }
        for (prefix, shown) in [(DAY_OF_WEEK, Shown::Day), (TIME_OF_DAY, Shown::Time)] {
            if let Some(zone) = strip_prefix_folded(name, prefix) {
                return Zone::named(zone).map(|it| Self::Zoned(shown, it)).map_err(Fault::Zone);
            }
        }
        if let Some(key) = plain().find(|it| it.row().name.eq_ignore_ascii_case(name)) {
            return Ok(key);
        }
        let unknowable = UNKNOWABLE.iter().find(|it| match it.ends_with('/') {
            true => strip_prefix_folded(name, it).is_some_and(|it| !it.is_empty()),
            false => it.eq_ignore_ascii_case(name),
        });
        match unknowable {
            Some(it) => Ok(Self::Unknowable(it)),
            None => Err(Fault::Unknown(nearest(name))),
        }
    }

    pub(in crate::policy) fn kind(&self) -> Kind {
        self.row().kind
    }

    /// The key may hold several values, and therefore never fills in a variable.
    pub(in crate::policy) fn is_several(&self) -> bool {
        match self {
            Self::Groups => true,
            Self::Job(fact) => fact.is_several(),
            _ => false,
        }
    }

    /// The key holds a value in every request.
    pub(in crate::policy) fn is_always_there(&self) -> bool {
        self.row().presence == Presence::Always
    }

    /// The values that the key can have, where they are a closed list.
    pub(in crate::policy) fn closed_list(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::AuthMethod => Some(&["jwt", "key", "local", "mtls"]),
            Self::Job(fact) => fact.values(),
            _ => None,
        }
    }

    /// The key that this one is computed from: `g:CurrentTime` for what is read off a clock or
    /// calendar, else itself.
    pub(in crate::policy) fn origin(&self) -> &Self {
        match self {
            Self::DayOfWeek | Self::TimeOfDay | Self::Zoned(..) => &Self::CurrentTime,
            _ => self,
        }
    }

    /// How its numbers are written, where that is not plain.
    pub(in crate::policy) fn unit(&self) -> Option<&'static str> {
        match (self, self.shown()) {
            (Self::Job(JobFact::Age), _) => {
                Some("an age is counted in seconds from 0; a day is `86400`")
            }
            (_, Some((Shown::Day, _))) => Some("`1` is Monday and `7` is Sunday"),
            (_, Some((Shown::Time, _))) => {
                Some("hours and minutes make one number, `0` to `2359`: 17:30 is `1730`")
            }
            _ => None,
        }
    }

    /// What it reads off a clock or calendar, and of which time zone.
    pub(in crate::policy) fn shown(&self) -> Option<(Shown, &Zone)> {
        match self {
            Self::DayOfWeek => Some((Shown::Day, &UTC)),
            Self::TimeOfDay => Some((Shown::Time, &UTC)),
            Self::Zoned(shown, zone) => Some((*shown, zone)),
            _ => None,
        }
    }

    /// The sources that its value has to be looked up in.
    pub(in crate::policy) fn sources(&self) -> Sources {
        Sources {
            details: matches!(self, Self::Job(_)),
            tags: matches!(self, Self::ResourceTag(_)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)?;
        match self {
            Self::PrincipalTag(tag) | Self::ResourceTag(tag) => f.write_str(tag),
            Self::Zoned(_, zone) => f.write_str(zone.name()),
            _ => Ok(()),
        }
    }
}

fn strip_prefix_folded<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// The known key whose name is most like `name`, with or without the service prefix.
fn nearest(name: &str) -> Option<&'static str> {
    let known = || names().chain([PRINCIPAL_TAG, RESOURCE_TAG]).chain(UNKNOWABLE.iter().copied());
    let local = |it: &str| it.split_once(':').map_or(it, |(_, local)| local).to_ascii_lowercase();
    let same = known().find(|it| local(it).trim_end_matches('/') == local(name));
    if same.is_some() {
        return same;
    }
    // Of a tag key only the part before the slash can be misspelt.
    if let Some((head, _)) = name.split_once('/') {
        let tagged = known().filter_map(|it| it.strip_suffix('/').map(|head| (head, it)));
        let head = suggest::nearest(head, tagged.clone().map(|(head, _)| head))?;
        return tagged.into_iter().find(|(it, _)| *it == head).map(|(_, it)| it);
    }
    suggest::nearest(name, known())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn names_fold_case_and_tag_keys_do_not() {
        assert_eq!(Key::parse("G:sourceip"), Ok(Key::SourceIp));
        assert_eq!(Key::parse("g:resourcetag/Env"), Ok(Key::ResourceTag("Env".to_owned())));
        assert_eq!(Key::parse("g:PrincipalTag/a/b:c"), Ok(Key::PrincipalTag("a/b:c".to_owned())));
        assert_eq!(Key::parse("g:mfapresent"), Ok(Key::Unknowable("g:MFAPresent")));
        assert_eq!(Key::parse("g:RequestTag/x"), Ok(Key::Unknowable("g:RequestTag/")));
    }

    #[test]
    fn what_is_no_key_is_suggested_one() {
        for (name, expected) in [
            ("g:ResourceTag/", Fault::NoTagKey),
            ("modelarts:poolID ", Fault::Unknown(Some("modelarts:poolId"))),
            ("modelart:poolId", Fault::Unknown(Some("modelarts:poolId"))),
            ("poolId", Fault::Unknown(Some("modelarts:poolId"))),
            ("g:groups", Fault::Unknown(Some("lychgate:groups"))),
            ("g:ResourceTags/env", Fault::Unknown(Some("g:ResourceTag/"))),
            ("g:ResourceTag", Fault::Unknown(Some("g:ResourceTag/"))),
            ("aws:SourceIp", Fault::Unknown(Some("g:SourceIp"))),
            ("lychgate:timeOfDay/Asia/Shanghi", Fault::Zone(Some("Asia/Shanghai".to_owned()))),
            ("ecs:flavor", Fault::Unknown(None)),
            ("", Fault::Unknown(None)),
        ] {
            assert_eq!(Key::parse(name), Err(expected), "{name}");
        }
    }

    /// Editors know the keys from docs/policy.schema.json.
    #[test]
    fn the_schema_has_every_key() {
        let schema = include_str!("../../../docs/policy.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let listed = &schema["$defs"]["keys"]["propertyNames"]["anyOf"][0]["enum"];
        let listed: BTreeSet<_> =
            listed.as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
        assert_eq!(listed, names().collect());
    }

    #[test]
    fn every_key_is_displayed_as_it_is_parsed() {
        for key in plain() {
            assert_eq!(Key::parse(&key.to_string()), Ok(key));
        }
        for name in ["g:ResourceTag/a", "lychgate:timeOfDay/Asia/Shanghai"] {
            assert_eq!(Key::parse(name).unwrap().to_string(), name);
        }
    }
}
