//! The command line: one module per command. Data goes to stdout, messages to stderr.

mod audit;
mod case;
mod check;
mod completions;
#[cfg(feature = "emulator")]
mod demo;
mod diff;
mod explain;
mod health;
mod keys;
mod lockdown;
mod paint;
mod policies;
mod process;
mod replay;
mod serve;
mod sign;
mod test;
mod who_can;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::telemetry;
use crate::text;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::error::Error;
use std::future::Future;
use std::io;
use std::io::Write;
use std::process::ExitCode;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The question has no certain answer.
    CannotSay,
    /// Denied by the policies.
    Denied,
    /// There are differences, none of which allows more.
    Differs,
    /// Two ways to find the answer disagree.
    Disagrees,
    /// The command failed.
    Failed,
    /// The input is not valid.
    Invalid,
    /// The command did what it was asked to.
    Ok,
    /// The command line is wrong (`EX_USAGE` of sysexits.h).
    Usage,
    /// More is allowed than before.
    Widens,
}

impl Exit {
    /// The end of a command that either succeeds or fails.
    #[must_use]
    pub fn of(well: bool) -> Self {
        if well { Self::Ok } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Denied | Exit::Differs => 2,
            Exit::Invalid => 3,
            Exit::Widens => 4,
            Exit::CannotSay => 5,
            Exit::Disagrees => 6,
            Exit::Usage => 64,
        })
    }
}

/// A gate in front of Huawei Cloud ModelArts that deletes a training job only after its own policy
/// has said yes.
#[derive(Debug, Parser)]
#[command(name = "lychgate", version = version(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(audit::Arguments),
    Check(check::Arguments),
    Completions(completions::Arguments),
    #[cfg(feature = "emulator")]
    Demo(demo::Arguments),
    Diff(diff::Arguments),
    Explain(explain::Arguments),
    Health(health::Arguments),
    Keys(keys::Arguments),
    Lockdown(lockdown::Arguments),
    Replay(replay::Arguments),
    Serve(serve::Arguments),
    Sign(sign::Arguments),
    Test(test::Arguments),
    WhoCan(who_can::Arguments),
}

/// What a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// What a command prints that can be a comment of a change too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Human,
    Json,
    Markdown,
}

/// The most steps of a search that has a time limit, which is reached earlier.
const SEARCH_STEPS: u64 = 2_000_000_000;

/// The version, and the commit that `LYCHGATE_COMMIT` named at build time.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("LYCHGATE_COMMIT").filter(|it| !it.is_empty());
        format!("{} (commit {})", env!("CARGO_PKG_VERSION"), commit.unwrap_or("unknown"))
    });
    &VERSION
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` are not mistakes: they go to stdout.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return printed(error.print(), exit);
        }
    };
    match arguments.command {
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        #[cfg(feature = "emulator")]
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Lockdown(arguments) => lockdown::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::WhoCan(arguments) => who_can::run(&arguments),
    }
}

/// Runs `work` on a runtime of its own, and reports why it failed.
fn block_on<E: Error + 'static>(work: impl Future<Output = Result<Exit, E>>) -> Exit {
    let result = match runtime() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => return complain(&error, Exit::Failed),
    };
    result.unwrap_or_else(|error| complain(&error, Exit::Failed))
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Starts logging as `config` says; the environment wins.
fn log(config: &Config, clock: &Clock) -> Result<telemetry::Log, telemetry::Error> {
    let mut log = config.telemetry.log.clone();
    if let Some(filter) = config::log_filter() {
        log.filter = filter;
    }
    log.colour = config::colours(&io::stderr());
    telemetry::log_to_stderr(&log, clock)
}

/// Reports `error` with its causes on stderr.
fn complain(error: &(dyn Error + 'static), exit: Exit) -> Exit {
    let message = format!("error: {}", text::chain(error));
    let lines: Vec<_> = message.lines().map(text::escaped).collect();
    tell(&(lines.join("\n") + "\n"));
    exit
}

/// Writes a message to stderr. Where stderr is closed, the exit code has to do.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes data to stdout.
fn print(text: &str, exit: Exit) -> Exit {
    printed(io::stdout().write_all(text.as_bytes()), exit)
}

/// How a command ends that has printed what it had to say.
fn printed(result: io::Result<()>, exit: Exit) -> Exit {
    match result {
        Ok(()) => exit,
        // The reader of a pipe has what it wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => complain(&error, Exit::Failed),
    }
}

/// Writes data to stdout as one JSON document.
fn print_json(data: &impl Serialize, exit: Exit) -> Exit {
    match serde_json::to_string_pretty(data) {
        Ok(text) => print(&format!("{}\n", text::escaped_json(&text)), exit),
        Err(error) => complain(&error, Exit::Failed),
    }
}

/// `text`, quoted where a shell needs it.
fn quoted(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_-./".contains(it);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text::escaped(text).replace('\'', r"'\''")),
    }
}

/// `1 case`, `2 cases`.
fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// SIGHUP, which makes a gate read its files at once. While this exists, it does not end the
/// process.
struct HangUps(Option<Signal>);

impl HangUps {
    fn listen() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Resolves at SIGHUP.
    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Resolves at SIGTERM or Ctrl-C. Both are caught from the call on, not from the first poll, so
/// that a stop during the start is an orderly one too.
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => (),
            _ = interrupted.recv() => (),
        }
    })
}
