//! Finds budgets that never count a delete, because no request meets their conditions.

use super::{Directory, SAID, tell};
use crate::policy::compile::conditions;
use crate::policy::diff::Effort;
use crate::policy::engine::set::{Actions, Place, Policy, Statement};
use crate::policy::language::attachments::Attachments;
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings};
use crate::policy::language::document::Effect;
use crate::policy::{BUDGETS, Set, Sources, StatementName, budget};

use std::sync::Arc;

/// Adds what is found to `found`, with this effort for each budget.
pub(super) fn examine(set: &Set, effort: Effort<'_>, found: &mut Vec<Diagnostic>) {
    let Some(bytes) = set.files.get(BUDGETS) else { return };
    for named in budget::named(bytes) {
        let (Some(first), Some(last)) = (named.conditions.first(), named.conditions.last()) else {
            continue;
        };
        let within = first.operator.span.start..=last.values.last().map_or(0, |it| it.span.end);
        let mut is_said = found.iter().filter(|it| it.path == BUDGETS && SAID.contains(&it.code));
        if is_said.any(|it| within.contains(&it.span.start)) {
            continue;
        }
        // A budget reads what is silent as a Deny does.
        let (mut sources, mut ignored) = (Sources::default(), Vec::new());
        let mut quiet = Findings { path: BUDGETS, found: &mut ignored };
        let conditions =
            conditions::compile(&named.conditions, Effect::Deny, &mut sources, &mut quiet);
        let statement = Statement {
            name: StatementName::new(BUDGETS),
            effect: Effect::Deny,
            actions: Actions { delete: true, ..Actions::default() },
            resource: None,
            conditions,
            sources,
            place: Place { path: BUDGETS.to_owned(), span: named.span },
        };
        let alone = alone(set, statement);
        let directory = Directory::new(&alone, effort);
        let mut left = effort;
        let never = left.begin().and_then(|()| directory.never(0, &mut left));
        let Some(statement) = directory.entry(0).map(|it| it.statement) else { continue };
        if let Ok(Some(parts)) = never {
            let message = format!("this budget never counts: {}", tell::why(statement, &parts));
            let hint = "all conditions must hold at once: write two budgets, or leave this one out";
            let mut findings = Findings { path: BUDGETS, found };
            findings.hint(Code::NeverMatches, last.key.span, message, hint);
        }
    }
}

/// Policies of nothing but this statement.
fn alone(set: &Set, statement: Statement) -> Set {
    Set {
        files: set.files.clone(),
        digest: set.digest.clone(),
        guardrails: Policy { denies: vec![statement], ..Policy::default() },
        has_ceiling: false,
        identity: Vec::new(),
        attachments: Attachments::default(),
        budgets: Arc::clone(&set.budgets),
    }
}
