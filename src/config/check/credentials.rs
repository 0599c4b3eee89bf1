//! The setting `credentials` of an upstream.

use super::{Checker, is_loopback};
use crate::client;
use crate::config::file;
use crate::credentials::{Oidc, PodIdentity, Source};
use crate::secret::Secret;
use crate::sign::Credential;
use crate::yaml::Spanned;

use http::Uri;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The variables of the official SDKs (huaweicloudsdkcore 3.1.219, auth/provider.py).
const AK: &str = "HUAWEICLOUD_SDK_AK";
const SK: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";

const POD_URI: &str = "HC_CONTAINER_CREDENTIALS_FULL_URI";
const POD_TOKEN_FILE: &str = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Where every virtual machine finds its metadata (huaweicloudsdkcore 3.1.219, auth/internal.py).
const METADATA: &str = "http://169.254.169.254";

/// The lifetimes that the token service gives (STS v5, AssumeAgency).
const DURATIONS: RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_hours(12);

const ONE_SOURCE: &str =
    "name one source: `file`, `environment`, `ecs_metadata`, `pod_identity` or `oidc`";

const SHARED: &str = "every container of this pod can ask for this credential itself, and then deletes without the gate: use `file` or `oidc`, or write `shared_with_pod: true` to accept that";

impl Checker<'_> {
    /// `shared` says that the process serves the pod it runs in, `environment` reads a variable;
    /// `None` only with a complaint.
    pub(super) fn credentials(
        &mut self,
        written: &Spanned<file::Credentials>,
        shared: bool,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Source> {
        let file::Credentials {
            file,
            environment: from_environment,
            shared_with_pod,
            ecs_metadata,
            pod_identity,
            oidc,
        } = &written.value;
        let of_the_pod = ecs_metadata.is_some() || pod_identity.is_some();
        if shared && of_the_pod && !shared_with_pod {
            self.complain(written, SHARED);
        }
        let sources = [
            file.as_ref().map(|it| Some(Source::File(self.path(it)))),
            from_environment.then(|| self.environment(written, &environment)),
            ecs_metadata.as_ref().map(|it| self.ecs_metadata(it)),
            pod_identity.as_ref().map(|it| self.pod_identity(written, it, &environment)),
            oidc.as_ref().map(|it| self.oidc(it)),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            _ => {
                self.complain(written, ONE_SOURCE);
                None
            }
        }
    }

    fn environment(
        &mut self,
        written: &Spanned<file::Credentials>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Source> {
        // What is missing on this machine may be there where the gate runs: only a start needs it.
        let (Some(ak), Some(sk)) = (environment(AK), environment(SK)) else {
            return Some(Source::Environment(None));
        };
        match Credential::read(ak, Secret::new(sk), environment(SECURITY_TOKEN).map(Secret::new)) {
            Ok(credential) => Some(Source::Environment(Some(Arc::new(credential)))),
            Err(error) => {
                self.complain(written, format!("`{AK}`, `{SK}`, `{SECURITY_TOKEN}`: {error}"));
                None
            }
        }
    }
}

impl Checker<'_> {
    fn ecs_metadata(&mut self, written: &file::EcsMetadata) -> Option<Source> {
        let Some(endpoint) = &written.endpoint else {
            return METADATA.parse().ok().map(Source::EcsMetadata);
        };
        match client::absolute(&endpoint.value).filter(is_near) {
            Some(uri) => Some(Source::EcsMetadata(uri)),
            None => {
                self.complain(endpoint, "write a link-local or loopback address with `http://`");
                None
            }
        }
    }

    fn pod_identity(
        &mut self,
        at: &Spanned<file::Credentials>,
        written: &file::PodIdentity,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Source> {
        // What is missing on this machine may be there where the gate runs: only a start needs it.
        let (Some(uri), Some(token)) = (environment(POD_URI), environment(POD_TOKEN_FILE)) else {
            return Some(Source::PodIdentity(None));
        };
        let uri = client::absolute(&uri);
        match uri.filter(|it| it.scheme_str() == Some("https") || is_near(it)) {
            Some(uri) => {
                let roots = self.roots(written.ca.as_ref(), &uri);
                Some(Source::PodIdentity(Some(PodIdentity { uri, roots, token: token.into() })))
            }
            None => {
                let message = format!("`{POD_URI}` must be https, or on this machine's link");
                self.complain(at, message);
                None
            }
        }
    }

    fn oidc(&mut self, written: &file::Oidc) -> Option<Source> {
        let endpoint = self.endpoint(&written.endpoint)?;
        let duration = written.duration.as_ref();
        if let Some(written) = duration.filter(|it| !DURATIONS.contains(&it.value.0)) {
            self.complain(written, "a credential must last 15m to 12h");
        }
        Some(Source::Oidc(Oidc {
            roots: self.roots(written.ca.as_ref(), &endpoint),
            endpoint,
            provider: written.provider.clone(),
            agency: written.agency.clone(),
            session: written.session.clone().unwrap_or_else(|| "lychgate".to_owned()),
            token: self.path(&written.token),
            duration: duration.map_or(Duration::from_hours(1), |it| it.value.0),
        }))
    }
}

/// Plain HTTP that does not leave the machine's own link.
fn is_near(uri: &Uri) -> bool {
    let link_local = |it: &Uri| {
        it.host().and_then(|it| it.parse::<Ipv4Addr>().ok()).is_some_and(|it| it.is_link_local())
    };
    uri.scheme_str() == Some("http") && (is_loopback(uri) || link_local(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    fn check(written: file::Credentials, variables: &[(&str, &str)]) -> Result<Source, String> {
        let written = Spanned::nowhere(written);
        let mut checker = Checker { base: Path::new("/etc"), complaints: Vec::new() };
        let get = |name: &str| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, it)| (*it).to_owned())
        };
        let source = checker.credentials(&written, false, get);
        source.ok_or_else(|| checker.complaints.remove(0).message)
    }

    #[test]
    fn the_environment_holds_a_whole_credential_or_none() {
        let written = || file::Credentials { environment: true, ..file::Credentials::default() };
        let whole = [(AK, "A"), (SK, "s"), (SECURITY_TOKEN, "t")];
        let Ok(Source::Environment(Some(found))) = check(written(), &whole) else {
            panic!("a credential")
        };
        assert_eq!(found.access_key_id(), "A");
        assert_eq!(found.security_token().map(|it| it.expose().as_str()), Some("t"));
        let Ok(Source::Environment(Some(found))) = check(written(), &whole[..2]) else {
            panic!("a credential")
        };
        assert_eq!(found.security_token(), None);
        for missing in [&whole[..1], &whole[1..], &[]] {
            assert_eq!(check(written(), missing), Ok(Source::Environment(None)));
        }
        let error = check(written(), &[(AK, "A B"), (SK, "hunter2")]).unwrap_err();
        assert!(
            error.contains("the access key ID must be") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_pod_is_told_by_its_environment_where_to_ask() {
        let written = || file::Credentials {
            pod_identity: Some(file::PodIdentity { ca: None }),
            ..file::Credentials::default()
        };
        let with = |uri| check(written(), &[(POD_URI, uri), (POD_TOKEN_FILE, "/token")]);
        for uri in ["http://169.254.170.23/v1/credentials", "http://127.0.0.1/x", "https://pod/x"] {
            let Ok(Source::PodIdentity(Some(pod))) = with(uri) else { panic!("{uri}") };
            assert_eq!((pod.uri.to_string().as_str(), pod.token.to_str()), (uri, Some("/token")));
        }
        for uri in ["http://pod/x", "http://10.0.0.1/x", "x"] {
            assert!(with(uri).unwrap_err().contains(POD_URI), "{uri}");
        }
        assert_eq!(check(written(), &[(POD_URI, "https://pod/")]), Ok(Source::PodIdentity(None)));
    }

    #[test]
    fn one_source_is_named() {
        let file = || file::Credentials { file: Some("c".into()), ..Default::default() };
        assert_eq!(check(file(), &[]), Ok(Source::File("/etc/c".into())));
        for written in
            [file::Credentials::default(), file::Credentials { environment: true, ..file() }]
        {
            assert!(check(written, &[]).unwrap_err().starts_with("name one source"));
        }
    }
}
