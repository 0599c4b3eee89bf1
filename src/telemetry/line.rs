//! One event → one line, as JSON or for people.

use super::text;
use crate::clock::Clock;
use crate::text::chain;

use std::fmt;
use std::fmt::Write;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time LEVEL message key=value …`.
    #[default]
    Human,
    /// One JSON object.
    Json,
}

/// Writes events as lines.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) clock: Clock,
    /// Colour the level.
    pub(super) colour: bool,
}

impl<S> FormatEvent<S, Fields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, Fields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let time = self.clock.now();
        let metadata = event.metadata();
        let level = *metadata.level();
        match self.format {
            Format::Human => {
                write!(out, "{time:.3} ")?;
                self.write_level(&mut out, level)?;
            }
            Format::Json => {
                write!(out, "{{\"time\":\"{time:.6}\",\"level\":\"{}\"", name(level))?;
                out.write_str(",\"target\":")?;
                text::json(&mut out, metadata.target())?;
            }
        }
        let mut message = FieldWriter::new(self.format, Part::Message, &mut out);
        event.record(&mut message);
        message.result?;
        let mut fields = FieldWriter::new(self.format, Part::Fields, &mut out);
        event.record(&mut fields);
        fields.result?;
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>() {
                out.write_str(&fields.fields)?;
            }
        }
        out.write_str(match self.format {
            Format::Human => "\n",
            Format::Json => "}\n",
        })
    }
}

impl Lines {
    fn write_level(&self, out: &mut Writer<'_>, level: Level) -> fmt::Result {
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        match self.colour {
            true => write!(out, "\u{1b}[{colour}m{:>5}\u{1b}[0m", name(level)),
            false => write!(out, "{:>5}", name(level)),
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Writes the fields of a span, ready to be appended to the lines of its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields(pub(super) Format);

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'writer>, fields: R) -> fmt::Result {
        let mut writer = FieldWriter::new(self.0, Part::Fields, &mut out);
        fields.record(&mut writer);
        writer.result
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Fields,
    Message,
}

/// Writes either the message of an event or everything else.
struct FieldWriter<'a> {
    format: Format,
    part: Part,
    out: &'a mut dyn Write,
    result: fmt::Result,
}

impl<'a> FieldWriter<'a> {
    fn new(format: Format, part: Part, out: &'a mut dyn Write) -> Self {
        Self { format, part, out, result: Ok(()) }
    }

    /// The field belongs to the part that is written now.
    fn wants(&self, field: &Field) -> bool {
        self.result.is_ok() && (field.name() == "message") == (self.part == Part::Message)
    }

    fn write(&mut self, field: &Field, value: &dyn Fn(&mut dyn Write) -> fmt::Result) {
        if !self.wants(field) {
            return;
        }
        // Field names are literals of this program and of its libraries.
        self.result = match self.format {
            Format::Human => write!(self.out, " {}=", field.name()),
            Format::Json => write!(self.out, ",\"{}\":", field.name()),
        }
        .and_then(|()| value(self.out));
    }

    fn write_text(&mut self, field: &Field, value: &str) {
        match (self.part, self.format) {
            _ if !self.wants(field) => (),
            (Part::Message, Format::Human) => {
                self.result = self.out.write_char(' ').and_then(|()| text::prose(self.out, value));
            }
            (_, Format::Human) => self.write(field, &|out| text::word(out, value)),
            (_, Format::Json) => self.write(field, &|out| text::json(out, value)),
        }
    }
}

impl Visit for FieldWriter<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, &|out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.write(field, &|out| write!(out, "{value}")),
            // JSON has no infinities.
            false => self.write_text(field, &value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &|out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &|out| write!(out, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        if !self.wants(field) {
            return;
        }
        self.write_text(field, &chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.wants(field) {
            self.write_text(field, &format!("{value:?}"));
        }
    }
}
