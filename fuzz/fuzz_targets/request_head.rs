//! The size of the pieces (one byte), then the bytes of a connection: the verdict does not depend on
//! the pieces, and what passes is what another reader reads too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lychgate::server::head;
use lychgate::server::head::Scan;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    let at_once = Scan::default().advance(bytes);

    let mut scan = Scan::default();
    let mut in_pieces = Ok(None);
    let mut end = 0;
    while matches!(in_pieces, Ok(None)) && end < bytes.len() {
        end = bytes.len().min(end + usize::from(*size) + 1);
        in_pieces = scan.advance(&bytes[..end]);
    }
    assert_eq!(at_once, in_pieces);

    let Ok(Some(length)) = at_once else {
        return;
    };
    assert_eq!(head::check(&bytes[..length]), Ok(()));
    let mut fields = [httparse::EMPTY_HEADER; head::FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(&bytes[..length]), Ok(httparse::Status::Complete(length)));
    assert_eq!(request.version, Some(1));
    let named =
        |name: &str| request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name)).count();
    assert_eq!(named("host"), 1);
    assert!(named("content-length") <= 1);
    assert_eq!(named("transfer-encoding"), 0);
});
