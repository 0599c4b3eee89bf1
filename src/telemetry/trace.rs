//! One trace per request. Every request has a trace ID; only a sampled one is timed stage by stage
//! and becomes spans, when it is finished.

use super::Error;
use super::export::{Collector, Exporter};
use super::stage::{Done, Running, Stage, Timed};
use super::traceparent::Traceparent;
use crate::metrics::Metrics;
use crate::trouble::Seldom;

use http::HeaderMap;
use jiff::Timestamp;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// The most stages of one request that become spans; a request has about ten.
pub const STAGES_MAX: usize = 32;

/// Between two warnings about callers whose issuer's keys are unavailable: as long as the pause
/// between two fetches of keys that such callers bring about.
const STRANGERS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Which requests are traced, and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where spans go; without it nothing is sampled and a caller's `traceparent` is handed on as
    /// it is.
    pub collector: Option<Collector>,
    /// The share of requests without a caller's trace that is sampled, 0 to 1.
    pub ratio: f64,
    /// The most traces per second that are sampled, whoever wants them.
    pub sampled_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { collector: None, ratio: 1.0, sampled_per_second: 100 }
    }
}

/// Begins traces; clones are one tracer.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exporter: Option<Exporter>,
    /// How many of 2^63 trace IDs are sampled.
    sampled_ids: u64,
    per_second: u32,
    /// The second that is counted (upper half) and the traces sampled in it.
    window: AtomicU64,
    ids: RandomIdGenerator,
    strangers: Seldom,
}

impl Tracer {
    /// Starts the exporter if there is a collector; its requests run on `runtime`.
    ///
    /// # Errors
    /// When the collector's URL, its certificates or the `OTEL_EXPORTER_OTLP_*` variables are
    /// unusable. It is not an error that nobody listens there.
    pub fn new(config: &Config, metrics: &Metrics, runtime: &Handle) -> Result<Self, Error> {
        let exporter = match &config.collector {
            Some(collector) => Some(Exporter::new(collector, metrics, runtime)?),
            None => None,
        };
        // A share of 2^63; the cast saturates, and what is not a number counts as 0.
        let sampled_ids = (config.ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Ok(Self(Arc::new(Inner {
            exporter,
            sampled_ids,
            per_second: config.sampled_per_second,
            window: AtomicU64::new(0),
            ids: RandomIdGenerator::default(),
            strangers: Seldom::new(STRANGERS_TOLD_EVERY),
        })))
    }

    /// Begins the trace of a request that arrived at `now`, as a part of the caller's trace if its
    /// `traceparent` names one.
    pub fn begin(&self, headers: &HeaderMap, now: Timestamp) -> Trace {
        let caller = Traceparent::read(headers);
        let trace_id = caller.map_or_else(|| self.0.ids.new_trace_id(), |it| it.trace_id);
        let wanted = match caller {
            Some(caller) => caller.sampled,
            None => self.0.wants(trace_id),
        };
        let sampled = self.0.exporter.is_some() && wanted && self.0.admits(now);
        let span_id = match caller {
            // There will be no spans of ours, so the spans of the upstream become children of the
            // caller's.
            Some(caller) if !sampled => caller.span_id,
            _ => self.0.ids.new_span_id(),
        };
        let passes = self.0.exporter.is_none() && caller.is_some_and(|it| it.sampled);
        let here = Traceparent { trace_id, span_id, sampled: sampled || passes };
        Trace {
            tracer: self.clone(),
            id: here.trace_id_text(),
            here,
            parent: caller.map(|it| it.span_id),
            sampled,
            begun: now,
            started: Instant::now(),
            done: Mutex::default(),
        }
    }

    /// Sends the spans that wait, within `limit`, and ends the exporter.
    pub async fn shutdown(&self, limit: Duration) {
        let tracer = self.clone();
        let flushed = tokio::task::spawn_blocking(move || match &tracer.0.exporter {
            Some(exporter) => exporter.shutdown(limit).map_err(|it| it.to_string()),
            None => Ok(()),
        });
        match flushed.await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::warn!(error, "the last traces did not reach the collector"),
            Err(error) => tracing::warn!(%error, "the last traces did not reach the collector"),
        }
    }
}

impl Inner {
    /// The share of new traces, by trace ID like OpenTelemetry's `TraceIdRatioBased`.
    fn wants(&self, trace_id: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.sampled_ids
    }

    /// The limit per second, whoever wants the trace.
    fn admits(&self, now: Timestamp) -> bool {
        let second = now.as_second().rem_euclid(1 << 32).unsigned_abs() << 32;
        self.window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
                let count = if window >> 32 << 32 == second { window & 0xffff_ffff } else { 0 };
                (count < u64::from(self.per_second)).then_some(second | (count + 1))
            })
            .is_ok()
    }
}

/// The trace of one request. It can be moved between tasks, and is lost if it is not finished.
#[derive(Debug)]
#[must_use = "a trace that is not finished leaves no spans and no log line"]
pub struct Trace {
    tracer: Tracer,
    id: String,
    pub(super) here: Traceparent,
    pub(super) parent: Option<SpanId>,
    sampled: bool,
    pub(super) begun: Timestamp,
    pub(super) started: Instant,
    done: Mutex<Vec<Timed>>,
}

impl Trace {
    /// The trace ID: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.id
    }

    /// The request becomes spans.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Starts a stage. It borrows nothing, so that stages can run side by side.
    #[must_use = "a stage that is not added is not seen"]
    pub fn start(&self, stage: Stage) -> Running {
        let (here, started) = match self.sampled {
            true => {
                let span_id = self.tracer.0.ids.new_span_id();
                (Traceparent { span_id, ..self.here }, Some(Instant::now()))
            }
            false => (self.here, None),
        };
        Running { stage, here, started }
    }

    /// Adds a stage that is over; beyond [`STAGES_MAX`] it is left out.
    pub fn add(&self, done: Done) {
        let mut stages = self.done();
        if let Done(Some(stage)) = done
            && stages.len() < STAGES_MAX
        {
            stages.push(stage);
        }
    }

    /// Does a stage that calls nobody.
    pub fn within<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let running = self.start(stage);
        let res = work();
        self.add(running.end());
        res
    }

    /// Waits for a stage that calls nobody.
    pub async fn during<T>(&self, stage: Stage, work: impl Future<Output = T>) -> T {
        let running = self.start(stage);
        let res = work.await;
        self.add(running.end());
        res
    }

    /// Where its spans go; nothing when it is not sampled.
    pub(super) fn exporter(&self) -> Option<&Exporter> {
        self.tracer.0.exporter.as_ref().filter(|_| self.sampled)
    }

    /// When to log another caller whose issuer's keys are unavailable.
    pub(super) fn strangers(&self) -> &Seldom {
        &self.tracer.0.strangers
    }

    /// The stages that are over.
    pub(super) fn done(&self) -> MutexGuard<'_, Vec<Timed>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
