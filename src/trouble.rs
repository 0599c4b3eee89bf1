//! What is wrong with something that is tried again and again: kept for whoever asks, until it works.

use std::sync::{Arc, Mutex, PoisonError};

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
