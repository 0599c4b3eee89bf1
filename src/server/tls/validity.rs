//! From when until when a certificate is valid, and when to warn that it is about to expire.

use super::Fault;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use x509_cert::certificate::Version;
use x509_cert::der::Decode;

/// The longest time before its end that a warning begins. For a certificate of a few hours, as some
/// issuers make them, it begins in the last fifth of its life.
const SOON_MAX: SignedDuration = SignedDuration::from_hours(14 * 24);

/// When a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    /// Reads a certificate; nothing where it cannot be read, which TLS itself reports.
    ///
    /// # Errors
    /// [`Fault::Version`] for a certificate without extensions, which nobody accepts.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Option<Self>, Fault> {
        let Ok(read) = x509_cert::Certificate::from_der(certificate) else { return Ok(None) };
        if read.tbs_certificate.version != Version::V3 {
            return Err(Fault::Version);
        }
        let time = |it: Duration| {
            i64::try_from(it.as_secs()).ok().and_then(|it| Timestamp::from_second(it).ok())
        };
        let validity = read.tbs_certificate.validity;
        let from = time(validity.not_before.to_unix_duration());
        let until = time(validity.not_after.to_unix_duration());
        Ok(from.zip(until).map(|(from, until)| Self { from, until }))
    }

    /// What there is to say about the certificate at `now`.
    pub(super) fn remark(self, now: Timestamp) -> Option<String> {
        let Self { from, until } = self;
        let soon = (until.duration_since(from) / 5).min(SOON_MAX);
        match now {
            _ if now < from => Some(format!("the certificate is not valid before {from}")),
            _ if until <= now => Some(format!("the certificate expired at {until}")),
            _ if until.duration_since(now) <= soon => {
                Some(format!("the certificate expires at {until}: replace it"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_to_end_is_told() {
        let from = "2026-01-01T00:00:00Z".parse().unwrap();
        let ninety_days = Validity { from, until: "2026-04-01T00:00:00Z".parse().unwrap() };
        let an_hour = Validity { from, until: "2026-01-01T01:00:00Z".parse().unwrap() };
        for (validity, now, expected) in [
            (ninety_days, "2025-12-31T23:59:59Z", Some("not valid before 2026-01-01T00:00:00Z")),
            (ninety_days, "2026-01-01T00:00:00Z", None),
            (ninety_days, "2026-03-17T23:59:59Z", None),
            (ninety_days, "2026-03-18T00:00:00Z", Some("expires at 2026-04-01T00:00:00Z")),
            (ninety_days, "2026-04-01T00:00:00Z", Some("expired at 2026-04-01T00:00:00Z")),
            (an_hour, "2026-01-01T00:47:59Z", None),
            (an_hour, "2026-01-01T00:48:00Z", Some("expires at")),
        ] {
            let remark = validity.remark(now.parse().unwrap());
            assert_eq!(remark.is_some(), expected.is_some(), "{now}: {remark:?}");
            assert!(remark.unwrap_or_default().contains(expected.unwrap_or_default()), "{now}");
        }
    }
}
