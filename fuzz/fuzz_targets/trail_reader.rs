//! The bytes of a file of the audit trail, beside a bypass in another file. Reading ends, a file that
//! cannot be read leaves nothing clean, and the bypass is found whatever else is written.
#![no_main]

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use lychgate::reconcile::{Book, Report, Trail, Window, reconcile};
use std::collections::BTreeSet;

const BYPASS: &str =
    r#"{"trace_name":"DeleteJobV2","time":1772323260000,"resource_id":"a","user":"eve"}"#;

fuzz_target!(|bytes: &[u8]| {
    let (alone, read) = judge(&[bytes]);
    assert!(read || !alone.is_complete());
    let (both, _) = judge(&[BYPASS.as_bytes(), bytes]);
    assert_eq!(
        both.bypasses(),
        both.findings.iter().filter(|it| it.class.is_bypass()).count() as u64
    );
    assert_ne!(both.bypasses(), 0);
});

fn judge(files: &[&[u8]]) -> (Report, bool) {
    let since = Timestamp::from_second(1_772_323_200).expect("a time");
    let until = since + SignedDuration::from_hours(1);
    let mut trail = Trail::new(Window { since, until, wanted: until }, BTreeSet::new());
    let mut read = true;
    for it in files {
        read &= trail.read("x.json", *it).is_ok();
    }
    (reconcile(trail, Book::default(), true), read)
}
