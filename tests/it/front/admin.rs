//! The admin listener.

use crate::support::toy::{World, field, limits, read_to_end, within};

use lychgate::server::admin;
use lychgate::server::admin::Check;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Status, content type and body of one request.
async fn ask(world: &World, method: &str, path: &str) -> (u16, String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n");
    let mut stream = world.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (status, field(head, "content-type").unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test]
async fn it_answers_three_paths_and_only_to_be_read() {
    let ledger = Arc::new(AtomicBool::new(true));
    let checks = {
        let ledger = Arc::clone(&ledger);
        move || {
            let ledger = ledger.load(Ordering::Relaxed);
            vec![
                Check { name: "ledger", ok: ledger, counted: true, detail: None },
                Check { name: "reload", ok: false, counted: false, detail: None },
            ]
        }
    };
    let router = admin::admin(checks, |ready| format!("ready {ready}\n"));
    let world = World::serve(router, limits()).await;

    let ready = concat!(
        r#"{"ready":true,"checks":[{"name":"ledger","ok":true,"counted":true},"#,
        r#"{"name":"reload","ok":false,"counted":false}]}"#
    );
    let metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = "text/plain; charset=utf-8";
    // attack 89: these and no others.
    for (method, path, status, content_type, body) in [
        ("GET", "/livez", 200, text, "ok\n"),
        ("HEAD", "/livez", 200, text, ""),
        ("GET", "/readyz", 200, "application/json", ready),
        ("HEAD", "/readyz", 200, "application/json", ""),
        ("GET", "/metrics", 200, metrics, "ready true\n"),
        ("HEAD", "/metrics", 200, metrics, ""),
        ("POST", "/livez", 405, "", ""),
        ("DELETE", "/readyz", 405, "", ""),
        ("OPTIONS", "/metrics", 405, "", ""),
        ("GET", "/", 404, "", ""),
        ("GET", "/livez/", 404, "", ""),
        ("GET", "/debug/pprof", 404, "", ""),
        ("GET", "/config", 404, "", ""),
        ("DELETE", "/v2/p/training-jobs/3faf5c03-aaa1-4cbe-879d-24b05d997347", 404, "", ""),
        // A head that the guard refuses.
        ("get", "/livez", 400, "", ""),
        ("TRACE", "/livez", 405, "", ""),
    ] {
        let expected = (status, content_type.to_owned(), body.to_owned());
        assert_eq!(ask(&world, method, path).await, expected, "{method} {path}");
    }

    ledger.store(false, Ordering::Relaxed);
    let (status, _, body) = ask(&world, "GET", "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.starts_with(r#"{"ready":false,"#), "{body}");
    assert_eq!(ask(&world, "GET", "/metrics").await.2, "ready false\n");
    assert_eq!(ask(&world, "GET", "/livez").await.0, 200);
    world.stop().await;
}

#[tokio::test]
async fn answers_are_not_kept_and_large_ones_are_compressed_on_request() {
    let text = "lychgate_requests_total 1\n".repeat(500);
    let metrics = text.clone();
    let admin = admin::admin(Vec::new, move |_| metrics.clone());
    let world = World::serve(admin, limits()).await;
    for (accepts, encoding) in [("", None), ("Accept-Encoding: gzip\r\n", Some("gzip"))] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{accepts}\r\n");
        let mut stream = world.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        let answer_text = String::from_utf8_lossy(&answer);
        let (head, _) = answer_text.split_once("\r\n\r\n").unwrap();
        assert_eq!(field(head, "cache-control"), Some("no-store"));
        assert_eq!(field(head, "content-encoding"), encoding);
        assert_eq!(answer.len() < text.len() / 10, encoding.is_some(), "{}", answer.len());
    }
    world.stop().await;
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_listener_goes_on() {
    let admin = admin::admin(Vec::new, |_| panic!("as asked"));
    let world = World::serve(admin, limits()).await;
    for (path, status) in [("/metrics", 500), ("/livez", 200)] {
        assert_eq!(ask(&world, "GET", path).await.0, status, "{path}");
    }
    world.stop().await;
}
