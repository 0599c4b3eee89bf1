//! The grammar of a batch delete's body, as documented and no wider (ModelArts API reference,
//! BatchDeleteTrainingJob):
//!
//! ```json
//! {"jobs": [{"kind": "job", "metadata": {"id": "3faf5c03-aaa1-4cbe-879d-24b05d997347"}}]}
//! ```
//!
//! One reading only: no member twice, none that is not documented, no list in an object's place.
//! What is parsed here is what is judged and sent; the bytes themselves go no further.

use super::{JobIdFault, JobIds};
use crate::object;
use crate::policy::Job;

use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// The longest body, in bytes. A hundred jobs, generously indented, take half of it.
pub const BODY_BYTES_MAX: usize = 32 * 1024;

/// The most jobs of a batch, as documented.
pub const JOBS_MAX: usize = 100;

/// What `kind` can be, as documented.
const KINDS: [&str; 8] = [
    "job",
    "edge_job",
    "mrs_job",
    "hetero_job",
    "autosearch_job",
    "diag_job",
    "visualization_job",
    "federated_pool_job",
];

/// The path of a batch delete.
#[must_use]
pub fn path(project_id: &str) -> String {
    format!("/v2/{project_id}/training-jobs/batch-delete")
}

/// One job of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The job.
    pub job: Arc<Job>,
    /// What the caller takes it for; the cloud's own `kind` of the job must be the same.
    pub kind: &'static str,
}

/// Why a body is no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not JSON, or not of the documented form.
    #[error("the body is not the documented JSON: {0}")]
    Malformed(String),
    /// No job, or too many.
    #[error("`jobs` must list 1 to {JOBS_MAX} jobs")]
    Count,
    /// A `kind` that is not documented.
    #[error("jobs[{index}]: `kind` must be one of {}", KINDS.join(", "))]
    Kind {
        /// From 0.
        index: usize,
    },
    /// An ID that the path would not take either.
    #[error("jobs[{index}]: the training job ID is malformed: {fault}")]
    JobId {
        /// From 0.
        index: usize,
        /// Why.
        fault: JobIdFault,
    },
    /// A job that was named before.
    #[error("jobs[{index}]: this job is listed twice")]
    Repeated {
        /// From 0.
        index: usize,
    },
}

/// Reads the jobs of a batch in the project `project_id`.
///
/// # Errors
/// The first fault.
pub fn parse(project_id: &str, body: &[u8], job_ids: JobIds) -> Result<Vec<Item>, Fault> {
    let body = object::parse(body).map_err(|error| Fault::Malformed(error.to_string()))?;
    let [jobs] = members(Value::Object(body), ["jobs"], "")?;
    let Value::Array(jobs) = jobs else {
        return Err(Fault::Malformed("`jobs` must be a list of jobs".to_owned()));
    };
    if !(1..=JOBS_MAX).contains(&jobs.len()) {
        return Err(Fault::Count);
    }
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.into_iter().enumerate() {
        let [kind, metadata] = members(job, ["kind", "metadata"], &format!("jobs[{index}]: "))?;
        let [id] = members(metadata, ["id"], &format!("jobs[{index}].metadata: "))?;
        let (Value::String(kind), Value::String(id)) = (kind, id) else {
            let message = format!("jobs[{index}]: `kind` and `id` must be texts");
            return Err(Fault::Malformed(message));
        };
        let kind = KINDS.into_iter().find(|it| *it == kind).ok_or(Fault::Kind { index })?;
        job_ids.check(&id).map_err(|fault| Fault::JobId { index, fault })?;
        if !seen.insert(id.clone()) {
            return Err(Fault::Repeated { index });
        }
        items.push(Item { job: Arc::new(Job::new(project_id, id)), kind });
    }
    Ok(items)
}

/// The values of `names`, which are all members that an object has; messages begin with `place`.
fn members<const N: usize>(
    object: Value,
    names: [&str; N],
    place: &str,
) -> Result<[Value; N], Fault> {
    let fault = |what: &str| Fault::Malformed(format!("{place}{what}"));
    let Value::Object(mut object) = object else { return Err(fault("an object is needed here")) };
    if object.keys().any(|it| !names.contains(&it.as_str())) {
        return Err(fault("a member that is not documented"));
    }
    let mut values = [const { Value::Null }; N];
    for (name, value) in names.into_iter().zip(&mut values) {
        *value = object.remove(name).ok_or_else(|| fault(&format!("`{name}` is missing")))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";
    const OTHER: &str = "00000000-0000-0000-0000-000000000001";

    #[track_caller]
    fn check(body: &str, expected: Result<&[(&str, &str)], &str>) {
        let body = body.replace("JOB", JOB).replace("OTHER", OTHER);
        let read = parse("p", body.as_bytes(), JobIds::Uuid);
        match (read, expected) {
            (Ok(items), Ok(expected)) => {
                let items: Vec<_> =
                    items.iter().map(|it| (it.kind, it.job.training_job_id.as_str())).collect();
                assert_eq!(items, expected, "{body}");
            }
            (Err(fault), Err(words)) => {
                let text = fault.to_string();
                assert!(text.contains(words), "{body}: {text}");
            }
            (read, expected) => panic!("{body}: {read:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_body_is_exact() {
        let one = r#"{"kind":"job","metadata":{"id":"JOB"}}"#;
        check(&format!(r#"{{"jobs":[{one}]}}"#), Ok(&[("job", JOB)]));
        check(
            r#" { "jobs" : [ {"metadata":{"id":"\u0033faf5c03-aaa1-4cbe-879d-24b05d997347"}, "\u006bind":"mrs_job"} ] } "#,
            Ok(&[("mrs_job", JOB)]),
        );
        check(
            &format!(r#"{{"jobs":[{one},{{"kind":"hetero_job","metadata":{{"id":"OTHER"}}}}]}}"#),
            Ok(&[("job", JOB), ("hetero_job", OTHER)]),
        );
        for (body, words) in [
            ("", "EOF"),
            ("null", "it is not an object"),
            ("[]", "it is not an object"),
            (r#"{"jobs":[]}"#, "1 to 100"),
            (r#"{"jobs":{}}"#, "a list of jobs"),
            ("{}", "`jobs` is missing"),
            (r#"{"jobs":[],"jobs":[]}"#, "a name is repeated at line 1 column 21"),
            (r#"{"jobs":[],"\u006aobs":[]}"#, "repeated"),
            (r#"{"jobs":[],"x":1}"#, "not documented"),
            (r#"{"Jobs":[]}"#, "not documented"),
            (r#"{"jobs":[]} {}"#, "trailing"),
            (r#"{"jobs":[["job",["JOB"]]]}"#, "jobs[0]: an object is needed here"),
            (r#"{"jobs":[{"kind":"job","metadata":["JOB"]}]}"#, "jobs[0].metadata: an object"),
            (r#"{"jobs":[{"kind":"job"}]}"#, "jobs[0]: `metadata` is missing"),
            (r#"{"jobs":[{"metadata":{"id":"JOB"}}]}"#, "jobs[0]: `kind` is missing"),
            (r#"{"jobs":[{"kind":"job","metadata":{}}]}"#, "jobs[0].metadata: `id` is missing"),
            (
                r#"{"jobs":[{"kind":null,"metadata":{"id":"JOB"}}]}"#,
                "jobs[0]: `kind` and `id` must",
            ),
            (r#"{"jobs":[{"kind":"job","kind":"job","metadata":{"id":"JOB"}}]}"#, "repeated"),
            (r#"{"jobs":[{"kind":"job","metadata":{"id":"JOB","id":"OTHER"}}]}"#, "repeated"),
            (r#"{"jobs":[{"kind":"job","metadata":{"id":"JOB","name":"x"}}]}"#, "not documented"),
            (r#"{"jobs":[{"kind":"job","metadata":{"id":"JOB"},"x":1}]}"#, "not documented"),
            (
                r#"{"jobs":[{"kind":"Job","metadata":{"id":"JOB"}}]}"#,
                "jobs[0]: `kind` must be one of job,",
            ),
            (
                r#"{"jobs":[{"kind":"job","metadata":{"id":"../JOB"}}]}"#,
                "jobs[0]: the training job ID",
            ),
            (
                r#"{"jobs":[{"kind":"job","metadata":{"id":"batch-delete"}}]}"#,
                "jobs[0]: the training job ID",
            ),
            (
                r#"{"jobs":[{"kind":"job","metadata":{"id":"JOB"}},{"kind":"mrs_job","metadata":{"id":"JOB"}}]}"#,
                "jobs[1]: this job is listed twice",
            ),
            ("{\"jobs\":[{\"kind\":\"job\",\"metadata\":{\"id\":\"JOB\"}}],}", "trailing comma"),
            ("\u{feff}{\"jobs\":[]}", "expected value"),
        ] {
            check(body, Err(words));
        }
        assert!(matches!(
            parse("p", b"{\"jobs\":[\"\xff\"]}", JobIds::Uuid),
            Err(Fault::Malformed(_))
        ));
    }

    #[test]
    fn an_id_that_is_no_uuid_is_still_one_of_a_job() {
        let longest = "a".repeat(64);
        let parsed = |id: &str| {
            let body = format!(r#"{{"jobs":[{{"kind":"job","metadata":{{"id":"{id}"}}}}]}}"#);
            parse("p", body.as_bytes(), JobIds::Token)
        };
        for id in ["a", "batch-delete1", longest.as_str()] {
            assert_eq!(parsed(id).unwrap()[0].job.training_job_id, id);
        }
        let refused = Err(Fault::JobId { index: 0, fault: JobIdFault::NotToken });
        for id in ["", "batch-delete", &format!("{longest}a"), "A", ".", "..", "a/b", "a?", "a%2fb"]
        {
            assert_eq!(parsed(id), refused, "{id}");
        }
    }

    #[test]
    fn a_batch_has_one_to_a_hundred_jobs_and_fits() {
        let list = |count: usize| {
            let jobs: Vec<_> = (0..count)
                .map(|it| {
                    format!("    {{\n        \"kind\": \"federated_pool_job\",\n        \"metadata\": {{\n            \"id\": \"00000000-0000-0000-0000-{it:012}\"\n        }}\n    }}")
                })
                .collect();
            format!("{{\n  \"jobs\": [\n{}\n  ]\n}}\n", jobs.join(",\n"))
        };
        assert!(list(JOBS_MAX).len() < BODY_BYTES_MAX);
        assert_eq!(parse("p", list(JOBS_MAX).as_bytes(), JobIds::Uuid).unwrap().len(), JOBS_MAX);
        assert_eq!(parse("p", list(JOBS_MAX + 1).as_bytes(), JobIds::Uuid), Err(Fault::Count));
    }
}
