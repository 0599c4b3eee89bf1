//! What happens in the demo's gate, in one short line each instead of log lines for machines.

use crate::cli::paint::Paint;
use crate::clock::Clock;
use crate::text::escaped;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Prints events to stderr.
pub(super) struct Watch {
    pub(super) clock: Clock,
    pub(super) paint: Paint,
    /// ID and name of each job.
    pub(super) jobs: BTreeMap<String, String>,
}

impl<S: Subscriber> Layer<S> for Watch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_ours = event.metadata().target().starts_with("lychgate");
        let line = match fields.get("message") {
            "request" => self.request(&fields),
            message if is_ours || *event.metadata().level() <= Level::WARN => {
                self.other(message, &fields, *event.metadata().level())
            }
            _ => None,
        };
        if let Some(line) = line {
            let time = self.clock.now().strftime("%H:%M:%S");
            // Where stderr is closed, nobody reads it.
            let _ = writeln!(io::stderr(), "{time}  {}", line.trim_end());
        }
    }
}

impl Watch {
    /// The line for a request.
    fn request(&self, fields: &Fields) -> Option<String> {
        let who = match fields.get("principal") {
            "" => "nobody",
            name => name,
        };
        let job = fields.get("job");
        let name = self.jobs.get(job).map_or(job, String::as_str);
        let (status, code) = (fields.get("status"), fields.get("error_code"));
        let why = match (fields.get("decision"), fields.get("statement"), fields.get("identity")) {
            (_, _, identity) if !identity.is_empty() => {
                format!("{}  {code}", identity.replace('_', " "))
            }
            ("allow", "", _) => "allowed".to_owned(),
            (_, "", _) => format!("{}  {code}", fields.get("reason").replace('_', " ")),
            (_, statement, _) => format!("by {statement}"),
        };
        let number = match status.as_bytes().first() {
            Some(b'2') => self.paint.good(status),
            Some(b'5') => self.paint.bad(status),
            _ => self.paint.unsure(status),
        };
        Some(format!("{number}  {who:<12}  {name:<24.24}  {why}"))
    }

    fn other(&self, message: &str, fields: &Fields, level: Level) -> Option<String> {
        let mut line = match level {
            Level::ERROR => self.paint.bad(message),
            Level::WARN => self.paint.unsure(message),
            Level::INFO if message == "policies changed" => message.to_owned(),
            // The screen already says how the gate starts and stops.
            _ => return None,
        };
        for name in ["changed", "first", "path", "error"] {
            let value = fields.get(name);
            if !value.is_empty() {
                let _ = write!(line, "  {value}");
            }
        }
        Some(line)
    }
}

/// The fields of an event, made harmless for a terminal.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// Empty if there is no such field.
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), escaped(value).into_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
