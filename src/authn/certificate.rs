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
/// first DNS name there, else the first URI.
///
/// # Errors
/// [`Error::Certificate`], when it names nobody, or two.
pub fn named_by(certificate: &CertificateDer<'_>) -> Result<Arc<Principal>, Error> {
    let fault = |message: &str| Error::Certificate(message.to_owned());
    let certificate =
        EndEntityCert::try_from(certificate).map_err(|_| fault("it cannot be read"))?;
    let mut spiffe = certificate.valid_uri_names().filter(|it| it.starts_with(SPIFFE));
    let name = match (spiffe.next(), spiffe.next()) {
        (Some(id), None) => Some(id),
        (Some(_), Some(_)) => return Err(fault("it has more than one SPIFFE ID")),
        (None, _) => certificate.valid_dns_names().next(),
    };
    let name = name.or_else(|| certificate.valid_uri_names().next()).ok_or_else(|| {
        fault(
            "it names nobody: put a SPIFFE ID, a DNS name or a URI among its subject alternative \
             names (a common name does not count)",
        )
    })?;
    if name.contains('*') {
        return Err(fault("its first DNS name has a `*` and so is no name of one caller"));
    }
    name::check(name).map_err(|it| Error::Certificate(format!("its name {it}")))?;
    Ok(Arc::new(Principal::new(SOURCE, name, [], BTreeMap::new(), Method::Mtls)))
}
