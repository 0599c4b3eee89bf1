//! Units of the budgets for what the policies allow.

use super::Gateway;
use super::resolve::Answered;
use crate::budget::{Refused, Spent, Unit};
use crate::exchange::Refusal;
use crate::policy::{Decision, Denial};

impl Gateway {
    /// Takes units of the budgets for a decision that allows. Without room, the decision becomes a
    /// no. What was taken is given back when it is dropped.
    pub(super) async fn spend(
        &self,
        mut judged: Answered,
    ) -> Result<(Answered, Option<Unit>, Option<Spent>), Refusal> {
        let Decision::Allow(_) = &judged.decision else { return Ok((judged, None, None)) };
        let (question, attributes) = (&judged.basis.question, &judged.basis.attributes);
        let budgets = question.policies.budgets();
        match self.parts.budgets.take(budgets, &question.query, attributes).await {
            Ok(unit) => Ok((judged, Some(unit), None)),
            Err(Refused::Away) => Err(Refusal::BudgetStore),
            Err(Refused::Spent(spent)) => {
                self.parts.desk.metrics.over_budget(&spent.budget);
                judged.decision = Decision::Deny(Denial::over_budget(&spent.budget));
                Ok((judged, None, Some(spent)))
            }
        }
    }
}
