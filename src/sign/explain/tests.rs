//! What the explanation says of signatures that are right, and of those that are not.

use super::*;

use crate::secret::Secret;

const SECRET: &str = "hunter2hunter2hunter2";
const TOKEN: &str = "TOKENhunter2";

fn credential(token: Option<&str>) -> Credential {
    let secret = |it: &str| Secret::new(it.to_owned());
    Credential::new("AK".to_owned(), secret(SECRET), token.map(secret)).unwrap()
}

const FIELDS: &[(&str, &str)] = &[
    ("host", "gate:8480"),
    ("content-type", "application/json"),
    ("x-project-id", "0a1b"),
    ("x-sdk-date", "20260115T120000Z"),
];

fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::delete(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

const TARGET: &str = "/v2/0a1b/training-jobs/1";

/// The value that a client would send whose canonical request is that of `head` after `change`.
fn signed(head: &Parts, credential: &Credential, change: impl Fn(String) -> String) -> String {
    let list = usual_headers(head);
    let canonical = canonical_request(&list, head, PayloadHash::empty()).unwrap();
    let canonical = CanonicalRequest::of_text(change(canonical.to_string()));
    let date = SdkDate::parse("20260115T120000Z").unwrap();
    let string_to_sign = StringToSign::new(&date, None, &canonical);
    let signature = SigningKey::new(credential, None).unwrap().sign(&string_to_sign);
    let ak = credential.access_key_id();
    format!("SDK-HMAC-SHA256 Access={ak}, SignedHeaders={list}, Signature={signature}")
}

fn difference(head: &Parts, authorization: &str, credential: &Credential) -> Option<Difference> {
    let explanation = explain(head, b"", Some(authorization), credential).unwrap();
    let shown = format!("{explanation:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    explanation.difference
}

#[test]
fn every_recorded_signature_is_explained() {
    for recorded in crate::sign::recorded::recorded() {
        let (head, body) = recorded.parts();
        let authorization = head.headers["authorization"].to_str().unwrap();
        let explanation =
            explain(&head, body, Some(authorization), &recorded.credential()).unwrap();
        let same = explanation.difference.is_none();
        assert_eq!(same, recorded.matches, "{}: {:?}", recorded.name, explanation.difference);
    }
}

#[test]
fn the_first_difference_is_named() {
    let plain = credential(None);
    let good = head(TARGET, FIELDS);
    let value = signed(&good, &plain, |it| it);
    assert_eq!(difference(&good, &value, &plain), None);

    let without = |name: &str| {
        let fields: Vec<_> = FIELDS.iter().copied().filter(|(it, _)| *it != name).collect();
        head(TARGET, &fields)
    };
    let with = |name, value| head(TARGET, &[FIELDS, &[(name, value)]].concat());
    let late = [&FIELDS[..3], &[("x-sdk-date", "2026-01-15")]].concat();
    for (head, value, part, message) in [
        (&good, "Bearer x".to_owned(), Part::Algorithm, "the algorithm is unknown"),
        (&good, value.replace(", ", "; "), Part::Form, "three parts"),
        (&good, value.replace("Access=AK", "Access=OTHER"), Part::AccessKey, "`OTHER`"),
        (&without("x-project-id"), value.clone(), Part::SignedHeaders, "`x-project-id` is signed"),
        (&good, value.replace("x-project-id;", ""), Part::SignedHeaders, "not signed"),
        (&with("x-security-token", "t"), value.clone(), Part::SignedHeaders, "not signed"),
        (&without("x-sdk-date"), value.replace(";x-sdk-date", ""), Part::Date, "no X-Sdk-Date"),
        (&head(TARGET, &late), value.clone(), Part::Date, "must look like"),
        (&head("/other", FIELDS), value.clone(), Part::Signature, "another signature"),
    ] {
        let found = difference(head, &value, &plain).unwrap();
        assert_eq!(found.part, part, "{value}: {found:?}");
        assert!(found.message.contains(message), "{found:?}");
    }
    let derived = value
        .replace("SDK-HMAC", "V11-HMAC")
        .replace("Access=AK", "Credential=AK/20260114/cn-north-4/modelarts");
    assert_eq!(difference(&good, &derived, &plain).unwrap().part, Part::Date);
}

#[test]
fn a_temporary_key_needs_its_token() {
    let temporary = credential(Some(TOKEN));
    let good = head(TARGET, &[FIELDS, &[(X_SECURITY_TOKEN, TOKEN)]].concat());
    let value = signed(&good, &temporary, |it| it);
    assert_eq!(difference(&good, &value, &temporary), None);
    let stages = explain(&good, b"", None, &temporary).unwrap().stages.unwrap();
    assert!(stages.canonical_request.contains("x-security-token:[redacted]"));

    let other = head(TARGET, &[FIELDS, &[(X_SECURITY_TOKEN, "other")]].concat());
    let plain = head(TARGET, FIELDS);
    for (head, value, credential, message) in [
        (&other, &value, &temporary, "not the one of the key"),
        (&plain, &signed(&plain, &temporary, |it| it), &temporary, "is not sent"),
    ] {
        let found = difference(head, value, credential).unwrap();
        assert!(found.message.contains(message), "{found:?}");
    }
}

#[test]
fn what_the_signature_would_fit_is_found() {
    let plain = credential(None);
    let good = head("/v2/0a1b/training-jobs/1?b=1&a", FIELDS);
    let replace = |from: &'static str, to: &'static str| {
        move |it: String| {
            assert!(it.contains(from), "{it}");
            it.replacen(from, to, 1)
        }
    };
    let empty = PayloadHash::empty().to_string();
    let empty: &'static str = empty.leak();
    for (from, to, hint) in [
        ("training-jobs/1/", "training-jobs/1", "that does not end in `/`"),
        ("a=&b=1", "b=1&a", "as it was sent, unsorted"),
        ("a=&b=1", "", "without its query"),
        ("DELETE", "POST", "with the method POST"),
        ("gate:8480", "gate", "with `host: gate`"),
        ("gate:8480", "127.0.0.1", "with `host: 127.0.0.1`"),
        ("application/json", "application/json;charset=UTF-8", "charset=UTF-8"),
        (empty, "UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD"),
    ] {
        let found = difference(&good, &signed(&good, &plain, replace(from, to)), &plain).unwrap();
        assert_eq!(found.part, Part::Signature);
        assert!(found.hints.len() == 1 && found.hints[0].contains(hint), "{to}: {found:?}");
    }
    for (secret, hint) in [("\n", "a line feed"), (" ", "a space")] {
        let secret = Secret::new(format!("{SECRET}{secret}"));
        let misread = Credential::new("AK".to_owned(), secret, None).unwrap();
        let found = difference(&good, &signed(&good, &misread, |it| it), &plain).unwrap();
        assert!(found.hints.len() == 1 && found.hints[0].contains(hint), "{found:?}");
    }
    let strange = signed(&good, &plain, replace("DELETE", "OPTIONS"));
    let found = difference(&good, &strange, &plain).unwrap();
    assert!(found.hints.iter().any(|it| it.contains("`gate:8480`")), "{found:?}");
}
