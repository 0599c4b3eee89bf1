//! The outer form of a JSON Web Token (RFC 7515 compact serialisation), before anyone vouches for
//! it.

use crate::object;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// The longest key ID, in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;

/// Header fields that change what a token means, and that the gate does not read.
const REFUSED_FIELDS: [(&str, &str); 5] = [
    ("b64", "its payload is not encoded (b64)"),
    ("crit", "it asks for extensions that must be understood (crit)"),
    ("cty", "it holds another token (cty)"),
    ("enc", "it is encrypted (enc)"),
    ("zip", "it is compressed (zip)"),
];

/// Kinds of JSON Web Tokens that carry an identity; others, such as log-out or security event
/// tokens, are signed by the same issuers with the same keys (RFC 8725 §3.11).
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// A token whose signature has not been looked at: nothing in it is true yet. Keys and addresses
/// that it carries (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) payload: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    /// The signature, still encoded.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes the parts of `token` apart, or says what is wrong with them.
    pub(super) fn parse(token: &'a str) -> Result<Self, &'static str> {
        const SHAPE: &str = "it is not a JSON Web Token: that is three parts with dots in between";
        if !token.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it)) {
            return Err("the token has a blank, a quote or another character that no token has");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(SHAPE)?;
        let (header, payload) = signed.split_once('.').ok_or(SHAPE)?;
        if payload.contains('.') {
            return Err(match token.split('.').count() {
                5 => "the token is encrypted; the gate reads signed ones",
                _ => SHAPE,
            });
        }
        let header =
            decode(header).ok_or("the token's header is not a JSON object in base64url")?;
        for (name, message) in REFUSED_FIELDS {
            if header.contains_key(name) {
                return Err(message);
            }
        }
        let kind = header.get("typ").map(|it| it.as_str().unwrap_or_default());
        if kind.is_some_and(|it| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(it))) {
            return Err("its type (typ) is neither JWT nor at+jwt");
        }
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(|it| it.parse().ok())
            .ok_or("its algorithm (alg) is not known here")?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(it)) if it.len() <= KEY_ID_BYTES_MAX => Some(it.clone()),
            Some(_) => return Err("its key ID (kid) is not a text of at most 256 bytes"),
        };
        let payload = decode(payload).ok_or(
            "the token's payload is not a JSON object in base64url without repeated names",
        )?;
        Ok(Self { algorithm, key_id, payload, signed, signature })
    }
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    object::parse(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}
