//! Which credential a request presents: exactly one, in one place.

use super::Error;
use crate::metrics::IdentityFault;
use crate::sign;

use http::{HeaderMap, HeaderValue, header};

const X_AUTH_TOKEN: &str = "x-auth-token";

/// The one credential of a request, not looked into yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// The value of an `Authorization` header made with an access key.
    Signature(&'a str),
    /// What should be a JSON Web Token.
    Token(&'a str),
}

impl<'a> Presented<'a> {
    /// Looks at `Authorization` and `X-Auth-Token`; nothing else in `headers` is a credential.
    pub(super) fn new(headers: &'a HeaderMap) -> Result<Self, Error> {
        let authorization = headers.get_all(header::AUTHORIZATION).iter().map(Self::authorization);
        let token = headers.get_all(X_AUTH_TOKEN).iter().map(Self::x_auth_token);
        let mut all = authorization.chain(token);
        match (all.next(), all.next()) {
            (None, _) => Err(Error::NoCredential),
            (Some(one), None) => one,
            (Some(_), Some(_)) => Err(Error::SeveralCredentials),
        }
    }

    fn authorization(value: &'a HeaderValue) -> Result<Self, Error> {
        let value = text(value)?;
        if sign::Authorization::is_signature(value) {
            return Ok(Self::Signature(value));
        }
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            // RFC 9110 §11.4 has one blank or more.
            return Ok(Self::Token(rest.trim_start_matches(' ')));
        }
        let message = match scheme {
            _ if scheme.starts_with("SDK-") => {
                "the gate verifies SDK-HMAC-SHA256 and V11-HMAC-SHA256: set the SDK's signing \
                 algorithm to HMAC-SHA256"
            }
            _ => {
                "the scheme of the Authorization header is not known here: send `Bearer` with a \
                 token, or sign with a gateway key (SDK-HMAC-SHA256)"
            }
        };
        Err(Error::Token(IdentityFault::Scheme, message.to_owned()))
    }

    fn x_auth_token(value: &'a HeaderValue) -> Result<Self, Error> {
        let value = text(value)?;
        match value.split('.').count() {
            3 => Ok(Self::Token(value)),
            _ => Err(Error::Token(
                IdentityFault::Scheme,
                "X-Auth-Token holds no JSON Web Token; if it is a Huawei Cloud IAM token, the \
                 gate cannot verify it: send a token of your organisation's issuer, or sign with \
                 a gateway key"
                    .to_owned(),
            )),
        }
    }
}

fn text(value: &HeaderValue) -> Result<&str, Error> {
    value
        .to_str()
        .map_err(|_| Error::Token(IdentityFault::Form, "it is not visible ASCII".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: Result<Presented<'_>, &str>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        match (Presented::new(&map), expected) {
            (Ok(actual), Ok(expected)) => assert_eq!(actual, expected),
            (Err(error), Err(expected)) => {
                let message = error.to_string();
                assert!(message.contains(expected), "{message}");
            }
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn exactly_one_credential_is_presented() {
        use Presented::*;
        let signed = "SDK-HMAC-SHA256 Access=x";
        check(&[], Err("no credential"));
        check(&[("cookie", "token=a.b.c")], Err("no credential"));
        check(&[("authorization", "Bearer a.b.c")], Ok(Token("a.b.c")));
        check(&[("authorization", "bearer a.b.c")], Ok(Token("a.b.c")));
        check(&[("authorization", "Bearer   a.b.c")], Ok(Token("a.b.c")));
        check(&[("authorization", signed)], Ok(Signature(signed)));
        check(&[("authorization", "V11-HMAC-SHA256 x")], Ok(Signature("V11-HMAC-SHA256 x")));
        check(&[("x-auth-token", "a.b.c")], Ok(Token("a.b.c")));
        check(&[("x-auth-token", "MIIFxxx")], Err("Huawei Cloud IAM token"));
        // Attack 39
        for scheme in ["Basic YTpi", "Negotiate", "", "Bearertoken", "Digest a=b, Bearer a.b.c"] {
            check(&[("authorization", scheme)], Err("Bearer"));
        }
        check(&[("authorization", "SDK-HMAC-SM3 Access=x")], Err("HMAC-SHA256"));
        let several = "more than one credential";
        check(&[("authorization", "Bearer a.b.c"), ("x-auth-token", "a.b.c")], Err(several));
        check(
            &[("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")],
            Err(several),
        );
        check(&[("x-auth-token", "a.b.c"), ("x-auth-token", "a.b.c")], Err(several));
        check(&[("authorization", "Basic x"), ("authorization", signed)], Err(several));
    }
}
