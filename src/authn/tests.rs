//! The authenticator as the gateway calls it.

use super::config::Jwks;
use super::jwt::support;
use super::*;
use crate::clock::Clock;
use crate::policy::Method;
use crate::sign::{SdkDate, recorded};

use http::HeaderValue;
use tempfile::NamedTempFile;

const KEYS: &str = "keys:
  - {ak: AKEXAMPLE0000000000A, sk: sKexample/Secret+Key0000000000000000000A, principal: sdk}
";

async fn start(keys: Option<&str>, issuers: Vec<config::Issuer>) -> (Authenticator, TaskTracker) {
    let file = NamedTempFile::new().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let path = keys.map(|text| {
        std::fs::write(file.path(), text).unwrap();
        file.path().to_owned()
    });
    let config = Config::new(issuers, path).unwrap();
    let res = Authenticator::start(config, &Metrics::new(), &Clock::system(), &tasks, &stop)
        .await
        .unwrap();
    // The first version is loaded; nothing below needs another one.
    stop.cancel();
    tasks.close();
    (res, tasks)
}

fn peer() -> Peer {
    Peer {
        address: Some([192, 0, 2, 1].into()),
        local: false,
        secure: false,
        principal: None,
        certificate: None,
    }
}

/// The project in the path of a recorded request.
fn project(head: &Parts) -> &str {
    head.uri.path().split('/').nth(2).unwrap()
}

#[tokio::test]
async fn recorded_requests_of_the_sdks_are_known() {
    for it in recorded::recorded().into_iter().chain(recorded::tampered()) {
        let (head, body) = it.parts();
        if !body.is_empty() {
            continue; // Refused before anyone asks who sent it.
        }
        let (authenticator, _tasks) = start(Some(KEYS), Vec::new()).await;
        let sent = head.headers["x-sdk-date"].to_str().unwrap();
        let clock = Clock::manual(SdkDate::parse(sent).unwrap().time());
        let peer = peer();
        let authenticate =
            || authenticator.authenticate((&head, b""), project(&head), &peer, clock.now());
        let result = authenticate().await.map(|it| it.id().to_owned());
        let expected = match it.matches {
            true => Ok("keys/sdk".to_owned()),
            false => {
                assert!(matches!(result, Err(Error::Signature(_))), "{}", it.name);
                result.clone()
            }
        };
        assert_eq!(result, expected, "{}", it.name);

        clock.set(clock.now() + jiff::SignedDuration::from_mins(16));
        let result = authenticate().await;
        assert!(matches!(result, Err(Error::Skew { .. })), "{}", it.name);
    }
}

#[tokio::test]
async fn a_listeners_principal_is_taken_as_it_is() {
    let (authenticator, _tasks) = start(Some(KEYS), Vec::new()).await;
    let principal = Arc::new(Principal::new("local", "cleanup", [], [].into(), Method::Local));
    let peer = Peer { principal: Some(Arc::clone(&principal)), ..peer() };
    let (mut head, ()) = http::Request::delete("/").body(()).unwrap().into_parts();
    for value in ["Basic x", "Bearer junk", "SDK-HMAC-SHA256 Access=dummy"] {
        head.headers.append("authorization", HeaderValue::from_static(value));
        head.headers.append("x-auth-token", HeaderValue::from_static("MIIF"));
        let result =
            authenticator.authenticate((&head, b""), "p", &peer, Timestamp::UNIX_EPOCH).await;
        assert_eq!(result, Ok(Arc::clone(&principal)));
    }
}

#[tokio::test]
async fn sources_stand_side_by_side() {
    let signer = support::Signer::p256("a");
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), support::set(&[&signer])).unwrap();
    let issuer = support::issuer(Jwks::File(file.path().to_owned()));
    let (authenticator, _tasks) = start(Some(KEYS), vec![issuer]).await;
    assert!(authenticator.can_verify());
    let now = support::at(support::NOW).now;
    let token = signer.token(&support::claims());
    for (name, value) in [("authorization", format!("Bearer {token}")), ("x-auth-token", token)] {
        let (head, ()) =
            http::Request::delete("/").header(name, value).body(()).unwrap().into_parts();
        let principal = authenticator.authenticate((&head, b""), "p", &peer(), now).await.unwrap();
        assert_eq!(principal.id(), "corp/alice");
    }
    let (head, ()) = http::Request::delete("/").body(()).unwrap().into_parts();
    let result = authenticator.authenticate((&head, b""), "p", &peer(), now).await;
    assert_eq!(result, Err(Error::NoCredential));
}

/// Attack 53
#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing() {
    let it = recorded::recorded().remove(0);
    let (head, _) = it.parts();
    let (authenticator, _tasks) = start(Some(KEYS), Vec::new()).await;
    let sent = SdkDate::parse(head.headers["x-sdk-date"].to_str().unwrap()).unwrap().time();
    let hour = jiff::SignedDuration::from_hours(1);
    let minute = jiff::SignedDuration::from_mins(1);
    for (now, good) in
        [(sent, true), (sent + minute, true), (sent, true), (sent + hour, false), (sent, false)]
    {
        let result = authenticator.authenticate((&head, b""), project(&head), &peer(), now).await;
        assert_eq!(result.is_ok(), good, "{now}: {result:?}");
    }
}

#[tokio::test]
async fn what_can_verify_is_known() {
    let (nothing, _tasks) = start(None, Vec::new()).await;
    assert!(nothing.can_verify(), "listeners with a fixed principal need no source");
    let (empty, _tasks) = start(Some("keys: []"), Vec::new()).await;
    assert!(!empty.can_verify());
    assert_eq!(empty.troubles(), ["keys: the file of `identity.keys` lists no key"]);
    let (keys, _tasks) = start(Some(KEYS), Vec::new()).await;
    assert!(keys.can_verify());
    assert!(keys.troubles().is_empty());

    let it = recorded::recorded().remove(0);
    let (head, _) = it.parts();
    let now = SdkDate::parse(head.headers["x-sdk-date"].to_str().unwrap()).unwrap().time();
    let result = nothing.authenticate((&head, b""), project(&head), &peer(), now).await;
    assert!(matches!(result, Err(Error::Token(..))), "no keys were ever issued");
}
