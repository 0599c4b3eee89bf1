//! Issuers and tokens made for a test, with real keys.

use crate::authn::Moment;
use crate::authn::config::{ClaimPath, Claims, Issuer, Jwks, MAX_LIFETIME};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::{rsa, signature};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The time at which the tokens of [`claims`] are good.
pub(crate) const NOW: i64 = 1_768_478_400;

pub(crate) const ISSUER: &str = "https://id.example/realms/corp";

/// A private key, and the JWK that goes with it.
pub(crate) struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    id: &'static str,
}

static RSA: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let pkcs8 = key.as_der().unwrap();
    // The RSA key itself (PKCS #1) is what follows the 26 bytes that say that it is one.
    EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..])
});

impl Signer {
    /// One RSA key for all tests: making one takes its time.
    pub(crate) fn rsa(id: &'static str, algorithm: Algorithm) -> Self {
        Self { key: RSA.clone(), algorithm, id }
    }

    /// A new key on P-256, for ES256.
    pub(crate) fn p256(id: &'static str) -> Self {
        Self::ec(id, Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// A new key on P-384, for ES384.
    pub(crate) fn p384(id: &'static str) -> Self {
        Self::ec(id, Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(
        id: &'static str,
        algorithm: Algorithm,
        curve: &'static signature::EcdsaSigningAlgorithm,
    ) -> Self {
        let key = signature::EcdsaKeyPair::generate(curve).unwrap();
        let key = EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref());
        Self { key, algorithm, id }
    }

    /// A new Ed25519 key.
    pub(crate) fn ed25519(id: &'static str) -> Self {
        let key = signature::Ed25519KeyPair::generate().unwrap();
        let key = EncodingKey::from_ed_der(key.to_pkcs8v1().unwrap().as_ref());
        Self { key, algorithm: Algorithm::EdDSA, id }
    }

    /// The public key, with `kid` and `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": format!("{:?}", self.algorithm), "kid": self.id})
    }

    /// A token of `claims`.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header().to_string(), &claims.to_string())
    }

    /// A token of any header and payload, signed with this key whatever they say.
    pub(crate) fn token_of(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

pub(crate) fn encode(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// Good claims; the token lives from [`NOW`] for five minutes.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "0c1d",
        "aud": "lychgate",
        "exp": NOW + 300,
        "nbf": NOW,
        "iat": NOW,
        "name": "alice",
        "groups": ["ml-research", "vision"],
        "attributes": {"dept": "d1"},
        "secret": "marker-4711",
    })
}

/// [`claims`] with some of them changed.
pub(crate) fn claims_with(changes: &Value) -> Value {
    with(&claims(), changes)
}

/// An object with some of its members changed; a null removes one.
pub(crate) fn with(object: &Value, changes: &Value) -> Value {
    let mut res = object.clone();
    let object = res.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.remove(name),
            _ => object.insert(name.clone(), value.clone()),
        };
    }
    res
}

pub(crate) fn set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|it| it.jwk()).collect::<Vec<_>>()}).to_string()
}

/// An issuer `corp` that may use every asymmetric algorithm.
pub(crate) fn issuer(jwks: Jwks) -> Issuer {
    use Algorithm::*;
    Issuer {
        name: "corp".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: vec!["lychgate".to_owned(), "gate".to_owned()],
        algorithms: vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA],
        max_lifetime: MAX_LIFETIME,
        jwks,
        claims: Claims {
            name: ClaimPath::dotted("name").unwrap(),
            groups: Some(ClaimPath::dotted("groups").unwrap()),
            tags: [("team".to_owned(), ClaimPath::dotted("attributes.dept").unwrap())].into(),
        },
    }
}

pub(crate) fn at(seconds: i64) -> Moment {
    let now = Timestamp::from_second(seconds).unwrap();
    Moment { now, latest: now }
}
