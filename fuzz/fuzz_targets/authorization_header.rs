//! A value of `Authorization`: what is accepted is displayed as it was written, but for blanks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::sign::Authorization;

fuzz_target!(|value: &str| {
    let Ok(authorization) = Authorization::parse(value) else {
        return;
    };
    assert!(Authorization::is_signature(value));
    let displayed = authorization.to_string();
    assert_eq!(displayed.replace(' ', ""), value.replace(' ', ""));
    assert_eq!(Authorization::parse(&displayed).expect("what is displayed").to_string(), displayed);
    assert!(value.contains(authorization.access_key_id()));
    assert!(!authorization.signs(""));
});
