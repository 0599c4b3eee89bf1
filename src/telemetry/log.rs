//! The set-up of the log: level, format, destination.

use super::Error;
use super::line::{Fields, Format, Lines};
use crate::clock::Clock;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// How the gate logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What lines look like.
    pub format: Format,
    /// A level (`info`), which is the gate's own while libraries log warnings only, or directives
    /// as in `info,lychgate::upstream=debug`.
    pub filter: String,
    /// Colour the level of [`Format::Human`] lines; for terminals.
    pub colour: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Human, filter: "info".to_owned(), colour: false }
    }
}

/// A subscriber that writes to `writer`.
///
/// # Errors
/// When the filter cannot be read.
pub fn subscriber<W>(
    config: &Config,
    clock: &Clock,
    writer: W,
) -> Result<impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + use<W>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = Lines {
        format: config.format,
        clock: clock.clone(),
        colour: config.colour && config.format == Format::Human,
    };
    let layer = tracing_subscriber::fmt::layer()
        .fmt_fields(Fields(config.format))
        .event_format(lines)
        .with_writer(writer);
    Ok(tracing_subscriber::registry().with(filter(&config.filter)?).with(layer))
}

/// Whether `text` is a level or directives.
///
/// # Errors
/// When it is neither.
pub fn check_filter(text: &str) -> Result<(), Error> {
    filter(text).map(drop)
}

fn filter(text: &str) -> Result<EnvFilter, Error> {
    let error = || Error::Filter(text.to_owned());
    let directives = match level(text) {
        Some(level) => format!("{},lychgate={level}", level.min(LevelFilter::WARN)),
        // The parser would take a misspelt level for the name of a target, and log everything of
        // that.
        None if text.split(',').any(|it| !it.contains('=') && level(it).is_none()) => {
            return Err(error());
        }
        None => text.to_owned(),
    };
    EnvFilter::builder().parse(directives).map_err(|_| error())
}

fn level(text: &str) -> Option<LevelFilter> {
    // The empty word parses as `error`.
    text.parse().ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod kept;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::kept::Kept;
