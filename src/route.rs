//! The grammar of the routes: `DELETE` and `GET /v2/{project_id}/training-jobs/{training_job_id}`, and
//! `POST /v2/{project_id}/training-jobs/batch-delete`.
//!
//! Judged on the raw target, before identity. Nothing is decoded, folded or normalised: what is
//! parsed here is what is judged, signed and sent.

pub mod batch;

use crate::policy::Job;

use http::Method;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// The longest request target that is looked at, in bytes.
pub const TARGET_BYTES_MAX: usize = 2048;

/// The longest `project_id`, in characters (ModelArts API reference, DeleteTrainingJob).
pub const PROJECT_ID_MAX: usize = 64;

/// The longest `training_job_id` under [`JobIds::Token`], in characters.
pub const JOB_ID_MAX: usize = 64;

/// Which job IDs the route accepts; the setting `route.job_id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobIds {
    /// `[a-z0-9-]{1,64}` except `batch-delete`.
    Token,
    /// A UUID in lower-case hex, as the service issues them.
    #[default]
    Uuid,
}

/// What stands in a job's place in the path of a batch delete.
const BATCH_DELETE: &str = "batch-delete";

const BATCH_PATH: &[u8] = b"/training-jobs/batch-delete";

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The deletion of the jobs that the body lists, in the project with this ID.
    BatchDelete(String),
    /// The deletion of one job.
    Delete(Job),
    /// A look at one job.
    Get(Job),
}

/// Why a target is not a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `…/training-jobs/batch-delete` with a method that is not POST.
    #[error("only POST goes to batch-delete")]
    BatchMethod,
    /// The target is not a path of visible, unencoded characters.
    #[error("the request target is malformed: {0}")]
    Malformed(Malformed),
    /// The right shape with a method that is neither DELETE nor GET.
    #[error(
        "only DELETE and GET of a job go through this gate; send everything else to ModelArts directly"
    )]
    Method,
    /// The job ID has wrong characters or a wrong length.
    #[error("the training job ID is malformed: {0}")]
    JobId(JobIdFault),
    /// The project ID has wrong characters or a wrong length.
    #[error("the project ID must be 1 to 64 letters, digits and hyphens")]
    ProjectId,
    /// An SDK was used without a project ID: the literal `{project_id}` arrived.
    #[error("`{{project_id}}` was not filled in: set the project ID in the SDK's credentials")]
    ProjectPlaceholder,
    /// A query string.
    #[error("this route takes no query string")]
    Query,
    /// Longer than [`TARGET_BYTES_MAX`].
    #[error("the request target is longer than {TARGET_BYTES_MAX} bytes")]
    TooLong,
    /// Another shape.
    #[error(
        "only DELETE and GET /v2/{{project_id}}/training-jobs/{{training_job_id}} and POST /v2/{{project_id}}/training-jobs/batch-delete go through this gate; send everything else to ModelArts directly"
    )]
    Unknown,
}

/// What is wrong with a target as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A backslash, a percent sign, a semicolon, a control or non-ASCII byte.
    #[error(
        "it has characters outside letters, digits, `-`, `_`, `.`, `~` and `/`, or percent-encoding"
    )]
    Character,
    /// `.` or `..` between slashes.
    #[error("it has a `.` or `..` segment")]
    DotSegment,
    /// `//`.
    #[error("it has an empty segment")]
    EmptySegment,
    /// `#`.
    #[error("it has a fragment")]
    Fragment,
    /// `http://…`, `host:port`, `*`.
    #[error("it is not a path that starts with `/`")]
    NotOriginForm,
}

/// What is wrong with a job ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobIdFault {
    /// Not of the characters or the length of [`JobIds::Token`].
    #[error("it must be 1 to 64 lower-case letters, digits and hyphens, and not `batch-delete`")]
    NotToken,
    /// Not a UUID, whatever its letter case.
    #[error("it must be a UUID such as 3faf5c03-aaa1-4cbe-879d-24b05d997347")]
    NotUuid,
    /// It would be a UUID if its letters were lower case.
    #[error("write its letters in lower case, as ModelArts issues them")]
    UpperCase,
}

/// Parses `target`, the request target exactly as it arrived.
///
/// # Errors
/// The first rule that the target breaks. A wrong shape or letter case of the fixed parts is
/// [`Error::Unknown`]; the right shape with bad characters names the part.
pub fn parse(method: &Method, target: &str, job_ids: JobIds) -> Result<Operation, Error> {
    if TARGET_BYTES_MAX < target.len() {
        return Err(Error::TooLong);
    }
    if !target.starts_with('/') {
        return Err(Error::Malformed(Malformed::NotOriginForm));
    }
    if target.contains('#') {
        return Err(Error::Malformed(Malformed::Fragment));
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if is_placeholder(path) {
        return Err(Error::ProjectPlaceholder);
    }
    well_formed(path).map_err(Error::Malformed)?;

    let mut segments = path.split('/').skip(1);
    let parts = [(); 5].map(|()| segments.next());
    let [Some("v2"), Some(project_id), Some("training-jobs"), Some(training_job_id), None] = parts
    else {
        return Err(Error::Unknown);
    };
    if training_job_id.is_empty() || project_id.is_empty() {
        return Err(Error::Unknown);
    }
    let is_batch = training_job_id == BATCH_DELETE;
    if is_batch && method != Method::POST {
        return Err(Error::BatchMethod);
    }
    if !is_batch && ![Method::DELETE, Method::GET].contains(method) {
        return Err(Error::Method);
    }
    if query.is_some() {
        return Err(Error::Query);
    }
    if PROJECT_ID_MAX < project_id.len() || !project_id.bytes().all(is_project_byte) {
        return Err(Error::ProjectId);
    }
    if is_batch {
        return Ok(Operation::BatchDelete(project_id.to_owned()));
    }
    job_ids.check(training_job_id).map_err(Error::JobId)?;
    let job = Job::new(project_id, training_job_id);
    Ok(if method == Method::GET { Operation::Get(job) } else { Operation::Delete(job) })
}

/// The job whose deletion `DELETE` with this target asks for.
///
/// # Errors
/// As [`parse`].
pub fn job(target: &str, job_ids: JobIds) -> Result<Job, Error> {
    match parse(&Method::DELETE, target, job_ids)? {
        Operation::Delete(job) | Operation::Get(job) => Ok(job),
        Operation::BatchDelete(_) => Err(Error::BatchMethod),
    }
}

/// Whether a request with this method and target has a body: only a batch delete has. Asked of a
/// request head as it arrives, before anything is parsed from it.
#[must_use]
pub fn takes_body(method: &[u8], target: &[u8]) -> bool {
    let path = target.strip_prefix(b"/v2/").and_then(|it| it.strip_suffix(BATCH_PATH));
    let is_project = |it: &[u8]| {
        (1..=PROJECT_ID_MAX).contains(&it.len()) && it.iter().all(|it| is_project_byte(*it))
    };
    method == b"POST" && path.is_some_and(is_project)
}

/// The SDKs send the placeholder percent-encoded when no project ID is set.
fn is_placeholder(path: &str) -> bool {
    ["/v2/%7Bproject_id%7D/", "/v2/%7bproject_id%7d/", "/v2/{project_id}/"]
        .iter()
        .any(|it| path.starts_with(it))
}

fn well_formed(path: &str) -> Result<(), Malformed> {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.~/".contains(&it);
    if !path.bytes().all(plain) {
        return Err(Malformed::Character);
    }
    if path.contains("//") {
        return Err(Malformed::EmptySegment);
    }
    if path.split('/').any(|it| it == "." || it == "..") {
        return Err(Malformed::DotSegment);
    }
    Ok(())
}

fn is_project_byte(it: u8) -> bool {
    it.is_ascii_alphanumeric() || it == b'-'
}

impl JobIds {
    fn check(self, id: &str) -> Result<(), JobIdFault> {
        let in_token = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        match self {
            // No path gets here with these, but the body of a batch can: they would be another call.
            Self::Token if id.is_empty() || id == BATCH_DELETE => Err(JobIdFault::NotToken),
            Self::Token if id.len() <= JOB_ID_MAX && id.bytes().all(in_token) => Ok(()),
            Self::Token => Err(JobIdFault::NotToken),
            Self::Uuid if !is_uuid(id) => Err(JobIdFault::NotUuid),
            Self::Uuid if id.bytes().any(|it| it.is_ascii_uppercase()) => {
                Err(JobIdFault::UpperCase)
            }
            Self::Uuid => Ok(()),
        }
    }
}

fn is_uuid(id: &str) -> bool {
    // It also reads forms without hyphens or with braces, which are of another length.
    id.len() == Hyphenated::LENGTH && Uuid::try_parse(id).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

    #[track_caller]
    fn check(method: &str, target: &str, expected: Result<(&str, &str), Error>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let target = target.replace("JOB", JOB);
        let expected = expected.map(|(project, job)| Job::new(project, job.replace("JOB", JOB)));
        let parsed = parse(&method, &target, JobIds::Uuid);
        assert_eq!(parsed, expected.clone().map(Operation::Delete), "{target}");
        if let Ok(job) = expected {
            assert_eq!(job.path(), target, "what is sent is what was parsed");
        }
        assert!(!takes_body(method.as_str().as_bytes(), target.as_bytes()), "{target}");
    }

    #[test]
    fn the_route_is_exact() {
        use Malformed::*;
        let malformed = |it| Err(Error::Malformed(it));
        for (target, expected) in [
            ("/v2/p/training-jobs/JOB", Ok(("p", "JOB"))),
            ("/v2/0a1B-2c/training-jobs/JOB", Ok(("0a1B-2c", "JOB"))),
            // Attack 1
            ("//v2/p/training-jobs/JOB", malformed(EmptySegment)),
            ("/v2//p/training-jobs/JOB", malformed(EmptySegment)),
            // 2
            ("/v2/p/training-jobs/../JOB", malformed(DotSegment)),
            ("/v2/./training-jobs/JOB", malformed(DotSegment)),
            ("/v2/p/training-jobs/..;/JOB", malformed(Character)),
            // 3
            ("/v2/p/training-jobs/%2e%2e", malformed(Character)),
            ("/v2/p%2Ftraining-jobs/JOB", malformed(Character)),
            ("/v2/p/training-jobs/a%5Cb", malformed(Character)),
            ("/v2/p/training-jobs\\JOB", malformed(Character)),
            ("/v2/p/training-jobs/a%252Fb", malformed(Character)),
            // 4
            ("/v2/p/training-jobs/a%00", malformed(Character)),
            ("/v2/p/training-jobs/a%0d%0a", malformed(Character)),
            ("/v2/p/training-jobs/ä", malformed(Character)),
            // 5
            ("/v2/p/training-jobs/JOB/", Err(Error::Unknown)),
            ("/v2/p/training-jobs/JOB/x", Err(Error::Unknown)),
            ("/v2/p/training-jobs/", Err(Error::Unknown)),
            ("/v2/p/training-jobs", Err(Error::Unknown)),
            ("/v2/p/training-jobs/x", Err(Error::JobId(JobIdFault::NotUuid))),
            ("/v2/p/training-jobs/JOB0", Err(Error::JobId(JobIdFault::NotUuid))),
            (
                "/v2/p/training-jobs/3FAF5C03-AAA1-4CBE-879D-24B05D997347",
                Err(Error::JobId(JobIdFault::UpperCase)),
            ),
            // 6
            ("/V2/p/training-jobs/JOB", Err(Error::Unknown)),
            ("/v2/p/Training-Jobs/JOB", Err(Error::Unknown)),
            // 7
            ("http://other/v2/p/training-jobs/JOB", malformed(NotOriginForm)),
            ("other:443", malformed(NotOriginForm)),
            ("*", malformed(NotOriginForm)),
            // 8
            ("/v2/p/training-jobs/JOB#x", malformed(Fragment)),
            ("/v2/p/training-jobs/JOB;a=b", malformed(Character)),
            // 9
            ("/v2/p/training-jobs/JOB%3Fa=b", malformed(Character)),
            ("/v2/p/training-jobs/JOB?", Err(Error::Query)),
            ("/v2/p/training-jobs/JOB?a=b&a=c", Err(Error::Query)),
            ("/v2/%7Bproject_id%7D/training-jobs/JOB", Err(Error::ProjectPlaceholder)),
            ("/v2/{project_id}/training-jobs/JOB", Err(Error::ProjectPlaceholder)),
            ("/v2/a_b/training-jobs/JOB", Err(Error::ProjectId)),
            ("/healthz", Err(Error::Unknown)),
            ("/v2/p/training-jobs/batch-delete", Err(Error::BatchMethod)),
        ] {
            check("DELETE", target, expected);
        }
    }

    #[test]
    fn lengths_have_limits() {
        let project = "p".repeat(PROJECT_ID_MAX);
        check("DELETE", &format!("/v2/{project}/training-jobs/JOB"), Ok((&project, "JOB")));
        check("DELETE", &format!("/v2/{project}p/training-jobs/JOB"), Err(Error::ProjectId));
        let long = "/".repeat(TARGET_BYTES_MAX + 1);
        check("DELETE", &long, Err(Error::TooLong));
    }

    #[test]
    fn only_delete_and_get_are_methods_of_the_route() {
        for method in ["POST", "PUT", "PATCH", "HEAD", "OPTIONS"] {
            check(method, "/v2/p/training-jobs/JOB", Err(Error::Method));
            check(method, "/v2/p/training-jobs", Err(Error::Unknown));
        }
        let target = format!("/v2/p/training-jobs/{JOB}");
        let parsed = parse(&Method::GET, &target, JobIds::Uuid);
        assert_eq!(parsed, Ok(Operation::Get(Job::new("p", JOB))));
        assert!(!takes_body(b"GET", target.as_bytes()));
        check("GET", "/v2/p/training-jobs/JOB?limit=1", Err(Error::Query));
        check("GET", "/v2/p/training-jobs", Err(Error::Unknown));
        check("get", "/v2/p/training-jobs/JOB", Err(Error::Method));
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            check(method, "/v2/p/training-jobs/batch-delete", Err(Error::BatchMethod));
        }
    }

    #[test]
    fn only_a_batch_takes_a_body() {
        let longest = format!("/v2/{}/training-jobs/batch-delete", "p".repeat(PROJECT_ID_MAX));
        for (method, target, expected) in [
            ("POST", "/v2/p-1/training-jobs/batch-delete", true),
            ("POST", &*longest, true),
            ("POST", &longest.replace("/v2/", "/v2/p"), false),
            ("POST", "/v2//training-jobs/batch-delete", false),
            ("POST", "/v2/p/q/training-jobs/batch-delete", false),
            ("POST", "/v2/p/training-jobs/batch-delete?x=1", false),
            ("POST", "/v2/p/training-jobs/batch-delete/", false),
            ("POST", "/v2/%70/training-jobs/batch-delete", false),
            ("post", "/v2/p/training-jobs/batch-delete", false),
            ("DELETE", "/v2/p/training-jobs/batch-delete", false),
            ("POST", "/v2/p/training-jobs/JOB", false),
        ] {
            assert_eq!(takes_body(method.as_bytes(), target.as_bytes()), expected, "{target}");
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let parsed = parse(&method, target, JobIds::Uuid);
            assert_eq!(matches!(parsed, Ok(Operation::BatchDelete(_))), expected, "{target}");
        }
    }

    #[test]
    fn tokens_are_wider_than_uuids_but_not_reserved() {
        let parse = |id: &str| {
            job(&format!("/v2/p/training-jobs/{id}"), JobIds::Token).map(|it| it.training_job_id)
        };
        assert_eq!(parse("modelarts-job-1"), Ok("modelarts-job-1".to_owned()));
        assert_eq!(parse(JOB), Ok(JOB.to_owned()));
        assert_eq!(parse("batch-delete"), Err(Error::BatchMethod));
        for id in ["Job", "a_b", &"a".repeat(JOB_ID_MAX + 1)] {
            assert_eq!(parse(id), Err(Error::JobId(JobIdFault::NotToken)));
        }
    }
}
