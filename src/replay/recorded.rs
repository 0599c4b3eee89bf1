//! One request of a ledger, with the policies that judged it.

use super::versions::Versions;
use crate::ledger::{Asked, Kind, Reader, Told, Unverified};
use crate::policy::{Attributes, Query, Set};

use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// A decision of a request, and its policies; `None` if the ledger does not hold their text any
/// more, or it does not compile today.
#[derive(Debug)]
pub struct RecordedDecision {
    /// The question.
    pub query: Query,
    /// What was known of the job.
    pub attributes: Attributes,
    /// The version of the policies.
    pub digest: String,
    /// The policies that answered.
    pub set: Option<Arc<Set>>,
}

/// The decisions of the request `id` (the gate's request ID, the caller's, or the trace ID) in the
/// ledger of `directory`, which is verified on the way; of a batch there are several.
///
/// # Errors
/// The first fault of the ledger, or the system's error.
pub fn recorded(directory: &Path, id: &str) -> Result<Vec<RecordedDecision>, Unverified> {
    let (mut versions, mut found) = (Versions::default(), Vec::new());
    Reader::open(directory)?.scan(|scanned| {
        if scanned.kind == Kind::Policies {
            versions.add(scanned.body()?);
        } else if let Told::Decision(asked) = scanned.told
            && is_of(scanned.text, id)
        {
            let Asked { query, attributes, digest, .. } = *asked;
            let set = versions.get(&digest).cloned();
            found.push(RecordedDecision { query, attributes, digest: digest.into_owned(), set });
        }
        Ok(())
    })?;
    Ok(found)
}

fn is_of(line: &[u8], id: &str) -> bool {
    memchr::memmem::find(line, id.as_bytes()).is_some()
        && serde_json::from_slice::<Value>(line).is_ok_and(|line| {
            ["request_id", "caller_request_id", "trace_id"]
                .iter()
                .any(|it| line.get(it).and_then(Value::as_str) == Some(id))
        })
}
