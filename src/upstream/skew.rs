//! How far the upstream's clock is from the gate's, as the `Date` of its answers tells.

use super::breaker::Pass;
use super::{Call, Upstream};

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

/// What a skew means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skew {
    Harmless,
    Warns,
    Stops,
}

/// The `Date` of an answer cannot be read; it says nothing about the skew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// How far ahead of `now` the `Date` of an answer is, where it has one. It is off by as long as the
/// answer took, and by up to a second.
pub(super) fn skew(
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Result<SignedDuration, Unreadable>> {
    let date = DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes());
    Some(date.map(|it| it.duration_since(now)).map_err(|_| Unreadable))
}

impl Upstream {
    /// Opens the breaker before a wrong clock spoils every signature.
    pub(super) fn check_skew(
        &self,
        skew: Option<Result<SignedDuration, Unreadable>>,
        call: &Call<'_>,
        pass: &mut Pass,
    ) {
        let skew = match skew {
            Some(Ok(skew)) => skew,
            Some(Err(Unreadable)) => return self.metrics.date_unreadable(),
            None => return,
        };
        let (upstream, seconds) = (&self.config.name, skew.as_secs());
        self.metrics.set_clock_skew(seconds);
        let meaning = Skew::from(skew);
        let warned = self.skewed.swap(meaning != Skew::Harmless, Ordering::Relaxed);
        if meaning != Skew::Harmless && !warned {
            tracing::warn!(upstream, seconds, "the upstream's clock differs from the gate's");
        }
        if meaning == Skew::Stops {
            pass.refused(upstream, call.job);
        }
    }
}

impl From<SignedDuration> for Skew {
    fn from(skew: SignedDuration) -> Self {
        match skew.abs() {
            it if it <= WARNS => Self::Harmless,
            it if it <= STOPS => Self::Warns,
            _ => Self::Stops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderValue;

    #[test]
    fn the_date_of_an_answer_tells_the_skew() {
        let now = "2026-01-15T12:00:00Z".parse().unwrap();
        for (date, seconds, meaning) in [
            ("Thu, 15 Jan 2026 12:00:00 GMT", 0, Skew::Harmless),
            ("Thu, 15 Jan 2026 12:05:00 GMT", 300, Skew::Harmless),
            ("Thu, 15 Jan 2026 12:05:01 GMT", 301, Skew::Warns),
            ("Thu, 15 Jan 2026 11:54:59 GMT", -301, Skew::Warns),
            ("Thu, 15 Jan 2026 12:14:00 GMT", 840, Skew::Warns),
            ("Thu, 15 Jan 2026 12:14:01 GMT", 841, Skew::Stops),
            ("Thu, 15 Jan 2026 11:45:59 GMT", -841, Skew::Stops),
        ] {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            let skew = skew(&headers, now).unwrap().unwrap();
            assert_eq!((skew.as_secs(), Skew::from(skew)), (seconds, meaning), "{date}");
        }
        assert_eq!(skew(&HeaderMap::new(), now), None);
        for date in ["", "now", "2026-01-15T12:00:00Z", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            assert_eq!(skew(&headers, now), Some(Err(Unreadable)), "{date}");
        }
    }
}
