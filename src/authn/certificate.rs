//! A client certificate, verified by the listener → a principal. It is read by the parser that
//! verified it, so that two parsers cannot disagree on what it says.

use super::{Error, name};
use crate::policy::{Method, Principal};

use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::Arc;
use webpki::EndEntityCert;

/// The identity source of client certificates.
const SOURCE: &str = "mtls";

/// How a SPIFFE ID begins.
const SPIFFE: &str = "spiffe://";

/// Whom a verified certificate names: the SPIFFE ID among its subject alternative names, else the
/// first DNS name there, else the first URI. With a SPIFFE ID it has no other URI (X.509-SVID §2).
///
/// # Errors
/// [`Error::Certificate`], when it names nobody, or two.
pub fn named_by(certificate: &CertificateDer<'_>) -> Result<Arc<Principal>, Error> {
    let fault = |message: &str| Error::Certificate(message.to_owned());
    let certificate =
        EndEntityCert::try_from(certificate).map_err(|_| fault("it cannot be read"))?;
    let uris: Vec<_> = certificate.valid_uri_names().collect();
    let mut domains = certificate.valid_dns_names();
    let name = match uris.iter().find(|it| is_spiffe(it)) {
        Some(_) if uris.len() != 1 => {
            return Err(fault("it has a SPIFFE ID and another URI; exactly one is allowed"));
        }
        Some(id) if !names_a_workload(id) => {
            return Err(fault("its SPIFFE ID is not of the form `spiffe://<trust domain>/<path>`"));
        }
        Some(id) => Some(*id),
        None => domains.next().or_else(|| uris.first().copied()),
    };
    let name = name.ok_or_else(|| {
        fault(
            "it names nobody: put a SPIFFE ID, a DNS name or a URI among its subject alternative \
             names (a common name does not count)",
        )
    })?;
    if name.contains('*') {
        return Err(fault("its first DNS name has a `*`, so it does not name one caller"));
    }
    name::check(name).map_err(|it| Error::Certificate(format!("its name {it}")))?;
    Ok(Arc::new(Principal::new(SOURCE, name, [], BTreeMap::new(), Method::Mtls)))
}

/// A scheme's letter case does not count (RFC 3986 §3.1), so that another case hides no ID.
fn is_spiffe(uri: &str) -> bool {
    uri.split_at_checked(SPIFFE.len()).is_some_and(|(head, _)| head.eq_ignore_ascii_case(SPIFFE))
}

/// SPIFFE-ID §2: the scheme in lower case, a trust domain, a path that is not empty.
fn names_a_workload(id: &str) -> bool {
    let parts = id.strip_prefix(SPIFFE).and_then(|it| it.split_once('/'));
    let in_domain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-._".contains(&it);
    parts.is_some_and(|(domain, path)| {
        !domain.is_empty()
            && domain.bytes().all(in_domain)
            && path.split('/').all(|it| !matches!(it, "" | "." | ".."))
    })
}
