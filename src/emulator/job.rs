//! A training job as ModelArts describes it (ShowTrainingJobDetails, ShowTrainJobTags).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A training job: the details that ModelArts answers, and its tags, which it answers elsewhere.
///
/// A new job is an ordinary one in the public pool, completed, without tags; the `with_…` functions
/// change that. What they do not cover is changed in `details`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Job {
    /// The project it belongs to; not part of the details.
    pub project_id: String,
    /// The answer of ShowTrainingJobDetails; `metadata.id` is the job's ID.
    pub details: Value,
    /// In the order in which they are answered.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// A TMS tag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tag {
    /// 1–128 characters.
    pub key: String,
    /// 0–255 characters.
    pub value: String,
}

impl Job {
    /// A completed job called `name` in the public pool.
    #[must_use]
    pub fn new(project_id: &str, id: &str, name: &str, created: Timestamp) -> Self {
        let millisecond = created.as_millisecond();
        let details = json!({
            "kind": "job",
            "metadata": {
                "id": id,
                "name": name,
                "workspace_id": "0",
                "description": "",
                "create_time": millisecond,
                "user_name": "alice",
                "annotations": {},
            },
            "status": {
                "phase": "Completed",
                "secondary_phase": "Completed",
                "duration": 3_600_000,
                "node_count_metrics": [[millisecond, 0], [millisecond + 60_000, 1]],
                "tasks": ["worker-0"],
                "start_time": millisecond + 60_000,
                "task_statuses": [{"task": "worker-0", "exit_code": 0, "message": ""}],
            },
            "algorithm": {
                "code_dir": "obs://training-code/resnet/",
                "boot_file": "obs://training-code/resnet/train.py",
                "inputs": [{
                    "name": "data_url",
                    "local_dir": "/home/ma-user/modelarts/inputs/data_url_0",
                    "remote": {"obs": {"obs_url": "/training-data/cifar/"}},
                }],
                "outputs": [{
                    "name": "train_url",
                    "local_dir": "/home/ma-user/modelarts/outputs/train_url_0",
                    "remote": {"obs": {"obs_url": "/training-output/"}},
                }],
                "engine": {
                    "engine_id": "pytorch_2.1.0-cann_8.0.rc1-py_3.9-euler_2.10.7-aarch64",
                    "engine_name": "PyTorch",
                    "engine_version": "pytorch_2.1.0-cann_8.0.rc1-py_3.9-euler_2.10.7-aarch64",
                },
                "environments": [],
            },
            "spec": {
                "resource": {
                    "policy": "regular",
                    "flavor_id": "modelarts.vm.gpu.v100",
                    "flavor_name": "Computing GPU(V100) instance",
                    "node_count": 1,
                    "flavor_detail": flavor_detail(),
                },
                "log_export_path": {"obs_url": "/training-logs/"},
            },
            // Real answers carry live tokens here: whoever logs a details answer leaks them.
            "endpoints": {
                "jupyter_lab": {
                    "url": format!("https://authoring.example/{id}/lab"),
                    "token": format!("jupyter-token-{id}"),
                },
                "tensorboard": {
                    "url": format!("https://authoring.example/{id}/tensorboard"),
                    "token": format!("tensorboard-token-{id}"),
                },
            },
        });
        Self { project_id: project_id.to_owned(), details, tags: Vec::new() }
    }

    /// The job's ID; empty when the details have none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.at("/metadata/id").as_str().unwrap_or_default()
    }

    /// `status.phase`; empty when the details have none.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.at("/status/phase").as_str().unwrap_or_default()
    }

    /// The value at a JSON pointer, null when there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.details.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Made by the Huawei user `user_name`.
    #[must_use]
    pub fn with_owner(mut self, user_name: &str) -> Self {
        self.put("/metadata", "user_name", user_name.into());
        self
    }

    /// In this phase: Creating, Pending, Running, Failed, Completed, Terminating, Terminated or
    /// Abnormal.
    #[must_use]
    pub fn with_phase(mut self, phase: &str) -> Self {
        self.put("/status", "phase", phase.into());
        self.put("/status", "secondary_phase", phase.into());
        self
    }

    /// In the dedicated pool `pool_id` instead of the public one.
    #[must_use]
    pub fn with_pool(mut self, pool_id: &str) -> Self {
        self.without_public_flavor();
        self.put("/spec/resource", "pool_id", pool_id.into());
        self.put("/spec/resource", "pool_name", pool_id.into());
        self
    }

    /// In a federation of pools instead of the public one; which pool runs it is not said.
    #[must_use]
    pub fn with_pool_group(mut self, pool_group_id: &str) -> Self {
        self.without_public_flavor();
        self.put("/spec/resource", "pool_group_id", pool_group_id.into());
        self.put("", "kind", "federated_pool_job".into());
        self
    }

    /// A heterogeneous job whose tasks run in these pools, `None` being the public one.
    #[must_use]
    pub fn with_task_pools(mut self, pools: &[Option<&str>]) -> Self {
        self.without_public_flavor();
        let tasks = pools.iter().enumerate().map(|(at, pool)| {
            let resource = match pool {
                Some(pool) => json!({"pool_id": pool, "flavor_type": "Ascend", "max_num": 1}),
                None => json!({
                    "flavor_id": "modelarts.vm.gpu.v100",
                    "flavor_type": "GPU",
                    "max_num": 1,
                    "flavor_detail": flavor_detail(),
                }),
            };
            json!({"role": format!("role-{at}"), "task_resource": resource})
        });
        let tasks = tasks.collect();
        self.put("", "tasks", tasks);
        self.put("", "kind", "hetero_job".into());
        self
    }

    /// With one more tag.
    #[must_use]
    pub fn with_tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
        self
    }

    /// Takes away what marks a public pool.
    fn without_public_flavor(&mut self) {
        if let Some(Value::Object(resource)) = self.details.pointer_mut("/spec/resource") {
            resource.remove("flavor_detail");
        }
    }

    /// Sets `key` of the object at `pointer`; does nothing when there is no object.
    pub(super) fn put(&mut self, pointer: &str, key: &str, value: Value) {
        if let Some(Value::Object(object)) = self.details.pointer_mut(pointer) {
            object.insert(key.to_owned(), value);
        }
    }
}

fn flavor_detail() -> Value {
    json!({
        "flavor_type": "GPU",
        "billing": {"code": "modelarts.vm.gpu.v100", "unit_num": 1},
        "flavor_info": {
            "max_num": 1,
            "cpu": {"arch": "x86", "core_num": 8},
            "gpu": {"unit_num": 1, "product_name": "NVIDIA-V100", "memory": "32GB"},
            "memory": {"size": 64, "unit": "GB"},
            "disk": {"size": "950", "unit": "GB"},
        },
    })
}
