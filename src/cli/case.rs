//! A request and its answer as a case of a suite.

use crate::policy::{Action, Answer, Attribute, Attributes, JobFact, Query};

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
    res
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
