//! Findings for people: the place, the source line underlined, what to do.

use crate::policy::{Code, Diagnostic, Files, Severity, Span};
use crate::text::escaped;
use crate::yaml::Fault;

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

/// The longest part of a source line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 2048;

/// Findings as a compiler prints them, one after the other, each ending in an empty line; with ANSI
/// colours if `colored`. `files` are those that the findings are about.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], files: &Files, colored: bool) -> String {
    let complaints = diagnostics.iter().map(|it| Complaint {
        severity: it.severity(),
        code: it.code.as_str(),
        path: if it.path.is_empty() { "policies" } else { &it.path },
        bytes: files.get(&it.path),
        span: it.span,
        message: &it.message,
        hint: it.hint.as_deref(),
    });
    complaints.map(|it| it.render(colored)).collect()
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Security => Level::WARNING.with_name("security"),
        Severity::Warning => Level::WARNING,
        Severity::Suggestion => Level::INFO.with_name("suggestion"),
    }
}

/// A finding about a file, of a policy directory or another.
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
        let help = self.hint.map(|it| Level::HELP.message(escaped(it)));
        format!("{}\n\n", renderer.render(&[group.elements(help)]))
    }
}

fn place<'a>(path: &'a str, bytes: Option<&'a [u8]>, span: Span) -> Element<'a> {
    let Some(bytes) = bytes else {
        return Origin::path(escaped(path)).into();
    };
    let shown = str::from_utf8(bytes).ok().and_then(|text| {
        let (number, first) = line(bytes, span.start);
        let line = text.get(first..)?.split('\n').next()?;
        let shown = line.strip_suffix('\r').unwrap_or(line);
        if LINE_BYTES_MAX < shown.len() {
            return None;
        }
        let start = shown.floor_char_boundary(span.start.saturating_sub(first));
        let end = shown.ceil_char_boundary(span.end.saturating_sub(first)).max(start);
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

/// The number of the line with this byte, and its first byte.
fn line(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or(bytes);
    let first = before.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
    (before.iter().filter(|it| **it == b'\n').count() + 1, first)
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
        let (number, first) = line(bytes, self.start);
        let before = bytes.get(first..self.start.min(bytes.len())).unwrap_or_default();
        (number, String::from_utf8_lossy(before).chars().count() + 1)
    }

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
