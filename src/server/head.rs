//! Judges the raw bytes of one HTTP/1 request head, before hyper sees them.
//!
//! hyper repairs what it can: it drops a fragment, takes a bare LF for a line end, accepts two `Host`
//! fields, prefers `Transfer-Encoding` to `Content-Length`. Two readers of the same bytes could then
//! disagree, so everything but the strict form of RFC 9112 is refused here, and what hyper would
//! refuse is refused here first, because hyper's own refusals have no body. No bytes are read or
//! changed here; `guard` does the reading.
//!
//! The verdict depends on the bytes alone and not on the pieces they arrive in: it is the first fault
//! in the order of the stream.

use crate::exchange::HeadFault;
use crate::route;

use std::net::{Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

pub use crate::exchange::{
    FIELD_LINE_BYTES_MAX as LINE_BYTES_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX as FIELDS_MAX,
};

/// The longest method, in bytes. The longest registered one (`UPDATEREDIRECTREF`) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// The longest host without its port, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// What an underscore twin resembles. Readers that fold `-` and `_` (CGI, WSGI, many frameworks)
/// take `X_Forwarded_For` for `X-Forwarded-For`, so a name with `_` is refused when it starts with
/// one of these after folding: all `X-` fields, and those that the gate or a proxy acts on.
const TWINS: [&[u8]; 7] = [
    b"content-",
    b"keep-alive",
    b"max-forwards",
    b"proxy-",
    b"transfer-encoding",
    b"user-agent",
    b"x-",
];

/// Progress through one request head.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// HTTP/1.0 is taken too, with or without a `Host`.
    http1_0: bool,
    /// Where the first line begins that is not judged yet.
    line: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    fields: usize,
    /// There is a `Host`, or there need be none.
    host: bool,
    /// There is a `Host`.
    named: bool,
    content_length: bool,
    /// Method and target are of the one route with a body.
    takes_body: bool,
    body: usize,
}

/// Judges one complete request head.
///
/// # Errors
/// The first fault. Bytes after the head, or a head without its empty line, are malformed.
pub fn check(head: &[u8]) -> Result<(), HeadFault> {
    match Scan::default().advance(head)? {
        Some(length) if length == head.len() => Ok(()),
        Some(_) => Err(HeadFault::Malformed("bytes follow the head")),
        None => Err(HeadFault::Malformed("the head ends before its empty line")),
    }
}

impl Scan {
    /// Judges what has arrived: `bytes` starts where the head starts and only grows from call to
    /// call. The head's length once it is complete; bytes after it are not looked at.
    ///
    /// # Errors
    /// The first fault; the scan is of no use afterwards.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        // At once and not at the first line end, so that a TLS client on a cleartext port is not
        // kept waiting.
        if bytes.first().is_some_and(|it| !it.is_ascii_uppercase()) {
            return Err(HeadFault::Malformed("the method must be upper-case letters"));
        }
        loop {
            let end = bytes.len().min(self.line + LINE_BYTES_MAX).min(HEAD_BYTES_MAX);
            let fresh = bytes.get(self.searched..end).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', fresh) else {
                self.searched = end;
                return match end == bytes.len() && end < self.limit() {
                    true => Ok(None),
                    false => Err(self.too_long(bytes)),
                };
            };
            let after = self.searched + at + 1;
            let line = bytes.get(self.line..after).unwrap_or_default();
            let line = line
                .strip_suffix(b"\r\n")
                .ok_or(HeadFault::Malformed("a line ends without CR LF"))?;
            match (self.line, line) {
                (0, _) => self.request_line(line)?,
                (_, []) if self.host => return Ok(Some(after)),
                (_, []) => return Err(HeadFault::Malformed("no Host field")),
                _ => self.field(line)?,
            }
            self.line = after;
            self.searched = after;
        }
    }

    /// For a listener that answers HTTP/1.0 as well, which probes of load balancers speak.
    pub(super) fn with_http1_0() -> Self {
        Self { http1_0: true, ..Self::default() }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        self.takes_body = match request_line(line) {
            Err(HeadFault::Version) if self.http1_0 => {
                let line = line.strip_suffix(b"HTTP/1.0").ok_or(HeadFault::Version)?;
                self.host = true;
                request_line(&[line, b"HTTP/1.1"].concat())?
            }
            judged => judged?,
        };
        Ok(())
    }

    /// How many bytes of body follow the head, once that is complete.
    #[must_use]
    pub fn body(&self) -> usize {
        self.body
    }

    fn limit(&self) -> usize {
        (self.line + LINE_BYTES_MAX).min(HEAD_BYTES_MAX)
    }

    fn too_long(&self, bytes: &[u8]) -> HeadFault {
        let method = bytes.iter().take(METHOD_BYTES_MAX + 1).position(|it| *it == b' ');
        match (self.line, method) {
            (0, Some(_)) => HeadFault::TargetTooLong,
            (0, None) => HeadFault::Malformed("the request line has no method"),
            (line, _) if line + LINE_BYTES_MAX <= HEAD_BYTES_MAX => {
                field_too_long(bytes.get(line..).unwrap_or_default())
            }
            _ => HeadFault::TooLarge,
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        self.fields += 1;
        if FIELDS_MAX < self.fields {
            return Err(HeadFault::TooLarge);
        }
        let (name, value) = name_and_value(line)?;
        if !is_value(value) {
            return Err(HeadFault::Malformed("a control byte in a field value"));
        }
        if name.eq_ignore_ascii_case(b"host") {
            let first = !std::mem::replace(&mut self.named, true);
            self.host = true;
            return host_field(first, value.trim_ascii());
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let first = !std::mem::replace(&mut self.content_length, true);
            self.body = content_length(first, value.trim_ascii(), self.takes_body)?;
            return Ok(());
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(unmeasured(self.takes_body));
        }
        field_name(name)
    }
}

/// The fault of a field that is too long. Only fields that are often long are named.
pub(super) fn field_too_long(line: &[u8]) -> HeadFault {
    let long = ["Authorization", "Cookie", "X-Auth-Token", "X-Forwarded-For"];
    let name = line.split(|it| *it == b':').next().unwrap_or_default();
    let named = long.into_iter().find(|it| it.as_bytes().eq_ignore_ascii_case(name));
    HeadFault::FieldTooLong(named.unwrap_or("a header field"))
}

fn name_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), HeadFault> {
    let name_length = line.iter().take_while(|it| TOKEN.has(**it)).count();
    let (name, rest) = line.split_at(name_length);
    match (name, rest) {
        ([_, ..], [b':', value @ ..]) => Ok((name, value)),
        ([], [b' ' | b'\t', ..]) => Err(HeadFault::Malformed("a folded field line")),
        ([_, ..], []) => Err(HeadFault::Malformed("a field line without a colon")),
        _ => Err(HeadFault::Malformed("a field name must be letters, digits and hyphens")),
    }
}

/// Whether the request has a body.
fn request_line(line: &[u8]) -> Result<bool, HeadFault> {
    let mut parts = line.split(|it| *it == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let method = method.unwrap_or_default();
    let upper_case = |it: &u8| it.is_ascii_uppercase() || *it == b'-';
    if method.is_empty() || METHOD_BYTES_MAX < method.len() || !method.iter().all(upper_case) {
        return Err(HeadFault::Malformed("the method must be upper-case letters"));
    }
    let malformed =
        HeadFault::Malformed("the request line must be a method, a target and HTTP/1.1");
    match (target, version, parts.next()) {
        (Some(_), Some(b"HTTP/1.1"), None) => (),
        (Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(HeadFault::Version);
        }
        // HTTP/0.9, whose request line has no version.
        (Some([b'/', ..]), None, None) => return Err(HeadFault::Version),
        _ => return Err(malformed),
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(HeadFault::Method);
    }
    let target = target.unwrap_or_default();
    target_form(target)?;
    Ok(route::takes_body(method, target))
}

/// Origin-form (RFC 9112 §3.2.1) in the characters of RFC 3986, and braces: an SDK without a project
/// ID sends `{project_id}` as it stands, and the route has a message for that.
pub(super) fn target_form(target: &[u8]) -> Result<(), HeadFault> {
    if !target.starts_with(b"/") {
        return Err(HeadFault::Target("it must be a path that starts with `/`"));
    }
    if route::TARGET_BYTES_MAX < target.len() {
        return Err(HeadFault::TargetTooLong);
    }
    if target.contains(&b'#') {
        return Err(HeadFault::Target("it has a fragment"));
    }
    if !TARGET.has_all(target) {
        return Err(HeadFault::Target("it has characters that RFC 3986 does not allow"));
    }
    Ok(())
}

/// `value` is the field's value without the white space around it; `first` is false for a second
/// field of this name.
pub(super) fn host_field(first: bool, value: &[u8]) -> Result<(), HeadFault> {
    if !first {
        return Err(HeadFault::Malformed("more than one Host field"));
    }
    match is_host_and_port(value) {
        true => Ok(()),
        false => Err(HeadFault::Malformed("the Host field must be a host name and port")),
    }
}

/// Whether a host, with or without port, is a name of the machine's own loopback.
pub(super) fn is_loopback_host(value: &str) -> bool {
    if let Some((address, _)) = value.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|it| it.is_loopback());
    }
    let host = value.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
}

/// How long the body is, on a route that takes one. As [`host_field`].
pub(super) fn content_length(
    first: bool,
    value: &[u8],
    takes_body: bool,
) -> Result<usize, HeadFault> {
    match value {
        _ if !first => Err(HeadFault::Malformed("more than one Content-Length field")),
        b"0" => Ok(0),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            if !takes_body {
                return Err(HeadFault::Body);
            }
            let length = str::from_utf8(value).ok().and_then(|it| it.parse().ok());
            let fits = |it: &usize| *it <= route::batch::BODY_BYTES_MAX;
            length.filter(fits).ok_or(HeadFault::BodyTooLarge)
        }
        _ => Err(HeadFault::Malformed("the Content-Length field must be a number")),
    }
}

/// A body whose length is not told beforehand. Where none is taken, that is what is wrong with it.
pub(super) fn unmeasured(takes_body: bool) -> HeadFault {
    if takes_body { HeadFault::BodyLength } else { HeadFault::Body }
}

/// Refuses the underscore twins of [`TWINS`].
pub(super) fn field_name(name: &[u8]) -> Result<(), HeadFault> {
    let fold = |it: u8| if it == b'_' { b'-' } else { it.to_ascii_lowercase() };
    let twin = |prefix: &&[u8]| {
        prefix.len() <= name.len() && prefix.iter().zip(name).all(|(a, b)| *a == fold(*b))
    };
    match name.contains(&b'_') && TWINS.iter().any(twin) {
        true => Err(HeadFault::Malformed("a field name with `_` that resembles one with `-`")),
        false => Ok(()),
    }
}

fn is_host_and_port(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let (host, port) = match value.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("v6", port),
        Some(_) => return false,
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or("1");
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && HOST.has_all(host.as_bytes())
        && digits.bytes().all(|it| it.is_ascii_digit())
        && digits.parse::<u16>().is_ok_and(|it| it != 0)
        && (port.is_empty() || port.starts_with(':'))
}

/// A set of bytes. Every byte of every head is looked up in one.
struct Bytes([bool; 256]);

/// `tchar` of RFC 9110 §5.6.2.
const TOKEN: Bytes = Bytes::alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// What RFC 3986 allows in a path and a query, and braces.
const TARGET: Bytes = Bytes::alphanumeric_and(b"-._~!$&'()*+,;=:@/?%{}");

const HOST: Bytes = Bytes::alphanumeric_and(b"-._~");

impl Bytes {
    #[expect(clippy::indexing_slicing, reason = "a u8 is below 256, and this runs when compiled")]
    const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut at = 0;
        while at < set.len() {
            set[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    #[expect(clippy::indexing_slicing, reason = "a u8 is below 256")]
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    fn has_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|it| self.has(*it))
    }
}

/// Nothing but what may stand in a field value (RFC 9110 §5.5), `obs-text` included. Without an
/// early end, so that the compiler looks at many bytes at once.
fn is_value(bytes: &[u8]) -> bool {
    let good = |it: u8| (it == b'\t') | ((0x20 <= it) & (it != 0x7f));
    bytes.iter().fold(true, |so_far, it| so_far & good(*it))
}
