//! A configuration file: it is read or it is not, twice alike, and each complaint stands in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::config::Config;
use std::path::Path;

fuzz_target!(|text: &str| {
    let read = || Config::parse(text, Path::new("/etc/lychgate"));
    let complaints = match (read(), read()) {
        (Ok(_), Ok(_)) => return,
        (Err(first), Err(second)) => {
            assert_eq!(format!("{first:?}"), format!("{second:?}"));
            first
        }
        _ => panic!("once it is good, once it is not"),
    };
    assert!(!complaints.is_empty());
    // A carriage return alone ends a line as well (YAML 1.2, 5.4).
    let lines = u64::try_from(text.split(['\n', '\r']).count()).expect("a file");
    for it in complaints {
        assert!(!it.message.is_empty());
        assert!(u64::from(it.line) <= lines + 1, "{it:?}");
    }
});
