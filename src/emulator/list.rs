//! The list of a project's jobs, a page at a time.

use super::answer::Answer;
use super::job::Job;
use super::jobs::Jobs;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Ordering;

/// The longest page (ModelArts API reference, ListTrainingJobs).
const LIMIT_MAX: usize = 50;

/// The question, as far as it is understood; the rest is refused, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Counts pages, not jobs: so says the API reference.
    #[serde(default)]
    offset: usize,
    #[serde(default = "limit_max")]
    limit: usize,
    #[serde(default = "create_time")]
    sort_by: String,
    #[serde(default = "descending")]
    order: String,
    workspace_id: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    key: String,
    operator: String,
    value: Vec<String>,
}

fn limit_max() -> usize {
    LIMIT_MAX
}

fn create_time() -> String {
    "create_time".to_owned()
}

fn descending() -> String {
    "desc".to_owned()
}

/// Answers a search in `project`.
pub(super) fn list(jobs: &Jobs, project: &str, body: &[u8]) -> Answer {
    let search: Search = match serde_json::from_slice(body) {
        Ok(search) => search,
        Err(error) => return Answer::bad_parameter(&error.to_string()),
    };
    if !(1..=LIMIT_MAX).contains(&search.limit) {
        return Answer::bad_parameter("limit is not between 1 and 50");
    }
    if !["asc", "desc"].contains(&search.order.as_str()) {
        return Answer::bad_parameter("order is neither asc nor desc");
    }
    let Some(sort_by) = pointer(&search.sort_by) else {
        return Answer::bad_parameter("sort_by");
    };
    let workspace = search.workspace_id.as_deref();
    let of_project: Vec<&Job> = jobs.of_project(project).collect();
    let mut found = Vec::new();
    for job in &of_project {
        let in_workspace =
            workspace.is_none_or(|it| job.at("/metadata/workspace_id").as_str() == Some(it));
        match holds(job, &search.filters) {
            Ok(holds) if holds && in_workspace => found.push(*job),
            Ok(_) => {}
            Err(what) => return Answer::bad_parameter(what),
        }
    }
    found.sort_by(|a, b| compare(a.at(sort_by), b.at(sort_by)));
    if search.order == "desc" {
        found.reverse();
    }
    let first = search.offset.saturating_mul(search.limit);
    let items: Vec<&Value> =
        found.iter().skip(first).take(search.limit).map(|it| &it.details).collect();
    let answer = json!({
        "total": of_project.len(),
        "count": found.len(),
        "limit": search.limit,
        "offset": search.offset,
        "sort_by": search.sort_by,
        "order": search.order,
        "group_by": "",
        "workspace_id": workspace.unwrap_or("0"),
        "ai_project": "default-ai-project",
        "items": items,
    });
    Answer::json(StatusCode::OK, &answer)
}

/// Where the value of a key is.
fn pointer(key: &str) -> Option<&'static str> {
    Some(match key {
        "create_time" => "/metadata/create_time",
        "id" => "/metadata/id",
        "kind" => "/kind",
        "name" => "/metadata/name",
        "phase" => "/status/phase",
        "user_name" => "/metadata/user_name",
        _ => return None,
    })
}

fn compare(a: &Value, b: &Value) -> Ordering {
    a.as_i64().cmp(&b.as_i64()).then_with(|| a.as_str().cmp(&b.as_str()))
}

/// Whether `job` passes all filters; an error names what is not understood.
fn holds(job: &Job, filters: &[Filter]) -> Result<bool, &'static str> {
    for filter in filters {
        let value = job.at(pointer(&filter.key).ok_or("filter key")?);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_equal = || filter.value.contains(&text);
        let holds = match filter.operator.as_str() {
            "between" => {
                let [low, high] = filter.value.as_slice() else {
                    return Err("between takes two values");
                };
                let bound = |it: &String| it.parse::<i64>().map_err(|_| "between takes numbers");
                value.as_i64().is_some_and(|it| bound(low) <= Ok(it) && Ok(it) <= bound(high))
            }
            "in" => is_equal(),
            "like" => filter.value.iter().any(|it| text.contains(it.as_str())),
            "not" => !is_equal(),
            _ => return Err("filter operator"),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}
