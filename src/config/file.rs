//! The configuration file as written. Unknown keys are errors; meaning is checked one level up.
//!
//! docs/configuration.md and the JSON schema are made from the types, fields and doc comments here;
//! a comment that ends in ``Default: `x`.`` states the default, which a test compares.

mod defaults;
mod ledger;
mod policies;
mod tls;

pub(super) use self::policies::{Denials, Policies};

pub(super) use self::ledger::{Ledger, Tombstones};

use super::unit::{Size, Span};
use crate::yaml::Spanned;

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The data listeners.
    pub(super) listen: Spanned<Vec<Listen>>,
    /// The admin listener.
    pub(super) admin: Admin,
    /// Networks or addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` count, for
    /// `g:SourceIp` and `g:SecureTransport`. Default: `[]`.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    /// The route.
    #[serde(default)]
    pub(super) route: Route,
    /// The identity sources. Of this and the following sections up to `settle`, a forwarder has
    /// only `upstreams`.
    pub(super) identity: Option<Spanned<Identity>>,
    /// The policies; a gate needs them.
    pub(super) policies: Option<Spanned<Policies>>,
    /// How several gates share the budgets of the policies.
    pub(super) budgets: Option<Spanned<Budgets>>,
    /// The clouds, at least one; or only the central gate, which makes the process a forwarder.
    pub(super) upstreams: Spanned<Vec<Upstream>>,
    /// Look-ups.
    pub(super) attributes: Option<Spanned<Attributes>>,
    /// The ledger; a gate needs it.
    pub(super) ledger: Option<Spanned<Ledger>>,
    /// Deletes without an answer.
    pub(super) settle: Option<Spanned<Settle>>,
    /// Limits.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Time-outs.
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    /// Logs and traces.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
}

/// A data listener. At least one; beyond loopback it needs `tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    /// IP address and port; this or `socket`.
    pub(super) address: Option<Spanned<String>>,
    /// The path of a Unix socket that the gate makes; only its own user can open it (mode 0600).
    pub(super) socket: Option<Spanned<PathBuf>>,
    /// Required beyond loopback; a Unix socket has none.
    pub(super) tls: Option<Spanned<Tls>>,
    /// Every caller is this principal; for loopback addresses, and required for Unix sockets.
    pub(super) principal: Option<Spanned<FixedPrincipal>>,
}

/// What stands between the network and the listener.
#[derive(Debug)]
pub(super) enum Tls {
    /// Something in front of the gate ends TLS.
    Off,
    /// The listener speaks TLS.
    Files(Box<TlsFiles>),
}

/// PEM files. Changed files are used for new connections within two seconds; if they cannot be used,
/// the ones before stay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFiles {
    /// The listener's own certificate first, then the intermediate ones.
    pub(super) certificate: Spanned<PathBuf>,
    /// Its key.
    pub(super) key: Spanned<PathBuf>,
    /// Authorities of client certificates. The principal of a request without another credential is
    /// then `mtls/<name>`: the certificate's SPIFFE ID, else its first DNS name, else its first URI.
    pub(super) client_ca: Option<Spanned<PathBuf>>,
}

/// The principal of every caller of a listener. Its identity source is `local`, and credentials are
/// ignored. The listener must be on loopback or a Unix socket, and accepts only loopback names in
/// `Host`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixedPrincipal {
    /// The name: the principal is `local/<name>`.
    pub(super) name: Spanned<String>,
    /// Its groups. Default: `[]`.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Its tags, for `g:PrincipalTag/…`. Default: `{}`.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

/// `/livez`, `/readyz` and `/metrics`; nothing can be changed there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// IP address and port.
    pub(super) address: Spanned<String>,
}

/// What the routes accept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Route {
    /// Which job IDs are accepted. Default: `uuid`.
    pub(super) job_id: JobIds,
}

/// Which job IDs the route accepts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobIds {
    /// 1 to 64 lower-case letters, digits and hyphens.
    Token,
    /// UUIDs in lower case, as ModelArts issues them.
    #[default]
    Uuid,
}

/// The identity sources: at least one issuer, a key file, or a listener with a principal or a
/// `client_ca`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    /// Token issuers. Default: `[]`.
    pub(super) jwt: Vec<Issuer>,
    /// The gate's own access keys.
    pub(super) keys: Option<Keys>,
}

/// An issuer of JSON Web Tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    /// A part of every principal: `corp/alice`. Reserved: `keys`, `local`, `mtls`.
    pub(super) name: Spanned<String>,
    /// Exactly the `iss` of its tokens.
    pub(super) issuer: Spanned<String>,
    /// A token must name one of these in `aud`.
    pub(super) audience: Spanned<Vec<String>>,
    /// The issuer's keys.
    pub(super) jwks: Spanned<Jwks>,
    /// The accepted signature algorithms, asymmetric ones only.
    pub(super) algorithms: Spanned<Vec<Spanned<String>>>,
    /// How long a token may be valid, from `iat` to `exp`. Default: `24h`.
    pub(super) max_lifetime: Option<Spanned<Span>>,
    /// What is taken from a token.
    #[serde(default)]
    pub(super) claims: Claims,
}

/// Where an issuer's keys are. Exactly one of `discovery`, `file` and `url`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwks {
    /// Take the keys from the issuer's `/.well-known/openid-configuration`. Default: `false`.
    #[serde(default)]
    pub(super) discovery: bool,
    /// A file with a JWK set. A change takes effect by itself.
    pub(super) file: Option<PathBuf>,
    /// A URL of a JWK set; https, or http on loopback.
    pub(super) url: Option<Spanned<String>>,
    /// A PEM bundle to trust instead of the system's.
    pub(super) ca: Option<PathBuf>,
    /// A file with a bearer token to send, read each time.
    pub(super) bearer: Option<PathBuf>,
    /// How long keys stay in use when they cannot be refreshed. Default: `1h`.
    pub(super) stale: Option<Span>,
}

/// Which claims make the principal.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Claims {
    /// The path to the principal's name. Default: `sub`.
    pub(super) name: Option<Spanned<Claim>>,
    /// The path to its groups: a list, or one text.
    pub(super) groups: Option<Spanned<Claim>>,
    /// The path to each of its tags. Default: `{}`.
    pub(super) tags: BTreeMap<String, Spanned<Claim>>,
}

/// The path to a claim: split at dots, or one name per step. A text with a colon or a slash is one
/// name, such as `https://id.example/groups`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Claim {
    /// Split at dots, or a URL.
    Dotted(String),
    /// One name per step, where a name holds dots.
    Steps(Vec<String>),
}

/// Access keys that the gate has issued, for official SDKs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The file with the keys: `keys: [{ak, sk, principal, groups, tags}]`. A change takes effect
    /// by itself.
    pub(super) file: PathBuf,
}

/// How several gates with the same policies share their budgets: one of these. A single gate needs
/// neither.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budgets {
    /// Each of this many gates has an equal part of every budget, rounded down. Default: `1`.
    pub(super) replicas: Option<Spanned<u32>>,
    /// All gates count together in a database.
    pub(super) store: Option<Spanned<Store>>,
}

/// The database that counts. While it cannot be reached, nothing is deleted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// A file with the connection string of a PostgreSQL database. Except on loopback and Unix
    /// sockets, the connection always uses TLS. A change takes effect within two seconds.
    pub(super) postgres: PathBuf,
    /// `system` or a PEM bundle. Default: `system`.
    pub(super) ca: Option<Spanned<String>>,
}

/// A cloud endpoint. A project belongs to the upstream that names it exactly, else to the longest
/// pattern.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// For records, metrics and logs: lower-case letters, digits and hyphens.
    pub(super) name: Spanned<String>,
    /// What it is.
    pub(super) kind: Spanned<Kind>,
    /// Project IDs, with at most one `*`, at the end. Needed for ModelArts; for a gate, all projects
    /// by default.
    pub(super) projects: Option<Spanned<Vec<Spanned<String>>>>,
    /// The base URL; https, or http on loopback.
    pub(super) endpoint: Spanned<String>,
    /// For URNs and `g:RequestedRegion`. Needed for ModelArts, and only there.
    pub(super) region: Option<Spanned<String>>,
    /// The account ID, for URNs and `g:PrincipalAccount`. Needed for ModelArts, and only there.
    pub(super) account: Option<Spanned<String>>,
    /// The cloud key. Needed for ModelArts, and only there.
    pub(super) credentials: Option<Spanned<Credentials>>,
    /// A file with the token for a gate. Needed for a gate, and only there. A change takes effect
    /// within two seconds.
    pub(super) token: Option<Spanned<PathBuf>>,
    /// `system` or a PEM bundle. Default: `system`.
    pub(super) ca: Option<Spanned<String>>,
    /// How requests to ModelArts are signed. Default: `SDK-HMAC-SHA256`.
    pub(super) algorithm: Option<Spanned<Algorithm>>,
    /// The most requests at once for these projects; more are answered with 503. For ModelArts.
    /// Default: `256`.
    pub(super) in_flight: Option<Spanned<u32>>,
}

/// What an upstream is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The central gate, which judges: the process is a forwarder, and has only this upstream.
    Gate,
    /// ModelArts itself.
    Modelarts,
}

/// Where a cloud key comes from: one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Credentials {
    /// A file with `ak`, `sk` and, for a temporary key, `security_token`. A change takes effect
    /// within two seconds.
    pub(super) file: Option<PathBuf>,
    /// `HUAWEICLOUD_SDK_AK`, `_SK` and, if it is temporary, `_SECURITY_TOKEN`. Default: `false`.
    pub(super) environment: bool,
    /// In a sidecar (a listener has a `principal`) `ecs_metadata` and `pod_identity` are refused
    /// unless this is `true`: every container of the pod can ask for the same credential. Default:
    /// `false`.
    pub(super) shared_with_pod: bool,
    /// The metadata service of the ECS that the gate runs on.
    pub(super) ecs_metadata: Option<EcsMetadata>,
    /// The identity agent of a CCE cluster.
    pub(super) pod_identity: Option<PodIdentity>,
    /// The token service.
    pub(super) oidc: Option<Oidc>,
}

/// The metadata service of the ECS that the gate runs on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EcsMetadata {
    /// Where it is. Default: `http://169.254.169.254`.
    pub(super) endpoint: Option<Spanned<String>>,
}

/// The identity agent of a CCE cluster, which the pod's environment names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodIdentity {
    /// `system` or a PEM bundle. Default: `system`.
    pub(super) ca: Option<Spanned<String>>,
}

/// The token service, for a token of an OpenID Connect provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oidc {
    /// The base URL of the token service.
    pub(super) endpoint: Spanned<String>,
    /// The URN of the identity provider.
    pub(super) provider: String,
    /// The URN of the agency to assume.
    pub(super) agency: String,
    /// The session's name. Default: `lychgate`.
    pub(super) session: Option<String>,
    /// A file with the token, read each time.
    pub(super) token: PathBuf,
    /// How long a key is valid, 15m to 12h. Default: `1h`.
    pub(super) duration: Option<Spanned<Span>>,
    /// `system` or a PEM bundle. Default: `system`.
    pub(super) ca: Option<Spanned<String>>,
}

/// How requests to an upstream are signed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Algorithm {
    /// The one that ModelArts documents.
    #[serde(rename = "SDK-HMAC-SHA256")]
    SdkHmacSha256,
    /// With a derived key.
    #[serde(rename = "V11-HMAC-SHA256")]
    V11HmacSha256,
}

/// Look-ups of a job's attributes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Attributes {
    /// How old attributes may be when the delete is sent, 100ms to 60s. Default: `2s`.
    pub(super) max_age: Spanned<Span>,
    /// The values of `modelarts:poolType`.
    pub(super) pool_types: PoolTypes,
}

/// What the values of `modelarts:poolType` are called. ModelArts documents only `public`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PoolTypes {
    /// For a job in a pool of its own. Default: `dedicated`.
    pub(super) dedicated: String,
    /// For a job in the public pool. Default: `public`.
    pub(super) public: String,
}

/// Deletes that got no answer: the job is looked up until it is gone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settle {
    /// For how long it is looked up. Default: `15m`.
    pub(super) window: Span,
}

/// How many requests and connections the gate accepts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Requests in work at the same time; further ones get 503. Default: `512`.
    pub(super) in_flight: Spanned<u32>,
    /// The rate of one principal.
    pub(super) per_principal: Spanned<PerPrincipal>,
    /// Connections of all data listeners together. Default: `4096`.
    pub(super) connections: Spanned<u32>,
    /// Connections of one address (in IPv6: of one /64), except those of trusted proxies and
    /// loopback. Default: `512`.
    pub(super) connections_per_peer: Spanned<u32>,
}

/// How many requests one principal may send; further ones get 429.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PerPrincipal {
    /// Requests per second in the long run. Default: `20`.
    pub(super) rate: Spanned<u32>,
    /// Requests in one burst. Default: `100`.
    pub(super) burst: Spanned<u32>,
}

/// How long things may take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    /// A connection to an upstream. Default: `2s`.
    pub(super) connect: Spanned<Span>,
    /// One look-up of a job's details or tags. Default: `5s`.
    pub(super) lookup: Spanned<Span>,
    /// The delete, until its whole answer is there. Default: `30s`.
    pub(super) request: Spanned<Span>,
    /// How long a stop waits for requests in flight. Default: `25s`.
    pub(super) drain: Spanned<Span>,
}

/// Logs and traces.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    /// The base URL of an OpenTelemetry collector (OTLP over HTTP); `OTEL_EXPORTER_OTLP_ENDPOINT` in
    /// the environment wins. Without either nothing is traced.
    pub(super) otlp: Option<Spanned<String>>,
    /// `system` or a PEM bundle, for https. Default: `system`.
    pub(super) ca: Option<Spanned<String>>,
    /// What log lines look like. Default: `json`.
    pub(super) log: Log,
    /// A level, or directives such as `info,lychgate::upstream=debug`; `LYCHGATE_LOG` in the
    /// environment wins. Default: `info`.
    pub(super) level: Option<Spanned<String>>,
    /// The share of requests without a caller's trace that is traced, 0 to 1; `OTEL_TRACES_SAMPLER` in
    /// the environment wins. Default: `1.0`.
    pub(super) ratio: Option<Spanned<f64>>,
    /// The most traces per second, also for callers who ask for them. Default: `100`.
    pub(super) sampled_per_second: Option<u32>,
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Log {
    /// For people.
    Human,
    /// One JSON object per line.
    #[default]
    Json,
}
