//! Tokens at a whole gate: the rows of the attack list that a caller can try, keys that change under
//! load, two issuers.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http::{self, Connection};
use crate::support::world::{AUDIENCE, FINISHED, ISSUER, UNKNOWN, World, delete_head};

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::join_all;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use lychgate::clock::Clock;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the issuer writes.
const HEADER: &str = r#"{"alg":"EdDSA","kid":"test"}"#;

/// Claims that are good, but for `changes`; null leaves one out.
fn claims(changes: &Value) -> String {
    let now = Clock::system().now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "groups": [], "iat": now, "exp": now + 3600,
    });
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    claims.to_string()
}

async fn said(world: &World, token: &str) -> (u16, String) {
    let answer = http::send(world.gate, delete_head(token, UNKNOWN).as_bytes()).await;
    (answer.status, answer.code().unwrap_or_default())
}

/// What the cloud says when the token was accepted.
fn passed() -> (u16, String) {
    (400, "ModelArts.2775".to_owned())
}

/// Rows of header, claims, and code of the answer.
fn header_rows() -> Vec<(u32, String, &'static str)> {
    let kid = |kid: &str| json!({"alg": "EdDSA", "kid": kid}).to_string();
    let with = |more: &str| HEADER.replacen('{', &format!("{{{more},"), 1);
    vec![
        (42, r#"{"alg":"none","kid":"test"}"#.to_owned(), "4013"),
        (42, r#"{"alg":"None","kid":"test"}"#.to_owned(), "4013"),
        (42, r#"{"alg":"HS256","kid":"test"}"#.to_owned(), "4013"),
        (42, r#"{"alg":"ES256","kid":"test"}"#.to_owned(), "4013"),
        (46, kid("../../jwks"), "4013"),
        (46, kid("test' OR '1'='1"), "4013"),
        (46, kid(&"k".repeat(4096)), "4013"),
        (47, with(r#""crit":["exp"]"#), "4013"),
        (47, with(r#""b64":false"#), "4013"),
        (47, with(r#""zip":"DEF""#), "4013"),
        (47, with(r#""cty":"JWT""#), "4013"),
        (48, with(r#""alg":"none""#), "4013"),
    ]
}

fn claim_rows() -> Vec<(u32, Value, &'static str)> {
    let now = Clock::system().now().as_second();
    vec![
        (43, json!({"exp": null}), "4013"),
        (43, json!({"exp": (now + 300).to_string()}), "4013"),
        (43, json!({"exp": (now + 300) as f64 + 0.5}), "4013"),
        (43, json!({"exp": 1e30}), "4013"),
        (43, json!({"exp": -1}), "4013"),
        (43, json!({"nbf": "9999999999"}), "4013"),
        (43, json!({"iat": 1.5}), "4013"),
        (44, json!({"aud": null}), "4015"),
        (44, json!({"aud": "other"}), "4015"),
        (44, json!({"aud": ["other"]}), "4015"),
        (44, json!({"aud": [[AUDIENCE]]}), "4013"),
        (44, json!({"aud": {AUDIENCE: true}}), "4013"),
        (44, json!({"iss": format!("{ISSUER}/")}), "4013"),
        (44, json!({"iss": ISSUER.to_uppercase()}), "4013"),
        (44, json!({"iss": [ISSUER]}), "4013"),
        (44, json!({"sub": null}), "4013"),
        // An ID token, and an access token for another client of the same issuer.
        (52, json!({"aud": "my-cli", "azp": AUDIENCE, "nonce": "n"}), "4015"),
        (53, json!({"exp": now - 31}), "4014"),
        (53, json!({"nbf": now + 3600}), "4014"),
        (53, json!({"iat": now + 3600}), "4014"),
    ]
}

/// attacks 42, 43, 44, 46, 47, 48, 52, 53
#[tokio::test]
async fn hostile_tokens_open_nothing() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let good = claims(&json!({}));
    let mut rows = Vec::new();
    for (number, header, code) in header_rows() {
        rows.push((number, world.issuer.sign_text(&header, &good), code));
    }
    for (number, changes, code) in claim_rows() {
        rows.push((number, world.issuer.sign_text(HEADER, &claims(&changes)), code));
    }
    // Wherever such a header leads, the gate does not go there.
    let there = format!("{}/keys", world.emulator.url());
    for name in ["jku", "x5u", "jwk"] {
        let header = json!({"alg": "EdDSA", "kid": "mine", name: there}).to_string();
        rows.push((46, world.issuer.sign_text(&header, &good), "4013"));
    }
    let token = world.issuer.sign_text(HEADER, &good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let deep = format!(r#""x":{}{},"iss""#, "[".repeat(1000), "]".repeat(1000));
    let twice = r#""sub":"root","sub""#;
    rows.extend([
        (42, format!("{signed}."), "4013"),
        (47, format!("{token}.{signature}.{signature}"), "4013"),
        (48, world.issuer.sign_text(HEADER, &good.replace(r#""iss""#, &deep)), "4013"),
        (48, world.issuer.sign_text(HEADER, &good.replace(r#""sub""#, twice)), "4013"),
    ]);
    for (number, token, code) in rows {
        let expected = (401, format!("Lychgate.{code}"));
        assert_eq!(said(&world, &token).await, expected, "{number}: {token}");
    }
    // 46, 48: what does not even fit into a head.
    let many: Vec<_> = (0..10_000).map(|it| format!(r#""c{it}":{it}"#)).collect();
    let many = format!(r#"{},"iss""#, many.join(","));
    for (number, token) in [
        (46, world.issuer.sign_text(&HEADER.replace("test", &"k".repeat(16 << 10)), &good)),
        (48, format!("{token}{}", "A".repeat(32 << 10))),
        (48, world.issuer.sign_text(HEADER, &good.replace(r#""iss""#, &many))),
    ] {
        let expected = (431, "Lychgate.4311".to_owned());
        assert_eq!(said(&world, &token).await, expected, "{number}");
    }
    assert_eq!(world.emulator.counts().all(), 0);
    assert!(world.records("decision").is_empty());
    assert_eq!(said(&world, &token).await, passed(), "the same gate takes a good one");
}

/// A key set with a new key, and maybe the one of `file` as well.
fn another_set(beside: Option<&Value>) -> String {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
    jwk.common.key_id = Some("new".to_owned());
    let mut keys = vec![json!(jwk)];
    keys.extend(beside.cloned());
    json!({ "keys": keys }).to_string()
}

/// attacks 49, 50, 51: a key that is gone ends the tokens that were remembered under it, and what is
/// no key set changes nothing.
#[tokio::test]
async fn a_key_that_is_gone_ends_its_tokens() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let token = world.issuer.sign_text(HEADER, &claims(&json!({})));
    let file = world.directory.path().join("jwks.json");
    let good = fs::read_to_string(&file).unwrap();
    // Who names a key that is not there makes the gate look at the keys: a set that cannot be used
    // leaves it unable to tell, a good one makes it sure.
    let stranger = world.issuer.sign_text(&HEADER.replace("test", "x"), &claims(&json!({})));
    let refused = (401, "Lychgate.4013".to_owned());
    let unsure = (503, "Lychgate.5033".to_owned());
    let secret = BASE64URL_NOPAD.encode(b"secret");
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "test", "k": secret}]}).to_string();
    let sets = ["", "<html>", r#"{"keys":[]}"#, &symmetric];
    assert_eq!(said(&world, &stranger).await, refused);
    for set in sets {
        fs::write(&file, set).unwrap();
        assert_eq!(said(&world, &stranger).await, unsure, "{set}");
        assert_eq!(said(&world, &token).await, passed(), "{set}");
    }
    fs::write(&file, another_set(None)).unwrap();
    assert_eq!(said(&world, &stranger).await, refused);
    assert_eq!(said(&world, &token).await, refused);
    fs::write(&file, good).unwrap();
    assert_eq!(said(&world, &token).await, passed());
}

/// attack 54
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_is_good_on_a_thousand_requests_while_keys_change() {
    const CONNECTIONS: usize = 20;
    const REQUESTS: usize = 50;
    let limits = "limits: {per_principal: {rate: 100000, burst: 100000}}\ntimeouts:";
    let world = World::builder().policies(ALLOW_ALL).config("timeouts:", limits).start().await;
    let token = world.issuer.sign_text(HEADER, &claims(&json!({})));
    let file = world.directory.path().join("jwks.json");
    let key: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let key = key["keys"][0].clone();
    let done = AtomicUsize::new(0);
    let load = async || {
        let mut connection = Connection::open(world.gate).await;
        for at in 0..REQUESTS {
            if at % 10 == 0 {
                // In place, so that half of it may be read.
                fs::write(&file, another_set(Some(&key))).unwrap();
            }
            connection.write(delete_head(&token, UNKNOWN).as_bytes()).await;
            let answer = connection.answer().await.unwrap();
            assert_eq!((answer.status, answer.code().unwrap()), passed());
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    join_all((0..CONNECTIONS).map(|_| load())).await;
    assert_eq!(done.load(Ordering::Relaxed), CONNECTIONS * REQUESTS);
}

/// The same name from two issuers is two principals: one may, the other may not, groups included.
#[tokio::test]
async fn a_name_belongs_to_its_issuer() {
    let other = "    - name: other
      issuer: https://other.example
      audience: [lychgate]
      jwks: {file: jwks.json}
      algorithms: [EdDSA]
      claims: {groups: groups}
  keys: {file: keys.yaml}";
    for to in ["user:corp/alice", "group:corp/ml"] {
        let attachments = format!("- {{to: [{to}], policies: [all]}}\n");
        let policies = [ALLOW_ALL[0], ("attachments.yaml", attachments.as_str())];
        let world = World::builder()
            .policies(&policies)
            .config("  keys: {file: keys.yaml}", other)
            .start()
            .await;
        let of = |issuer: &str| {
            world.issuer.sign_text(HEADER, &claims(&json!({"iss": issuer, "groups": ["ml"]})))
        };
        let [ours, theirs] = [of(ISSUER), of("https://other.example")];
        for token in [&theirs, &ours, &theirs] {
            let answer = http::send(world.gate, delete_head(token, FINISHED).as_bytes()).await;
            match token == &ours {
                true => assert_eq!(answer.status, 202, "{to}"),
                false => {
                    assert_eq!(answer.code().as_deref(), Some("Lychgate.4033"), "{to}");
                    assert!(answer.message().contains("other/alice"), "{}", answer.message());
                }
            }
        }
        let decisions = world.records("decision");
        let said: Vec<_> =
            decisions.iter().map(|it| (&it["source"], &it["principal"], &it["result"])).collect();
        assert_eq!(said.len(), 3);
        assert!(said[0].0 == "other" && said[0].2 == "deny", "{said:?}");
        assert!(said[1].0 == "corp" && said[1].2 == "allow", "{said:?}");
        assert!(said[0].1 != said[1].1, "{said:?}");
    }
}
