//! `lychgate demo`: the gate in front of an embedded ModelArts emulator, with sample policies,
//! sample jobs, and calls to try. The gate itself is the real one, started from a real
//! configuration file; only what surrounds it is made up.
//!
//! This is one of the two places that print secrets: they are minted here and worth nothing
//! elsewhere.

mod call;
mod setup;

use super::{Exit, Format};
use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::emulator::{self, Emulator};
use crate::server::Place;
use crate::telemetry;

use std::io;
use std::io::Write;
use std::net::SocketAddr;

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
    /// Calls to paste, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot listen on {address} ({source}): choose another address with {flag}")]
    Address { address: SocketAddr, flag: &'static str, source: io::Error },
    #[error("the demo's own configuration is refused: {0}")]
    Config(#[from] crate::config::Error),
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
    let Arguments { gate, admin, emulator, format } = *arguments;
    for address in [gate, admin, emulator] {
        // The gate's tokens and keys are on the screen, so nobody else may reach it.
        if !address.ip().is_loopback() {
            let source = io::Error::other("the demo is for loopback addresses only");
            return Err(Error::Address { address, flag: "--gate, --admin, --emulator", source });
        }
    }
    let clock = Clock::system();
    let secrets = setup::Secrets::mint(clock.now())?;
    let emulator = Emulator::start(emulator::Config {
        address: emulator,
        ..emulator::Config::new(vec![secrets.emulator_key()])
    })
    .await
    .map_err(|source| Error::Address { address: emulator, flag: "--emulator", source })?;
    for job in emulator::sample::jobs(clock.now()) {
        emulator.insert(job);
    }
    let files = setup::Files::write(
        &secrets,
        &setup::Addresses { gate, admin, emulator: emulator.address() },
    )?;
    let config = Config::load(&files.config())?;
    let shutdown = super::shutdown_signal().map_err(StartError::Signals)?;
    let _log = super::log(&config, &clock).map_err(StartError::from)?;
    let app = App::start(config, clock).await.map_err(|error| at_flag(error, gate))?;
    telemetry::watch_panics(app.metrics());
    let demo = call::Demo::new(&app, &emulator, &secrets);
    let text = match format {
        Format::Human => demo.human(&files),
        Format::Json => demo.json(),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    drop(stdout);
    // A terminal that closes ends the demo, which then takes its files away.
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

/// A taken port is the likeliest mishap here, so it is told with the flag that cures it.
fn at_flag(error: StartError, gate: SocketAddr) -> Error {
    match error {
        StartError::Listen { place: Place::Tcp(address), source } => {
            let flag = if address == gate { "--gate" } else { "--admin" };
            Error::Address { address, flag, source }
        }
        error => Error::Start(error),
    }
}
