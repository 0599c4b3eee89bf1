//! The engine, asked like the reference interpreter and answering in its words.

use crate::support::reference::{Files, Verdict};

use lychgate::policy;
use lychgate::policy::{Attributes, Decision, Diagnostic, Limits, Query, Reason, Severity};

/// A policy directory that the engine has taken.
pub(crate) struct Engine {
    set: policy::Set,
    /// The codes of what was found all the same.
    pub(crate) findings: Vec<&'static str>,
}

impl Engine {
    /// The codes of the errors, if the engine refuses the directory.
    pub(crate) fn load(files: &Files) -> Result<Self, Vec<&'static str>> {
        let files: policy::Files = files.iter().map(|(path, it)| (path, it.clone())).collect();
        let compiled = policy::Set::compile(&files, &Limits::default());
        let (errors, findings): (Vec<_>, Vec<_>) =
            compiled.diagnostics.iter().partition(|it| it.severity() == Severity::Error);
        let codes = |of: Vec<&Diagnostic>| of.iter().map(|it| it.code.as_str()).collect();
        let findings = codes(findings);
        compiled.set.map(|set| Self { set, findings }).ok_or_else(|| codes(errors))
    }

    pub(crate) fn judge(&self, query: &Query, attributes: &Attributes) -> Verdict {
        match self.set.evaluate(query, attributes) {
            Decision::Allow(permit) => Verdict::Allow { by: permit.statement().to_string() },
            Decision::Deny(denial) => Verdict::Deny {
                by: match (denial.reason, denial.statement) {
                    (Reason::ExplicitDeny, Some(it)) => it.to_string(),
                    (Reason::OutsideGuardrails, None) => "ceiling".to_owned(),
                    (Reason::NothingAllows, None) => "none".to_owned(),
                    (reason, statement) => format!("{reason:?} by {statement:?}"),
                },
            },
            Decision::Indeterminate(doubt) => Verdict::Indeterminate { wanted: doubt.wanted },
        }
    }
}
