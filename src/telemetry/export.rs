//! Spans on their way to the collector: OTLP over HTTP, from the SDK's own batch thread. Also what
//! every request to a collector has in common.

use super::Error;
use crate::client::{self, Client};
use crate::metrics::Metrics;
use crate::text;
use crate::trouble::Trouble;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// The most spans that wait for the collector; those of a request that finds no room are dropped.
pub const QUEUE_SPANS_MAX: usize = 4096;

/// The most spans in one request to the collector.
pub const BATCH_SPANS_MAX: usize = 512;

/// How long a span waits for others.
pub const BATCH_DELAY: Duration = Duration::from_secs(1);

/// The longest answer of a collector that is read, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The base URL; `/v1/traces` or `/v1/logs` is appended.
    pub endpoint: String,
    /// The limit for one batch, and for each request of it.
    pub timeout: Duration,
    /// Whom to trust, when the URL is `https`.
    pub roots: client::Roots,
    /// `service.instance.id`: what tells replicas apart.
    pub instance: String,
    /// Headers for the requests that do not come from the SDK, which reads its own.
    pub headers: HeaderMap,
}

/// The queue before the batch thread.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    queued: Arc<AtomicUsize>,
    metrics: Metrics,
}

/// The collector's HTTP headers may hold a credential and would be in the processor's `Debug`.
impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the batch thread; its requests run on `runtime`.
    pub(super) fn new(
        collector: &Collector,
        metrics: &Metrics,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let endpoint = endpoint(&collector.endpoint, "traces")?;
        let client = client(collector)?;
        let limit = collector.timeout;
        let trouble = Trouble::default();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Transport {
                client,
                runtime: runtime.clone(),
                limit,
                trouble: trouble.clone(),
            })
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .with_timeout(collector.timeout)
            .build()?;
        let queued = Arc::new(AtomicUsize::new(0));
        let exporter = Counted {
            exporter,
            endpoint,
            queued: Arc::clone(&queued),
            metrics: metrics.clone(),
            failing: AtomicBool::new(false),
            trouble,
        };
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS_MAX)
            .with_max_export_batch_size(BATCH_SPANS_MAX)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let mut processor = BatchSpanProcessor::new(exporter, batch);
        processor.set_resource(&resource(&collector.instance));
        Ok(Self { processor, queued, metrics: metrics.clone() })
    }

    /// Queues the spans of one request, all or none, and never waits.
    pub(super) fn export(&self, spans: Vec<SpanData>) {
        let count = spans.len();
        if self.queued.fetch_add(count, Ordering::Relaxed) + count > QUEUE_SPANS_MAX {
            self.queued.fetch_sub(count, Ordering::Relaxed);
            self.metrics.spans_dropped(count as u64);
            return;
        }
        for span in spans {
            self.processor.on_end(span);
        }
    }

    /// Sends what is queued and ends the batch thread; blocks for at most `limit`.
    pub(super) fn shutdown(&self, limit: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(limit)
    }
}

/// Connections to `collector`.
pub(super) fn client(collector: &Collector) -> Result<Client, Error> {
    Ok(client::new(&client::Config {
        roots: collector.roots.clone(),
        connect: collector.timeout,
        idle: Duration::from_secs(30),
        idle_per_host: 1,
    })?)
}

/// Why a text is not the base URL of a collector. The text itself is not shown: it may hold a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// The port of OTLP over gRPC.
    #[error("port 4317 takes OTLP over gRPC: name the collector's port for HTTP, mostly 4318")]
    Grpc,
    /// The path of one signal.
    #[error(
        "write the URL without `/v1/{{signal}}`: the gate appends what it sends, traces or logs"
    )]
    Signal,
    /// Anything else.
    #[error(
        "write the base URL of a collector, as http://collector:4318, without user, query or fragment"
    )]
    Url,
}

/// The base URL of a collector that speaks OTLP over HTTP.
///
/// # Errors
/// What is wrong with it.
pub fn collector_url(text: &str) -> Result<Uri, UrlFault> {
    let uri = client::absolute(text).ok_or(UrlFault::Url)?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
        && uri.query().is_none()
        // `Uri` drops it.
        && !text.contains('#');
    let path = uri.path().trim_end_matches('/');
    match uri.port_u16() {
        _ if !fits => Err(UrlFault::Url),
        Some(4317) => Err(UrlFault::Grpc),
        _ if ["/v1/traces", "/v1/logs", "/v1/metrics"].iter().any(|it| path.ends_with(it)) => {
            Err(UrlFault::Signal)
        }
        _ => Ok(uri),
    }
}

/// `base` with the path of a signal, `traces` or `logs` (OTLP specification, OTLP/HTTP request).
pub(super) fn endpoint(base: &str, signal: &str) -> Result<String, Error> {
    collector_url(base)?;
    Ok(format!("{}/v1/{signal}", base.trim_end_matches('/')))
}

/// What is sent about this process. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, which the
/// SDK reads, win over what is said here.
pub(super) fn resource(instance: &str) -> Resource {
    let given = Resource::builder().build();
    let own = [
        KeyValue::new("service.name", "lychgate"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    let missing = own.into_iter().filter(|it| match given.get(&it.key) {
        // The SDK's word for a service that nobody named.
        Some(value) => value.as_str().starts_with("unknown_service"),
        None => true,
    });
    Resource::builder().with_attributes(missing).build()
}

/// Counts what goes through the exporter, and logs when the collector goes and comes back.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    queued: Arc<AtomicUsize>,
    metrics: Metrics,
    failing: AtomicBool,
    trouble: Trouble,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.queued.fetch_sub(count, Ordering::Relaxed);
        let result = self.exporter.export(batch).await;
        self.metrics.spans_exported(count as u64, result.is_ok());
        match &result {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    // The SDK leaves out why a request could not be sent.
                    let error = self.trouble.text().unwrap_or_else(|| error.to_string());
                    tracing::warn!(
                        url = self.endpoint,
                        error,
                        "the collector does not take traces"
                    );
                }
            }
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends requests of the batch thread on the runtime: that thread has no reactor, and a client of
/// tokio's would panic there.
struct Transport {
    client: Client,
    runtime: Handle,
    limit: Duration,
    /// Why the last request could not be sent.
    trouble: Trouble,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl HttpClient for Transport {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (client, limit) = (self.client.clone(), self.limit);
        let sending = self
            .runtime
            .spawn(async move { client::fetch(&client, request, limit, ANSWER_BYTES_MAX).await });
        let trouble = self.trouble.clone();
        Box::pin(async move {
            let sent = sending.await?;
            match &sent {
                Ok(_) => trouble.end(),
                Err(error) => trouble.begin(text::chain(error)),
            }
            Ok(sent?)
        })
    }
}
