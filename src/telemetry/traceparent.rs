//! The `traceparent` header (W3C Trace Context, level 2).

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceId};

/// The header's name.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The length of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// Where a trace comes from, or what is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traceparent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) sampled: bool,
}

impl Traceparent {
    /// Reads the one `traceparent` of a request. One that is malformed, all zero or repeated is as
    /// good as none; `tracestate` and `baggage` are never looked at.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let [v0, v1, b'-', head @ ..] = head else { return None };
        let (trace_id, head) = head.split_at_checked(32)?;
        let [b'-', head @ ..] = head else { return None };
        let (span_id, head) = head.split_at_checked(16)?;
        let [b'-', f0, f1] = head else { return None };
        let [version] = bytes(&[*v0, *v1])?;
        match version {
            0 if rest.is_empty() => (),
            // A later version begins like version 00 and may go on after a hyphen.
            1..=0xfe if rest.first().is_none_or(|it| *it == b'-') => (),
            _ => return None,
        }
        let trace_id = TraceId::from_bytes(bytes(trace_id)?);
        let span_id = SpanId::from_bytes(bytes(span_id)?);
        let [flags] = bytes(&[*f0, *f1])?;
        let sampled = flags & 1 == 1;
        (trace_id != TraceId::INVALID && span_id != SpanId::INVALID).then_some(Self {
            trace_id,
            span_id,
            sampled,
        })
    }

    /// The header value, version 00.
    pub(super) fn header(&self) -> HeaderValue {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        HEXLOWER.encode_append(&self.trace_id.to_bytes(), &mut text);
        text.push('-');
        HEXLOWER.encode_append(&self.span_id.to_bytes(), &mut text);
        text.push_str(if self.sampled { "-01" } else { "-00" });
        // Hex digits and hyphens are always a header value.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The trace ID as 32 digits.
    pub(super) fn trace_id_text(&self) -> String {
        HEXLOWER.encode(&self.trace_id.to_bytes())
    }
}

/// Bytes from lower-case hex.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    HEXLOWER.decode(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(values: &[&[u8]]) -> Option<Traceparent> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_bytes(value).unwrap());
        }
        Traceparent::read(&headers)
    }

    #[test]
    fn a_good_one_is_taken_and_written_back() {
        for (value, sampled, back) in [
            (GOOD, true, GOOD),
            (&GOOD.replace("-01", "-00"), false, &GOOD.replace("-01", "-00")),
            // Only the sampled flag is known here, and only it is handed on.
            (&GOOD.replace("-01", "-03"), true, GOOD),
            (&GOOD.replace("-01", "-fe"), false, &GOOD.replace("-01", "-00")),
            (&GOOD.replacen("00", "cc", 1), true, GOOD),
            (&format!("{}-what-the-future-will-be-like", GOOD.replacen("00", "cc", 1)), true, GOOD),
        ] {
            let it = read(&[value.as_bytes()]).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(it.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(it.span_id.to_string(), "b7ad6b7169203331");
            assert_eq!(it.sampled, sampled, "{value}");
            assert_eq!(it.header(), back, "{value}");
        }
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        let rows: &[&[u8]] = &[
            b"",
            b"00",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"0-00af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
            b"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            b"00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            b"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            b" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\xff1",
        ];
        for row in rows {
            assert_eq!(read(&[row]), None, "{}", String::from_utf8_lossy(row));
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[GOOD.as_bytes(), GOOD.as_bytes()]), None, "two of them");
    }
}
