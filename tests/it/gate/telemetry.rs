//! Traces from the real set-up to a collector, and what a bad collector costs.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::collector::{Collector, Mood, tls_file};
use crate::support::world::until;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use lychgate::client::Roots;
use lychgate::metrics::{Decision, Metrics, Origin};
use lychgate::policy::Job;
use lychgate::telemetry;
use lychgate::telemetry::{Answer, Stage, Summary, TraceConfig, Tracer};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";
const BEGUN: &str = "2026-01-15T12:00:00Z";

/// Longer than any test; a wait for the collector would fail the test.
const FOREVER: Duration = Duration::from_secs(600);

fn tracer(endpoint: String, timeout: Duration, roots: Roots, metrics: &Metrics) -> Tracer {
    let config = TraceConfig {
        collector: Some(telemetry::Collector {
            endpoint,
            timeout,
            roots,
            instance: "replica-0".to_owned(),
            headers: HeaderMap::new(),
        }),
        ratio: 1.0,
        sampled_per_second: u32::MAX,
    };
    Tracer::new(&config, metrics, &Handle::current()).unwrap()
}

/// The traceparents sent with the look-ups and the DELETE of [`delete`].
struct Sent(Vec<HeaderValue>);

fn answer<'a>(url: &'a Uri, request_id: Option<&'a str>) -> Answer<'a> {
    Answer { upstream: "bj4", url, status: Some(StatusCode::OK), error: None, request_id }
}

/// The stages of an allowed delete that needs both look-ups, as the gateway goes through them.
async fn delete(tracer: &Tracer) -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(CALLER));
    let trace = tracer.begin(&headers, BEGUN.parse().unwrap());
    for stage in [Stage::Parse, Stage::Authenticate, Stage::Evaluate] {
        let running = trace.start(stage);
        trace.add(running.end());
    }

    let job: Uri =
        format!("https://modelarts.example/v2/0a1b2c/training-jobs/{JOB}").parse().unwrap();
    let tags: Uri =
        format!("https://modelarts.example/v2/0a1b2c/modelarts-training-job/{JOB}/tags")
            .parse()
            .unwrap();
    let (details, tags_stage) = (trace.start(Stage::Details), trace.start(Stage::Tags));
    let mut sent = vec![details.traceparent(), tags_stage.traceparent()];
    let details = async { details.answered(&answer(&job, Some("u-1"))) };
    let tags_done = async {
        tags_stage.answered(&Answer { status: None, error: Some("timeout"), ..answer(&tags, None) })
    };
    let (details, tags_done) = tokio::join!(details, tags_done);
    trace.add(details);
    trace.add(tags_done);

    // The work after the decision runs in a task of its own, and the trace comes back from it.
    let url = job.clone();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        for stage in [Stage::Evaluate, Stage::Record, Stage::Sign] {
            let running = trace.start(stage);
            trace.add(running.end());
        }
        let forward = trace.start(Stage::Forward);
        let traceparent = forward.traceparent();
        trace.add(
            forward.answered(&Answer {
                status: Some(StatusCode::ACCEPTED),
                ..answer(&url, Some("u-2"))
            }),
        );
        (trace, traceparent)
    });
    let (trace, traceparent) = task.join_next().await.unwrap().unwrap();
    sent.push(traceparent);

    trace.finish(&Summary {
        secure: true,
        principal: Some("corp/alice"),
        job: Some(&Job::new("0a1b2c", JOB)),
        decision: Some(Decision::Allow),
        statement: Some("identity/pool-operators#Own"),
        upstream: Some("bj4"),
        upstream_request_id: Some("u-2"),
        ..Summary::new("r-1", &Method::DELETE, StatusCode::ACCEPTED, Origin::Upstream)
    });
    Sent(sent)
}

fn denial(tracer: &Tracer) {
    let trace = tracer.begin(&HeaderMap::new(), BEGUN.parse().unwrap());
    trace.finish(&Summary {
        error_code: Some(4031),
        ..Summary::new("r-2", &Method::DELETE, StatusCode::FORBIDDEN, Origin::Gateway)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_is_one_trace_under_the_callers() {
    let collector = Collector::http(Mood::Well).await;
    let metrics = Metrics::new();
    let endpoint = format!("http://{}", collector.address);
    let tracer = tracer(endpoint, Duration::from_secs(10), Roots::Nobody, &metrics);
    let sent = delete(&tracer).await;
    let received = collector.wait().await;
    let spans = spans(&received);

    let server = spans.iter().find(|it| it.kind() == SpanKind::Server).unwrap();
    assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
    for span in &spans {
        assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.trace_state, "");
        assert!(server.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
        if span.kind() != SpanKind::Server {
            assert_eq!(span.parent_span_id, server.span_id, "{}", span.name);
        }
    }
    assert_eq!(server.start_time_unix_nano, 1_768_478_400_000_000_000);
    let clients = spans.iter().filter(|it| it.kind() == SpanKind::Client);
    let clients: Vec<_> =
        clients.map(|it| format!("00-{}-{}-01", hex(&it.trace_id), hex(&it.span_id))).collect();
    assert_eq!(sent.0, clients, "each upstream request names its own span");

    insta::assert_snapshot!(render(&received));
    tracer.shutdown(Duration::from_secs(10)).await;
    assert!(metrics.encode().contains("lychgate_spans_exported_total{result=\"ok\"} 10\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_sends_what_waits_and_https_works() {
    let collector = Collector::https(Mood::Well).await;
    let metrics = Metrics::new();
    let endpoint = format!("https://localhost:{}/", collector.address.port());
    let roots = Roots::File(tls_file("ca.pem"));
    let tracer = tracer(endpoint, Duration::from_secs(10), roots, &metrics);
    delete(&tracer).await;
    denial(&tracer);
    tracer.shutdown(Duration::from_secs(10)).await;

    assert_eq!(spans(&collector.received()).len(), 11);
    let heads = collector.heads();
    assert_eq!(heads.len(), 1, "one batch");
    assert_eq!(heads[0].method, Method::POST);
    assert_eq!(heads[0].uri, "/v1/traces");
    assert_eq!(heads[0].headers["host"], format!("localhost:{}", collector.address.port()));
    assert_eq!(heads[0].headers["content-type"], "application/x-protobuf");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_another_authority_signed_gets_nothing() {
    let collector = Collector::https(Mood::Well).await;
    let metrics = Metrics::new();
    let endpoint = format!("https://localhost:{}", collector.address.port());
    let roots = Roots::File(tls_file("other-ca.pem"));
    let tracer = tracer(endpoint, Duration::from_millis(500), roots, &metrics);
    denial(&tracer);
    tracer.shutdown(Duration::from_secs(10)).await;
    assert!(collector.heads().is_empty());
    assert!(metrics.encode().contains("lychgate_spans_exported_total{result=\"failed\"} 1\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_collector_costs_nothing_and_is_counted() {
    let metrics = Metrics::new();
    // Port 9 (discard) is reserved; nobody listens.
    let endpoint = "http://127.0.0.1:9".to_owned();
    let tracer = tracer(endpoint, Duration::from_millis(300), Roots::Nobody, &metrics);
    delete(&tracer).await;
    tracer.shutdown(Duration::from_secs(10)).await;
    assert!(metrics.encode().contains("lychgate_spans_exported_total{result=\"failed\"} 10\n"));
}

/// attack 85
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_collector_fills_a_bounded_queue_and_delays_nobody() {
    let collector = Collector::http(Mood::Hanging).await;
    let metrics = Metrics::new();
    let endpoint = format!("http://{}", collector.address);
    let tracer = tracer(endpoint, FOREVER, Roots::Nobody, &metrics);
    // Until the batch thread hangs in its first request.
    denial(&tracer);
    until("no request", async || !collector.heads().is_empty()).await;

    let begun = Instant::now();
    for _ in 0..telemetry::QUEUE_SPANS_MAX + 1000 {
        denial(&tracer);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(metrics.encode().contains("lychgate_spans_dropped_total 1000\n"));

    let begun = Instant::now();
    tracer.shutdown(Duration::from_millis(100)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_comes_back_gets_spans_again() {
    let collector = Collector::http(Mood::Refusing(StatusCode::BAD_REQUEST)).await;
    let metrics = Metrics::new();
    let endpoint = format!("http://{}", collector.address);
    let tracer = tracer(endpoint, Duration::from_secs(10), Roots::Nobody, &metrics);
    denial(&tracer);
    let failed = "lychgate_spans_exported_total{result=\"failed\"} 1\n";
    until("nothing failed", async || metrics.encode().contains(failed)).await;
    collector.set_mood(Mood::Well);
    denial(&tracer);
    assert_eq!(spans(&collector.wait().await).len(), 1);
}

fn spans(received: &[ResourceSpans]) -> Vec<&Span> {
    received.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans).collect()
}

/// The resource and the spans without IDs and times.
fn render(received: &[ResourceSpans]) -> String {
    let version = |text: String| text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let mut res = String::new();
    for resource in received {
        res += &version(attributes(&resource.resource.as_ref().unwrap().attributes));
        for scope in &resource.scope_spans {
            let it = scope.scope.as_ref().unwrap();
            res += &version(format!("scope {} {}\n", it.name, it.version));
        }
    }
    for span in spans(received) {
        let status = span.status.as_ref().map_or(SpanStatus::Unset, |it| it.code());
        res += &format!("{:?} {:?} {}\n", span.kind(), status, span.name);
        res += &attributes(&span.attributes);
    }
    res
}

fn attributes(attributes: &[KeyValue]) -> String {
    let mut lines: Vec<_> = attributes
        .iter()
        .filter(|it| it.key != "telemetry.sdk.version")
        .map(|it| {
            let value = match it.value.as_ref().unwrap().value.as_ref().unwrap() {
                Value::StringValue(it) => it.clone(),
                Value::IntValue(it) => it.to_string(),
                other => panic!("{other:?}"),
            };
            format!("  {} = {value}\n", it.key)
        })
        .collect();
    lines.sort();
    lines.concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
