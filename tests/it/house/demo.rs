//! The demo: what it shows is what happens, and it fits the screen.

use crate::support::http;
use crate::support::world::poll;

use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A demo; dropped, it is stopped.
struct Demo {
    child: Child,
    output: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let output = TempDir::new().unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        let any = "127.0.0.1:0";
        let child = Command::new(env!("CARGO_BIN_EXE_lychgate"))
            .args(["demo", "--gate", any, "--admin", any, "--emulator", any])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Self { child, output }
    }

    fn read(&self, name: &str) -> String {
        let mut text = String::new();
        File::open(self.output.path().join(name)).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// What it printed, once that ends in `end`.
    async fn printed(&self, end: &str) -> String {
        poll(|| Some(self.read("stdout")).filter(|it| it.ends_with(end))).await
    }

    /// A line that tells what happened.
    async fn told(&self, part: &str) -> String {
        let line = || self.read("stderr").lines().find(|it| it.contains(part)).map(str::to_owned);
        poll(line).await
    }

    fn signal(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn each_call_of_the_demo_ends_as_it_says() {
    let demo = Demo::start(&["--format", "json"]);
    let document: Value = serde_json::from_str(&demo.printed("\n}\n").await).unwrap();
    let gate = document["gate"].as_str().unwrap().strip_prefix("http://").unwrap();
    let gate: SocketAddr = gate.parse().unwrap();
    let calls = document["calls"].as_array().unwrap();
    for call in calls {
        let (url, expect) = (call["url"].as_str().unwrap(), &call["expect"]);
        let path = url.split_once(&gate.to_string()).unwrap().1;
        let authorization = call["headers"]["Authorization"].as_str();
        let authorization = authorization.map(|it| format!("Authorization: {it}\r\n"));
        let head = format!(
            "DELETE {path} HTTP/1.1\r\nHost: {gate}\r\n{}\r\n",
            authorization.unwrap_or_default()
        );
        let answer = http::send(gate, head.as_bytes()).await;
        let told = (Value::from(answer.status), Value::from(answer.code()));
        assert_eq!(told, (expect["status"].clone(), expect["error_code"].clone()), "{call}");
        let end = match expect["by"].as_str() {
            Some(by) => format!("by {by}"),
            None => {
                expect["error_code"].as_str().unwrap().strip_prefix("ModelArts.2775").map_or_else(
                    || expect["error_code"].as_str().unwrap().to_owned(),
                    |_| "no such job".to_owned(),
                )
            }
        };
        let line = demo.told(&end).await;
        assert!(line.contains(&format!("  {}  ", expect["status"])), "{line}");
        assert!(line.chars().count() <= 100, "{line}");
    }
    // A line each, and none about files that the demo wrote itself.
    assert_eq!(demo.read("stderr").lines().count(), calls.len(), "{}", demo.read("stderr"));
}

#[tokio::test]
async fn the_demo_fits_a_screen_and_its_shortcuts_work() {
    let mut demo = Demo::start(&[]);
    let screen = demo.printed("removes its files.\n\n").await;
    assert!(screen.lines().count() <= 40, "{}", screen.lines().count());
    for line in screen.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!screen.contains('\u{1b}'), "colours are for terminals");
    let shell = screen.split_whitespace().find(|it| it.ends_with("/demo.sh")).unwrap().to_owned();
    let run = |line: &str| {
        let line = format!(". '{shell}'; {line}");
        let ran = Command::new("sh").args(["-euc", &line]).output().unwrap();
        String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap()
    };
    for line in screen.lines().filter_map(|it| it.strip_prefix("  del ")) {
        let mut words = line.split_whitespace();
        let (who, job, status) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let answer = run(&format!("del {who} {job}"));
        assert!(answer.ends_with(&format!(" {status}\n")), "{who} {job}: {answer}");
    }
    let why = run("why alice nlp-eval-lost");
    assert!(why.contains("corp/alice") && why.contains("denied"), "{why}");
    let shown = run("lychgate audit show \"$DEMO/ledger\"");
    assert!(shown.contains("guardrails/protect#NoProd"), "{shown}");
    demo.signal();
    let ended = poll(|| demo.child.try_wait().unwrap()).await;
    assert!(ended.success());
    assert!(!std::path::Path::new(&shell).exists(), "it takes its files away");
}

/// Somebody's own policies judge, where they are.
#[tokio::test]
async fn the_demo_takes_policies() {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let demo = Demo::start(&["--policies", policies]);
    let screen = demo.printed("removes its files.\n\n").await;
    assert!(screen.contains("del WHO JOB") && !screen.contains("del alice"), "{screen}");
    let shell = screen.split_whitespace().find(|it| it.ends_with("/demo.sh")).unwrap();
    let text = std::fs::read_to_string(shell).unwrap();
    assert!(text.contains(&format!("POLICIES='{policies}'")), "{text}");
}

#[test]
fn ports_that_are_taken_are_told_at_once() {
    let taken: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |at: usize| taken[at].local_addr().unwrap().to_string();
    let ran = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["demo", "--gate", &address(0), "--admin", &address(1), "--emulator", "127.0.0.1:0"])
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{told}");
    for (at, flag) in [(0, "--gate"), (1, "--admin")] {
        let line = told.lines().find(|it| it.contains(&address(at))).unwrap_or_default();
        assert!(line.contains(flag) && line.matches("in use").count() == 1, "{told}");
    }
}
