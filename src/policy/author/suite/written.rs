//! Suites as written.

use crate::policy::language::yaml::{self, Pairs};

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// A file of tests/.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    pub(super) cases: Spanned<Vec<Case>>,
}

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: Spanned<String>,
    pub(super) principal: Principal,
    pub(super) request: Request,
    pub(super) job: Job,
    /// Units that are taken already, by budget.
    #[serde(default)]
    pub(super) spent: Pairs<u64>,
    pub(super) expect: Spanned<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) by: Option<Spanned<String>>,
}

/// Who asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Principal {
    pub(super) source: Spanned<String>,
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) method: Option<Spanned<String>>,
}

/// The circumstances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) project: Spanned<String>,
    pub(super) job: Spanned<String>,
    pub(super) region: String,
    pub(super) time: Spanned<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) account: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) source_ip: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) secure: Option<bool>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) user_agent: Option<String>,
    #[serde(default)]
    pub(super) unavailable: Vec<Spanned<String>>,
}

/// What is known of the job.
#[derive(Debug)]
pub(super) enum Job {
    /// The word `unavailable`.
    Unavailable,
    Known(Box<Facts>),
}

/// What is stated of the job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) pool_id: Option<Spanned<Vec<String>>>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) pool_type: Option<Vec<String>>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) phase: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) owner: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) age: Option<i64>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) workspace: Option<String>,
    #[serde(default, deserialize_with = "yaml::present")]
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) unavailable: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JobVisitor)
    }
}

/// An untagged enum would forget where things stand.
struct JobVisitor;

impl<'de> Visitor<'de> for JobVisitor {
    type Value = Job;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is known of the job, or the word `unavailable`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Job, E> {
        match word {
            "unavailable" => Ok(Job::Unavailable),
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Job, A::Error> {
        Facts::deserialize(MapAccessDeserializer::new(map)).map(|it| Job::Known(Box::new(it)))
    }
}
