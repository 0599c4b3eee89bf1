//! The table of metrics: each is declared once, with name, type, labels and help.

use super::label::Labels;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// As queries write it; a histogram's series add `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The labels, in the order of the text format; a histogram's `le` is not among them.
    pub labels: &'static [&'static str],
    /// What it tells, without a full stop.
    pub help: &'static str,
}

/// The type of a metric, in the words of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Always 1; its labels are what it tells, its name ends in `_info`.
    Info,
}

impl Definition {
    /// The name without the suffix that the text format adds by itself.
    fn family(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

/// A histogram per label set.
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// From a denial without look-up or sync (under a millisecond) over a commit (1–10 ms) and the
/// cloud's answer (50–500 ms) to the default limit of a request, 30 s.
const REQUEST_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The cloud's API answers in tens to hundreds of milliseconds; 2, 5 and 30 s are near the default
/// limits for connecting, a look-up and a request.
const UPSTREAM_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// `fdatasync` takes 50 µs on a disk with a protected cache, 1–10 ms on a network volume; above
/// 100 ms the disk is in trouble.
const COMMIT_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Powers of two up to the number of requests that are in flight by default.
const GROUP_RECORDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Declares the metrics: the struct that holds them, how it is made, and [`DEFINITIONS`].
macro_rules! table {
    ($($field:ident: $metric:ty = $new:expr,
        $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// Every metric, in the order of [`Metrics::encode`](super::Metrics::encode).
        pub const DEFINITIONS: &[Definition] = &[$(Definition {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        },)*];

        #[derive(Debug)]
        pub(super) struct Table {
            registry: Registry,
            $(pub(super) $field: $metric,)*
        }

        impl Table {
            pub(super) fn new() -> Self {
                let mut registry = Registry::default();
                let mut definitions = DEFINITIONS.iter();
                $(
                    let $field: $metric = $new;
                    if let Some(it) = definitions.next() {
                        registry.register(it.family(), it.help, $field.clone());
                    }
                )*
                Self { registry, $($field,)* }
            }
        }
    };
}

table! {
    build_info: Info = Info::new("version"),
        Info "lychgate_build_info" ["version"]
        "The version of the gate that runs";
    ready: Gauge = Gauge::default(),
        Gauge "lychgate_ready" []
        "1 when the gate is ready for requests, as /readyz says";
    connections: Gauge = Gauge::default(),
        Gauge "lychgate_connections" []
        "Open connections of all listeners, the admin listener's included";
    connections_refused: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_connections_refused_total" ["limit"]
        "Connections closed at once, by the limit that was reached: in_all, or peer (of one address)";
    requests: Family<Labels<3>, Counter> = Family::default(),
        Counter "lychgate_requests_total" ["status", "error_code", "origin"]
        "Requests answered, by status, by the gate's error code (none: not an error of the gate), and by who made the answer";
    request_duration: Histograms<1> = Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
        Histogram "lychgate_request_duration_seconds" ["origin"]
        "Time from the complete head of a request to its answer, by who made the answer";
    requests_in_flight: Gauge = Gauge::default(),
        Gauge "lychgate_requests_in_flight" []
        "Requests that have no answer yet";
    heads_refused: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_heads_refused_total" ["error_code"]
        "Request heads refused before they became requests; they are not among lychgate_requests_total";
    authentications: Family<Labels<3>, Counter> = Family::default(),
        Counter "lychgate_authentications_total" ["method", "result", "reason"]
        "Credentials judged, by method; the result is accepted or the error code, and the reason says why it is that code";
    decisions: Family<Labels<3>, Counter> = Family::default(),
        Counter "lychgate_decisions_total" ["action", "result", "reason"]
        "Answers of the policies, by what was asked for (delete, batch_delete, get); the reason of a deny is explicit (a Deny statement), ceiling (outside the guardrails), nothing_allows or over_budget; that of an indeterminate no_such_job, look_up_failed, unreadable, pool_group or none (the request or job does not say)";
    budgets: Gauge = Gauge::default(),
        Gauge "lychgate_budgets" []
        "Budgets in force; 0 where they are turned off";
    budget_denials: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_budget_denials_total" ["budget"]
        "Deletes that the policies allow and for which the budget had no room";
    budget_used: Family<Labels<1>, Gauge<f64, AtomicU64>> = Family::default(),
        Gauge "lychgate_budget_used_ratio" ["budget"]
        "How full the fullest counter of the budget is: at 1 there is no room; it is above 1 after a limit was lowered";
    budget_store_up: Gauge = Gauge::default(),
        Gauge "lychgate_budget_store_up" []
        "1 while units can be taken; 0 while the database of the budgets does not answer";
    look_ups: Family<Labels<2>, Counter> = Family::default(),
        Counter "lychgate_look_ups_total" ["source", "result"]
        "Look-ups of a job's attributes";
    upstream_requests: Family<Labels<3>, Counter> = Family::default(),
        Counter "lychgate_upstream_requests_total" ["upstream", "operation", "status"]
        "Requests sent to an upstream, by class of the status (none: no answer)";
    upstream_request_duration: Histograms<2> = Family::new_with_constructor(|| Histogram::new(UPSTREAM_SECONDS)),
        Histogram "lychgate_upstream_request_duration_seconds" ["upstream", "operation"]
        "Time from sending a request to an upstream to its answer or failure";
    upstream_connect_errors: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_upstream_connect_errors_total" ["upstream"]
        "Connections to an upstream that did not come about";
    upstream_breaker_open: Family<Labels<1>, Gauge> = Family::default(),
        Gauge "lychgate_upstream_breaker_open" ["upstream"]
        "1 while nothing is sent because the upstream refuses the gate's key";
    upstream_clock_skew: Family<Labels<1>, Gauge> = Family::default(),
        Gauge "lychgate_upstream_clock_skew_seconds" ["upstream"]
        "How far the upstream's clock is ahead of the gate's, by its latest answer";
    upstream_unreadable_dates: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_upstream_unreadable_dates_total" ["upstream"]
        "Answers of an upstream whose Date cannot be read, so that they say nothing about its clock";
    credential_expiry_timestamp: Family<Labels<1>, Gauge> = Family::default(),
        Gauge "lychgate_credential_expiry_timestamp_seconds" ["upstream"]
        "Unix time at which the cloud credential in use expires; absent for one that does not expire";
    jwks_read_timestamp: Family<Labels<1>, Gauge> = Family::default(),
        Gauge "lychgate_jwks_read_timestamp_seconds" ["issuer"]
        "Unix time at which an issuer's keys were last read";
    jwks_read_failures: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_jwks_read_failures_total" ["issuer"]
        "Attempts to read an issuer's keys that failed";
    policy_info: Info = Info::new("digest"),
        Info "lychgate_policy_info" ["digest"]
        "The policy version in force, by the start of its digest; absent while there is none";
    policy_load_timestamp: Gauge = Gauge::default(),
        Gauge "lychgate_policy_load_timestamp_seconds" []
        "Unix time at which the policy version in force was loaded; 0 while there is none";
    policy_findings: Gauge = Gauge::default(),
        Gauge "lychgate_policy_findings" []
        "Findings about the policy version in force; none of them is an error";
    policy_load_ok: Gauge = Gauge::default(),
        Gauge "lychgate_policy_load_ok" []
        "1 when the latest policy version that was read is the one in force";
    shadow_decisions: Family<Labels<2>, Counter> = Family::default(),
        Counter "lychgate_shadow_decisions_total" ["live", "shadow"]
        "Decisions with shadow policies beside them, by what those in force and what the shadow policies said";
    shadow_load_ok: Gauge = Gauge::default(),
        Gauge "lychgate_shadow_policy_load_ok" []
        "1 when the latest version of the shadow policies could be loaded; 0 without shadow policies";
    policy_load_failures: Counter = Counter::default(),
        Counter "lychgate_policy_load_failures_total" []
        "Policy versions refused";
    ledger_records: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_ledger_records_total" ["kind"]
        "Records committed to the ledger";
    ledger_commit_duration: Histogram = Histogram::new(COMMIT_SECONDS),
        Histogram "lychgate_ledger_commit_duration_seconds" []
        "Time to write and sync one group of records";
    ledger_group_records: Histogram = Histogram::new(GROUP_RECORDS),
        Histogram "lychgate_ledger_group_records" []
        "Records committed with one sync";
    ledger_failures: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_ledger_failures_total" ["what"]
        "What the ledger could not do";
    ledger_queue_records: Gauge = Gauge::default(),
        Gauge "lychgate_ledger_queue_records" []
        "Records that wait for the ledger's thread";
    ledger_pending: Gauge = Gauge::default(),
        Gauge "lychgate_ledger_pending_decisions" []
        "Decisions without an outcome that wait to be settled";
    ledger_unshipped: Gauge = Gauge::default(),
        Gauge "lychgate_ledger_unshipped_records" []
        "Records that the collector has not taken yet; 0 unless they are shipped";
    ledger_free_bytes: Gauge = Gauge::default(),
        Gauge "lychgate_ledger_free_bytes" []
        "Free space of the ledger's file system";
    certificate_expiry_timestamp: Family<Labels<1>, Gauge> = Family::default(),
        Gauge "lychgate_tls_certificate_expiry_timestamp_seconds" ["listener"]
        "Unix time at which the certificate that a listener shows expires";
    tls_handshake_failures: Counter = Counter::default(),
        Counter "lychgate_tls_handshake_failures_total" []
        "TLS handshakes of listeners that failed or took too long";
    tls_reload_failures: Counter = Counter::default(),
        Counter "lychgate_tls_reload_failures_total" []
        "Attempts to take a listener's changed TLS files that failed; the ones before stayed in use";
    spans_exported: Family<Labels<1>, Counter> = Family::default(),
        Counter "lychgate_spans_exported_total" ["result"]
        "Trace spans handed to the collector";
    spans_dropped: Counter = Counter::default(),
        Counter "lychgate_spans_dropped_total" []
        "Trace spans lost because the exporter's queue was full";
    log_dropped: Counter = Counter::default(),
        Counter "lychgate_log_dropped_lines_total" []
        "Log lines that were dropped because nobody reads them";
    panics: Counter = Counter::default(),
        Counter "lychgate_panics_total" []
        "Panics that were caught; anything but 0 is a fault of the gate";
}

impl Table {
    /// A text without `# EOF` at its end is refused by every scraper, so an error needs no other
    /// sign; writing into a string does not fail anyway.
    pub(super) fn encode(&self) -> String {
        let mut text = String::new();
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// A label that tells something, one value at a time.
#[derive(Clone, Debug)]
pub(super) struct Info {
    label: &'static str,
    value: Arc<Mutex<Option<String>>>,
}

impl Info {
    fn new(label: &'static str) -> Self {
        Self { label, value: Arc::default() }
    }

    pub(super) fn set(&self, value: &str) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.to_owned());
    }
}

impl EncodeMetric for Info {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match &*self.value.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(value) => encoder.encode_info(&[(self.label, value.as_str())]),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Info
    }

    fn is_empty(&self) -> bool {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}
