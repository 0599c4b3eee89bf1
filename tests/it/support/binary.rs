//! The real binary as a process of its own, for what only a process has: memory, signals, an exit
//! code, what it prints.

use crate::support::world::poll;

use lychgate::cli::Exit;

use rustix::process::{Pid, Signal};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// A gate that runs as a process; killed when its `child` is dropped.
pub(crate) struct Process {
    pid: Pid,
    output: Arc<Mutex<Vec<u8>>>,
}

/// Where it listens, for data and for admin.
pub(crate) struct Started {
    pub(crate) gate: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) process: Process,
    pub(crate) child: Child,
}

/// Starts `serve` on the configuration in `directory`, whose log is for people, after the shell commands `before`.
pub(crate) async fn start(directory: &Path, before: &str) -> Started {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" serve --config lychgate.yaml")])
        .arg(env!("CARGO_BIN_EXE_lychgate"))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let output = Arc::new(Mutex::new(Vec::new()));
    let tasks = TaskTracker::new();
    tasks.spawn(collect(child.stdout.take().unwrap(), Arc::clone(&output)));
    tasks.spawn(collect(child.stderr.take().unwrap(), Arc::clone(&output)));
    let process = Process { pid, output };
    let [admin, gate] = poll(|| {
        let output = process.output();
        let address = |what: &str| {
            let line = output.lines().find(|it| it.contains(what))?;
            line.rsplit_once("address=")?.1.parse().ok()
        };
        Some([address("listening for admin")?, address(" listening address")?])
    })
    .await;
    Started { gate, admin, process, child }
}

async fn collect(mut stream: impl AsyncRead + Unpin, output: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| 0 < count) {
        output.lock().unwrap().append(&mut buffer);
    }
}

/// Ends `child` in good order once `shutdown` says so.
pub(crate) async fn run(mut child: Child, pid: Pid, shutdown: oneshot::Receiver<()>) -> Exit {
    if shutdown.await.is_ok() {
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
    }
    match child.wait().await.unwrap().code() {
        Some(0) => Exit::Ok,
        _ => Exit::Failed,
    }
}

impl Process {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Everything it has printed so far, on both streams.
    pub(crate) fn output(&self) -> String {
        String::from_utf8(self.output.lock().unwrap().clone()).unwrap()
    }

    /// Its resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).unwrap();
    }
}
