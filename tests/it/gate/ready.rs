//! What `/readyz` says of a gate that cannot work yet: not only what is missing, but why.

use crate::support::http;
use crate::support::world::{CLOUD_AK, CLOUD_SK, PATIENCE, World, put};

use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Waits until `holds` of the check `name`.
async fn check(world: &World, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = http::send(world.admin, b"GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let checks = body["checks"].as_array().unwrap();
        let check = checks.iter().find(|it| it["name"] == name).unwrap();
        if holds(check) {
            return check.clone();
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_does_not_hold_says_why() {
    let world = World::builder()
        // Nobody listens on port 1.
        .config("{file: jwks.json}", "{url: 'http://127.0.0.1:1/keys'}")
        .config("  keys: {file: keys.yaml}\n", "")
        .config("{file: cloud.yaml}", "{file: late.yaml}")
        .start()
        .await;
    for (name, words) in [
        ("identity", &["corp: ", "Connection refused"][..]),
        ("credential", &["emulator: ", "late.yaml", "No such file"]),
    ] {
        let told = check(&world, name, |it| it["detail"].is_string()).await;
        let detail = told["detail"].as_str().unwrap();
        assert_eq!(told["ok"], false, "{told}");
        assert!(words.iter().all(|it| detail.contains(it)), "{told}");
    }
    // What works has nothing to tell.
    let text = format!("ak: {CLOUD_AK}\nsk: {CLOUD_SK}\n");
    put(world.directory.path(), "late.yaml", &text);
    let told = check(&world, "credential", |it| it["ok"] == true).await;
    assert_eq!(told["detail"], Value::Null);
    world.stop().await;
}
