//! Lines that are whole, and lines that are not.

use super::*;

fn id() -> LedgerId {
    LedgerId::parse("6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f").unwrap()
}

const TIME: &str = "2026-01-15T12:00:00.5Z";

fn chain(members: &[&str]) -> Vec<Vec<u8>> {
    let mut head = Head::start(&id());
    let mut out = Vec::new();
    for it in members {
        head.append(&mut out, &id(), TIME.parse().unwrap(), it.as_bytes());
    }
    out.split_inclusive(|it| *it == b'\n').map(|it| it[..it.len() - 1].to_vec()).collect()
}

#[test]
fn lines_are_written_like_this() {
    // `prev` and `sum` were computed with sha256sum(1).
    let lines = chain(&[r#""kind":"settlement","of":1"#, r#""kind":"settlement","of":2"#]);
    let lines: Vec<_> = lines.iter().map(|it| std::str::from_utf8(it).unwrap()).collect();
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"v":2,"ledger_id":"6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f","seq":1,"time":"2026-01-15T12:00:00.5Z""#,
                r#","kind":"settlement","of":1"#,
                r#","prev":"c02921dfe5a6aed13e780333a5818cc9e0e2409ae4fe6314619b35651eb5b55a""#,
                r#","sum":"04610ae874e2345b"}"#,
            ),
            concat!(
                r#"{"v":2,"ledger_id":"6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f","seq":2,"time":"2026-01-15T12:00:00.5Z""#,
                r#","kind":"settlement","of":2"#,
                r#","prev":"ab60b08a2dff78fb339a89536ce16c43286b098965ac01a981d4d0389edbd6aa""#,
                r#","sum":"96b510b321961699"}"#,
            ),
        ]
    );
}

#[test]
fn a_chain_holds_and_every_changed_byte_breaks_it() {
    let lines = chain(&[r#""kind":"settlement","of":1"#, r#""kind":"settlement","of":2"#]);
    let mut head = Head::start(&id());
    for line in &lines {
        let (frame, hash) = Frame::parse(line).unwrap();
        assert_eq!(frame.follows(&id(), &head), Ok(()));
        assert_eq!(frame.kind, Kind::Settlement);
        assert_eq!(frame.time(), Ok(TIME.parse().unwrap()));
        head = Head { seq: frame.seq, hash };
    }
    assert_eq!(head.seq, 2);

    for line in &lines {
        for at in 0..line.len() {
            for to in [b' ', b'0', b'x', line[at] ^ 1] {
                let mut changed = line.clone();
                changed[at] = to;
                assert!(changed == *line || Frame::parse(&changed).is_err(), "byte {at}");
            }
        }
        for at in 0..line.len() {
            assert!(Frame::parse(&line[..at]).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn faults_are_told_apart() {
    let [first, second] = &chain(&[r#""kind":"settlement""#, r#""kind":"settlement""#])[..] else {
        panic!()
    };
    let start = Head::start(&id());
    let (frame, hash) = Frame::parse(first).unwrap();
    let other = LedgerId::random();
    assert_eq!(frame.follows(&other, &start), Err(Fault::Foreign(id().to_string())));
    assert_eq!(
        frame.follows(&id(), &Head { seq: 1, hash }),
        Err(Fault::Seq { expected: 2, found: 1 })
    );
    let (frame, _) = Frame::parse(second).unwrap();
    let elsewhere = Head { seq: 1, hash: Hash::of(b"another line") };
    assert_eq!(frame.follows(&id(), &elsewhere), Err(Fault::Link));
    assert_eq!(frame.follows(&id(), &Head { seq: 1, hash }), Ok(()));

    let malformed = |it: &[u8]| matches!(Frame::parse(it), Err(Fault::Malformed(_)));
    for line in ["", "{}", "null", "[1]", "\0\0\0", "{\"v\":2", "\u{feff}{}"] {
        assert!(malformed(line.as_bytes()), "{line}");
    }
    let text = String::from_utf8(first.clone()).unwrap();
    // An unknown kind may be that of a later version, but here the sum shows a change.
    assert_eq!(Frame::parse(text.replace("settlement", "bribe").as_bytes()), Err(Fault::Changed));
    assert!(malformed(text.replace("\"v\":2", "\"v\":2,\"v\":2").as_bytes()));
    assert_eq!(Frame::parse(text.replace("\"v\":2", "\"v\":1").as_bytes()), Err(Fault::Version(1)));
    assert_eq!(Frame::parse(text.replace("12:00", "12:01").as_bytes()), Err(Fault::Changed));
    assert_eq!(Frame::parse(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(Fault::TooLong));
    // A member that nobody reads is text too.
    let mut line = Vec::new();
    let members = b"\"kind\":\"settlement\",\"of\":1,\"more\":\"\xff\"";
    Head::start(&id()).append(&mut line, &id(), TIME.parse().unwrap(), members);
    line.pop();
    assert!(malformed(&line));
}

#[test]
fn the_longest_members_make_a_line_within_the_limit() {
    let mut head = Head { seq: u64::MAX - 1, hash: Hash::of(b"") };
    let mut out = Vec::new();
    let members = vec![b'x'; MEMBERS_BYTES_MAX];
    head.append(&mut out, &LedgerId::random(), Timestamp::MIN, &members);
    assert!(out.len() - 1 <= LINE_BYTES_MAX, "{}", out.len());
}
