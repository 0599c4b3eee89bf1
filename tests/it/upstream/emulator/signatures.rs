//! The emulator's own reading of the signing rules, against what the official SDKs computed.

use crate::upstream::emulator::client::{KEY, PROJECT, exchange};
use jiff::civil;
use jiff::tz::TimeZone;
use lychgate::clock::Clock;
use lychgate::emulator::signature::{Authorization, Received};
use lychgate::emulator::{Config, Emulator, Job, Key, signature};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    ak: String,
    sk: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    signed_headers: Vec<String>,
    body: Option<String>,
    canonical_request: String,
    authorization: String,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    sk: String,
    request: String,
    matches: bool,
}

/// The Python SDK signs another payload hash than it sends, so no service can verify it.
const UNVERIFIABLE: &str = "nobody-octet-unsigned";

#[test]
fn what_the_python_sdk_signs_verifies() {
    let vectors = include_str!("../../../data/sign/vectors.json");
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    assert!(30 < vectors.len());
    for it in vectors {
        let headers: Vec<(String, Vec<u8>)> =
            it.headers.into_iter().map(|(k, v)| (k, v.into_bytes())).collect();
        let body = it.body.unwrap_or_default();
        let request = Received {
            method: &it.method,
            target: &it.target,
            headers: &headers,
            body: body.as_bytes(),
        };
        let authorization = Authorization::parse(&it.authorization).unwrap();
        assert_eq!(
            (authorization.ak, &authorization.signed_headers.len()),
            (it.ak.as_str(), &it.signed_headers.len())
        );
        let names: Vec<&str> = it.signed_headers.iter().map(String::as_str).collect();
        let canonical = signature::canonical_request(&request, &names).unwrap();
        let is_verifiable = it.name != UNVERIFIABLE;
        assert_eq!(
            String::from_utf8(canonical).unwrap() == it.canonical_request,
            is_verifiable,
            "{}",
            it.name
        );
        assert_eq!(
            signature::matches(&request, &authorization, &it.sk),
            is_verifiable,
            "{}",
            it.name
        );
        assert!(!signature::matches(&request, &authorization, "another"), "{}", it.name);
    }
}

#[test]
fn other_headers_are_no_authorization() {
    for text in [
        "",
        "SDK-HMAC-SHA256",
        "Bearer x",
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=b",
        "SDK-HMAC-SHA256 SignedHeaders=b, Access=a, Signature=c",
        "SDK-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=c, More=d",
        "SDK-HMAC-SHA256 Credential=a/b, SignedHeaders=b, Signature=c",
        "SDK-HMAC-SM3 Access=a, SignedHeaders=b, Signature=c",
        "V11-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=c",
        "V11-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c",
    ] {
        assert_eq!(Authorization::parse(text), None, "{text}");
    }
}

#[tokio::test]
async fn recorded_requests_are_answered_and_tampered_ones_are_not() {
    let recorded: Vec<Recorded> =
        serde_json::from_str(include_str!("../../../data/sign/recorded.json")).unwrap();
    let tampered: Vec<Recorded> =
        serde_json::from_str(include_str!("../../../data/sign/tampered.json")).unwrap();
    for it in recorded.into_iter().chain(tampered) {
        let value = |name: &str| {
            let lines = it.request.split("\r\n");
            let of = |line: &str| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            };
            lines.into_iter().find_map(of)
        };
        let date = value("x-sdk-date").unwrap();
        let date = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let date = TimeZone::UTC.to_timestamp(date).unwrap();
        let key = Key {
            ak: KEY.0.to_owned(),
            sk: it.sk,
            security_token: value("x-security-token"),
            projects: vec![PROJECT.to_owned()],
        };
        let config = Config { clock: Clock::manual(date), ..Config::new(vec![key]) };
        let emulator = Emulator::start(config).await.unwrap();
        let target = it.request.split(' ').nth(1).unwrap();
        let id = target.split('/').nth(4).unwrap().split('?').next().unwrap();
        emulator.insert(Job::new(PROJECT, id, "x", date));

        // The list has bodies without the framing that they need on a wire.
        let request = match it.request.split_once("\r\n\r\n") {
            Some((head, body)) if !body.is_empty() && value("content-length").is_none() => {
                format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            _ => it.request.clone(),
        };
        let answer = exchange(&emulator, request.as_bytes()).await.unwrap();
        let expected = match it.matches {
            false => 401,
            true if target.contains("%7Bproject_id%7D") => 403,
            // The signature covers these spellings of the path, the API does not have them.
            true if target.ends_with('/') || target.contains("%2D") => 404,
            true => 202,
        };
        assert_eq!(answer.status, expected, "{}: {}", it.name, answer.body);
        assert_eq!(emulator.failed_signatures(KEY.0), u64::from(!it.matches), "{}", it.name);
    }
}

/// V11 binds a signature to day, region and service.
#[tokio::test]
async fn the_scope_of_a_derived_key_has_to_be_ours() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../data/sign/vectors.json")).unwrap();
    let it = vectors.into_iter().find(|it| it.name == "derived-delete").unwrap();
    for (region, status) in [("cn-north-4", 202), ("cn-east-3", 401)] {
        let key = Key {
            ak: it.ak.clone(),
            sk: it.sk.clone(),
            security_token: None,
            projects: vec![PROJECT.to_owned()],
        };
        let clock = Clock::manual("2026-01-15T12:00:00Z".parse().unwrap());
        let region = region.to_owned();
        let config = Config { clock, region, ..Config::new(vec![key]) };
        let emulator = Emulator::start(config).await.unwrap();
        let id = it.target.rsplit('/').next().unwrap();
        emulator.insert(Job::new(PROJECT, id, "x", super::now()));
        let headers: String =
            it.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "DELETE {} HTTP/1.1\r\n{headers}Authorization: {}\r\n\r\n",
            it.target, it.authorization
        );
        let answer = exchange(&emulator, request.as_bytes()).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}
