//! A method, a space, a target: what is accepted is built again byte for byte.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use lychgate::route;
use lychgate::route::JobIds;

fuzz_target!(|text: &str| {
    let Some((method, target)) = text.split_once(' ') else {
        return;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let uuid = route::parse(&method, target, JobIds::Uuid);
    let token = route::parse(&method, target, JobIds::Token);
    for operation in [&uuid, &token].into_iter().flatten() {
        assert_eq!(operation.path(), target);
        assert_eq!(method, Method::DELETE);
    }
    // Every UUID is a token.
    if uuid.is_ok() {
        assert_eq!(uuid, token);
    }
});
