//! What arrived: every request as it was read from its connection, and how many there were.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;
use tokio::time::Instant;

/// How many requests are kept; older ones are forgotten but stay counted.
pub const REQUESTS_MAX: usize = 100_000;

/// What a request asks for; the paths are in the table of [the emulator](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The deletion of one job.
    Delete,
    /// The details of a job.
    Details,
    /// One page of a project's jobs.
    List,
    /// None of these.
    Other,
    /// The tags of a job.
    Tags,
}

impl Operation {
    /// Reads method and path, the path without its query.
    pub(super) fn of(method: &str, path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        let parts = [(); 6].map(|()| segments.next());
        let [Some("v2"), Some(_), third, fourth, fifth, sixth] = parts else {
            return Self::Other;
        };
        if fourth == Some("") {
            return Self::Other;
        }
        match (method, third, fourth, fifth, sixth) {
            ("DELETE", Some("training-jobs"), Some(_), None, None) => Self::Delete,
            ("GET", Some("training-jobs"), Some(_), None, None) => Self::Details,
            ("POST", Some("training-job-searches"), None, None, None) => Self::List,
            ("GET", Some("modelarts-training-job"), Some(_), Some("tags"), None) => Self::Tags,
            _ => Self::Other,
        }
    }
}

/// How many requests arrived, whatever was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Operation::Delete`]
    pub delete: u64,
    /// [`Operation::Details`]
    pub details: u64,
    /// [`Operation::List`]
    pub list: u64,
    /// [`Operation::Other`]
    pub other: u64,
    /// [`Operation::Tags`]
    pub tags: u64,
}

impl Counts {
    /// All requests together.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.delete + self.details + self.list + self.other + self.tags
    }

    fn add(&mut self, operation: Operation) {
        *match operation {
            Operation::Delete => &mut self.delete,
            Operation::Details => &mut self.details,
            Operation::List => &mut self.list,
            Operation::Other => &mut self.other,
            Operation::Tags => &mut self.tags,
        } += 1;
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Numbers the connections in the order of their acceptance, from 1.
    pub connection: u64,
    /// When its head had been read, for comparing with others.
    pub arrived: Instant,
    /// The same by the emulator's wall clock.
    pub time: Timestamp,
    /// What it asks for.
    pub operation: Operation,
    /// As written.
    pub method: String,
    /// As the HTTP library tells it; `raw` has what was written.
    pub target: String,
    /// Lower-case names and values in the order of arrival, bytes that are not UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// All bytes read from its connection since the head of the request before it, up to 64 KiB:
    /// its head as written, and before it whatever else followed that other head.
    pub raw: Bytes,
    /// When the answer was ready and its status; `None` while there is none, and for ever after a
    /// reset.
    pub answered: Option<(Instant, StatusCode)>,
}

impl Request {
    /// The value of the first header called `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Whether this request and `other` were both waiting for their answers at some moment.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let began_before_the_end_of = |a: &Self, b: &Self| match b.answered {
            Some((end, _)) => a.arrived < end,
            None => true,
        };
        began_before_the_end_of(self, other) && began_before_the_end_of(other, self)
    }
}

/// The list of what arrived.
#[derive(Debug, Default)]
pub(super) struct Journal {
    requests: VecDeque<Request>,
    /// The number of the oldest request that is kept.
    first: u64,
    pub(super) counts: Counts,
}

impl Journal {
    /// Takes a request and returns its number, for [`Journal::answered`].
    pub(super) fn arrived(&mut self, request: Request) -> u64 {
        self.counts.add(request.operation);
        if self.requests.len() == REQUESTS_MAX {
            self.requests.pop_front();
            self.first += 1;
        }
        self.requests.push_back(request);
        self.first + self.requests.len() as u64 - 1
    }

    pub(super) fn answered(&mut self, number: u64, at: Instant, status: StatusCode) {
        let index = number.checked_sub(self.first).and_then(|it| usize::try_from(it).ok());
        if let Some(request) = index.and_then(|it| self.requests.get_mut(it)) {
            request.answered = Some((at, status));
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.iter().cloned().collect()
    }

    /// The requests, which are forgotten; the counts stay.
    pub(super) fn take(&mut self) -> Vec<Request> {
        self.first += self.requests.len() as u64;
        self.requests.drain(..).collect()
    }
}
