//! Differences that somebody has looked at and wants: a file beside the change.

use super::tally::{Class, Tally};
use crate::yaml::{self, Fault, Faults, Spanned};

use serde::Deserialize;
use serde::de::Error;
use std::collections::BTreeSet;

/// What a file of accepted differences holds.
#[derive(Debug, Default)]
pub struct Acceptance {
    accept: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    accept: Vec<Spanned<Accepted>>,
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

impl Acceptance {
    /// Reads the YAML of such a file.
    ///
    /// # Errors
    /// It is none, or accepts what cannot be accepted.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let File { accept } = yaml::read(text)?;
        let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
        for Spanned { value: Accepted { class, statement, reason }, place } in &accept {
            let name = class.as_str();
            let message = if class.is_open() || *class == Class::Drift {
                format!("`{name}` cannot be accepted: nothing is known of these decisions")
            } else if reason.trim().is_empty() {
                // Without a reason nobody knows later why.
                format!("`{name}` of `{statement}` has no reason")
            } else if !seen.insert((name, statement)) {
                format!("`{name}` of `{statement}` is there twice")
            } else {
                continue;
            };
            faults.push(Fault::custom(message).at(*place));
        }
        match faults.is_empty() {
            true => Ok(Self { accept: accept.into_iter().map(|it| it.value).collect() }),
            false => Err(Faults(faults)),
        }
    }

    /// Why this difference is accepted; `None` if it is not.
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
