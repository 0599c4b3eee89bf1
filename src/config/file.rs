//! The configuration file as written. Unknown keys are errors; meaning is checked one level up.

use super::unit::Size;
use super::unit::Span;
use crate::attributes::PoolWords;
use crate::gateway::Rate;

use serde::Deserialize;
use serde_saphyr::Location;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Spanned<Vec<Listen>>,
    pub(super) admin: Admin,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) route: Route,
    pub(super) identity: Spanned<Identity>,
    pub(super) policies: Policies,
    pub(super) upstreams: Spanned<Vec<Upstream>>,
    #[serde(default)]
    pub(super) attributes: Attributes,
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) settle: Settle,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) telemetry: Telemetry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: Spanned<String>,
    pub(super) tls: Option<Spanned<Tls>>,
    pub(super) principal: Option<Spanned<FixedPrincipal>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedPrincipal {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) address: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Route {
    pub(super) job_id: JobIds,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobIds {
    Token,
    #[default]
    Uuid,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    pub(super) jwt: Vec<Issuer>,
    pub(super) keys: Option<Keys>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) name: Spanned<String>,
    pub(super) issuer: Spanned<String>,
    pub(super) audience: Spanned<Vec<String>>,
    pub(super) jwks: Spanned<Jwks>,
    pub(super) algorithms: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) claims: Claims,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwks {
    #[serde(default)]
    pub(super) discovery: bool,
    pub(super) file: Option<PathBuf>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) ca: Option<PathBuf>,
    pub(super) bearer: Option<PathBuf>,
    pub(super) stale: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Claims {
    pub(super) name: Option<Spanned<Claim>>,
    pub(super) groups: Option<Spanned<Claim>>,
    pub(super) tags: BTreeMap<String, Spanned<Claim>>,
}

/// The way to a claim: split at dots, or one name per step.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Claim {
    Dotted(String),
    Steps(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policies {
    pub(super) directory: PathBuf,
    #[serde(default)]
    pub(super) denials: Denials,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Denials {
    Code,
    #[default]
    Full,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) name: Spanned<String>,
    pub(super) kind: Kind,
    pub(super) projects: Spanned<Vec<Spanned<String>>>,
    pub(super) endpoint: Spanned<String>,
    pub(super) region: Spanned<String>,
    pub(super) account: Spanned<String>,
    pub(super) credentials: Spanned<Credentials>,
    pub(super) ca: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) algorithm: Algorithm,
    pub(super) in_flight: Option<Spanned<usize>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Modelarts,
}

/// Where a cloud key comes from: one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Credentials {
    pub(super) file: Option<PathBuf>,
    pub(super) environment: bool,
    pub(super) ecs_metadata: Option<EcsMetadata>,
    pub(super) pod_identity: Option<PodIdentity>,
    pub(super) oidc: Option<Oidc>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EcsMetadata {
    pub(super) endpoint: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodIdentity {
    pub(super) ca: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oidc {
    pub(super) endpoint: Spanned<String>,
    pub(super) provider: String,
    pub(super) agency: String,
    pub(super) session: Option<String>,
    pub(super) token: PathBuf,
    pub(super) duration: Option<Spanned<Span>>,
    pub(super) ca: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) enum Algorithm {
    #[default]
    #[serde(rename = "SDK-HMAC-SHA256")]
    SdkHmacSha256,
    #[serde(rename = "V11-HMAC-SHA256")]
    V11HmacSha256,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Attributes {
    pub(super) max_age: Span,
    pub(super) pool_types: PoolTypes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PoolTypes {
    pub(super) dedicated: String,
    pub(super) public: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    pub(super) directory: PathBuf,
    pub(super) reserve: Option<Size>,
    pub(super) segment: Option<Spanned<Size>>,
    pub(super) retain: Option<Span>,
    pub(super) checkpoint_key: Option<PathBuf>,
    pub(super) checkpoint_records: Option<Spanned<u64>>,
    pub(super) checkpoint_interval: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settle {
    pub(super) window: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) in_flight: Spanned<usize>,
    pub(super) per_principal: PerPrincipal,
    pub(super) connections: Spanned<usize>,
    pub(super) connections_per_peer: Spanned<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PerPrincipal {
    pub(super) rate: Spanned<u32>,
    pub(super) burst: Spanned<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) connect: Spanned<Span>,
    pub(super) lookup: Spanned<Span>,
    pub(super) request: Spanned<Span>,
    pub(super) drain: Spanned<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    pub(super) otlp: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<String>>,
    pub(super) log: Log,
    pub(super) level: Option<String>,
    pub(super) ratio: Option<Spanned<f64>>,
    pub(super) sampled_per_second: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Log {
    Human,
    #[default]
    Json,
}

/// A default has no place in the file.
fn unwritten<T>(value: T) -> Spanned<T> {
    Spanned { value, referenced: Location::UNKNOWN, defined: Location::UNKNOWN }
}

impl Default for Attributes {
    fn default() -> Self {
        Self { max_age: Span(Duration::from_secs(2)), pool_types: PoolTypes::default() }
    }
}

impl Default for PoolTypes {
    fn default() -> Self {
        let PoolWords { dedicated, public } = PoolWords::default();
        Self { dedicated, public }
    }
}

impl Default for Settle {
    fn default() -> Self {
        Self { window: Span(Duration::from_secs(15 * 60)) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: unwritten(512),
            per_principal: PerPrincipal::default(),
            connections: unwritten(4096),
            connections_per_peer: unwritten(512),
        }
    }
}

impl Default for PerPrincipal {
    fn default() -> Self {
        let Rate { rate, burst } = Rate::default();
        Self { rate: unwritten(rate), burst: unwritten(burst) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |it| unwritten(Span(Duration::from_secs(it)));
        Self { connect: seconds(2), lookup: seconds(5), request: seconds(30), drain: seconds(25) }
    }
}
