//! Tokens that were verified already. A hit must be what a second verification would say: it
//! counts only inside the token's own times, and as long as the issuer's keys are the same.

use super::claims::Validity;
use crate::authn::Moment;
use crate::policy::Principal;

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of tokens in each of the two halves. What is remembered of a token is at most
/// about ten times as long as the token, if that has very many very short groups.
const HALF_BYTES_MAX: usize = 2 * 1024 * 1024;

/// SHA-256 of a token.
pub(super) type Digest = [u8; 32];

/// What is remembered of a token; the token itself is not.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    /// Which issuer, by its place in the configuration.
    pub(super) issuer: usize,
    /// The version of the issuer's keys that the signature was verified with.
    pub(super) version: u64,
    pub(super) validity: Validity,
    pub(super) principal: Arc<Principal>,
    /// The length of the token.
    pub(super) bytes: usize,
}

/// Verified tokens by digest, at most twice [`HALF_BYTES_MAX`]. When the newer half is full, the older
/// one, which has not been asked for since, is forgotten.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<Digest, Verified>,
    /// The length of all newer tokens together.
    bytes: usize,
    older: HashMap<Digest, Verified>,
}

impl Cache {
    /// What is known of a token, unless its times have to be judged again: the leeway is for
    /// judging, not for remembering.
    pub(super) fn get(&self, digest: &Digest, moment: Moment) -> Option<Verified> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = halves.older.remove(digest) {
            halves.insert(*digest, it);
        }
        let it = halves.newer.get(digest)?;
        let Validity { not_before, expires } = it.validity;
        (not_before <= moment.now && moment.latest < expires).then(|| it.clone())
    }

    /// Remembers a token.
    pub(super) fn insert(&self, digest: Digest, verified: Verified) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, verified);
    }
}

impl Halves {
    fn insert(&mut self, digest: Digest, verified: Verified) {
        let bytes = verified.bytes;
        if HALF_BYTES_MAX < self.bytes + bytes && !self.newer.contains_key(&digest) {
            self.older = mem::take(&mut self.newer);
            self.bytes = 0;
        }
        if self.newer.insert(digest, verified).is_none() {
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Method;

    use jiff::Timestamp;

    fn moment(now: i64, latest: i64) -> Moment {
        let at = |it| Timestamp::from_second(it).unwrap();
        Moment { now: at(now), latest: at(latest) }
    }

    fn digest(number: usize) -> Digest {
        let mut res = [0; 32];
        res[..8].copy_from_slice(&number.to_le_bytes());
        res
    }

    fn verified() -> Verified {
        let principal = Principal::new("corp", "alice", [], [].into(), Method::Jwt);
        let validity = Validity { not_before: moment(100, 0).now, expires: moment(200, 0).now };
        Verified { issuer: 0, version: 0, validity, principal: Arc::new(principal), bytes: 4096 }
    }

    /// Attacks 51, 53
    #[test]
    fn a_token_is_remembered_inside_its_own_times() {
        let cache = Cache::default();
        cache.insert(digest(0), verified());
        for (now, latest, hit) in [
            (99, 99, false),
            (100, 100, true),
            (199, 199, true),
            (200, 200, false),
            (150, 200, false),
        ] {
            assert_eq!(cache.get(&digest(0), moment(now, latest)).is_some(), hit, "{now} {latest}");
        }
        assert!(cache.get(&digest(1), moment(150, 150)).is_none());
    }

    #[test]
    fn what_is_asked_for_is_kept_and_the_rest_is_bounded() {
        let cache = Cache::default();
        let half = HALF_BYTES_MAX / verified().bytes;
        for number in 0..10 * half {
            cache.insert(digest(number), verified());
            assert!(cache.get(&digest(0), moment(150, 150)).is_some(), "after {number}");
        }
        let halves = cache.0.into_inner().unwrap();
        assert!((half..=2 * half).contains(&(halves.newer.len() + halves.older.len())));
    }
}
