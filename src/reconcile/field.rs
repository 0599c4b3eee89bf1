//! The fields of a trace in every form that the audit service's pages and samples show: numbers in
//! strings, objects in strings, times in three spellings.

use crate::object::Object;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest text that is kept of a trace, in characters; what is longer is cut.
const TEXT_CHARS_MAX: usize = 256;

/// How many jobs one trace may name: as many as one batch holds.
pub(super) const JOBS_MAX: usize = 100;

/// In place of a caller's name that cannot be read.
const UNREADABLE: &str = "?";

/// The text of a string or a number; `None` for empty, null or another type.
pub(super) fn text<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let raw = raw?.get();
    let text = match raw.as_bytes().first()? {
        b'"' => {
            #[derive(Deserialize)]
            struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
            serde_json::from_str::<Text<'_>>(raw).ok()?.0
        }
        b'-' | b'0'..=b'9' => Cow::Borrowed(raw),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The same, cut to what is kept.
pub(super) fn kept(raw: Option<&RawValue>) -> Option<String> {
    let text = text(raw)?;
    let end = text.char_indices().nth(TEXT_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    text.get(..end).map(str::to_owned)
}

/// The same of what names a caller. What cannot be read counts as somebody: it must not pass for nobody.
fn named(raw: Option<&RawValue>) -> Option<String> {
    let is_empty = |it: &&RawValue| it.get() == r#""""#;
    kept(raw).or_else(|| raw.filter(|it| !is_empty(it)).map(|_| UNREADABLE.to_owned()))
}

/// The JSON of an object or a list, written as such or as text in a string.
pub(super) fn json<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let raw = raw?;
    let is_json = |it: &str| it.trim_start().starts_with(['{', '[']);
    if is_json(raw.get()) {
        return Some(Cow::Borrowed(raw.get()));
    }
    text(Some(raw)).filter(|it| is_json(it))
}

/// A time: milliseconds since 1970 as number or text, ISO 8601 with an offset, or
/// `2016/12/08 11:07:28 GMT+08:00` with slashes or hyphens.
pub(super) fn time(raw: Option<&RawValue>) -> Option<Timestamp> {
    let text = text(raw)?;
    if text.bytes().all(|it| it.is_ascii_digit()) {
        // 13 digits are the years 2001 to 2286; fewer would be seconds, which nothing documents.
        let is_ms = text.len() == 13;
        return text
            .parse()
            .ok()
            .filter(|_| is_ms)
            .and_then(|it| Timestamp::from_millisecond(it).ok());
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let text = text.replace('/', "-");
    Timestamp::strptime("%Y-%m-%d %H:%M:%S GMT%:z", text).ok()
}

/// The times of digests and file names, UTC: `2017-03-28T02-09-17Z`.
pub(super) fn utc(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%dT%H-%M-%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// Who made a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) name: Option<String>,
    pub(super) urn: Option<String>,
    pub(super) access_key: Option<String>,
    /// It came from the console, by what `invoked_by` says.
    pub(super) console: bool,
}

impl User {
    /// Reads an object, the same as text in a string, or a plain name.
    pub(super) fn of(raw: Option<&RawValue>) -> Self {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            name: Option<&'a RawValue>,
            #[serde(borrow, default)]
            user_name: Option<&'a RawValue>,
            #[serde(borrow, default)]
            id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            principal_id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            principal_urn: Option<&'a RawValue>,
            #[serde(borrow, default)]
            access_key_id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            invoked_by: Option<&'a RawValue>,
        }
        let Some(json) = json(raw) else { return Self { name: named(raw), ..Self::default() } };
        let Ok(Object(it)) = serde_json::from_str::<Object<Members<'_>>>(&json) else {
            return Self { name: Some(UNREADABLE.to_owned()), ..Self::default() };
        };
        let names = [it.name, it.user_name, it.id, it.principal_id];
        let name = names.into_iter().find_map(named);
        Self {
            name,
            urn: named(it.principal_urn),
            access_key: named(it.access_key_id),
            console: it.invoked_by.is_some_and(|it| it.get().contains("service.console")),
        }
    }

    /// Nobody, as in events of the cloud itself.
    pub(super) fn is_nobody(&self) -> bool {
        self.name.is_none() && self.urn.is_none() && self.access_key.is_none()
    }
}

/// The jobs that a trace is about, in lower case: those of its resource, of its request's body, and
/// if there are none, of its path. An error if they are more than one call can name.
pub(super) fn jobs(
    resource_id: Option<&RawValue>,
    request: Option<&RawValue>,
    path: Option<&RawValue>,
) -> Result<Vec<String>, TooMany> {
    let mut res = Vec::new();
    let mut add = |it: &str| {
        let job = it.trim().to_ascii_lowercase();
        if !job.is_empty() && !res.contains(&job) {
            res.push(job);
        }
        if JOBS_MAX < res.len() { Err(TooMany) } else { Ok(()) }
    };
    let resource = json(resource_id);
    if let Some(ids) = resource.as_deref().and_then(ids_of) {
        ids.iter().try_for_each(|it| add(it))?;
    } else if let Some(text) = text(resource_id) {
        text.split([',', ';']).try_for_each(&mut add)?;
    }
    let body = json(request);
    if let Some(body) = body.as_deref().and_then(|it| serde_json::from_str::<Body<'_>>(it).ok()) {
        body.jobs.iter().try_for_each(|it| add(&it.metadata.id))?;
    }
    if res.is_empty()
        && let Some(path) = text(path)
        && let Some((_, rest)) = path.split_once("/training-jobs/")
        && let Some(id) = rest.split(['/', '?']).next().filter(|it| *it != "batch-delete")
        && let Some(id) = kept_text(id)
    {
        res.push(id);
    }
    Ok(res)
}

/// A trace names more jobs than [`JOBS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    jobs: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

fn kept_text(id: &str) -> Option<String> {
    (!id.is_empty() && id.len() <= TEXT_CHARS_MAX).then(|| id.to_ascii_lowercase())
}

/// The IDs in a resource that is written as an object or a list.
fn ids_of(json: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Resource {
        List(Vec<String>),
        One {
            #[serde(alias = "job_id", alias = "resource_id")]
            id: String,
        },
    }
    Some(match serde_json::from_str(json).ok()? {
        Resource::List(ids) => ids,
        Resource::One { id } => vec![id],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Option<Box<RawValue>> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn times_are_read_in_every_documented_form() {
        let at = "2016-12-08T03:07:28Z";
        for (written, expected) in [
            ("1481166448000", Some(at)),
            (r#""1481166448000""#, Some(at)),
            (r#""2016/12/08 11:07:28 GMT+08:00""#, Some(at)),
            (r#""2016-12-08 11:07:28 GMT+08:00""#, Some(at)),
            (r#""2016-12-08T03:07:28Z""#, Some(at)),
            (r#""2016-12-08T11:07:28+08:00""#, Some(at)),
            (r#""2016-12-08T03:07:28""#, None),
            ("1481166448", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("1.5", None),
            (r#""""#, None),
            ("null", None),
            ("{}", None),
        ] {
            let raw = raw(written);
            let read = time(raw.as_deref()).map(|it| it.to_string());
            assert_eq!(read.as_deref(), expected, "{written}");
        }
        assert_eq!(utc("2017-03-28T02-09-17Z").unwrap().to_string(), "2017-03-28T02:09:17Z");
        assert_eq!(utc("2017-03-28T02:09:17Z"), None);
    }

    #[test]
    fn users_are_objects_texts_or_names() {
        let members = r#"{"name":"eve","principal_urn":"iam::1:user:eve","access_key_id":"AK","invoked_by":["service.console"],"principal_is_root_user":"false","domain":{"id":1}}"#;
        let eve = User {
            name: Some("eve".to_owned()),
            urn: Some("iam::1:user:eve".to_owned()),
            access_key: Some("AK".to_owned()),
            console: true,
        };
        let quoted = serde_json::to_string(members).unwrap();
        let named = |name: &str| User { name: Some(name.to_owned()), ..User::default() };
        for (written, expected) in [
            (members, eve.clone()),
            (&quoted, eve),
            (r#""eve""#, named("eve")),
            (r#"{"user_name":"eve"}"#, named("eve")),
            (r#"{"name":"a","name":"b"}"#, named("?")),
            (r#""{broken""#, named("?")),
            ("[]", named("?")),
            (r#""[]""#, named("?")),
            (r#"["eve"]"#, named("?")),
            ("true", named("?")),
            (r#""\ud800""#, named("?")),
            (r#"{"name":true}"#, named("?")),
            (r#"{"id":{"of":"eve"}}"#, named("?")),
            (r#"{"name":null,"user_name":"","id":7}"#, named("7")),
            (r#"{"principal_id":"agency:session"}"#, named("agency:session")),
            (
                r#"{"access_key_id":[]}"#,
                User { access_key: Some("?".to_owned()), ..User::default() },
            ),
            ("{}", User::default()),
            (r#"{"name":""}"#, User::default()),
            (r#""""#, User::default()),
            ("null", User::default()),
        ] {
            assert_eq!(User::of(raw(written).as_deref()), expected, "{written}");
        }
    }

    #[test]
    fn jobs_stand_in_the_resource_the_body_or_the_path() {
        let body = r#"{"jobs":[{"kind":"job","metadata":{"id":"A"}},{"kind":"job","metadata":{"id":"b"}}]}"#;
        let quoted = serde_json::to_string(body).unwrap();
        let path = r#""/v2/0a/training-jobs/C?x=1""#;
        for (resource, request, url, expected) in [
            (r#""A""#, "null", "null", ["a"].as_slice()),
            (r#""a,B""#, r#""""#, "null", &["a", "b"]),
            (r#"{"id":"A","name":"x"}"#, "null", "null", &["a"]),
            (r#"["a","b"]"#, "null", "null", &["a", "b"]),
            (r#""[\"a\",\"b\"]""#, "null", "null", &["a", "b"]),
            ("null", body, "null", &["a", "b"]),
            (r#""a""#, &quoted, path, &["a", "b"]),
            ("null", "{}", path, &["c"]),
            ("null", "null", r#""/v2/0a/training-jobs/batch-delete""#, &[]),
            ("7", "null", "null", &["7"]),
            ("null", r#""no json""#, "null", &[]),
        ] {
            let (resource, request, url) = (raw(resource), raw(request), raw(url));
            let found = jobs(resource.as_deref(), request.as_deref(), url.as_deref());
            assert_eq!(found.unwrap(), expected);
        }
        let many = serde_json::to_string(&["x"; 3].join(",")).unwrap();
        assert_eq!(jobs(raw(&many).as_deref(), None, None), Ok(vec!["x".to_owned()]));
        let many: Vec<_> = (0..=JOBS_MAX).map(|it| it.to_string()).collect();
        let many = raw(&serde_json::to_string(&many.join(",")).unwrap());
        assert_eq!(jobs(many.as_deref(), None, None), Err(TooMany));
    }
}
