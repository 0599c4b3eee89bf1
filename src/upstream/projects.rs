//! Which upstream serves which project.

use super::Upstream;
use crate::sign;

use http::Uri;
use std::sync::Arc;
use std::time::Duration;

/// One cloud endpoint and the projects it serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// A short name for records and metrics.
    pub name: String,
    /// Project IDs, exact or with one `*` at the end.
    pub projects: Vec<String>,
    /// Scheme and authority, without a path.
    pub endpoint: Uri,
    /// The region in URNs and policies, such as `cn-north-4`.
    pub region: String,
    /// The account in URNs and policies.
    pub account: String,
    /// How to sign.
    pub algorithm: sign::Algorithm,
    /// The most requests that are worked on at once for its projects.
    pub in_flight_max: usize,
    /// The limit for one look-up call.
    pub lookup: Duration,
    /// The limit for the delete, from the first byte to the whole answer.
    pub request: Duration,
}

/// All upstreams; clones are the same ones.
#[derive(Clone, Debug)]
pub struct Upstreams(Vec<Arc<Upstream>>);

impl Upstreams {
    /// `upstreams` must not claim the same project or pattern twice.
    #[must_use]
    pub fn new(upstreams: Vec<Upstream>) -> Self {
        Self(upstreams.into_iter().map(Arc::new).collect())
    }

    /// The upstream that claims `project_id`: an exact name wins, then the longest pattern.
    #[must_use]
    pub fn for_project(&self, project_id: &str) -> Option<&Arc<Upstream>> {
        self.0
            .iter()
            .filter_map(|it| Some((claim(&it.config.projects, project_id)?, it)))
            .max_by_key(|(claim, _)| *claim)
            .map(|(_, upstream)| upstream)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.iter()
    }
}

/// How specific the claim of `projects` on `project_id` is; longer is more, and exact is most. They
/// are exact, or have one `*` at the end.
#[must_use]
pub fn claim(projects: &[String], project_id: &str) -> Option<usize> {
    let claim = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => project_id.starts_with(prefix).then_some(prefix.len()),
        None => (pattern == project_id).then_some(usize::MAX),
    };
    projects.iter().filter_map(claim).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_project_wins_then_the_longest_pattern() {
        let config =
            |projects: &[&str]| -> Vec<_> { projects.iter().map(|it| (*it).to_owned()).collect() };
        let configs = [config(&["*"]), config(&["0a*", "0a1b"]), config(&["0a1*", "ff"])];
        for (project, expected) in
            [("0a1b", 1), ("0a1bc", 2), ("0a1", 2), ("0a2", 1), ("ff", 2), ("fff", 0), ("0", 0)]
        {
            let claims = configs.iter().map(|it| claim(it, project));
            let best = claims.enumerate().max_by_key(|(_, claim)| *claim);
            assert_eq!(best.map(|(at, _)| at), Some(expected), "{project}");
        }
        assert_eq!(claim(&config(&["a"]), "A"), None);
    }
}
