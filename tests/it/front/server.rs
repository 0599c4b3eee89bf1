//! Connections as a whole: limits, time-outs, panics, drain.

use crate::support::toy::{GOOD, World, limits, read_one, read_to_end, split, within};

use lychgate::server::Limits;

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_millis(50);

fn request(path: &str) -> String {
    format!("DELETE {path} HTTP/1.1\r\nHost: gate\r\n\r\n")
}

/// A connection on which one request is answered and the next one waits for its permit.
async fn busy(world: &World) -> TcpStream {
    let mut stream = world.connect().await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    read_one(&mut stream).await;
    let before = world.reached();
    stream.write_all(request("/wait").as_bytes()).await.unwrap();
    within(async {
        while world.reached() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stream
}

/// attack 88
#[tokio::test]
async fn a_panic_is_one_500_and_nothing_more() {
    let world = World::start(limits()).await;
    let mut stream = world.connect().await;
    let fault = r#"500 {"error_code":"Lychgate.5001","#;
    for (path, expected) in [("/a", "202 0"), ("/panic", fault), ("/b", "202 2")] {
        stream.write_all(request(path).as_bytes()).await.unwrap();
        let answer = split(&read_one(&mut stream).await);
        assert!(answer[0].starts_with(expected), "{answer:?}");
    }
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn refused_heads_are_counted() {
    let world = World::start(limits()).await;
    world.exchange(b"delete / HTTP/1.1\r\nHost: gate\r\n\r\n").await;
    let expected = "lychgate_heads_refused_total{error_code=\"Lychgate.4006\"} 1\n";
    assert!(world.metrics.encode().contains(expected), "{}", world.metrics.encode());
    world.stop().await;
}

/// attack 87
#[tokio::test]
async fn one_connection_too_many_is_closed_and_its_place_is_free_again_later() {
    for (in_all, per_peer, limit) in [(2, 10, "in_all"), (10, 2, "peer")] {
        let world = World::start_for(in_all, per_peer, limits()).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = world.connect().await;
            stream.write_all(GOOD.as_bytes()).await.unwrap();
            assert!(read_one(&mut stream).await.contains(" 202 "));
            held.push(stream);
        }
        let mut refused = world.connect().await;
        assert!(matches!(within(refused.read(&mut [0])).await, Ok(0) | Err(_)));
        let counted = format!("lychgate_connections_refused_total{{limit=\"{limit}\"}} 1\n");
        assert!(world.metrics.encode().contains(&counted), "{}", world.metrics.encode());
        held.pop();
        within(async {
            loop {
                let mut stream = world.connect().await;
                if stream.write_all(GOOD.as_bytes()).await.is_ok() && stream.read_u8().await.is_ok()
                {
                    break;
                }
            }
        })
        .await;
        drop(held);
        world.stop().await;
    }
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let world = World::start(Limits { idle: SHORT, ..limits() }).await;
    let mut busy = busy(&world).await;
    // Silent from the start, and silent after a request: on each protocol's side of the first byte.
    let mut silent = world.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(split(&world.exchange(GOOD.as_bytes()).await).len(), 1);
    // By now the busy connection has been without a new request for as long.
    world.gate.add_permits(1);
    assert!(read_one(&mut busy).await.contains(" 202 "));
    assert_eq!(read_to_end(&mut busy).await, "");
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits { idle: SHORT, close: SHORT, ..limits() };
    let world = World::start(limits).await;
    let mut stream = world.connect().await;
    // Answers as long as their requests pile up until the buffers take no more.
    let requests = request(&format!("/{}", "a".repeat(2000))).repeat(100);
    let ended = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    within(ended).await;
    world.stop().await;
}

/// attack 86
#[tokio::test]
async fn a_drain_finishes_what_is_under_way() {
    let world = World::start(limits()).await;
    let mut waiting = busy(&world).await;
    let mut idle = world.connect().await;
    idle.write_all(GOOD.as_bytes()).await.unwrap();
    read_one(&mut idle).await;
    let mut between = world.connect().await;
    between.write_all(GOOD.as_bytes()).await.unwrap();
    read_one(&mut between).await;
    let address = world.address;

    world.drain.cancel();
    // A request that crosses the drain on its way is answered, and told to come on another one.
    between.write_all(GOOD.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut between).await;
    assert!(answer.contains(" 202 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(read_to_end(&mut idle).await, "");
    world.gate.add_permits(1);
    let answer = read_to_end(&mut waiting).await;
    assert!(answer.contains(" 202 ") && answer.contains("connection: close"), "{answer}");
    world.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let world = World::start(Limits { drain: SHORT, ..limits() }).await;
    let mut waiting = busy(&world).await;
    world.stop().await;
    let mut rest = String::new();
    let _ = within(waiting.read_to_string(&mut rest)).await;
    assert_eq!(rest, "");
}
