//! Finds the decisions that an earlier run left open: without an outcome, or with the outcome
//! `unknown`, and without a settlement.
//!
//! It reads every segment, which takes seconds for gigabytes, and so runs in a thread of its own
//! while requests are already served. Nothing is checked here; `audit verify` does that.

use crate::ledger::line::Kind;
use crate::ledger::read::glance::{Glance, each_line};
use crate::ledger::{Ending, Ledger, Pending};
use crate::policy::{Answer, Job};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use tokio::sync::mpsc;

/// A decision that is still open.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Open {
    answer: Answer,
    pub(in crate::ledger) pending: Pending,
}

/// Hands out the open decisions of `segments` in `directory`. Those that were allowed go to whoever
/// settles them, in the order in which they were made; the others are settled here, because nothing
/// was sent for them.
pub(in crate::ledger) fn hand_out(
    directory: &Path,
    segments: &[u64],
    ledger: &Ledger,
    pending: &mpsc::Sender<Pending>,
) {
    let open = match open(directory, segments) {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(%error, "open decisions of earlier runs cannot be read");
            return;
        }
    };
    if !open.is_empty() {
        tracing::warn!(decisions = open.len(), "decisions of earlier runs are open");
    }
    // First those that need no look-up.
    for (of, it) in &open {
        match it.answer {
            Answer::Allow => (),
            Answer::Deny => ledger.settle(*of, Ending::Denied),
            Answer::Indeterminate => ledger.settle(*of, Ending::Refused),
        }
    }
    for it in open.into_values().filter(|it| it.answer == Answer::Allow) {
        if pending.blocking_send(it.pending).is_err() {
            return;
        }
    }
}

/// The open decisions of `segments`, by their `seq`.
pub(in crate::ledger) fn open(
    directory: &Path,
    segments: &[u64],
) -> io::Result<BTreeMap<u64, Open>> {
    let mut res = BTreeMap::new();
    each_line(directory, segments, |glance, _| count(glance, &mut res))?;
    Ok(res)
}

fn count(glance: Glance<'_>, open: &mut BTreeMap<u64, Open>) {
    let result = glance.result.as_deref().unwrap_or_default();
    match glance.kind {
        Kind::Decision => {
            let answer = match result {
                "allow" => Answer::Allow,
                "deny" => Answer::Deny,
                _ => Answer::Indeterminate,
            };
            let text = |it: Option<Cow<'_, str>>| it.unwrap_or_default().into_owned();
            let pending = Pending {
                seq: glance.seq,
                time: glance.time.parse().unwrap_or_default(),
                request_id: text(glance.request_id),
                upstream: text(glance.upstream),
                job: Job::new(text(glance.project), text(glance.job)).into(),
            };
            open.insert(glance.seq, Open { answer, pending });
        }
        Kind::Outcome if result == "unknown" => (),
        Kind::Outcome | Kind::Settlement => {
            if let Some(of) = glance.of {
                open.remove(&of);
            }
        }
        Kind::Checkpoint | Kind::Policies | Kind::Suppressed | Kind::Tombstone | Kind::Unknown => {}
    }
}
