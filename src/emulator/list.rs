//! The list of a project's jobs, a page at a time.

use super::answer::Answer;
use super::job::Job;
use super::jobs::Jobs;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest page (ModelArts API reference, ListTrainingJobs).
const LIMIT_MAX: usize = 50;

/// The question, as far as it is understood; the rest is refused, not ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Search {
    /// Counts pages, not jobs: so says the API reference.
    offset: usize,
    limit: usize,
    sort_by: String,
    order: String,
}

impl Default for Search {
    fn default() -> Self {
        let (sort_by, order) = ("create_time".to_owned(), "desc".to_owned());
        Self { offset: 0, limit: LIMIT_MAX, sort_by, order }
    }
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
    if search.sort_by != "create_time" {
        return Answer::bad_parameter("sort_by is not create_time");
    }
    let mut found: Vec<&Job> = jobs.of_project(project).collect();
    found.sort_by_key(|it| it.at("/metadata/create_time").as_i64());
    match search.order.as_str() {
        "asc" => (),
        "desc" => found.reverse(),
        _ => return Answer::bad_parameter("order is neither asc nor desc"),
    }
    let first = search.offset.saturating_mul(search.limit);
    let items: Vec<&Value> =
        found.iter().skip(first).take(search.limit).map(|it| &it.details).collect();
    let answer = json!({
        "total": found.len(),
        "count": found.len(),
        "limit": search.limit,
        "offset": search.offset,
        "sort_by": search.sort_by,
        "order": search.order,
        "group_by": "",
        "workspace_id": "0",
        "ai_project": "default-ai-project",
        "items": items,
    });
    Answer::json(StatusCode::OK, &answer)
}
