//! How far the upstream's clock is from the gate's, as the `Date` of its answers tells.

use super::Upstream;

use http::HeaderMap;
use http::header::DATE;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::Ordering;

/// A larger skew gets a warning.
const WARNS: SignedDuration = SignedDuration::from_mins(5);

/// Beyond this the cloud is about to refuse every signature; it does from 15 minutes on
/// (API Gateway user guide).
const STOPS: SignedDuration = SignedDuration::from_mins(14);

/// Whether a skew is warned of, and whether it stops the use of the key.
fn judge(skew: SignedDuration) -> (bool, bool) {
    (WARNS < skew.abs(), STOPS < skew.abs())
}

/// How far ahead of `now` the `Date` of an answer is, where it has one. It is off by as long as the
/// answer took, and by up to a second.
///
/// # Errors
/// When the `Date` cannot be read: it says nothing about the skew.
fn skew(headers: &HeaderMap, now: Timestamp) -> Option<Result<SignedDuration, jiff::Error>> {
    let date = DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes());
    Some(date.map(|it| it.duration_since(now)))
}

impl Upstream {
    /// Counts how far the clocks are apart by the `Date` of an answer, and warns once; true if the key
    /// must not be used any more, before a wrong clock spoils every signature.
    pub(super) fn is_skewed(&self, headers: &HeaderMap) -> bool {
        let skew = match skew(headers, self.clock.now()) {
            Some(Ok(skew)) => skew,
            Some(Err(_)) => {
                self.metrics.date_unreadable();
                return false;
            }
            None => return false,
        };
        let (upstream, seconds) = (&self.config.name, skew.as_secs());
        self.metrics.set_clock_skew(seconds);
        let (warns, stops) = judge(skew);
        let warned = self.skewed.swap(warns, Ordering::Relaxed);
        if warns && !warned {
            tracing::warn!(upstream, seconds, "the upstream's clock differs from the gate's");
        }
        stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderValue;

    #[test]
    fn the_date_of_an_answer_tells_the_skew() {
        let now = "2026-01-15T12:00:00Z".parse().unwrap();
        for (date, seconds, (warns, stops)) in [
            ("Thu, 15 Jan 2026 12:00:00 GMT", 0, (false, false)),
            ("Thu, 15 Jan 2026 12:05:00 GMT", 300, (false, false)),
            ("Thu, 15 Jan 2026 12:05:01 GMT", 301, (true, false)),
            ("Thu, 15 Jan 2026 11:54:59 GMT", -301, (true, false)),
            ("Thu, 15 Jan 2026 12:14:00 GMT", 840, (true, false)),
            ("Thu, 15 Jan 2026 12:14:01 GMT", 841, (true, true)),
            ("Thu, 15 Jan 2026 11:45:59 GMT", -841, (true, true)),
        ] {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            let skew = skew(&headers, now).unwrap().unwrap();
            assert_eq!((skew.as_secs(), judge(skew)), (seconds, (warns, stops)), "{date}");
        }
        assert!(skew(&HeaderMap::new(), now).is_none());
        for date in ["", "now", "2026-01-15T12:00:00Z", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            assert!(skew(&headers, now).unwrap().is_err(), "{date}");
        }
    }
}
