//! Cases as written.

use crate::policy::language::kind::Kind;
use crate::policy::language::yaml::{Pairs, Spanned};
use crate::policy::{Held, JobFact};

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::fmt;

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: Spanned<String>,
    pub(super) principal: Principal,
    pub(super) request: Request,
    pub(super) job: Job,
    /// Units already taken, by budget.
    #[serde(default)]
    pub(super) spent: Pairs<u64>,
    pub(super) expect: Spanned<String>,
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
    pub(super) tags: Pairs<String>,
    pub(super) method: Option<Spanned<String>>,
}

/// The circumstances.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) action: Option<Spanned<String>>,
    pub(super) project: Spanned<String>,
    pub(super) job: Spanned<String>,
    pub(super) region: Spanned<String>,
    pub(super) time: Spanned<String>,
    pub(super) account: Option<Spanned<String>>,
    pub(super) source_ip: Option<Spanned<String>>,
    pub(super) secure: Option<bool>,
    pub(super) user_agent: Option<String>,
    #[serde(default)]
    pub(super) unavailable: Vec<Spanned<String>>,
}

/// What is stated of the job. The word `unavailable` says so of its details and of its tags.
#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) stated: BTreeMap<JobFact, Stated>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) unavailable: Vec<Spanned<String>>,
}

/// What is stated of one fact.
#[derive(Debug)]
pub(super) enum Stated {
    Number(i64),
    Text(Spanned<String>),
    Texts(Spanned<Vec<String>>),
}

impl Stated {
    pub(super) fn held(&self) -> Held<'_> {
        match self {
            Self::Number(it) => Held::Number(*it),
            Self::Text(it) => Held::Text(&it.value),
            Self::Texts(it) => Held::Texts(&it.value),
        }
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JobVisitor)
    }
}

/// An untagged enum would lose the places of values.
struct JobVisitor;

impl<'de> Visitor<'de> for JobVisitor {
    type Value = Job;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is known of the job, or the word `unavailable`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Job, E> {
        match word {
            "unavailable" => {
                let named = |it: &str| Spanned { value: it.to_owned(), ..Spanned::default() };
                Ok(Job { unavailable: ["details", "tags"].map(named).into(), ..Job::default() })
            }
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Job, A::Error> {
        let mut res = Job::default();
        while let Some(field) = map.next_key::<String>()? {
            let fact = JobFact::ALL.iter().copied().find(|it| it.case() == field);
            match (fact, field.as_str()) {
                (Some(fact), _) => {
                    let stated = match (fact.is_several(), fact.kind()) {
                        (true, _) => Stated::Texts(map.next_value()?),
                        (false, Kind::Number) => Stated::Number(map.next_value()?),
                        (false, _) => Stated::Text(map.next_value()?),
                    };
                    res.stated.insert(fact, stated);
                }
                (None, "tags") => res.tags = Some(map.next_value()?),
                (None, "unavailable") => res.unavailable = map.next_value()?,
                (None, field) => return Err(Error::unknown_field(field, JobFact::FIELDS)),
            }
        }
        Ok(res)
    }
}
