//! TLS files that change under the running gate.

use super::{behind_tls, delete, is_accepted, said};
use crate::support::http::Connection;
use crate::support::pki::{Authority, Pair, dns, localhost, named};
use crate::support::world::{World, put, until};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

const UNLIMITED: &str = "limits: {per_principal: {rate: 100000, burst: 100000}}\nledger:";

/// The certificate that a new connection gets.
async fn shown(world: &World, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = crate::support::http::tls(world.gate, Arc::clone(config)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Waits until the reload has failed once more.
async fn until_failed(world: &World) {
    const NAME: &str = "lychgate_tls_reload_failures_total ";
    let failures = async || -> u64 {
        let metrics = world.metrics().await;
        metrics.lines().find_map(|it| it.strip_prefix(NAME)).unwrap().parse().unwrap()
    };
    let before = failures().await;
    until("nothing failed", async || failures().await != before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_rotated_without_a_failed_request() {
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let (old, new) = (server.issue(&localhost()), server.issue(&localhost()));
    let world = behind_tls(&server, &clients)
        .config("ledger:", UNLIMITED)
        .file("tls.crt", &old.certificate)
        .file("tls.key", &old.key)
        .start()
        .await;
    let shower = clients.issue(&named(&[dns("a.example")]));
    let config = server.client(Some(&shower), &["http/1.1"]);
    let (done, answered) = (Cell::new(false), Cell::new(0));
    let ask = async |connection: &mut Connection| {
        let answer = connection.ask(delete("gate", "").as_bytes()).await.expect("an answer");
        assert!(is_accepted(&said(&answer)), "{answer:?}");
        answered.set(answered.get() + 1);
    };
    let kept = async {
        let mut connection = Connection::open_tls(world.gate, Arc::clone(&config)).await.unwrap();
        while !done.get() {
            ask(&mut connection).await;
        }
    };
    let fresh = async {
        while !done.get() {
            let config = Arc::clone(&config);
            ask(&mut Connection::open_tls(world.gate, config).await.unwrap()).await;
        }
    };
    let directory = world.directory.path();
    let rotate = async {
        assert_eq!(shown(&world, &config).await, old.der());
        // A key that does not fit, half a file, none at all: each is noticed and changes nothing.
        for text in [&new.key[..], &new.key[..new.key.len() / 2], ""] {
            put(directory, "tls.key", text);
            until_failed(&world).await;
            assert_eq!(shown(&world, &config).await, old.der());
        }
        fs::remove_file(directory.join("tls.key")).unwrap();
        until_failed(&world).await;
        assert_eq!(shown(&world, &config).await, old.der());
        // Both at once, as a Secret volume swaps a symlink.
        put(directory, "next/tls.crt", &new.certificate);
        put(directory, "next/tls.key", &new.key);
        for name in ["tls.crt", "tls.key"] {
            symlink(directory.join("next").join(name), directory.join("link")).unwrap();
            fs::rename(directory.join("link"), directory.join(name)).unwrap();
        }
        let what = "the new certificate is not in use";
        until(what, async || shown(&world, &config).await == new.der()).await;
        let before = answered.get();
        until("the load has stopped", async || before + 10 <= answered.get()).await;
        done.set(true);
    };
    tokio::join!(kept, fresh, rotate);
    assert!(10 < answered.get());
}

#[tokio::test]
async fn who_vouches_for_clients_can_be_replaced() {
    let (server, old, new) =
        (Authority::new("server"), Authority::new("old"), Authority::new("new"));
    let world = behind_tls(&server, &old).start().await;
    let named = named(&[dns("a.example")]);
    let (of_old, of_new) = (old.issue(&named), new.issue(&named));
    let client = |pair: Option<&Pair>| server.client(pair, &["http/1.1"]);
    let ask = async |pair: Option<&Pair>, fields: &str| {
        let mut connection = Connection::open_tls(world.gate, client(pair)).await.ok()?;
        connection.ask(delete("gate", fields).as_bytes()).await.map(|it| said(&it))
    };
    let mut kept = Connection::open_tls(world.gate, client(Some(&of_old))).await.unwrap();
    assert!(is_accepted(&said(&kept.ask(delete("gate", "").as_bytes()).await.unwrap())));
    let token = format!("Authorization: Bearer {}\r\n", world.token("alice"));
    let mut other = Connection::open_tls(world.gate, client(None)).await.unwrap();
    assert!(is_accepted(&said(&other.ask(delete("gate", &token).as_bytes()).await.unwrap())));
    assert_eq!(ask(Some(&of_new), "").await, None);

    put(world.directory.path(), "clients.crt", &new.certificate);
    let what = "the new authority does not count";
    until(what, async || ask(Some(&of_new), "").await.is_some()).await;
    assert_eq!(ask(Some(&of_old), "").await, None);
    // A connection that the old authority vouched for ends; others stay.
    assert!(kept.answer().await.is_none());
    assert!(is_accepted(&said(&other.ask(delete("gate", &token).as_bytes()).await.unwrap())));

    // Both together, while clients move from one to the other.
    put(world.directory.path(), "clients.crt", &(new.certificate + &old.certificate));
    let what = "the old authority does not count again";
    until(what, async || ask(Some(&of_old), "").await.is_some()).await;
    assert!(ask(Some(&of_new), "").await.is_some());
}
