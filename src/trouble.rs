//! What is wrong with something that is tried again and again: kept for whoever asks, until it works,
//! and told once in a while, however often it happens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The last failure of one thing; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// It did not work, because of `text`.
    pub fn begin(&self, text: String) {
        self.set(Some(text));
    }

    /// It works.
    pub fn end(&self) {
        self.set(None);
    }

    /// Why it does not work; nothing while it does, or has not been tried.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, text: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// When to tell something that anybody can make happen as often as they like.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    /// When it was told last, and how often it has happened since.
    told: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// It is told at most once in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, told: Mutex::default() }
    }

    /// It has happened: how often it was left out since it was told last, if it is to be told now.
    pub fn happened(&self) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = *told;
        let is_due = last.is_none_or(|it| self.every <= it.elapsed());
        *told = if is_due { (Some(Instant::now()), 0) } else { (last, left_out.saturating_add(1)) };
        is_due.then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_told_seldom() {
        let seldom = Seldom::new(Duration::from_secs(10));
        for (pause, expected) in [
            (0, Some(0)),
            (0, None),
            (9, None),
            (1, Some(2)),
            (9, None),
            (100, Some(1)),
            (10, Some(0)),
        ] {
            tokio::time::advance(Duration::from_secs(pause)).await;
            assert_eq!(seldom.happened(), expected, "{pause}");
        }
    }
}
