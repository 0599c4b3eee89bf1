//! Listeners that vouch for whoever reaches them: fixed principals on loopback and Unix sockets.

use super::{LISTEN, code, delete, delete_h2, is_accepted, said};
use crate::front::attacks::ALLOW_ALL;
use crate::support::http::Connection;
use crate::support::world::World;

use lychgate::cli::Exit;
use lychgate::server::{Limits, Listener, Place};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

const FIXED: &str = "  - {address: '127.0.0.1:0'}
  - {address: '127.0.0.1:0', principal: {name: cleanup, groups: [jobs]}}
  - {socket: gate.sock, principal: {name: pod}}
";

async fn start() -> World {
    World::builder().config(LISTEN, FIXED).policies(ALLOW_ALL).start().await
}

/// An official SDK signs with whatever key it was given.
#[tokio::test]
async fn whatever_credential_is_presented_is_not_looked_at() {
    let world = start().await;
    let socket = world.directory.path().join("gate.sock");
    for fields in [
        "",
        "Authorization: SDK-HMAC-SHA256 Access=dummy, SignedHeaders=x, Signature=0\r\n",
        "Authorization: Basic YTpi\r\nX-Auth-Token: MIIF\r\n",
        "X-Auth-Token: a\r\nX-Auth-Token: b\r\n",
    ] {
        let request = delete("localhost", fields);
        let over_tcp = crate::support::http::send(world.addresses[1], request.as_bytes()).await;
        assert!(is_accepted(&said(&over_tcp)), "{fields}: {over_tcp:?}");
        let over_unix = Connection::open_unix(&socket).await.ask(request.as_bytes()).await.unwrap();
        assert!(is_accepted(&said(&over_unix)), "{fields}: {over_unix:?}");
    }
    let records = world.records("decision");
    assert_eq!(records.len(), 8);
    for pair in records.chunks(2) {
        let [tcp, unix] = pair else { panic!("{pair:?}") };
        assert_eq!(
            (&tcp["principal"], &tcp["peer"]),
            (&"local/cleanup".into(), &"127.0.0.1".into())
        );
        assert_eq!(tcp["groups"], serde_json::json!(["local/jobs"]));
        assert_eq!((&unix["principal"], &unix["peer"]), (&"local/pod".into(), &"unix".into()));
        for record in pair {
            assert_eq!(record["source_ip"], "absent");
            assert_eq!(record["context"]["auth_method"], "local");
        }
    }
    // Nothing of this holds for the listener beside them.
    let request = delete("localhost", "");
    assert_eq!(said(&crate::support::http::send(world.gate, request.as_bytes()).await), code(4011));
}

/// A web page may be served from a name that resolves to loopback; its requests name that host.
#[tokio::test]
async fn only_loopback_names_are_answered() {
    let world = start().await;
    let socket = world.directory.path().join("gate.sock");
    for (host, good) in [
        ("localhost", true),
        ("LocalHost:8480", true),
        ("127.0.0.1", true),
        ("127.8.9.10:1", true),
        ("[::1]", true),
        ("[::1]:8480", true),
        ("gate", false),
        ("evil.example:8480", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("10.0.0.1", false),
        ("0.0.0.0", false),
        ("[::2]", false),
        ("[::ffff:127.0.0.1]", false),
        ("2130706433", false),
    ] {
        let request = delete(host, "");
        let over_tcp =
            said(&crate::support::http::send(world.addresses[1], request.as_bytes()).await);
        let mut unix = Connection::open_unix(&socket).await;
        let over_unix = said(&unix.ask(request.as_bytes()).await.unwrap());
        let over_h2 = delete_h2(world.addresses[1], None, host, &[]).await.unwrap();
        for answer in [over_tcp, over_unix, over_h2] {
            match good {
                true => assert!(is_accepted(&answer), "{host}: {answer:?}"),
                false => assert_eq!(answer, code(4006), "{host}"),
            }
        }
        let token = format!("Authorization: Bearer {}\r\n", world.token("alice"));
        let elsewhere =
            crate::support::http::send(world.gate, delete(host, &token).as_bytes()).await;
        assert!(is_accepted(&said(&elsewhere)), "{host}: other listeners do not care");
    }
    let refused =
        crate::support::http::send(world.addresses[1], delete("gate", "").as_bytes()).await;
    assert!(refused.message().contains("the Host must be localhost"), "{}", refused.message());
}

#[tokio::test]
async fn a_socket_file_lives_as_long_as_its_gate() {
    let world = start().await;
    let path = world.directory.path().join("gate.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let place = Place::Unix(path.clone());
    let error = Listener::bind(&place, Limits::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    // The gate that lives was not harmed.
    let answer = Connection::open_unix(&path).await.ask(delete("localhost", "").as_bytes()).await;
    assert!(is_accepted(&said(&answer.unwrap())));
    let (exit, directory) = world.stop().await;
    assert_eq!(exit, Exit::Ok);
    assert!(!path.exists(), "{directory:?}");
}

#[tokio::test]
async fn what_a_killed_gate_left_behind_is_replaced_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gate.sock");
    let place = Place::Unix(path.clone());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::bind(&place, Limits::default()).await.unwrap();
    // Somebody else's file is left alone, at the start and at the end.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    drop(listener);
    let error = Listener::bind(&place, Limits::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = Place::Unix(directory.path().join("nowhere/gate.sock"));
    assert!(Listener::bind(&nowhere, Limits::default()).await.is_err());
}
