//! Fetching over real connections: attacks 46, 50.

use super::*;
use crate::authn::config::{Remote, STALE_KEYS};
use crate::authn::jwt::support;
use crate::client::Roots;
use crate::text;

use std::sync::{Arc, Mutex};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The one media type that the server has for a path.
fn offered(path: &str) -> &'static str {
    match path {
        "/keys" | "/openid/v1/jwks" => "application/jwk-set+json",
        "/octets" => "application/octet-stream",
        _ => "application/json",
    }
}

/// Whether the request's `Accept` has room for the type, as the Kubernetes API server reads it: it
/// compares whole names and leaves weights and `type/*` out of account.
fn accepts(head: &str, media_type: &str) -> bool {
    let head = head.to_ascii_lowercase();
    let Some(accept) = head.lines().find_map(|it| it.strip_prefix("accept:")) else { return true };
    accept.split(',').any(|it| {
        let name = it.split(';').next().unwrap_or_default().trim();
        name == "*/*" || name == media_type
    })
}

/// A server that answers each path with the bytes that it was given, and keeps what it was asked.
/// It negotiates: 406 for whoever does not accept the type that it has.
struct Server {
    origin: String,
    heads: Arc<Mutex<Vec<String>>>,
    /// Ends when it is dropped.
    _task: JoinSet<()>,
}

impl Server {
    async fn new(answers: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, base) = (Arc::clone(&heads), origin.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let answer = match accepts(&head, offered(&path)) {
                    true => answers(&path, &base),
                    false => "HTTP/1.1 406 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                seen.lock().unwrap().push(head);
                // The client may have heard enough before everything is written.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { origin, heads, _task: task }
    }

    fn paths(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|it| it.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    async fn fetch(
        &self,
        discovery: bool,
        path: &str,
        bearer: Option<PathBuf>,
    ) -> Result<Bytes, Error> {
        let remote = Remote { roots: Roots::Nobody, bearer, stale: STALE_KEYS };
        let url = format!("{}{path}", self.origin);
        let mut issuer = support::issuer(match discovery {
            true => Jwks::Discovery(remote),
            false => Jwks::Url(url.parse().unwrap(), remote),
        });
        issuer.issuer = url;
        Fetcher::new(&issuer).unwrap().fetch().await.map(|(bytes, _)| bytes)
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_is_a_document_of_bounded_size_from_the_host_that_was_asked() {
    let long = "x".repeat(DOCUMENT_BYTES_MAX + 1);
    let server = Server::new(move |path, base| match path {
        "/good" => ok("keys"),
        "/moved" => format!(
            "HTTP/1.1 302 Found\r\nlocation: {base}/good\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ),
        "/error" => "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        "/announced" => format!("HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n{long}"),
        "/endless" => format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
        "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx".to_owned(),
        _ => String::new(),
    })
    .await;
    assert_eq!(server.fetch(false, "/good", None).await.unwrap(), "keys");
    let head = server.heads.lock().unwrap().remove(0).to_ascii_lowercase();
    let host = server.origin.trim_start_matches("http://");
    assert!(head.contains(&format!("host: {host}\r\n")) && !head.contains("authorization"));

    for (path, expected) in [
        ("/moved", "status is 302"),
        ("/error", "status is 503"),
        ("/announced", "longer than"),
        ("/endless", "longer than"),
        ("/cut", "broke off"),
        ("/nothing", "connection"),
    ] {
        let error = text::chain(&server.fetch(false, path, None).await.unwrap_err());
        assert!(error.contains(expected), "{path}: {error}");
    }
    assert!(!server.paths().contains(&"/good".to_owned()), "redirects are not followed");
}

#[tokio::test]
async fn discovery_stays_on_the_issuers_origin() {
    let server = Server::new(|path, base| {
        let document = |issuer: &str, keys: &str| {
            ok(&serde_json::json!({"issuer": issuer, "jwks_uri": keys, "more": 1}).to_string())
        };
        match path {
            "/good/.well-known/openid-configuration" => {
                document(&format!("{base}/good"), &format!("{base}/keys"))
            }
            "/slash/.well-known/openid-configuration" => {
                document(&format!("{base}/slash/"), &format!("{base}/keys"))
            }
            "/stranger/.well-known/openid-configuration" => {
                document(&format!("{base}/good"), &format!("{base}/keys"))
            }
            "/away/.well-known/openid-configuration" => {
                document(&format!("{base}/away"), "http://169.254.169.254/keys")
            }
            "/port/.well-known/openid-configuration" => {
                document(&format!("{base}/port"), "http://127.0.0.1:1/keys")
            }
            "/scheme/.well-known/openid-configuration" => document(
                &format!("{base}/scheme"),
                &format!("{}/keys", base.replace("http", "https")),
            ),
            "/user/.well-known/openid-configuration" => {
                document(&format!("{base}/user"), &format!("{}/keys", base.replace("//", "//u@")))
            }
            "/relative/.well-known/openid-configuration" => {
                document(&format!("{base}/relative"), "/keys")
            }
            "/twice/.well-known/openid-configuration" => {
                ok(&format!(r#"{{"issuer":"{base}/twice","issuer":"x","jwks_uri":"{base}/keys"}}"#))
            }
            "/keys" => ok("keys"),
            _ => ok("<html>"),
        }
    })
    .await;
    for path in ["/good", "/slash/"] {
        assert_eq!(server.fetch(true, path, None).await.unwrap(), "keys", "{path}");
    }
    server.heads.lock().unwrap().clear();
    for (path, expected) in [
        ("/stranger", "its `issuer` is `BASE/good`, and `BASE/stranger` is configured"),
        ("/slash", "its `issuer` is `BASE/slash/`, and `BASE/slash` is configured"),
        (
            "/away",
            "`http://169.254.169.254/keys`, does not have the scheme, host and port of `BASE/away/",
        ),
        (
            "/port",
            "`http://127.0.0.1:1/keys`, does not have the scheme, host and port of `BASE/port/",
        ),
        ("/scheme", "`SCHEME/keys`, does not have the scheme, host and port of `BASE/scheme/"),
        ("/user", "`http://u@HOST/keys`, does not have the scheme, host and port of `BASE/user/"),
        ("/relative", "`/keys`, does not have the scheme, host and port of `BASE/relative/"),
        ("/twice", "not a JSON object"),
        ("/html", "not a JSON object"),
    ] {
        let error = server.fetch(true, path, None).await.unwrap_err();
        let error = text::chain(&error);
        let host = server.origin.trim_start_matches("http://");
        let expected = expected.replace("BASE", &server.origin).replace("HOST", host);
        let expected = expected.replace("SCHEME", &format!("https://{host}"));
        assert!(error.contains(&expected), "{path}: {error}");
        let from = format!("{}{path}/.well-known/openid-configuration: ", server.origin);
        assert!(error.starts_with(&from), "{error}");
    }
    assert!(!server.paths().contains(&"/keys".to_owned()));
}

#[tokio::test]
async fn a_server_that_negotiates_is_asked_for_what_it_has() {
    let server = Server::new(|path, base| match path {
        "/.well-known/openid-configuration" => {
            ok(&format!(r#"{{"issuer":"{base}","jwks_uri":"{base}/openid/v1/jwks"}}"#))
        }
        _ => ok("keys"),
    })
    .await;
    for (discovery, path) in
        [(true, ""), (false, "/openid/v1/jwks"), (false, "/json"), (false, "/octets")]
    {
        let keys = server.fetch(discovery, path, None).await;
        assert_eq!(keys.unwrap(), "keys", "{path} {discovery}");
    }
    for head in server.heads.lock().unwrap().iter() {
        let named = accepts(&head.replace("*/*", ""), "application/jwk-set+json");
        assert!(named, "a server that does not know wildcards: {head}");
    }
}

#[tokio::test]
async fn the_bearer_token_is_read_for_each_request() {
    let server = Server::new(|_, _| ok("keys")).await;
    let file = NamedTempFile::new().unwrap();
    for (text, good) in [
        ("one\n", true),
        ("two", true),
        ("a\nb", false),
        ("\u{1}", false),
        ("\u{feff}one", false),
        ("t\u{f6}ken", false),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let result = server.fetch(false, "/", Some(file.path().to_owned())).await;
        assert_eq!(result.is_ok(), good, "{text:?}");
        if good {
            let head = server.heads.lock().unwrap().pop().unwrap();
            assert!(head.contains(&format!("authorization: Bearer {}\r\n", text.trim())), "{head}");
        }
    }
    let result = server.fetch(false, "/", Some("/nowhere/token".into())).await;
    let error = text::chain(&result.unwrap_err());
    assert!(
        error.contains("/: the file with the bearer token: it cannot be read: No such"),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_names_the_host_that_it_goes_to_and_no_other() {
    let server = Server::new(|_, _| ok("keys")).await;
    let client = client::new(&client::Config {
        roots: Roots::Nobody,
        connect: CONNECT_MAX,
        idle: IDLE_MAX,
        idle_per_host: 1,
    });
    let client = client.unwrap();
    let request = Request::get(&server.origin).header(header::HOST, "another");
    let request = request.body(Bytes::new()).unwrap();
    client::fetch(&client, request, FETCH_MAX, DOCUMENT_BYTES_MAX).await.unwrap();
    let head = server.heads.lock().unwrap().pop().unwrap();
    let hosts: Vec<_> = head.lines().filter_map(|it| it.strip_prefix("host: ")).collect();
    assert_eq!(hosts, [server.origin.strip_prefix("http://").unwrap()]);
}

#[tokio::test]
async fn files_are_bounded_too() {
    let file = NamedTempFile::new().unwrap();
    let fetcher = Fetcher::File(file.path().to_owned());
    std::fs::write(file.path(), "x".repeat(DOCUMENT_BYTES_MAX)).unwrap();
    assert!(fetcher.fetch().await.is_ok());
    std::fs::write(file.path(), "x".repeat(DOCUMENT_BYTES_MAX + 1)).unwrap();
    let error = || async { text::chain(&fetcher.fetch().await.unwrap_err()) };
    let path = file.path().display();
    assert_eq!(error().await, format!("{path}: it is larger than 524288 bytes"));
    std::fs::remove_file(file.path()).unwrap();
    assert!(error().await.starts_with(&format!("{path}: it cannot be read: No such file")));
}
