//! The real binary as a process of its own, for what only a process can show: that it is killed,
//! and how it ends.

use crate::support::world::PATIENCE;

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A gate with `log: json`; dropped, it is killed. What it prints is in the file `stdout`.
pub(crate) struct Gate {
    child: Child,
    listening: mpsc::UnboundedReceiver<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// Starts `serve` on the configuration in `directory`. `environment` is added to this process's.
    pub(crate) fn start(directory: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lychgate"))
            .args(["serve", "--config"])
            .arg(directory.join("lychgate.yaml"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("stdout")).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, listening) = mpsc::unbounded_channel();
        let log = Arc::default();
        let stderr = child.stderr.take().unwrap();
        thread::spawn({
            let log = Arc::clone(&log);
            move || follow(stderr, &sender, &log)
        });
        Self { child, listening, log }
    }

    /// Where it listens, once it does.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        let address = timeout(PATIENCE, self.listening.recv()).await;
        address.ok().flatten().unwrap_or_else(|| panic!("it does not listen: {}", self.log()))
    }

    /// Where its admin endpoints are, once they are there.
    pub(crate) async fn admin(&self) -> SocketAddr {
        let find = || {
            let log = self.log();
            let line = log.lines().find(|it| it.contains("listening for admin"))?;
            let event: Value = serde_json::from_str(line).ok()?;
            event["address"].as_str()?.parse().ok()
        };
        crate::support::world::poll(find).await
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub(crate) async fn stop(mut self) -> Option<i32> {
        let signal = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(signal.success());
        self.ended().await
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let ended = crate::support::world::poll(|| self.child.try_wait().unwrap()).await;
        ended.code()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(
    stderr: ChildStderr,
    listening: &mpsc::UnboundedSender<SocketAddr>,
    log: &Mutex<Vec<String>>,
) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["message"] == "listening" {
            let address = event["address"].as_str().unwrap();
            let _ = listening.send(address.parse().unwrap());
        }
        log.lock().unwrap().push(line);
    }
}

/// A library for `LD_PRELOAD`, built into `directory`, that makes disks slow or bad.
pub(crate) fn disk(directory: &Path) -> PathBuf {
    preload(directory, "disk", "tests/it/gate/faults/disk.c")
}

/// The library `name` for `LD_PRELOAD`, built into `directory` from `source`.
pub(crate) fn preload(directory: &Path, name: &str, source: &str) -> PathBuf {
    let shim = directory.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    // The compiler that builds the gate's cryptography.
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl");
    assert!(cc.status().unwrap().success());
    shim
}

/// `lychgate audit verify` on the ledger of a world's directory.
pub(crate) fn verify(directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["audit", "verify"])
        .arg(directory.join("ledger"))
        .output()
        .unwrap()
}
