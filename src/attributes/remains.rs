//! What a tombstone says of a job, picked out of its details by an allow-list: names, sizes, times and
//! places. Environment variables, parameters and commands hold secrets and are not on it.

use crate::ledger::record::Tombstone;
use crate::policy::{Attribute, Attributes};

use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// The longest text that is kept, in characters.
const TEXT_MAX: usize = 256;

/// The most pools, outputs or checkpoints that are kept of each.
const LIST_MAX: usize = 8;

/// What the ledger keeps of a job when it is gone, without its tags: what `details` say, an answer that
/// was read as `attributes`. A text is cut to 256 characters, a list to 8 elements; what is missing or
/// of another type is left out.
#[must_use]
pub fn remains(details: &[u8], attributes: &Attributes) -> Tombstone<'static> {
    let details: Value = serde_json::from_slice(details).unwrap_or_default();
    let text = |pointer: &str| details.pointer(pointer).and_then(Value::as_str).and_then(kept);
    let number = |pointer: &str| details.pointer(pointer).and_then(Value::as_u64);
    let fact = |it: &Attribute<String>| it.value().and_then(|it| kept(it)).map(Cow::Owned);
    let first = |pointers: &[&str]| pointers.iter().find_map(|it| text(it)).map(Cow::Owned);
    let each = |list: &str, pointer: &str| {
        let elements = details.pointer(list).and_then(Value::as_array).into_iter().flatten();
        let texts = elements.filter_map(|it| it.pointer(pointer)).filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let created = details.pointer("/metadata/create_time").and_then(Value::as_i64);
    let created = created.and_then(|it| Timestamp::from_millisecond(it).ok());
    let outputs = [
        each("/algorithm/outputs", "/remote/obs/obs_url"),
        each("/tasks", "/algorithm/outputs/remote/obs/obs_url"),
        text("/ftjob_config/train_output_path").into_iter().collect(),
    ];
    let logs = text("/spec/log_export_path/obs_url").into_iter();
    let logs = logs.chain(each("/tasks", "/log_export_path/obs_url"));
    let checkpoints =
        ["/ftjob_config/checkpoint_id", "/ftjob_config/checkpoint_config/checkpoint_id"];
    let flavors = text("/spec/resource/flavor_id").into_iter();
    let mut flavors = flavors.chain(each("/tasks", "/task_resource/flavor_id"));
    Tombstone {
        of: 0,
        name: fact(&attributes.name),
        owner: fact(&attributes.owner),
        kind: fact(&attributes.kind),
        created: created.map(|it| it.to_string().into()),
        duration_ms: number("/status/duration"),
        algorithm: first(&["/algorithm/name", "/algorithm/id", "/algorithm/boot_file"]),
        image: first(&["/algorithm/engine/image_url", "/algorithm/engine/engine_id"]),
        flavor: flavors.find_map(|it| kept(&it)).map(Cow::Owned),
        nodes: number("/spec/resource/node_count").and_then(|it| u32::try_from(it).ok()),
        pools: list(attributes.pool_id.value().into_iter().flatten().cloned()),
        outputs: list(outputs.into_iter().flatten().map(|it| place(&it))),
        logs: list(logs.map(|it| place(&it))).first().map(|it| it.clone().into()),
        checkpoints: list(checkpoints.into_iter().filter_map(text)),
        tags: None,
    }
}

/// As much of a text as is kept; nothing of an empty one.
fn kept(text: &str) -> Option<String> {
    let end = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(at, _)| at);
    text.get(..end).filter(|it| !it.is_empty()).map(str::to_owned)
}

fn list(them: impl Iterator<Item = String>) -> Cow<'static, [String]> {
    let mut res: Vec<String> = Vec::new();
    for it in them.filter_map(|it| kept(&it)) {
        if res.len() < LIST_MAX && !res.contains(&it) {
            res.push(it);
        }
    }
    Cow::Owned(res)
}

/// A path or URL without what could be a password: neither user nor query.
fn place(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{PoolWords, details};

    use serde_json::json;

    const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";

    fn read(answer: &Value) -> Value {
        let bytes = answer.to_string();
        let now = Timestamp::from_second(1_000_000).unwrap();
        let known = details(bytes.as_bytes(), JOB, now, &PoolWords::default()).unwrap();
        serde_json::to_value(remains(bytes.as_bytes(), &known.attributes)).unwrap()
    }

    /// Every place of the documented answer in which a secret can stand, and what must be kept.
    #[test]
    fn secrets_are_left_out() {
        const SECRET: &str = "hunter2";
        let parameter = json!({"name": SECRET, "value": SECRET, "description": SECRET});
        let output = format!("obs://u:{SECRET}@out/a/?sign={SECRET}#{SECRET}");
        let algorithm = json!({
            "name": "resnet", "id": "a-1", "command": format!("train --token {SECRET}"),
            "code_dir": format!("obs://code/{SECRET}/"), "local_code_dir": SECRET,
            "working_dir": SECRET, "parameters": [parameter],
            "policies": {"auto_search": {"algo_configs": [{"params": [{"value": SECRET}]}]}},
            "inputs": [{"name": SECRET, "remote": {"obs": {"obs_url": SECRET}}}],
            "outputs": [
                {"name": SECRET, "local_dir": SECRET, "remote": {"obs": {"obs_url": output}}},
            ],
            "engine": {"image_url": "swr.example/team/train:7", "run_user": SECRET},
            "environments": [{"PASSWORD": SECRET}, {SECRET: "x"}],
            "mindstudio_insight": {"url": SECRET, "token": SECRET},
        });
        let answer = json!({
            "kind": "job",
            "metadata": {
                "id": JOB, "name": "n", "user_name": "alice", "create_time": 999_000_500,
                "description": SECRET, "annotations": {"key": SECRET},
            },
            "status": {"phase": "Completed", "duration": 7, "task_statuses": [{"message": SECRET}]},
            "algorithm": algorithm,
            "tasks": [{
                "role": SECRET,
                "algorithm": {
                    "environments": {"PASSWORD": SECRET}, "command": SECRET,
                    "outputs": {"name": SECRET, "remote": {"obs": {"obs_url": "/tasks/out/"}}},
                },
                "task_resource": {"pool_id": "pool-b", "attributes": {"x": SECRET}},
            }],
            "spec": {
                "resource": {"pool_id": "pool-a", "flavor_id": "v100", "node_count": 2},
                "log_export_path": {"obs_url": format!("/logs/?{SECRET}")},
                "auth": {"key": SECRET}, "notification": {"topic": SECRET},
            },
            "endpoints": {"ssh": {"key_pair_names": [SECRET]}, "jupyter_lab": {"token": SECRET}},
            "ftjob_config": {
                "train_output_path": "obs://tuned/", "checkpoint_id": "cp-1",
                "task_env": {"envs": [{"env_name": "P", "value": SECRET}]},
            },
        });
        let kept = read(&answer);
        assert!(!kept.to_string().contains(SECRET), "{kept:#}");
        let expected = json!({
            "of": 0, "name": "n", "owner": "alice", "job_kind": "job",
            "created": "1970-01-12T13:30:00.5Z", "duration_ms": 7, "algorithm": "resnet",
            "image": "swr.example/team/train:7", "flavor": "v100", "nodes": 2,
            "pools": ["pool-a", "pool-b"],
            "outputs": ["obs://out/a/", "/tasks/out/", "obs://tuned/"], "logs": "/logs/",
            "checkpoints": ["cp-1"],
        });
        assert_eq!(kept, expected);
    }

    #[test]
    fn it_is_bounded_and_takes_what_it_finds() {
        let long = "\u{1}".repeat(100_000);
        let output = |it| json!({"remote": {"obs": {"obs_url": format!("/{it}/{long}")}}});
        let outputs: Vec<_> = (0..1000).map(output).collect();
        let answer = json!({
            "kind": long, "metadata": {"id": JOB, "name": long, "user_name": long},
            "algorithm": {"outputs": outputs, "name": long, "engine": [7]},
            "status": {"duration": -1}, "spec": {"resource": {"node_count": u64::MAX}},
        });
        let kept = read(&answer);
        assert_eq!(kept["outputs"].as_array().unwrap().len(), LIST_MAX);
        assert_eq!(kept["name"].as_str().unwrap().chars().count(), TEXT_MAX);
        assert!(kept.to_string().len() < 32 * 1024, "{}", kept.to_string().len());
        for absent in ["image", "duration_ms", "nodes", "logs"] {
            assert!(kept.get(absent).is_none(), "{absent}: {kept}");
        }
    }
}
