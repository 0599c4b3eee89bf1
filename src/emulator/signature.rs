//! Checks a request's signature, written straight down from the documents and from what the
//! official SDKs send, and on purpose sharing nothing with the gate's signer: two readings of one
//! rule that agree are worth more than one reading used twice.
//!
//! SDK-HMAC-SHA256 and V11-HMAC-SHA256. The service decodes the whole path first and splits it
//! afterwards, so `%2F` and `/` sign alike.

use aws_lc_rs::{constant_time, digest, hmac};
use data_encoding::HEXLOWER;

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The method, as written on the wire.
    pub method: &'a str,
    /// Path and query, as written on the wire.
    pub target: &'a str,
    /// Names and values in the order of arrival, white space around the values already cut off.
    pub headers: &'a [(String, Vec<u8>)],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The value of the only header called `name` (lower case); `None` when it is missing or
    /// repeated, because no client repeats a header that it signs.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether any header is called `name` (lower case).
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok()
    }
}

/// The parts of an `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The first word.
    pub algorithm: &'a str,
    /// The access key ID.
    pub ak: &'a str,
    /// `yyyymmdd/region/service`; only V11 has one.
    pub scope: Option<&'a str>,
    /// Lower-case names, in the order of the header.
    pub signed_headers: Vec<&'a str>,
    /// Lower-case hex.
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads `ALGORITHM Access=AK, SignedHeaders=a;b, Signature=hex`, for V11 with
    /// `Credential=AK/scope` in place of `Access=AK`. `None` when it is anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (algorithm, rest) = text.split_once(' ')?;
        let mut parts = rest.split(", ");
        let who = parts.next()?;
        let signed_headers = parts.next()?.strip_prefix("SignedHeaders=")?.split(';').collect();
        let signature = parts.next()?.strip_prefix("Signature=")?;
        if parts.next().is_some() {
            return None;
        }
        let (ak, scope) = match algorithm {
            "SDK-HMAC-SHA256" => (who.strip_prefix("Access=")?, None),
            "V11-HMAC-SHA256" => {
                let (ak, scope) = who.strip_prefix("Credential=")?.split_once('/')?;
                (ak, Some(scope))
            }
            _ => return None,
        };
        Some(Self { algorithm, ak, scope, signed_headers, signature })
    }
}

/// Whether `authorization` is what the holder of `sk` would have written on `request`.
#[must_use]
pub fn matches(request: &Received<'_>, authorization: &Authorization<'_>, sk: &str) -> bool {
    let Some(canonical) = canonical_request(request, &authorization.signed_headers) else {
        return false;
    };
    let Some(date) = request.text("x-sdk-date") else {
        return false;
    };
    let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, &canonical).as_ref());
    let algorithm = authorization.algorithm;
    let (key, string_to_sign) = match authorization.scope {
        None => (sk.to_owned(), format!("{algorithm}\n{date}\n{hash}")),
        Some(scope) => (
            derived_key(authorization.ak, sk, scope),
            format!("{algorithm}\n{date}\n{scope}\n{hash}"),
        ),
    };
    let expected = HEXLOWER.encode(&hmac_sha256(key.as_bytes(), string_to_sign.as_bytes()));
    constant_time::verify_slices_are_equal(expected.as_bytes(), authorization.signature.as_bytes())
        .is_ok()
}

/// The text whose hash is signed; `None` when a signed header is not there exactly once.
#[must_use]
pub fn canonical_request(request: &Received<'_>, signed_headers: &[&str]) -> Option<Vec<u8>> {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let mut text = Vec::new();
    text.extend(request.method.to_uppercase().bytes());
    text.push(b'\n');
    text.extend(canonical_path(path).bytes());
    text.push(b'\n');
    text.extend(canonical_query(query).bytes());
    text.push(b'\n');
    let mut names = signed_headers.to_vec();
    names.sort_unstable();
    for name in &names {
        text.extend(name.bytes());
        text.push(b':');
        text.extend(request.header(name)?.trim_ascii());
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend(names.join(";").bytes());
    text.push(b'\n');
    match request.header("x-sdk-content-sha256") {
        Some(stated) => text.extend(stated),
        None => text.extend(
            HEXLOWER.encode(digest::digest(&digest::SHA256, request.body).as_ref()).bytes(),
        ),
    }
    Some(text)
}

fn canonical_path(path: &str) -> String {
    let decoded = decode(path);
    let mut text = String::new();
    for segment in decoded.split(|it| *it == b'/') {
        text.push_str(&encode(segment));
        text.push('/');
    }
    // A path that ends in a slash has an empty last segment, which has just added a second one.
    if decoded.ends_with(b"/") {
        text.pop();
    }
    text
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.join("&")
}

/// Undoes percent-encoding; a `%` without two hex digits stays as it is, and so does `+`.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => nibble(*high).zip(nibble(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// HKDF-SHA256 with the SK as key material and the AK as salt, one block, as lower-case hex: the
/// hex digits, not the bytes, are the key of V11.
fn derived_key(ak: &str, sk: &str, scope: &str) -> String {
    let extracted = hmac_sha256(ak.as_bytes(), sk.as_bytes());
    let mut info = scope.as_bytes().to_vec();
    info.push(1);
    HEXLOWER.encode(&hmac_sha256(&extracted, &info))
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}
