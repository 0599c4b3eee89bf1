//! The policy versions that a ledger holds.

use crate::ledger::record::{self, Body};
use crate::policy::{Limits, Set};

use std::sync::Arc;

/// So many versions are kept ready, those that were read last; a ledger repeats the text of each in
/// every segment, so that an older one comes again where it is needed.
const VERSIONS_MAX: usize = 64;

/// The versions that were read so far, compiled.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// The last that was read at the end.
    known: Vec<(String, Version)>,
    /// The parts so far of a version that is spread over several records.
    parts: Vec<record::Policies<'static>>,
}

#[derive(Debug)]
enum Version {
    Compiled(Arc<Set>),
    /// It does not compile today, or is not what its digest says.
    Unusable,
}

impl Versions {
    /// Takes a record of policies.
    pub(crate) fn add(&mut self, body: Body<'static>) {
        let Body::Policies(part) = body else { return };
        if let Some(at) = self.known.iter().position(|(digest, _)| *digest == part.digest) {
            let known = self.known.remove(at);
            self.known.push(known);
            return;
        }
        if part.part == 1 || self.parts.first().is_some_and(|it| it.digest != part.digest) {
            self.parts.clear();
        }
        self.parts.push(part);
        let Some(files) = record::Policies::join(&self.parts) else { return };
        let Some(digest) = self.parts.first().map(|it| it.digest.clone().into_owned()) else {
            return;
        };
        self.parts.clear();
        let set = Set::compile(&files, &Limits::default()).set;
        let version = match set.filter(|it| it.digest() == digest) {
            Some(set) => Version::Compiled(Arc::new(set)),
            None => Version::Unusable,
        };
        if VERSIONS_MAX <= self.known.len() {
            self.known.remove(0);
        }
        self.known.push((digest, version));
    }

    /// The version `digest`; `None` if its record was not read, or cannot be used.
    pub(crate) fn get(&self, digest: &str) -> Option<&Arc<Set>> {
        match self.known.iter().rfind(|(it, _)| it == digest)? {
            (_, Version::Compiled(set)) => Some(set),
            (_, Version::Unusable) => None,
        }
    }
}
