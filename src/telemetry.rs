//! How the gate is watched: log lines and traces. What it counts is in [`metrics`](crate::metrics).
//!
//! Nothing here decides anything or can hold a request up: a log line is formatted in place, spans
//! are built only for sampled requests and go into a bounded queue that drops when it is full.

mod export;
mod line;
mod log;
mod records;
mod request;
mod span;
mod stage;
mod text;
mod trace;
mod traceparent;

pub use self::export::{
    BATCH_DELAY, BATCH_SPANS_MAX, Collector, QUEUE_SPANS_MAX, UrlFault, collector_url,
};
pub use self::line::Format;
#[cfg(test)]
pub(crate) use self::log::Kept;
pub use self::log::{Config as LogConfig, check_filter, subscriber};
pub use self::records::{Entry, Records, Rejected, Undelivered};
pub use self::request::{Stranger, Summary, span as request_span};
pub use self::stage::{Answer, Done, Running, Stage};
pub use self::trace::{Config as TraceConfig, STAGES_MAX, Trace, Tracer};
pub use self::traceparent::TRACEPARENT;

use crate::client;
use crate::clock::Clock;
use crate::metrics::Metrics;

use std::{io, panic};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a subscriber already.
    #[error("the log is set up already")]
    AlreadySet,
    /// The HTTP client for the collector.
    #[error("cannot set up the connection to the collector")]
    Client(#[from] client::Error),
    /// The base URL of the collector.
    #[error("the collector's URL: {0}")]
    Endpoint(#[from] UrlFault),
    /// The OTLP exporter, from its `OTEL_*` variables.
    #[error("cannot set up the export of traces")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The log filter.
    #[error(
        "the log filter `{0}` is neither a level (off, error, warn, info, debug, trace) nor directives such as `info,lychgate::upstream=debug`"
    )]
    Filter(String),
}

/// How many log lines may wait to be written.
pub const LOG_LINES_MAX: usize = 8192;

/// A log in use. Dropped, it waits at most about a second for the lines that wait.
#[derive(Debug)]
pub struct Log {
    /// Counts the lines that were dropped.
    pub dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Lets the process log to stderr, through a thread of its own: where nobody reads stderr (a log
/// driver that hangs) lines are dropped beyond [`LOG_LINES_MAX`], and nothing else waits.
///
/// # Errors
/// When the filter cannot be read, or the process logs already.
pub fn log_to_stderr(config: &LogConfig, clock: &Clock) -> Result<Log, Error> {
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES_MAX).lossy(true);
    let (writer, guard) = builder.thread_name("log").finish(io::stderr());
    let dropped = writer.error_counter();
    let subscriber = subscriber(config, clock, writer)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::AlreadySet)?;
    Ok(Log { dropped, _writer: guard })
}

/// Counts every panic of the process and logs it as one line, in place of Rust's own message.
pub fn watch_panics(metrics: &Metrics) {
    let metrics = metrics.clone();
    panic::set_hook(Box::new(move |info| {
        metrics.panicked();
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let cause = info.payload_as_str().unwrap_or_default();
        tracing::error!(location, cause, "panic");
    }));
}
