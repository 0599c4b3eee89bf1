//! The body of a request, where there is one: bounded in size and in time, JSON by its header.

use super::{Arrival, BodyFault};
use crate::route::batch::BODY_BYTES_MAX;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::mem;
use std::time::Duration;
use tokio::time::timeout;

/// From the end of the head to the end of the body.
const TIME_OUT: Duration = Duration::from_secs(5);

/// Takes the body of `arrival`.
pub(super) async fn read(arrival: &mut Arrival) -> Result<Bytes, BodyFault> {
    if !is_json(&arrival.head.headers) {
        return Err(BodyFault::Type);
    }
    take(arrival).await
}

/// Waits for the end of a request whose head said that nothing follows. Over HTTP/2 the end may come
/// after the head, and until it has come the request may still turn out to be malformed
/// (RFC 9113 §8.1.1).
pub(super) async fn end(arrival: &mut Arrival) -> Result<(), BodyFault> {
    if arrival.body.is_end_stream() {
        return Ok(());
    }
    take(arrival).await.map(drop)
}

async fn take(arrival: &mut Arrival) -> Result<Bytes, BodyFault> {
    let body = mem::replace(&mut arrival.body, Body::empty());
    match timeout(TIME_OUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Ok(Err(_)) => Err(BodyFault::Incomplete),
        Err(_) => Err(BodyFault::TooSlow),
    }
}

/// `application/json`, in UTF-8 if a charset is named, and without a content encoding.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|it| it.eq_ignore_ascii_case("application/json"));
    let is_utf8 = |it: &str| {
        ["charset=utf-8", "charset=\"utf-8\""].iter().any(|utf8| it.eq_ignore_ascii_case(utf8))
    };
    is_json && parts.all(is_utf8) && !headers.contains_key(header::CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_read() {
        for (values, encoding, expected) in [
            (&["application/json"][..], None, true),
            (&["application/json;charset=UTF-8"], None, true),
            (&["Application/JSON; charset=\"utf-8\""], None, true),
            (&["application/json; charset=latin1"], None, false),
            (&["application/json; charset=utf-7"], None, false),
            (&["text/plain"], None, false),
            (&["application/x-www-form-urlencoded"], None, false),
            (&["application/jsonp"], None, false),
            (&[], None, false),
            (&["application/json", "application/json"], None, false),
            (&["application/json"], Some("gzip"), false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            }
            assert_eq!(is_json(&headers), expected, "{values:?} {encoding:?}");
        }
    }
}
