//! The audit trail of the emulated cloud, with what the real one does to its readers: fields in
//! several forms, nulls, calls that are recorded twice, records that come late.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How long after an asynchronous call its end is recorded, in a record of its own.
const TWIN_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A way to delete a job without a request to the emulated API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "how", rename_all = "snake_case", deny_unknown_fields)]
pub enum Bypass {
    /// The cloud removes an old job by itself.
    Ageing {
        /// The job.
        job: String,
    },
    /// A person, in the console.
    Console {
        /// The job.
        job: String,
        /// The person's name.
        user: String,
    },
    /// A request that somebody signs with this key, be it stolen.
    Key {
        /// The job.
        job: String,
        /// The ID of the key.
        access_key: String,
    },
}

impl Bypass {
    /// The job that is deleted.
    #[must_use]
    pub fn job(&self) -> &str {
        match self {
            Self::Ageing { job } | Self::Console { job, .. } | Self::Key { job, .. } => job,
        }
    }
}

/// What the audit service writes down, each with the time from which it can be read.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<(Timestamp, Value)>);

/// A deletion, before it is written down.
pub(super) struct Deletion<'a> {
    pub(super) how: &'a Bypass,
    pub(super) project: &'a str,
    /// The HTTP status that was answered.
    pub(super) status: u16,
    pub(super) request_id: &'a str,
}

impl Trail {
    /// Writes down a deletion at `now` that can be read `delay` later, and its twin.
    pub(super) fn write(&mut self, deletion: &Deletion<'_>, now: Timestamp, delay: SignedDuration) {
        let number = self.0.len();
        let user = match deletion.how {
            Bypass::Ageing { .. } => Value::Null,
            Bypass::Console { user, .. } => {
                json!({"name": user, "type": "User", "invoked_by": ["service.console"]})
            }
            Bypass::Key { access_key, .. } => json!({
                "name": format!("user of {access_key}"),
                "access_key_id": access_key,
                "principal_is_root_user": "false",
                "domain": {"name": "corp"},
            }),
        };
        let trace_type = match deletion.how {
            Bypass::Ageing { .. } => "SystemAction",
            Bypass::Console { .. } => "ConsoleAction",
            Bypass::Key { .. } => "ApiCall",
        };
        // Every form in its turn, so that a reader of one form alone is found out.
        let turn = |of: usize| number.is_multiple_of(of);
        let request_id = if turn(3) { Value::Null } else { json!(deletion.request_id) };
        let code =
            if turn(2) { json!(deletion.status) } else { json!(deletion.status.to_string()) };
        let user = if turn(4) || user.is_null() { user } else { json!(user.to_string()) };
        let time = |at: Timestamp| match turn(5) {
            true => json!(at.strftime("%Y/%m/%d %H:%M:%S GMT+00:00").to_string()),
            false => json!(at.as_millisecond()),
        };
        let is_well = (200..300).contains(&deletion.status);
        let trace = json!({
            "trace_id": Uuid::new_v4().to_string(),
            "trace_name": "DeleteJobV2",
            "trace_rating": if is_well { "normal" } else { "warning" },
            "trace_type": trace_type,
            "service_type": "ModelArts",
            "resource_type": "JobV2",
            "resource_id": deletion.how.job(),
            "project_id": deletion.project,
            "api_version": "v2",
            "code": code,
            "time": time(now),
            "record_time": now.as_millisecond(),
            "request": "",
            "response": Value::Null,
            "request_id": request_id,
            "source_ip": if user.is_null() { Value::Null } else { json!("127.0.0.1") },
            "user": user,
        });
        let mut put = |at: Timestamp, trace: Value| {
            self.0.push((at.checked_add(delay).unwrap_or(at), trace));
        };
        let is_asynchronous = is_well && trace_type != "SystemAction";
        let end = now.checked_add(TWIN_AFTER).unwrap_or(now);
        let mut twin = trace.clone();
        put(now, trace);
        if is_asynchronous {
            for (member, value) in [
                ("trace_id", json!(Uuid::new_v4().to_string())),
                ("trace_type", json!("SystemAction")),
                ("user", Value::Null),
                ("source_ip", Value::Null),
                ("request_id", Value::Null),
                ("time", time(end)),
                ("record_time", json!(end.as_millisecond())),
            ] {
                if let Some(it) = twin.get_mut(member) {
                    *it = value;
                }
            }
            put(end, twin);
        }
    }

    /// What can be read at `now`.
    pub(super) fn read(&self, now: Timestamp) -> Vec<Value> {
        self.0.iter().filter(|(at, _)| *at <= now).map(|(_, it)| it.clone()).collect()
    }
}
