//! Lines whose chain is right and whose bodies are wrong, as somebody who rewrites a ledger makes
//! them.

use super::*;

use crate::ledger::line::LedgerId;

use tempfile::TempDir;

#[test]
fn what_a_record_says_is_read_too() {
    for (members, expected) in [
        (&br#""kind":"outcome","of":1,"result":"sent","duration_ms":3"#[..], None),
        (br#""kind":"outcome","of":1,"result":"sent","duration_ms":3,"novel":{"a":1}"#, None),
        (br#""kind":"novel","a":[{"b":1}]"#, None),
        (br#""kind":"outcome","of":1,"of":2,"result":"sent","duration_ms":3"#, Some("repeated")),
        (br#""kind":"novel","a":[{"b":1,"b":2}]"#, Some("repeated")),
        (br#""kind":"novel","kind":"novel""#, Some("not a record")),
        (br#""kind":"outcome","result":"sent","duration_ms":3"#, Some("missing field `of`")),
        (br#""kind":"outcome","of":"1","result":"sent","duration_ms":3"#, Some("invalid type")),
        (b"\"kind\":\"novel\",\"a\":\"\xff\"", Some("not a record")),
        (br#""kind":"decision","request_id":"a""#, Some("missing field")),
    ] {
        let directory = TempDir::new().unwrap();
        let (id, mut line) = (LedgerId::random(), Vec::new());
        let time = "2026-01-15T12:00:00Z".parse().unwrap();
        Head::start(&id).append(&mut line, &id, time, members);
        std::fs::write(directory.path().join(segment_name(1)), line).unwrap();
        let text = String::from_utf8_lossy(members);
        let error = verify(directory.path()).err().map(|it| it.to_string());
        assert_eq!(error.is_some(), expected.is_some(), "{text}: {error:?}");
        let error = error.unwrap_or_default();
        assert!(error.contains(expected.unwrap_or_default()), "{text}: {error}");
    }
}
