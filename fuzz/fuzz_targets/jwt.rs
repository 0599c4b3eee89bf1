//! A token, or header and claims of one, separated by a byte 0xFF and signed with the issuer's key:
//! what is accepted names its issuer, its audience and an end that is a whole number, with the one
//! algorithm of the issuer, and says the same when it comes again.
#![no_main]

use data_encoding::BASE64URL_NOPAD;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::fuzz_target;
use lychgate::authn::{Authenticator, Config, Peer};
use lychgate::authn::config::{ClaimPath, Claims, Issuer, Jwks, MAX_LIFETIME};
use lychgate::clock::Clock;
use lychgate::metrics::Metrics;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::LazyLock;
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ISSUER: &str = "https://id.example";

/// 2026-01-15T12:00:00Z, as the seeds have it.
const NOW: i64 = 1_768_478_400;

/// An Ed25519 key (PKCS #8): an empty frame, and 32 bytes that are the key.
const KEY: [u8; 48] = {
    let mut key = [7; 48];
    let frame = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let mut at = 0;
    while at < frame.len() {
        key[at] = frame[at];
        at += 1;
    }
    key
};

struct World {
    runtime: Runtime,
    authenticator: Authenticator,
    signing: EncodingKey,
    _file: NamedTempFile,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let signing = EncodingKey::from_ed_der(&KEY);
    let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&signing, Algorithm::EdDSA)
        .expect("the key is one");
    jwk.common.key_id = Some("a".to_owned());
    let mut file = NamedTempFile::new().expect("a temporary file");
    write!(file, "{}", json!({ "keys": [jwk] })).expect("a temporary file");
    let claim = |path| ClaimPath::dotted(path).expect("a path");
    let issuer = Issuer {
        name: "corp".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: vec!["lychgate".to_owned()],
        algorithms: vec![Algorithm::EdDSA],
        max_lifetime: MAX_LIFETIME,
        jwks: Jwks::File(file.path().to_owned()),
        claims: Claims {
            name: claim("sub"),
            groups: Some(claim("groups")),
            tags: [("team".to_owned(), claim("a.team"))].into(),
        },
    };
    let config = Config::new(vec![issuer], None).expect("a good configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let authenticator =
        runtime.block_on(Authenticator::start(config, &Metrics::new(), &Clock::system(), &tasks, &stop)).expect("a good file");
    World { runtime, authenticator, signing, _file: file }
});

fuzz_target!(|input: &[u8]| {
    let world = &*WORLD;
    let token = match input.iter().position(|it| *it == 0xFF) {
        None => String::from_utf8_lossy(input).into_owned(),
        Some(at) => {
            let [header, claims] = [&input[..at], &input[at + 1..]];
            let [header, claims] = [header, claims].map(|it| BASE64URL_NOPAD.encode(it));
            let signed = format!("{header}.{claims}");
            let signature =
                jsonwebtoken::crypto::sign(signed.as_bytes(), &world.signing, Algorithm::EdDSA);
            format!("{signed}.{}", signature.expect("a signature"))
        }
    };
    let request = Request::builder().header("authorization", format!("Bearer {token}")).body(());
    let Ok(request) = request else { return };
    let (head, ()) = request.into_parts();
    let now = jiff::Timestamp::from_second(NOW).expect("a time");
    let peer =
        Peer { address: None, local: false, secure: true, certificate: None, principal: None };
    let ask = || {
        let asking = world.authenticator.authenticate((&head, b""), "p", &peer, now);
        world.runtime.block_on(asking).map(|it| it.id().to_owned()).map_err(|it| it.to_string())
    };
    let answer = ask();
    assert_eq!(answer, ask());
    let Ok(id) = answer else { return };

    let mut parts = token.split('.').map(|it| BASE64URL_NOPAD.decode(it.as_bytes()).expect("base64url"));
    let mut part =
        || -> Value { serde_json::from_slice(&parts.next().expect("three parts")).expect("JSON") };
    let (header, claims) = (part(), part());
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(claims["iss"], ISSUER);
    assert!(claims["exp"].as_i64().expect("a whole number") > NOW - 30);
    let audience = &claims["aud"];
    let names = |it: &Value| it == "lychgate";
    assert!(names(audience) || audience.as_array().is_some_and(|it| it.iter().any(names)));
    assert_eq!(id, format!("corp/{}", claims["sub"].as_str().expect("a name")));
});
