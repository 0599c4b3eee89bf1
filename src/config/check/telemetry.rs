//! Logs and traces, and what the environment says of them.

use super::Checker;
use crate::config::otel::{self, Otel};
use crate::config::{Telemetry, file, otlp_headers};
use crate::telemetry::{self, Collector, Format, LogConfig, TraceConfig};

use std::time::Duration;
use uuid::Uuid;

/// The limit for one batch of spans.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

impl Checker<'_> {
    pub(super) fn telemetry(&mut self, written: &file::Telemetry) -> Telemetry {
        let default = TraceConfig::default();
        if let Some(ratio) = written.ratio.as_ref().filter(|it| !(0.0..=1.0).contains(&it.value)) {
            self.complain(ratio, "a share must be 0 to 1");
        }
        if let Some(level) = &written.level
            && let Err(error) = telemetry::check_filter(&level.value)
        {
            self.complain(level, error.to_string());
        }
        let otel = Otel::of_environment();
        let records = self.collector(written, otel.endpoint);
        Telemetry {
            log: LogConfig {
                format: match written.log {
                    file::Log::Human => Format::Human,
                    file::Log::Json => Format::Json,
                },
                filter: written
                    .level
                    .as_ref()
                    .map_or(LogConfig::default().filter, |it| it.value.clone()),
                colour: false,
            },
            trace: TraceConfig {
                collector: records.clone().filter(|_| !otel.disabled),
                ratio: otel
                    .ratio
                    .or_else(|| written.ratio.as_ref().map(|it| it.value))
                    .unwrap_or(default.ratio),
                sampled_per_second: written
                    .sampled_per_second
                    .unwrap_or(default.sampled_per_second),
            },
            records,
            remarks: otel.remarks,
        }
    }

    /// The collector that the environment or else the file names.
    fn collector(
        &mut self,
        written: &file::Telemetry,
        environment: Option<String>,
    ) -> Option<Collector> {
        let endpoint = match (environment, &written.otlp) {
            (Some(endpoint), _) => endpoint,
            (None, Some(otlp)) => otlp.value.clone(),
            (None, None) => return None,
        };
        let base = match (telemetry::collector_url(&endpoint), &written.otlp) {
            (Ok(base), _) => base,
            (Err(error), Some(otlp)) if otlp.value == endpoint => {
                self.complain(otlp, error.to_string());
                return None;
            }
            (Err(error), _) => {
                self.complain_of_file(&format!("{}: {error}", otel::ENDPOINT));
                return None;
            }
        };
        Some(Collector {
            endpoint,
            timeout: EXPORT_TIMEOUT,
            roots: self.roots(written.ca.as_ref(), &base),
            instance: Uuid::new_v4().to_string(),
            headers: otlp_headers("LOGS"),
        })
    }
}
