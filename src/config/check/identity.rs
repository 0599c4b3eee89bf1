//! The section `identity`.

use super::{Checker, place};
use crate::authn;
use crate::authn::config::{ClaimPath, Claims, Issuer, Jwks, Remote};
use crate::client::Roots;
use crate::config::{Listen, file};
use crate::yaml::Spanned;

use http::Uri;
use jsonwebtoken::Algorithm;
use std::collections::BTreeMap;

/// The claim that names a principal unless `claims.name` says otherwise (RFC 7519 §4.1.2).
const SUBJECT: &str = "sub";

impl Checker<'_> {
    /// `listen` may bring identity sources of its own: fixed principals and client certificates.
    /// `None` only with a complaint.
    pub(super) fn identity(
        &mut self,
        written: Spanned<file::Identity>,
        listen: &[Listen],
    ) -> Option<authn::Config> {
        let has_fixed = listen.iter().any(|it| it.principal.is_some());
        let has_ca =
            listen.iter().any(|it| it.tls.as_ref().is_some_and(|it| it.files.client_ca.is_some()));
        let has_none = written.value.jwt.is_empty() && written.value.keys.is_none();
        if has_none && !has_fixed && !has_ca {
            self.complain(
                &written,
                "nobody could be authenticated: name a token issuer under `jwt`, a file under `keys`, a `client_ca` under a listener's `tls`, or give a loopback listener a `principal`",
            );
        }
        let whole = place(&written);
        let file::Identity { jwt, keys } = written.value;
        let keys = keys.map(|it| self.path(&it.file));
        let places: Vec<_> = jwt.iter().map(places).collect();
        let issuers: Vec<_> = jwt.into_iter().map(|it| self.issuer(it)).collect();
        let issuers = issuers.into_iter().collect::<Option<Vec<_>>>()?;
        match authn::Config::new(issuers, keys) {
            Ok(config) => Some(authn::Config { certificates: has_ca, ..config }),
            Err(faults) => {
                for fault in faults {
                    let place = places.get(fault.issuer).and_then(|it| it.get(fault.field));
                    self.complain(place.unwrap_or(&whole), fault.message);
                }
                None
            }
        }
    }

    fn issuer(&mut self, written: file::Issuer) -> Option<Issuer> {
        let jwks = self.jwks(&written.jwks, &written.issuer);
        let mut algorithms = Vec::new();
        for name in &written.algorithms.value {
            match name.value.parse::<Algorithm>() {
                Ok(algorithm) => algorithms.push(algorithm),
                Err(_) => {
                    const KNOWN: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];
                    let instead = match KNOWN.iter().find(|it| it.eq_ignore_ascii_case(&name.value))
                    {
                        Some(it) => format!("did you mean `{it}`?"),
                        None => format!("use {} or the like", KNOWN.join(", ")),
                    };
                    let written = &name.value;
                    let message =
                        format!("`{written}` is not an algorithm that is known here: {instead}");
                    self.complain(name, message);
                }
            }
        }
        let file::Claims { name, groups, tags } = written.claims;
        let mut path = |it: Spanned<file::Claim>| self.claim(&it);
        let name = match name {
            Some(name) => path(name),
            None => ClaimPath::dotted(SUBJECT).ok(),
        };
        let groups = groups.map(&mut path);
        let tags: BTreeMap<_, _> = tags.into_iter().map(|(key, it)| (key, path(it))).collect();
        let tags = tags.into_iter().map(|(key, it)| Some((key, it?))).collect::<Option<_>>();
        Some(Issuer {
            name: written.name.value,
            issuer: written.issuer.value,
            audience: written.audience.value,
            algorithms,
            max_lifetime: written.max_lifetime.map_or(authn::config::MAX_LIFETIME, |it| it.value.0),
            jwks: jwks?,
            claims: Claims {
                name: name?,
                groups: match groups {
                    Some(path) => Some(path?),
                    None => None,
                },
                tags: tags?,
            },
        })
    }

    fn claim(&mut self, written: &Spanned<file::Claim>) -> Option<ClaimPath> {
        let path = match &written.value {
            file::Claim::Dotted(text) => ClaimPath::dotted(text),
            file::Claim::Steps(steps) => ClaimPath::steps(steps.clone()),
        };
        path.map_err(|message| self.complain(written, message)).ok()
    }

    fn jwks(&mut self, written: &Spanned<file::Jwks>, issuer: &Spanned<String>) -> Option<Jwks> {
        let file::Jwks { discovery, file, url, ca, bearer, stale } = &written.value;
        let roots = ca.as_ref().map_or(Roots::System, |it| Roots::File(self.path(it)));
        let bearer = bearer.as_ref().map(|it| self.path(it));
        let stale = stale.map_or(authn::config::STALE_KEYS, |it| it.0);
        let remote = |uri: &Uri| match uri.scheme_str() {
            Some("http") => Remote { roots: Roots::Nobody, bearer, stale },
            _ => Remote { roots, bearer, stale },
        };
        match (discovery, file, url) {
            (true, None, None) => {
                let uri = issuer.value.parse::<Uri>().unwrap_or_default();
                Some(Jwks::Discovery(remote(&uri)))
            }
            (false, Some(path), None) => Some(Jwks::File(self.path(path))),
            (false, None, Some(url)) => {
                let uri = self.endpoint(url)?;
                Some(Jwks::Url(uri.clone(), remote(&uri)))
            }
            _ => {
                self.complain(written, "write exactly one of `discovery: true`, `file` and `url`");
                None
            }
        }
    }
}

/// Where each field of an issuer stands, by the name that `authn` gives it.
fn places(issuer: &file::Issuer) -> BTreeMap<&'static str, Spanned<()>> {
    let mut places = BTreeMap::from([
        ("algorithms", place(&issuer.algorithms)),
        ("audience", place(&issuer.audience)),
        ("issuer", place(&issuer.issuer)),
        ("jwks", place(&issuer.jwks)),
        ("name", place(&issuer.name)),
    ]);
    places.extend(issuer.max_lifetime.as_ref().map(|it| ("max_lifetime", place(it))));
    places
}
