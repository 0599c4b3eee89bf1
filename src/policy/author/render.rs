//! Findings for people: the place, the source line underlined, what to do.

use crate::policy::{Code, Diagnostic, Files, Severity, Span};
use crate::text::escaped;
use crate::yaml::Fault;

use annotate_snippets::{AnnotationKind, Element, Level, Message, Origin, Renderer, Snippet};
use std::fmt::Write;
use std::ops::Range;

/// The longest part of a source line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 2048;

/// Findings as a compiler prints them, one after the other, each ending in an empty line; with ANSI
/// colours if `colored`. `files` are those that the findings are about.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], files: &Files, colored: bool) -> String {
    let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
    let mut res = String::new();
    for it in diagnostics {
        let path = if it.path.is_empty() { "policies" } else { &it.path };
        let place = place(path, files.get(&it.path), it.span);
        let title = level(it.severity()).primary_title(escaped(&it.message)).id(it.code.as_str());
        let group = title.element(place).elements(it.hint.as_deref().map(help));
        // Writing into a String cannot fail.
        let _ = write!(res, "{}\n\n", renderer.render(&[group]));
    }
    res
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Security => Level::WARNING.with_name("security"),
        Severity::Warning => Level::WARNING,
        Severity::Suggestion => Level::INFO.with_name("suggestion"),
    }
}

/// A finding about a file outside a policy directory.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub code: &'a str,
    /// The file.
    pub path: &'a str,
    /// What the file holds; `None` to show the path alone.
    pub bytes: Option<&'a [u8]>,
    /// Where in the file.
    pub span: Span,
    /// What is wrong.
    pub message: &'a str,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

impl<'a> Complaint<'a> {
    /// About a YAML file with these bytes.
    #[must_use]
    pub fn of(fault: &'a Fault, path: &'a str, bytes: &'a [u8]) -> Self {
        let place = fault.place.unwrap_or_default();
        Self {
            severity: Severity::Error,
            code: Code::InvalidYaml.as_str(),
            path,
            bytes: Some(bytes),
            span: Span::new(place.start, place.end),
            message: &fault.message,
            hint: fault.hint.as_deref(),
        }
    }

    /// The complaint in the form of [`render`].
    #[must_use]
    pub fn render(&self, colored: bool) -> String {
        let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
        let title = level(self.severity).primary_title(escaped(self.message)).id(self.code);
        let group = title.element(place(self.path, self.bytes, self.span));
        format!("{}\n\n", renderer.render(&[group.elements(self.hint.map(help))]))
    }
}

fn help(hint: &str) -> Message<'_> {
    Level::HELP.message(escaped(hint))
}

fn place<'a>(path: &'a str, bytes: Option<&'a [u8]>, span: Span) -> Element<'a> {
    let Some(bytes) = bytes else {
        return Origin::path(escaped(path)).into();
    };
    let shown = str::from_utf8(bytes).ok().and_then(|text| {
        let (number, line) = line(text, span.start);
        let shown = text.get(line.clone()).filter(|it| it.len() <= LINE_BYTES_MAX)?;
        let start = shown.floor_char_boundary(span.start.saturating_sub(line.start));
        let end = shown.ceil_char_boundary(span.end.saturating_sub(line.start)).max(start);
        let (before, rest) = shown.split_at_checked(start)?;
        let (marked, after) = rest.split_at_checked(end - start)?;
        let [before, marked, after] = [before, marked, after].map(source);
        let annotation = AnnotationKind::Primary.span(before.len()..before.len() + marked.len());
        let snippet = Snippet::source(before + &marked + &after).path(escaped(path));
        Some(snippet.line_start(number).annotation(annotation))
    });
    match shown {
        Some(it) => it.into(),
        None => {
            let (line, column) = span.line_and_column(bytes);
            Origin::path(escaped(path)).line(line).char_column(column).into()
        }
    }
}

/// A part of a source line, safe to show; tabs stay.
fn source(part: &str) -> String {
    part.split('\t').map(escaped).collect::<Vec<_>>().join("\t")
}

/// The number of the line at this byte, and its range without the line end.
fn line(text: &str, at: usize) -> (usize, Range<usize>) {
    let at = at.min(text.len());
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let start = before.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
    let after = text.as_bytes().get(start..).unwrap_or_default();
    let length = after.iter().position(|it| *it == b'\n').unwrap_or(after.len());
    let length = match after.get(..length).and_then(<[u8]>::last) {
        Some(b'\r') => length - 1,
        _ => length,
    };
    (before.iter().filter(|it| **it == b'\n').count() + 1, start..start + length)
}

impl Diagnostic {
    /// Where it starts: line and column from 1, the column in characters. `files` are those that it
    /// is about.
    #[must_use]
    pub fn line_and_column(&self, files: &Files) -> (usize, usize) {
        self.span.line_and_column(files.get(&self.path).unwrap_or_default())
    }
}

impl Span {
    /// Where it starts in the file with these bytes: line and column from 1, the column in
    /// characters.
    #[must_use]
    pub fn line_and_column(self, bytes: &[u8]) -> (usize, usize) {
        let before = bytes.get(..self.start.min(bytes.len())).unwrap_or_default();
        let start = before.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
        (before.iter().filter(|it| **it == b'\n').count() + 1, column.chars().count() + 1)
    }
}

impl Span {
    /// The word that starts at this line and column, counted from 1, the column in characters.
    #[must_use]
    pub fn word(text: &str, line: u64, column: u64) -> Self {
        let at = |it: u64| usize::try_from(it).unwrap_or(usize::MAX).saturating_sub(1);
        let line: usize = text.split_inclusive('\n').take(at(line)).map(str::len).sum();
        let rest = text.get(line..).unwrap_or_default();
        let start = rest.char_indices().nth(at(column)).map_or(rest.len(), |(it, _)| it);
        let word = rest.get(start..).unwrap_or_default();
        let length = word.find([' ', ',', ']', '}', '\n', '\r']).unwrap_or(word.len());
        Self { start: line + start, end: line + start + length }
    }
}

impl Code {
    /// The table in docs/findings.md.
    #[must_use]
    pub fn table() -> String {
        let mut res = "| code | severity | meaning |\n| --- | --- | --- |\n".to_owned();
        for it in Self::ALL {
            let (name, severity, meaning) = (it.as_str(), it.severity().as_str(), it.meaning());
            // Writing into a String cannot fail.
            let _ = writeln!(res, "| `{name}` | {severity} | {meaning} |");
        }
        res
    }
}
