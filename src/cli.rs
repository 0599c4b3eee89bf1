//! The command line: one module per command. Data goes to stdout, messages to stderr.

#[cfg(feature = "emulator")]
mod demo;
mod serve;

use crate::clock::Clock;
use crate::config;
use crate::config::Config;
use crate::telemetry;

use clap::Parser;
use clap::Subcommand;
use std::error::Error;
use std::future::Future;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::process::ExitCode;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Denied by the policies.
    Denied,
    /// It did not work.
    Failed,
    /// The input is not valid.
    Invalid,
    /// It worked.
    Ok,
    /// The command line is wrong (`EX_USAGE` of sysexits.h).
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Denied => 2,
            Exit::Invalid => 3,
            Exit::Usage => 64,
        })
    }
}

/// A gate in front of Huawei Cloud ModelArts that deletes a training job only after its own policy
/// has said yes.
#[derive(Debug, Parser)]
#[command(name = "lychgate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "emulator")]
    Demo(demo::Arguments),
    Serve(serve::Arguments),
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; they go to stdout and are no mistake.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return if error.print().is_ok() { exit } else { Exit::Failed };
        }
    };
    match arguments.command {
        #[cfg(feature = "emulator")]
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
    }
}

/// Runs `work` on a runtime of its own, and tells why it failed.
fn block_on<E: Error + 'static>(work: impl Future<Output = Result<Exit, E>>) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => return complain(&error, Exit::Failed),
    };
    result.unwrap_or_else(|error| complain(&error, Exit::Failed))
}

/// Starts to log as `config` says; the environment wins.
fn log(config: &Config, clock: &Clock) -> Result<(), telemetry::Error> {
    let mut log = config.telemetry.log.clone();
    if let Some(filter) = config::log_filter() {
        log.filter = filter;
    }
    log.colour = io::stderr().is_terminal();
    telemetry::log_to_stderr(&log, clock)
}

/// Tells `error` with its causes on stderr.
fn complain(error: &(dyn Error + 'static), exit: Exit) -> Exit {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    // Without a stderr there is nobody to tell; the exit code still says it.
    let _ = writeln!(io::stderr(), "{text}");
    exit
}

/// Resolves at SIGTERM or Ctrl-C.
async fn shutdown_signal() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        () = terminated => (),
    }
}
