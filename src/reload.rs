//! The policies in force: reads the policy directory, follows its changes, publishes each version
//! that compiles. What does not compile changes nothing but the report.

mod directory;
#[cfg(test)]
mod tests;

pub use self::directory::{Error, read};

use self::directory::{DIRECTORIES, open_to_all, read_once};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::{Compiled, Diagnostic, Files, Limits, Set, Severity};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the directory must have been quiet before it is read again.
const QUIET: Duration = Duration::from_millis(300);

/// A directory that is never quiet is read after this time all the same.
const UNQUIET_MAX: Duration = Duration::from_secs(3);

/// How soon the directory is read again without a notice of a change, as some file systems give
/// none.
const READ_AGAIN_MIN: Duration = Duration::from_secs(1);

/// The latest time for that.
const READ_AGAIN_MAX: Duration = Duration::from_secs(60);

/// The next reading waits this many times as long as the last one took, so that a directory of
/// thousands of files costs only a small part of a core.
const PAUSE_PER_READING: u32 = 50;

/// The most changed files that a log line names.
const CHANGES_MAX: usize = 10;

/// The policies in force; clones follow the same directory.
#[derive(Clone, Debug)]
pub struct Policies {
    state: watch::Receiver<State>,
    again: Arc<Notify>,
}

/// What is in force and what was refused since.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// `None` until a version has compiled.
    pub in_force: Option<Version>,
    /// Why what the directory holds now is not in force.
    pub refusal: Option<Refusal>,
}

/// A version in force.
#[derive(Clone, Debug)]
pub struct Version {
    /// The policies.
    pub set: Arc<Set>,
    /// When it came into force.
    pub loaded: Timestamp,
    /// How many findings there are about it; none is an error.
    pub findings: usize,
}

/// Why a version is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it was refused.
    pub time: Timestamp,
    /// The digest of the refused version, if it could be read.
    pub digest: Option<String>,
    /// How many errors it has.
    pub errors: usize,
    /// The first error, with its place.
    pub first: String,
}

/// Follows the directory; see [`Follower::run`].
#[derive(Debug)]
pub struct Follower {
    loader: Loader,
    /// Nothing is noticed without; the directory is then read again from time to time only.
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    again: Arc<Notify>,
}

/// What the policies of a directory are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// They decide.
    InForce,
    /// They are evaluated beside those, and decide nothing.
    Shadow,
}

#[derive(Debug)]
struct Loader {
    role: Role,
    directory: PathBuf,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
    state: watch::Sender<State>,
    prepare: Prepare,
}

/// What is done for a version before anything is judged by it, and how long that takes.
pub struct Prepare(Box<dyn Fn(Arc<Set>) -> BoxFuture<'static, ()> + Send + Sync>);

impl Prepare {
    /// Waits for `prepare`.
    #[must_use]
    pub fn by<F: Future<Output = ()> + Send + 'static>(
        prepare: impl Fn(Arc<Set>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(move |set| prepare(set).boxed()))
    }
}

impl fmt::Debug for Prepare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepare")
    }
}

impl Policies {
    /// Reads `directory` for the first time and begins to listen for changes. Policies that cannot
    /// be read or do not compile are not an error: nothing is in force then until they are mended.
    pub async fn open(
        (role, directory): (Role, PathBuf),
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        prepare: Prepare,
    ) -> (Self, Follower) {
        if role == Role::Shadow {
            metrics.shadow_begins();
        }
        let (sender, receiver) = watch::channel(State::default());
        let (notices, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the directory makes notices of its own.
            if !event.is_ok_and(|it| it.kind.is_access()) {
                // One waiting notice is enough.
                let _ = notices.try_send(());
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of policies are noticed late");
        }
        let loader = Loader { role, directory, limits, clock, metrics, state: sender, prepare };
        let again = Arc::new(Notify::new());
        let mut follower =
            Follower { loader, watcher: watcher.ok(), changes, again: Arc::clone(&again) };
        // Listening before reading, so that a change between the two is noticed.
        follower.listen();
        follower.loader.load().await;
        (Self { state: receiver, again }, follower)
    }

    /// What judges a request that arrives now. Ask once per request: each request is judged by one
    /// version.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Set>> {
        self.state.borrow().in_force.as_ref().map(|it| Arc::clone(&it.set))
    }

    /// The policies that the directory holds now; never those that it held before.
    ///
    /// # Errors
    /// It cannot be used; the digest of what is there, if it could be read.
    pub fn latest(&self) -> Result<Arc<Set>, Option<String>> {
        let state = self.state.borrow();
        match (&state.refusal, &state.in_force) {
            (Some(refusal), _) => Err(refusal.digest.clone()),
            (None, Some(version)) => Ok(Arc::clone(&version.set)),
            (None, None) => Err(None),
        }
    }

    /// What is in force and what was refused since.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Has the directory read now, whether or not a change was noticed.
    pub fn look(&self) {
        self.again.notify_one();
    }

    /// Waits until [`Policies::state`] differs from what this handle saw last; for ever once nobody
    /// follows the directory any more.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Follower {
    /// Reads the directory again after each notice of a change, and from time to time, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = READ_AGAIN_MIN;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = self.changes.recv() => self.quiet().await,
                () = tokio::time::sleep(pause) => (),
                () = self.again.notified() => self.listen(),
            }
            let start = Instant::now();
            if self.loader.load().await {
                // The root or a directory in it may be another one now, as after the swap of a
                // ConfigMap, and the old one would still be listened to.
                self.listen();
            }
            pause = (start.elapsed() * PAUSE_PER_READING).clamp(READ_AGAIN_MIN, READ_AGAIN_MAX);
        }
    }

    /// Where no notice comes, the next reading finds the change.
    fn listen(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let root = &self.loader.directory;
        for path in DIRECTORIES.iter().map(|it| root.join(it)).chain([root.clone()]) {
            // There is nothing to stop listening to the first time.
            let _ = watcher.unwatch(&path);
            if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, path = %path.display(), "changes of policies are noticed late");
            }
        }
    }

    async fn quiet(&mut self) {
        let latest = Instant::now() + UNQUIET_MAX;
        while Instant::now() < latest {
            match tokio::time::timeout(QUIET, self.changes.recv()).await {
                Ok(Some(())) => (),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// What reading the directory came to.
enum Outcome {
    /// The version in force.
    InForce,
    Compiled(Box<Compiled>),
    Unreadable(Error),
    /// The version refused last.
    Refused,
}

impl Loader {
    /// Takes over what the directory holds now; returns false if it held the same before.
    async fn load(&self) -> bool {
        let outcome = match self.read().await {
            Ok(it) => it,
            // Only a panic or the end of the runtime gets here; what is in force stays so.
            Err(error) => {
                tracing::error!(%error, "reading policies was aborted");
                return false;
            }
        };
        match outcome {
            Outcome::Refused => return false,
            Outcome::InForce => {
                let is_mended = self.state.send_if_modified(|it| it.refusal.take().is_some());
                match self.role {
                    Role::InForce if is_mended => self.metrics.policies_mended(),
                    Role::Shadow if is_mended => self.metrics.set_shadow_loaded(true),
                    _ => (),
                }
                return is_mended;
            }
            Outcome::Compiled(compiled) => self.take(*compiled).await,
            Outcome::Unreadable(error) => self.refuse(None, 1, error.to_string()),
        }
        true
    }

    async fn read(&self) -> Result<Outcome, JoinError> {
        let state = self.state.borrow().clone();
        let in_force = state.in_force.map(|it| it.set.digest().to_owned());
        let refused = state.refusal.and_then(|it| it.digest);
        let (directory, limits) = (self.directory.clone(), self.limits.clone());
        spawn_blocking(move || {
            // Once is enough to see that nothing has changed.
            if read_once(&directory, &limits).is_ok_and(|it| Some(it.digest()) == in_force) {
                return Outcome::InForce;
            }
            let files = match read(&directory, &limits) {
                Ok(it) => it,
                Err(error) => return Outcome::Unreadable(error),
            };
            let digest = Some(files.digest());
            match () {
                () if digest == in_force => Outcome::InForce,
                () if digest == refused => Outcome::Refused,
                () => Outcome::Compiled(Box::new(Set::compile(&files, &limits))),
            }
        })
        .await
    }

    async fn take(&self, compiled: Compiled) {
        let Compiled { files, set, diagnostics } = compiled;
        let Some(set) = set else {
            let errors = diagnostics.iter().filter(|it| it.severity() == Severity::Error);
            let first = errors.clone().next().map(|it| line(it, &files));
            self.refuse(Some(files.digest()), errors.count(), first.unwrap_or_default());
            return;
        };
        let (loaded, findings) = (self.clock.now(), diagnostics.len());
        let digest = set.digest().to_owned();
        let set = Arc::new(set);
        (self.prepare.0)(Arc::clone(&set)).await;
        let version = Version { set: Arc::clone(&set), loaded, findings };
        let before = self.state.send_replace(State { in_force: Some(version), refusal: None });
        if self.role == Role::Shadow {
            self.metrics.set_shadow_loaded(true);
            tracing::info!(digest, findings, "shadow policies loaded");
            return;
        }
        self.metrics.policies_loaded(&digest, findings, loaded);
        let root = self.directory.clone();
        if let Ok(Some(path)) = spawn_blocking(move || open_to_all(&root)).await {
            let path = path.display();
            tracing::warn!(%path, "every user of this system can change the policies: chmod o-w");
        }
        let statements = set.statement_count();
        match before.in_force {
            Some(before) => {
                let changed = changes(before.set.files(), set.files());
                tracing::info!(digest, statements, findings, changed, "policies changed");
            }
            None => {
                let files = set.files().iter().count();
                tracing::info!(digest, files, statements, findings, "policies loaded");
            }
        }
    }

    fn refuse(&self, digest: Option<String>, errors: usize, first: String) {
        let refusal = Refusal { time: self.clock.now(), digest, errors, first };
        let is_new = self.state.send_if_modified(|it| {
            let is_new = it
                .refusal
                .as_ref()
                .is_none_or(|it| (&it.digest, &it.first) != (&refusal.digest, &refusal.first));
            if is_new {
                it.refusal = Some(refusal.clone());
            }
            is_new
        });
        if is_new {
            let Refusal { digest, errors, first, .. } = refusal;
            let has_policies = self.state.borrow().in_force.is_some();
            match self.role {
                Role::InForce => {
                    self.metrics.policies_refused();
                    let then = match has_policies {
                        true => "the ones in force stay",
                        false => "nothing is decided until they are mended",
                    };
                    tracing::error!(digest, errors, first, "policies refused; {then}");
                }
                Role::Shadow => {
                    self.metrics.set_shadow_loaded(false);
                    tracing::error!(digest, errors, first, "shadow policies refused");
                }
            }
        }
    }
}

/// Which files differ, such as `+identity/new.json ~guardrails/protect.json -tests/old.yaml`; at most
/// [`CHANGES_MAX`] of them.
fn changes(before: &Files, after: &Files) -> String {
    let gone = before.iter().filter(|(path, _)| after.get(path).is_none()).map(|it| ('-', it.0));
    let other = after.iter().filter_map(|(path, bytes)| match before.get(path) {
        None => Some(('+', path)),
        Some(old) if old != bytes => Some(('~', path)),
        Some(_) => None,
    });
    let all: Vec<_> = other.chain(gone).collect();
    let told = all.iter().take(CHANGES_MAX).map(|(sign, path)| format!("{sign}{path}"));
    let mut told: Vec<_> = told.collect();
    if CHANGES_MAX < all.len() {
        told.push(format!("and {} more", all.len() - CHANGES_MAX));
    }
    told.join(" ")
}

/// A finding in one line.
fn line(it: &Diagnostic, files: &Files) -> String {
    let (line, column) = it.line_and_column(files);
    format!("{}:{line}:{column}: {} [{}]", it.path, it.message, it.code.as_str())
}
