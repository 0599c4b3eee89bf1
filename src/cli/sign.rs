//! `lychgate sign --explain`: why a signature is refused.

use super::{Exit, Format};
use crate::authn::keys;
use crate::clock::Clock;
use crate::credentials;
use crate::sign::{self, Authorization, Credential, Explanation, SdkDate};
use crate::text::escaped;

use http::header;
use http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest request or key file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Shows how a request is signed, and where a refused signature differs
///
/// Every stage of SDK-HMAC-SHA256 or V11-HMAC-SHA256 is shown, never a secret or a security token.
///
/// The request is its raw head, as a client, a proxy or a packet trace shows it, and after an empty
/// line its body:
///
///   DELETE /v2/0a1b/training-jobs/3faf5c03-aaa1-4cbe-879d-24b05d997347 HTTP/1.1
///   Host: modelarts.cn-north-4.myhuaweicloud.com
///   Content-Type: application/json
///   X-Sdk-Date: 20260115T120000Z
///   X-Project-Id: 0a1b
///   Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…
///
/// It compares the algorithm, the form, the access key, the signed headers, the date, and then the
/// signature. If only the signature differs, it tries the usual mistakes: another host or port,
/// another content type, a path without its last slash, an unsorted query, another body or method,
/// a secret with a line feed at its end.
///
/// Ends with 0 if the signature is as expected or there is none to compare with, with 1 if it
/// differs, and with 3 if the input cannot be used.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// Explain, which is all that this command does.
    #[arg(long, required = true)]
    explain: bool,
    /// The request, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The key: a credential file of an upstream (`ak`, `sk`, `security_token`), or the gate's file
    /// of gateway keys.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The `Authorization` value to compare with, in place of the request's own.
    #[arg(long, value_name = "VALUE")]
    authorization: Option<String>,
    /// Text, or one JSON document.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{path}: cannot read it")]
    Read { path: String, source: io::Error },
    #[error("{path}: longer than {FILE_BYTES_MAX} bytes")]
    TooLong { path: String },
    #[error("line {line} of the request: {what}")]
    Request { line: usize, what: &'static str },
    #[error("{path}: neither a credential ({credential}) nor gateway keys ({keys})")]
    Key { path: String, credential: String, keys: String },
    #[error("{path}: there is no key `{id}`, which the request is signed with")]
    NoSuchKey { path: String, id: String },
    #[error("{path}: it lists no key")]
    NoKey { path: String },
    #[error("{path}: there are several keys, and the request does not say which one signed it")]
    WhichKey { path: String },
    #[error("the request cannot be signed")]
    Sign(#[from] sign::Error),
}

/// An explanation as `--format json` prints it.
#[derive(Serialize)]
struct Report {
    /// `null` when there is nothing to compare with.
    same: Option<bool>,
    difference: Option<Difference>,
    canonical_request: Option<String>,
    string_to_sign: Option<String>,
    signature: Option<String>,
    /// What a verifier may refuse even if the signature is right.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Difference {
    part: &'static str,
    message: String,
    hints: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let report = match explain(arguments) {
        Ok(report) => report,
        Err(error) => return super::complain(&error, Exit::Invalid),
    };
    let exit = if report.difference.is_some() { Exit::Failed } else { Exit::Ok };
    match arguments.format {
        Format::Human => super::print(&text(&report), exit),
        Format::Json => super::print_json(&report, exit),
    }
}

fn explain(arguments: &Arguments) -> Result<Report, Error> {
    let request = read(&arguments.request)?;
    let (head, body) = parse(&request)?;
    let own = head.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let authorization = arguments
        .authorization
        .as_deref()
        .or(own)
        .map(|it| it.strip_prefix("Authorization:").unwrap_or(it).trim());
    let id = authorization.and_then(|it| Authorization::parse(it).ok());
    let credential = credential(&arguments.key, id.map(|it| it.access_key_id()))?;
    let Explanation { stages, difference } =
        sign::explain(&head, body, authorization, &credential)?;
    let (canonical_request, string_to_sign, signature) = match stages {
        Some(it) => {
            (Some(it.canonical_request), Some(it.string_to_sign), Some(it.signature.to_string()))
        }
        None => (None, None, None),
    };
    Ok(Report {
        same: authorization.map(|_| difference.is_none()),
        difference: difference.map(|it| Difference {
            part: it.part.as_str(),
            message: it.message,
            hints: it.hints,
        }),
        canonical_request,
        string_to_sign,
        signature,
        notes: notes(&head, Clock::system().now()),
    })
}

/// Why the request may be refused although its signature is right: its time, its project.
fn notes(head: &Parts, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    let value = |name| head.headers.get(name).and_then(|it| it.to_str().ok());
    if let Some(date) = value(sign::X_SDK_DATE).and_then(|it| SdkDate::parse(it).ok()) {
        let apart = date.time().duration_since(now).abs();
        if keys::SKEW_MAX < apart {
            notes.push(format!(
                "X-Sdk-Date is {} minutes off this machine's clock; a verifier allows at most {} from its own",
                apart.as_mins(),
                keys::SKEW_MAX.as_mins()
            ));
        }
    }
    let project = head.uri.path().split('/').nth(2);
    if let (Some(header), Some(project)) = (value(sign::X_PROJECT_ID), project)
        && header != project
    {
        notes.push(format!("X-Project-Id is `{header}`, and the path names `{project}`"));
    }
    notes
}

/// The credential of a file, or of its gateway key `id`.
fn credential(path: &Path, id: Option<&str>) -> Result<Credential, Error> {
    let bytes = read(path)?;
    let path = path.display().to_string();
    let credential = match credentials::parse(&bytes) {
        Ok(credential) => return Ok(credential),
        Err(error) => error,
    };
    let keys = match keys::credentials(&bytes) {
        Ok(keys) => keys,
        Err(keys) => return Err(Error::Key { path, credential, keys }),
    };
    let mut keys = keys.into_iter().filter(|it| id.is_none_or(|id| id == it.access_key_id()));
    match (keys.next(), keys.next(), id) {
        (Some(key), None, _) => Ok(key),
        (None, _, Some(id)) => Err(Error::NoSuchKey { path, id: id.to_owned() }),
        (None, ..) => Err(Error::NoKey { path }),
        _ => Err(Error::WhichKey { path }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes),
        _ => File::open(path).and_then(|it| it.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|source| Error::Read { path: name(), source })?;
    match u64::try_from(bytes.len()).is_ok_and(|it| it <= FILE_BYTES_MAX) {
        true => Ok(bytes),
        false => Err(Error::TooLong { path: name() }),
    }
}

/// The head and the body of a pasted request. Line ends are CRLF or LF, as pasting leaves them.
fn parse(request: &[u8]) -> Result<(Parts, &[u8]), Error> {
    let mut rest = request;
    let mut number = 0;
    let mut builder = http::Request::builder();
    loop {
        number += 1;
        let end = rest.iter().position(|it| *it == b'\n');
        let (line, after) = match end {
            Some(end) => {
                (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default())
            }
            None => (rest, [].as_slice()),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let wrong = |what| Error::Request { line: number, what };
        let line = str::from_utf8(line).map_err(|_| wrong("it is not UTF-8"))?;
        rest = after;
        if number == 1 {
            let mut parts = line.split(' ');
            let (Some(method), Some(target), Some(version), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(wrong("write METHOD TARGET HTTP/1.1"));
            };
            if !version.starts_with("HTTP/") {
                return Err(wrong("write METHOD TARGET HTTP/1.1"));
            }
            builder = builder.method(method).uri(target);
        } else if line.is_empty() {
            let request = builder.body(()).map_err(|_| wrong("method or target is malformed"))?;
            return Ok((request.into_parts().0, rest));
        } else {
            let (name, value) = line.split_once(':').ok_or(wrong("write NAME: VALUE"))?;
            let malformed = |_| wrong("the header is malformed");
            let name =
                http::HeaderName::try_from(name).map_err(|_| wrong("the header is malformed"))?;
            let value = http::HeaderValue::from_str(value.trim()).map_err(malformed)?;
            builder = builder.header(name, value);
        }
    }
}

fn text(report: &Report) -> String {
    let mut res = String::new();
    // Writing into a String cannot fail.
    for (name, text) in [
        ("canonical request", &report.canonical_request),
        ("string to sign", &report.string_to_sign),
        ("signature", &report.signature),
    ] {
        let Some(text) = text else { continue };
        let _ = writeln!(res, "{name}:");
        for line in text.split('\n') {
            let _ = match line {
                "" => writeln!(res, "  |"),
                _ => writeln!(res, "  | {}", escaped(line)),
            };
        }
    }
    for note in &report.notes {
        let _ = writeln!(res, "note: {}", escaped(note));
    }
    match (&report.difference, report.same) {
        (Some(Difference { part, message, hints }), _) => {
            let _ = writeln!(res, "differs: {part}: {}", escaped(message));
            for hint in hints {
                let _ = writeln!(res, "  hint: {}", escaped(hint));
            }
        }
        (None, Some(_)) => res.push_str("same: this is the signature that the key makes\n"),
        (None, None) => res.push_str("no Authorization to compare with\n"),
    }
    res
}
