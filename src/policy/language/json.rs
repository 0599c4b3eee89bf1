//! Strict JSON with positions: RFC 8259 and nothing more, no field twice, limits on depth and texts.
//!
//! `serde_json` checks the syntax (it refuses control characters, odd white space and lone
//! surrogates); `jsonc-parser` then finds the position of everything and fields that come twice.

use crate::policy::Limits;
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::text::{Nesting, json_fault};

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use std::collections::HashSet;

/// A text and where it stands, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Text {
    pub(in crate::policy) value: String,
    pub(in crate::policy) span: Span,
}

/// A value and where it stands.
#[derive(Debug)]
pub(in crate::policy) struct Node {
    pub(in crate::policy) span: Span,
    pub(in crate::policy) kind: Kind,
}

/// The value.
#[derive(Debug)]
pub(in crate::policy) enum Kind {
    List(Vec<Node>),
    Object(Vec<Field>),
    /// A number, a truth value or null, as written.
    Other(String),
    Text(String),
}

/// A field of an object.
#[derive(Debug)]
pub(in crate::policy) struct Field {
    pub(in crate::policy) name: Text,
    pub(in crate::policy) value: Node,
}

impl Node {
    /// Where a reader looks: of a list or an object the opening bracket.
    pub(in crate::policy) fn head(&self) -> Span {
        match self.kind {
            Kind::List(_) | Kind::Object(_) => self.span.head(),
            Kind::Other(_) | Kind::Text(_) => self.span,
        }
    }
}

/// The one value of a file, or `None` after a complaint that leaves nothing to read.
pub(in crate::policy) fn parse(
    bytes: &[u8],
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Option<Node> {
    let text = text(bytes, limits.document_bytes, findings)?;
    let mut nesting = Nesting::default();
    if let Some(at) = bytes.iter().position(|it| limits.depth < nesting.after(*it)) {
        let message = format!("nested more than {} deep", limits.depth);
        findings.add(Code::TooDeep, Span::new(at, at + 1), message);
        return None;
    }
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let at = offset(text, error.line(), error.column());
        let message = json_fault(&error);
        let hint = "JSON has neither comments nor trailing commas, and quotes every name and text";
        findings.hint(Code::InvalidJson, at, format!("this is not JSON: {message}"), hint);
        return None;
    }
    let options = jsonc_parser::ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed =
        jsonc_parser::parse_to_ast(text, &jsonc_parser::CollectOptions::default(), &options);
    let value = match parsed {
        Ok(it) => it.value?,
        Err(error) => {
            let range = error.range();
            let message = format!("this is not JSON: {}", error.kind());
            findings.add(Code::InvalidJson, Span::new(range.start, range.end), message);
            return None;
        }
    };
    Some(Builder { text, limits, findings }.node(value))
}

/// The text of a file of at most `bytes_max` bytes, or `None` after a complaint.
pub(in crate::policy) fn text<'b>(
    bytes: &'b [u8],
    bytes_max: usize,
    findings: &mut Findings<'_>,
) -> Option<&'b str> {
    if bytes_max < bytes.len() {
        let message = format!("the file is larger than {bytes_max} bytes");
        findings.add(Code::TooLarge, Span::default(), message);
        return None;
    }
    match str::from_utf8(bytes) {
        Ok(it) if it.starts_with('\u{feff}') => {
            let message = "the file starts with a byte order mark";
            findings.hint(Code::ByteOrderMark, Span::new(0, 3), message, "save it without one");
            None
        }
        Ok(it) => Some(it),
        Err(error) => {
            let at = error.valid_up_to();
            let hint = "save it as UTF-8, without a byte order mark";
            findings.hint(Code::NotUtf8, Span::new(at, at + 1), "the file is not UTF-8", hint);
            None
        }
    }
}

/// The character at which `serde_json` stopped; its columns count bytes from 1.
fn offset(text: &str, line: usize, column: usize) -> Span {
    let line_start = match line.checked_sub(2) {
        Some(before) => text.match_indices('\n').nth(before).map_or(0, |(at, _)| at + 1),
        None => 0,
    };
    let mut start = (line_start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let end = text.get(start..).and_then(|it| it.chars().next()).map_or(0, char::len_utf8);
    Span::new(start, start + end)
}

struct Builder<'a, 'f> {
    text: &'a str,
    limits: &'a Limits,
    findings: &'a mut Findings<'f>,
}

impl Builder<'_, '_> {
    fn node(&mut self, value: ast::Value<'_>) -> Node {
        let range = value.range();
        let span = Span::new(range.start, range.end);
        let kind = match value {
            ast::Value::Array(it) => {
                Kind::List(it.elements.into_iter().map(|it| self.node(it)).collect())
            }
            ast::Value::Object(it) => Kind::Object(self.fields(it)),
            ast::Value::StringLit(it) => Kind::Text(self.short(it.value.into_owned(), span)),
            ast::Value::BooleanLit(_) | ast::Value::NullKeyword(_) | ast::Value::NumberLit(_) => {
                Kind::Other(self.text.get(span.start..span.end).unwrap_or_default().to_owned())
            }
        };
        Node { span, kind }
    }

    fn fields(&mut self, object: ast::Object<'_>) -> Vec<Field> {
        let mut names = HashSet::new();
        let mut res = Vec::new();
        for property in object.properties {
            let range = property.name.range();
            let span = Span::new(range.start, range.end);
            let value = self.short(property.name.into_string(), span);
            if !names.insert(value.clone()) {
                let message = format!("`{value}` is here twice");
                let hint = "readers differ in which of the two they take; leave one out";
                self.findings.hint(Code::DuplicateField, span, message, hint);
                continue;
            }
            res.push(Field { name: Text { value, span }, value: self.node(property.value) });
        }
        res
    }

    fn short(&mut self, text: String, span: Span) -> String {
        if self.limits.text_bytes < text.len() {
            let message = format!("a text has at most {} bytes", self.limits.text_bytes);
            self.findings.add(Code::TextTooLong, span.head(), message);
        }
        text
    }
}
