//! HTTP/2 with prior knowledge. Numbers are those of the attack list.

use crate::support::toy::{World, limits, within};

use lychgate::server::Limits;

use bytes::Bytes;
use http::request::Builder;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// A client on `stream` whose driver runs on the world's tracker.
pub(crate) async fn connect<IO>(world: &World, stream: IO) -> SendRequest<Full<Bytes>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.unwrap();
    world.tracker.spawn(async {
        let _ = connection.await;
    });
    sender
}

/// `status body`, or the error.
pub(crate) async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<String, hyper::Error> {
    within(async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(format!("{status} {}", str::from_utf8(&body).unwrap()))
    })
    .await
}

fn delete(uri: &str) -> Builder {
    Request::builder().method(Method::DELETE).uri(uri)
}

fn empty(request: Builder) -> Request<Full<Bytes>> {
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn requests_are_judged_like_those_of_http1() {
    const URI: &str = "http://gate/v2/p/training-jobs/j";
    let world = World::start(limits()).await;
    let mut sender = connect(&world, world.connect().await).await;
    let many = (0..65).fold(delete(URI), |it, at| it.header(format!("a-{at}"), "b"));
    let large = (0..5).fold(delete(URI), |it, at| it.header(format!("a-{at}"), "b".repeat(8000)));
    let long = format!("http://gate/{}", "a".repeat(2048));
    for (number, request, expected) in [
        (0, empty(delete(URI)), "202 0 DELETE http://gate/v2/p/training-jobs/j"),
        (0, empty(delete(URI).header("host", "gate")), "202 1 DELETE"),
        (0, empty(delete(URI).header("content-length", "0")), "202 2 DELETE"),
        (3, empty(delete("http://gate//a%2F..;b?c")), "202 3 DELETE http://gate//a%2F..;b?c"),
        (5, empty(delete(&long)), "414 Lychgate.4141"),
        (11, empty(Request::trace(URI)), "405 Lychgate.4051"),
        (12, empty(delete(URI).method("delete")), "400 Lychgate.4006"),
        (18, delete(URI).body(Full::from("abcd")).unwrap(), "400 Lychgate.4007"),
        (20, empty(delete("http://gate:0/")), "400 Lychgate.4006"),
        (20, empty(delete("http://user@gate/")), "400 Lychgate.4006"),
        (22, empty(many), "431 Lychgate.4311"),
        (22, empty(large), "431 Lychgate.4311"),
        (32, empty(delete(URI).header("host", "other")), "400 Lychgate.4006"),
        (32, empty(delete(URI).header("host", "gate").header("host", "gate")), "400 Lychgate.4006"),
        (36, empty(delete(URI).header("x_forwarded_for", "10.0.0.1")), "400 Lychgate.4006"),
        // The connection has stayed open and in step.
        (0, empty(delete(URI)), "202 4 DELETE"),
    ] {
        let answer = send(&mut sender, request).await.unwrap();
        assert!(answer.starts_with(expected), "{number}: {answer}");
    }
    drop(sender);
    world.stop().await;
}

#[tokio::test]
async fn a_drain_lets_streams_finish() {
    let world = World::start(limits()).await;
    let mut sender = connect(&world, world.connect().await).await;
    let mut waiting = sender.clone();
    let waiting = send(&mut waiting, empty(delete("http://gate/wait")));
    let drain = async {
        while world.reached() == 0 {
            tokio::task::yield_now().await;
        }
        world.drain.cancel();
        // Until the client has seen that no more requests are taken.
        while send(&mut sender, empty(delete("http://gate/"))).await.is_ok() {}
        world.gate.add_permits(1);
    };
    let (answer, ()) = within(async { tokio::join!(waiting, drain) }).await;
    assert_eq!(answer.unwrap(), "202 0 DELETE http://gate/wait");
    drop(sender);
    world.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let world = World::start(Limits { idle: Duration::from_millis(50), ..limits() }).await;
    let mut sender = connect(&world, world.connect().await).await;
    assert!(send(&mut sender, empty(delete("http://gate/"))).await.is_ok());
    within(async {
        while sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.stop().await;
}
