//! The condition keys: what each is called, what it holds, where it comes from.

use crate::policy::Sources;
use crate::policy::language::suggest;

use std::fmt;

/// What a condition asks about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Key {
    AuthMethod,
    CurrentTime,
    DayOfWeek,
    DomainId,
    EnterpriseProjectId,
    Groups,
    Issuer,
    JobAge,
    JobKind,
    JobName,
    JobOwner,
    JobPhase,
    PoolId,
    PoolType,
    PrincipalAccount,
    PrincipalTag(String),
    PrincipalUrn,
    ProjectId,
    RequestedRegion,
    ResourceTag(String),
    SecureTransport,
    SourceIp,
    TimeOfDay,
    /// Huawei documents it and the gate cannot know it; the name as in [`UNKNOWABLE`].
    Unknowable(&'static str),
    UserAgent,
    UserId,
    UserName,
    WorkspaceId,
}

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Kind {
    Address,
    Boolean,
    Date,
    Number,
    Text,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Fault {
    /// `g:ResourceTag/` without a tag key.
    NoTagKey,
    /// No such key; the name that may have been meant.
    Unknown(Option<&'static str>),
}

/// Every key that the gate knows and that is not a tag, by name.
const PLAIN: &[(&str, Key)] = &[
    ("g:CurrentTime", Key::CurrentTime),
    ("g:DomainId", Key::DomainId),
    ("g:EnterpriseProjectId", Key::EnterpriseProjectId),
    ("g:PrincipalAccount", Key::PrincipalAccount),
    ("g:PrincipalUrn", Key::PrincipalUrn),
    ("g:RequestedRegion", Key::RequestedRegion),
    ("g:SecureTransport", Key::SecureTransport),
    ("g:SourceIp", Key::SourceIp),
    ("g:UserAgent", Key::UserAgent),
    ("g:UserId", Key::UserId),
    ("g:UserName", Key::UserName),
    ("lychgate:authMethod", Key::AuthMethod),
    ("lychgate:dayOfWeek", Key::DayOfWeek),
    ("lychgate:groups", Key::Groups),
    ("lychgate:issuer", Key::Issuer),
    ("lychgate:jobAge", Key::JobAge),
    ("lychgate:jobKind", Key::JobKind),
    ("lychgate:jobName", Key::JobName),
    ("lychgate:jobOwner", Key::JobOwner),
    ("lychgate:jobPhase", Key::JobPhase),
    ("lychgate:projectId", Key::ProjectId),
    ("lychgate:timeOfDay", Key::TimeOfDay),
    ("lychgate:workspaceId", Key::WorkspaceId),
    ("modelarts:poolId", Key::PoolId),
    ("modelarts:poolType", Key::PoolType),
];

const PRINCIPAL_TAG: &str = "g:PrincipalTag/";
const RESOURCE_TAG: &str = "g:ResourceTag/";

/// Keys of Huawei Cloud that only Huawei Cloud can answer: what its IAM knows of the caller's login,
/// organisation and network, and of requests that carry tags. A name ending in `/` takes a tag key.
pub(in crate::policy) const UNKNOWABLE: &[&str] = &[
    "g:CalledVia",
    "g:CalledViaFirst",
    "g:CalledViaLast",
    "g:DomainName",
    "g:MFAAge",
    "g:MFAPresent",
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

/// The names of all keys that the gate knows and that are not tags.
#[cfg(test)]
pub(in crate::policy) fn names() -> impl Iterator<Item = &'static str> {
    PLAIN.iter().map(|(name, _)| *name)
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
        if let Some((_, key)) = PLAIN.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)) {
            return Ok(key.clone());
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
        match self {
            Self::CurrentTime => Kind::Date,
            Self::DayOfWeek | Self::JobAge | Self::TimeOfDay => Kind::Number,
            Self::SecureTransport => Kind::Boolean,
            Self::SourceIp => Kind::Address,
            _ => Kind::Text,
        }
    }

    /// The key may hold several values, and therefore never fills in a variable.
    pub(in crate::policy) fn is_several(&self) -> bool {
        matches!(self, Self::Groups | Self::PoolId | Self::PoolType)
    }

    /// The key holds a value in every request.
    pub(in crate::policy) fn is_always_there(&self) -> bool {
        matches!(
            self,
            Self::AuthMethod
                | Self::CurrentTime
                | Self::DayOfWeek
                | Self::DomainId
                | Self::Issuer
                | Self::PrincipalAccount
                | Self::PrincipalUrn
                | Self::ProjectId
                | Self::RequestedRegion
                | Self::TimeOfDay
                | Self::UserId
                | Self::UserName
        )
    }

    /// The values that the key can have, where they are a closed list (ModelArts API reference,
    /// ShowTrainingJobDetails).
    pub(in crate::policy) fn closed_list(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::AuthMethod => Some(&["jwt", "key", "local", "mtls"]),
            Self::JobKind => Some(&[
                "autosearch_job",
                "diag_job",
                "edge_job",
                "federated_pool_job",
                "hetero_job",
                "job",
                "mrs_job",
                "visualization_job",
            ]),
            Self::JobPhase => Some(&[
                "Abnormal",
                "Completed",
                "Creating",
                "Failed",
                "Pending",
                "Running",
                "Terminated",
                "Terminating",
            ]),
            _ => None,
        }
    }

    /// The key that holds something else whenever this one does: what is read off the clock is the
    /// clock's.
    pub(in crate::policy) fn origin(&self) -> &Self {
        match self {
            Self::DayOfWeek | Self::TimeOfDay => &Self::CurrentTime,
            _ => self,
        }
    }

    /// Where the value has to be asked for.
    pub(in crate::policy) fn sources(&self) -> Sources {
        let details = matches!(
            self,
            Self::JobAge
                | Self::JobKind
                | Self::JobName
                | Self::JobOwner
                | Self::JobPhase
                | Self::PoolId
                | Self::PoolType
                | Self::WorkspaceId
        );
        Sources { details, tags: matches!(self, Self::ResourceTag(_)) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrincipalTag(tag) => write!(f, "{PRINCIPAL_TAG}{tag}"),
            Self::ResourceTag(tag) => write!(f, "{RESOURCE_TAG}{tag}"),
            Self::Unknowable(name) => f.write_str(name),
            _ => {
                let name = PLAIN.iter().find(|(_, key)| key == self).map(|(name, _)| *name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

fn strip_prefix_folded<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// The known key whose name is like `name`, service prefix or not.
fn nearest(name: &str) -> Option<&'static str> {
    let names = || {
        let tags = [PRINCIPAL_TAG, RESOURCE_TAG];
        PLAIN.iter().map(|(name, _)| *name).chain(tags).chain(UNKNOWABLE.iter().copied())
    };
    let local = |it: &str| it.split_once(':').map_or(it, |(_, local)| local).to_ascii_lowercase();
    let same = names().find(|it| local(it).trim_end_matches('/') == local(name));
    if same.is_some() {
        return same;
    }
    // Of a tag key only the part before the slash can be misspelt.
    if let Some((head, _)) = name.split_once('/') {
        let tagged = names().filter_map(|it| it.strip_suffix('/').map(|head| (head, it)));
        let head = suggest::nearest(head, tagged.clone().map(|(head, _)| head))?;
        return tagged.into_iter().find(|(it, _)| *it == head).map(|(_, it)| it);
    }
    suggest::nearest(name, names())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("ecs:flavor", Fault::Unknown(None)),
            ("", Fault::Unknown(None)),
        ] {
            assert_eq!(Key::parse(name), Err(expected), "{name}");
        }
    }

    #[test]
    fn every_key_is_displayed_as_it_is_parsed() {
        for (name, key) in PLAIN {
            assert_eq!(key.to_string(), *name);
            assert_eq!(Key::parse(name).as_ref(), Ok(key));
        }
        let tag = Key::ResourceTag("a".to_owned());
        assert_eq!(Key::parse(&tag.to_string()), Ok(tag));
    }
}
