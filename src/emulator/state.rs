//! What changes while the emulator runs, and what a request does to it.

use super::answer::Answer;
use super::fault::Fault;
use super::jobs::Jobs;
use super::journal::{Journal, Operation};
use super::keys::Keys;
use super::signature::Received;
use super::trail::{Deletion, Trail};
use super::{Bypass, Config, DeleteBody, list};

use http::StatusCode;
use serde_json::json;

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) faults: Vec<Fault>,
    pub(super) jobs: Jobs,
    pub(super) journal: Journal,
    pub(super) keys: Keys,
    pub(super) trail: Trail,
}

impl State {
    pub(super) fn new(keys: Keys) -> Self {
        let (jobs, journal, trail) = (Jobs::default(), Journal::default(), Trail::default());
        Self { faults: Vec::new(), jobs, journal, keys, trail }
    }

    /// Deletes a job past the API; `false` when there is none.
    pub(super) fn bypass(&mut self, how: &Bypass, config: &Config) -> bool {
        let Some(project) = self.jobs.get(how.job()).map(|it| it.project_id.clone()) else {
            return false;
        };
        let answer = self.delete(&project, how.job(), config);
        self.write_down(how, &project, &answer, config);
        true
    }

    fn write_down(&mut self, how: &Bypass, project: &str, answer: &Answer, config: &Config) {
        let (status, request_id) = (answer.status.as_u16(), answer.request_id.as_str());
        let deletion = Deletion { how, project, status, request_id };
        self.trail.write(&deletion, config.clock.now(), config.trail_delay);
    }

    /// Answers one request of the documented API.
    pub(super) fn carry_out(&mut self, request: &Received<'_>, config: &Config) -> Answer {
        let path = path_of(request.target);
        let mut segments = path.split('/').skip(2);
        let project = segments.next().unwrap_or_default();
        let id = segments.nth(1).unwrap_or_default();
        let operation = Operation::of(request.method, path);
        let has_operation = |method| Operation::of(method, path) != Operation::Other;
        if !["DELETE", "GET", "POST"].into_iter().any(has_operation) {
            return Answer::no_such_api();
        }
        let key = match self.keys.verify(request, &config.region, config.clock.now()) {
            Ok(key) => key,
            Err(why) => return Answer::key_refused(&why),
        };
        let stated = request.header("x-project-id");
        let is_stated = !request.has_header("x-project-id") || stated == Some(project.as_bytes());
        if !is_stated || !key.projects.iter().any(|it| it == project) {
            return Answer::wrong_project();
        }
        match operation {
            Operation::Delete => {
                let how = Bypass::Key { job: id.to_owned(), access_key: key.ak.clone() };
                let answer = self.delete(project, id, config);
                self.write_down(&how, project, &answer, config);
                answer
            }
            Operation::Details => match self.jobs.look_up(project, id) {
                Some(details) => Answer::json(StatusCode::OK, &details),
                None => Answer::no_such_job(id),
            },
            Operation::List => list::list(&self.jobs, project, request.body),
            Operation::Other => Answer::wrong_method(),
            Operation::Tags => match self.jobs.find(project, id) {
                Some(job) => Answer::json(StatusCode::OK, &json!({"tags": job.tags})),
                None => Answer::no_such_job(id),
            },
        }
    }

    fn delete(&mut self, project: &str, id: &str, config: &Config) -> Answer {
        if !self.jobs.delete(project, id, config.terminating_look_ups) {
            return Answer::no_such_job(id);
        }
        match config.delete_body {
            DeleteBody::Empty => Answer::empty(StatusCode::ACCEPTED),
            DeleteBody::Quotes => Answer::json(StatusCode::ACCEPTED, &json!("")),
        }
    }
}

/// A target without its query.
pub(super) fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}
