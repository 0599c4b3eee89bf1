//! The section `upstreams`.

use super::Checker;
use super::is_name;
use crate::config::Upstream;
use crate::config::environment;
use crate::config::file;
use crate::route::PROJECT_ID_MAX;
use crate::sign::Algorithm;
use crate::upstream;

use serde_saphyr::Spanned;
use std::collections::BTreeSet;

/// The default of `in_flight`: a cloud that hangs does not take every slot of the gate.
const IN_FLIGHT: usize = 256;

/// The service that a V11 key is derived for.
const SERVICE: &str = "modelarts";

impl Checker<'_> {
    pub(super) fn upstreams(
        &mut self,
        written: Spanned<Vec<file::Upstream>>,
        timeouts: &file::Timeouts,
    ) -> Vec<Upstream> {
        if written.value.is_empty() {
            self.complain(&written, "no upstream: the gate would have nowhere to send a delete");
        }
        let mut names = BTreeSet::new();
        let mut claims = BTreeSet::new();
        for upstream in &written.value {
            let name = &upstream.name;
            if !is_name(&name.value) {
                self.complain(name, "a name is 1 to 64 lower-case letters, digits and hyphens");
            }
            if !names.insert(name.value.clone()) {
                self.complain(name, format!("a second upstream `{}`", name.value));
            }
            if upstream.projects.value.is_empty() {
                self.complain(&upstream.projects, "no project: name project IDs, or `*` for all");
            }
            for project in &upstream.projects.value {
                self.project(project);
                if !claims.insert(project.value.clone()) {
                    let message = format!("`{}` is claimed twice", project.value);
                    self.complain(project, message);
                }
            }
        }
        let upstreams = written.value.into_iter();
        upstreams.filter_map(|it| self.upstream(it, timeouts)).collect()
    }

    fn project(&mut self, written: &Spanned<String>) {
        let text = written.value.strip_suffix('*').unwrap_or(&written.value);
        let valid = text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if !valid || written.value.is_empty() || PROJECT_ID_MAX < text.len() {
            self.complain(
                written,
                "a project is 1 to 64 letters, digits and hyphens, with at most one `*`, at the end",
            );
        }
    }

    fn upstream(&mut self, written: file::Upstream, timeouts: &file::Timeouts) -> Option<Upstream> {
        let file::Kind::Modelarts = written.kind;
        let endpoint = self.endpoint(&written.endpoint)?;
        if !matches!(endpoint.path(), "" | "/") || endpoint.query().is_some() {
            self.complain(&written.endpoint, "an endpoint has no path and no query");
        }
        for part in [&written.region, &written.account] {
            if part.value.is_empty() || part.value.contains([':', '*']) {
                self.complain(part, "it stands in URNs: neither empty, nor with `:` or `*`");
            }
        }
        let in_flight_max = match &written.in_flight {
            Some(written) => self.positive(written, "in_flight"),
            None => IN_FLIGHT,
        };
        let region = written.region.value;
        Some(Upstream {
            roots: self.roots(written.ca.as_ref(), &endpoint),
            credentials: self.credentials(&written.credentials, environment)?,
            connect: timeouts.connect.value.0,
            config: upstream::Config {
                name: written.name.value,
                projects: written.projects.value.into_iter().map(|it| it.value).collect(),
                endpoint,
                algorithm: match written.algorithm {
                    file::Algorithm::SdkHmacSha256 => Algorithm::SdkHmacSha256,
                    file::Algorithm::V11HmacSha256 => Algorithm::V11HmacSha256 {
                        region: region.clone(),
                        service: SERVICE.to_owned(),
                    },
                },
                region,
                account: written.account.value,
                in_flight_max,
                lookup: timeouts.lookup.value.0,
                request: timeouts.request.value.0,
            },
        })
    }
}
