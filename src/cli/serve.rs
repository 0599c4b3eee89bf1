//! `lychgate serve`: the gate.

use super::{Exit, process};
use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

use std::path::{Path, PathBuf};

/// Runs the gate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file; `lychgate.example.yaml` shows everything that can stand in it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    super::block_on(serve(&arguments.config))
}

async fn serve(config: &Path) -> Result<Exit, StartError> {
    let shutdown = super::shutdown_signal().map_err(StartError::Signals)?;
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return Ok(super::complain(&error, Exit::Invalid)),
    };
    let clock = Clock::system();
    let log = super::log(&config, &clock)?;
    process::protect_memory();
    let connections_max = process::connections(config.connections_max);
    let config = Config { connections_max, ..config };
    let app = App::start(config, clock).await?;
    telemetry::watch_panics(app.metrics());
    app.metrics().watch_log(log.dropped.clone());
    Ok(Exit::of(app.run(shutdown).await))
}
