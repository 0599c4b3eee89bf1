//! Rows by the numbers of the attack list, and the guard against the parser behind it.

use super::*;
use crate::exchange::Refusal;

use http::{HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

const BODY: u16 = 4007;
const MALFORMED: u16 = 4006;
const METHOD: u16 = 4051;
const TARGET: u16 = 4001;
const TARGET_TOO_LONG: u16 = 4141;
const TOO_LARGE: u16 = 4311;
const VERSION: u16 = 5051;

const GOOD: &str = "DELETE /v2/p/training-jobs/j HTTP/1.1\r\nHost: gate:8480\r\n\r\n";

#[track_caller]
fn accepts(head: &[u8]) {
    assert_eq!(check(head), Ok(()), "{}", head.escape_ascii());
    agrees_with_hyper(head);
}

/// The gate's error code of the fault.
#[track_caller]
fn refuses(head: &[u8], expected: u16) {
    let fault = check(head).expect_err(&head.escape_ascii().to_string());
    assert_eq!(code(fault), expected, "{fault:?}: {}", head.escape_ascii());
}

fn code(fault: HeadFault) -> u16 {
    Refusal::Head(fault).code()
}

/// Parses as hyper does (`hyper::proto::h1::role`) and compares what comes out with the bytes.
#[track_caller]
fn agrees_with_hyper(head: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())), "{}", head.escape_ascii());
    assert_eq!(request.version, Some(1));
    let method = Method::from_bytes(request.method.unwrap().as_bytes()).unwrap();
    let target = Uri::try_from(request.path.unwrap()).unwrap();
    let line = format!("{method} {} HTTP/1.1\r\n", target.path_and_query().unwrap());
    let mut rest = head.strip_prefix(line.as_bytes()).expect("the target as it arrived");
    assert_eq!((target.scheme(), target.authority()), (None, None));
    for field in request.headers.iter() {
        HeaderName::from_bytes(field.name.as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(field.value).unwrap();
        let end = rest.iter().position(|it| *it == b'\n').unwrap();
        let (name, sent) = rest[..end - 1].split_at(field.name.len());
        assert_eq!(name, field.name.as_bytes());
        assert_eq!(sent[1..].trim_ascii(), value.as_bytes());
        rest = &rest[end + 1..];
    }
    assert_eq!(rest, b"\r\n");
}

fn with_line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: gate\r\n\r\n").into_bytes()
}

fn with_fields(fields: &str) -> Vec<u8> {
    format!("DELETE / HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes()
}

fn with_field(field: &[u8]) -> Vec<u8> {
    [b"DELETE / HTTP/1.1\r\nHost: gate\r\n", field, b"\r\n\r\n"].concat()
}

#[test]
fn well_formed_heads_pass() {
    accepts(GOOD.as_bytes());
    for line in [
        "DELETE / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
        "M-SEARCH / HTTP/1.1",
        // The route has better messages for these (attacks 1–3, 8, 9).
        "DELETE //v2//p HTTP/1.1",
        "DELETE /v2/../x%2e%2E;a=b HTTP/1.1",
        "DELETE /v2/{project_id}/training-jobs/j?a&b=c?d HTTP/1.1",
    ] {
        accepts(&with_line(line));
    }
    for fields in [
        "host:gate",
        "HOST: \t 127.0.0.1:1 \t",
        "Host: [::1]:65535",
        "Host: my_gate-1.example.",
        "Host: gate\r\nContent-Length: 0",
        "Host: gate\r\nConnection: close, X-Anything\r\nExpect: 100-continue\r\nUpgrade: h2c",
        "Host: gate\r\nEmpty:\r\n!#$%&'*+-.^`|~0: \x09a\x09 b",
        // 13: not a twin of anything.
        "Host: gate\r\n_method: GET\r\nsome_field: 1",
    ] {
        accepts(&with_fields(fields));
    }
    accepts(&with_field(b"X-Name: \xe5\xb1\xb1"));
}

#[test]
fn the_target_is_in_origin_form() {
    for (target, expected) in [
        // 4
        ("/a\x00", TARGET),
        ("/a\x7f", TARGET),
        ("/ä", TARGET),
        ("/a\tb", TARGET),
        // 7
        ("http://other/v2/p/training-jobs/j", TARGET),
        ("other:443", TARGET),
        ("*", TARGET),
        ("", TARGET),
        // 8
        ("/v2/p/training-jobs/j#x", TARGET),
        ("/a\\b", TARGET),
        ("/a b", MALFORMED),
    ] {
        refuses(&with_line(&format!("DELETE {target} HTTP/1.1")), expected);
    }
    // 5
    let longest = "a".repeat(route::TARGET_BYTES_MAX - 1);
    accepts(&with_line(&format!("DELETE /{longest} HTTP/1.1")));
    refuses(&with_line(&format!("DELETE /{longest}a HTTP/1.1")), TARGET_TOO_LONG);
    let longer = "a".repeat(LINE_BYTES_MAX);
    refuses(&with_line(&format!("DELETE /{longer} HTTP/1.1")), TARGET_TOO_LONG);
    refuses(longer.to_uppercase().as_bytes(), MALFORMED);
}

#[test]
fn every_byte_that_passes_also_passes_hyper() {
    for (before, after, expected) in [
        ("DELETE /", " HTTP/1.1\r\nHost: gate\r\n\r\n", 62 + 22),
        ("DELETE / HTTP/1.1\r\nHost: gate\r\nX", ": a\r\n\r\n", 62 + 14 + 1),
        ("DELETE / HTTP/1.1\r\nHost: gate\r\nX: a", "b\r\n\r\n", 256 - 32),
        ("DELETE / HTTP/1.1\r\nHost: g", "te\r\n\r\n", 62 + 4),
        ("DELETE", " / HTTP/1.1\r\nHost: gate\r\n\r\n", 26 + 1),
    ] {
        let with = |byte| [before.as_bytes(), &[byte], after.as_bytes()].concat();
        let passed: Vec<_> = (0..=u8::MAX).map(with).filter(|it| check(it).is_ok()).collect();
        passed.iter().for_each(|it| agrees_with_hyper(it));
        assert_eq!(passed.len(), expected, "{before}?{after}");
    }
}

#[test]
fn the_request_line_is_exact() {
    for (line, expected) in [
        // 11
        ("CONNECT gate:443 HTTP/1.1", METHOD),
        ("TRACE / HTTP/1.1", METHOD),
        // 12
        ("delete / HTTP/1.1", MALFORMED),
        ("Delete / HTTP/1.1", MALFORMED),
        ("DELETE\t/ HTTP/1.1", MALFORMED),
        ("DELETE! / HTTP/1.1", MALFORMED),
        (" DELETE / HTTP/1.1", MALFORMED),
        ("DELETE  / HTTP/1.1", MALFORMED),
        ("DELETE / HTTP/1.1 ", MALFORMED),
        ("DELETE /  HTTP/1.1", MALFORMED),
        ("DELETE", MALFORMED),
        ("", MALFORMED),
        // 21
        ("DELETE /", VERSION),
        ("DELETE / HTTP/1.0", VERSION),
        ("DELETE / HTTP/1.2", VERSION),
        ("DELETE / HTTP/2.0", VERSION),
        ("PRI * HTTP/2.0", VERSION),
        ("DELETE / HTTP/1.10", MALFORMED),
        ("DELETE / http/1.1", MALFORMED),
        ("DELETE / HTTP/+.1", MALFORMED),
    ] {
        refuses(&with_line(line), expected);
    }
    refuses(&with_line(&format!("{} / HTTP/1.1", "A".repeat(100))), MALFORMED);
}

#[test]
fn bodies_are_not_announced() {
    for (field, expected) in [
        // 14, 17, 18
        ("Transfer-Encoding: chunked", BODY),
        ("transfer-encoding: xchunked", BODY),
        ("TRANSFER-ENCODING:\tchunked, identity", BODY),
        ("Transfer-Encoding:", BODY),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", BODY),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", BODY),
        ("Content-Length: 4", BODY),
        ("content-length: 18446744073709551616", BODY),
        ("Transfer_Encoding: chunked", MALFORMED),
        ("Transfer-Encoding : chunked", MALFORMED),
        ("Transfer-Encoding\t: chunked", MALFORMED),
        ("Transfer-Encoding\x0b: chunked", MALFORMED),
        ("Content-Length: 0\r\n Transfer-Encoding: chunked", MALFORMED),
        // 15
        ("Content-Length: 0\r\nContent-Length: 0", MALFORMED),
        ("Content-Length: 0\r\nContent-Length: 4", MALFORMED),
        // 16
        ("Content-Length: +4", MALFORMED),
        ("Content-Length: +0", MALFORMED),
        ("Content-Length: -0", MALFORMED),
        ("Content-Length: 4,4", MALFORMED),
        ("Content-Length: 0,0", MALFORMED),
        ("Content-Length: 0x4", MALFORMED),
        ("Content-Length: 00", MALFORMED),
        ("Content-Length: 4 4", MALFORMED),
        ("Content-Length:", MALFORMED),
    ] {
        refuses(&with_field(field.as_bytes()), expected);
    }
}

#[test]
fn lines_and_fields_are_strict() {
    // 19
    for head in [
        "DELETE / HTTP/1.1\nHost: gate\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: gate\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: gate\r\n\n",
        "DELETE / HTTP/1.1\nHost: gate\n\n",
        "DELETE / HTTP/1.1\r\nHost: gate\r\n",
        "\r\nDELETE / HTTP/1.1\r\nHost: gate\r\n\r\n",
        "DELETE / HTTP/1.1\r\n Host: gate\r\n\r\n",
    ] {
        refuses(head.as_bytes(), MALFORMED);
    }
    for field in [
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X : a",
        "X\t: a",
        ": a",
        "X",
        "X: a\rb",
        "X: a\0b",
        "X: a\x1bb",
        "X: a\x0c",
        "X: a\x7f",
        "X\0: a",
        "X(: a",
        "\"X\": a",
        "X\u{e4}: a",
    ] {
        refuses(&with_field(field.as_bytes()), MALFORMED);
    }
    refuses(&[GOOD, GOOD].concat().into_bytes(), MALFORMED);
    // A TLS client on a cleartext port.
    assert!(Scan::default().advance(b"\x16\x03\x01").is_err_and(|it| code(it) == MALFORMED));
}

#[test]
fn the_host_is_one_and_whole() {
    // 20
    for fields in [
        "Accept: */*",
        "Host: gate\r\nHost: gate",
        "Host: gate\r\nAccept: */*\r\nhOST: other",
        "Host:",
        "Host: :80",
        "Host: gate:",
        "Host: gate:0",
        "Host: gate:70000",
        "Host: gate:+80",
        "Host: gate:80:80",
        "Host: gate:8a",
        "Host: user@gate",
        "Host: user:password@gate:80",
        "Host: a, b",
        "Host: a b",
        "Host: gate/x",
        "Host: gate%2e",
        "Host: http://gate",
        "Host: [::1",
        "Host: [::1]x",
        "Host: [::g]",
        "Host: [fe80::1%25eth0]",
        "Host: g\u{e4}te",
    ] {
        refuses(&with_fields(fields), MALFORMED);
    }
    refuses(&with_fields(&format!("Host: {}", "a".repeat(HOST_BYTES_MAX + 1))), MALFORMED);
}

#[test]
fn underscore_twins_are_refused() {
    // 36
    for name in [
        "X_Forwarded_User",
        "x-forwarded_for",
        "X_Auth_Token",
        "X_Sdk_Date",
        "Content_Length",
        "content_type",
        "Proxy_Authorization",
        "Transfer_Encoding",
        "User_Agent",
        "Keep_Alive",
        "X_",
    ] {
        refuses(&with_field(format!("{name}: 1").as_bytes()), MALFORMED);
    }
}

#[test]
fn heads_have_limits() {
    // 22
    let fields = |count: usize| "A: b\r\n".repeat(count - 1) + "Host: gate";
    accepts(&with_fields(&fields(FIELDS_MAX)));
    refuses(&with_fields(&fields(FIELDS_MAX + 1)), TOO_LARGE);
    let line = |length: usize| format!("A: {}", "b".repeat(length - "A: \r\n".len()));
    accepts(&with_field(line(LINE_BYTES_MAX).as_bytes()));
    refuses(&with_field(line(LINE_BYTES_MAX + 1).as_bytes()), TOO_LARGE);
    let head = |length: usize| {
        let long = line(LINE_BYTES_MAX);
        let short = with_field(long.as_bytes()).len();
        with_field([long, line(length - short)].join("\r\n").as_bytes())
    };
    accepts(&head(HEAD_BYTES_MAX));
    for (name, told) in [("aUTHORIZATION", "Authorization"), ("X-Other", "a header field")] {
        let long = with_field(format!("{name}: {}", "b".repeat(LINE_BYTES_MAX)).as_bytes());
        assert_eq!(check(&long), Err(HeadFault::FieldTooLong(told)));
    }
    assert_eq!(head(HEAD_BYTES_MAX).len(), HEAD_BYTES_MAX);
    refuses(&head(HEAD_BYTES_MAX + 1), TOO_LARGE);
}

/// The verdict on a stream that arrives in pieces; where the head ended, if it did.
fn in_pieces(stream: &[u8], mut cuts: Vec<usize>) -> Result<Option<usize>, HeadFault> {
    cuts.push(stream.len());
    cuts.sort_unstable();
    let mut scan = Scan::default();
    let mut verdict = Ok(None);
    for cut in cuts {
        verdict = scan.advance(&stream[..cut.min(stream.len())]);
        if verdict != Ok(None) {
            break;
        }
    }
    verdict
}

/// Heads that are nearly right: real lines, some of them wrong, with a few bytes changed.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        "DELETE /v2/p/training-jobs/j HTTP/1.1\r\n",
        "GET //a?b{c}#d HTTP/1.1\r\n",
        "TRACE / HTTP/1.1\r\n",
        "DELETE / HTTP/1.0\r\n",
        "DELETE / HTTP/1.1\n",
    ]);
    let line = prop::sample::select(vec![
        "Host: gate:8480\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n",
        "X_Forwarded_For: 10.0.0.1\r\n",
        "Authorization: Bearer a.b.c\r\n",
        " folded\r\n",
        "Accept:*/*\n",
        "\r\n",
    ]);
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (first, prop::collection::vec(line, 0..8), prop::collection::vec(change, 0..3)).prop_map(
        |(first, lines, changes)| {
            let mut bytes = format!("{first}Host: a\r\n{}\r\n", lines.concat()).into_bytes();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_change_the_verdict(
        stream in stream(),
        cuts in prop::collection::vec(0..300_usize, 0..20),
    ) {
        prop_assert_eq!(in_pieces(&stream, cuts), in_pieces(&stream, vec![]));
        prop_assert_eq!(in_pieces(&stream, (0..stream.len()).collect()), in_pieces(&stream, vec![]));
    }

    #[test]
    fn what_passes_also_passes_hyper(stream in stream()) {
        if let Ok(Some(length)) = Scan::default().advance(&stream) {
            agrees_with_hyper(&stream[..length]);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Scan::default().advance(&bytes);
        let _ = Scan::default().advance(&[b"DELETE / HTTP/1.1\r\n", &bytes[..]].concat());
    }
}

#[test]
fn long_heads_are_judged_alike_in_pieces() {
    let long = format!("A: {}\r\n", "b".repeat(LINE_BYTES_MAX - 6));
    for stream in [
        with_fields(&format!("Host: gate\r\n{}", long.repeat(3).trim_end())),
        with_fields(&format!("Host: gate\r\n{}", long.repeat(5).trim_end())),
        with_fields(&format!("Host: gate\r\nB{long}").replace("A:", "A")),
        with_line(&format!("DELETE /{} HTTP/1.1", "a".repeat(LINE_BYTES_MAX))),
    ] {
        let whole = in_pieces(&stream, vec![]);
        for step in [1, 7, 4096, 8191, 8192, 8193] {
            let cuts = (0..stream.len()).step_by(step).collect();
            assert_eq!(in_pieces(&stream, cuts), whole);
        }
    }
}
