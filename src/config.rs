//! The configuration: one file, read once. As written (`file`) → checked ([`Config`]), with every
//! complaint about its meaning at once.

mod check;
mod file;
mod otel;
mod setup;
mod unit;

use crate::authn;
use crate::budget;
use crate::client::Roots;
use crate::credentials;
use crate::forward;
use crate::gateway;
use crate::ledger;
use crate::mounted;
use crate::policy::Principal;
use crate::route::JobIds;
use crate::server::{Place, tls};
use crate::telemetry::{Collector, LogConfig, TraceConfig};
use crate::upstream;
use crate::yaml::{self, Fault, Faults};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// The largest configuration file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything `serve` needs to know, checked.
#[derive(Debug)]
pub struct Config {
    /// The data listeners; at least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Whose `X-Forwarded-*` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Which job IDs the route accepts.
    pub job_ids: JobIds,
    /// What the process does with a request.
    pub role: Role,
    /// The most requests that are worked on at once.
    pub in_flight_max: usize,
    /// The most connections of all data listeners.
    pub connections_max: usize,
    /// The most connections from one address, trusted proxies and loopback aside.
    pub connections_per_peer_max: usize,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

/// What a process was started with, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The ledger's directory; a forwarder has none.
    pub ledger: Option<String>,
    /// Names and endpoints.
    pub upstreams: String,
    /// The names of the identity sources.
    pub sources: String,
}

/// What a process does with a request.
#[derive(Debug)]
pub enum Role {
    /// It sends it to the central gate.
    Forwarder(Box<Forwarder>),
    /// It judges it.
    Gate(Box<Gate>),
}

/// A process that judges, records and signs.
#[derive(Debug)]
pub struct Gate {
    /// The identity sources.
    pub identity: authn::Config,
    /// The policy directory.
    pub policies: PathBuf,
    /// The directory of policies that are evaluated beside those and decide nothing.
    pub shadow: Option<PathBuf>,
    /// How it answers.
    pub settings: gateway::Settings,
    /// The cloud endpoints; at least one.
    pub upstreams: Vec<Upstream>,
    /// Where decisions are recorded.
    pub ledger: ledger::Config,
    /// How the budgets of the policies are shared.
    pub budgets: Budgets,
    /// How long a job whose delete got no answer is looked up before it counts as not deleted.
    pub settle_window: Duration,
}

/// How several gates share the budgets of their policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// How many have an equal part each; 1 with a database.
    pub replicas: u32,
    /// The database that counts for all.
    pub store: Option<budget::Config>,
}

/// A process that holds nothing but a token for the central gate.
#[derive(Debug)]
pub struct Forwarder {
    /// The central gate.
    pub gate: forward::Config,
    /// The file with the token for it.
    pub token: PathBuf,
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// The limit for a connect.
    pub connect: Duration,
}

/// One data listener.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where.
    pub place: Place,
    /// Its TLS.
    pub tls: Option<Tls>,
    /// Who every caller of this listener is.
    pub principal: Option<Arc<Principal>>,
}

/// The TLS of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The files.
    pub files: tls::Files,
    /// Line and column of each, so that a complaint about a file can point to where it is named.
    places: TlsPlaces,
}

#[derive(Clone, Copy, Debug, Default)]
struct TlsPlaces {
    certificate: (u64, u64),
    key: (u64, u64),
    client_ca: (u64, u64),
}

/// One upstream with what is needed to build it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// What it is.
    pub config: upstream::Config,
    /// Where its access key comes from.
    pub credentials: credentials::Source,
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// The limit for a connect.
    pub connect: Duration,
}

/// Logs and traces.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How to log.
    pub log: LogConfig,
    /// What to trace.
    pub trace: TraceConfig,
    /// Who takes ledger records, where they are shipped.
    pub records: Option<Collector>,
    /// Variables of the environment that are set and have no effect.
    remarks: Vec<String>,
}

/// One thing that is wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Counted from 1; 0 when the whole file is meant.
    pub line: u64,
    /// In characters, counted from 1.
    pub column: u64,
    /// What is wrong, and mostly what to do.
    pub message: String,
    /// What else there is to say about what to do.
    pub hint: Option<String>,
}

impl Complaint {
    /// About the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into(), hint: None }
    }
}

impl From<Fault> for Complaint {
    fn from(fault: Fault) -> Self {
        let yaml::Place { line, column, .. } = fault.place.unwrap_or_default();
        Self { line, column, message: fault.message, hint: fault.hint }
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    complaints: Vec<Complaint>,
    policies: Option<PathBuf>,
}

impl Error {
    /// Every complaint, in the order of the file.
    #[must_use]
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    /// The policy directory, if the file names one nevertheless.
    #[must_use]
    pub fn policies(&self) -> Option<&Path> {
        self.policies.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (at, complaint) in self.complaints.iter().enumerate() {
            let Complaint { line, column, message, hint } = complaint;
            if 0 < at {
                writeln!(f)?;
            }
            match line {
                0 => write!(f, "{path}: {message}")?,
                _ => write!(f, "{path}:{line}:{column}: {message}")?,
            }
            if let Some(hint) = hint {
                write!(f, ": {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Config {
    /// What a gate needs; `None` for a forwarder.
    #[must_use]
    pub fn gate(&self) -> Option<&Gate> {
        match &self.role {
            Role::Gate(gate) => Some(gate),
            Role::Forwarder(_) => None,
        }
    }

    /// What the first log line tells.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let joined = |it: Vec<String>| it.join(", ");
        match &self.role {
            Role::Forwarder(forwarder) => Summary {
                ledger: None,
                upstreams: format!("{}={}", forwarder.gate.name, forwarder.gate.endpoint),
                sources: "local".to_owned(),
            },
            Role::Gate(gate) => {
                let authn::Config { issuers, keys, certificates } = &gate.identity;
                let fixed = self.listen.iter().any(|it| it.principal.is_some());
                let others = [(keys.is_some(), "keys"), (*certificates, "mtls"), (fixed, "local")];
                let others = others.into_iter().filter(|(is_there, _)| *is_there);
                let sources = issuers.iter().map(|it| it.name.clone());
                let upstreams = gate.upstreams.iter().map(|it| &it.config);
                Summary {
                    ledger: Some(gate.ledger.directory.display().to_string()),
                    upstreams: joined(
                        upstreams.map(|it| format!("{}={}", it.name, it.endpoint)).collect(),
                    ),
                    sources: joined(sources.chain(others.map(|it| it.1.to_owned())).collect()),
                }
            }
        }
    }

    /// What has no effect although somebody may think that it has.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.telemetry.remarks.clone();
        if !self.trusted_proxies.is_empty() && self.listen.iter().all(|it| it.place.is_loopback()) {
            remarks.push("`trusted_proxies` has no effect: every listener is on a loopback address or a socket, where g:SourceIp is absent".to_owned());
        }
        for it in self.gate().iter().flat_map(|it| &it.upstreams).map(|it| &it.config) {
            // `modelarts.<region>.myhuaweicloud.com`, in some regions with another end.
            let labels: Vec<_> = it.endpoint.host().unwrap_or_default().split('.').collect();
            if let ["modelarts", region, "myhuaweicloud", ..] = labels[..]
                && region != it.region
            {
                let (name, own) = (&it.name, &it.region);
                remarks.push(format!("the upstream `{name}` has the region `{own}`, and its endpoint is that of `{region}`: policies would judge by the wrong region"));
            }
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            if environment(name).is_some() {
                remarks.push(format!("{name} has no effect: the gate connects directly"));
            }
        }
        remarks
    }

    /// Reads and checks the file at `path`. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// When the file cannot be read or means nothing.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let complain = |message: String| Error {
            path: path.to_owned(),
            complaints: vec![Complaint::of_file(message)],
            policies: None,
        };
        let text = read(path).map_err(|error| complain(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).map_err(|complaints| {
            let root = yaml::parse(&text, &mut Vec::new());
            let policies = root.as_ref().and_then(|it| it.field("policies")?.field("directory"));
            let policies = policies.and_then(|it| Some(base.join(it.text()?)));
            Error { path: path.to_owned(), complaints, policies }
        })
    }

    /// Checks `text`; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// All complaints: what cannot be read hides what it would mean.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<Complaint>> {
        match yaml::read(text) {
            Ok(file) => check::check(file, base),
            Err(Faults(them)) => Err(them.into_iter().map(Complaint::from).collect()),
        }
    }

    /// Connects to the database of the budgets, and says what is wrong with it.
    pub async fn check_budgets(&self) -> Option<Complaint> {
        let store = self.gate()?.budgets.store.as_ref()?;
        let error = store.check().await.err()?;
        Some(Complaint::of_file(error.to_string()))
    }

    /// What is wrong with the listeners' TLS files as they are now, and what there is to say about
    /// their certificates at `now`.
    pub async fn check_tls(&self, now: Timestamp) -> (Vec<Complaint>, Vec<Complaint>) {
        let (mut complaints, mut remarks) = (Vec::new(), Vec::new());
        for Tls { files, places } in self.listen.iter().filter_map(|it| it.tls.as_ref()) {
            let told = |(line, column), message| Complaint { line, column, message, hint: None };
            match files.check(now).await {
                Ok(remark) => remarks.extend(remark.map(|it| told(places.certificate, it))),
                Err(error) => {
                    let place = match error.setting {
                        tls::Setting::Certificate => places.certificate,
                        tls::Setting::Key => places.key,
                        tls::Setting::ClientCa => places.client_ca,
                    };
                    complaints.push(told(place, error.to_string()));
                }
            }
        }
        (complaints, remarks)
    }
}

/// Whether text on `stream` may have colours: it is a terminal that shows them, and nobody objects
/// (<https://no-color.org>, <https://bixense.com/clicolors>).
#[must_use]
pub fn colours(stream: &impl IsTerminal) -> bool {
    let is = |name, value: &str| environment(name).is_some_and(|it| it == value);
    let unwanted = environment("NO_COLOR").is_some() || is("CLICOLOR", "0") || is("TERM", "dumb");
    stream.is_terminal() && !unwanted
}

/// The log filter of the environment, which wins over the file.
#[must_use]
pub fn log_filter() -> Option<String> {
    environment("LYCHGATE_LOG")
}

/// What `OTEL_EXPORTER_OTLP_HEADERS` and its sister for one signal say, which wins: `name=value`
/// pairs with commas between them, the values percent-encoded (OpenTelemetry specification, OTLP
/// exporter). A pair that is not a header counts as left out.
fn otlp_headers(signal: &str) -> HeaderMap {
    let names =
        ["OTEL_EXPORTER_OTLP_HEADERS".to_owned(), format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS")];
    let mut headers = HeaderMap::new();
    for text in names.iter().filter_map(|it| environment(it)) {
        for pair in text.split(',') {
            headers.extend(otlp_header(pair));
        }
    }
    headers
}

fn otlp_header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value: Vec<u8> = percent_decode_str(value.trim()).collect();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    // It may be a credential.
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// A variable of the environment; one that is empty or not text counts as unset.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

/// The variables of the environment whose names begin with `prefix`, likewise.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn variables(prefix: &str) -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
        .collect()
}

fn read(path: &Path) -> Result<String, mounted::ReadError> {
    let bytes = mounted::read(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes)
        .map_err(|_| mounted::ReadError::Io(io::Error::other("it is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_for_the_collector_are_read_like_the_sdk_reads_them() {
        for (pair, expected) in [
            ("k=v", Some(("k", "v"))),
            (" Authorization = Basic%20YTpi=", Some(("authorization", "Basic YTpi="))),
            ("k=", Some(("k", ""))),
            ("k", None),
            ("=v", None),
            ("k k=v", None),
            ("k=%0a", None),
            ("", None),
        ] {
            let header = otlp_header(pair);
            let read = header.as_ref().map(|(name, it)| (name.as_str(), it.to_str().unwrap()));
            assert_eq!(read, expected, "{pair}");
            assert!(!format!("{header:?}").contains("YTpi"), "{header:?}");
        }
    }
}
