//! Suites and cases as written, and the question that a case asks.

use lychgate::policy::{self, Action, Attribute, Attributes, Method, Principal, Query, Sources};

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    principal: Who,
    request: Circumstances,
    job: Job,
    /// `allow`, `deny` or `indeterminate`.
    pub(crate) expect: String,
    /// A statement, `ceiling` or `none`.
    pub(crate) by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    source: String,
    name: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Circumstances {
    project: String,
    job: String,
    region: String,
    time: String,
    #[serde(default)]
    action: Action,
    account: Option<String>,
    source_ip: Option<IpAddr>,
    secure: Option<bool>,
    user_agent: Option<String>,
    #[serde(default)]
    unavailable: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Job {
    Known(Box<Facts>),
    Unknown(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    pool_id: Option<Vec<String>>,
    pool_type: Option<Vec<String>>,
    phase: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    age: Option<i64>,
    workspace: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    unavailable: Vec<String>,
}

impl Suite {
    /// The suite with what its cases leave to the defaults of all suites, field by field.
    pub(crate) fn under(defaults: Option<&[u8]>, bytes: &[u8]) -> Self {
        let read = |it| serde_saphyr::from_slice::<Value>(it).expect("it is YAML");
        let defaults = defaults.map(read).unwrap_or_default();
        let mut suite = read(bytes);
        for case in suite["cases"].as_array_mut().expect("a suite has cases") {
            for (part, fields) in defaults.as_object().into_iter().flatten() {
                for (name, value) in fields.as_object().into_iter().flatten() {
                    if case[part].is_null() || case[part].is_object() {
                        let stated = &mut case[part][name];
                        if stated.is_null() {
                            *stated = value.clone();
                        }
                    }
                }
            }
        }
        serde_json::from_value(suite).expect("it is a suite")
    }
}

impl Case {
    pub(crate) fn query(&self) -> Query {
        let Who { source, name, groups, tags, method } = &self.principal;
        let method = match method.as_deref() {
            None | Some("jwt") => Method::Jwt,
            Some("key") => Method::Key,
            Some("local") => Method::Local,
            Some("mtls") => Method::Mtls,
            Some(it) => panic!("{}: unknown method {it}", self.name),
        };
        let request = &self.request;
        let unknown = |field: &str| request.unavailable.iter().any(|it| it == field);
        Query {
            principal: Arc::new(Principal::new(source, name, groups.clone(), tags.clone(), method)),
            action: request.action,
            job: policy::Job::new(&request.project, &request.job).into(),
            region: request.region.clone(),
            account: request.account.clone().unwrap_or_default(),
            now: request.time.parse().expect("request.time is a time"),
            source_ip: attribute(request.source_ip.as_ref(), unknown("source_ip")),
            secure_transport: attribute(request.secure.as_ref(), unknown("secure")),
            user_agent: attribute(request.user_agent.as_ref(), unknown("user_agent")),
        }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        let facts = match &self.job {
            Job::Known(it) => it,
            Job::Unknown(it) if it == "unavailable" => {
                let mut res = Attributes::default();
                res.asked(Sources { details: true, tags: true });
                return res;
            }
            Job::Unknown(it) => panic!("{}: job: {it}", self.name),
        };
        let unknown = |field: &str| facts.unavailable.iter().any(|it| it == field);
        let text = |value: &Option<String>, field: &str| {
            attribute(value.as_ref(), unknown("details") || unknown(field))
        };
        let list = |value: &Option<Vec<String>>, field: &str| {
            let value = value.as_ref().filter(|it| !it.is_empty());
            attribute(value, unknown("details") || unknown(field))
        };
        Attributes {
            pool_id: list(&facts.pool_id, "pool_id"),
            pool_type: list(&facts.pool_type, "pool_type"),
            phase: text(&facts.phase, "phase"),
            kind: text(&facts.kind, "kind"),
            name: text(&facts.name, "name"),
            owner: text(&facts.owner, "owner"),
            age: attribute(facts.age.as_ref(), unknown("details") || unknown("age")),
            workspace_id: text(&facts.workspace, "workspace"),
            tags: match attribute(facts.tags.as_ref(), unknown("tags")) {
                Attribute::Absent => Attribute::Value(BTreeMap::new()),
                it => it,
            },
        }
    }
}

/// What is stated stands, even where the rest of its source is unavailable.
fn attribute<T: Clone>(value: Option<&T>, unavailable: bool) -> Attribute<T> {
    match value {
        Some(it) => Attribute::Value(it.clone()),
        None if unavailable => Attribute::Unavailable,
        None => Attribute::Absent,
    }
}
