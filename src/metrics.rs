//! What the gate counts and measures, for the admin listener's `/metrics`.
//!
//! A leaf: it knows nothing of the gate's other modules, they tell it what happened in its own
//! closed vocabulary. No label ever carries what a caller chose: no principal, project, job, path or
//! header. The names of upstreams and issuers are the configuration's, which takes only letters,
//! digits and hyphens.

mod label;
mod table;

#[cfg(test)]
mod tests;

pub use self::label::{
    Action, AuthMethod, ConnectionLimit, Decision, IdentityFault, LedgerFault, LedgerRecord, Live,
    LookUp, LookUpResult, Operation, Origin, Shadow,
};
pub use self::table::{DEFINITIONS, Definition, Kind};

use self::label::{Labels, Value};
use self::table::Table;

use http::StatusCode;
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing_appender::non_blocking::ErrorCounter;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How much of a policy version's digest its label shows, in characters.
pub const DIGEST_CHARS_MAX: usize = 12;

/// Everything the gate counts; clones count into the same place.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Table,
    log_dropped: OnceLock<ErrorCounter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics in which nothing has happened yet. The series of small closed label sets start at
    /// zero, because `rate()` over a series that is born with its first event misses that event.
    #[must_use]
    pub fn new() -> Self {
        let table = Table::new();
        table.build_info.set(env!("CARGO_PKG_VERSION"));
        for &limit in ConnectionLimit::ALL {
            table.connections_refused.get_or_create(&[("limit", limit.into())]).inc_by(0);
        }
        let actions = Action::ALL.iter();
        for (action, decision) in
            actions.flat_map(|action| Decision::ALL.iter().map(move |it| (*action, *it)))
        {
            table.decisions.get_or_create(&label::decision(action, decision)).inc_by(0);
        }
        for &source in LookUp::ALL {
            for &result in LookUpResult::ALL {
                let labels = [("source", source.into()), ("result", result.into())];
                table.look_ups.get_or_create(&labels).inc_by(0);
            }
        }
        for &kind in LedgerRecord::ALL {
            table.ledger_records.get_or_create(&[("kind", kind.into())]).inc_by(0);
        }
        for &what in LedgerFault::ALL {
            table.ledger_failures.get_or_create(&[("what", what.into())]).inc_by(0);
        }
        for &result in label::ExportResult::ALL {
            table.spans_exported.get_or_create(&[("result", result.into())]).inc_by(0);
        }
        Self(Arc::new(Inner { table, log_dropped: OnceLock::new() }))
    }

    /// All series in the OpenMetrics text format, `# EOF` at the end.
    #[must_use]
    pub fn encode(&self) -> String {
        if let Some(dropped) = self.0.log_dropped.get() {
            let lines = u64::try_from(dropped.dropped_lines()).unwrap_or(u64::MAX);
            self.0.table.log_dropped.inner().store(lines, Ordering::Relaxed);
        }
        self.0.table.encode()
    }

    /// The log lines that `dropped` counts are counted here; the first call counts.
    pub fn watch_log(&self, dropped: ErrorCounter) {
        let _ = self.0.log_dropped.set(dropped);
    }

    /// A connection was accepted and has its place.
    pub fn connection_opened(&self) {
        self.0.table.connections.inc();
    }

    /// A connection gave up its place.
    pub fn connection_closed(&self) {
        self.0.table.connections.dec();
    }

    /// A connection was closed at once.
    pub fn connection_refused(&self, limit: ConnectionLimit) {
        self.0.table.connections_refused.get_or_create(&[("limit", limit.into())]).inc();
    }

    /// Whether the gate is ready for requests now.
    pub fn set_ready(&self, ready: bool) {
        self.0.table.ready.set(i64::from(ready));
    }

    /// A request was answered. `error_code` is the number in `Lychgate.NNNN`.
    pub fn request(
        &self,
        status: StatusCode,
        origin: Origin,
        error_code: Option<u16>,
        took: Duration,
    ) {
        let labels = [
            ("status", label::status(status)),
            ("error_code", label::code(error_code, "none")),
            ("origin", origin.into()),
        ];
        self.0.table.requests.get_or_create(&labels).inc();
        let labels = [("origin", origin.into())];
        self.0.table.request_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A request is in flight until the guard is dropped.
    #[must_use = "the request counts as in flight while the guard lives"]
    pub fn in_flight(&self) -> InFlight {
        self.0.table.requests_in_flight.inc();
        InFlight(self.clone())
    }

    /// The policies answered.
    pub fn decision(&self, action: Action, decision: Decision) {
        self.0.table.decisions.get_or_create(&label::decision(action, decision)).inc();
    }

    /// A job's attributes were asked for.
    pub fn look_up(&self, source: LookUp, result: LookUpResult) {
        let labels = [("source", source.into()), ("result", result.into())];
        self.0.table.look_ups.get_or_create(&labels).inc();
    }

    /// A credential was accepted, or refused with an error code.
    pub fn authentication(&self, method: AuthMethod, refused: Option<(u16, IdentityFault)>) {
        let labels = [
            ("method", method.into()),
            ("result", label::code(refused.map(|(code, _)| code), "accepted")),
            ("reason", refused.map_or(Value::Word("none"), |(_, fault)| fault.into())),
        ];
        self.0.table.authentications.get_or_create(&labels).inc();
    }

    /// A request head was refused before it became a request.
    pub fn head_refused(&self, error_code: u16) {
        let labels = [("error_code", Value::Code(error_code))];
        self.0.table.heads_refused.get_or_create(&labels).inc();
    }

    /// A handler or a task panicked.
    pub fn panicked(&self) {
        self.0.table.panics.inc();
    }

    /// Records of one kind were committed to the ledger.
    pub fn ledger_records(&self, kind: LedgerRecord, count: u64) {
        self.0.table.ledger_records.get_or_create(&[("kind", kind.into())]).inc_by(count);
    }

    /// One group of `records` was written and synced in `took`.
    pub fn ledger_committed(&self, records: usize, took: Duration) {
        self.0.table.ledger_commit_duration.observe(took.as_secs_f64());
        // Group sizes are far below 2^32; the histogram wants a float.
        self.0
            .table
            .ledger_group_records
            .observe(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    }

    /// The ledger could not do something.
    pub fn ledger_failed(&self, what: LedgerFault) {
        self.0.table.ledger_failures.get_or_create(&[("what", what.into())]).inc();
    }

    /// The collector received `count` records and rejected them.
    pub fn ledger_rejected(&self, count: u64) {
        let labels = [("what", LedgerFault::Rejected.into())];
        self.0.table.ledger_failures.get_or_create(&labels).inc_by(count);
    }

    /// Records on stable storage that no collector has taken yet.
    pub fn set_ledger_unshipped(&self, records: u64) {
        self.0.table.ledger_unshipped.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Records that wait for the ledger's thread now.
    pub fn set_ledger_queue(&self, records: usize) {
        self.0.table.ledger_queue_records.set(gauge(records));
    }

    /// Free space of the ledger's file system in bytes, as an unprivileged process sees it.
    pub fn set_ledger_free(&self, bytes: u64) {
        self.0.table.ledger_free_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Decisions without an outcome that wait to be settled.
    pub fn set_ledger_pending(&self, decisions: usize) {
        self.0.table.ledger_pending.set(gauge(decisions));
    }

    /// A policy version came into force; `digest` is its SHA-256 in hex.
    /// `findings` is how many warnings and suggestions there are about it.
    pub fn policies_loaded(&self, digest: &str, findings: usize, now: Timestamp) {
        let prefix: String = digest.chars().take(DIGEST_CHARS_MAX).collect();
        self.0.table.policy_info.set(&prefix);
        self.0.table.policy_load_timestamp.set(now.as_second());
        self.0.table.policy_findings.set(gauge(findings));
        self.0.table.policy_load_ok.set(1);
    }

    /// A policy version was refused; the one before stays in force.
    pub fn policies_refused(&self) {
        self.0.table.policy_load_failures.inc();
        self.0.table.policy_load_ok.set(0);
    }

    /// A delete found no room in this budget.
    pub fn over_budget(&self, budget: &Arc<str>) {
        let labels = [("budget", Value::Name(Arc::clone(budget)))];
        self.0.table.budget_denials.get_or_create(&labels).inc();
    }

    /// How full each budget in force is, and whether units can be taken.
    pub fn set_budgets(&self, used: &[(Arc<str>, f64)], up: bool) {
        let table = &self.0.table;
        table.budgets.set(gauge(used.len()));
        table.budget_store_up.set(up.into());
        // Those of a version before are in force no more.
        table.budget_used.clear();
        for (budget, ratio) in used {
            let labels = [("budget", Value::Name(Arc::clone(budget)))];
            table.budget_denials.get_or_create(&labels).inc_by(0);
            table.budget_used.get_or_create(&labels).set(*ratio);
        }
    }

    /// What the directory holds is what is in force again.
    pub fn policies_mended(&self) {
        self.0.table.policy_load_ok.set(1);
    }

    /// Shadow policies are judged beside those in force, from now on.
    pub fn shadow_begins(&self) {
        for &live in Live::ALL {
            for &shadow in Shadow::ALL {
                let labels = [("live", live.into()), ("shadow", shadow.into())];
                self.0.table.shadow_decisions.get_or_create(&labels).inc_by(0);
            }
        }
    }

    /// Whether the last version of the shadow policies could be loaded.
    pub fn set_shadow_loaded(&self, loaded: bool) {
        self.0.table.shadow_load_ok.set(i64::from(loaded));
    }

    /// The policies in force and the shadow policies answered the same question.
    pub fn shadow_decision(&self, live: Live, shadow: Shadow) {
        let labels = [("live", live.into()), ("shadow", shadow.into())];
        self.0.table.shadow_decisions.get_or_create(&labels).inc();
    }

    /// Spans that were lost because the exporter's queue was full.
    pub fn spans_dropped(&self, count: u64) {
        self.0.table.spans_dropped.inc_by(count);
    }

    /// The collector took a batch of spans, or it did not.
    pub fn spans_exported(&self, count: u64, ok: bool) {
        let result = if ok { label::ExportResult::Ok } else { label::ExportResult::Failed };
        self.0.table.spans_exported.get_or_create(&[("result", result.into())]).inc_by(count);
    }

    /// Counts a TLS handshake of a listener that failed or took too long.
    pub fn tls_handshake_failed(&self) {
        self.0.table.tls_handshake_failures.inc();
    }

    /// The certificate that `listener` shows from now on expires at `end`.
    pub fn set_certificate_expiry(&self, listener: &str, end: Timestamp) {
        let labels = [("listener", Value::Name(listener.into()))];
        self.0.table.certificate_expiry_timestamp.get_or_create(&labels).set(end.as_second());
    }

    /// Counts an attempt to take a listener's changed TLS files that failed.
    pub fn tls_reload_failed(&self) {
        self.0.table.tls_reload_failures.inc();
    }

    /// The series of one configured upstream.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Upstream {
        Upstream { metrics: self.clone(), upstream: name.into() }
    }

    /// The series of one configured token issuer.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Issuer {
        Issuer { metrics: self.clone(), issuer: name.into() }
    }
}

/// Counts one request as in flight while it lives.
#[derive(Debug)]
pub struct InFlight(Metrics);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.table.requests_in_flight.dec();
    }
}

/// What is counted per upstream. Made once per configured upstream, cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    metrics: Metrics,
    upstream: Arc<str>,
}

impl Upstream {
    /// A request was sent; `status` is `None` when no answer came.
    pub fn request(&self, operation: Operation, status: Option<StatusCode>, took: Duration) {
        let table = &self.metrics.0.table;
        let [upstream] = self.labels();
        let operation = ("operation", operation.into());
        let labels = [upstream, operation, ("status", label::status_class(status))];
        table.upstream_requests.get_or_create(&labels).inc();
        let [upstream, operation, _] = labels;
        let labels = [upstream, operation];
        table.upstream_request_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// No connection came about: name, TCP or TLS.
    pub fn connect_failed(&self) {
        self.metrics.0.table.upstream_connect_errors.get_or_create(&self.labels()).inc();
    }

    /// The credential in use is valid until then; `None` for one that does not expire, or none.
    pub fn set_credential_expiry(&self, expires: Option<Timestamp>) {
        let family = &self.metrics.0.table.credential_expiry_timestamp;
        match expires {
            Some(expires) => {
                family.get_or_create(&self.labels()).set(expires.as_second());
            }
            None => {
                family.remove(&self.labels());
            }
        }
    }

    /// The breaker of the upstream's credential is open: nothing is sent.
    pub fn set_breaker_open(&self, open: bool) {
        let family = &self.metrics.0.table.upstream_breaker_open;
        family.get_or_create(&self.labels()).set(i64::from(open));
    }

    /// An answer of the upstream had a `Date` that cannot be read.
    pub fn date_unreadable(&self) {
        self.metrics.0.table.upstream_unreadable_dates.get_or_create(&self.labels()).inc();
    }

    /// How far the upstream's clock is ahead of the gate's, in seconds; negative when behind.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.metrics.0.table.upstream_clock_skew.get_or_create(&self.labels()).set(seconds);
    }

    fn labels(&self) -> Labels<1> {
        [("upstream", Value::Name(Arc::clone(&self.upstream)))]
    }
}

/// What is counted per token issuer. Made once per configured issuer, cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer {
    metrics: Metrics,
    issuer: Arc<str>,
}

impl Issuer {
    /// The issuer's keys were read.
    pub fn keys_read(&self, now: Timestamp) {
        let table = &self.metrics.0.table;
        table.jwks_read_timestamp.get_or_create(&self.labels()).set(now.as_second());
    }

    /// The issuer's keys could not be read, or were not usable.
    pub fn keys_failed(&self) {
        self.metrics.0.table.jwks_read_failures.get_or_create(&self.labels()).inc();
    }

    fn labels(&self) -> Labels<1> {
        [("issuer", Value::Name(Arc::clone(&self.issuer)))]
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
