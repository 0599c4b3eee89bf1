//! A ready-made set of jobs: what a team or two leave lying about.

use super::job::Job;

use jiff::{SignedDuration, Timestamp};

/// The project of all sample jobs.
pub const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// The jobs as of `now`, from the youngest, an hour old, to the oldest, two months old.
///
/// Two dedicated pools (`pool-vision-1`, `pool-nlp-1`) and the public one; finished, failed and
/// running jobs; jobs of alice, bob, carol and dave; some tagged `env=prod`, some not at all; one
/// heterogeneous, one in a federation of pools. Their IDs never change.
#[must_use]
pub fn jobs(now: Timestamp) -> Vec<Job> {
    let job = |hours_old: i64, id: &str, name: &str| {
        let age = SignedDuration::from_hours(hours_old);
        Job::new(PROJECT, id, name, now.checked_sub(age).unwrap_or(now))
    };
    vec![
        job(26, "3faf5c03-aaa1-4cbe-879d-24b05d997347", "vision-resnet-baseline")
            .with_pool("pool-vision-1")
            .with_tag("team", "vision")
            .with_tag("env", "dev"),
        job(50, "0c4e7a52-93d8-4b1f-8a06-5d2e9b7c1f40", "vision-yolo-sweep-07")
            .with_pool("pool-vision-1")
            .with_phase("Failed")
            .with_tag("team", "vision"),
        job(700, "71b8d6e4-2f35-4c9a-b0d7-e86a4f1c9235", "vision-detector-release")
            .with_pool("pool-vision-1")
            .with_tag("team", "vision")
            .with_tag("env", "prod"),
        job(3, "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a", "vision-segmentation-live")
            .with_pool("pool-vision-1")
            .with_phase("Running")
            .with_tag("team", "vision"),
        job(75, "5e02c9d8-41b7-4f6a-8c3e-97a1d0f4b658", "vision-label-check")
            .with_pool("pool-vision-1")
            .with_owner("bob")
            .with_tag("team", "vision"),
        job(9, "e8d13f6b-7a90-4c25-b4e8-1f6c52a7d093", "vision-untagged-trial")
            .with_pool("pool-vision-1"),
        job(31, "2b7c54a9-e016-4d8f-9372-c4f80e6b1ad5", "nlp-tokenizer-test")
            .with_pool("pool-nlp-1")
            .with_owner("bob")
            .with_tag("team", "nlp"),
        job(190, "f60a9e3c-58d2-4b74-a1c6-3e97d4b0825f", "nlp-pretrain-7b")
            .with_pool("pool-nlp-1")
            .with_owner("carol")
            .with_phase("Running")
            .with_tag("team", "nlp")
            .with_tag("env", "prod"),
        job(120, "94d6b082-1ce7-4a3f-8b59-d02f7c6e4a18", "nlp-eval-lost")
            .with_pool("pool-nlp-1")
            .with_owner("bob")
            .with_phase("Abnormal")
            .with_tag("team", "nlp"),
        job(1, "c3708f5d-9b46-4e12-97a8-6b1de4f02c93", "scratch-mnist"),
        job(1400, "1d95e7b4-0f8a-4263-b6cd-a72c3e9054f8", "rehearsal-public")
            .with_owner("dave")
            .with_phase("Terminated")
            .with_tag("env", "prod"),
        job(14, "8a2f6c01-d47e-4b95-8e30-f5b9c07a3d62", "mixed-distillation")
            .with_task_pools(&[Some("pool-vision-1"), Some("pool-nlp-1"), None])
            .with_owner("carol")
            .with_tag("team", "vision"),
        job(40, "b7e41d93-c5a6-4f08-9d2b-60e8a3f7c514", "federated-sweep")
            .with_pool_group("pool-group-research")
            .with_owner("carol")
            .with_tag("team", "nlp"),
    ]
}
