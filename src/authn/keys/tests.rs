//! Gateway keys: the file, its rotation, and what a signed request must look like.

use super::*;
use crate::authn::StartError;
use crate::sign::{Algorithm, Request};

use http::{HeaderValue, Method};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SK: &str = "marker/Secret+Key00000000000000000000000";
const PROJECT: &str = "0a1b2c";

fn yaml(rows: &[&str]) -> String {
    format!("keys:\n{}", rows.iter().map(|it| format!("  - {it}\n")).collect::<String>())
}

fn row(ak: &str, more: &str) -> String {
    format!("{{ak: {ak}, sk: {SK}, {more}}}")
}

fn keys() -> Keys {
    let more = "principal: cleanup, groups: [jobs], tags: {team: vision}";
    Keys::parse(&yaml(&[&row("AK1", more), &row("AK2", more)])).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Moment {
    let now = at("2026-01-15T12:00:00Z");
    Moment { now, latest: now }
}

fn peer(secure: bool) -> Peer {
    Peer { address: None, local: false, secure, principal: None, certificate: None }
}

/// A request of an SDK that signs with `ak` and `sk`.
fn signed(ak: &str, sk: &str, algorithm: &Algorithm, at: Timestamp) -> Parts {
    let token = Secret::new("token".to_owned());
    let credential = Credential::new(ak.to_owned(), Secret::new(sk.to_owned()), Some(token));
    let request = Request {
        method: &Method::DELETE,
        target: "/v2/0a1b2c/training-jobs/3faf5c03-aaa1-4cbe-879d-24b05d997347",
        host: "gate.example",
        project_id: PROJECT,
        user_agent: "test",
    };
    let headers = sign::sign(&request, &credential.unwrap(), algorithm, at).unwrap();
    let mut head = http::Request::delete(request.target).body(()).unwrap().into_parts().0;
    head.headers = headers;
    head
}

fn verify(head: &Parts, moment: Moment) -> Result<String, Error> {
    let value = head.headers["authorization"].to_str().unwrap();
    keys().verify((value, head, b""), PROJECT, &peer(false), moment).map(|it| it.id().to_owned())
}

fn good() -> Parts {
    signed("AK1", SK, &Algorithm::SdkHmacSha256, now().now)
}

#[test]
fn a_signed_request_names_a_principal() {
    let derived = Algorithm::V11HmacSha256 { region: "r".to_owned(), service: "s".to_owned() };
    for ak in ["AK1", "AK2"] {
        for algorithm in [Algorithm::SdkHmacSha256, derived.clone()] {
            let head = signed(ak, SK, &algorithm, now().now);
            assert_eq!(verify(&head, now()), Ok("keys/cleanup".to_owned()));
            // A retry is byte for byte the same, and good.
            assert_eq!(verify(&head, now()), Ok("keys/cleanup".to_owned()));
        }
    }
    let head = good();
    let value = head.headers["authorization"].to_str().unwrap();
    let principal = keys().verify((value, &head, b""), PROJECT, &peer(false), now()).unwrap();
    assert_eq!(principal.groups(), ["keys/jobs"]);
    assert_eq!(*principal.tags(), [("team".to_owned(), "vision".to_owned())].into());
    assert_eq!(principal.method(), crate::policy::Method::Key);
}

#[test]
fn each_check_has_its_error() {
    let edited = |edit: &dyn Fn(&mut Parts)| {
        let mut head = good();
        edit(&mut head);
        verify(&head, now())
    };
    let set = |head: &mut Parts, name: &'static str, value: &'static str| {
        head.headers.insert(name, HeaderValue::from_static(value));
    };
    // What the signature covers, and a header is taken out of the list.
    let unsign = |name: &'static str| {
        move |head: &mut Parts| {
            let value = head.headers["authorization"].to_str().unwrap().replace(name, "");
            let value = value.replace(";;", ";").replace(";, ", ", ");
            head.headers.insert("authorization", value.parse().unwrap());
        }
    };

    assert_eq!(
        verify(&signed("AK9", SK, &Algorithm::SdkHmacSha256, now().now), now()),
        Err(Error::UnknownKey("AK9".to_owned()))
    );
    let stranger = signed("AK1", "another secret", &Algorithm::SdkHmacSha256, now().now);
    assert!(matches!(verify(&stranger, now()), Err(Error::Signature(_))));
    assert!(matches!(edited(&|it| set(it, "host", "other.example")), Err(Error::Signature(_))));
    assert!(matches!(edited(&|it| set(it, "x-security-token", "other")), Err(Error::Signature(_))));
    assert!(matches!(edited(&|it| it.method = Method::GET), Err(Error::Signature(_))));
    assert!(matches!(
        edited(&|it| it.uri = "/v2/0a1b2c".parse().unwrap()),
        Err(Error::Signature(_))
    ));
    assert!(matches!(edited(&|it| set(it, "x-sdk-content-sha256", "x")), Err(Error::Signature(_))));
    assert_eq!(edited(&unsign("x-sdk-date")), Err(Error::Unsigned("X-Sdk-Date")));
    assert_eq!(edited(&unsign("x-project-id")), Err(Error::Unsigned("X-Project-Id")));
    assert_eq!(edited(&unsign("x-security-token")), Err(Error::Unsigned("X-Security-Token")));
    // The Go SDK does not sign the host: what is not signed may change.
    assert!(matches!(edited(&unsign("host")), Err(Error::Signature(_))));
    for (name, value) in [("x-project-id", "other"), ("x-project-id", "")] {
        assert!(matches!(edited(&|it| set(it, name, value)), Err(Error::Signature(_))));
    }
    assert!(matches!(edited(&|it| set(it, "x-sdk-date", "yesterday")), Err(Error::Token(..))));
    assert!(matches!(
        edited(&|it| {
            it.headers.remove("x-sdk-date");
        }),
        Err(Error::Token(..))
    ));
    assert!(matches!(
        edited(&|it| {
            it.headers.append("x-project-id", HeaderValue::from_static(PROJECT));
        }),
        Err(Error::Token(..))
    ));
    assert!(matches!(
        edited(&|it| set(it, "authorization", "SDK-HMAC-SHA256 nonsense")),
        Err(Error::Token(..))
    ));

    let head = good();
    let value = head.headers["authorization"].to_str().unwrap();
    let other = keys()
        .verify((value, &head, b""), "0A1B2C", &peer(false), now())
        .map(|it| it.id().to_owned());
    assert_eq!(other, Err(Error::Project { header: PROJECT.to_owned() }));
}

#[test]
fn clocks_may_differ_by_a_quarter_of_an_hour() {
    let head = good();
    let sent = now().now;
    for (now, latest, good) in [
        ("2026-01-15T12:15:00Z", "2026-01-15T12:15:00Z", true),
        ("2026-01-15T12:15:01Z", "2026-01-15T12:15:01Z", false),
        ("2026-01-15T11:45:00Z", "2026-01-15T11:45:00Z", true),
        ("2026-01-15T11:44:59Z", "2026-01-15T11:44:59Z", false),
        // Attack 53: the clock was set back by an hour.
        ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00Z", false),
    ] {
        let (now, latest) = (at(now), at(latest));
        let result = verify(&head, Moment { now, latest });
        match good {
            true => assert!(result.is_ok(), "{now}: {result:?}"),
            false => assert_eq!(result, Err(Error::Skew { sent, now: latest })),
        }
    }
    let text = verify(&head, Moment { now: at("2030-01-01T00:00:00Z"), latest: sent });
    let text = text.unwrap_err().to_string();
    assert!(text.contains("2026-01-15T12:00:00Z") && text.contains("2030-01-01T00:00:00Z"));
}

#[test]
fn a_wrong_file_is_refused_without_quoting_it() {
    let long = "g".repeat(257);
    let one = "principal: a";
    for (text, place, what) in [
        ("", "1:1", "a mapping is needed here"),
        ("keys: 3", "1:7", "a list is needed here"),
        ("[]", "1:1", "a mapping is needed here"),
        (&yaml(&[&row("AK1", "principal: x, secret: x")]), "2:", "there is no such field here"),
        (&yaml(&[&row("AK1", "principl: x")]), "2:", "did you mean `principal`?"),
        (&yaml(&["{ak: AK1, principal: a}"]), "2:", "`sk` is missing"),
        (&yaml(&[&row("AK1", "principal: [a]")]), "2:", "a text is needed here"),
        (&yaml(&[&format!("{{ak: AK1, sk: [{SK}], principal: a}}")]), "2:", "a text is needed"),
        (&format!("keys:\n  - {SK}\n"), "2:", "a mapping is needed here"),
        (&format!("keys: []\n{SK}"), "2:", "this is not YAML"),
        (&format!("keys: []\n{SK}: 1"), "2:", "the fields are keys"),
        (&yaml(&[&row("AK1", &format!("{one}, sk: x"))]), "2:", "a field is here twice"),
        (&yaml(&["{ak: AK1, sk: short, principal: a}"]), "2:", "shorter than 32"),
        (&yaml(&[&row("'A,K'", one)]), "2:", "access key ID"),
        (&yaml(&[&row("AK1", "principal: ''")]), "2:", "the name of a principal is empty"),
        (&yaml(&[&row("AK1", &format!("{one}, groups: [{long}]"))]), "2:", "a group of `a`"),
        (&yaml(&[&row("AK1", one), &row("AK1", one)]), "3:", "`AK1` is listed twice"),
        (&yaml(&[&row("AK1", one), &row("AK2", "principal: a, groups: [g]")]), "3:", "differ"),
        (&yaml(&[&row("A", one), &row("B", one), &row("C", one)]), "4:", "more than two"),
    ] {
        let fault = Keys::parse(text).unwrap_err().to_string();
        assert!(fault.starts_with(place) && fault.contains(what), "{text:?}: {fault}");
        assert!(!fault.contains("marker"), "{fault}");
    }
    // Texts are texts, whatever else they look like.
    let keys = Keys::parse(&yaml(&[&row("0123", "principal: 0123, groups: [1.0, true]")])).unwrap();
    let principal = &keys.0["0123"].principal;
    assert_eq!(
        (principal.id(), principal.groups()),
        ("keys/0123", &["keys/1.0".to_owned(), "keys/true".to_owned()][..])
    );
    assert!(!format!("{keys:?}").contains("marker"));
    assert!(Keys::parse("keys: []").unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn keys_follow_their_file() {
    let file = NamedTempFile::new().unwrap();
    let path = file.path();
    let write = |text: &str| std::fs::write(path, text).unwrap();
    let within_two_seconds = || tokio::time::sleep(Duration::from_secs(2));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let row = |ak: &str| row(ak, "principal: a");

    write(&yaml(&[&row("AK1")]));
    let keys = watch(path.to_owned(), &tasks, stop.clone()).await.unwrap();
    let known = || {
        let mut known: Vec<_> = keys.borrow().0.keys().cloned().collect();
        known.sort();
        known.join(" ")
    };
    assert_eq!(known(), "AK1");

    write(&yaml(&[&row("AK1"), &row("AK2")]));
    within_two_seconds().await;
    assert_eq!(known(), "AK1 AK2");

    let half = yaml(&[&row("AK2")]);
    for bad in [half.trim_end_matches("}\n"), "", "keys: 3", "\u{0}", "keys:\n  - {ak: AK2}\n"] {
        write(bad);
        within_two_seconds().await;
        assert_eq!(known(), "AK1 AK2", "{bad}");
    }
    std::fs::write(path, [0xff]).unwrap();
    within_two_seconds().await;
    assert_eq!(known(), "AK1 AK2", "not text");
    std::fs::remove_file(path).unwrap();
    within_two_seconds().await;
    assert_eq!(known(), "AK1 AK2", "no file");

    // A mounted secret is a symlink that is swapped.
    let other = NamedTempFile::new().unwrap();
    std::fs::write(other.path(), yaml(&[&row("AK2")])).unwrap();
    std::os::unix::fs::symlink(other.path(), path).unwrap();
    within_two_seconds().await;
    assert_eq!(known(), "AK2");

    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_gate_with_wrong_keys_does_not_start() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let missing = Path::new("/nowhere/keys.yaml").to_owned();
    let error = watch(missing, &tasks, stop).await.unwrap_err();
    assert!(matches!(error, StartError::Keys { .. }));
    assert!(error.to_string().contains("/nowhere/keys.yaml"));
}

#[test]
fn new_pairs_look_like_the_clouds() {
    let pairs: Vec<_> = (0..50).map(|_| create().unwrap()).collect();
    for Pair { access_key_id, secret_access_key } in &pairs {
        let sk = secret_access_key.expose();
        assert!(access_key_id.len() == 20 && sk.len() == 40);
        let upper = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit();
        assert!(access_key_id.bytes().all(upper));
        assert!(sk.bytes().all(|it| it.is_ascii_alphanumeric()));
        let text = yaml(&[&format!("{{ak: {access_key_id}, sk: {sk}, principal: a}}")]);
        assert!(Keys::parse(&text).is_ok());
    }
    let distinct: std::collections::HashSet<_> =
        pairs.iter().map(|it| it.secret_access_key.expose()).collect();
    assert_eq!(distinct.len(), pairs.len());
    let seen: std::collections::HashSet<_> =
        pairs.iter().flat_map(|it| it.secret_access_key.expose().bytes()).collect();
    assert_eq!(seen.len(), 62, "every letter and digit occurs in 2000 draws");
    assert!(!format!("{:?}", pairs[0]).contains(pairs[0].secret_access_key.expose()));
}
