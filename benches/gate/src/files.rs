//! The files of all contestants, below two temporary directories: one on a disk, one in memory.

use crate::contestant::ADMIN;
use crate::contestant::CLOUD;
use crate::contestant::PROXY;
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use ring::signature::KeyPair;
use serde_json::Value;
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use tempfile::TempDir;

/// So many tokens, to see what they leave in memory.
pub(crate) const TOKENS_MAX: usize = 100_000;

const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "lychgate";

/// Identity policies that are attached to every caller; the last one allows.
const ATTACHED: usize = 5;

/// The conditions of the guardrails, all of them Denies of which none matches. What they ask for is
/// in the request.
const GUARDRAILS: [&str; 10] = [
    r#""StringMatch": {"g:UserAgent": "curl/7*"}"#,
    r#""IpAddress": {"g:SourceIp": "10.66.0.0/16"}"#,
    r#""StringNotEquals": {"g:RequestedRegion": ["cn-north-4", "cn-east-3"]}"#,
    r#""StringEquals": {"g:PrincipalAccount": "999"}"#,
    r#""StringMatch": {"g:UserAgent": "*sqlmap*"}"#,
    r#""StringEquals": {"g:PrincipalTag/team": ["suspended", "external"]}"#,
    r#""StringStartWith": {"g:UserName": "test-"}"#,
    r#""DateLessThan": {"g:CurrentTime": "2020-01-01T00:00:00Z"}"#,
    r#""Bool": {"g:SecureTransport": "true"}, "StringEquals": {"g:PrincipalTag/team": "plain"}"#,
    r#""StringEquals": {"g:PrincipalTag/env": "prod"}"#,
];

/// Others, each of which needs a look-up.
const LOOK_UPS: [(&str, &str); 2] = [
    ("phase", r#""StringEquals": {"lychgate:jobPhase": ["Running", "Pending"]}"#),
    ("protected", r#""StringEquals": {"g:ResourceTag/protected": "true"}"#),
];

/// As many as there are by default, and so wide that they never fill.
const BUDGETS: &str = "budgets:
  - {name: per-principal, per: principal, deletes: 100000, within: 1s}
  - {name: per-project, per: project, deletes: 100000, within: 1s}
";

/// A record and its outcome, about.
const GROUP_BYTES: usize = 2048;

/// How often the disk is asked to sync.
const SYNCS: usize = 500;

/// What is different from one gate to another.
pub(crate) struct Gate {
    pub(crate) cores: usize,
    /// The ledger is on a disk.
    pub(crate) disk: bool,
    /// Guardrails ask for the job's details, and for its tags.
    pub(crate) look_ups: usize,
    /// What is looked up is also remembered, as by default.
    pub(crate) tombstones: bool,
    /// Identity policies, [`ATTACHED`] of them to every caller.
    pub(crate) policies: usize,
    /// How many callers take turns.
    pub(crate) principals: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { cores: 1, disk: false, look_ups: 0, tombstones: false, policies: 10, principals: 1 }
    }
}

pub(crate) struct Files {
    /// The gate's.
    pub(crate) binary: PathBuf,
    disk: TempDir,
    memory: TempDir,
    signing: Ed25519KeyPair,
}

impl Files {
    pub(crate) fn new(binary: &str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let signing = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let x = BASE64URL_NOPAD.encode(signing.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "bench", "x": x});
        let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let binary = fs::canonicalize(binary).unwrap_or_else(|error| panic!("{binary}: {error}"));
        let res = Self { binary, disk, memory, signing };
        res.put("gate/jwks.json", &json!({ "keys": [jwk] }).to_string());
        res.put(
            "gate/cloud.yaml",
            "ak: CLOUDKEY0000000000AA\nsk: cloudSecret00000000000000000000\n",
        );
        res
    }

    /// Writes a file, and says where.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.memory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // The gate warns of secrets that others can read.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Deletes with so many tokens of so many callers, ready to send.
    pub(crate) fn heads(&self, tokens: usize, principals: usize) -> Arc<[Vec<u8>]> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let part = |it: &Value| BASE64URL_NOPAD.encode(it.to_string().as_bytes());
        let header = part(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "bench"}));
        let head = |number| {
            let claims = json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user{}", number % principals), "jti": format!("{number:08}"),
                "groups": ["jobs", "ml"], "team": "vision", "iat": now, "exp": now + 3600,
            });
            let signed = format!("{header}.{}", part(&claims));
            let signature = BASE64URL_NOPAD.encode(self.signing.sign(signed.as_bytes()).as_ref());
            format!(
                "DELETE /v2/{PROJECT}/training-jobs/{JOB} HTTP/1.1\r\nHost: gate.example\r\n\
                 User-Agent: huaweicloud-usdk-python/3.0\r\nAuthorization: Bearer {signed}.{signature}\r\n\r\n"
            )
            .into_bytes()
        };
        (0..tokens).map(head).collect()
    }

    /// Writes the files of a gate with an empty ledger. Returns the configuration.
    pub(crate) fn gate(&self, gate: &Gate) -> PathBuf {
        let directory = if gate.disk { &self.disk } else { &self.memory };
        let ledger = directory.path().join("ledger");
        let _ = fs::remove_dir_all(&ledger);
        self.policies(gate);
        let text = format!(
            "listen: [{{address: '{PROXY}'}}]
admin: {{address: '{ADMIN}'}}
identity:
  jwt:
    - name: corp
      issuer: {ISSUER}
      audience: [{AUDIENCE}]
      jwks: {{file: jwks.json}}
      algorithms: [EdDSA]
      claims: {{name: sub, groups: groups, tags: {{team: team}}}}
policies: {{directory: policies}}
upstreams:
  - name: cloud
    kind: modelarts
    projects: [{PROJECT}]
    endpoint: http://{CLOUD}
    region: cn-north-4
    account: '123'
    credentials: {{file: cloud.yaml}}
    in_flight: 4096
ledger: {{directory: '{}', tombstones: {}}}
limits: {{in_flight: 4096, per_principal: {{rate: 1000000, burst: 1000000}}}}
telemetry: {{level: warn}}
",
            ledger.display(),
            if gate.tombstones { "details" } else { "off" },
        );
        self.put("gate/lychgate.yaml", &text)
    }

    fn policies(&self, gate: &Gate) {
        let _ = fs::remove_dir_all(self.memory.path().join("gate/policies"));
        let put = |name: &str, effect, conditions: &str| {
            let text = format!(
                r#"{{"Version": "5.0", "Statement": [{{"Effect": "{effect}",
                   "Action": ["modelarts:trainJob:delete"], "Condition": {{{conditions}}}}}]}}"#
            );
            self.put(&format!("gate/policies/{name}.json"), &text);
        };
        for (number, conditions) in GUARDRAILS.iter().enumerate() {
            put(&format!("guardrails/g{number}"), "Deny", conditions);
        }
        for (name, conditions) in LOOK_UPS.iter().take(gate.look_ups) {
            put(&format!("guardrails/{name}"), "Deny", conditions);
        }
        let mut attachments = String::new();
        for number in 0..gate.policies {
            let team = if number + 1 == ATTACHED { "vision" } else { "another" };
            let conditions = format!(
                r#""StringEquals": {{"g:PrincipalTag/team": ["{team}", "team-{number}"]}},
                   "StringStartWith": {{"g:UserAgent": "huaweicloud-"}}"#
            );
            put(&format!("identity/p{number:05}"), "Allow", &conditions);
            let group =
                if number < ATTACHED { "jobs".to_owned() } else { format!("group{number}") };
            writeln!(attachments, "- {{to: ['group:corp/{group}'], policies: [p{number:05}]}}")
                .unwrap();
        }
        self.put("gate/policies/attachments.yaml", &attachments);
        self.put("gate/policies/budgets.yaml", BUDGETS);
    }

    pub(crate) fn nginx(&self) -> String {
        nginx(&format!(
            "upstream cloud {{ server {CLOUD}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {PROXY};
    location / {{
      proxy_pass http://cloud;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
    }}
  }}"
        ))
    }

    pub(crate) fn nginx_of_the_cloud(&self) -> String {
        let details = json!({
            "kind": "job",
            "metadata": {
                "id": JOB, "name": "vision-train-17", "user_name": "alice", "workspace_id": "0",
                "create_time": 1_765_000_000_000_u64,
            },
            "status": {"phase": "Completed"},
            "spec": {"resource": {"pool_id": "pool-vision-1", "node_count": 1}},
        });
        let tags = json!({ "tags": [] });
        nginx(&format!(
            "server {{
    listen {CLOUD};
    default_type application/json;
    location ~ /tags$ {{ return 200 '{tags}'; }}
    location / {{
      if ($request_method = GET) {{ return 200 '{details}'; }}
      return 202 '{{}}';
    }}
  }}"
        ))
    }

    pub(crate) fn haproxy(&self) -> String {
        format!(
            "global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen proxy
  bind {PROXY}
  http-reuse always
  server cloud {CLOUD}
"
        )
    }

    /// What an append and its sync take on the ledger's disk when there are `rate` in a second, as
    /// a disk and a core that have been idle take longer: the median.
    pub(crate) fn sync_ms(&self, rate: u32) -> f64 {
        let path = self.disk.path().join("sync");
        let mut file = File::create(&path).unwrap();
        let mut due = Instant::now();
        let mut sync = || {
            due += Duration::from_secs(1) / rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let start = Instant::now();
            file.write_all(&[b'x'; GROUP_BYTES]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        };
        let mut times: Vec<Duration> = (0..SYNCS).map(|_| sync()).collect();
        times.sort();
        fs::remove_file(&path).unwrap();
        times[SYNCS / 2].as_secs_f64() * 1e3
    }
}

/// One worker, nothing logged, connections kept.
fn nginx(http: &str) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  {http}
}}
"
    )
}
