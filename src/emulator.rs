//! ModelArts, as far as a gate in front of it can see: an HTTP/1.1 server that behaves as the API
//! reference and the official SDKs describe the service, for tests and for `lychgate demo`.
//!
//! It shares nothing with the gate, least of all the code that signs. Jobs live in memory.
//!
//! # What the service does
//! | request | answer |
//! |---|---|
//! | `GET /v2/{project_id}/training-jobs/{training_job_id}` | 200, the details |
//! | `GET /v2/{project_id}/modelarts-training-job/{training_job_id}/tags` | 200, `{"tags":[{"key","value"}]}` |
//! | `POST /v2/{project_id}/training-job-searches` | 200, one page of jobs by `create_time`; `offset` counts pages |
//! | `DELETE /v2/{project_id}/training-jobs/{training_job_id}` | 202; body as [`Config::delete_body`] says |
//!
//! A deleted job shows `Terminating` for [`Config::terminating_look_ups`] look-ups of its details
//! and is gone after them. Any phase can be deleted, and a job that is being deleted is accepted
//! again. An unknown job is 400 `ModelArts.2775`.
//!
//! Requests are signed, SDK-HMAC-SHA256 or V11-HMAC-SHA256: 401 `APIG.0301` says what is wrong,
//! and like the service's own message shows the canonical request. `X-Sdk-Date` may be 15 minutes
//! off. Five failed verifications in a row lock a key for five minutes. An `X-Project-Id` that is
//! not the path's, or a project that is not the key's, is 403 `ModelArts.0210`; a missing
//! `X-Project-Id` passes.
//!
//! # For other processes
//! Unsigned, to loopback peers only, JSON in and out; none of it is recorded or counted.
//!
//! | request | |
//! |---|---|
//! | `GET`, `DELETE /emulator/requests` | what arrived; forget it |
//! | `GET`, `POST /emulator/jobs` | all jobs; add one: `{"project_id", "details", "tags"}` |
//! | `GET /emulator/trail` | the audit trail so far, as a list of traces |
//! | `POST /emulator/past-the-gate` | deletes a job without a request: `{"how": "console", "job", "user"}`. See [`Bypass`] |

mod answer;
mod control;
mod fault;
mod job;
mod jobs;
mod journal;
mod keys;
mod list;
pub mod sample;
mod service;
pub mod signature;
mod state;
mod trail;
mod wire;

pub use self::fault::{Effect, Fault, Reset};
pub use self::job::{Job, Tag};
pub use self::journal::{Counts, Operation, REQUESTS_MAX, Request};
pub use self::keys::{FAILURES_MAX, Key, LOCK, SKEW_MAX};
pub use self::trail::Bypass;

use self::service::Service;

use crate::clock::Clock;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How an emulator is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The region in the credential scope of V11 signatures.
    pub region: String,
    /// The keys it knows at first.
    pub keys: Vec<Key>,
    /// Its wall clock: `Date`, the age of signatures, locks.
    pub clock: Clock,
    /// The body of an accepted delete.
    pub delete_body: DeleteBody,
    /// How many look-ups of its details a deleted job still answers, showing `Terminating`.
    pub terminating_look_ups: u32,
    /// How long after an event its audit trail has it.
    pub trail_delay: SignedDuration,
}

impl Config {
    /// `cn-north-4` on a free loopback port with the system's clock, empty bodies, and jobs that
    /// are gone at once.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            region: "cn-north-4".to_owned(),
            keys,
            clock: Clock::system(),
            delete_body: DeleteBody::Empty,
            terminating_look_ups: 0,
            trail_delay: SignedDuration::ZERO,
        }
    }
}

/// The body of an accepted delete; the API reference shows `""` under the words "No Content".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBody {
    /// Nothing.
    Empty,
    /// Two quotation marks, as `application/json`.
    Quotes,
}

/// A running emulator. Dropped, it stops without waiting for its connections.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    service: Arc<Service>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Emulator {
    /// Listens and serves until it is stopped or dropped.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(config));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accept = wire::accept(listener, Arc::clone(&service), tasks.clone(), stop.clone());
        tasks.spawn(accept);
        Ok(Self { address, service, stop, tasks })
    }

    /// Closes the listener and all connections, answered or not, and waits until they are closed.
    /// Jobs, requests and counts can still be read.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a job, or replaces the one with the same ID.
    pub fn insert(&self, job: Job) {
        self.service.state().jobs.insert(job);
    }

    /// All jobs, sorted by ID; not a look-up.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.service.state().jobs.all().cloned().collect()
    }

    /// The phase of a job, `None` when it is gone; not a look-up.
    #[must_use]
    pub fn phase(&self, id: &str) -> Option<String> {
        self.service.state().jobs.get(id).map(|it| it.phase().to_owned())
    }

    /// Whether a job is there, be it `Terminating`; not a look-up.
    #[must_use]
    pub fn exists(&self, id: &str) -> bool {
        self.service.state().jobs.get(id).is_some()
    }

    /// Adds a key, or replaces the one with the same ID and forgets its failures.
    pub fn insert_key(&self, key: Key) {
        self.service.state().keys.insert(key);
    }

    /// Takes a key out of service.
    pub fn remove_key(&self, ak: &str) {
        self.service.state().keys.remove(ak);
    }

    /// How many verifications of a key failed since the start; 0 when there is no such key.
    #[must_use]
    pub fn failed_signatures(&self, ak: &str) -> u64 {
        self.service.state().keys.failed(ak)
    }

    /// How often any key was locked.
    #[must_use]
    pub fn lockouts(&self) -> u64 {
        self.service.state().keys.lockouts()
    }

    /// How many requests arrived.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.service.state().journal.counts
    }

    /// The last [`REQUESTS_MAX`] requests that arrived, in that order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.service.state().journal.requests()
    }

    /// The same, and forgets them; the counts stay.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Request> {
        self.service.state().journal.take()
    }

    /// Adds a fault; of several that fit a request, the one added first happens.
    pub fn fault(&self, fault: Fault) {
        self.service.state().faults.push(fault);
    }

    /// Deletes a job past the API, if there is one, and writes it down.
    pub fn bypass(&self, how: &Bypass) -> bool {
        self.service.state().bypass(how, &self.service.config)
    }

    /// What the audit trail holds at `now`.
    #[must_use]
    pub fn trail(&self, now: Timestamp) -> Vec<Value> {
        self.service.state().trail.read(now)
    }

    /// The faults that may still happen.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.service.state().faults.clone()
    }

    /// Takes back all faults; locks stay.
    pub fn clear_faults(&self) {
        self.service.state().faults.clear();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
    }
}
