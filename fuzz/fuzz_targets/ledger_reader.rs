//! The bytes of a ledger's only segment. What is verified is still verified when a crash cuts it off
//! anywhere, and is not when a byte before the last line is another. Records of a kind that
//! is not known are passed over, whatever they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::ledger;
use lychgate::ledger::record::Body;
use lychgate::ledger::{Kind, Reader, Unverified, Verified};
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(found)) = verify(bytes) else {
        return;
    };
    assert!(found.first <= found.last);
    assert_eq!(found.records.values().sum::<u64>(), found.last - found.first + 1);

    let mut reader = Reader::open(DIRECTORY.path()).expect("it was read before");
    while let Some(record) = reader.next().expect("it was good before") {
        match record.body() {
            Ok(body) => assert_eq!(body == Body::Unknown, record.kind == Kind::Unknown),
            Err(_) => assert_ne!(record.kind, Kind::Unknown),
        }
    }

    let (cut, _) = bytes.split_at(bytes.len() / 2);
    verify(cut).expect("a crash is no damage");

    let lines: Vec<&[u8]> = bytes.split_inclusive(|it| *it == b'\n').collect();
    let [before @ .., _] = lines.as_slice() else {
        return;
    };
    let end = before.iter().map(|it| it.len()).sum::<usize>();
    if let Some(at) = end.checked_sub(1 + end / 3) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        verify(&changed).expect_err("a changed byte is damage");
    }
});

fn verify(bytes: &[u8]) -> Result<Option<Verified>, Unverified> {
    fs::write(DIRECTORY.path().join("00000000000000000001.jsonl"), bytes).expect("a segment");
    ledger::verify(DIRECTORY.path())
}
