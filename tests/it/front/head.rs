//! Request heads as raw bytes over a socket. Numbers are those of the attack list.

use crate::support::toy::{GOOD, World, limits, read_one, read_to_end, within};

use lychgate::server::Limits;

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BODY: &str = "400 Lychgate.4007";
const LARGE: &str = "431 Lychgate.4311";
const MALFORMED: &str = "400 Lychgate.4006";
const METHOD: &str = "405 Lychgate.4051";
const TARGET: &str = "400 Lychgate.4001";
const VERSION: &str = "505 Lychgate.5051";

fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: gate\r\n\r\n")
}

fn with_field(field: &str) -> String {
    format!("DELETE /v2/p/training-jobs/j HTTP/1.1\r\nHost: gate\r\n{field}\r\n\r\n")
}

/// One row for each way to go wrong: `server::head` has them all.
#[tokio::test]
async fn refused_heads_are_answered_and_close() {
    let many = "A: b\r\n".repeat(64);
    let long = "b".repeat(17 * 1024);
    let chunked = "\r\n\r\n0\r\n\r\n";
    let world = World::start(limits()).await;
    for (number, head, expected) in [
        (4, with_line("DELETE /a\0 HTTP/1.1"), TARGET),
        (5, with_line(&format!("DELETE /{long} HTTP/1.1")), "414 Lychgate.4141"),
        (7, with_line("DELETE http://other/v2/p/training-jobs/j HTTP/1.1"), TARGET),
        (8, with_line("DELETE /v2/p/training-jobs/j#x HTTP/1.1"), TARGET),
        (11, with_line("CONNECT gate:443 HTTP/1.1"), METHOD),
        (12, with_line("delete /v2/p/training-jobs/j HTTP/1.1"), MALFORMED),
        (12, with_line(&format!("{} / HTTP/1.1", "A".repeat(100))), MALFORMED),
        (
            14,
            with_field(&format!("Content-Length: 4\r\nTransfer-Encoding: chunked{chunked}")),
            BODY,
        ),
        (
            14,
            with_field(&format!("Transfer-Encoding: chunked\r\nContent-Length: 0{chunked}")),
            BODY,
        ),
        (15, with_field("Content-Length: 0\r\nContent-Length: 4\r\n\r\nabcd"), MALFORMED),
        (16, with_field("Content-Length: +4\r\n\r\nabcd"), MALFORMED),
        (16, with_field("Content-Length: 18446744073709551616"), BODY),
        (17, with_field("Transfer-Encoding: chunked, identity"), BODY),
        (17, with_field("X: a\r\n Transfer-Encoding: chunked"), MALFORMED),
        (18, with_field("Content-Length: 4\r\n\r\nabcd"), BODY),
        (18, with_field(&format!("Transfer-Encoding: chunked{chunked}")), BODY),
        (19, GOOD.replace("\r\n", "\n"), MALFORMED),
        (19, with_field("X: a\r\n b"), MALFORMED),
        (20, "DELETE / HTTP/1.1\r\nAccept: */*\r\n\r\n".to_owned(), MALFORMED),
        (21, "DELETE /v2/p/training-jobs/j\r\n".to_owned(), VERSION),
        (21, with_line("DELETE / HTTP/1.0\r\nConnection: keep-alive"), VERSION),
        (22, with_field(many.trim_end()), LARGE),
        (22, with_field(&format!("A: {long}")), LARGE),
        (22, with_field(&vec![format!("A: {}", &long[..8000]); 5].join("\r\n")), LARGE),
        (36, with_field("X_Forwarded_User: root"), MALFORMED),
    ] {
        assert_eq!(world.answers(head.as_bytes()).await, [expected], "{number}: {head:?}");
        // In the middle of a pipeline: what is before it is answered, what is after it is not.
        let before = world.reached();
        let pipeline = format!("{GOOD}{GOOD}{head}{GOOD}");
        let answers = world.answers(pipeline.as_bytes()).await;
        let [first, second, third] = answers.as_slice() else {
            panic!("{number}: {answers:?}");
        };
        assert!(first.starts_with(&format!("202 {before} ")), "{number}: {first}");
        assert!(second.starts_with(&format!("202 {} ", before + 1)), "{number}: {second}");
        assert_eq!(third, expected, "{number}");
        assert_eq!(world.reached(), before + 2, "{number}");
    }
    world.stop().await;
}

/// The framing attacks again, on the one route that takes a body.
#[tokio::test]
async fn a_body_is_as_long_as_its_one_content_length() {
    const LENGTH: &str = "411 Lychgate.4111";
    const TOO_LARGE: &str = "413 Lychgate.4131";
    let batch = |fields: &str, rest: &str| {
        format!(
            "POST /v2/p/training-jobs/batch-delete HTTP/1.1\r\nHost: gate\r\n{fields}\r\n\r\n{rest}"
        )
    };
    let chunked = "5\r\nabcde\r\n0\r\n\r\n";
    let world = World::start(limits()).await;
    for (number, request, expected) in [
        (14, batch("Content-Length: 5\r\nTransfer-Encoding: chunked", chunked), LENGTH),
        (14, batch("Transfer-Encoding: chunked\r\nContent-Length: 5", chunked), LENGTH),
        (15, batch("Content-Length: 5\r\nContent-Length: 5", "abcde"), MALFORMED),
        (15, batch("Content-Length: 5\r\nContent-Length: 0", "abcde"), MALFORMED),
        (16, batch("Content-Length: +5", "abcde"), MALFORMED),
        (16, batch("Content-Length: 05", "abcde"), MALFORMED),
        (16, batch("Content-Length: 5, 5", "abcde"), MALFORMED),
        (16, batch("Content-Length: 0x5", "abcde"), MALFORMED),
        (16, batch("Content-Length: 18446744073709551617", "abcde"), TOO_LARGE),
        (17, batch("Transfer-Encoding: chunked", chunked), LENGTH),
        (17, batch("Transfer-Encoding: identity", "abcde"), LENGTH),
        (18, batch("Content-Length: 32769", "abcde"), TOO_LARGE),
        // Elsewhere there is no body, whatever stands in it.
        (18, batch("Content-Length: 5", "abcde").replace("POST", "PUT"), BODY),
        (18, batch("Content-Length: 5", "abcde").replace("batch-delete", "batch-delete?"), BODY),
        (18, batch("Content-Length: 5", "abcde").replace("batch-delete", "j"), BODY),
    ] {
        let before = world.reached();
        let answers = world.answers(format!("{GOOD}{request}{GOOD}").as_bytes()).await;
        assert_eq!(answers.len(), 2, "{number}: {answers:?}");
        assert_eq!(answers[1], expected, "{number}: {request:?}");
        assert_eq!(world.reached(), before + 1, "{number}");
    }
    // What looks like a request within a body is a part of the body, and the next request is the one
    // behind it, in however many pieces all of them arrive.
    let inner = GOOD.trim_end().to_owned() + "\r\n\r\n";
    let whole = batch(&format!("Content-Length: {}", inner.len()), &inner) + GOOD;
    for pieces in [whole.len(), 100, 7, 1] {
        let mut stream = world.connect().await;
        stream.set_nodelay(true).unwrap();
        for piece in whole.as_bytes().chunks(pieces) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let answers = crate::support::toy::split(&read_to_end(&mut stream).await);
        let [first, second] = answers.as_slice() else { panic!("{answers:?}") };
        assert!(
            first.ends_with(&format!(" POST /v2/p/training-jobs/batch-delete {inner}")),
            "{first}"
        );
        assert!(second.ends_with(" DELETE /v2/p/training-jobs/j"), "{second}");
    }
    // Less than was announced is no request, and what is behind it none either.
    let before = world.reached();
    let mut stream = world.connect().await;
    stream.write_all(batch("Content-Length: 6", "abcde").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.ends_with("broken off"), "{answer}");
    assert!(world.reached() <= before + 1);
    world.stop().await;
}

#[tokio::test]
async fn odd_but_harmless_heads_reach_the_router_as_they_came() {
    let world = World::start(limits()).await;
    for (number, head, target) in [
        (1, with_line("DELETE //v2//p/training-jobs/j HTTP/1.1"), "//v2//p/training-jobs/j"),
        (2, with_line("DELETE /v2/p/../..;/j HTTP/1.1"), "/v2/p/../..;/j"),
        (3, with_line("DELETE /v2/p%2F%2e%2e%5C%252F HTTP/1.1"), "/v2/p%2F%2e%2e%5C%252F"),
        (4, with_line("DELETE /a%00%0d%0a HTTP/1.1"), "/a%00%0d%0a"),
        (6, with_line("DELETE /V2/P HTTP/1.1"), "/V2/P"),
        (9, with_line("DELETE /j%3Fa?a=b&a=c HTTP/1.1"), "/j%3Fa?a=b&a=c"),
        (13, with_field("X-HTTP-Method-Override: GET\r\n_method: GET"), "/v2/p/training-jobs/j"),
        (18, with_field("Content-Length: 0"), "/v2/p/training-jobs/j"),
        (25, with_field("Expect: 100-continue"), "/v2/p/training-jobs/j"),
        (33, with_field("Connection: Upgrade\r\nUpgrade: h2c"), "/v2/p/training-jobs/j"),
        (34, with_field("Connection: Authorization, X-Anything"), "/v2/p/training-jobs/j"),
        (38, with_field("modelarts-poolid: a"), "/v2/p/training-jobs/j"),
    ] {
        // Twice: the connection goes on, and then the client closes its side.
        let mut stream = world.connect().await;
        stream.write_all(head.repeat(2).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_to_end(&mut stream).await;
        let answers = crate::support::toy::split(&answer);
        assert_eq!(answers.len(), 2, "{number}: {answer}");
        for answer in answers {
            assert!(answer.starts_with("202 "), "{number}: {answer}");
            assert!(answer.ends_with(&format!(" DELETE {target}")), "{number}: {answer}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_is_told_so() {
    // 23
    let world = World::start(Limits { head: Duration::from_millis(50), ..limits() }).await;
    for sent in [&GOOD[..1], &GOOD[..20], &GOOD[..GOOD.len() - 1]] {
        assert_eq!(world.answers(sent.as_bytes()).await, ["408 Lychgate.4081"]);
        let mut stream = world.connect().await;
        stream.write_all(GOOD.as_bytes()).await.unwrap();
        assert!(read_one(&mut stream).await.contains(" 202 "));
        stream.write_all(sent.as_bytes()).await.unwrap();
        let rest = read_to_end(&mut stream).await;
        assert_eq!(crate::support::toy::split(&rest), ["408 Lychgate.4081"]);
    }
    world.stop().await;
}

#[tokio::test]
async fn half_a_head_is_refused_and_silence_is_not_answered() {
    let world = World::start(limits()).await;
    for (sent, expected) in
        [("", None), (&GOOD[..3], Some(MALFORMED)), (&GOOD[..50], Some(MALFORMED))]
    {
        let mut stream = world.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answers = crate::support::toy::split(&read_to_end(&mut stream).await);
        assert_eq!(answers.first().map(String::as_str), expected);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_arrives_although_a_body_is_still_coming() {
    let world = World::start(Limits { linger: Duration::from_secs(5), ..limits() }).await;
    let body = "x".repeat(700 * 1024);
    let head = with_field(&format!("Content-Length: {}", body.len()));
    let mut stream = world.connect().await;
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let answer = read_one(&mut stream).await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("Lychgate.4007"), "{answer}");
    assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "a close and not a reset");
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn the_verdict_does_not_depend_on_the_pieces() {
    let world = World::start(limits()).await;
    let long = format!("A: {}\r\n", "b".repeat(8000));
    let large = with_field(long.repeat(3).trim_end());
    let too_large = with_field(long.repeat(5).trim_end());
    for (head, expected) in [(large, "202"), (too_large, "431")] {
        for cut in (0..head.len()).step_by(1021) {
            let mut stream = world.connect().await;
            stream.set_nodelay(true).unwrap();
            let (first, second) = head.split_at(cut);
            stream.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(second.as_bytes()).await.unwrap();
            let answer = read_one(&mut stream).await;
            assert_eq!(&answer["HTTP/1.1 ".len()..][..3], expected, "{cut}");
        }
    }
    world.stop().await;
}
