//! A whole gate on free ports, started from a configuration file as `serve` would start it, with an
//! emulated ModelArts behind it.

use crate::support::binary::{self, Process};
use crate::support::http::{self, Answer};

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lychgate::app::App;
use lychgate::cli::Exit;
use lychgate::clock::Clock;
use lychgate::config::Config;
use lychgate::emulator;
use lychgate::emulator::Emulator;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) const PROJECT: &str = emulator::sample::PROJECT;
pub(crate) const REGION: &str = "cn-north-4";
pub(crate) const ACCOUNT: &str = "123";
pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "lychgate";

/// A job of the sample set that nothing protects, in `pool-vision-1`, alice's own.
pub(crate) const FINISHED: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

/// A job of the sample set with `env=prod`.
pub(crate) const PROTECTED: &str = "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235";

/// A job that the emulator does not know.
pub(crate) const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

pub(crate) const CLOUD_AK: &str = "CLOUDKEY0000000000AA";
pub(crate) const CLOUD_SK: &str = "cloudSecret0000000000000000000000000000A";
pub(crate) const GATEWAY_AK: &str = "GATEWAYKEY00000000AA";
pub(crate) const GATEWAY_SK: &str = "gatewaySecret00000000000000000000000000A";

/// More deletes than a test makes.
const BUDGETS: &str = "budgets: [{name: ample, per: all, deletes: 100000, within: 1h}]";

/// How long anything in a test may take. Far more than it does take, so that a busy machine does
/// not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How to build a [`World`].
pub(crate) struct Builder {
    clock: Clock,
    policies: Vec<(String, String)>,
    ample: bool,
    emulator: Box<dyn FnOnce(&mut emulator::Config)>,
    config: Vec<(String, String)>,
    files: Vec<(String, String)>,
    cloud: Option<String>,
    binary: Option<String>,
}

/// A running gate.
pub(crate) struct World {
    pub(crate) gate: SocketAddr,
    /// Where all data listeners are, but for those on Unix sockets; `gate` is the first.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) emulator: Emulator,
    pub(crate) directory: TempDir,
    pub(crate) issuer: Issuer,
    shutdown: Option<oneshot::Sender<()>>,
    running: JoinHandle<Exit>,
    clock: Clock,
    process: Option<Process>,
}

/// Everything but the gate: its files, and the cloud that they name.
pub(crate) struct Prepared {
    pub(crate) emulator: Emulator,
    pub(crate) directory: TempDir,
    pub(crate) issuer: Issuer,
}

/// Who signs the tokens that the gate takes.
pub(crate) struct Issuer {
    signing: EncodingKey,
    clock: Clock,
}

/// A gate or a forwarder that runs.
pub(crate) struct Running {
    pub(crate) gate: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: oneshot::Sender<()>,
    pub(crate) running: JoinHandle<Exit>,
    pub(crate) process: Option<Process>,
}

impl Running {
    /// Starts a gate from the configuration file in `directory`.
    pub(crate) async fn start(directory: &Path, clock: Clock) -> Self {
        let config = Config::load(&directory.join("lychgate.yaml")).unwrap();
        let app = App::start(config, clock).await.unwrap();
        let (addresses, admin) = (app.addresses(), app.admin_address());
        let (shutdown, signal) = oneshot::channel();
        let ended = app.run(async {
            let _ = signal.await;
        });
        let running = TaskTracker::new().spawn(async { Exit::of(ended.await) });
        let gate = addresses[0];
        Self { gate, addresses, admin, shutdown, running, process: None }
    }

    /// The same with the real binary, after the shell commands `before`.
    async fn start_binary(directory: &Path, before: &str) -> Self {
        let binary::Started { gate, admin, process, child } =
            binary::start(directory, before).await;
        let (shutdown, signal) = oneshot::channel();
        let running = TaskTracker::new().spawn(binary::run(child, process.pid(), signal));
        let (addresses, process) = (vec![gate], Some(process));
        Self { gate, addresses, admin, shutdown, running, process }
    }
}

impl World {
    /// The shipped policies, the sample jobs, the system's clock.
    pub(crate) fn builder() -> Builder {
        Builder {
            clock: Clock::system(),
            policies: shipped_policies(),
            ample: true,
            emulator: Box::new(|_| ()),
            config: Vec::new(),
            files: Vec::new(),
            cloud: None,
            binary: None,
        }
    }

    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn token(&self, name: &str) -> String {
        self.issuer.token(name)
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.issuer.sign(claims)
    }

    /// The head of a delete by `name`, ready to send.
    pub(crate) fn head(&self, name: &str, job: &str) -> String {
        delete_head(&self.token(name), job)
    }

    pub(crate) async fn delete(&self, name: &str, job: &str) -> Answer {
        http::send(self.gate, self.head(name, job).as_bytes()).await
    }

    /// The ledger's records so far, in order.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        read_ledger(self.directory.path())
    }

    /// The records of one kind.
    pub(crate) fn records(&self, kind: &str) -> Vec<Value> {
        self.ledger().into_iter().filter(|it| it["kind"] == kind).collect()
    }

    /// Waits until there are `count` outcomes; they are not awaited by the answer.
    pub(crate) async fn outcomes(&self, count: usize) -> Vec<Value> {
        poll(|| Some(self.records("outcome")).filter(|it| count <= it.len())).await
    }

    /// The gate's process, when it is the real binary.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// What the admin listener's `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let answer = http::send(self.admin, b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        String::from_utf8(answer.body).unwrap()
    }

    /// The status of `/readyz`.
    pub(crate) async fn ready(&self) -> u16 {
        http::send(self.admin, b"GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await.status
    }

    /// Waits until `/metrics` has this line.
    pub(crate) async fn measures(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if metrics.lines().any(|it| it == line) {
                return;
            }
            assert!(Instant::now() < deadline, "{line} is not in\n{metrics}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the gate in good order.
    pub(crate) async fn stop(mut self) -> (Exit, TempDir) {
        let _ = self.shutdown.take().unwrap().send(());
        (self.running.await.unwrap(), self.directory)
    }

    fn new(prepared: Prepared, running: Running, clock: Clock) -> Self {
        let Prepared { emulator, directory, issuer } = prepared;
        let Running { gate, addresses, admin, shutdown, running, process } = running;
        let shutdown = Some(shutdown);
        Self {
            gate,
            addresses,
            admin,
            emulator,
            directory,
            issuer,
            shutdown,
            running,
            clock,
            process,
        }
    }

    /// How a gate ended that was told to stop by a signal.
    pub(crate) async fn stopped(self) -> (Exit, TempDir) {
        // The task that waits for the process waits for this first.
        drop(self.shutdown);
        (self.running.await.unwrap(), self.directory)
    }

    /// Stops the gate in good order and starts another on the same directory. `before` runs while
    /// there is none.
    pub(crate) async fn restart(self, before: impl FnOnce(&Emulator)) -> Self {
        let Self { directory, emulator, issuer, shutdown, running, clock, .. } = self;
        let _ = shutdown.unwrap().send(());
        assert_eq!(running.await.unwrap(), Exit::Ok);
        before(&emulator);
        let running = Running::start(directory.path(), clock.clone()).await;
        Self::new(Prepared { emulator, directory, issuer }, running, clock)
    }
}

impl Issuer {
    /// A token for one of the people of the sample policies.
    pub(crate) fn token(&self, name: &str) -> String {
        let (groups, team): (&[&str], Option<&str>) = match name {
            "alice" => (&["ml-research"], Some("vision")),
            "bob" => (&["nlp"], Some("nlp")),
            "dave" => (&["platform-admins"], None),
            _ => (&[], None),
        };
        let now = self.clock.now().as_second();
        self.sign(&json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": name, "groups": groups, "team": team,
            "huawei_user": name, "iat": now, "exp": now + 3600,
        }))
    }

    /// A token of any texts, signed.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let [header, payload] = [header, payload].map(|it| BASE64URL_NOPAD.encode(it.as_bytes()));
        let signed = format!("{header}.{payload}");
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.signing, Algorithm::EdDSA).unwrap();
        format!("{signed}.{signature}")
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("test".to_owned());
        jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
    }
}

/// The head of a delete with `token`, ready to send.
pub(crate) fn delete_head(token: &str, job: &str) -> String {
    format!(
        "DELETE /v2/{PROJECT}/training-jobs/{job} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

impl Builder {
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces all policies.
    pub(crate) fn policies(mut self, files: &[(&str, &str)]) -> Self {
        self.policies = files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        self
    }

    /// Leaves the budgets as they are where a directory says nothing of them.
    pub(crate) fn default_budgets(mut self) -> Self {
        self.ample = false;
        self
    }

    pub(crate) fn emulator(mut self, change: impl FnOnce(&mut emulator::Config) + 'static) -> Self {
        self.emulator = Box::new(change);
        self
    }

    /// Puts the gate in front of another world's emulator; its own stays idle.
    pub(crate) fn behind(self, other: &World) -> Self {
        self.cloud(&other.emulator.url())
    }

    /// Puts the gate in front of `url`; its own emulator stays idle.
    pub(crate) fn cloud(mut self, url: &str) -> Self {
        self.cloud = Some(url.to_owned());
        self
    }

    /// Puts a file beside the configuration file.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Runs the real binary, after the shell commands `before` (each ends with `;`).
    pub(crate) fn binary(mut self, before: &str) -> Self {
        self.binary = Some(before.to_owned());
        self
    }

    /// Replaces `from` by `to` in the configuration file.
    pub(crate) fn config(mut self, from: &str, to: &str) -> Self {
        self.config.push((from.to_owned(), to.to_owned()));
        self
    }

    pub(crate) async fn start(mut self) -> World {
        let (clock, binary) = (self.clock.clone(), self.binary.take());
        let Prepared { emulator, directory, issuer } = self.prepare().await;
        let running = match binary {
            Some(before) => Running::start_binary(directory.path(), &before).await,
            None => Running::start(directory.path(), clock.clone()).await,
        };
        World::new(Prepared { emulator, directory, issuer }, running, clock)
    }

    /// Writes the files and starts the cloud, but no gate.
    pub(crate) async fn prepare(self) -> Prepared {
        let mut config = emulator::Config::new(vec![emulator::Key {
            ak: CLOUD_AK.to_owned(),
            sk: CLOUD_SK.to_owned(),
            security_token: None,
            projects: vec![PROJECT.to_owned()],
        }]);
        config.clock = self.clock.clone();
        (self.emulator)(&mut config);
        let emulator = Emulator::start(config).await.unwrap();
        for job in emulator::sample::jobs(self.clock.now()) {
            emulator.insert(job);
        }

        let pair = Ed25519KeyPair::generate().unwrap();
        let signing = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some("test".to_owned());

        let directory = TempDir::new().unwrap();
        let put = |name: &str, text: &str| put(directory.path(), name, text);
        if self.ample {
            put("policies/budgets.yaml", BUDGETS);
        }
        for (path, text) in &self.policies {
            put(&format!("policies/{path}"), text);
        }
        for (name, text) in &self.files {
            put(name, text);
        }
        put("jwks.json", &json!({ "keys": [jwk] }).to_string());
        put("cloud.yaml", &format!("ak: {CLOUD_AK}\nsk: {CLOUD_SK}\n"));
        put(
            "keys.yaml",
            &format!(
                "keys:\n  - {{ak: {GATEWAY_AK}, sk: {GATEWAY_SK}, principal: cleanup, groups: [jobs], tags: {{team: vision}}}}\n"
            ),
        );
        let mut text = configuration(&self.cloud.unwrap_or_else(|| emulator.url()));
        for (from, to) in &self.config {
            assert!(text.contains(from.as_str()), "`{from}` is not in the configuration");
            text = text.replace(from, to);
        }
        put("lychgate.yaml", &text);
        Prepared { emulator, directory, issuer: Issuer { signing, clock: self.clock } }
    }
}

fn configuration(emulator: &str) -> String {
    format!(
        "listen:
  - {{address: '127.0.0.1:0'}}
admin: {{address: '127.0.0.1:0'}}
trusted_proxies: []
identity:
  jwt:
    - name: corp
      issuer: {ISSUER}
      audience: [{AUDIENCE}]
      jwks: {{file: jwks.json}}
      algorithms: [EdDSA]
      claims: {{name: sub, groups: groups, tags: {{team: team, huawei_user: huawei_user}}}}
  keys: {{file: keys.yaml}}
policies: {{directory: policies}}
upstreams:
  - name: emulator
    kind: modelarts
    projects: [{PROJECT}]
    endpoint: {emulator}
    region: {REGION}
    account: '{ACCOUNT}'
    credentials: {{file: cloud.yaml}}
ledger: {{directory: ledger}}
timeouts: {{connect: 1s, lookup: 2s, request: 3s, drain: 5s}}
telemetry: {{log: human}}
"
    )
}

pub(crate) fn put(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn shipped_policies() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = vec!["attachments.yaml".to_owned()];
    for directory in ["guardrails", "identity"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let name = entry.unwrap().file_name();
            files.push(format!("{directory}/{}", name.to_str().unwrap()));
        }
    }
    let text = |it: &String| fs::read_to_string(root.join(it)).unwrap();
    files.iter().map(|it| (it.clone(), text(it))).collect()
}

/// The records of the ledger in a world's directory, in order.
pub(crate) fn read_ledger(directory: &Path) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(directory.join("ledger"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "jsonl"))
        .collect();
    files.sort();
    let text: String = files.iter().map(|it| fs::read_to_string(it).unwrap()).collect();
    // A group may be half written while it is read.
    let whole = text.rfind('\n').map_or("", |at| &text[..at]);
    whole.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// Waits until it `holds`; `what` says what does not otherwise.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks until there is an answer.
pub(crate) async fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
