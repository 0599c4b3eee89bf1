//! The setting `credentials` of an upstream.

use super::Checker;
use crate::config::file;
use crate::credentials::Source;
use crate::secret::Secret;
use crate::sign::Credential;

use serde_saphyr::Spanned;
use std::sync::Arc;

/// The variables of the official SDKs (huawei.md §5.1).
const AK: &str = "HUAWEICLOUD_SDK_AK";
const SK: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";

impl Checker<'_> {
    /// `environment` reads a variable; `None` only with a complaint.
    pub(super) fn credentials(
        &mut self,
        written: &Spanned<file::Credentials>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Source> {
        let file::Credentials { file, environment: from_environment } = &written.value;
        let sources = [
            file.as_ref().map(|it| Some(Source::File(self.path(it)))),
            from_environment.then(|| self.environment(written, environment)),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            _ => {
                self.complain(written, "name one source: `file: …` or `environment: true`");
                None
            }
        }
    }

    fn environment(
        &mut self,
        written: &Spanned<file::Credentials>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Source> {
        // What is missing here may be there where the gate runs: only a start needs it.
        let (Some(ak), Some(sk)) = (environment(AK), environment(SK)) else {
            return Some(Source::Environment(None));
        };
        match Credential::new(ak, Secret::new(sk), environment(SECURITY_TOKEN).map(Secret::new)) {
            Ok(credential) => Some(Source::Environment(Some(Arc::new(credential)))),
            Err(error) => {
                self.complain(written, format!("`{AK}`, `{SK}`, `{SECURITY_TOKEN}`: {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_saphyr::Location;
    use std::path::Path;

    fn check(written: file::Credentials, variables: &[(&str, &str)]) -> Result<Source, String> {
        let (referenced, defined) = (Location::UNKNOWN, Location::UNKNOWN);
        let written = Spanned { value: written, referenced, defined };
        let mut checker = Checker { base: Path::new("/etc"), complaints: Vec::new() };
        let get = |name: &str| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, it)| (*it).to_owned())
        };
        let source = checker.credentials(&written, get);
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
