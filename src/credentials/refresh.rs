//! Keeps a temporary credential fresh: one task asks for a new one ahead of its end, and keeps the
//! old one for as long as that is valid.

use super::Publisher;
use super::provider::Provider;
use crate::clock::Clock;
use crate::text;

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::sync::watch;

/// How long before its end a credential is replaced, as the SDKs do; half of the time that was left
/// when it came, if that is less.
const AHEAD: SignedDuration = SignedDuration::from_mins(40);

/// The time ahead is drawn, so that replicas do not ask together: by up to one part in this many.
const JITTER: i32 = 10;

/// The shortest time between two calls.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(1);

/// The longest time between two calls while they fail.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(1);

/// How soon after the last call another one follows while the cloud refuses the credential that it
/// brought.
const PAUSE_REFUSED: SignedDuration = SignedDuration::from_mins(1);

/// How often the clock is read, because it may be set, or stand still with its machine.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Asks for credentials and publishes them, for ever. While the cloud has `refused` the last one,
/// it asks once a minute: the issuer may have taken it back.
pub(super) async fn keep(
    mut provider: Provider,
    publisher: Publisher,
    clock: Clock,
    mut refused: watch::Receiver<bool>,
) {
    let mut expires: Option<Timestamp> = None;
    let mut pause = PAUSE_MIN;
    loop {
        let asked = provider.fetch().await;
        let asked_at = clock.now();
        let ask_again = match asked {
            Ok(issued) if issued.expires.is_none_or(|it| asked_at < it) => {
                pause = PAUSE_MIN;
                expires = issued.expires;
                publisher.publish(Some(issued));
                let left = expires.unwrap_or(Timestamp::MAX).duration_since(asked_at);
                asked_at + until_refresh(left, fastrand::i32(0..=1000))
            }
            failed => {
                let error = failed.err().map(|it| text::chain(&it));
                let error = error.unwrap_or_else(|| "it has expired already".to_owned());
                publisher.trouble.begin(error.clone());
                if pause == PAUSE_MIN {
                    tracing::warn!(
                        error,
                        "no new cloud credential; the old one is kept while valid"
                    );
                }
                pause = (pause * 2).min(PAUSE_MAX);
                asked_at + pause
            }
        };
        loop {
            let now = clock.now();
            if expires.is_some_and(|it| it <= now) {
                expires = None;
                publisher.publish(None);
            }
            let ask_again = match *refused.borrow_and_update() {
                true => ask_again.min(asked_at + PAUSE_REFUSED),
                false => ask_again,
            };
            if ask_again <= now {
                break;
            }
            let next = expires.map_or(ask_again, |it| it.min(ask_again));
            let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(wait.min(LOOK_EVERY)) => (),
                Ok(()) = refused.changed() => (),
            }
        }
    }
}

/// How long to wait when a credential has `left` to live; `draw` is 0 to 1000.
fn until_refresh(left: SignedDuration, draw: i32) -> SignedDuration {
    let ahead = (left / 2).min(AHEAD);
    (left - ahead + ahead / JITTER / 1000 * draw).max(PAUSE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_replaced_ahead_of_its_end() {
        let seconds = SignedDuration::from_secs;
        for (left, earliest, latest) in [
            // A day: 40 minutes before its end, of which 4 are drawn.
            (86_400, 84_000, 84_240),
            // An hour: half way.
            (3_600, 1_800, 1_980),
            (10, 5, 6),
            (1, 1, 1),
            (0, 1, 1),
            (-5, 1, 1),
        ] {
            assert_eq!(until_refresh(seconds(left), 0).as_secs(), earliest, "{left}");
            let last = until_refresh(seconds(left), 1000);
            assert!((latest - 1..=latest).contains(&last.as_secs()), "{left}: {last}");
        }
    }
}
