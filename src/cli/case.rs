//! A request and its answer as a case of a suite.

use crate::policy::{Action, Answer, Attribute, Attributes, JobFact, Query};
use crate::text::escaped_json;

use serde_json::{Map, Value, json};

/// The case in YAML with values in JSON, which is YAML too; `by` is the expected decider.
pub(super) fn text(
    name: &str,
    query: &Query,
    attributes: &Attributes,
    expect: Answer,
    by: Option<&str>,
) -> String {
    let principal = &query.principal;
    let prefix = format!("{}/", principal.source());
    let groups: Vec<_> =
        principal.groups().iter().map(|it| it.strip_prefix(&prefix).unwrap_or(it)).collect();
    let who = json!({
        "source": principal.source(), "name": principal.name(), "groups": groups,
        "tags": principal.tags(), "method": principal.method().as_str(),
    });
    let mut request = Fields::default();
    if query.action != Action::Delete {
        request.known("action", json!(query.action));
    }
    request.known("project", json!(query.job.project_id));
    request.known("job", json!(query.job.training_job_id));
    request.known("region", json!(query.region));
    request.known("account", json!(query.account));
    request.known("time", json!(query.now.to_string()));
    request.put("source_ip", &query.source_ip, |it| json!(it));
    request.put("secure", &query.secure_transport, |it| json!(it));
    request.put("user_agent", &query.user_agent, |it| json!(it));
    let request = request.into_value();
    let mut res = format!(
        "  - name: {}\n    principal: {who}\n    request: {request}\n    job: {}\n    expect: {}\n",
        json!(name),
        job(attributes),
        expect.as_str(),
    );
    if let Some(by) = by {
        res.push_str(&format!("    by: {}\n", json!(by)));
    }
    // What YAML takes only as an escape; `escaped_json` leaves these two.
    escaped_json(&res).replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

fn job(attributes: &Attributes) -> Value {
    let mut res = Fields::default();
    for fact in JobFact::ALL {
        res.put(fact.case(), &attributes.get(*fact), |it| json!(it));
    }
    // No tags is what a suite assumes.
    match &attributes.tags {
        Attribute::Value(it) if it.is_empty() => (),
        _ => res.put("tags", &attributes.tags, |it| json!(it)),
    }
    res.into_value()
}

/// What is known, and the names of what is unavailable.
#[derive(Default)]
struct Fields {
    known: Map<String, Value>,
    unavailable: Vec<&'static str>,
}

impl Fields {
    fn known(&mut self, field: &'static str, value: Value) {
        self.known.insert(field.to_owned(), value);
    }

    fn put<T>(
        &mut self,
        field: &'static str,
        attribute: &Attribute<T>,
        value: impl FnOnce(&T) -> Value,
    ) {
        match attribute {
            Attribute::Value(it) => self.known(field, value(it)),
            Attribute::Absent => (),
            Attribute::Unavailable | Attribute::NotAsked => self.unavailable.push(field),
        }
    }

    fn into_value(mut self) -> Value {
        if !self.unavailable.is_empty() {
            self.known.insert("unavailable".to_owned(), json!(self.unavailable));
        }
        Value::Object(self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Job, Method, Principal};
    use crate::yaml;

    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// A name that somebody gave a job must not break the suite that its case stands in.
    #[test]
    fn a_case_is_yaml_whatever_the_names_are() {
        let others =
            ['\u{7f}', '\u{85}', '\u{2028}', '\u{feff}', '\u{fffe}', '\u{ffff}', '\u{e0041}'];
        for it in ('\0'..='\u{ff}').chain(others) {
            let name = format!("a{it}b: #'\"");
            let query = Query {
                principal: Arc::new(Principal::new("corp", "a", [], BTreeMap::new(), Method::Jwt)),
                action: Action::Delete,
                job: Arc::new(Job::new("0a1b2c", "j")),
                region: name.clone(),
                account: String::new(),
                now: "2026-01-15T12:00:00Z".parse().unwrap(),
                source_ip: Attribute::Absent,
                secure_transport: Attribute::Absent,
                user_agent: Attribute::Absent,
            };
            let attributes =
                Attributes { name: Attribute::Value(name.clone()), ..Attributes::default() };
            let text = text("it", &query, &attributes, Answer::Deny, None);
            let cases: Vec<Value> = yaml::read(&text).unwrap_or_else(|it| panic!("{text} {it:?}"));
            assert_eq!(cases[0]["request"]["region"], name);
            assert_eq!(cases[0]["job"]["name"], name);
        }
    }
}
