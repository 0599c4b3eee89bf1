//! docs/configuration.md, docs/lychgate.schema.json and the schema of `config` in the values of the
//! charts are made from the types of src/config/file.rs: their names, their shapes, their doc
//! comments. `LYCHGATE_ACCEPT=1` writes them anew. A stated default is compared with what the gate does without the setting.

mod reference;
mod types;

use self::reference::Setting;
use self::types::Types;

use lychgate::config::Config;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_that_of_the_code() {
    assert_current("docs/configuration.md", &reference::markdown(&Types::read()));
}

#[test]
fn the_schema_is_that_of_the_code() {
    let schema = serde_json::to_string_pretty(&reference::schema(&Types::read())).unwrap();
    assert_current("docs/lychgate.schema.json", &format!("{schema}\n"));
}

/// What the gate would refuse at its start, helm refuses before it changes anything.
#[test]
fn the_charts_know_the_configuration() {
    for (chart, is_whole) in [("lychgate", true), ("lychgate-sidecar", false)] {
        let path = format!("helm/{chart}/values.schema.json");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        let mut values: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        // Helm before 3.18 knows only the drafts that call `$defs` definitions.
        let config = reference::schema(&Types::read()).to_string();
        let mut config: Value =
            serde_json::from_str(&config.replace("#/$defs/", "#/definitions/")).unwrap();
        let members = config.as_object_mut().unwrap();
        values["definitions"] = members.remove("$defs").unwrap();
        members.remove("$schema");
        members.remove("title");
        // The sidecar's templates supply the rest.
        if !is_whole {
            members.remove("required");
        }
        values["properties"]["config"] = config;
        let text = serde_json::to_string_pretty(&values).unwrap();
        assert_current(&path, &format!("{text}\n"));
    }
}

/// Compares a file of the repository with what it should be, or writes it.
#[expect(clippy::disallowed_methods, reason = "a switch for people, not for the gate")]
pub(crate) fn assert_current(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("LYCHGATE_ACCEPT").is_ok() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let same = found.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
    assert!(
        found == text,
        "{path}:{}: is not what the code says: run LYCHGATE_ACCEPT=1 cargo test --test it config_docs",
        same + 1
    );
}

/// Settings that stand in something that the smallest configuration has not, and what they need.
fn surroundings(path: &str) -> Value {
    let replaced = |at: &str, value: Value| {
        let mut config = smallest();
        set(&mut config, at, value);
        config
    };
    let oidc =
        json!({"endpoint": "https://sts.example", "provider": "p", "agency": "a", "token": "t"});
    let rows = [
        ("listen[].principal", replaced("listen[].principal", json!({"name": "cleanup"}))),
        (
            "identity.jwt[].jwks.stale",
            replaced("identity.jwt[].jwks", json!({"url": "https://id.example/jwks"})),
        ),
        (
            "identity.jwt[].jwks.discovery",
            replaced("identity.jwt[].jwks", json!({"file": "jwks.json"})),
        ),
        (
            "upstreams[].credentials.ecs_metadata",
            replaced("upstreams[].credentials", json!({"ecs_metadata": {}})),
        ),
        (
            "upstreams[].credentials.pod_identity",
            replaced("upstreams[].credentials", json!({"pod_identity": {}})),
        ),
        (
            "upstreams[].credentials.oidc",
            replaced("upstreams[].credentials", json!({"oidc": oidc})),
        ),
        ("budgets.store", replaced("budgets.store", json!({"postgres": "database"}))),
        ("ledger.checkpoint", replaced("ledger.checkpoint_key", json!("checkpoint.pem"))),
    ];
    let row = rows.into_iter().find(|(prefix, _)| path.starts_with(prefix));
    row.map_or_else(smallest, |(_, config)| config)
}

fn smallest() -> Value {
    json!({
        "listen": [{"address": "127.0.0.1:8480"}],
        "admin": {"address": "127.0.0.1:8481"},
        "identity": {"jwt": [{
            "name": "corp",
            "issuer": "https://id.example",
            "audience": ["lychgate"],
            "jwks": {"file": "jwks.json"},
            "algorithms": ["RS256"],
        }], "keys": {"file": "keys.yaml"}},
        "policies": {"directory": "policies"},
        "upstreams": [{
            "name": "bj4",
            "kind": "modelarts",
            "projects": ["*"],
            "endpoint": "https://modelarts.example",
            "region": "cn-north-4",
            "account": "123",
            "credentials": {"file": "cloud.yaml"},
        }],
        "ledger": {"directory": "ledger"},
    })
}

fn set(config: &mut Value, path: &str, value: Value) {
    let mut at = config;
    for step in path.split('.') {
        at = match step.strip_suffix("[]") {
            Some(list) => &mut at[list][0],
            None => &mut at[step],
        };
    }
    *at = value;
}

fn remove(config: &mut Value, path: &str) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let steps = parent.split('.').filter(|it| !it.is_empty());
    let pointer: String = steps.map(|it| format!("/{}", it.replace("[]", "/0"))).collect();
    if let Some(Value::Object(parent)) = config.pointer_mut(&pointer) {
        parent.remove(name);
    }
}

#[test]
fn a_stated_default_is_what_the_gate_does() {
    let parse = |config: &Value| {
        let config = Config::parse(&config.to_string(), Path::new("/etc/lychgate"));
        config.map(|it| format!("{it:#?}"))
    };
    let settings = reference::settings(&Types::read());
    let stated = settings.iter().filter_map(|it| Some((it, it.default.as_deref()?)));
    let mut count = 0;
    for (Setting { path, .. }, default) in stated {
        let mut silent = surroundings(path);
        remove(&mut silent, path);
        let mut written = silent.clone();
        set(&mut written, path, serde_saphyr::from_str(default).unwrap());
        let (silent, written) = (parse(&silent), parse(&written));
        assert!(silent.is_ok(), "{path}: {silent:?}");
        assert_eq!(silent, written, "{path}: the default is not {default}");
        count += 1;
    }
    assert!(30 < count, "the defaults were not found: {count}");
}
