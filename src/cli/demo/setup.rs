//! What the demo's gate is started from: keys, tokens and files, made for one run.

use crate::authn::keys;
use crate::emulator;
use crate::emulator::sample::PROJECT;
use crate::policy;

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};
use uuid::Uuid;

pub(super) const REGION: &str = "cn-north-4";
pub(super) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

const ISSUER: &str = "https://id.demo.example";
const AUDIENCE: &str = "lychgate";
const KEY_ID: &str = "demo";

/// How long a token is valid: a working day.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(12);

/// The sample policies, as `policies/` of the repository has them.
pub(super) const POLICIES: &[(&str, &str)] = &[
    ("attachments.yaml", include_str!("../../../policies/attachments.yaml")),
    ("budgets.yaml", include_str!("../../../policies/budgets.yaml")),
    ("guardrails/finished.json", include_str!("../../../policies/guardrails/finished.json")),
    ("guardrails/protect.json", include_str!("../../../policies/guardrails/protect.json")),
    ("identity/break-glass.json", include_str!("../../../policies/identity/break-glass.json")),
    ("identity/own-jobs.json", include_str!("../../../policies/identity/own-jobs.json")),
    (
        "identity/pool-operators.json",
        include_str!("../../../policies/identity/pool-operators.json"),
    ),
];

/// The budget that the demo adds, so that erin's second call finds no room.
const SMALL_BUDGET: &str = r#"  - name: erin
    per: principal
    deletes: 1
    within: 1h
    when: {"StringEquals": {"g:UserName": "erin"}}
"#;

/// Who is in the demo: name, groups, tag `team`.
const PEOPLE: &[(&str, &[&str], Option<&str>)] = &[
    ("alice", &["ml-research"], Some("vision")),
    ("bob", &["nlp"], Some("nlp")),
    ("carol", &[], None),
    ("dave", &["platform-admins"], None),
    ("erin", &["ml-research"], Some("vision")),
];

/// The people, and the claims of their tokens as options of `explain`.
pub(super) fn people() -> impl Iterator<Item = (&'static str, String)> {
    PEOPLE.iter().map(|(name, groups, team)| {
        let groups = groups.iter().map(|it| format!("--group {it} "));
        let team = team.map(|it| format!("--tag team={it} ")).unwrap_or_default();
        (*name, format!("{}{team}--tag huawei_user={name}", groups.collect::<String>()))
    })
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot make a key")]
    Key(#[from] aws_lc_rs::error::Unspecified),
    #[error(transparent)]
    Random(#[from] keys::NoRandomness),
    #[error("cannot make a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("cannot write")]
    Write(#[from] io::Error),
    #[error("cannot make a document")]
    Json(#[from] serde_json::Error),
}

/// One access key.
#[derive(Clone)]
pub(super) struct AccessKey {
    pub(super) ak: String,
    pub(super) sk: String,
}

/// Everything secret in one demo.
pub(super) struct Secrets {
    /// A person's name and token.
    pub(super) tokens: Vec<(&'static str, String)>,
    pub(super) gateway_key: AccessKey,
    pub(super) cloud_key: AccessKey,
    jwks: String,
}

impl Secrets {
    pub(super) fn mint(now: Timestamp) -> Result<Self, Error> {
        let signing = EncodingKey::from_ed_der(Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref());
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::EdDSA)?;
        jwk.common.key_id = Some(KEY_ID.to_owned());
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        let token = |(name, groups, team): &(&'static str, &[&str], Option<&str>)| {
            let claims = json!({
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": name,
                "groups": groups,
                "team": team,
                "huawei_user": name,
                "iat": now.as_second(),
                "exp": now.as_second().saturating_add(TOKEN_LIFE.as_secs()),
            });
            Ok((*name, jsonwebtoken::encode(&header, &claims, &signing)?))
        };
        Ok(Self {
            tokens: PEOPLE.iter().map(token).collect::<Result<_, Error>>()?,
            gateway_key: access_key()?,
            cloud_key: access_key()?,
            jwks: serde_json::to_string(&json!({"keys": [jwk]}))?,
        })
    }

    /// The gate's cloud key, as the emulator knows it.
    pub(super) fn emulator_key(&self) -> emulator::Key {
        let AccessKey { ak, sk } = self.cloud_key.clone();
        emulator::Key { ak, sk, security_token: None, projects: vec![PROJECT.to_owned()] }
    }
}

fn access_key() -> Result<AccessKey, Error> {
    let keys::Pair { access_key_id, secret_access_key } = keys::create()?;
    Ok(AccessKey { ak: access_key_id, sk: secret_access_key.expose().clone() })
}

/// Where the three parts listen.
pub(super) struct Addresses {
    pub(super) gate: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) emulator: SocketAddr,
}

/// The demo's directory, removed with this value, and its policies, which may be the user's own.
pub(super) struct Files {
    directory: PathBuf,
    policies: PathBuf,
}

impl Files {
    pub(super) fn write(
        secrets: &Secrets,
        addresses: &Addresses,
        policies: Option<&Path>,
    ) -> Result<Self, Error> {
        let id = Uuid::new_v4().simple().to_string();
        let short = id.get(..8).unwrap_or_default();
        let directory = std::env::temp_dir().join(format!("lychgate-demo-{short}"));
        let own = policies.map(std::path::absolute).transpose()?;
        let policies = own.clone().unwrap_or_else(|| directory.join("policies"));
        private_directory(&directory)?;
        let files = Self { directory, policies };
        for (path, text) in POLICIES.iter().filter(|_| own.is_none()) {
            let more = if *path == policy::BUDGETS { SMALL_BUDGET } else { "" };
            files.put(&format!("policies/{path}"), &format!("{text}{more}"))?;
        }
        let AccessKey { ak, sk } = &secrets.gateway_key;
        files.put(
            "keys.yaml",
            &format!(
                "keys:\n  - {{ak: {ak}, sk: {sk}, principal: cleanup, groups: [jobs], tags: {{team: vision}}}}\n"
            ),
        )?;
        let AccessKey { ak, sk } = &secrets.cloud_key;
        files.put("cloud.yaml", &format!("ak: {ak}\nsk: {sk}\n"))?;
        files.put("jwks.json", &secrets.jwks)?;
        files.put("lychgate.yaml", &config(addresses, &files.policies))?;
        Ok(files)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("lychgate.yaml")
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn policies(&self) -> &Path {
        &self.policies
    }

    /// Writes a file that nobody else can read.
    pub(super) fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A temporary directory that stays does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn config(addresses: &Addresses, policies: &Path) -> String {
    let Addresses { gate, admin, emulator } = addresses;
    let policies = serde_json::Value::from(policies.display().to_string());
    format!(
        "listen:
  - {{address: '{gate}'}}
admin: {{address: '{admin}'}}
identity:
  jwt:
    - name: corp
      issuer: {ISSUER}
      audience: [{AUDIENCE}]
      jwks: {{file: jwks.json}}
      algorithms: [EdDSA]
      claims: {{name: sub, groups: groups, tags: {{team: team, huawei_user: huawei_user}}}}
  keys: {{file: keys.yaml}}
policies: {{directory: {policies}}}
upstreams:
  - name: emulator
    kind: modelarts
    projects: [{PROJECT}]
    endpoint: http://{emulator}
    region: {REGION}
    account: {ACCOUNT}
    credentials: {{file: cloud.yaml}}
ledger: {{directory: ledger}}
telemetry: {{log: human}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_the_policies_of_the_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let mut found = vec!["attachments.yaml".to_owned(), policy::BUDGETS.to_owned()];
        for directory in ["guardrails", "identity"] {
            for entry in fs::read_dir(root.join(directory)).unwrap() {
                let name = entry.unwrap().file_name();
                found.push(format!("{directory}/{}", name.to_str().unwrap()));
            }
        }
        found.sort();
        assert_eq!(POLICIES.iter().map(|(it, _)| *it).collect::<Vec<_>>(), found);
    }
}
