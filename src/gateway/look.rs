//! A look at a job. Where the policies ask for facts of the job, the answer of the cloud that they were
//! read from is the answer that is passed on. A look changes nothing: it takes from no budget and is not
//! recorded.

use super::Gateway;
use super::resolve::{self, Answered, Basis, Question};
use crate::attributes::Unknown;
use crate::exchange::{Exchange, Refusal, Reply};
use crate::policy::{Attributes, Decision, Denial, Reason, Sources};
use crate::upstream::LookUpError;

impl Gateway {
    /// What the cloud says of the job, to who may see it.
    pub(super) async fn look(
        &self,
        exchange: &Exchange,
        question: Question,
    ) -> Result<Reply, Refusal> {
        let Answered { decision, basis } = self.resolve(&exchange.trace, question).await;
        let word = resolve::word(&decision, &basis.look_ups);
        self.note(exchange, &basis.question.query, word, &decision);
        match decision {
            Decision::Allow(_) => self.shown(exchange, basis).await,
            Decision::Deny(denial) => {
                let denial = if basis.look_ups.is_empty() { denial } else { BLIND };
                Err(self.denied(exchange, &basis.question, denial))
            }
            Decision::Indeterminate(_) => self.doubtful(exchange, basis),
        }
    }

    /// The details that were judged; where none were needed, the details as they are now.
    async fn shown(&self, exchange: &Exchange, basis: Basis) -> Result<Reply, Refusal> {
        if let Some(seen) = basis.seen {
            return Ok(Reply::Answered(*seen));
        }
        let Question { query, upstream, .. } = &basis.question;
        let details = Sources { details: true, tags: false };
        let attributes = &mut Attributes::default();
        let looking =
            self.resolver.look_up(upstream, (query, details), &exchange.trace, attributes);
        let mut round = looking.await;
        if let Some(seen) = round.seen.take() {
            return Ok(Reply::Answered(*seen));
        }
        Err(match round.because() {
            Some(Unknown::NotFound(answer) | Unknown::Failed(LookUpError::Refused(answer))) => {
                return Ok(Reply::Answered(*answer));
            }
            Some(Unknown::Unreadable(_) | Unknown::Failed(LookUpError::Status(_))) => {
                Refusal::UnusableAnswer
            }
            Some(Unknown::Failed(LookUpError::BreakerOpen | LookUpError::KeyRefused(_))) => {
                Refusal::CloudRefusesKey
            }
            Some(Unknown::Failed(LookUpError::NoCredential)) => Refusal::NoCloudCredential,
            Some(Unknown::Failed(LookUpError::Failed(_))) | None => Refusal::Unseen,
        })
    }
}

/// The denial that is shown when the job itself mattered: to name the policy would reveal things about
/// the job that the caller may not see.
const BLIND: Denial = Denial { reason: Reason::NothingAllows, statement: None };
