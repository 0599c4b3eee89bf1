//! Who is measured, and the cloud behind it.

use crate::files::Files;
use crate::files::Gate;
use crate::machine;
use crate::machine::Cores;
use crate::pass_through;
use rustix::process::Pid;
use rustix::process::Signal;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Where the cloud listens.
pub(crate) const CLOUD: &str = "127.0.0.1:18400";

/// Where who is measured listens.
pub(crate) const PROXY: &str = "127.0.0.1:18401";

/// Where the gate's admin listener is.
pub(crate) const ADMIN: &str = "127.0.0.1:18402";

/// How long anything may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a process is idle before its memory is looked at.
const IDLE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Hyper,
    Gate,
}

/// A process that listens; it is stopped when dropped.
pub(crate) struct Contestant {
    child: Child,
    ready: Duration,
}

/// Somebody else's answers would be measured otherwise.
pub(crate) fn ports_are_free() -> Result<(), String> {
    for address in [CLOUD, PROXY, ADMIN] {
        let taken = |error| format!("{address} is needed and cannot be had: {error}");
        TcpListener::bind(address).map_err(taken)?;
    }
    Ok(())
}

/// What plays the cloud: it answers every delete with 202, and look-ups with one job's details.
pub(crate) fn cloud(files: &Files) -> Contestant {
    let config = files.put("cloud/nginx.conf", &files.nginx_of_the_cloud());
    let child = start(&mut nginx(&config));
    Contestant::listening(child, CLOUD)
}

impl Contestant {
    pub(crate) fn start(kind: Kind, gate: &Gate, files: &Files, cores: &Cores) -> Self {
        let command = match kind {
            Kind::Nginx => nginx(&files.put("nginx/nginx.conf", &files.nginx())),
            Kind::Haproxy => {
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-q").arg("-f");
                command.arg(files.put("haproxy/haproxy.cfg", &files.haproxy()));
                command
            }
            Kind::Hyper => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args([pass_through::ARGUMENT, PROXY, CLOUD]);
                command
            }
            Kind::Gate => {
                let config = files.gate(gate);
                let mut command = Command::new(&files.binary);
                command.args(["serve", "--config"]).arg(config);
                command
            }
        };
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &cores.first(gate.cores)]).arg(command.get_program());
        pinned.args(command.get_args());
        let child = start(&mut pinned);
        if kind == Kind::Gate { Self::ready(child) } else { Self::listening(child, PROXY) }
    }

    fn listening(child: Child, address: &str) -> Self {
        Self::poll(child, || TcpStream::connect(address).is_ok())
    }

    fn ready(child: Child) -> Self {
        Self::poll(child, || {
            let ask = || {
                let mut stream = TcpStream::connect(ADMIN)?;
                stream.write_all(
                    b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n",
                )?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok::<_, std::io::Error>(answer)
            };
            ask().is_ok_and(|it| it.starts_with("HTTP/1.1 200"))
        })
    }

    fn poll(mut child: Child, is_ready: impl Fn() -> bool) -> Self {
        let start = Instant::now();
        while !is_ready() {
            assert_eq!(child.try_wait().unwrap(), None, "it has ended");
            assert!(start.elapsed() < PATIENCE, "it does not become ready");
            thread::sleep(Duration::from_millis(1));
        }
        let ready = start.elapsed();
        thread::sleep(IDLE);
        Self { child, ready }
    }

    /// The CPU time that it had so far.
    pub(crate) fn cpu(&self) -> Duration {
        machine::cpu(self.child.id())
    }

    /// What the thread had of it that writes a gate's ledger.
    pub(crate) fn ledger_cpu(&self) -> Duration {
        machine::thread_cpu(self.child.id(), "ledger")
    }

    pub(crate) fn memory_mb(&self) -> f64 {
        machine::memory_mb(self.child.id())
    }

    /// From its start until it was ready.
    pub(crate) fn ready_ms(&self) -> f64 {
        self.ready.as_secs_f64() * 1e3
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // nginx has children that only it can stop.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn nginx(config: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(config.parent().unwrap()).arg("-c").arg(config).args(["-e", "stderr"]);
    command
}

fn start(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}
