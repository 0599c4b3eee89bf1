//! A method, a space, a target: what is accepted is built again byte for byte.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use lychgate::route;
use lychgate::route::{JobIds, Operation};

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
        let takes_body = route::takes_body(method.as_str().as_bytes(), target.as_bytes());
        match operation {
            Operation::Delete(job) | Operation::Get(job) => {
                assert_eq!(job.path(), target);
                let is_get = matches!(operation, Operation::Get(_));
                assert_eq!(method, if is_get { Method::GET } else { Method::DELETE });
                assert!(!takes_body);
            }
            Operation::BatchDelete(_) => assert!(method == Method::POST && takes_body),
        }
    }
    // Every UUID is a token.
    if uuid.is_ok() {
        assert_eq!(uuid, token);
    }
});
