//! Cloud access keys: who may sign for which project, and what too many bad signatures do.

use super::signature;
use super::signature::{Authorization, Received};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use std::collections::BTreeMap;
use std::fmt;

/// How far `X-Sdk-Date` may be from the service's clock; exactly this far still passes.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How many failed verifications in a row lock a key.
pub const FAILURES_MAX: u32 = 5;

/// How long a lock lasts.
pub const LOCK: SignedDuration = SignedDuration::from_mins(5);

/// An access key of the cloud.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The access key ID.
    pub ak: String,
    /// The secret access key.
    pub sk: String,
    /// The token that has to come with a temporary key.
    pub security_token: Option<String>,
    /// The projects it may speak for.
    pub projects: Vec<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("ak", &self.ak).field("projects", &self.projects).finish()
    }
}

/// What the verifications of one key came to.
#[derive(Debug, Default)]
struct KeyState {
    /// Failed verifications since the last good one or the last lock.
    failed_in_a_row: u32,
    /// Failed verifications since the start.
    failed: u64,
    /// How often the key was locked.
    lockouts: u64,
    /// Until when it is locked; in the past when it was.
    locked_until: Option<Timestamp>,
}

/// All keys of the cloud.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<String, (Key, KeyState)>);

impl Keys {
    /// Adds a key, or replaces the one with the same ID and forgets its failures.
    pub(super) fn insert(&mut self, key: Key) {
        self.0.insert(key.ak.clone(), (key, KeyState::default()));
    }

    pub(super) fn remove(&mut self, ak: &str) {
        self.0.remove(ak);
    }

    pub(super) fn failed(&self, ak: &str) -> u64 {
        self.0.get(ak).map_or(0, |(_, state)| state.failed)
    }

    pub(super) fn lockouts(&self) -> u64 {
        self.0.values().map(|(_, state)| state.lockouts).sum()
    }

    /// Who signed `request`, or what is wrong with it in the service's words; counts failures and
    /// locks the key on the last one allowed.
    ///
    /// Every verification that fails for a key that exists counts, be it for the signature, the
    /// clock or the token. During a lock nothing is verified and nothing counts.
    pub(super) fn verify(
        &mut self,
        request: &Received<'_>,
        region: &str,
        now: Timestamp,
    ) -> Result<&Key, String> {
        let authorization = authorization(request)?;
        let Some((key, state)) = self.0.get_mut(authorization.ak) else {
            return Err(format!("Get secretKey failed,ak:{},err:ak not exist", authorization.ak));
        };
        if state.locked_until.is_some_and(|it| now < it) {
            return Err("AK access failed to reach the limit,forbidden.".to_owned());
        }
        if let Err(why) = check(request, &authorization, key, region, now) {
            state.failed += 1;
            state.failed_in_a_row += 1;
            if FAILURES_MAX <= state.failed_in_a_row {
                state.failed_in_a_row = 0;
                state.lockouts += 1;
                state.locked_until = now.checked_add(LOCK).ok();
            }
            return Err(why);
        }
        state.failed_in_a_row = 0;
        Ok(key)
    }
}

fn authorization<'a>(request: &Received<'a>) -> Result<Authorization<'a>, String> {
    if request.has_header("x-auth-token") {
        return Err("decrypt token fail".to_owned());
    }
    let Some(value) = request.header("authorization") else {
        return Err("x-auth-token not found".to_owned());
    };
    std::str::from_utf8(value)
        .ok()
        .and_then(Authorization::parse)
        .ok_or_else(|| "Authorization format is invalid".to_owned())
}

fn check(
    request: &Received<'_>,
    authorization: &Authorization<'_>,
    key: &Key,
    region: &str,
    now: Timestamp,
) -> Result<(), String> {
    let signed = |name: &str| authorization.signed_headers.contains(&name);
    let date = request.header("x-sdk-date").and_then(|it| std::str::from_utf8(it).ok());
    let Some(date) = date.filter(|_| signed("x-sdk-date")) else {
        return Err("X-Sdk-Date is not signed".to_owned());
    };
    let Some(time) = parse_date(date) else {
        return Err(format!("X-Sdk-Date is malformed:{date}"));
    };
    if SKEW_MAX < now.duration_since(time).abs() {
        return Err(format!("Signature expired,signature time:{time},server time:{now:.0}"));
    }
    // The service shows what it signed, tokens and all: whoever passes the text on leaks them.
    if !signature::matches(request, authorization, &key.sk) {
        let canonical = signature::canonical_request(request, &authorization.signed_headers)
            .map(|it| String::from_utf8_lossy(&it).replace('\n', "|"))
            .unwrap_or_default();
        return Err(format!("verify aksk signature fail,canonicalRequest:{canonical}"));
    }
    if let Some(scope) = authorization.scope {
        let day = date.get(..8).unwrap_or_default();
        if scope != format!("{day}/{region}/modelarts") {
            return Err(format!("the credential scope {scope} is not that of this service"));
        }
    }
    let token = request.header("x-security-token");
    if token != key.security_token.as_ref().map(String::as_bytes) {
        return Err("the security token does not belong to the AK".to_owned());
    }
    if request.has_header("x-security-token") && !signed("x-security-token") {
        return Err("X-Security-Token is not signed".to_owned());
    }
    Ok(())
}

/// Reads `20260115T120000Z`.
fn parse_date(text: &str) -> Option<Timestamp> {
    if text.len() != "20260115T120000Z".len() {
        return None;
    }
    let time = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}
