//! What is known of a job, read from ModelArts' answers. Unknown is not absent: what cannot be read
//! with certainty stays unavailable.
//!
//! The fields are those of ShowTrainingJobDetails and of the tag list in the ModelArts API
//! reference. Duplicate keys on a path that is read are refused by the derived readers below.

use crate::object::Object;
use crate::policy::{Attribute, Attributes};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::str::Utf8Error;

/// What `modelarts:poolType` is called. ModelArts documents only `public`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWords {
    /// For a dedicated pool.
    pub dedicated: String,
    /// For the shared pool.
    pub public: String,
}

impl Default for PoolWords {
    fn default() -> Self {
        Self { dedicated: "dedicated".to_owned(), public: "public".to_owned() }
    }
}

/// Why an answer cannot be used. It becomes unavailable attributes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same tag twice.
    #[error("the tag list names a key twice")]
    DuplicateTag,
    /// The list says that it is not complete.
    #[error("the tag list holds {held} of {total} tags")]
    NotWhole {
        /// In the answer.
        held: usize,
        /// On the job.
        total: usize,
    },
    /// Bytes that are not text.
    #[error("the answer is not UTF-8")]
    NotText(#[from] Utf8Error),
    /// Details of a job that was not asked for.
    #[error("the answer describes another job")]
    OtherJob,
    /// Not JSON, a wrong type, a duplicate key, or an end in the middle.
    #[error("the answer is not the documented JSON")]
    Unreadable(#[from] serde_json::Error),
}

/// What the details of a job say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The attributes; the tags are not among them.
    pub attributes: Attributes,
    /// The job runs in one pool of a group, and the answer does not say in which.
    pub in_pool_group: bool,
}

/// Reads the details of `training_job_id`; nothing is said of the tags.
///
/// `now` turns the creation time into an age.
///
/// # Errors
/// When the answer cannot be trusted as a whole.
pub fn details(
    answer: &[u8],
    training_job_id: &str,
    now: Timestamp,
    words: &PoolWords,
) -> Result<Known, Error> {
    let Object(Details { kind, metadata: Object(metadata), status, spec, tasks }) =
        serde_json::from_str(str::from_utf8(answer)?)?;
    if metadata.id != training_job_id {
        return Err(Error::OtherJob);
    }
    let resources: Vec<_> = spec
        .and_then(|it| it.0.resource)
        .into_iter()
        .chain(tasks.into_iter().flatten().filter_map(|it| it.0.task_resource))
        .map(|Object(resource)| resource)
        .collect();
    let in_pool_group = resources.iter().any(Resource::is_in_group);
    let (pool_id, pool_type) = match in_pool_group {
        true => (Attribute::Unavailable, Attribute::Unavailable),
        false => pools(resources, words),
    };
    let attributes = Attributes {
        pool_id,
        pool_type,
        // Every documented answer has these three, so one without them is not understood.
        phase: mandatory(status.and_then(|it| it.0.phase)),
        kind: mandatory(kind),
        age: metadata
            .create_time
            .filter(|it| 0 < *it)
            .and_then(|it| Timestamp::from_millisecond(it).ok())
            .map_or(Attribute::Unavailable, |it| {
                Attribute::Value(now.as_second().saturating_sub(it.as_second()))
            }),
        name: optional(metadata.name),
        owner: optional(metadata.user_name),
        workspace_id: optional(metadata.workspace_id),
        tags: Attribute::NotAsked,
    };
    Ok(Known { attributes, in_pool_group })
}

/// Reads a job's tags.
///
/// # Errors
/// When the list cannot be trusted to be whole.
pub fn tags(answer: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let Object(TagList { tags, total_count }) = serde_json::from_str(str::from_utf8(answer)?)?;
    if let Some(total) = total_count.filter(|it| *it != tags.len()) {
        return Err(Error::NotWhole { held: tags.len(), total });
    }
    let mut res = BTreeMap::new();
    for Object(Tag { key, value }) in tags {
        if res.insert(key, value).is_some() {
            return Err(Error::DuplicateTag);
        }
    }
    Ok(res)
}

#[derive(Deserialize)]
struct Details {
    kind: Option<String>,
    metadata: Object<Metadata>,
    status: Option<Object<Status>>,
    spec: Option<Object<Spec>>,
    tasks: Option<Vec<Object<Task>>>,
}

#[derive(Deserialize)]
struct Metadata {
    id: String,
    name: Option<String>,
    workspace_id: Option<String>,
    user_name: Option<String>,
    /// Milliseconds since the epoch.
    create_time: Option<i64>,
}

#[derive(Deserialize)]
struct Status {
    phase: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    resource: Option<Object<Resource>>,
}

#[derive(Deserialize)]
struct Task {
    task_resource: Option<Object<Resource>>,
}

#[derive(Deserialize)]
struct Resource {
    pool_id: Option<String>,
    pool_group_id: Option<String>,
    flavor_detail: Option<Object<IgnoredAny>>,
}

impl Resource {
    /// One pool of a federation, and the answer does not say which.
    fn is_in_group(&self) -> bool {
        let is_there = |it: &Option<String>| it.as_ref().is_some_and(|it| !it.is_empty());
        is_there(&self.pool_group_id) && !is_there(&self.pool_id)
    }
}

#[derive(Deserialize)]
struct TagList {
    tags: Vec<Object<Tag>>,
    total_count: Option<usize>,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: String,
}

fn optional(text: Option<String>) -> Attribute<String> {
    match text.filter(|it| !it.is_empty()) {
        Some(text) => Attribute::Value(text),
        None => Attribute::Absent,
    }
}

fn mandatory(text: Option<String>) -> Attribute<String> {
    match optional(text) {
        Attribute::Absent => Attribute::Unavailable,
        it => it,
    }
}

/// `modelarts:poolId` and `modelarts:poolType`. ModelArts has no field for the type: a pool ID means
/// a dedicated pool, `flavor_detail` without one the public pool.
fn pools(
    resources: Vec<Resource>,
    words: &PoolWords,
) -> (Attribute<Vec<String>>, Attribute<Vec<String>>) {
    let mut ids = BTreeSet::new();
    let mut public = false;
    for resource in resources {
        match resource.pool_id.filter(|it| !it.is_empty()) {
            Some(id) => {
                ids.insert(id);
            }
            None => public |= resource.flavor_detail.is_some(),
        }
    }
    let mut types = Vec::new();
    if !ids.is_empty() {
        types.push(words.dedicated.clone());
    }
    if public {
        types.push(words.public.clone());
    }
    match (ids.is_empty(), types.is_empty()) {
        // The answer does not say where the job runs, so it may run in a pool.
        (true, true) => (Attribute::Unavailable, Attribute::Unavailable),
        (true, false) => (Attribute::Absent, Attribute::Value(types)),
        (false, _) => (Attribute::Value(ids.into_iter().collect()), Attribute::Value(types)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

    fn read(answer: &str) -> Result<Attributes, Error> {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let words = PoolWords::default();
        let known = details(answer.replace("JOB", JOB).as_bytes(), JOB, now, &words)?;
        assert!(!known.in_pool_group || known.attributes.pool_id == Attribute::Unavailable);
        assert_eq!(known.in_pool_group, answer.contains("pool_group_id"), "{answer}");
        Ok(known.attributes)
    }

    fn list(values: &[&str]) -> Attribute<Vec<String>> {
        Attribute::Value(values.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn pools_are_derived_from_every_resource() {
        use Attribute::{Absent, Unavailable};
        for (resources, pool_id, pool_type) in [
            (r#""spec":{"resource":{"pool_id":"a"}}"#, list(&["a"]), list(&["dedicated"])),
            (r#""spec":{"resource":{"flavor_detail":{}}}"#, Absent, list(&["public"])),
            (r#""spec":{"resource":{"pool_id":"","flavor_detail":{}}}"#, Absent, list(&["public"])),
            (
                r#""spec":{"resource":{"flavor_detail":{}}},"tasks":[{"task_resource":{"pool_id":"b"}},{"task_resource":{"pool_id":"a"}},{}]"#,
                list(&["a", "b"]),
                list(&["dedicated", "public"]),
            ),
            (r#""spec":{"resource":{"pool_group_id":"g"}}"#, Unavailable, Unavailable),
            (
                r#""spec":{"resource":{"pool_id":"a"}},"tasks":[{"task_resource":{"pool_group_id":"g"}}]"#,
                Unavailable,
                Unavailable,
            ),
            (r#""spec":{"resource":{"pool_id":null}}"#, Unavailable, Unavailable),
            (r#""spec":{}"#, Unavailable, Unavailable),
            (r#""tasks":null"#, Unavailable, Unavailable),
        ] {
            let read = read(&format!(r#"{{"metadata":{{"id":"JOB"}},{resources}}}"#)).unwrap();
            assert_eq!((read.pool_id, read.pool_type), (pool_id, pool_type), "{resources}");
        }
    }

    #[test]
    fn what_the_cloud_always_says_is_unavailable_when_missing_and_the_rest_absent() {
        let said = read(r#"{"metadata":{"id":"JOB","user_name":"","name":null}}"#).unwrap();
        assert_eq!(said.phase, Attribute::Unavailable);
        assert_eq!(said.kind, Attribute::Unavailable);
        assert_eq!(said.age, Attribute::Unavailable);
        assert_eq!(said.tags, Attribute::NotAsked);
        assert_eq!(said.owner, Attribute::Absent);
        assert_eq!(said.name, Attribute::Absent);
        assert_eq!(said.workspace_id, Attribute::Absent);
        for time in [0, -1, i64::MIN, i64::MAX] {
            let it = format!(r#"{{"metadata":{{"id":"JOB","create_time":{time}}}}}"#);
            assert_eq!(read(&it).unwrap().age, Attribute::Unavailable, "{time}");
        }
    }

    #[test]
    fn facts_are_read_as_they_stand() {
        let read = read(
            r#"{"kind":"job","metadata":{"id":"JOB","name":" n ","workspace_id":"0","user_name":"alice","create_time":999000500},"status":{"phase":"Running"}}"#,
        )
        .unwrap();
        let text = |it: &str| Attribute::Value(it.to_owned());
        assert_eq!(read.kind, text("job"));
        assert_eq!(read.phase, text("Running"));
        assert_eq!(read.name, text(" n "));
        assert_eq!(read.owner, text("alice"));
        assert_eq!(read.workspace_id, text("0"));
        assert_eq!(read.age, Attribute::Value(1000));
    }

    /// Attack 67.
    #[test]
    fn an_answer_that_cannot_be_trusted_is_refused_whole() {
        for answer in [
            "",
            "<html></html>",
            "[]",
            r#"{"metadata":{"id":"JOB"}"#,
            r#"{"metadata":{"id":"JOB"}} x"#,
            r#"{"metadata":{"id":"other"}}"#,
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"id":"JOB","id":"JOB"}}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{},"spec":{}}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{"resource":{"pool_id":7}}}"#,
            r#"{"metadata":{"id":"JOB"},"status":{"phase":["Running"]}}"#,
            r#"{"metadata":{"id":"JOB","create_time":"1"}}"#,
            r#"{"metadata":{"id":"JOB"},"tasks":[{"task_resource":{"pool_id":"a","pool_id":"b"}}]}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{"resource":{"flavor_detail":false}}}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{"resource":{"flavor_detail":""}}}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{"resource":{"flavor_detail":[]}}}"#,
            // Lists where objects are documented.
            r#"["job",{"id":"JOB"},null,null,null]"#,
            r#"{"metadata":["JOB","n","0","alice",1]}"#,
            r#"{"metadata":{"id":"JOB"},"status":["Completed"]}"#,
            r#"{"metadata":{"id":"JOB"},"spec":[{"pool_id":"a"}]}"#,
            r#"{"metadata":{"id":"JOB"},"spec":{"resource":["a",null,null]}}"#,
            r#"{"metadata":{"id":"JOB"},"tasks":[[{"pool_id":"a"}]]}"#,
            r#"{"metadata":{"id":"JOB"},"tasks":[{"task_resource":["a"]}]}"#,
            r#"{"metadata":{"id":"JOB"},"tasks":{"task_resource":{"pool_id":"a"}}}"#,
        ] {
            assert!(read(answer).is_err(), "{answer}");
        }
    }

    /// Attack 67: serde_json checks only the texts that it keeps.
    #[test]
    fn bytes_that_are_no_text_are_refused_where_nothing_is_read_too() {
        let details = b"{\"metadata\":{\"id\":\"JOB\"},\"x\":\"\xFF\"}";
        let words = PoolWords::default();
        let read = super::details(details, "JOB", Timestamp::UNIX_EPOCH, &words);
        assert!(matches!(read, Err(Error::NotText(_))));
        assert!(matches!(tags(b"{\"tags\":[],\"x\":\"\xFF\"}"), Err(Error::NotText(_))));
    }

    /// Attacks 60 and 67
    #[test]
    fn a_tag_list_counts_only_when_it_is_whole() {
        let read = |it: &str| tags(it.as_bytes());
        assert_eq!(read(r#"{"tags":[]}"#).unwrap(), BTreeMap::new());
        let found = read(r#"{"tags":[{"key":"env","value":""}],"total_count":1}"#).unwrap();
        assert_eq!(found, BTreeMap::from([("env".to_owned(), String::new())]));
        for answer in [
            "{}",
            r#"{"tags":null}"#,
            r#"{"tags":{}}"#,
            r#"[[]]"#,
            r#"{"tags":[["env","prod"]]}"#,
            r#"{"tags":[{"key":"env"}]}"#,
            r#"{"tags":[{"key":"env","value":null}]}"#,
            r#"{"tags":[{"key":"env","value":1}]}"#,
            r#"{"tags":[{"key":"a","value":"1"},{"key":"a","value":"2"}]}"#,
            r#"{"tags":[{"key":"a","value":"1"}],"total_count":2}"#,
            r#"{"tags":[],"tags":[]}"#,
            r#"{"tags":[{"key":"a","value":"1""#,
        ] {
            assert!(read(answer).is_err(), "{answer}");
        }
    }
}
