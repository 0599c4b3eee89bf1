//! The jobs and what becomes of them when they are deleted.

use super::job::Job;

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All jobs by ID; the service's IDs are unique over projects.
#[derive(Debug, Default)]
pub(super) struct Jobs(BTreeMap<String, Stored>);

#[derive(Debug)]
struct Stored {
    job: Job,
    /// How many look-ups a deleted job will still answer; `None` = it was not deleted.
    look_ups_left: Option<u32>,
}

impl Jobs {
    /// Adds a job, or replaces the one with the same ID.
    pub(super) fn insert(&mut self, job: Job) {
        self.0.insert(job.id().to_owned(), Stored { job, look_ups_left: None });
    }

    pub(super) fn get(&self, id: &str) -> Option<&Job> {
        self.0.get(id).map(|it| &it.job)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Job> {
        self.0.values().map(|it| &it.job)
    }

    pub(super) fn of_project(&self, project: &str) -> impl Iterator<Item = &Job> {
        self.all().filter(move |it| it.project_id == project)
    }

    /// A job by its ID, if it is one of `project`.
    pub(super) fn find(&self, project: &str, id: &str) -> Option<&Job> {
        self.get(id).filter(|it| it.project_id == project)
    }

    fn find_mut(&mut self, project: &str, id: &str) -> Option<&mut Stored> {
        self.0.get_mut(id).filter(|it| it.job.project_id == project)
    }

    /// The details; a look-up, of which a deleted job answers a limited number.
    pub(super) fn look_up(&mut self, project: &str, id: &str) -> Option<Value> {
        let stored = self.find_mut(project, id)?;
        match &mut stored.look_ups_left {
            Some(0) => {
                self.0.remove(id);
                return None;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Some(stored.job.details.clone())
    }

    /// Deletes a job, whatever its phase; `false` when there is none.
    ///
    /// One that is being deleted stays as it is and is accepted again: what the service does is
    /// not documented, and this is what a client that repeats a delete hopes for.
    pub(super) fn delete(&mut self, project: &str, id: &str, look_ups: u32) -> bool {
        let Some(stored) = self.find_mut(project, id) else { return false };
        if stored.look_ups_left.is_some() {
            return true;
        }
        if look_ups == 0 {
            self.0.remove(id);
            return true;
        }
        stored.look_ups_left = Some(look_ups);
        stored.job.put("/status", "phase", json!("Terminating"));
        stored.job.put("/status", "secondary_phase", json!("Terminating"));
        true
    }
}
