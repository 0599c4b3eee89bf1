//! Log lines that a test keeps and reads.

use super::{Config, subscriber};
use crate::clock::Clock;

use std::io;
use std::sync::{Arc, Mutex};
use tracing::subscriber::DefaultGuard;

/// What this thread logs, as long as this lives.
pub(crate) struct Kept {
    lines: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(crate) fn new(config: &Config, clock: &Clock) -> Self {
        let lines = Sink::default();
        let writer = lines.clone();
        let subscriber = subscriber(config, clock, move || writer.clone()).unwrap();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.lines.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
