//! The calls that delete or end a training job, or take away what protects it: one table, from which
//! `lychgate lockdown`, the list in docs/install.md and the reading of audit trails are made.

/// One call of the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Method and path, as the API reference writes them.
    pub request: &'static str,
    /// What it does, without a full stop.
    pub effect: &'static str,
    /// The action of identity policies and service control policies.
    pub action: &'static str,
    /// What version 1.1 policies call it, where that is another word.
    pub alias: Option<&'static str>,
    /// What it does to a job.
    pub harm: Harm,
    /// How the audit service names it; nothing where no name is documented.
    pub event: Option<&'static str>,
}

/// What a call does to a training job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Deletes it, and is what the gate itself sends.
    Delete,
    /// Deletes it, or makes the cloud delete it, in another way.
    Other,
    /// Changes what protects it, or ends its run; the record stays.
    Loosen,
}

/// All of them (API reference of ModelArts; Operations Recorded by CTS).
pub const CALLS: &[Call] = &[
    Call {
        request: "DELETE /v2/{project_id}/training-jobs/{training_job_id}",
        effect: "deletes a job; the console sends the same",
        action: "modelarts:trainJob:delete",
        alias: None,
        harm: Harm::Delete,
        event: Some("DeleteJobV2"),
    },
    Call {
        request: "POST /v2/{project_id}/training-jobs/batch-delete",
        effect: "deletes up to 100 jobs, without a check of the single job",
        action: "modelarts:trainJob:batchDelete",
        alias: Some("modelarts:trainJob:delete"),
        harm: Harm::Other,
        event: Some("DeleteJobV2"),
    },
    Call {
        request: "PUT /v2/{project_id}/training-quotas",
        effect: "switches on ageing: the cloud then removes old jobs by itself",
        action: "modelarts:trainJob:updateQuotas",
        alias: Some("modelarts:trainJob:update"),
        harm: Harm::Other,
        event: None,
    },
    Call {
        request: "DELETE /v2/{project_id}/training-experiments/{id}",
        effect: "removes an experiment with what belongs to it",
        action: "modelarts:trainExperiment:delete",
        alias: Some("modelarts:trainJob:delete"),
        harm: Harm::Other,
        event: Some("DeleteExperiment"),
    },
    Call {
        request: "DELETE /v1/{project_id}/workspaces/{id}",
        effect: "removes a workspace with what belongs to it",
        action: "modelarts:workspace:delete",
        alias: None,
        harm: Harm::Other,
        event: Some("DeleteWorkspace"),
    },
    Call {
        request: "DELETE /v1/{project_id}/training-jobs/{job_id}",
        effect: "deletes a job of the old generation",
        action: "modelarts:trainJob:delete",
        alias: None,
        harm: Harm::Other,
        event: Some("deleteModelArtsTrainJob"),
    },
    Call {
        request: "DELETE /v1/{project_id}/training-jobs/{job_id}/versions/{version_id}",
        effect: "deletes a version of a job of the old generation",
        action: "modelarts:trainJobVersion:delete",
        alias: None,
        harm: Harm::Other,
        event: Some("deleteModelArtsTrainVersion"),
    },
    Call {
        request: "POST /v2/{project_id}/modelarts-training-job/{training_job_id}/tags/create",
        effect: "sets a tag, or replaces its value",
        action: "modelarts:trainJob:update",
        alias: None,
        harm: Harm::Loosen,
        event: Some("CreateJobTags"),
    },
    Call {
        request: "DELETE /v2/{project_id}/modelarts-training-job/{training_job_id}/tags/delete",
        effect: "removes a tag",
        action: "modelarts:trainJob:update",
        alias: None,
        harm: Harm::Loosen,
        event: Some("DeleteJobTags"),
    },
    Call {
        request: "POST /v2/{project_id}/training-jobs/{training_job_id}/actions",
        effect: "ends a run; its progress is lost, its record stays",
        action: "modelarts:trainJob:update",
        alias: None,
        harm: Harm::Loosen,
        event: Some("StopJobV2"),
    },
];

/// The actions of all calls that delete, in the order of the table; with `loosen`, of the others too.
#[must_use]
pub fn actions(loosen: bool) -> Vec<&'static str> {
    let mut res = Vec::new();
    for call in CALLS.iter().filter(|it| loosen || it.harm != Harm::Loosen) {
        if !res.contains(&call.action) {
            res.push(call.action);
        }
    }
    res
}

/// What an event of the trail did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Deed {
    /// Deleted training jobs.
    Delete,
    /// Deleted something that jobs are in, or in a way that the gate never takes.
    Other,
    /// Changed a job's tags.
    Tags,
}

impl Deed {
    /// What the event `name` on a resource of type `resource` did; nothing that matters here: `None`.
    ///
    /// Letter case does not count, because the spelling differs between the vendor's pages. The
    /// service's name is not looked at: how it is spelt is not documented. A deletion of a training
    /// job under a name that is not in the table counts too, so that a new call is not overlooked.
    pub(super) fn of(name: &str, resource: &str) -> Option<Self> {
        let is = |it: &str| name.eq_ignore_ascii_case(it);
        let known = CALLS.iter().find(|it| it.event.is_some_and(is));
        match known.map(|it| it.harm) {
            Some(Harm::Delete) => Some(Self::Delete),
            Some(Harm::Other) => Some(Self::Other),
            Some(Harm::Loosen) => {
                let lower = name.to_ascii_lowercase();
                lower.ends_with("tags").then_some(Self::Tags)
            }
            None => {
                let lower = resource.to_ascii_lowercase();
                let is_job =
                    lower == "jobv2" || lower.contains("trainjob") || lower == "trainingjob";
                (is_job && name.to_ascii_lowercase().contains("delete")).then_some(Self::Delete)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_name_and_deletions_of_jobs_by_their_resource() {
        for (name, resource, expected) in [
            ("DeleteJobV2", "JobV2", Some(Deed::Delete)),
            ("deletejobv2", "", Some(Deed::Delete)),
            ("batchDeleteJobs", "JobV2", Some(Deed::Delete)),
            ("deleteTrainingJob", "TrainingJob", Some(Deed::Delete)),
            ("DeleteExperiment", "Experiment", Some(Deed::Other)),
            ("deleteModelArtsTrainJob", "ModelArtsTrainJob", Some(Deed::Other)),
            ("DeleteWorkspace", "Workspace", Some(Deed::Other)),
            ("CreateJobTags", "JobV2", Some(Deed::Tags)),
            ("DeleteJobTags", "JobV2", Some(Deed::Tags)),
            ("StopJobV2", "JobV2", None),
            ("CreateJobV2", "JobV2", None),
            ("deleteNotebook", "Notebook", None),
            ("", "", None),
        ] {
            assert_eq!(Deed::of(name, resource), expected, "{name} {resource}");
        }
    }

    #[test]
    fn the_actions_are_those_that_delete() {
        let deletes = [
            "modelarts:trainJob:delete",
            "modelarts:trainJob:batchDelete",
            "modelarts:trainJob:updateQuotas",
            "modelarts:trainExperiment:delete",
            "modelarts:workspace:delete",
            "modelarts:trainJobVersion:delete",
        ];
        assert_eq!(actions(false), deletes);
        assert_eq!(actions(true), [&deletes[..], &["modelarts:trainJob:update"]].concat());
    }
}
