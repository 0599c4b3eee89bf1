//! The body of a batch delete, sent through a whole gate to an emulated cloud: whatever the bytes are,
//! each delete that the cloud receives has an allowing record of its own in the ledger, for that job.
//!
//! A byte from 0x80 on stands for the ID of one of the jobs, which no fuzzer would guess: some may be
//! deleted, some are denied, one is not there. A panic in a task of the gate aborts the run.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use lychgate::app::App;
use lychgate::clock::Clock;
use lychgate::config::Config;
use lychgate::emulator::{self, Emulator, Job};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// Jobs 0 to 5 may be deleted, 6 and 7 are denied, 8 is not there.
const JOBS: usize = 9;

const POLICY: &str = r#"{"Version": "5.0", "Statement": [
    {"Effect": "Allow", "Action": ["modelarts:trainJob:delete"],
        "Condition": {"StringEquals": {"modelarts:poolId": "pool-a"}}}]}"#;

const GUARDRAIL: &str = r#"{"Version": "5.0", "Statement": [
    {"Effect": "Deny", "Action": ["*"], "Condition": {"StringEquals": {"g:ResourceTag/env": "prod"}}}]}"#;

static WORLD: OnceLock<Mutex<World>> = OnceLock::new();

struct World {
    emulator: Emulator,
    gate: SocketAddr,
    connection: Option<TcpStream>,
    /// Its one segment, once there is one.
    ledger: Option<BufReader<File>>,
    /// What has been read of a line that is not whole yet.
    line: String,
    /// By job: allowing decisions that no delete was received for.
    allowed: BTreeMap<String, u64>,
    bodies: u64,
    deletes: u64,
    directory: TempDir,
    runtime: Runtime,
}

fuzz_target!(|bytes: &[u8]| {
    let mut world =
        WORLD.get_or_init(|| Mutex::new(World::start())).lock().expect("no panic before");
    world.send(&body(bytes));
});

fn id(number: usize) -> String {
    format!("3faf5c03-aaa1-4cbe-879d-{number:012x}")
}

fn body(bytes: &[u8]) -> Vec<u8> {
    let mut res = Vec::new();
    for byte in bytes {
        match byte {
            0x80.. => res.extend(id(usize::from(byte - 0x80) % JOBS).into_bytes()),
            _ => res.push(*byte),
        }
    }
    res
}

fn job(number: usize) -> Job {
    let pool = if number < 7 { "pool-a" } else { "pool-b" };
    let job = Job::new(PROJECT, &id(number), "n", Timestamp::now()).with_pool(pool);
    if number == 6 { job.with_tag("env", "prod") } else { job }
}

impl World {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let directory = TempDir::new().expect("a directory");
        let (emulator, gate) = runtime.block_on(async {
            let key = emulator::Key {
                ak: "CLOUDKEY0000000000AA".to_owned(),
                sk: "cloudSecret0000000000000000000000000000A".to_owned(),
                security_token: None,
                projects: vec![PROJECT.to_owned()],
            };
            let emulator = Emulator::start(emulator::Config::new(vec![key])).await.expect("a cloud");
            let put = |name: &str, text: &str| {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().expect("a directory")).expect("made");
                fs::write(path, text).expect("written");
            };
            put("cloud.yaml", "ak: CLOUDKEY0000000000AA\nsk: cloudSecret0000000000000000000000000000A\n");
            put("policies/identity/p.json", POLICY);
            put("policies/guardrails/g.json", GUARDRAIL);
            put("policies/attachments.yaml", "- {to: [any], policies: [p]}\n");
            put("policies/budgets.yaml", "budgets: none\n");
            let endpoint = emulator.url();
            put("lychgate.yaml", &format!(
                "listen: [{{address: '127.0.0.1:0', principal: {{name: fuzzer}}}}]
admin: {{address: '127.0.0.1:0'}}
policies: {{directory: policies}}
upstreams:
  - {{name: cloud, kind: modelarts, projects: [{PROJECT}], endpoint: '{endpoint}', region: cn-north-4,
      account: '123', credentials: {{file: cloud.yaml}}}}
ledger: {{directory: ledger, segment: 16GiB}}
limits: {{per_principal: {{rate: 1000000, burst: 1000000}}}}
telemetry: {{level: error}}
"
            ));
            let config = Config::load(&directory.path().join("lychgate.yaml")).expect("a good file");
            let app = App::start(config, Clock::system()).await.expect("a gate");
            let gate = app.addresses()[0];
            tokio::spawn(app.run(std::future::pending()));
            (emulator, gate)
        });
        let (allowed, connection) = (BTreeMap::new(), None);
        Self {
            emulator,
            gate,
            connection,
            ledger: None,
            line: String::new(),
            allowed,
            bodies: 0,
            deletes: 0,
            directory,
            runtime,
        }
    }

    fn send(&mut self, body: &[u8]) {
        for number in 0..JOBS - 1 {
            if !self.emulator.exists(&id(number)) {
                self.emulator.insert(job(number));
            }
        }
        let head = format!(
            "POST /v2/{PROJECT}/training-jobs/batch-delete HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        let status =
            self.exchange(&request).or_else(|| self.exchange(&request)).expect("an answer");
        assert!([202, 400, 403, 409, 413, 502, 503].contains(&status), "{status}");
        self.bodies += 1;
        self.account(status);
        if self.bodies % 10_000 == 0 {
            eprintln!("{} bodies, {} deletes received", self.bodies, self.deletes);
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Option<u16> {
        let mut stream = match self.connection.take() {
            Some(it) => it,
            None => {
                let it = TcpStream::connect(self.gate).expect("a connection");
                it.set_nodelay(true).expect("set");
                it.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
                it
            }
        };
        // A body that is too long is refused by its head, and the connection closes.
        drop(stream.write_all(request));
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap_or("0");
                let length: usize = length.lines().next()?.parse().ok()?;
                if at + 4 + length <= answer.len() {
                    if !head.contains("connection: close") {
                        self.connection = Some(stream);
                    }
                    return head.split(' ').nth(1)?.parse().ok();
                }
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => answer.extend(&piece[..count]),
            }
        }
    }

    /// Every delete that was received takes one allowing record of its job away.
    fn account(&mut self, status: u16) {
        if self.ledger.is_none() {
            let files = fs::read_dir(self.directory.path().join("ledger")).expect("a ledger");
            let mut files = files.filter_map(Result::ok).map(|it| it.path());
            let segment = files.find(|it| it.extension().is_some_and(|it| it == "jsonl"));
            self.ledger = segment.map(|it| BufReader::new(File::open(it).expect("readable")));
        }
        while let Some(ledger) = &mut self.ledger
            && 0 < ledger.read_line(&mut self.line).expect("a ledger")
            && self.line.ends_with('\n')
        {
            let record: Value = serde_json::from_str(&self.line).expect("a record");
            if record["kind"] == "decision" && record["result"] == "allow" {
                assert_eq!(record["action"], "modelarts:trainJob:batchDelete");
                let job = record["job"].as_str().expect("a job").to_owned();
                *self.allowed.entry(job).or_default() += 1;
            }
            self.line.clear();
        }
        let requests = self.emulator.take_requests();
        let deletes: Vec<_> = requests.iter().filter(|it| it.method == "DELETE").collect();
        assert!(
            requests.iter().all(|it| !it.target.ends_with("/batch-delete")),
            "no batch is sent"
        );
        assert!(deletes.is_empty() || [202, 502].contains(&status), "{status}, and sent");
        for delete in deletes {
            self.deletes += 1;
            let job = delete.target.rsplit('/').next().expect("a job");
            let left = self.allowed.get_mut(job).filter(|it| 0 < **it);
            let left = left.unwrap_or_else(|| panic!("{job} was received without a record"));
            *left -= 1;
        }
        // What was allowed and held back by another job of its batch is spent.
        self.allowed.clear();
        for denied in [6, 7] {
            assert!(self.emulator.exists(&id(denied)), "a job that is denied is gone");
        }
        let _ = &self.runtime;
    }
}
