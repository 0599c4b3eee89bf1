//! `lychgate serve`: the gate.

use super::{Exit, process};
use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;

use std::path::PathBuf;

/// Runs the gate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file; `lychgate.example.yaml` shows everything that can stand in it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return super::complain(&error, Exit::Invalid),
    };
    super::block_on(serve(config))
}

async fn serve(config: Config) -> Result<Exit, StartError> {
    let clock = Clock::system();
    super::log(&config, &clock)?;
    process::protect_memory();
    let connections_max = process::connections(config.connections_max);
    let config = Config { connections_max, ..config };
    let app = App::start(config, clock).await?;
    telemetry::watch_panics(app.metrics());
    Ok(app.run(super::shutdown_signal()).await)
}
