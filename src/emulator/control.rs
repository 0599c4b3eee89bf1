//! The emulator's own interface for other processes, `/emulator/…`; described in the module's
//! documentation.

use super::answer::Answer;
use super::job::Job;
use super::journal::Request;
use super::state::State;
use super::{Bypass, Config};

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::MutexGuard;
use tokio::time::Instant;

/// Answers a request of this method to this path, which starts with `/emulator/`.
pub(super) fn answer(
    mut state: MutexGuard<'_, State>,
    config: &Config,
    started: Instant,
    (method, path): (&str, &str),
    body: &[u8],
) -> Answer {
    match (method, path) {
        ("GET", "/emulator/jobs") => ok(&json!(state.jobs.all().collect::<Vec<&Job>>())),
        ("POST", "/emulator/jobs") => match parse::<Job>(body) {
            Ok(job) if job.id().is_empty() => Answer::bad_parameter("details.metadata.id"),
            Ok(job) => {
                state.jobs.insert(job);
                Answer::empty(StatusCode::CREATED)
            }
            Err(what) => Answer::bad_parameter(&what),
        },
        ("POST", "/emulator/past-the-gate") => match parse::<Bypass>(body) {
            Ok(how) if state.bypass(&how, config) => Answer::empty(StatusCode::NO_CONTENT),
            Ok(how) => Answer::no_such_job(how.job()),
            Err(what) => Answer::bad_parameter(&what),
        },
        ("GET", "/emulator/trail") => ok(&json!(state.trail.read(config.clock.now()))),
        ("GET", "/emulator/requests") => {
            let requests = state.journal.requests();
            drop(state);
            ok(&requests.iter().map(|it| describe(it, started)).collect())
        }
        ("DELETE", "/emulator/requests") => {
            drop(state.journal.take());
            Answer::empty(StatusCode::NO_CONTENT)
        }
        _ => Answer::no_such_api(),
    }
}

fn ok(body: &Value) -> Answer {
    Answer::json(StatusCode::OK, body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|it| it.to_string())
}

fn describe(request: &Request, started: Instant) -> Value {
    let since_start = |it: Instant| (it - started).as_secs_f64();
    json!({
        "connection": request.connection,
        "time": request.time.to_string(),
        "arrived_s": since_start(request.arrived),
        "answered_s": request.answered.map(|(at, _)| since_start(at)),
        "status": request.answered.map(|(_, status)| status.as_u16()),
        "operation": request.operation,
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "raw": String::from_utf8_lossy(&request.raw),
    })
}
