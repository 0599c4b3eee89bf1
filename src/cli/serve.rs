//! `lychgate serve`: the gate.

use super::{Exit, process};
use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::{Config, Summary};
use crate::reload::Policies;
use crate::telemetry;

use std::path::{Path, PathBuf};

/// Runs the gate until SIGTERM or Ctrl-C. SIGHUP makes it read its policies at once; it checks
/// every other file once a second anyway.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file; `lychgate.example.yaml` shows every setting.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    super::block_on(serve(&arguments.config))
}

async fn serve(path: &Path) -> Result<Exit, StartError> {
    let shutdown = super::shutdown_signal().map_err(StartError::Signals)?;
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return Ok(super::complain(&error, Exit::Invalid)),
    };
    let clock = Clock::system();
    let log = super::log(&config, &clock)?;
    process::protect_memory();
    let connections_max = process::connections(config.connections_max);
    let config = Config { connections_max, ..config };
    let mut hang_ups = super::HangUps::listen();
    let summary = config.summary();
    for remark in config.remarks() {
        tracing::warn!("{remark}");
    }
    let app = App::start(config, clock).await?;
    telemetry::watch_panics(app.metrics());
    app.metrics().watch_log(log.dropped.clone());
    let policies = app.policies().cloned();
    let digest = policies.as_ref().and_then(Policies::current).map(|it| it.digest().to_owned());
    let path = path.display().to_string();
    let Summary { ledger, upstreams, sources } = summary;
    tracing::info!(version = super::version(), path, ledger, upstreams, sources, digest, "started");
    let look = async {
        loop {
            hang_ups.next().await;
            tracing::info!("SIGHUP: looking at the files now");
            if let Some(policies) = &policies {
                policies.look();
            }
        }
    };
    tokio::select! {
        exit = app.run(shutdown) => Ok(Exit::of(exit)),
        never = look => never,
    }
}
