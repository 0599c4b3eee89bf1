//! An answer to the look-up of a job: nothing is read from what is not JSON, nothing empty is a value.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use lychgate::attributes;
use lychgate::attributes::PoolWords;
use lychgate::policy::Attribute;

const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

fuzz_target!(|answer: &[u8]| {
    let words = PoolWords { dedicated: "dedicated".to_owned(), public: "public".to_owned() };
    let Ok(known) = attributes::details(answer, JOB, Timestamp::UNIX_EPOCH, &words) else {
        return;
    };
    let found = known.attributes;
    let text = str::from_utf8(answer).expect("read as text");
    // In what is not read there may be numbers and escapes that no value can hold.
    if let Ok(whole) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(whole["metadata"]["id"], JOB);
    }
    assert_eq!(found.tags, Attribute::NotAsked);
    for texts in [&found.pool_id, &found.pool_type] {
        assert!(texts.value().is_none_or(|it| !it.is_empty() && !it.contains(&String::new())));
    }
    for text in [&found.phase, &found.kind, &found.name, &found.owner, &found.workspace_id] {
        assert!(text.value().is_none_or(|it| !it.is_empty()));
    }
});
