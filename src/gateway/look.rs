//! A look at a job: judged by what is seen, where the policies ask for that, so that the answer that is
//! passed on is the one that was judged. It changes nothing: no budget is charged for it, and it is not
//! recorded.

use super::resolve::{self, Answered, Basis, Question};
use super::{Gateway, doubtful};
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
            Decision::Indeterminate(_) => {
                let help = self.help(exchange);
                doubtful(basis).map_err(|it| it.with_help(help))
            }
        }
    }

    /// The details: those that were judged, or else as they are now.
    async fn shown(&self, exchange: &Exchange, basis: Basis) -> Result<Reply, Refusal> {
        if let Some(seen) = basis.seen {
            return Ok(Reply::Answered(*seen.answer));
        }
        let Question { query, upstream, .. } = &basis.question;
        let details = Sources { details: true, tags: false };
        let attributes = &mut Attributes::default();
        let looking =
            self.resolver.look_up(upstream, (query, details), &exchange.trace, attributes);
        let mut round = looking.await;
        if let Some(seen) = round.seen.take() {
            return Ok(Reply::Answered(*seen.answer));
        }
        let error = match round.because() {
            Some(Unknown::NotFound(answer)) => return Ok(Reply::Answered(*answer)),
            Some(Unknown::Unreadable(_)) => return Err(Refusal::UnusableAnswer),
            Some(Unknown::Failed(error)) => error,
            None => return Err(Refusal::Unseen),
        };
        match error {
            LookUpError::Refused(answer) => Ok(Reply::Answered(*answer)),
            LookUpError::Status(_) => Err(Refusal::UnusableAnswer),
            LookUpError::BreakerOpen | LookUpError::KeyRefused => Err(Refusal::CloudRefusesKey),
            LookUpError::NoCredential => Err(Refusal::NoCloudCredential),
            LookUpError::Failed(_) => Err(Refusal::Unseen),
        }
    }
}

/// What is told of a no that depended on the job: which policy it was would tell of the job what its
/// asker may not see.
const BLIND: Denial = Denial { reason: Reason::NothingAllows, statement: None };
