//! The breaker on paused time.

use super::*;
use crate::secret::Secret;

use futures_util::FutureExt;
use tokio::time::advance;

fn credential(id: &str) -> Arc<Credential> {
    Arc::new(Credential::new(id.to_owned(), Secret::new("s".to_owned()), None).unwrap())
}

fn key() -> (watch::Sender<Option<Arc<Credential>>>, Key) {
    let (sender, receiver) = watch::channel(Some(credential("A")));
    (sender, Key::new(receiver, Trouble::default(), watch::Sender::new(false)))
}

async fn refuse(key: &Key) {
    key.admit().await.unwrap().refused("u", &Job::new("p", "j"));
}

#[tokio::test(start_paused = true)]
async fn without_a_credential_nothing_is_sent() {
    let (sender, key) = key();
    sender.send_replace(None);
    assert_eq!(key.admit().await.unwrap_err(), Shut::NoCredential);
    assert!(!key.has_credential());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_goes_alone_until_it_is_accepted() {
    let (_sender, key) = key();
    let mut first = key.admit().await.unwrap();
    let mut second = Box::pin(key.admit());
    let mut third = Box::pin(key.admit());
    assert!((&mut second).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    first.found_nothing();
    drop(first);
    // The next one goes alone in its turn.
    let mut second = second.await.unwrap();
    assert!((&mut third).now_or_never().is_none());
    second.accepted();
    drop(second);
    let (_third, _fourth) = (third.await.unwrap(), key.admit().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_turns_everybody_away() {
    let (_sender, key) = key();
    let mut first = key.admit().await.unwrap();
    let mut waiting = Box::pin(key.admit());
    assert!((&mut waiting).now_or_never().is_none());
    first.refused("u", &Job::new("p", "j"));
    drop(first);
    assert_eq!(waiting.await.unwrap_err(), Shut::BreakerOpen);
    advance(FIRST_PROBE * 100).await;
    assert_eq!(key.admit().await.unwrap_err(), Shut::BreakerOpen);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_not_used_lately_goes_alone_again() {
    let (_sender, key) = key();
    key.admit().await.unwrap().accepted();
    advance(TRUSTED - Duration::from_millis(1)).await;
    let (_a, b) = (key.admit().await.unwrap(), key.admit().await.unwrap());
    assert_eq!(b.alone, None);
    advance(Duration::from_millis(1)).await;
    let alone = key.admit().await.unwrap();
    assert!(alone.alone.is_some());
    assert!(key.admit().now_or_never().is_none());
    // A call that hangs holds the others up for a while only.
    let started = Instant::now();
    let _next = key.admit().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), ALONE_MAX.as_secs());
    // It is the next one now that goes alone: the end of the first does not let a third pass.
    drop(alone);
    assert!(key.admit().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn another_credential_closes_the_breaker_and_old_calls_say_nothing_about_it() {
    let (sender, key) = key();
    key.admit().await.unwrap().accepted();
    let (mut old, mut older) = (key.admit().await.unwrap(), key.admit().await.unwrap());
    refuse(&key).await;
    assert!(key.refused().is_some());
    sender.send_replace(Some(credential("B")));
    let mut first = key.admit().await.unwrap();
    assert_eq!(first.credential.access_key_id(), "B");
    assert!(first.alone.is_some());
    older.accepted();
    drop(older);
    assert!(key.admit().now_or_never().is_none());
    first.accepted();
    drop(first);
    old.refused("u", &Job::new("p", "j"));
    drop(old);
    assert_eq!(key.refused(), None);
    // The same key under the same name is no change.
    refuse(&key).await;
    sender.send_replace(Some(credential("B")));
    assert!(key.refused().is_some());
}

#[tokio::test(start_paused = true)]
async fn only_a_probe_that_is_accepted_closes_the_breaker() {
    let (_sender, key) = key();
    assert!(key.probe().is_none());
    key.admit().await.unwrap().accepted();
    let mut under_way = key.admit().await.unwrap();
    refuse(&key).await;
    let opened = Instant::now();
    let refused = key.refused().unwrap();
    let wait = refused.probe_at - opened;
    assert!(FIRST_PROBE - FIRST_PROBE_SPREAD <= wait && wait <= FIRST_PROBE + FIRST_PROBE_SPREAD);
    assert_eq!((refused.upstream.as_str(), &refused.probe), ("u", &Job::new("p", NO_JOB)));

    // Neither a call that was under way, nor a second refusal changes anything.
    under_way.accepted();
    drop(under_way);
    assert_eq!(key.refused(), Some(refused));
    for found in [false, true] {
        let mut probe = key.probe().unwrap();
        if found {
            probe.refused("u", &Job::new("p", "j"));
        }
        drop(probe);
        assert_eq!(key.refused().unwrap().probe_at, Instant::now() + NEXT_PROBE);
    }
    key.probe().unwrap().accepted();
    assert_eq!(key.refused(), None);
    assert_eq!(key.admit().await.unwrap().alone, None);
}

#[test]
fn first_probes_are_spread() {
    let drawn: Vec<_> = (0..1000).map(|_| first_probe()).collect();
    let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
    assert!(FIRST_PROBE - FIRST_PROBE_SPREAD <= *least && *least < FIRST_PROBE);
    assert!(FIRST_PROBE < *most && *most <= FIRST_PROBE + FIRST_PROBE_SPREAD);
}
