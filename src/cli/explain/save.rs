//! A question and its answer as a case at the end of a suite.

use crate::policy::{Attribute, Attributes, Decision, Files, Limits, Query, Suites};

use serde_json::{Map, Value, json};
use std::path::Path;
use std::{fs, io};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read or write {path}")]
    Io { path: String, source: io::Error },
    #[error(
        "{path} is no suite that a case can be added to at its end ({message}); nothing was written"
    )]
    Suite { path: String, message: String },
}

/// Adds the case to the suite at `path`, which is made if it is not there. Nothing is written if
/// the suite could not be read with it.
pub(super) fn append(
    path: &Path,
    name: &str,
    query: &Query,
    attributes: &Attributes,
    decision: &Decision,
) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.display().to_string(), source };
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "cases:\n".to_owned(),
        Err(error) => return Err(failed(error)),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&case(name, query, attributes, decision));
    let files: Files = [("tests/suite.yaml", text.clone())].into_iter().collect();
    let suites = Suites::read(&files, None, &Limits::default());
    let whole = suites.cases.iter().any(|it| it.name == name);
    if let Some(error) = suites.diagnostics.first().filter(|_| !whole) {
        let message = error.message.clone();
        return Err(Error::Suite { path: path.display().to_string(), message });
    }
    fs::write(path, text).map_err(failed)
}

/// The case in YAML, which takes JSON for values.
fn case(name: &str, query: &Query, attributes: &Attributes, decision: &Decision) -> String {
    let principal = &query.principal;
    let prefix = format!("{}/", principal.source());
    let groups: Vec<_> =
        principal.groups().iter().map(|it| it.strip_prefix(&prefix).unwrap_or(it)).collect();
    let who = json!({
        "source": principal.source(), "name": principal.name(), "groups": groups,
        "tags": principal.tags(), "method": principal.method().as_str(),
    });
    let request = json!({
        "project": query.job.project_id, "job": query.job.training_job_id, "region": query.region,
        "account": query.account, "time": query.now.to_string(),
    });
    let mut res = format!(
        "  - name: {}\n    principal: {who}\n    request: {request}\n    job: {}\n    expect: {}\n",
        json!(name),
        job(attributes),
        decision.answer().as_str(),
    );
    if let Some(by) = decision.decider() {
        res.push_str(&format!("    by: {}\n", json!(by)));
    }
    res
}

fn job(attributes: &Attributes) -> Value {
    let Attributes { pool_id, pool_type, phase, kind, name, owner, age, workspace_id, tags } =
        attributes;
    let mut res = Map::new();
    let mut unavailable = Vec::new();
    let mut put = |field: &'static str, value: Attribute<Value>| match value {
        Attribute::Value(it) => drop(res.insert(field.to_owned(), it)),
        Attribute::Absent => (),
        Attribute::Unavailable | Attribute::NotAsked => unavailable.push(field),
    };
    for (field, list) in [("pool_id", pool_id), ("pool_type", pool_type)] {
        put(field, map(list, |it| json!(it)));
    }
    for (field, text) in [
        ("phase", phase),
        ("kind", kind),
        ("name", name),
        ("owner", owner),
        ("workspace", workspace_id),
    ] {
        put(field, map(text, |it| json!(it)));
    }
    put("age", map(age, |it| json!(it)));
    put("tags", map(tags, |it| json!(it)));
    if !unavailable.is_empty() {
        res.insert("unavailable".to_owned(), json!(unavailable));
    }
    Value::Object(res)
}

fn map<T>(attribute: &Attribute<T>, value: impl FnOnce(&T) -> Value) -> Attribute<Value> {
    match attribute {
        Attribute::Value(it) => Attribute::Value(value(it)),
        Attribute::Absent => Attribute::Absent,
        Attribute::Unavailable => Attribute::Unavailable,
        Attribute::NotAsked => Attribute::NotAsked,
    }
}
