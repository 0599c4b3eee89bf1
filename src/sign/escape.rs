//! Percent-encoding as the canonical request wants it: whatever arrives is decoded, split and
//! encoded anew, which is what the official Python SDK does and what all SDKs agree on for the
//! identifiers that the gate accepts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// All but the unreserved characters (RFC 3986 §2.3).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const PATH: &AsciiSet = &VALUE.remove(b'/');

/// Appends the canonical form of `path`: decoded, encoded anew segment by segment, with a slash at
/// the end. Dot segments and double slashes stay as they are.
pub(super) fn push_path(out: &mut String, path: &str) {
    out.extend(percent_encode(&decode(path), PATH));
    if !out.ends_with('/') {
        out.push('/');
    }
}

/// Appends the canonical form of `query`: parameters sorted by decoded key, then value, always
/// with `=`.
pub(super) fn push_query(out: &mut String, query: &str) {
    let mut parameters: Vec<_> = query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    parameters.sort_unstable();
    for (at, (key, value)) in parameters.iter().enumerate() {
        if at != 0 {
            out.push('&');
        }
        out.extend(percent_encode(key, VALUE));
        out.push('=');
        out.extend(percent_encode(value, VALUE));
    }
}

/// Decodes once; a `%` without two hex digits stands for itself.
fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule again, by table look-up over every byte and without a fast path.
    fn naive(bytes: &[u8], keep: &str) -> String {
        let plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        bytes
            .iter()
            .map(|it| match char::from(*it) {
                it if plain.contains(it) || keep.contains(it) => it.to_string(),
                it => format!("%{:02X}", u32::from(it)),
            })
            .collect()
    }

    fn path(path: &str) -> String {
        let mut res = String::new();
        push_path(&mut res, path);
        res
    }

    fn query(query: &str) -> String {
        let mut res = String::new();
        push_query(&mut res, query);
        res
    }

    #[test]
    fn escapes_by_rule() {
        for (given, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/a", "/a/"),
            ("/a/", "/a/"),
            ("//a/./..//", "//a/./..//"),
            ("/a b", "/a%20b/"),
            ("/a%20b", "/a%20b/"),
            ("/a%2fb", "/a/b/"),
            ("/a%2", "/a%252/"),
            ("/a%zz%", "/a%25zz%25/"),
            ("/%C3%a9", "/%C3%A9/"),
            ("/é", "/%C3%A9/"),
            ("/a+b*c'", "/a%2Bb%2Ac%27/"),
        ] {
            assert_eq!(path(given), expected, "{given}");
        }
        for (given, expected) in [
            ("", ""),
            ("a", "a="),
            ("b=1&a", "a=&b=1"),
            ("a=b=c", "a=b%3Dc"),
            ("a=2&a=10&A=1", "A=1&a=10&a=2"),
            ("a=x+y&&", "a=x%2By"),
        ] {
            assert_eq!(query(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_form(text in "[^%]{0,40}") {
            let mut expected = naive(text.as_bytes(), "/");
            if !expected.ends_with('/') {
                expected.push('/');
            }
            prop_assert_eq!(path(&text), expected);
        }

        #[test]
        fn encoding_on_the_wire_makes_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let encoded: String = bytes.iter().map(|it| format!("%{it:02x}")).collect();
            let mut expected = naive(&bytes, "/");
            if !expected.ends_with('/') {
                expected.push('/');
            }
            prop_assert_eq!(path(&encoded), expected);
        }

        #[test]
        fn queries_agree_with_the_naive_form(pairs in prop::collection::vec((".{1,5}", ".{0,5}"), 0..6)) {
            let encode = |it: &str| naive(it.as_bytes(), "");
            let given: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            let mut sorted = pairs;
            sorted.sort();
            let expected: Vec<_> =
                sorted.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            prop_assert_eq!(query(&given.join("&")), expected.join("&"));
        }
    }
}
