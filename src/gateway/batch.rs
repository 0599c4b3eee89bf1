//! A batch: each job is judged, recorded and deleted as if it had been asked for alone, but all of
//! them or none. The cloud's own batch call is not used: it does not check the single jobs, nor
//! does it tell how each of them ended.

use super::resolve::{Answered, Basis, Question};
use super::{Gateway, Permitted, Ruling};
use crate::exchange::{Exchange, JobFault, Refusal, Reply};
use crate::ledger::{Ending, record};
use crate::policy::{Decision, Job};
use crate::telemetry::Trace;

use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How many jobs of one batch are looked up, or deleted, at once.
const AT_ONCE: usize = 16;

/// The limit for all look-ups of a batch together.
const JUDGED_WITHIN: Duration = Duration::from_secs(10);

/// How many jobs the text of an answer names; its list names all.
const NAMED_MAX: usize = 3;

/// What a batch is told of jobs that hold up the others.
const NONE_SENT: &str = "cannot be deleted, and nothing was sent";

/// Where the jobs of a batch would get different statuses, the batch gets the first of these: what
/// is certain before what may pass.
const STATUSES: [u16; 5] = [403, 429, 400, 409, 503];

impl Gateway {
    /// Answers each question by itself.
    pub(super) async fn judge_all(
        &self,
        trace: &Trace,
        questions: Vec<Question>,
    ) -> Result<Vec<Answered>, Refusal> {
        let judging = stream::iter(questions).map(|it| self.resolve(trace, it));
        let judged = timeout(JUDGED_WITHIN, judging.buffered(AT_ONCE).collect()).await;
        judged.map_err(|_| Refusal::AttributesUnavailable)
    }

    /// Deletes all of `judged` if all may be deleted, and none of them otherwise. A job that is
    /// gone already does not count as a failure, so that a batch can be repeated.
    pub(super) async fn delete_all(
        &self,
        exchange: &Exchange,
        judged: Vec<Answered>,
        kinds: &[&str],
    ) -> Result<Reply, Refusal> {
        let jobs: Vec<_> =
            judged.iter().map(|it| Arc::clone(&it.basis.question.query.job)).collect();
        let mistaken: Vec<_> =
            judged.iter().zip(kinds).map(|(it, kind)| is_mistaken(it, kind)).collect();
        let mut permitted = Vec::new();
        let mut refused = Vec::new();
        let ruled = self.record(exchange, judged).await?;
        for ((index, ruled), mistaken) in ruled.into_iter().enumerate().zip(mistaken) {
            match ruled {
                Ruling::Permitted(_) if mistaken => refused.push((index, Fate::of_another_kind())),
                Ruling::Permitted(it) => permitted.push((index, it)),
                Ruling::Ended(ended) => refused.extend(Fate::of(ended).map(|it| (index, it))),
            }
        }
        if !refused.is_empty() {
            let fit = permitted.len();
            for (_, Permitted { entry, .. }) in permitted {
                entry.close(Ending::NotSent.into());
            }
            let worst = refused.iter().min_by_key(|(_, it)| it.rank());
            let code = worst.map_or(0, |(_, it)| it.code);
            let mut text = NONE_SENT.to_owned();
            // However often a batch is repeated that needs more than a budget has.
            if code == 4292 && fit != 0 {
                text += &format!("; a batch of the other {fit} fits into the budgets");
            }
            return Err(answer(code, &text, &jobs, refused));
        }
        let sending = stream::iter(permitted)
            .map(async |(index, it)| (index, Fate::of(self.send(exchange, it).await)));
        let ended: Vec<_> = sending.buffer_unordered(AT_ONCE).collect().await;
        let mut failed: Vec<_> =
            ended.into_iter().filter_map(|(index, fate)| Some((index, fate?))).collect();
        if failed.is_empty() {
            return Ok(Reply::AllDone);
        }
        failed.sort_by_key(|(index, _)| *index);
        let text = "are not known to be accepted; the others are: repeat the batch, that is safe";
        Err(answer(5024, text, &jobs, failed))
    }
}

/// The refusal where the record of a decision would be too large; in a batch it names the job. The
/// question has been checked, so it is the job that is too large.
pub(super) fn too_much<'a>(bases: impl Iterator<Item = &'a Basis>) -> Refusal {
    let bases: Vec<_> = bases.collect();
    if bases.len() < 2 {
        return Refusal::TooMuch;
    }
    let jobs: Vec<_> = bases.iter().map(|it| Arc::clone(&it.question.query.job)).collect();
    let length = |it: &&Basis| record::to_json(&it.attributes).len();
    let largest = bases.iter().enumerate().max_by_key(|(_, it)| length(it));
    let faults = largest.and_then(|(index, _)| Some((index, Fate::of(Err(Refusal::TooMuch))?)));
    answer(4091, NONE_SENT, &jobs, faults.into_iter().collect())
}

/// The `kind` that the caller gave is not the job's. Only a caller who may delete the job is told.
fn is_mistaken(judged: &Answered, kind: &str) -> bool {
    let known = judged.basis.attributes.kind.value();
    matches!(judged.decision, Decision::Allow(_)) && known.is_some_and(|it| it != kind)
}

/// Why a job is not accepted for deletion.
struct Fate {
    /// Its code as an answer of the gate.
    code: u16,
    error_code: String,
    text: String,
    /// In how many seconds it makes sense to ask again, where that is known.
    retry_after: Option<u64>,
}

impl Fate {
    /// Nothing if the job is accepted or gone.
    fn of(ended: Result<Reply, Refusal>) -> Option<Self> {
        let refusal = match ended {
            Ok(Reply::Answered(answer)) if answer.is_no_such_job() => return None,
            Ok(Reply::Answered(answer)) if !answer.status.is_success() => {
                let status = answer.status;
                let error_code = answer.code().unwrap_or("Lychgate.5023").to_owned();
                let text = format!("ModelArts answered {status}");
                // The code counts only before anything is sent: for a look-up whose answer says nothing of
                // the job. Afterwards the batch has one of its own.
                return Some(Self { code: 5031, error_code, text, retry_after: None });
            }
            Ok(_) => return None,
            Err(refusal) => refusal,
        };
        let error_code = format!("Lychgate.{}", refusal.code());
        let (code, text) = (refusal.code(), refusal.to_string());
        Some(Self { code, error_code, text, retry_after: refusal.retry_after() })
    }

    fn of_another_kind() -> Self {
        let text = "`kind` is not the job's own".to_owned();
        let error_code = "Lychgate.4008".to_owned();
        Self { code: 4008, error_code, text, retry_after: None }
    }

    fn rank(&self) -> usize {
        let status = self.code / 10;
        STATUSES.iter().position(|it| *it == status).unwrap_or(STATUSES.len())
    }
}

/// The answer to a batch that failed, about the jobs that `faults` names by their place.
fn answer(code: u16, text: &str, jobs: &[Arc<Job>], faults: Vec<(usize, Fate)>) -> Refusal {
    let retry_after = faults.iter().filter_map(|(_, it)| it.retry_after).max();
    let faults = faults.into_iter().filter_map(|(index, Fate { error_code, text, .. })| {
        let id = jobs.get(index)?.training_job_id.clone();
        Some(JobFault { index, id, error_code, error_msg: text })
    });
    let faults: Vec<_> = faults.collect();
    let named = faults.iter().take(NAMED_MAX);
    let named = named.map(|it| format!("jobs[{}] {}: {}", it.index, it.id, it.error_msg));
    let named = named.collect::<Vec<_>>().join("; ");
    let more = if NAMED_MAX < faults.len() { "; and more" } else { "" };
    let text = format!("{} of {} jobs {text}: {named}{more}", faults.len(), jobs.len());
    Refusal::Batch { code, text, jobs: faults, retry_after }
}
