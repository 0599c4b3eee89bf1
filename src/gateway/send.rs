//! Sends what is permitted and recorded, and writes down how it ended.

use super::resolve::Question;
use super::{Gateway, Permitted, Ruling};
use crate::attributes::Presence;
use crate::exchange::{Exchange, Refusal, Reply};
use crate::ledger::record::Tombstone;
use crate::ledger::{Ending, Entry, Outcome};
use crate::metrics::LedgerFault;
use crate::upstream::{Answer, DeleteError};

use http::StatusCode;
use std::time::Duration;

/// How often a decision is made anew because what it was based on became too old.
const JUDGEMENTS_MAX: usize = 2;

impl Gateway {
    /// Sends what is permitted, and closes its entry.
    pub(super) async fn send(
        &self,
        exchange: &Exchange,
        mut permitted: Permitted,
    ) -> Result<Reply, Refusal> {
        for judgement in 1..=JUDGEMENTS_MAX {
            let Permitted { question, permit, mut entry, known_since, tombstone, recorded_in } =
                permitted;
            let of = entry.seq();
            let fresh_until = known_since.map(|it| it + self.settings.attributes_max_age);
            exchange.watch(entry.watch_sending());
            let trace = &exchange.trace;
            match question.upstream.delete(permit, &mut entry, fresh_until, trace).await {
                // What was looked up is too old to act on, so the decision is too: it is closed
                // as one that sent nothing, and made anew.
                Err(DeleteError::Stale) => {
                    entry.close(Ending::NotSent.into());
                    if judgement == JUDGEMENTS_MAX {
                        return Err(self.too_old(recorded_in));
                    }
                    let judged = self.resolve(trace, question).await;
                    permitted = match self.record(exchange, vec![judged]).await?.pop() {
                        Some(Ruling::Permitted(permitted)) => permitted,
                        Some(Ruling::Ended(ended)) => return ended,
                        None => break,
                    };
                }
                Err(DeleteError::Unanswered) => {
                    return Box::pin(self.settle(exchange, &question, entry, tombstone)).await;
                }
                sent => {
                    let accepted = sent.as_ref().is_ok_and(|it| it.status.is_success());
                    let reply = close(entry, sent);
                    self.remember(of, tombstone.filter(|_| accepted));
                    return reply;
                }
            }
        }
        Err(Refusal::AttributesUnavailable)
    }

    /// Why what was looked up is too old again: the ledger's disk, or the cloud.
    fn too_old(&self, recorded_in: Duration) -> Refusal {
        if recorded_in < self.settings.attributes_max_age {
            return Refusal::AttributesUnavailable;
        }
        self.parts.desk.metrics.ledger_failed(LedgerFault::Slow);
        Refusal::LedgerSlow
    }

    /// Sent, and no answer: one look-up tells whether the job is gone. What is recorded is what was
    /// seen, never who caused it.
    async fn settle(
        &self,
        exchange: &Exchange,
        Question { query, upstream, .. }: &Question,
        entry: Entry,
        tombstone: Option<Box<Tombstone<'static>>>,
    ) -> Result<Reply, Refusal> {
        match self.resolver.presence(upstream, &query.job, &exchange.trace).await {
            Presence::Gone(answer) => {
                let of = entry.seq();
                entry.close(Outcome {
                    result: Ending::Gone,
                    status: Some(answer.status.as_u16()),
                    upstream_request_id: answer.request_id().map(str::to_owned),
                });
                self.remember(of, tombstone);
                Ok(Reply::Gone)
            }
            Presence::Present | Presence::Unknown => {
                entry.close(Ending::Unknown.into());
                Err(Refusal::OutcomeUnknown)
            }
        }
    }

    /// Records what is lost with the job; `of` is the number of its decision.
    fn remember(&self, of: u64, tombstone: Option<Box<Tombstone<'static>>>) {
        if let Some(tombstone) = tombstone {
            self.parts.ledger.tombstone(Tombstone { of, ..*tombstone });
        }
    }
}

/// The cloud answered, or it is certain that nothing was sent.
fn close(entry: Entry, sent: Result<Answer, DeleteError>) -> Result<Reply, Refusal> {
    let answered = |status: StatusCode, request_id: Option<&str>| Outcome {
        result: Ending::Sent,
        status: Some(status.as_u16()),
        upstream_request_id: request_id.map(str::to_owned),
    };
    let (outcome, result) = match sent {
        Ok(answer) => (answered(answer.status, answer.request_id()), Ok(Reply::Answered(answer))),
        Err(DeleteError::KeyRefused(status, id)) => {
            (answered(status, id.as_deref()), Err(Refusal::CloudRefusesKey))
        }
        Err(DeleteError::Unusable(status, id)) => {
            (answered(status, id.as_deref()), Err(Refusal::UnusableAnswer))
        }
        Err(DeleteError::BreakerOpen) => (Ending::NotSent.into(), Err(Refusal::CloudRefusesKey)),
        Err(DeleteError::Connect) => (Ending::NotSent.into(), Err(Refusal::Connect)),
        Err(DeleteError::NotPermitted) => (Ending::NotSent.into(), Err(Refusal::Internal)),
        Err(DeleteError::NoCredential) => (Ending::NotSent.into(), Err(Refusal::NoCloudCredential)),
        Err(DeleteError::NotInTime | DeleteError::Stale) => {
            (Ending::NotSent.into(), Err(Refusal::NothingSent))
        }
        Err(DeleteError::Unanswered) => (Ending::Unknown.into(), Err(Refusal::OutcomeUnknown)),
    };
    entry.close(outcome);
    result
}
