//! Differences that somebody has looked at and wants: a file beside the change.

use super::tally::{Class, Tally};

use serde::Deserialize;
use std::collections::BTreeSet;

/// What a file of accepted differences holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    accept: Vec<Accepted>,
}

/// One accepted difference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The class, as the report calls it.
    pub class: Class,
    /// The deciding statement, as the report calls it.
    pub statement: String,
    /// Why it is wanted.
    pub reason: String,
}

/// Why a file is none of accepted differences.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Not of this form.
    #[error("{0}")]
    Form(String),
    /// What must not be accepted.
    #[error("`{0}` cannot be accepted: it says that nothing is known of these decisions")]
    Open(&'static str),
    /// Without a reason nobody knows later why.
    #[error("`{class}` of `{statement}` has no reason")]
    Reason {
        /// The class.
        class: &'static str,
        /// The statement.
        statement: String,
    },
    /// Twice the same.
    #[error("`{class}` of `{statement}` is there twice")]
    Twice {
        /// The class.
        class: &'static str,
        /// The statement.
        statement: String,
    },
}

impl Acceptance {
    /// Reads the YAML of such a file.
    ///
    /// # Errors
    /// It is none, or accepts what cannot be accepted.
    pub fn parse(text: &str) -> Result<Self, AcceptError> {
        let it: Self =
            serde_saphyr::from_str(text).map_err(|error| AcceptError::Form(error.to_string()))?;
        let mut seen = BTreeSet::new();
        for Accepted { class, statement, reason } in &it.accept {
            if class.is_open() || *class == Class::Drift {
                return Err(AcceptError::Open(class.as_str()));
            }
            let (class, statement) = (class.as_str(), statement.clone());
            if reason.trim().is_empty() {
                return Err(AcceptError::Reason { class, statement });
            }
            if !seen.insert((class, statement.clone())) {
                return Err(AcceptError::Twice { class, statement });
            }
        }
        Ok(it)
    }

    /// Why this difference is accepted; nothing if it is not.
    #[must_use]
    pub fn reason(&self, class: Class, statement: &str) -> Option<&str> {
        let is_it = |it: &&Accepted| it.class == class && it.statement == statement;
        self.accept.iter().find(is_it).map(|it| it.reason.as_str())
    }

    /// What is accepted and does not occur in `tally`.
    pub fn idle<'a>(&'a self, tally: &'a Tally) -> impl Iterator<Item = &'a Accepted> {
        let occurs = |it: &&Accepted| tally.groups.contains_key(&(it.class, it.statement.clone()));
        self.accept.iter().filter(move |it| !occurs(it))
    }
}
