//! JSON Web Key Sets (RFC 7517): which of an issuer's keys verify which tokens.

use super::token::KEY_ID_BYTES_MAX;
use crate::object;
use crate::text::{escaped, json_fault, suggest};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use std::fmt;

/// The most keys of a set.
const KEYS_MAX: usize = 100;

/// For how many keys the message says why they are left out.
const TOLD_MAX: usize = 5;

/// How much of a key's ID is shown, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The shortest RSA modulus that is trusted, in bits (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;

/// The longest RSA modulus that is worth the time, in bits.
const RSA_BITS_MAX: usize = 8192;

/// The longest RSA exponent that the verifier takes, in bits.
const RSA_EXPONENT_BITS_MAX: usize = 33;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Why an answer cannot be used as a key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// What is written where a key set is needed, and what to write.
    #[error("{0}")]
    Form(String),
    #[error("none of its {0} keys can verify a token of this issuer: {1}")]
    NoKey(usize, String),
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

/// The keys of an issuer that may verify its tokens.
#[derive(Debug, PartialEq)]
pub(super) struct KeySet(Vec<Key>);

/// One public key and what it is good for.
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// The key as it was published, for comparison.
    published: Map<String, Value>,
    decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.published == other.published
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a set holds for a token's header.
#[derive(Debug)]
pub(super) enum KeyLookup<'a> {
    /// No ID given, and several keys would fit.
    Ambiguous,
    /// Keys of that ID; verify with any of them. Never empty.
    Keys(Vec<&'a Key>),
    /// The ID is there, for other algorithms.
    OtherAlgorithm,
    /// No such ID, or no ID and no key that fits.
    Unknown,
}

impl KeySet {
    /// Reads a set, leaving out keys that cannot or should not verify a signature of one of
    /// `allowed`.
    ///
    /// # Errors
    /// When nothing is left.
    pub(super) fn parse(bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, Error> {
        let mut set = object::parse(bytes).map_err(|it| not_json(&it))?;
        let published = match set.remove("keys") {
            Some(Value::Array(them)) => them,
            Some(_) => return Err(form("`keys` must be a list")),
            None if set.contains_key("kty") => {
                return Err(form("this is a key, and a set is needed"));
            }
            None => {
                let near = suggest::nearest("keys", set.keys().map(String::as_str)).map(name);
                let near = near.map(|it| format!(", and there is `{it}`")).unwrap_or_default();
                return Err(form(&format!("`keys` is missing{near}")));
            }
        };
        if KEYS_MAX < published.len() {
            return Err(Error::TooMany);
        }
        let count = published.len();
        let mut keys = Vec::with_capacity(count);
        let mut left_out = Vec::new();
        for (number, it) in (1..).zip(published) {
            let Value::Object(it) = it else {
                return Err(form(&format!("key {number} of the set must be an object")));
            };
            let id = it.get("kid").and_then(Value::as_str).map(name);
            match Key::new(it, allowed) {
                Ok(key) => keys.push(key),
                Err(reason) => left_out.push(match id {
                    Some(id) => format!("`{id}`: {reason}"),
                    None => reason.to_owned(),
                }),
            }
        }
        left_out.sort_unstable();
        left_out.dedup();
        left_out.truncate(TOLD_MAX);
        match keys.is_empty() {
            false => Ok(Self(keys)),
            true if count == 0 => Err(Error::NoKey(0, "the set is empty".to_owned())),
            true => Err(Error::NoKey(count, left_out.join("; "))),
        }
    }

    /// The keys for a token. The algorithm that its header names is one condition among others:
    /// the key's own algorithms decide.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> KeyLookup<'_> {
        let named: Vec<_> =
            self.0.iter().filter(|it| id.is_none() || it.id.as_deref() == id).collect();
        let fitting: Vec<_> =
            named.iter().copied().filter(|it| it.algorithms.contains(&algorithm)).collect();
        match (id, named.len(), fitting.len()) {
            (_, 0, _) | (None, _, 0) => KeyLookup::Unknown,
            (Some(_), _, 0) => KeyLookup::OtherAlgorithm,
            (None, _, 2..) => KeyLookup::Ambiguous,
            _ => KeyLookup::Keys(fitting),
        }
    }
}

fn form(what: &str) -> Error {
    Error::Form(format!(r#"{what}; write {{"keys": [{{"kty": …}}, …]}}"#))
}

/// What is no JSON object, with its place.
fn not_json(error: &serde_json::Error) -> Error {
    let what = json_fault(error);
    match error.line() {
        0 => form(&what),
        line => form(&format!("{line}:{}: {what}", error.column())),
    }
}

/// The beginning of a key's ID.
fn name(id: &str) -> String {
    escaped(&id.chars().take(NAME_CHARS_MAX).collect::<String>()).into_owned()
}

impl Key {
    /// Whether this key made `signature` over `message`.
    pub(super) fn verifies(&self, signature: &str, message: &str, algorithm: Algorithm) -> bool {
        let message = message.as_bytes();
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, algorithm).unwrap_or(false)
    }

    fn new(published: Map<String, Value>, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        if ["d", "k", "p", "q"].iter().any(|it| published.contains_key(*it)) {
            return Err("a key is symmetric, or published with its private part");
        }
        if member(&published, "use")?.is_some_and(|it| it != "sig") {
            return Err("a key is not for signatures (use)");
        }
        let verifies =
            |it: &Value| it.as_array().is_some_and(|it| it.iter().any(|it| it == "verify"));
        if !published.get("key_ops").is_none_or(verifies) {
            return Err("a key is not for verifying (key_ops)");
        }
        let id = member(&published, "kid")?.map(str::to_owned);
        if id.as_ref().is_some_and(|it| KEY_ID_BYTES_MAX < it.len()) {
            return Err("a key ID is longer than 256 bytes");
        }
        let (fitting, decoding) = material(&published)?;
        let declared = member(&published, "alg")?;
        let algorithms: Vec<_> = fitting
            .iter()
            .copied()
            .filter(|it| allowed.contains(it))
            .filter(|it| {
                declared.is_none_or(|text| text.parse().is_ok_and(|alg: Algorithm| alg == *it))
            })
            .collect();
        if algorithms.is_empty() {
            return Err("a key is for algorithms that this issuer may not use");
        }
        Ok(Self { id, algorithms, published, decoding })
    }
}

/// The public key itself, and the algorithms that go with its type.
fn material(
    published: &Map<String, Value>,
) -> Result<(&'static [Algorithm], DecodingKey), &'static str> {
    const BROKEN: &str = "a member of a key is not base64url";
    let must = |name| member(published, name)?.ok_or("a member of a key is missing");
    let point = |length, curve| {
        let (x, y) = (coordinate(must("x")?, length)?, coordinate(must("y")?, length)?);
        let uncompressed = [[4].as_slice(), &x, &y].concat();
        match ParsedPublicKey::new(curve, uncompressed) {
            Ok(_) => Ok((BASE64URL_NOPAD.encode(&x), BASE64URL_NOPAD.encode(&y))),
            Err(_) => Err("a key is not a point of its curve"),
        }
    };
    let curve = member(published, "crv")?;
    let (fitting, key): (&[_], _) = match (must("kty")?, curve) {
        ("RSA", None) => {
            let (n, e) = (number(must("n")?).ok_or(BROKEN)?, number(must("e")?).ok_or(BROKEN)?);
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits(&n)) {
                return Err("an RSA key has less than 2048 or more than 8192 bits");
            }
            // What the verifier would refuse with every token.
            let is_odd = |it: &[u8]| it.last().is_some_and(|it| it % 2 == 1);
            if !is_odd(&n) || !is_odd(&e) || !(2..=RSA_EXPONENT_BITS_MAX).contains(&bits(&e)) {
                return Err(
                    "an RSA key's modulus (n) or exponent (e) is even, or the exponent is 1 or longer than 33 bits",
                );
            }
            (RSA, Ok(DecodingKey::from_rsa_raw_components(&n, &e)))
        }
        ("EC", Some("P-256")) => {
            let (x, y) = point(32, &ECDSA_P256_SHA256_FIXED)?;
            (&[Algorithm::ES256], DecodingKey::from_ec_components(&x, &y))
        }
        ("EC", Some("P-384")) => {
            let (x, y) = point(48, &ECDSA_P384_SHA384_FIXED)?;
            (&[Algorithm::ES384], DecodingKey::from_ec_components(&x, &y))
        }
        ("OKP", Some("Ed25519")) => {
            let x = octets(must("x")?).filter(|it| it.len() == 32);
            let x = x.ok_or("a coordinate has another length than its curve")?;
            if is_of_small_order(&x) {
                return Err("anybody can sign for a key of small order");
            }
            let x = BASE64URL_NOPAD.encode(&x);
            (&[Algorithm::EdDSA], DecodingKey::from_ed_components(&x))
        }
        _ => return Err("the type or curve of a key is not known here"),
    };
    Ok((fitting, key.map_err(|_| BROKEN)?))
}

fn member<'a>(key: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match key.get(name) {
        None => Ok(None),
        Some(Value::String(it)) => Ok(Some(it)),
        Some(_) => Err("a member of a key has a wrong type"),
    }
}

/// What base64url says, padded or not: some publish the padding that RFC 7515 §2 leaves out.
fn octets(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    let is_padded = padding == 0 || (padding <= 2 && text.len().is_multiple_of(4));
    BASE64URL_NOPAD.decode(bare.as_bytes()).ok().filter(|_| is_padded)
}

/// A coordinate in the length of its curve, whether zero octets before it were left out or added.
fn coordinate(text: &str, length: usize) -> Result<Vec<u8>, &'static str> {
    let mut coordinate = number(text).unwrap_or_default();
    let missing = length.checked_sub(coordinate.len());
    let missing = missing.ok_or("a coordinate has another length than its curve")?;
    coordinate.splice(..0, std::iter::repeat_n(0, missing));
    Ok(coordinate)
}

/// A Base64urlUInt (RFC 7518 §2) in its shortest form. Some publish a zero octet before it, which
/// the verifier would refuse with every token. `None` for zero, and for what is not base64url.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut number = octets(text)?;
    let zeros = number.iter().position(|it| *it != 0)?;
    number.drain(..zeros);
    Some(number)
}

/// Whether an Ed25519 key of 32 octets is one of the points whose multiples are few, however it is
/// written: 0, 1, -1 and two others in the place of y, modulo p, with either sign of x.
fn is_of_small_order(key: &[u8]) -> bool {
    const ORDER_8: [&[u8]; 2] = [
        b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
        b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    ];
    let mut y = key.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    match y.as_slice() {
        [0 | 1, rest @ ..] if rest.iter().all(|it| *it == 0) => true,
        [0xec..=0xee, rest @ .., 0x7f] if rest.iter().all(|it| *it == 0xff) => true,
        y => ORDER_8.contains(&y),
    }
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |it| it.leading_zeros());
    8 * number.len() - usize::try_from(zeros).unwrap_or_default()
}

#[cfg(test)]
mod tests;
