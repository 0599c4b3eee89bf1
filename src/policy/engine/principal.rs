//! The authenticated caller.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a principal proved who it is; the value of `lychgate:authMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A gateway access key (SDK-HMAC-SHA256).
    Key,
    /// The fixed principal of a loopback or Unix-socket listener.
    Local,
    /// A JSON Web Token.
    Jwt,
    /// A client certificate.
    Mtls,
}

impl Method {
    /// The word that policies and records use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Local => "local",
            Self::Jwt => "jwt",
            Self::Mtls => "mtls",
        }
    }
}

/// An authenticated caller, named by its identity source and its name there: the same name from
/// two sources is two principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    source: String,
    id: String,
    groups: Vec<String>,
    tags: BTreeMap<String, String>,
    method: Method,
}

impl Principal {
    /// `name` and `groups` are bare, as the source calls them; they come out qualified by `source`.
    /// Repeated groups count once.
    #[must_use]
    pub fn new(
        source: &str,
        name: &str,
        groups: impl IntoIterator<Item = String>,
        tags: BTreeMap<String, String>,
        method: Method,
    ) -> Self {
        let mut groups: Vec<_> = groups.into_iter().map(|it| format!("{source}/{it}")).collect();
        groups.sort_unstable();
        groups.dedup();
        Self { source: source.to_owned(), id: format!("{source}/{name}"), groups, tags, method }
    }

    /// The caller that a record names: `id` and `groups` are qualified by `source`; `None` if one
    /// of them is not.
    #[must_use]
    pub fn qualified(
        source: &str,
        id: String,
        mut groups: Vec<String>,
        tags: BTreeMap<String, String>,
        method: Method,
    ) -> Option<Self> {
        let is_of = |it: &String| it.strip_prefix(source).is_some_and(|it| it.starts_with('/'));
        if !is_of(&id) || !groups.iter().all(is_of) {
            return None;
        }
        groups.sort_unstable();
        groups.dedup();
        Some(Self { source: source.to_owned(), id, groups, tags, method })
    }

    /// The identity source, such as `corp`; the value of `lychgate:issuer`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The bare name, such as `alice`; the value of `g:UserName`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.id.get(self.source.len() + 1..).unwrap_or_default()
    }

    /// The qualified name, such as `corp/alice`; the value of `g:UserId`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Qualified groups, such as `corp/ml-research`, sorted; the values of `lychgate:groups`.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The values of `g:PrincipalTag/<key>`.
    #[must_use]
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    /// How the principal proved who it is.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }
}
