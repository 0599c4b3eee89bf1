//! The pace of fetches of an issuer's keys, in paused time, and what callers are told meanwhile.

use super::*;
use crate::authn::config::{Remote, STALE_KEYS_MIN};
use crate::authn::jwt::fetch::Script;
use crate::authn::jwt::support;
use crate::authn::jwt::support::Signer;
use crate::client::Roots;
use crate::telemetry::{Kept, LogConfig};

use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

const STALE: Duration = Duration::from_secs(3600);

struct World {
    issuer: Arc<Issuer>,
    script: Arc<Script>,
    /// Ends when it is dropped.
    _follower: JoinSet<()>,
}

impl World {
    /// An issuer that publishes `set`; each fetch takes `takes`.
    fn new(set: Option<String>, takes: Duration) -> Self {
        Self::with_stale(set, takes, STALE)
    }

    fn with_stale(set: Option<String>, takes: Duration, stale: Duration) -> Self {
        let remote = Remote { roots: Roots::Nobody, bearer: None, stale };
        let jwks = Jwks::Url("https://id.example/keys".parse().unwrap(), remote);
        let issuer = Arc::new(Issuer::new(support::issuer(jwks), &Metrics::new(), Clock::system()));
        let script = Arc::new(Script { set: set.into(), takes, ..Script::default() });
        let fetcher = Fetcher::Scripted(Arc::clone(&script));
        let (mut follower, followed) = (JoinSet::new(), Arc::clone(&issuer));
        follower.spawn(async move { followed.follow(&fetcher).await });
        Self { issuer, script, _follower: follower }
    }

    fn publish(&self, set: Option<String>) {
        *self.script.set.lock().unwrap() = set;
    }

    fn looks(&self) -> usize {
        self.script.looks.load(Ordering::Relaxed)
    }

    async fn ask(&self, id: &str) -> Result<u64, Error> {
        let token = format!(
            "{}.{}.",
            support::encode(&format!(r#"{{"alg":"ES256","kid":"{id}"}}"#)),
            support::encode("{}")
        );
        let token = Token::parse(&token).unwrap();
        self.issuer.keys_for(&token).await.map(|it| it.version)
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn is_unknown(result: &Result<u64, Error>) -> bool {
    matches!(result, Err(Error::Token(..)))
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_waits_for_the_first_keys() {
    let set = support::set(&[&Signer::p256("a")]);
    let world = World::new(Some(set), Duration::from_secs(1));
    assert_eq!(world.issuer.version(), None);
    assert_eq!(world.ask("a").await, Ok(0));
    assert_eq!(world.issuer.version(), Some(0));
}

/// Attack 45
#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_look_per_cool_down() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let world = World::new(Some(support::set(&[&a])), Duration::ZERO);
    assert_eq!(world.ask("a").await, Ok(0));
    pass(1).await;
    assert_eq!(world.looks(), 1);

    assert!(is_unknown(&world.ask("x0").await), "it was looked for");
    assert_eq!(world.looks(), 2);
    pass(1).await;
    for id in 1..10_000 {
        let result = world.ask(&format!("x{id}")).await;
        assert!(is_unknown(&result), "the keys were looked at a second ago: {result:?}");
    }
    assert_eq!(world.ask("a").await, Ok(0), "others do not notice");
    assert_eq!(world.looks(), 2);

    // A key that is published right after a fetch is not refused for good.
    world.publish(Some(support::set(&[&a, &b])));
    assert!(is_unknown(&world.ask("b").await));
    pass(10).await;
    assert_eq!(world.ask("b").await, Ok(1));
    assert_eq!(world.looks(), 3);
}

/// Attack 54
#[tokio::test(start_paused = true)]
async fn callers_share_a_look() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let world = World::new(Some(support::set(&[&a])), Duration::from_secs(1));
    assert_eq!(world.ask("a").await, Ok(0));
    world.publish(Some(support::set(&[&a, &b])));
    let asking = (0..WAITERS_MAX).map(|_| world.ask("b"));
    for result in futures_util::future::join_all(asking).await {
        assert_eq!(result, Ok(1));
    }
    assert_eq!(world.looks(), 2);

    // More than can wait are not kept.
    let asking = (0..WAITERS_MAX + 1).map(|_| world.ask("c"));
    pass(10).await;
    let results = futures_util::future::join_all(asking).await;
    let unavailable = results.iter().filter(|it| **it == Err(Error::KeysUnavailable)).count();
    assert_eq!(unavailable, 1);
    assert_eq!(results.iter().filter(|it| is_unknown(it)).count(), WAITERS_MAX);
    assert_eq!(world.looks(), 3);
}

/// Hanging up does not spoil the fetch for others.
#[tokio::test(start_paused = true)]
async fn a_look_survives_who_asked_for_it() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let world = World::new(Some(support::set(&[&a])), Duration::from_secs(2));
    assert_eq!(world.ask("a").await, Ok(0));
    world.publish(Some(support::set(&[&a, &b])));
    let hung_up = tokio::time::timeout(Duration::from_secs(1), world.ask("b")).await;
    assert!(hung_up.is_err());
    pass(2).await;
    assert_eq!(world.issuer.version(), Some(1));
}

/// Attack 49
#[tokio::test(start_paused = true)]
async fn keys_outlive_their_issuer_for_a_while() {
    let a = Signer::p256("a");
    let world = World::new(Some(support::set(&[&a])), Duration::ZERO);
    assert_eq!(world.ask("a").await, Ok(0));
    for bad in [None, Some("<html>".to_owned()), Some(r#"{"keys":[]}"#.to_owned())] {
        world.publish(bad);
        pass(1000).await;
        assert_eq!(world.ask("a").await, Ok(0));
        assert_eq!(world.ask("b").await, Err(Error::KeysUnavailable), "cannot be looked for");
    }
    pass(1000).await;
    assert_eq!(world.issuer.version(), None);
    assert_eq!(world.ask("a").await, Err(Error::KeysUnavailable));

    world.publish(Some(support::set(&[&a])));
    pass(20).await;
    assert_eq!(world.ask("a").await, Ok(0), "the same keys are the same version");
}

/// Attack 49: the bound cuts off an issuer that is silent, and no other.
#[tokio::test(start_paused = true)]
async fn keys_of_an_issuer_that_answers_never_become_stale() {
    let set = Some(support::set(&[&Signer::p256("a")]));
    let world = World::with_stale(set, Duration::from_secs(3), STALE_KEYS_MIN);
    assert_eq!(world.ask("a").await, Ok(0));
    for second in 0..600 {
        pass(1).await;
        assert_eq!(world.issuer.version(), Some(0), "{second}");
    }
    world.publish(None);
    pass(11).await;
    assert_eq!(world.issuer.version(), None);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_noticed_without_being_asked_for() {
    let (a, b) = (Signer::p256("a"), Signer::p256("b"));
    let world = World::new(Some(support::set(&[&a, &b])), Duration::ZERO);
    assert_eq!(world.ask("a").await, Ok(0));
    world.publish(Some(support::set(&[&b])));
    pass(301).await;
    assert_eq!(world.issuer.version(), Some(1));
    assert!(is_unknown(&world.ask("a").await));
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_does_not_hold_callers() {
    let world = World::new(None, Duration::from_secs(3600));
    let began = Instant::now();
    assert_eq!(world.ask("a").await, Err(Error::KeysUnavailable));
    assert!(began.elapsed() <= 2 * FETCH_MAX);
}

/// A failure names URL, key and reason, and what it leads to: at first, while the last keys are good,
/// and when they are too old.
#[tokio::test(start_paused = true)]
async fn why_there_are_no_keys_is_told_as_what_it_is() {
    let log = Kept::new(&LogConfig::default(), &Clock::system());
    let good = support::set(&[&Signer::p256("a")]);
    let symmetric = r#"{"keys":[{"kty":"oct","kid":"s","k":"AAAA"}]}"#;
    let world = World::new(None, Duration::ZERO);
    const AWAY: &str = "https://id.example/keys: the answer's status is 502 Bad Gateway";
    const UNFIT: &str = "https://id.example/keys: none of its 1 keys can verify a token of this issuer: `s`: a key is symmetric";
    const REFUSED: &str = "cannot be fetched: its tokens are refused";
    const STAY: &str = "cannot be fetched; the last ones stay in use";
    for (published, seconds, lines) in [
        (None, 100, &[(REFUSED, AWAY)] as &[_]),
        (Some(symmetric), 100, &[(REFUSED, UNFIT)]),
        (Some(&*good), 400, &[]),
        (Some(symmetric), 400, &[(STAY, UNFIT)]),
        (None, 4000, &[(STAY, AWAY), (REFUSED, AWAY)]),
    ] {
        world.publish(published.map(str::to_owned));
        pass(seconds).await;
        let text = log.take();
        let told: Vec<_> = text.lines().filter(|it| it.contains(" warn ")).collect();
        assert_eq!(told.len(), lines.len(), "{text}");
        for (line, (then, why)) in told.iter().zip(lines) {
            assert!(line.contains(then) && line.contains(why), "{line}");
        }
    }
}
