//! An answer to the look-up of a job's tags: all of them are read or none is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::attributes;

fuzz_target!(|answer: &[u8]| {
    let Ok(found) = attributes::tags(answer) else {
        return;
    };
    let text = str::from_utf8(answer).expect("read as text");
    // In what is not read there may be numbers and escapes that no value can hold.
    let Ok(whole) = serde_json::from_str::<serde_json::Value>(text) else {
        return;
    };
    let listed = whole["tags"].as_array().expect("a list of tags");
    assert_eq!(found.len(), listed.len());
    for tag in listed {
        assert_eq!(
            found.get(tag["key"].as_str().expect("a key")).map(String::as_str),
            tag["value"].as_str()
        );
    }
});
