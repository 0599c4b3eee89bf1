//! How many instructions the steps of one judged delete take, and the whole of it, counted by
//! callgrind: `cargo bench --bench instructions` needs valgrind, and exits with 1 if a step takes more
//! than a tenth above benches/instructions.txt. With `-- --save` that file is written anew.
//!
//! A count hardly depends on what else the machine does. Each step is run under callgrind twice,
//! once with more calls: the difference is what the calls took, in all threads.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a benchmark that cannot run fails; its figures are what it is for"
)]

#[expect(dead_code, reason = "what the tests need besides")]
mod support {
    #[path = "../../tests/it/support/binary.rs"]
    pub(crate) mod binary;
    #[path = "../../tests/it/support/http.rs"]
    pub(crate) mod http;
    #[path = "../../tests/it/support/world.rs"]
    pub(crate) mod world;
}
#[expect(dead_code, reason = "what the other benchmarks need besides")]
#[path = "support/world.rs"]
mod organisation;

use crate::support::world::{self, FINISHED, World};

use ::http::{Method, Request};
use lychgate::authn::{Authenticator, Peer};
use lychgate::clock::Clock;
use lychgate::config::{Config, Gate, Role};
use lychgate::ledger::{self, Judged};
use lychgate::metrics::Metrics;
use lychgate::policy::Attributes;
use lychgate::route::{self, JobIds};
use lychgate::secret::Secret;
use lychgate::server::head;
use lychgate::sign::{self, Algorithm, Credential};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::{fs, thread};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Makes so many calls.
type Step = fn(u32);

/// What is counted, as it is called in the baseline, and how many calls of it: so many that what a
/// start takes more or less each time does not show.
const STEPS: [(&str, Step, u32); 7] = [
    ("request head", head, 5_000),
    ("request target", target, 5_000),
    ("cached token", token, 10_000),
    ("decision", decision, 5_000),
    ("record", record, 1_000),
    ("signature", signature, 5_000),
    ("whole request", request, 1_000),
];

/// What part of the calls the first of the two runs has.
const FEW: u32 = 10;

/// How much above the baseline is too much.
const RISE_MAX: f64 = 1.1;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let save = match *arguments {
        ["run", name, calls] => {
            let (_, step, _) = STEPS.iter().find(|(it, ..)| *it == name).expect("a step");
            step(calls.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        ["--save"] => true,
        [] => false,
        _ => panic!("no such arguments: {arguments:?}"),
    };
    let baseline = baseline();
    let (mut text, mut risen) = (String::new(), false);
    for (name, _, calls) in STEPS {
        let count = per_call(name, calls);
        writeln!(text, "{count:>7} {name}").unwrap();
        // What is new has none yet, and is too much until one is saved.
        let before = baseline.get(name).copied().unwrap_or_default();
        let ratio = f64::from(count) / f64::from(before);
        risen |= RISE_MAX < ratio;
        println!("{count:>7} instructions, {ratio:.3} times the baseline: {name}");
    }
    if save {
        fs::write(BASELINE, text).unwrap();
    } else if risen {
        println!("too many: make it cheaper, or say why it costs more and save a new baseline");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn baseline() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(BASELINE).unwrap_or_default();
    let line = |it: &str| {
        let (count, name) = it.trim_start().split_once(' ').unwrap();
        (name.to_owned(), count.parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn per_call(name: &str, calls: u32) -> u32 {
    let [few, many] = [calls / FEW, calls].map(|calls| counted(name, calls));
    u32::try_from((many - few) / u64::from(calls - calls / FEW)).unwrap()
}

/// The instructions of a whole run.
fn counted(name: &str, calls: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["run", name, &calls.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}");
    let count = text.lines().find_map(|it| it.split_once("Collected : ")).expect("a count").1;
    count.trim().parse().unwrap()
}

fn head(calls: u32) {
    let head = world::delete_head(&"x".repeat(400), FINISHED);
    for _ in 0..calls {
        head::check(black_box(head.as_bytes())).unwrap();
    }
}

fn target(calls: u32) {
    let target = format!("/v2/{}/training-jobs/{}", organisation::PROJECT, organisation::JOB);
    for _ in 0..calls {
        black_box(route::parse(&Method::DELETE, black_box(&target), JobIds::Uuid)).unwrap();
    }
}

fn decision(calls: u32) {
    let size = organisation::SIZES[0];
    let (set, query) = (organisation::set(size), organisation::query(size));
    let attributes = organisation::questions(size)[0].attributes();
    for _ in 0..calls {
        organisation::decide(&set, &query, &attributes);
    }
}

fn signature(calls: u32) {
    let secret = Secret::new("secret".to_owned());
    let credential = Credential::new("AKEXAMPLE".to_owned(), secret, None).unwrap();
    let request = sign::Request {
        method: &Method::DELETE,
        target: &format!("/v2/{}/training-jobs/{}", organisation::PROJECT, organisation::JOB),
        host: "modelarts.cn-north-4.myhuaweicloud.com",
        project_id: organisation::PROJECT,
        user_agent: "lychgate/0.1.0",
    };
    let now = organisation::query(organisation::ATTACHED).now;
    for _ in 0..calls {
        let algorithm = Algorithm::SdkHmacSha256;
        black_box(sign::sign(black_box(&request), &credential, &algorithm, now)).unwrap();
    }
}

fn token(calls: u32) {
    runtime().block_on(async {
        let prepared = World::builder().prepare().await;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let gate = gate(prepared.directory.path());
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let starting = Authenticator::start(gate.identity, &metrics, &clock, &tasks, &stop);
        let authenticator = starting.await.unwrap();
        let bearer = format!("Bearer {}", prepared.issuer.token("alice"));
        let request = Request::builder().header("authorization", bearer).body(()).unwrap();
        let (head, ()) = request.into_parts();
        let peer =
            Peer { address: None, local: false, secure: true, certificate: None, principal: None };
        let now = Clock::system().now();
        for _ in 0..calls {
            let named = authenticator.authenticate((&head, b""), world::PROJECT, &peer, now).await;
            black_box(named).unwrap();
        }
    });
}

/// With the decision, which a record takes.
fn record(calls: u32) {
    runtime().block_on(async {
        let prepared = World::builder().prepare().await;
        let gate = gate(prepared.directory.path());
        let opened = ledger::open(&gate.ledger, Clock::system(), &Metrics::new()).unwrap();
        let size = organisation::SIZES[0];
        let (set, query) = (Arc::new(organisation::set(size)), organisation::query(size));
        let attributes = Attributes::default();
        for _ in 0..calls {
            let judged = Judged {
                request_id: "0b7f9a3e-8a1f-4a55-9f0e-3a5f6f1f2a10",
                caller_request_id: None,
                trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
                peer: Some([10, 1, 2, 3].into()),
                upstream: "bj4",
                query: &query,
                attributes: &attributes,
                decision: set.evaluate(&query, &attributes),
                policies: &set,
                look_ups: &[],
                unit: None,
                batch: None,
                shadow: None,
            };
            drop(opened.ledger.record(judged).await.unwrap());
        }
        opened.thread.close().await.unwrap();
    });
}

/// A delete by a whole gate, its client and a cloud that does nothing, one after the other.
fn request(calls: u32) {
    let cloud = cloud();
    runtime().block_on(async {
        let limits = "limits: {per_principal: {rate: 1000000, burst: 1000000}}\ntimeouts:";
        let world = World::builder()
            .cloud(&format!("http://{cloud}"))
            .policies(&[
                (
                    "identity/all.json",
                    r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"]}]}"#,
                ),
                ("attachments.yaml", "- {to: [any], policies: [all]}\n"),
            ])
            .config("timeouts:", limits)
            .start()
            .await;
        let head = world.head("alice", FINISHED);
        let mut connection = support::http::Connection::open(world.gate).await;
        for _ in 0..calls {
            connection.write(head.as_bytes()).await;
            assert_eq!(connection.answer().await.unwrap().status, 202);
        }
        world.stop().await;
    });
}

/// Answers whatever comes with 202.
fn cloud() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            thread::spawn(move || {
                for line in BufReader::new(&stream).split(b'\n').map_while(Result::ok) {
                    if line == b"\r" {
                        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
                        (&stream).write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    address
}

/// The checked settings of the gate whose files are in `directory`.
fn gate(directory: &Path) -> Gate {
    match Config::load(&directory.join("lychgate.yaml")).unwrap().role {
        Role::Gate(gate) => *gate,
        Role::Forwarder(_) => panic!("a gate"),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
