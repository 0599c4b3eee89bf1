//! The section `upstreams`.

use super::{Checker, is_name};
use crate::config::{Upstream, environment, file};
use crate::route::PROJECT_ID_MAX;
use crate::sign::Algorithm;
use crate::upstream;
use crate::yaml::Spanned;

use http::Uri;
use std::collections::BTreeSet;

/// The default of `in_flight`: a cloud that hangs must not take every slot of the gate.
const IN_FLIGHT: usize = 256;

/// The service that a V11 key is derived for.
const SERVICE: &str = "modelarts";

impl Checker<'_> {
    /// `shared` says that the process serves the pod it runs in.
    pub(super) fn upstreams(
        &mut self,
        written: Spanned<Vec<file::Upstream>>,
        timeouts: &file::Timeouts,
        shared: bool,
    ) -> Vec<Upstream> {
        if written.value.is_empty() {
            self.complain(&written, "no upstream: the gate would have nowhere to send a delete");
        }
        let mut names = BTreeSet::new();
        let mut claims = BTreeSet::new();
        for upstream in &written.value {
            let name = &upstream.name;
            self.upstream_name(name);
            if !names.insert(name.value.clone()) {
                self.complain(name, format!("another upstream is called `{}` already", name.value));
            }
            for project in upstream.projects.iter().flat_map(|it| &it.value) {
                if !claims.insert(project.value.clone()) {
                    let message = format!("`{}` is claimed twice", project.value);
                    self.complain(project, message);
                }
            }
        }
        let upstreams = written.value.into_iter();
        upstreams.filter_map(|it| self.upstream(it, timeouts, shared)).collect()
    }

    pub(super) fn upstream_name(&mut self, name: &Spanned<String>) {
        if !is_name(&name.value) {
            self.complain(name, "a name must be 1 to 64 lower-case letters, digits and hyphens");
        }
    }

    pub(super) fn projects(&mut self, written: Spanned<Vec<Spanned<String>>>) -> Vec<String> {
        if written.value.is_empty() {
            self.complain(&written, "no project: name project IDs, or `*` for all");
        }
        for project in &written.value {
            let text = project.value.strip_suffix('*').unwrap_or(&project.value);
            let valid = text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
            if !valid || project.value.is_empty() || PROJECT_ID_MAX < text.len() {
                self.complain(
                    project,
                    "a project must be 1 to 64 letters, digits and hyphens, with at most one `*`, at the end",
                );
            }
        }
        written.value.into_iter().map(|it| it.value).collect()
    }

    /// Scheme and authority of the endpoint.
    pub(super) fn upstream_endpoint(&mut self, written: &Spanned<String>) -> Option<Uri> {
        let endpoint = self.endpoint(written)?;
        if !matches!(endpoint.path(), "" | "/") || endpoint.query().is_some() {
            self.complain(written, "an endpoint must not have a path or a query");
        }
        Some(endpoint)
    }

    fn upstream(
        &mut self,
        written: file::Upstream,
        timeouts: &file::Timeouts,
        shared: bool,
    ) -> Option<Upstream> {
        let file::Upstream { name, projects, region, account, credentials, token, .. } = written;
        if let Some(token) = &token {
            self.complain(token, "a token is for an upstream of kind gate");
        }
        let endpoint = self.upstream_endpoint(&written.endpoint);
        let projects = self.required(&name, "projects", projects).map(|it| self.projects(it));
        let region = self.required(&name, "region", region);
        let account = self.required(&name, "account", account);
        for part in [&region, &account].into_iter().flatten() {
            let valid = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
            if part.value.is_empty() || !part.value.bytes().all(valid) {
                let message = "it is a part of URNs, so it must be letters, digits, `-` and `_`; nothing is substituted in it";
                self.complain(part, message);
            }
        }
        let in_flight_max = match &written.in_flight {
            Some(written) => self.positive(written, "in_flight") as usize,
            None => IN_FLIGHT,
        };
        let credentials = self.required(&name, "credentials", credentials);
        let credentials = credentials.map(|it| self.credentials(&it, shared, environment));
        let (endpoint, region) = (endpoint?, region?.value);
        Some(Upstream {
            roots: self.roots(written.ca.as_ref(), &endpoint),
            credentials: credentials??,
            connect: timeouts.connect.value.0,
            config: upstream::Config {
                name: name.value,
                projects: projects?,
                endpoint,
                algorithm: match written.algorithm.map(|it| it.value) {
                    None | Some(file::Algorithm::SdkHmacSha256) => Algorithm::SdkHmacSha256,
                    Some(file::Algorithm::V11HmacSha256) => Algorithm::V11HmacSha256 {
                        region: region.clone(),
                        service: SERVICE.to_owned(),
                    },
                },
                region,
                account: account?.value,
                in_flight_max,
                lookup: timeouts.lookup.value.0,
                request: timeouts.request.value.0,
            },
        })
    }

    /// What an upstream cannot do without. `at` is its name.
    pub(super) fn required<T>(
        &mut self,
        at: &Spanned<String>,
        what: &str,
        written: Option<T>,
    ) -> Option<T> {
        if written.is_none() {
            self.complain(at, format!("the upstream `{}` has no `{what}`", at.value));
        }
        written
    }
}
