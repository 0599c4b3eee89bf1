//! A value of `Authorization`: what is accepted is displayed as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::sign::Authorization;

fuzz_target!(|value: &str| {
    let Ok(authorization) = Authorization::parse(value) else {
        return;
    };
    assert!(Authorization::is_signature(value));
    assert_eq!(authorization.to_string(), value);
    assert!(value.contains(authorization.access_key_id()));
    assert!(!authorization.signs(""));
});
