//! What is sampled, and what is handed on.

use super::*;
use crate::client::Roots;

use http::HeaderValue;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(traceparent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(traceparent).unwrap());
    headers.insert("tracestate", HeaderValue::from_static("vendor=secret"));
    headers.insert("baggage", HeaderValue::from_static("user=alice"));
    headers
}

fn noon() -> Timestamp {
    "2026-01-15T12:00:00Z".parse().unwrap()
}

/// A tracer whose collector is a port that nobody listens on.
fn tracer(collector: bool, ratio: f64, sampled_per_second: u32) -> Tracer {
    let collector = collector.then(|| Collector {
        endpoint: "http://127.0.0.1:9".to_owned(),
        timeout: Duration::from_millis(100),
        roots: Roots::Nobody,
        instance: "test".to_owned(),
        headers: HeaderMap::new(),
    });
    let config = Config { collector, ratio, sampled_per_second };
    Tracer::new(&config, &Metrics::new(), &Handle::current()).unwrap()
}

#[tokio::test]
async fn the_callers_trace_goes_on() {
    let unsampled = CALLER.replace("-01", "-00");
    // collector, ratio, per second, traceparent, sampled, flags handed on, hangs below the caller
    let rows = [
        (true, 0.0, 9, CALLER, true, "01", false),
        (true, 1.0, 9, unsampled.as_str(), false, "00", true),
        (true, 1.0, 0, CALLER, false, "00", true),
        (false, 1.0, 9, CALLER, false, "01", true),
        (false, 1.0, 9, unsampled.as_str(), false, "00", true),
    ];
    for row in rows {
        let (collector, ratio, per_second, traceparent, sampled, flags, below) = row;
        let trace = tracer(collector, ratio, per_second).begin(&headers(traceparent), noon());
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.is_sampled(), sampled, "{row:?}");
        let handed_on = trace.start(Stage::Forward).traceparent();
        let handed_on = handed_on.to_str().unwrap();
        assert!(handed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{row:?}");
        assert!(handed_on.ends_with(flags), "{row:?}: {handed_on}");
        assert_eq!(handed_on.contains("b7ad6b7169203331"), below, "{row:?}: {handed_on}");
    }
}

#[tokio::test]
async fn a_request_without_a_usable_traceparent_begins_a_trace() {
    for traceparent in
        [None, Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), Some("x")]
    {
        for (ratio, sampled) in [(1.0, true), (0.0, false), (-1.0, false), (f64::NAN, false)] {
            let headers = traceparent.map(headers).unwrap_or_default();
            let trace = tracer(true, ratio, 9).begin(&headers, noon());
            assert_eq!(trace.is_sampled(), sampled);
            assert_eq!(trace.parent, None);
            assert_ne!(trace.trace_id(), "0".repeat(32));
            assert_eq!(trace.trace_id().len(), 32);
        }
    }
}

#[tokio::test]
async fn a_share_of_new_traces_is_sampled() {
    let tracer = tracer(true, 0.25, u32::MAX);
    let sampled =
        (0..4000).filter(|_| tracer.begin(&HeaderMap::new(), noon()).is_sampled()).count();
    // 0.25 ± more than ten standard deviations.
    assert!((700..1300).contains(&sampled), "{sampled}");
}

#[tokio::test]
async fn no_more_than_the_limit_is_sampled_in_a_second() {
    let tracer = tracer(true, 1.0, 3);
    let mut now = noon();
    for _ in 0..3 {
        for caller in [true, false] {
            let headers = if caller { headers(CALLER) } else { HeaderMap::new() };
            let sampled = (0..5).filter(|_| tracer.begin(&headers, now).is_sampled()).count();
            assert_eq!(sampled, if caller { 3 } else { 0 });
        }
        now = now.checked_add(jiff::SignedDuration::from_millis(1000)).unwrap();
    }
    let earlier = "1960-01-01T00:00:00Z".parse().unwrap();
    assert!(tracer.begin(&headers(CALLER), earlier).is_sampled(), "a clock that jumps back");
}

#[tokio::test]
async fn stages_are_limited_and_cost_nothing_unsampled() {
    let trace = tracer(true, 1.0, 1).begin(&HeaderMap::new(), noon());
    for _ in 0..STAGES_MAX * 2 {
        trace.within(Stage::Evaluate, || ());
    }
    assert_eq!(trace.done().len(), STAGES_MAX);

    let trace = tracer(true, 0.0, 1).begin(&HeaderMap::new(), noon());
    trace.within(Stage::Evaluate, || ());
    assert_eq!(trace.done().capacity(), 0);
}

#[tokio::test]
async fn a_collector_url_is_checked() {
    for endpoint in
        ["collector:4318", "ftp://c", "http://", "/v1", "http://u:p@c:1", "http://c?x=1", ""]
    {
        let config = Config {
            collector: Some(Collector {
                endpoint: endpoint.to_owned(),
                timeout: Duration::from_secs(1),
                roots: Roots::Nobody,
                instance: "test".to_owned(),
                headers: HeaderMap::new(),
            }),
            ..Config::default()
        };
        let error = Tracer::new(&config, &Metrics::new(), &Handle::current()).err();
        assert!(matches!(error, Some(Error::Endpoint(_))), "{endpoint}: {error:?}");
    }
}
