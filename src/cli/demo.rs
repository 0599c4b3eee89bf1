//! `lychgate demo`: the gate in front of an embedded ModelArts emulator, with sample policies,
//! sample jobs, and calls to try. The gate itself is the real one, started from a real
//! configuration file; only what surrounds it is made up.
//!
//! This is one of the two places that print secrets: they are made here and worth nothing
//! elsewhere.

mod call;
mod screen;
mod setup;
mod watch;

use super::paint::Paint;
use super::{Exit, Format};
use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::emulator::{self, Emulator};
use crate::telemetry;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use tracing_subscriber::layer::SubscriberExt;

/// Runs the gate in front of an embedded ModelArts emulator, with sample policies and jobs.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the gate listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8480")]
    gate: SocketAddr,
    /// Where the gate's admin endpoints listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8481")]
    admin: SocketAddr,
    /// Where the emulator listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9480")]
    emulator: SocketAddr,
    /// Policies to try, in place of the demo's own. An edit takes effect at once.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Calls to try, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Addresses(String),
    #[error("the demo's own configuration is refused: {0}")]
    Config(#[from] config::Error),
    #[error("cannot prepare the demo's files")]
    Files(#[from] setup::Error),
    #[error("cannot print the calls")]
    Print(#[from] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    super::block_on(demo(arguments))
}

async fn demo(arguments: &Arguments) -> Result<Exit, Error> {
    let Arguments { gate, admin, emulator, format, .. } = *arguments;
    check_addresses([("--gate", gate), ("--admin", admin), ("--emulator", emulator)])?;
    let clock = Clock::system();
    let secrets = setup::Secrets::mint(clock.now())?;
    let emulator = Emulator::start(emulator::Config {
        address: emulator,
        ..emulator::Config::new(vec![secrets.emulator_key()])
    })
    .await
    .map_err(|error| Error::Addresses(format!("cannot listen on {emulator}: {error}")))?;
    for job in emulator::sample::jobs(clock.now()) {
        emulator.insert(job);
    }
    let files = setup::Files::write(
        &secrets,
        &setup::Addresses { gate, admin, emulator: emulator.address() },
        arguments.policies.as_deref(),
    )?;
    let config = Config::load(&files.config())?;
    let shutdown = super::shutdown_signal().map_err(StartError::Signals)?;
    watch(&emulator, &clock).map_err(StartError::from)?;
    let app = App::start(config, clock).await?;
    telemetry::watch_panics(app.metrics());
    let demo = call::Demo::new(&app, &emulator, &secrets);
    files.put(screen::SHELL, &demo.shell(&files)).map_err(setup::Error::from)?;
    let text = match format {
        Format::Human => demo.human(&files, arguments.policies.is_some(), Paint::of(&io::stdout())),
        Format::Json => format!("{:#}\n", demo.json()),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    drop(stdout);
    // When the terminal closes, the demo ends and removes its files.
    let mut hang_ups = super::HangUps::listen();
    let end = async {
        tokio::select! {
            () = shutdown => (),
            () = hang_ups.next() => (),
        }
    };
    let exit = Exit::of(app.run(end).await);
    emulator.stop().await;
    Ok(exit)
}

/// Prints what happens in the gate, for people.
fn watch(emulator: &Emulator, clock: &Clock) -> Result<(), telemetry::Error> {
    let jobs = emulator.jobs();
    let jobs = jobs.iter().map(|it| (it.id().to_owned(), call::name_of(it))).collect();
    let watch = watch::Watch { clock: clock.clone(), paint: Paint::of(&io::stderr()), jobs };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(watch))
        .map_err(|_| telemetry::Error::AlreadySet)
}

/// A port in use is the likeliest mishap here: all of them are reported at once, each with the
/// option that avoids it.
fn check_addresses(wanted: [(&str, SocketAddr); 3]) -> Result<(), Error> {
    let mut told = String::new();
    for (flag, address) in wanted {
        // The gate's tokens and keys are on the screen, so nobody else may reach it.
        let why = match address.ip().is_loopback() {
            true => TcpListener::bind(address).err().map(|it| it.to_string()),
            false => Some("the demo is for loopback addresses only".to_owned()),
        };
        if let Some(why) = why {
            let line = if told.is_empty() { "" } else { "\n" };
            let _ =
                write!(told, "{line}cannot listen on {address}: {why}; choose another with {flag}");
        }
    }
    if told.is_empty() { Ok(()) } else { Err(Error::Addresses(told)) }
}
