//! Attacks on HTTP/2 as raw frames at a whole gate whose policies allow everything. While each goes
//! on, another client deletes as if nothing were the matter.

use crate::front::attacks::ALLOW_ALL;
use crate::front::siege::{GROWTH_MAX, UNLIMITED, besieged};
use crate::support::toy;
use crate::support::world::{FINISHED, PATIENCE, PROJECT, World};

use lychgate::server::Limits;

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// ENHANCE_YOUR_CALM (RFC 9113 §7).
const CALM: End = End::GoAway(11);

/// PROTOCOL_ERROR, for a whole connection: its fields cannot be followed any more.
const BROKEN: End = End::GoAway(1);

/// Of [`harmless`].
const NOT_FOUND: End = End::Answered(404);

/// The longest payload that the gate takes (RFC 9113 §6.5.2).
const FRAME_BYTES_MAX: usize = 16_384;

/// What a client that does not read may make the gate take: the buffers of two sockets, and more.
const UNREAD_BYTES_MAX: usize = 64 << 20;

/// How long nothing moves before the gate counts as not reading any more.
const STUCK: Duration = Duration::from_secs(2);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field as a literal that is not indexed (RFC 7541 §6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        length(text.len(), &mut field);
        field.extend(text.as_bytes());
    }
    field
}

/// A length of RFC 7541 §5.1 behind a 7-bit prefix.
fn length(mut length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        return out.push(u8::try_from(length).unwrap());
    }
    out.push(127);
    length -= 127;
    while 128 <= length {
        out.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    out.push(u8::try_from(length).unwrap());
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A head that the router refuses: nothing of it would be forwarded however it was read.
fn harmless(stream: u32) -> Vec<u8> {
    let fields =
        [(":method", "DELETE"), (":scheme", "http"), (":path", "/"), (":authority", "gate")];
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields))
}

/// What the gate did with a stream or with the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Answered; the status where it is in the static table of RFC 7541, else 0.
    Answered(u16),
    /// The stream was reset.
    Reset,
    /// The connection is given up, with this error code.
    GoAway(u32),
    /// Closed without a word.
    Closed,
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn connect(gate: SocketAddr) -> Self {
        let mut client = Self { stream: TcpStream::connect(gate).await.unwrap() };
        client.write(PREFACE).await;
        client.write(&frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// What becomes of the next stream or of the connection.
    async fn end(&mut self) -> End {
        timeout(PATIENCE, self.read_end()).await.expect("an end in time")
    }

    /// Waits until the gate has read everything that was written.
    async fn ping(&mut self) {
        self.write(&frame(PING, 0, 0, &[7; 8])).await;
        let answered =
            async { while read_frame(&mut self.stream).await.expect("a frame").0 != PING {} };
        timeout(PATIENCE, answered).await.expect("an answer to PING in time");
    }

    async fn read_end(&mut self) -> End {
        loop {
            let Some((kind, payload)) = read_frame(&mut self.stream).await else {
                return End::Closed;
            };
            match kind {
                HEADERS => {
                    return End::Answered(match payload[0] {
                        0x8c => 400,
                        0x8d => 404,
                        _ => 0,
                    });
                }
                RST_STREAM => return End::Reset,
                GOAWAY => {
                    let code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
                    // A close in good order; what follows tells the end.
                    if code != 0 {
                        return End::GoAway(code);
                    }
                }
                _ => (),
            }
        }
    }

    /// Writes `bytes` again and again without reading: how many bytes the gate took before it did
    /// not take more, or closed.
    async fn flood(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < UNREAD_BYTES_MAX {
            match timeout(STUCK, self.stream.write(bytes)).await {
                Ok(Ok(count)) => taken += count,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        taken
    }

    /// Writes and reads at once until the gate ends the connection: the reason, if it was given.
    async fn press(self, attack: impl Iterator<Item = Vec<u8>>) -> End {
        let (reading, mut writing) = self.stream.into_split();
        let write = async {
            for bytes in attack {
                if writing.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let read = read_connection(reading);
        tokio::select! {
            end = timeout(PATIENCE, read) => end.expect("the gate ends the connection"),
            () = write => panic!("it does not end"),
        }
    }
}

/// The kind and payload of the next frame; `None` at the end of the connection.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

/// Reads to the end of the connection: its reason, if there was one.
async fn read_connection(mut stream: impl AsyncRead + Unpin) -> End {
    while let Some((kind, payload)) = read_frame(&mut stream).await {
        if kind == GOAWAY {
            return End::GoAway(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    End::Closed
}

/// Odd numbers, as a client has to count its streams.
fn streams() -> impl Iterator<Item = u32> {
    (0..).map(|it| 2 * it + 1)
}

/// An endless attack by the number of the list, one connection each.
fn attack(number: u32) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    let cancel = 8_u32.to_be_bytes();
    match number {
        26 => Box::new(
            streams().map(move |it| [harmless(it), frame(RST_STREAM, 0, it, &cancel)].concat()),
        ),
        27 => {
            let first = frame(HEADERS, END_STREAM, 1, &[]);
            Box::new(
                std::iter::once(first).chain(std::iter::repeat_with(|| {
                    frame(CONTINUATION, 0, 1, &literal("a", "b"))
                })),
            )
        }
        // The gate has to reset each stream, whose window grows beyond what is allowed.
        28 => {
            let beyond = 0x7fff_ffff_u32.to_be_bytes();
            Box::new(
                streams()
                    .map(move |it| [harmless(it), frame(WINDOW_UPDATE, 0, it, &beyond)].concat()),
            )
        }
        // One byte of the block each makes a field of 4 000 bytes out of the dynamic table.
        30 => {
            let mut bomb = block(&[
                (":method", "DELETE"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "gate"),
            ]);
            bomb.extend([0x40, 1, b'a']);
            length(4000, &mut bomb);
            bomb.extend([b'b'; 4000]);
            bomb.extend([0xbe; 12_000]);
            Box::new(streams().map(move |it| frame(HEADERS, END_STREAM | END_HEADERS, it, &bomb)))
        }
        _ => panic!("no such attack"),
    }
}

/// attacks 26, 27, 28, 30: the connection is ended for what it did, and nobody else notices.
#[tokio::test]
async fn floods_end_their_own_connection() {
    let world = besieged("", UNLIMITED).await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    let memory = world.process().memory();
    for number in [26, 27, 28, 30] {
        let client = Client::connect(world.gate).await;
        let (end, normal) =
            tokio::join!(client.press(attack(number)), world.delete("alice", FINISHED));
        assert_eq!(end, CALM, "{number}");
        assert_eq!(normal.status, 202, "{number}");
        println!("after attack {number}: memory {} KiB", world.process().memory());
    }
    assert_eq!(world.emulator.counts().all(), 5, "the normal deletes and nothing else");
    let growth = world.process().memory().saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} KiB");
}

/// attack 29, by a client that does not read the answers: the gate stops reading before they pile up.
#[tokio::test]
async fn answers_that_nobody_reads_do_not_pile_up() {
    let world = besieged("", UNLIMITED).await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    let memory = world.process().memory();
    for (name, bytes) in
        [("PING", frame(PING, 0, 0, &[0; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[]))]
    {
        let mut client = Client::connect(world.gate).await;
        let bytes = bytes.repeat(4096);
        let (taken, normal) = tokio::join!(client.flood(&bytes), world.delete("alice", FINISHED));
        assert!(taken < UNREAD_BYTES_MAX, "{name}: {taken} bytes");
        assert_eq!(normal.status, 202, "{name}");
        println!("{name}: {taken} bytes taken, memory {} KiB", world.process().memory());
    }
    let growth = world.process().memory().saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} KiB");
}

/// attack 30: cookies in crumbs count as the fields that they are.
#[tokio::test]
async fn crumbs_of_cookies_are_counted() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let path = format!("/v2/{PROJECT}/training-jobs/{FINISHED}");
    let head = block(&[
        (":method", "DELETE"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "gate"),
        ("authorization", bearer.as_str()),
    ]);
    for crumbs in [64, 1000, 10_000] {
        let mut client = Client::connect(world.gate).await;
        let block = [head.clone(), literal("cookie", "a=b").repeat(crumbs)].concat();
        let (first, rest) = block.split_at(block.len().min(FRAME_BYTES_MAX));
        let mut bytes = frame(HEADERS, END_STREAM, 1, first);
        for part in rest.chunks(FRAME_BYTES_MAX) {
            bytes.extend(frame(CONTINUATION, 0, 1, part));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        client.write(&bytes).await;
        // 431; beyond what is decoded at all, the same or the end of the connection.
        let end = client.end().await;
        assert!(matches!(end, End::Answered(0) | CALM), "{crumbs}: {end:?}");
        assert_eq!(world.emulator.counts().all(), 0, "{crumbs}");
    }
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
}

/// attack 31: a client that opens no window holds its own streams, nobody else's, and not for ever.
#[tokio::test]
async fn a_window_that_stays_closed_holds_up_nobody_else() {
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let mut client = Client::connect(world.gate).await;
    let heads: Vec<u8> = streams().take(100).flat_map(harmless).collect();
    client.write(&[closed.clone(), heads].concat()).await;
    for at in 0..100 {
        assert_eq!(client.end().await, NOT_FOUND, "{at}");
    }
    client.write(&harmless(201)).await;
    assert_eq!(client.end().await, End::Reset, "one stream too many");
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert_eq!(world.emulator.counts().all(), 1);

    const SHORT: Duration = Duration::from_millis(50);
    let world = toy::World::start(Limits { idle: SHORT, close: SHORT, ..toy::limits() }).await;
    let mut client = Client::connect(world.address).await;
    client.write(&[closed, harmless(1)].concat()).await;
    assert_eq!(client.end().await, End::Answered(0));
    assert_eq!(client.end().await, End::Closed);
    world.stop().await;
}

/// A length of nothing and a stream that goes on: nothing is judged before its end is seen.
#[tokio::test]
async fn a_stream_is_judged_at_its_end() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let path = format!("/v2/{PROJECT}/training-jobs/{FINISHED}");
    let fields = [
        (":method", "DELETE"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "gate"),
        ("authorization", bearer.as_str()),
        ("content-length", "0"),
    ];
    for (what, rest, expected, deletes) in [
        ("a body", frame(DATA, END_STREAM, 1, b"abcd"), End::Reset, 0),
        ("a body without an end", frame(DATA, 0, 1, b"a"), End::Reset, 0),
        ("a reset", [frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), harmless(3)].concat(), NOT_FOUND, 0),
        ("an end", frame(DATA, END_STREAM, 1, b""), End::Answered(0), 1),
    ] {
        let mut client = Client::connect(world.gate).await;
        client.write(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        client.ping().await;
        assert_eq!(world.emulator.counts().all(), 0, "{what}");
        client.write(&rest).await;
        assert_eq!(client.end().await, expected, "{what}");
        client.ping().await;
        assert_eq!(world.emulator.counts().all(), deletes, "{what}");
        assert_eq!(world.records("decision").len(), usize::try_from(deletes).unwrap(), "{what}");
    }
}

/// attack 32: heads that HTTP/2 does not allow. Each would delete if it were read kindly.
#[tokio::test]
async fn malformed_heads_reach_nothing() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let path = format!("/v2/{PROJECT}/training-jobs/{FINISHED}");
    let good = [
        (":method", "DELETE"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "gate"),
        ("authorization", bearer.as_str()),
    ];
    let with = |more: &[(&str, &str)]| [block(&good), block(more)].concat();
    let but = |name: &str, value: &str| {
        let fields = good.iter().map(|(it, old)| (*it, if *it == name { value } else { *old }));
        block(&fields.collect::<Vec<_>>())
    };
    let without =
        |name: &str| block(&good.iter().copied().filter(|(it, _)| *it != name).collect::<Vec<_>>());
    let mut late = good;
    late.rotate_left(3);
    for (what, block, expected) in [
        ("another host", with(&[("host", "other")]), End::Answered(400)),
        ("two methods", [block(&[(":method", "DELETE")]), block(&good)].concat(), End::Reset),
        ("two paths", [block(&[(":path", "/")]), block(&good)].concat(), End::Reset),
        ("a late pseudo-field", block(&late), End::Reset),
        ("an unknown pseudo-field", [block(&[(":x", "y")]), block(&good)].concat(), BROKEN),
        (":status", [block(&[(":status", "200")]), block(&good)].concat(), End::Reset),
        ("no method", without(":method"), End::Reset),
        ("no scheme", without(":scheme"), End::Reset),
        ("no path", without(":path"), End::Reset),
        ("no authority", without(":authority"), End::Answered(400)),
        ("an upper-case name", with(&[("X-Upper", "y")]), BROKEN),
        ("a name with a space", with(&[("x y", "z")]), BROKEN),
        ("CR LF in a value", with(&[("x", "y\r\nhost: other")]), BROKEN),
        ("NUL in a value", with(&[("x", "y\0z")]), BROKEN),
        ("CR LF in the path", but(":path", "/v2/x\r\n\r\n"), End::Reset),
        ("connection", with(&[("connection", "close")]), End::Reset),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), End::Reset),
        ("te", with(&[("te", "gzip")]), End::Reset),
        ("upgrade", with(&[("upgrade", "h2c")]), End::Reset),
        ("keep-alive", with(&[("keep-alive", "1")]), End::Reset),
        ("proxy-connection", with(&[("proxy-connection", "close")]), End::Reset),
        ("another scheme", but(":scheme", "ftp"), End::Answered(400)),
        ("an empty scheme", but(":scheme", ""), End::Answered(400)),
        ("a path without `/`", but(":path", &path[1..]), End::Reset),
        ("an empty path", but(":path", ""), End::Reset),
        ("a whole URI as path", but(":path", "http://other/"), End::Reset),
        ("CONNECT", but(":method", "CONNECT"), End::Reset),
        ("two authorities", with(&[("host", "gate"), ("host", "gate")]), End::Answered(400)),
        ("a length without a body", with(&[("content-length", "4")]), End::Reset),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "4")]), End::Reset),
    ] {
        let mut client = Client::connect(world.gate).await;
        let frame = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        client.write(&frame).await;
        let end = client.end().await;
        assert_eq!(end, expected, "{what}");
    }
    let mut client = Client::connect(world.gate).await;
    let head = frame(HEADERS, END_HEADERS, 1, &block(&good));
    client.write(&[head, frame(DATA, END_STREAM, 1, b"abcd")].concat()).await;
    assert_eq!(client.end().await, End::Answered(400), "a body");
    assert_eq!(world.emulator.counts().all(), 0);
    assert!(world.records("decision").is_empty());
    // The same client deletes when it asks properly.
    let mut client = Client::connect(world.gate).await;
    let frame = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&good));
    client.write(&frame).await;
    assert_eq!(client.end().await, End::Answered(0));
    assert_eq!(world.emulator.counts().all(), 1);
}
