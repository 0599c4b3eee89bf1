//! From the payload of a token with a good signature to a principal. The types of all claims that
//! matter are checked here: a claim of a wrong type is refused, never taken for absent.

use crate::authn::config::{ClaimPath, Issuer};
use crate::authn::{Error, Moment, name};
use crate::metrics::IdentityFault;
use crate::policy::{Method, Principal};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far the issuer's clock and the gate's may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// When a token is good, without leeway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) expires: Timestamp,
}

/// Checks `payload`, which the issuer has signed, and names the principal.
pub(super) fn judge(
    payload: &Map<String, Value>,
    issuer: &Issuer,
    moment: Moment,
) -> Result<(Principal, Validity), Error> {
    if text(payload, "iss")? != issuer.issuer {
        return Err(invalid("`iss` is another issuer"));
    }
    if text(payload, "sub")?.is_empty() {
        return Err(invalid("`sub` is empty"));
    }
    check_audience(payload, &issuer.audience)?;
    let validity = check_times(payload, issuer.max_lifetime, moment)?;
    Ok((principal(payload, issuer)?, validity))
}

fn text<'a>(payload: &'a Map<String, Value>, name: &str) -> Result<&'a str, Error> {
    match payload.get(name) {
        Some(Value::String(it)) => Ok(it),
        Some(_) => Err(invalid(&format!("`{name}` is not a text"))),
        None => Err(invalid(&format!("`{name}` is missing"))),
    }
}

/// An ID token, and a token for another client of the same issuer, name that client here, which is
/// what keeps them out.
fn check_audience(payload: &Map<String, Value>, accepted: &[String]) -> Result<(), Error> {
    let wrong = || invalid("`aud` is neither a text nor a list of texts");
    let audience = match payload.get("aud") {
        Some(Value::String(it)) => vec![it.as_str()],
        Some(Value::Array(list)) => {
            list.iter().map(|it| it.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong()),
        None => return Err(Error::Audience),
    };
    match audience.iter().any(|it| accepted.iter().any(|accepted| accepted == it)) {
        true => Ok(()),
        false => Err(Error::Audience),
    }
}

fn check_times(
    payload: &Map<String, Value>,
    max_lifetime: Duration,
    moment: Moment,
) -> Result<Validity, Error> {
    let Moment { now, latest } = moment;
    let expires = time(payload, "exp")?.ok_or_else(|| invalid("`exp` is missing"))?;
    let (from, issued) = (time(payload, "nbf")?, time(payload, "iat")?);
    let not_before = from.max(issued).unwrap_or(Timestamp::MIN);
    // Measured from the latest time seen: setting the clock back must not revive a token.
    if expires.duration_since(latest) <= -LEEWAY {
        return Err(Error::Expired(format!(
            "it was valid until {expires}, and the gate's clock says {latest}"
        )));
    }
    if LEEWAY < not_before.duration_since(now) {
        return Err(Error::Expired(format!(
            "it is valid from {not_before}, and the gate's clock says {now}"
        )));
    }
    // Without `iat` and `nbf` it counts from now: the token has at most that time left.
    let lifetime = expires.duration_since(issued.or(from).unwrap_or(now));
    let max = SignedDuration::try_from(max_lifetime).unwrap_or(SignedDuration::MAX);
    if max < lifetime {
        return Err(invalid(&format!(
            "it is valid for {lifetime:#}, and this gate takes none that is valid for more than {max:#}"
        )));
    }
    Ok(Validity { not_before, expires })
}

/// A NumericDate (RFC 7519 §2), of which only whole numbers are read.
fn time(payload: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = payload.get(name) else { return Ok(None) };
    value
        .as_i64()
        .filter(|it| 0 <= *it)
        .and_then(|it| Timestamp::from_second(it).ok())
        .map(Some)
        .ok_or_else(|| invalid(&format!("`{name}` is not a whole number of seconds since 1970")))
}

/// The principal that the claims name.
pub(super) fn principal(payload: &Map<String, Value>, issuer: &Issuer) -> Result<Principal, Error> {
    let claims = &issuer.claims;
    let name = match find(payload, &claims.name)? {
        Some(Value::String(it)) => it,
        Some(_) => return Err(about(&claims.name, "is not a text")),
        None => {
            return Err(about(
                &claims.name,
                "is missing, and the principal's name is read from it",
            ));
        }
    };
    name::check(name).map_err(|message| about(&claims.name, message))?;
    let unverified = payload.get("email_verified").is_some_and(|it| *it != Value::Bool(true));
    if claims.name.as_slice() == ["email"] && unverified {
        return Err(invalid("the issuer has not verified the e-mail address (`email_verified`)"));
    }

    let groups = match &claims.groups {
        None => Vec::new(),
        Some(path) => groups(payload, path)?,
    };
    let mut tags = BTreeMap::new();
    for (key, path) in &claims.tags {
        match find(payload, path)? {
            None => check_left_out(payload, path)?,
            Some(Value::String(it)) => {
                name::check_value(it).map_err(|message| about(path, message))?;
                tags.insert(key.clone(), it.clone());
            }
            Some(_) => return Err(about(path, "is not a text")),
        }
    }
    Ok(Principal::new(&issuer.name, name, groups, tags, Method::Jwt))
}

fn groups(payload: &Map<String, Value>, path: &ClaimPath) -> Result<Vec<String>, Error> {
    let list = match find(payload, path)? {
        None => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if list.is_empty() {
        check_left_out(payload, path)?;
    }
    if name::GROUPS_MAX < list.len() {
        return Err(about(path, "has more than 256 groups"));
    }
    list.iter()
        .map(|it| {
            let group = it.as_str().ok_or_else(|| about(path, "is not a list of texts"))?;
            name::check(group).map_err(|message| about(path, message))?;
            Ok(group.to_owned())
        })
        .collect()
}

/// A null counts as no claim. What is neither that nor an object has no claims in it, and whether it
/// was to hold some is not known.
fn find<'a>(payload: &'a Map<String, Value>, path: &ClaimPath) -> Result<Option<&'a Value>, Error> {
    let mut steps = path.as_slice().iter();
    let mut found = steps.next().and_then(|it| payload.get(it));
    for step in steps {
        found = match found {
            None | Some(Value::Null) => None,
            Some(Value::Object(it)) => it.get(step),
            // As some issuers write an object without members.
            Some(Value::Array(it)) if it.is_empty() => None,
            Some(_) => return Err(about(path, "is in a claim that is not an object")),
        };
    }
    Ok(found.filter(|it| !it.is_null()))
}

/// Issuers leave out claims that would be too long. They say so in `_claim_names` (OpenID Connect
/// Core §5.6.2) or, Entra ID for one, by a claim `hasgroups` beside it. Such a claim is not absent
/// but unknown, and a Deny may hang on it.
fn check_left_out(payload: &Map<String, Value>, path: &ClaimPath) -> Result<(), Error> {
    let is_in = |step: &String| match payload.get("_claim_names") {
        Some(Value::Object(names)) => names.contains_key(step),
        Some(Value::Array(names)) => names.iter().any(|it| it == step),
        None | Some(Value::Null) => false,
        Some(_) => true,
    };
    let has = |step: &String| {
        let named = |claim: &str| {
            let rest =
                claim.split_at_checked(3).filter(|(head, _)| head.eq_ignore_ascii_case("has"));
            rest.is_some_and(|(_, it)| it.trim_start_matches('_').eq_ignore_ascii_case(step))
        };
        let says_no = |it: &Value| matches!(it, Value::Null | Value::Bool(false)) || it == "false";
        payload.iter().any(|(claim, value)| named(claim) && !says_no(value))
    };
    match path.as_slice().iter().any(|it| is_in(it) || has(it)) {
        true => Err(about(path, "was left out by the issuer, which stores it elsewhere")),
        false => Ok(()),
    }
}

/// A message about a claim; the path comes from the configuration, not from the token.
fn about(path: &ClaimPath, message: &str) -> Error {
    invalid(&format!("`{}` {message}", path.as_slice().join(".")))
}

fn invalid(message: &str) -> Error {
    Error::Token(IdentityFault::Claim, message.to_owned())
}
