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
use crate::policy::Job;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
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
    let malformed = |it: serde_json::Error| Fault::Malformed(it.to_string());
    let mut json = serde_json::Deserializer::from_slice(body);
    let written = json.deserialize_map(Body).map_err(malformed)?;
    json.end().map_err(malformed)?;
    if !(1..=JOBS_MAX).contains(&written.len()) {
        return Err(Fault::Count);
    }
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(written.len());
    for (index, Written { kind, id }) in written.into_iter().enumerate() {
        let kind = KINDS.into_iter().find(|it| *it == kind).ok_or(Fault::Kind { index })?;
        job_ids.check(&id).map_err(|fault| Fault::JobId { index, fault })?;
        if !seen.insert(id.clone()) {
            return Err(Fault::Repeated { index });
        }
        items.push(Item { job: Arc::new(Job::new(project_id, id)), kind });
    }
    Ok(items)
}

/// One element of `jobs`.
struct Written {
    kind: String,
    id: String,
}

const UNKNOWN: &str = "a member that is not documented";
const REPEATED: &str = "a member that is there twice";

/// `{"jobs": […]}`.
struct Body;

impl<'de> Visitor<'de> for Body {
    type Value = Vec<Written>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `jobs`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut jobs = None;
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "jobs" if jobs.is_none() => jobs = Some(map.next_value_seed(Jobs)?),
                "jobs" => return Err(A::Error::custom(REPEATED)),
                _ => return Err(A::Error::custom(UNKNOWN)),
            }
        }
        jobs.ok_or_else(|| A::Error::custom("`jobs` is missing"))
    }
}

/// The list.
struct Jobs;

impl<'de> DeserializeSeed<'de> for Jobs {
    type Value = Vec<Written>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Jobs {
    type Value = Vec<Written>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut jobs = Vec::new();
        while let Some(job) = list.next_element_seed(OneJob { index: jobs.len() })? {
            jobs.push(job);
        }
        Ok(jobs)
    }
}

/// `{"kind": "…", "metadata": {"id": "…"}}`.
struct OneJob {
    index: usize,
}

impl<'de> DeserializeSeed<'de> for OneJob {
    type Value = Written;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Written, D::Error> {
        json.deserialize_map(self)
    }
}

impl OneJob {
    fn fault<E: serde::de::Error>(&self, what: &str) -> E {
        E::custom(format_args!("jobs[{}]: {what}", self.index))
    }
}

impl<'de> Visitor<'de> for OneJob {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object in jobs[{}]", self.index)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let (mut kind, mut id) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "kind" if kind.is_none() => kind = Some(map.next_value::<String>()?),
                "metadata" if id.is_none() => {
                    id = Some(map.next_value_seed(Metadata { index: self.index })?);
                }
                "kind" | "metadata" => return Err(self.fault(REPEATED)),
                _ => return Err(self.fault(UNKNOWN)),
            }
        }
        match (kind, id) {
            (Some(kind), Some(id)) => Ok(Written { kind, id }),
            (None, _) => Err(self.fault("`kind` is missing")),
            (_, None) => Err(self.fault("`metadata` is missing")),
        }
    }
}

/// `{"id": "…"}`.
struct Metadata {
    index: usize,
}

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object in jobs[{}].metadata", self.index)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let fault = |what: &str| OneJob { index: self.index }.fault(what);
        let mut id = None;
        while let Some(name) = map.next_key::<String>()? {
            match &*name {
                "id" if id.is_none() => id = Some(map.next_value::<String>()?),
                "id" => return Err(fault(REPEATED)),
                _ => return Err(fault(UNKNOWN)),
            }
        }
        id.ok_or_else(|| fault("`metadata.id` is missing"))
    }
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
            ("null", "an object with `jobs`"),
            ("[]", "an object with `jobs`"),
            (r#"{"jobs":[]}"#, "1 to 100"),
            (r#"{"jobs":{}}"#, "a list of jobs"),
            ("{}", "`jobs` is missing"),
            (r#"{"jobs":[],"jobs":[]}"#, "twice"),
            (r#"{"jobs":[],"\u006aobs":[]}"#, "twice"),
            (r#"{"jobs":[],"x":1}"#, "not documented"),
            (r#"{"Jobs":[]}"#, "not documented"),
            (r#"{"jobs":[]} {}"#, "trailing"),
            (r#"{"jobs":[["job",["JOB"]]]}"#, "jobs[0]"),
            (r#"{"jobs":[{"kind":"job","metadata":["JOB"]}]}"#, "jobs[0].metadata"),
            (r#"{"jobs":[{"kind":"job"}]}"#, "jobs[0]: `metadata` is missing"),
            (r#"{"jobs":[{"metadata":{"id":"JOB"}}]}"#, "jobs[0]: `kind` is missing"),
            (r#"{"jobs":[{"kind":"job","metadata":{}}]}"#, "jobs[0]: `metadata.id` is missing"),
            (r#"{"jobs":[{"kind":null,"metadata":{"id":"JOB"}}]}"#, "a string"),
            (
                r#"{"jobs":[{"kind":"job","kind":"job","metadata":{"id":"JOB"}}]}"#,
                "jobs[0]: a member that is there twice",
            ),
            (r#"{"jobs":[{"kind":"job","metadata":{"id":"JOB","id":"OTHER"}}]}"#, "twice"),
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
