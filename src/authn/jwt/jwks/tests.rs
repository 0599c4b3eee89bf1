//! Key sets, good and bad: attack 50.

use super::*;
use crate::authn::jwt::support;
use crate::authn::jwt::support::{Signer, with};

use data_encoding::HEXLOWER;
use serde_json::json;

const ALL: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

fn parse(keys: &[Value]) -> Result<KeySet, Error> {
    KeySet::parse(json!({"keys": keys, "more": 1}).to_string().as_bytes(), ALL)
}

#[test]
fn keys_that_should_not_verify_are_left_out() {
    let rsa = Signer::rsa("r", Algorithm::RS256).jwk();
    let ec = Signer::p256("e").jwk();
    let ed = Signer::ed25519("d").jwk();
    let short = BASE64URL_NOPAD.encode(&[0xff; 255]);
    let long = BASE64URL_NOPAD.encode(&[0xff; 1025]);
    let zeros = BASE64URL_NOPAD.encode(&[[0; 128], [0xff; 128]].concat());
    let even = BASE64URL_NOPAD.encode(&[0xfe; 256]);
    for (key, reason) in [
        (with(&rsa, &json!({"n": short})), "2048"),
        (with(&rsa, &json!({"n": zeros})), "2048"),
        (with(&rsa, &json!({"n": long})), "2048"),
        (with(&rsa, &json!({"n": "***"})), "base64url"),
        (with(&rsa, &json!({"n": null})), "missing"),
        (with(&rsa, &json!({"n": 1})), "type"),
        (with(&rsa, &json!({"d": "AQAB"})), "private"),
        (with(&rsa, &json!({"e": "AQ"})), "exponent"),
        (with(&rsa, &json!({"e": "Ag"})), "exponent"),
        (with(&rsa, &json!({"e": "AQAAAAAB"})), "exponent"),
        (with(&rsa, &json!({"n": even})), "modulus"),
        (with(&rsa, &json!({"use": "enc"})), "use"),
        (with(&rsa, &json!({"key_ops": ["encrypt"]})), "key_ops"),
        (with(&rsa, &json!({"key_ops": "verify"})), "key_ops"),
        (with(&rsa, &json!({"alg": "RSA-OAEP"})), "algorithms"),
        (with(&rsa, &json!({"alg": "RS384"})), "algorithms"),
        (with(&rsa, &json!({"alg": "ES256"})), "algorithms"),
        (with(&rsa, &json!({"kid": "k".repeat(257)})), "longer"),
        (with(&rsa, &json!({"kty": "EC"})), "type or curve"),
        (with(&ec, &json!({"crv": "P-521"})), "type or curve"),
        (with(&ec, &json!({"crv": "secp256k1"})), "type or curve"),
        (with(&ec, &json!({"crv": "P-384"})), "not a point"),
        (with(&ec, &json!({"x": "AAAA"})), "not a point"),
        (with(&Signer::p384("e").jwk(), &json!({"crv": "P-256"})), "length"),
        (with(&ed, &json!({"crv": "X25519"})), "type or curve"),
        (with(&ed, &json!({"x": "AAAA"})), "length"),
        (json!({"kty": "oct", "k": "AAAA", "kid": "r", "alg": "HS256"}), "symmetric"),
        (json!({"kty": "AKP"}), "type or curve"),
        (json!({}), "missing"),
    ] {
        let error = parse(std::slice::from_ref(&key)).unwrap_err().to_string();
        assert!(error.contains(reason), "{key}: {error}");
        // Beside a good key it does no harm.
        let set = parse(&[key.clone(), Signer::p384("good").jwk()]).unwrap();
        assert_eq!(set.0.len(), 1, "{key}");
    }
    for key in [
        with(&rsa, &json!({"alg": null, "kid": null})),
        with(&rsa, &json!({"use": "sig", "key_ops": ["verify", "sign"]})),
        with(&ec, &json!({"x5c": ["junk"], "x5u": "http://169.254.169.254/"})),
        ed,
    ] {
        assert_eq!(parse(std::slice::from_ref(&key)).unwrap().0.len(), 1, "{key}");
    }
}

/// The same number with zero octets before it, without those that belong there, and padded.
#[test]
fn a_number_counts_however_it_is_written() {
    let spelt = |key: &Value, name: &str, spell: fn(Vec<u8>) -> Vec<u8>| {
        let number = BASE64URL_NOPAD.decode(key[name].as_str().unwrap().as_bytes()).unwrap();
        with(key, &json!({name: BASE64URL_NOPAD.encode(&spell(number))}))
    };
    let longer: fn(Vec<u8>) -> Vec<u8> = |it| [vec![0, 0], it].concat();
    let shorter: fn(Vec<u8>) -> Vec<u8> = |it| it.into_iter().skip_while(|it| *it == 0).collect();
    let rsa = Signer::rsa("r", Algorithm::RS256);
    let mut short = Signer::p256("e");
    for _ in 0..10_000 {
        let x = BASE64URL_NOPAD.decode(short.jwk()["x"].as_str().unwrap().as_bytes()).unwrap();
        if x.starts_with(&[0]) {
            break;
        }
        short = Signer::p256("e");
    }
    let ed = Signer::ed25519("d");
    let padded = format!("{}=", ed.jwk()["x"].as_str().unwrap());
    for (signer, jwk) in [
        (&rsa, spelt(&rsa.jwk(), "n", longer)),
        (&rsa, spelt(&rsa.jwk(), "e", longer)),
        (&short, spelt(&short.jwk(), "x", longer)),
        (&short, spelt(&short.jwk(), "x", shorter)),
        (&short, spelt(&short.jwk(), "y", longer)),
        (&ed, with(&ed.jwk(), &json!({"x": padded}))),
    ] {
        let set = parse(std::slice::from_ref(&jwk)).unwrap();
        let token = signer.token(&json!({"sub": "a"}));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let algorithm = signer.header()["alg"].as_str().unwrap().parse().unwrap();
        assert!(set.0[0].verifies(signature, message, algorithm), "{jwk}");
    }
}

#[test]
fn a_set_has_a_form() {
    let key = Signer::p256("a").jwk();
    let repeated = format!("{{\"keys\":[],\n\"keys\":[{key}]}}");
    for (text, told) in [
        ("", "1:0: EOF while parsing a value"),
        ("<html></html>", "1:1: expected value"),
        ("{\n  \"keys\": [],\n}", "3:1: trailing comma"),
        ("{\"keys\": []}\n]", "2:1: trailing characters"),
        ("[]", "it is not an object"),
        ("{}", "`keys` is missing;"),
        (r#"{"Keys":[]}"#, "`keys` is missing, and there is `Keys`"),
        (&key.to_string(), "this is a key, and a set is needed"),
        (r#"{"keys":{}}"#, "`keys` must be a list"),
        (r#"{"keys":[{},1]}"#, "key 2 of the set must be an object"),
        (&repeated, "a name is repeated"),
    ] {
        let error = KeySet::parse(text.as_bytes(), ALL).unwrap_err();
        assert!(matches!(error, Error::Form(_)), "{text}: {error}");
        let error = error.to_string();
        assert!(error.contains(told), "{text}: {error}");
        assert!(error.ends_with(r#"; write {"keys": [{"kty": …}, …]}"#), "{text}: {error}");
    }
    assert!(matches!(parse(&[]), Err(Error::NoKey(0, _))));
    assert_eq!(parse(&vec![key.clone(); KEYS_MAX + 1]), Err(Error::TooMany));
    assert_eq!(parse(&vec![key; KEYS_MAX]).unwrap().0.len(), KEYS_MAX);
}

#[test]
fn the_key_says_which_algorithms_are_good() {
    let rsa = with(&Signer::rsa("r", Algorithm::RS256).jwk(), &json!({"alg": null}));
    let set = parse(&[
        rsa.clone(),
        with(&rsa, &json!({"kid": "p", "alg": "PS256"})),
        Signer::p256("e").jwk(),
        // Two keys of one name and different types are told apart by the algorithm.
        Signer::ed25519("e").jwk(),
    ])
    .unwrap();
    let find = |id, algorithm| match set.find(id, algorithm) {
        KeyLookup::Ambiguous => "ambiguous".to_owned(),
        KeyLookup::Keys(keys) => keys.len().to_string(),
        KeyLookup::OtherAlgorithm => "other".to_owned(),
        KeyLookup::Unknown => "unknown".to_owned(),
    };
    for (id, algorithm, expected) in [
        (Some("r"), Algorithm::RS256, "1"),
        (Some("r"), Algorithm::PS256, "1"),
        (Some("r"), Algorithm::RS384, "other"),
        (Some("r"), Algorithm::ES256, "other"),
        (Some("r"), Algorithm::HS256, "other"),
        (Some("p"), Algorithm::PS256, "1"),
        (Some("p"), Algorithm::RS256, "other"),
        (Some("e"), Algorithm::ES256, "1"),
        (Some("e"), Algorithm::EdDSA, "1"),
        (Some("R"), Algorithm::RS256, "unknown"),
        (Some(""), Algorithm::RS256, "unknown"),
        (None, Algorithm::ES256, "1"),
        (None, Algorithm::RS256, "1"),
        (None, Algorithm::PS256, "ambiguous"),
        (None, Algorithm::ES384, "unknown"),
    ] {
        assert_eq!(find(id, algorithm), expected, "{id:?} {algorithm:?}");
    }
}

#[test]
fn a_set_is_the_same_as_long_as_its_keys_are() {
    let (a, b) = (Signer::p256("a"), Signer::p256("a"));
    let parse = |signer: &Signer| KeySet::parse(support::set(&[signer]).as_bytes(), ALL).unwrap();
    assert_eq!(parse(&a), parse(&a));
    assert_ne!(parse(&a), parse(&b));
}

/// With these the signature of zeros that goes with them fits one message in eight, or each.
#[test]
fn a_key_that_anybody_can_sign_for_is_none() {
    let ed = Signer::ed25519("d").jwk();
    let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03";
    let other = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc";
    let zeros = "00".repeat(30);
    let ones = "ff".repeat(30);
    for [first, middle, last] in [
        ["00", &*zeros, "00"],
        ["00", &zeros, "80"],
        ["01", &zeros, "00"],
        ["01", &zeros, "80"],
        ["ec", &ones, "7f"],
        ["ec", &ones, "ff"],
        ["ed", &ones, "7f"],
        ["ed", &ones, "ff"],
        ["ee", &ones, "7f"],
        ["ee", &ones, "ff"],
        [order_8, "", "7a"],
        [order_8, "", "fa"],
        [other, "", "05"],
        [other, "", "85"],
    ] {
        let x = HEXLOWER.decode(format!("{first}{middle}{last}").as_bytes()).unwrap();
        let key = with(&ed, &json!({"x": BASE64URL_NOPAD.encode(&x)}));
        let error = parse(&[key]).unwrap_err().to_string();
        assert!(error.contains("small order"), "{first}: {error}");
    }
}
