//! Judges an HTTP/2 request as hyper hands it over.
//!
//! Frames, field compression, pseudo-fields, upper-case names and connection-specific fields are
//! judged by `h2`, which resets the stream (RFC 9113 §8.1.1). What is left is what
//! `head` asks of HTTP/1. A fragment in `:path` is cut off below us and cannot be
//! refused; what is judged is the path without it, and that is what is sent.

use crate::exchange::HeadFault;
use crate::route;
use crate::server::head;

use http::request::Parts;
use http::{Method, header};

/// Judges a request; `ended` is whether its head was also its end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(parts: &Parts, ended: bool) -> Result<(), HeadFault> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(HeadFault::Method);
    }
    let upper_case = |it: u8| it.is_ascii_uppercase() || it == b'-';
    if head::METHOD_BYTES_MAX < parts.method.as_str().len()
        || !parts.method.as_str().bytes().all(upper_case)
    {
        return Err(HeadFault::Malformed("the method must be upper-case letters"));
    }
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(HeadFault::Malformed("the scheme must be http or https"));
    }
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    head::target_form(target.as_bytes())?;
    authority(parts)?;
    let takes_body = route::takes_body(parts.method.as_str().as_bytes(), target.as_bytes());
    fields(parts, takes_body)?;
    // `h2` checks that the body is as long as announced.
    match ended || parts.headers.contains_key(header::CONTENT_LENGTH) {
        true => Ok(()),
        false => Err(head::unmeasured(takes_body)),
    }
}

/// Exactly one of `:authority` and `Host`, or both alike (RFC 9113 §8.3.1).
fn authority(parts: &Parts) -> Result<(), HeadFault> {
    let mut hosts = parts.headers.get_all(header::HOST).iter().map(|it| it.as_bytes());
    let host = hosts.next();
    let first = hosts.next().is_none();
    let authority = parts.uri.authority().map(|it| it.as_str().as_bytes());
    let Some(name) = authority.or(host) else {
        return Err(HeadFault::Malformed("neither :authority nor Host"));
    };
    if host.is_some_and(|it| !it.eq_ignore_ascii_case(name)) {
        return Err(HeadFault::Malformed(":authority and Host differ"));
    }
    head::host_field(first, name)
}

fn fields(parts: &Parts, takes_body: bool) -> Result<(), HeadFault> {
    // What the same fields would take in HTTP/1: a colon, a space and CR LF each.
    let bytes: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head::FIELDS_MAX < parts.headers.len() || head::HEAD_BYTES_MAX < bytes {
        return Err(HeadFault::TooLarge);
    }
    let line = |name: &str, value: usize| name.len() + value + 4;
    let mut fields = parts.headers.iter();
    if let Some((name, _)) =
        fields.find(|(name, value)| head::LINE_BYTES_MAX < line(name.as_str(), value.len()))
    {
        return Err(head::field_too_long(name.as_str().as_bytes()));
    }
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(head::unmeasured(takes_body));
    }
    let lengths = parts.headers.get_all(header::CONTENT_LENGTH);
    for (at, value) in lengths.iter().enumerate() {
        head::content_length(at == 0, value.as_bytes(), takes_body)?;
    }
    parts.headers.keys().try_for_each(|it| head::field_name(it.as_str().as_bytes()))
}
