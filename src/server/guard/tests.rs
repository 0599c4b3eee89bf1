//! The guard between two ends of a pipe, on paused time.

use super::*;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const GOOD: &str = "DELETE /v2/p/training-jobs/j HTTP/1.1\r\nHost: gate\r\n\r\n";
const BAD: &str = "DELETE /v2/p/training-jobs/j#f HTTP/1.1\r\nHost: gate\r\n\r\n";
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

fn guarded() -> (DuplexStream, Guard<DuplexStream>) {
    let (client, server) = tokio::io::duplex(2 * LINGER_BYTES_MAX);
    (client, Guard::new(server, Scan::default(), HEAD_TIMEOUT, LINGER_TIMEOUT))
}

/// What hyper would read of `sent`, and what the service would be told.
async fn pass(sent: &[u8]) -> (String, Option<(u64, HeadFault)>) {
    let (mut client, mut guard) = guarded();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut passed = String::new();
    guard.read_to_string(&mut passed).await.unwrap();
    (passed, guard.refused().get().copied())
}

#[tokio::test]
async fn judged_heads_pass_unchanged_and_the_first_bad_one_ends_it() {
    let substitute = std::str::from_utf8(SUBSTITUTE).unwrap();
    let fragment = HeadFault::Target("it has a fragment");
    let half = HeadFault::Malformed("the head ends before its empty line");
    let method = HeadFault::Malformed("the method must be upper-case letters");
    for (sent, passed, refused) in [
        ("".to_owned(), "".to_owned(), None),
        (GOOD.repeat(3), GOOD.repeat(3), None),
        (format!("{BAD}{GOOD}"), substitute.to_owned(), Some((0, fragment))),
        (
            format!("{GOOD}{GOOD}{BAD}{GOOD}"),
            format!("{GOOD}{GOOD}{substitute}"),
            Some((2, fragment)),
        ),
        (format!("{GOOD}DELETE / HT"), format!("{GOOD}{substitute}"), Some((1, half))),
        (format!("{GOOD}abc"), format!("{GOOD}{substitute}"), Some((1, method))),
    ] {
        assert_eq!(pass(sent.as_bytes()).await, (passed, refused), "{sent}");
    }
}

#[tokio::test]
async fn the_substitute_is_a_head_that_passes() {
    assert_eq!(crate::server::head::check(SUBSTITUTE), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_dribbled_head_is_refused_when_its_time_is_over() {
    let (mut client, mut guard) = guarded();
    // Being idle is not the guard's to limit.
    let mut byte = [0; 1];
    let idle = tokio::time::timeout(HEAD_TIMEOUT * 10, guard.read(&mut byte)).await;
    assert!(idle.is_err());

    let start = Instant::now();
    let dribble = async {
        for byte in GOOD.bytes() {
            client.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let mut passed = vec![0; SUBSTITUTE.len()];
    tokio::select! {
        () = dribble => unreachable!("the head takes longer than its time"),
        read = guard.read_exact(&mut passed) => assert!(read.is_ok()),
    }
    assert_eq!(passed, SUBSTITUTE);
    assert_eq!(guard.refused().get(), Some(&(0, HeadFault::TooSlow)));
    assert_eq!(start.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn each_head_has_its_own_time() {
    let (mut client, mut guard) = guarded();
    let (first, second) = GOOD.split_at(10);
    for _ in 0..3 {
        client.write_all(first.as_bytes()).await.unwrap();
        let mut passed = vec![0; GOOD.len()];
        let read = guard.read_exact(&mut passed);
        let write = async {
            tokio::time::sleep(HEAD_TIMEOUT - Duration::from_secs(1)).await;
            client.write_all(second.as_bytes()).await.unwrap();
        };
        let (read, ()) = tokio::join!(read, write);
        assert!(read.is_ok());
        assert_eq!(passed, GOOD.as_bytes());
    }
    assert_eq!(guard.refused().get(), None);
}

async fn protocol_of(sent: &[u8]) -> (Protocol, Vec<u8>) {
    let (mut client, mut guard) = guarded();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let protocol = std::future::poll_fn(|cx| guard.poll_protocol(cx)).await.unwrap();
    let mut rest = Vec::new();
    guard.read_to_end(&mut rest).await.unwrap();
    (protocol, rest)
}

#[tokio::test(start_paused = true)]
async fn the_first_bytes_tell_the_protocol() {
    let with_frames = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    assert_eq!(protocol_of(PREFACE).await, (Protocol::Http2, PREFACE.to_vec()));
    assert_eq!(protocol_of(&with_frames).await, (Protocol::Http2, with_frames.clone()));
    assert_eq!(protocol_of(GOOD.as_bytes()).await, (Protocol::Http1, GOOD.as_bytes().to_vec()));
    for sent in
        ["PROPFIND / HTTP/1.1\r\nHost: gate\r\n\r\n", "PRI / HTTP/1.1\r\nHost: gate\r\n\r\n"]
    {
        assert_eq!(protocol_of(sent.as_bytes()).await, (Protocol::Http1, sent.as_bytes().to_vec()));
    }
    for sent in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0", "PRI", "\x16\x03\x01"] {
        assert_eq!(protocol_of(sent.as_bytes()).await, (Protocol::Http1, SUBSTITUTE.to_vec()));
    }

    // A preface that stops half-way is under the head's time as a whole.
    let (mut client, mut guard) = guarded();
    client.write_all(b"PRI").await.unwrap();
    let start = Instant::now();
    let protocol = std::future::poll_fn(|cx| guard.poll_protocol(cx)).await.unwrap();
    assert_eq!(protocol, Protocol::Http1);
    let mut passed = vec![0; SUBSTITUTE.len()];
    guard.read_exact(&mut passed).await.unwrap();
    assert_eq!(guard.refused().get(), Some(&(0, HeadFault::TooSlow)));
    assert_eq!(start.elapsed().as_secs(), HEAD_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_other_end_within_limits() {
    // The other end closes.
    let (mut client, mut guard) = guarded();
    let start = Instant::now();
    client.write_all(&vec![b'x'; LINGER_BYTES_MAX / 2]).await.unwrap();
    let (shut, ()) = tokio::join!(guard.shutdown(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.shutdown().await.unwrap();
    });
    assert!(shut.is_ok());
    assert_eq!(start.elapsed().as_secs(), 1);

    // It does not.
    let (_client, mut guard) = guarded();
    let start = Instant::now();
    guard.shutdown().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), LINGER_TIMEOUT.as_secs());

    // It sends without end.
    let (mut client, mut guard) = guarded();
    let start = Instant::now();
    client.write_all(&vec![b'x'; LINGER_BYTES_MAX + READ_BYTES]).await.unwrap();
    guard.shutdown().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn pieces_do_not_change_what_passes(
        heads in prop::collection::vec(prop::sample::select(vec![GOOD, GOOD, BAD]), 1..5),
        pieces in prop::collection::vec(1..40_usize, 1..50),
        room in 1..100_usize,
    ) {
        let sent = heads.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (passed, verdict) = runtime.block_on(async {
            let (mut client, mut guard) = guarded();
            let refused = guard.refused();
            let mut passed = Vec::new();
            let write = async {
                let mut rest = sent.as_bytes();
                for piece in pieces.iter().cycle() {
                    let (now, later) = rest.split_at(rest.len().min(*piece));
                    if client.write_all(now).await.is_err() || later.is_empty() {
                        break;
                    }
                    rest = later;
                    tokio::task::yield_now().await;
                }
                drop(client);
            };
            let read = async {
                let mut buffer = vec![0; room];
                while let Ok(count @ 1..) = guard.read(&mut buffer).await {
                    passed.extend_from_slice(&buffer[..count]);
                }
            };
            tokio::join!(write, read);
            (passed, refused.get().copied())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let whole = runtime.block_on(pass(sent.as_bytes()));
        prop_assert_eq!((String::from_utf8(passed).unwrap(), verdict), whole);
    }
}
