//! The sources against emulated issuers on loopback, which answer as the official SDKs expect.

use super::*;

use jiff::SignedDuration;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the issuer is asked, and what it answers.
type Script = Arc<Mutex<dyn FnMut(&str) -> (u16, String) + Send>>;

/// One request per connection: head and body as text, in the order of their arrival.
async fn issuer(
    tracker: &TaskTracker,
    answer: impl FnMut(&str) -> (u16, String) + Send + 'static,
) -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script: Script = Arc::new(Mutex::new(answer));
    tracker.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !is_whole(&request) {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let (status, body) =
                (script.lock().unwrap())(&String::from_utf8(request).unwrap().to_lowercase());
            if status == 0 {
                continue;
            }
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}").parse().unwrap()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
    length.is_none_or(|it| it.parse() == Ok(body.len()))
}

fn in_seconds(seconds: i64) -> String {
    let at = Clock::system().now() + SignedDuration::from_secs(seconds);
    format!("{at:.6}")
}

fn ecs(id: &str, seconds: i64) -> (u16, String) {
    let expires = in_seconds(seconds);
    let body = format!(
        r#"{{"credential":{{"access":"{id}","secret":"s","securitytoken":"t","expires_at":"{expires}"}}}}"#
    );
    (200, body)
}

/// A metadata service without tokens, which gives each call for a credential its number.
async fn old_metadata(
    tracker: &TaskTracker,
    mut answer: impl FnMut(usize) -> (u16, String) + Send + 'static,
) -> Uri {
    let mut calls = 0;
    issuer(tracker, move |request| {
        if request.starts_with("put ") {
            return (404, String::new());
        }
        calls += 1;
        answer(calls)
    })
    .await
}

fn parts(clock: &Clock, tracker: TaskTracker, refused: watch::Receiver<bool>) -> Parts {
    Parts {
        clock: clock.clone(),
        tracker,
        stop: CancellationToken::new(),
        trouble: Trouble::default(),
        metrics: Vec::new(),
        refused,
    }
}

async fn id(provider: &mut Provider) -> String {
    provider.fetch().await.unwrap().credential.access_key_id().to_owned()
}

#[tokio::test]
async fn ecs_metadata_is_asked_with_a_token_that_is_renewed_when_it_ends() {
    let mut tokens = 0;
    let tracker = TaskTracker::new();
    let endpoint = issuer(&tracker, move |request| {
        if request.starts_with("put /meta-data/latest/api/token http/1.1") {
            assert!(request.contains("x-metadata-token-ttl-seconds: 21600\r\n"), "{request}");
            tokens += 1;
            return (200, format!("token-{tokens}"));
        }
        assert!(request.starts_with("get /openstack/latest/securitykey http/1.1"), "{request}");
        match tokens {
            1 if request.contains("x-metadata-token: token-1\r\n") => {
                tokens = 10;
                ecs("FIRST", 3600)
            }
            11 if request.contains("x-metadata-token: token-11\r\n") => ecs("SECOND", 3600),
            _ => (401, "{}".to_owned()),
        }
    })
    .await;
    let mut provider = Provider::new(Issuer::Metadata(endpoint)).unwrap();
    assert_eq!(id(&mut provider).await, "FIRST");
    assert_eq!(id(&mut provider).await, "SECOND");
}

#[tokio::test]
async fn an_old_metadata_service_is_asked_without_a_token() {
    for status in [404, 405, 503] {
        let mut asked_for_tokens = 0;
        let tracker = TaskTracker::new();
        let endpoint = issuer(&tracker, move |request| {
            if request.starts_with("put ") {
                asked_for_tokens += 1;
                assert_eq!(asked_for_tokens, 1);
                return (status, String::new());
            }
            assert!(!request.contains("x-metadata-token"), "{request}");
            ecs("OLD", 3600)
        })
        .await;
        let mut provider = Provider::new(Issuer::Metadata(endpoint)).unwrap();
        assert_eq!(id(&mut provider).await, "OLD");
        assert_eq!(id(&mut provider).await, "OLD");
    }
}

#[tokio::test]
async fn a_pod_and_an_agency_are_asked_for_with_the_token_of_now() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let tracker = TaskTracker::new();
    let answer = |request: &str, id: &str| {
        let expires = in_seconds(3600);
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        let body = match request.starts_with("post /v5/agencies/assume-with-oidc http/1.1") {
            true => format!(
                r#"{{"credentials":{{"access_key_id":"{id}","secret_access_key":"s","security_token":"t","expiration":"{expires}"}}}}"#
            ),
            false => format!(
                r#"{{"credentials":{{"accessKeyId":"{id}","secretAccessKey":"s","securityToken":"t","expiration":"{expires}"}}}}"#
            ),
        };
        (200, body)
    };
    let pod = issuer(&tracker, move |request| {
        assert!(request.starts_with("post /v1/credentials http/1.1"), "{request}");
        assert!(request.ends_with("\r\n\r\n{}"), "{request}");
        match request.contains("authorization: one\r\n") {
            true => answer(request, "ONE"),
            false if request.contains("authorization: two\r\n") => answer(request, "TWO"),
            false => (401, String::new()),
        }
    })
    .await;
    let sts = issuer(&tracker, move |request| {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(!request.contains("authorization:"), "{request}");
        assert_eq!(body["provider_urn"], "provider");
        assert_eq!(body["agency_urn"], "agency");
        assert_eq!(body["agency_session_name"], "session");
        assert_eq!(body["duration_seconds"], 900);
        match body["id_token"].as_str().unwrap() {
            "one" => answer(request, "ONE"),
            "two" => answer(request, "TWO"),
            _ => (401, String::new()),
        }
    })
    .await;
    let uri = format!("{pod}v1/credentials").parse().unwrap();
    let pod = PodIdentity { uri, roots: Roots::Nobody, token: token.clone() };
    let mut pod = Provider::new(Issuer::PodIdentity(pod)).unwrap();
    let agency = Oidc {
        endpoint: sts,
        roots: Roots::Nobody,
        provider: "provider".to_owned(),
        agency: "agency".to_owned(),
        session: "session".to_owned(),
        token: token.clone(),
        duration: Duration::from_secs(900),
    };
    let mut agency = Provider::new(Issuer::Oidc(agency)).unwrap();
    for provider in [&mut pod, &mut agency] {
        std::fs::write(&token, "one\n").unwrap();
        assert_eq!(id(provider).await, "ONE");
        std::fs::write(&token, "two").unwrap();
        assert_eq!(id(provider).await, "TWO");
        std::fs::write(&token, "three").unwrap();
        assert!(provider.fetch().await.unwrap_err().to_string().contains("401"));
        std::fs::remove_file(&token).unwrap();
        assert!(
            provider.fetch().await.unwrap_err().to_string().contains("the file with the token")
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_no_temporary_credential_is_refused_and_not_quoted() {
    for body in [
        "",
        "[]",
        r#"{"credential":{"access":"A","secret":"hunter2","expires_at":"2099-01-01T00:00:00Z"}}"#,
        r#"{"credential":{"access":"A","secret":"hunter2","securitytoken":"hunter2"}}"#,
        r#"{"credential":{"access":"A","secret":"s","securitytoken":"t","expires_at":"hunter2"}}"#,
        r#"{"credential":{"access":"A B","secret":"hunter2","securitytoken":"t","expires_at":"2099-01-01T00:00:00Z"}}"#,
    ] {
        let tracker = TaskTracker::new();
        let endpoint = old_metadata(&tracker, move |_| (200, body.to_owned())).await;
        let error = Provider::new(Issuer::Metadata(endpoint))
            .unwrap()
            .fetch()
            .await
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// A key that the cloud refuses is asked for anew, at once if the last call is a minute old, and then
/// once a minute.
#[tokio::test]
async fn a_key_that_is_refused_is_asked_for_anew() {
    let tracker = TaskTracker::new();
    let endpoint = old_metadata(&tracker, |call| ecs(&format!("KEY{call}"), 86_400)).await;
    let clock = Clock::manual(Clock::system().now());
    let (refuse, refused) = watch::channel(false);
    let parts = parts(&clock, tracker, refused);
    let mut credential = start(&Source::EcsMetadata(endpoint), parts).await.unwrap();
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(20), credential.changed()).await.unwrap().unwrap();
        let it = credential.borrow_and_update();
        it.as_ref().map(|it| it.access_key_id().to_owned())
    };
    assert_eq!(next().await.as_deref(), Some("KEY1"));
    clock.set(clock.now() + SignedDuration::from_mins(10));
    refuse.send_replace(true);
    assert_eq!(next().await.as_deref(), Some("KEY2"));
    // Not sooner than after a minute.
    clock.set(clock.now() + SignedDuration::from_secs(59));
    refuse.send_replace(true);
    let sooner = tokio::time::timeout(Duration::from_millis(200), next()).await;
    assert!(sooner.is_err(), "{sooner:?}");
    clock.set(clock.now() + SignedDuration::from_secs(1));
    refuse.send_replace(true);
    assert_eq!(next().await.as_deref(), Some("KEY3"));
}
