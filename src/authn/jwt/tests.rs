//! Tokens against the rules: attacks 42–54 as far as they concern tokens.

use super::support::*;
use super::*;
use crate::authn::config::{ClaimPath, Jwks};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;
use std::path::Path;
use tempfile::NamedTempFile;

struct World {
    tokens: Tokens,
    tasks: TaskTracker,
    stop: CancellationToken,
    file: NamedTempFile,
}

impl World {
    /// Issuers whose keys are all in one file.
    async fn new(set: &str, change: impl FnOnce(&Path) -> Vec<config::Issuer>) -> Self {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), set).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let tokens =
            Tokens::start(change(file.path()), &Metrics::new(), &Clock::system(), &tasks, &stop)
                .await
                .unwrap();
        Self { tokens, tasks, stop, file }
    }

    async fn corp(signers: &[&Signer]) -> Self {
        Self::new(&set(signers), |path| vec![issuer(Jwks::File(path.to_owned()))]).await
    }

    async fn verify(&self, token: &str) -> Result<Arc<Principal>, Error> {
        self.tokens.verify(token, at(NOW)).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn refused(result: Result<Arc<Principal>, Error>) -> String {
    result.map(|it| it.id().to_owned()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_good_token_names_a_principal() {
    use Algorithm::*;
    let mut signers = vec![Signer::p256("a"), Signer::p384("b"), Signer::ed25519("c")];
    let rsa = [RS256, RS384, RS512, PS256, PS384, PS512];
    for (id, algorithm) in ["d", "e", "f", "g", "h", "i"].into_iter().zip(rsa) {
        signers.push(Signer::rsa(id, algorithm));
    }
    let world = World::corp(&signers.iter().collect::<Vec<_>>()).await;
    for signer in &signers {
        let token = signer.token(&claims());
        for attempt in ["judged", "remembered"] {
            let principal = world.verify(&token).await.unwrap();
            assert_eq!(principal.id(), "corp/alice", "{attempt}");
            assert_eq!(principal.groups(), ["corp/ml-research", "corp/vision"]);
            assert_eq!(*principal.tags(), [("team".to_owned(), "d1".to_owned())].into());
            assert_eq!(principal.method(), crate::policy::Method::Jwt);
            assert!(!format!("{principal:?}").contains("marker-4711"), "only mapped claims leave");
        }
    }
    assert!(world.tokens.can_verify());
    world.end().await;
}

fn header_with(signer: &Signer, changes: &Value) -> String {
    let mut res = signer.header();
    res.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    res.to_string()
}

async fn assert_refused(world: &World, rows: Vec<(&str, String)>) {
    for (what, token) in rows {
        let result = world.verify(&token).await;
        assert!(matches!(result, Err(Error::Token(..))), "{what}: {result:?}");
        assert!(!refused(result).contains("marker-4711"), "{what}");
    }
}

/// Attacks 42, 46, 47
#[tokio::test]
async fn a_header_is_strict() {
    let rsa = Signer::rsa("r", Algorithm::RS256);
    let other = Signer::p256("r");
    let world = World::corp(&[&rsa]).await;
    let payload = claims().to_string();
    let with = |changes: Value| rsa.token_of(&header_with(&rsa, &changes), &payload);
    let none = |name: &str| {
        let header = encode(&json!({"alg": name, "kid": "r"}).to_string());
        format!("{header}.{}.", encode(&payload))
    };
    let public = EncodingKey::from_secret(rsa.jwk()["n"].as_str().unwrap().as_bytes());
    let hmac = |header: &str| {
        let signed = format!("{}.{}", encode(header), encode(&payload));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &public, Algorithm::HS256);
        format!("{signed}.{}", signature.unwrap())
    };
    let rows = vec![
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg NONE", none("NONE")),
        ("HS256 with the public key", hmac(r#"{"alg":"HS256","kid":"r"}"#)),
        ("HS256 said to be RS256", hmac(r#"{"alg":"RS256","kid":"r"}"#)),
        ("another algorithm than signed", with(json!({"alg": "PS256"}))),
        ("another key's algorithm", with(json!({"alg": "ES256"}))),
        ("no algorithm", rsa.token_of(r#"{"kid":"r"}"#, &payload)),
        ("another key of that name", other.token_of(&rsa.header().to_string(), &payload)),
        ("kid is a number", with(json!({"kid": 1}))),
        ("kid is a path", with(json!({"kid": "../../dev/null"}))),
        ("kid is SQL", with(json!({"kid": "r' OR '1'='1"}))),
        ("kid is long", with(json!({"kid": "r".repeat(257)}))),
        ("crit", with(json!({"crit": ["exp"]}))),
        ("b64", with(json!({"b64": false}))),
        ("zip", with(json!({"zip": "DEF"}))),
        ("enc", with(json!({"enc": "A128GCM"}))),
        ("cty", with(json!({"cty": "JWT"}))),
        ("log-out token", with(json!({"typ": "logout+jwt"}))),
        ("typ is a number", with(json!({"typ": 1}))),
        ("header repeats", rsa.token_of(r#"{"alg":"none","alg":"RS256","kid":"r"}"#, &payload)),
    ];
    assert_refused(&world, rows).await;

    // Keys and addresses in the token lead nowhere, neither to a key nor to a request.
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let it = json!({name: {"url": "http://169.254.169.254/"}, "kid": "q"});
        let token = other.token_of(&header_with(&rsa, &it), &payload);
        assert_refused(&world, vec![(name, token)]).await;
    }
    for kind in ["jwt", "at+jwt", "application/at+JWT"] {
        assert!(world.verify(&with(json!({"typ": kind}))).await.is_ok(), "{kind}");
    }
    world.end().await;
}

/// Attacks 39, 47, 48
#[tokio::test]
async fn a_token_is_three_parts_that_say_all_once() {
    let signer = Signer::p256("a");
    let world = World::corp(&[&signer]).await;
    let payload = claims().to_string();
    let of = |payload: &str| signer.token_of(&signer.header().to_string(), payload);
    let good = of(&payload);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let more = |more: &str| of(&payload.replacen('{', &format!("{{{more},"), 1));
    let many: Vec<_> = (0..10_000).map(|it| format!(r#""c{it}":{it}"#)).collect();

    let rows = vec![
        ("repeats", more(r#""aud":"lychgate""#)),
        ("repeats inside", more(r#""x":{"a":1,"a":2}"#)),
        ("a list", of("[]")),
        ("nested", more(&format!(r#""x":{}1{}"#, "[".repeat(1000), "]".repeat(1000)))),
        ("10 000 claims", more(&many.join(","))),
        ("64 KiB", format!("{good}{}", "A".repeat(64 * 1024))),
        ("signature cut", format!("{signed}.AAAA")),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("JWE", format!("{good}.{signature}.{signature}")),
        ("padding", format!("{good}=")),
        ("white space", format!(" {good}")),
        ("standard base64", good.replacen("eyJ", "ey+", 1)),
        ("empty", String::new()),
        ("junk", "a.b.c".to_owned()),
        ("comma", format!("{good}, {good}")),
    ];
    assert_refused(&world, rows).await;
    for token in [format!("{good}, Bearer {good}"), format!("\"{good}\""), format!("{good}=")] {
        let text = refused(world.verify(&token).await);
        assert!(text.contains("another character that no token has"), "{token}: {text}");
    }
    assert!(world.verify(&good).await.is_ok());
    world.end().await;
}

/// Attacks 43, 44, 52
#[tokio::test]
async fn claims_have_a_type_and_a_check() {
    let signer = Signer::p256("a");
    let world = World::corp(&[&signer]).await;
    let token = || Error::Token(IdentityFault::Claim, String::new());
    let expired = || Error::Expired(String::new());
    for (changes, expected) in [
        (json!({"exp": null}), token()),
        (json!({"exp": "9999999999"}), token()),
        (json!({"exp": (NOW + 300) as f64 + 0.5}), token()),
        (json!({"exp": 1e30}), token()),
        (json!({"exp": -1}), token()),
        (json!({"exp": u64::MAX}), token()),
        (json!({"exp": i64::MAX}), token()),
        (json!({"exp": [NOW + 300]}), token()),
        (json!({"exp": NOW - 30}), expired()),
        (json!({"exp": 0}), expired()),
        (json!({"nbf": "9999999999"}), token()),
        (json!({"nbf": 1.5}), token()),
        (json!({"nbf": false}), token()),
        (json!({"nbf": NOW + 31}), expired()),
        (json!({"iat": "now"}), token()),
        (json!({"iat": -1}), token()),
        (json!({"iat": NOW + 31}), expired()),
        (json!({"aud": null}), Error::Audience),
        (json!({"aud": "other"}), Error::Audience),
        (json!({"aud": "Lychgate"}), Error::Audience),
        (json!({"aud": "lychgate "}), Error::Audience),
        (json!({"aud": []}), Error::Audience),
        (json!({"aud": ["other", "my-cli"]}), Error::Audience),
        // An ID token names the client that asked for it.
        (json!({"aud": "my-cli", "azp": "lychgate", "nonce": "n"}), Error::Audience),
        (json!({"aud": [["lychgate"]]}), token()),
        (json!({"aud": ["lychgate", 1]}), token()),
        (json!({"aud": {"lychgate": true}}), token()),
        (json!({"iss": format!("{ISSUER}/")}), token()),
        (json!({"iss": ISSUER.to_uppercase()}), token()),
        (json!({"iss": [ISSUER]}), token()),
        (json!({"iss": null}), token()),
        (json!({"sub": null}), token()),
        (json!({"sub": ""}), token()),
        (json!({"sub": 1}), token()),
    ] {
        assert_claims_refused(&world, &signer, &changes, &expected).await;
    }
    world.end().await;
}

/// A token outlives the account that it was issued to, but not for long.
#[tokio::test]
async fn a_token_is_good_for_a_limited_time() {
    const DAY: i64 = 86_400;
    let signer = Signer::p256("a");
    for (hours, changes, refusal) in [
        (24, json!({"exp": NOW + DAY}), ""),
        (24, json!({"exp": NOW + DAY + 1}), "valid for 24h 1s, and"),
        (24, json!({"exp": NOW + 365 * DAY}), "valid for 8760h, and"),
        (8760, json!({"exp": NOW + 365 * DAY}), ""),
        (1, json!({"exp": NOW + 3601}), "more than 1h"),
        // It counts from the issue, however much of the time is over.
        (24, json!({"exp": NOW + 60, "iat": NOW + 60 - DAY}), ""),
        (24, json!({"exp": NOW + 60, "iat": NOW + 59 - DAY}), "24h 1s"),
        (24, json!({"exp": NOW + 60, "iat": NOW + 59 - DAY, "nbf": null}), "24h 1s"),
        (24, json!({"exp": NOW + 60, "nbf": NOW + 59 - DAY}), ""),
        (24, json!({"exp": NOW + 60, "nbf": NOW + 59 - DAY, "iat": null}), "24h 1s"),
        (24, json!({"exp": NOW + DAY, "nbf": null, "iat": null}), ""),
        (24, json!({"exp": NOW + DAY + 1, "nbf": null, "iat": null}), "24h 1s"),
        (24, json!({"exp": 253_402_207_200_i64, "iat": 0}), "more than 24h"),
        (u64::MAX / 3600, json!({"exp": 253_402_207_200_i64, "iat": 0}), ""),
    ] {
        let max_lifetime = std::time::Duration::from_hours(hours);
        let issuer = |path: &Path| issuer(Jwks::File(path.to_owned()));
        let world = World::new(&set(&[&signer]), |path| {
            vec![config::Issuer { max_lifetime, ..issuer(path) }]
        })
        .await;
        let result = world.verify(&signer.token(&claims_with(&changes))).await;
        match refusal {
            "" => assert!(result.is_ok(), "{changes}: {result:?}"),
            _ => {
                let text = refused(result);
                assert!(text.contains(refusal), "{changes}: {text}");
            }
        }
        world.end().await;
    }
}

async fn assert_claims_refused(world: &World, signer: &Signer, changes: &Value, expected: &Error) {
    let result = world.verify(&signer.token(&claims_with(changes))).await;
    let error = result.map(|it| it.id().to_owned()).unwrap_err();
    let kind = std::mem::discriminant;
    assert_eq!(kind(&error), kind(expected), "{changes}: {error}");
}

#[tokio::test]
async fn names_groups_and_tags_come_from_their_claims() {
    let signer = Signer::p256("a");
    let world = World::corp(&[&signer]).await;
    for changes in [
        json!({"name": null}),
        json!({"name": ""}),
        json!({"name": 1}),
        json!({"name": "al\u{202e}ice"}),
        json!({"name": "a".repeat(257)}),
        json!({"groups": 1}),
        json!({"groups": ["a", 1]}),
        json!({"groups": ["a", ""]}),
        json!({"groups": (0..257).map(|it| it.to_string()).collect::<Vec<_>>()}),
        json!({"attributes": {"dept": 1}}),
        json!({"attributes": {"dept": ["d1"]}}),
        // On the way to a claim.
        json!({"attributes": "d1"}),
        json!({"attributes": false}),
        json!({"attributes": [{"dept": "d1"}]}),
        // Left out because there are too many: unknown, not absent.
        json!({"groups": null, "_claim_names": {"groups": "src1"}}),
        json!({"attributes": null, "_claim_names": {"attributes": "src1"}}),
        json!({"groups": [], "_claim_names": {"groups": "src1"}}),
        json!({"groups": null, "_claim_names": ["groups"]}),
        json!({"groups": null, "_claim_names": "groups"}),
        json!({"groups": null, "hasgroups": true}),
        json!({"groups": [], "hasgroups": true}),
        json!({"groups": null, "hasGroups": "true"}),
        json!({"groups": null, "has_groups": 1}),
        json!({"attributes": {}, "hasattributes": true}),
        json!({"attributes": null, "hasdept": true}),
    ] {
        let expected = Error::Token(IdentityFault::Claim, String::new());
        assert_claims_refused(&world, &signer, &changes, &expected).await;
    }
    for (changes, groups, tags) in [
        (json!({"exp": NOW - 29}), 2, 1),
        (json!({"nbf": NOW + 30, "iat": null}), 2, 1),
        (json!({"aud": ["other", "gate"]}), 2, 1),
        (json!({"groups": "one"}), 1, 1),
        (json!({"groups": null}), 0, 1),
        (json!({"groups": null, "hasgroups": false}), 0, 1),
        (json!({"hasgroups": true}), 2, 1),
        (json!({"groups": ["a", "a"]}), 1, 1),
        (json!({"attributes": {}}), 2, 0),
        (json!({"attributes": {"dept": null}}), 2, 0),
        (json!({"attributes": []}), 2, 0),
        (json!({"attributes": null}), 2, 0),
        (json!({"attributes": {"dept": ""}}), 2, 1),
    ] {
        let principal = world.verify(&signer.token(&claims_with(&changes))).await.unwrap();
        assert_eq!((principal.groups().len(), principal.tags().len()), (groups, tags), "{changes}");
    }
    world.end().await;
}

#[tokio::test]
async fn an_unverified_address_is_no_name() {
    let signer = Signer::p256("a");
    let world = World::new(&set(&[&signer]), |path| {
        let mut it = issuer(Jwks::File(path.to_owned()));
        it.claims.name = ClaimPath::dotted("email").unwrap();
        vec![it]
    })
    .await;
    for (verified, good) in
        [(json!(true), true), (json!(null), true), (json!(false), false), (json!("true"), false)]
    {
        let claims =
            claims_with(&json!({"email": "alice@corp.example", "email_verified": verified}));
        let result = world.verify(&signer.token(&claims)).await;
        assert_eq!(result.is_ok(), good, "{verified}");
    }
    world.end().await;
}

/// The same name from two issuers is two principals, and neither can speak for the other.
#[tokio::test]
async fn issuers_do_not_mix() {
    let (corp, other) = (Signer::p256("same"), Signer::p256("same"));
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[&other])).unwrap();
    let world = World::new(&set(&[&corp]), |path| {
        let mut second = issuer(Jwks::File(file.path().to_owned()));
        second.name = "other".to_owned();
        second.issuer = "https://other.example".to_owned();
        vec![issuer(Jwks::File(path.to_owned())), second]
    })
    .await;
    let theirs = claims_with(&json!({"iss": "https://other.example"}));
    assert_eq!(world.verify(&corp.token(&claims())).await.unwrap().id(), "corp/alice");
    let principal = world.verify(&other.token(&theirs)).await.unwrap();
    assert_eq!(principal.id(), "other/alice");
    assert_eq!(principal.groups(), ["other/ml-research", "other/vision"]);
    assert!(refused(world.verify(&other.token(&claims())).await).contains("signature"));
    assert!(refused(world.verify(&corp.token(&theirs)).await).contains("signature"));
    let unknown = claims_with(&json!({"iss": "https://evil.example"}));
    assert!(refused(world.verify(&corp.token(&unknown)).await).contains("issuer"));
    world.end().await;
}

#[tokio::test]
async fn a_token_without_key_id_needs_a_single_key() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let ed = Signer::ed25519("c");
    let world = World::corp(&[&a, &b, &ed]).await;
    let payload = claims().to_string();
    let result = world.verify(&a.token_of(r#"{"alg":"ES256"}"#, &payload)).await;
    assert!(refused(result).contains("kid"));
    let principal = world.verify(&ed.token_of(r#"{"alg":"EdDSA"}"#, &payload)).await.unwrap();
    assert_eq!(principal.id(), "corp/alice");
    world.end().await;
}

/// Attacks 51, 53
#[tokio::test]
async fn a_remembered_token_ends_in_time() {
    let signer = Signer::p256("a");
    let world = World::corp(&[&signer]).await;
    let token = signer.token(&claims());
    let verify = |now: i64, latest: i64| {
        let moment = Moment { now: at(now).now, latest: at(latest).latest };
        world.tokens.verify(&token, moment)
    };
    for (now, latest, good) in [
        (NOW, NOW, true),
        (NOW + 299, NOW + 299, true),
        // Judged again, with leeway.
        (NOW + 329, NOW + 329, true),
        (NOW + 330, NOW + 330, false),
        (NOW + 10_000, NOW + 10_000, false),
        // The clock was set back by an hour.
        (NOW, NOW + 3600, false),
        (NOW - 31, NOW, false),
    ] {
        assert_eq!(verify(now, latest).await.is_ok(), good, "{now} {latest}");
    }
    world.end().await;
}

/// Attacks 49, 51, 54
#[tokio::test(start_paused = true)]
async fn a_removed_key_ends_its_tokens() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let world = World::corp(&[&old]).await;
    let token = old.token(&claims());
    assert!(world.verify(&token).await.is_ok());

    // Half-written: the last good keys stay.
    std::fs::write(world.file.path(), r#"{"keys": [{"kty": "#).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(world.verify(&token).await.is_ok());

    std::fs::write(world.file.path(), set(&[&old, &new])).unwrap();
    for id in 0..100 {
        let token = new.token(&claims_with(&json!({"jti": id.to_string()})));
        let known = old.token(&claims());
        let (a, b) = tokio::join!(world.verify(&token), world.verify(&known));
        assert!(a.is_ok() && b.is_ok(), "a key that is new is looked for: {a:?} {b:?}");
    }

    std::fs::write(world.file.path(), set(&[&new])).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(matches!(world.verify(&token).await, Err(Error::Token(..))));
    world.end().await;
}

#[tokio::test]
async fn a_bad_file_stops_the_start() {
    let file = NamedTempFile::new().unwrap();
    for text in ["", "<html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        std::fs::write(file.path(), text).unwrap();
        let issuer = issuer(Jwks::File(file.path().to_owned()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let error = Tokens::start(vec![issuer], &Metrics::new(), &Clock::system(), &tasks, &stop)
            .await
            .unwrap_err();
        assert!(matches!(error, StartError::Issuer { .. }), "{text}: {error}");
        assert!(error.to_string().contains("`corp`"));
    }
}
