//! `check --config` says no to whatever `serve` does not start on, and to nothing else.

use crate::house::cli::lychgate;
use crate::support::world::{CLOUD_AK, FINISHED, Prepared, World, poll};

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

type Break<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));

/// Whether `serve` starts: it listens, or has ended.
async fn starts(directory: &Path) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["serve", "--config"])
        .arg(directory.join("lychgate.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let log = directory.join("stderr");
    let started = poll(|| {
        let listens = fs::read_to_string(&log).unwrap().contains("listening for admin");
        let ended = child.try_wait().unwrap();
        (listens || ended.is_some()).then_some(ended.is_none())
    })
    .await;
    let _ = child.kill();
    child.wait().unwrap();
    started
}

#[track_caller]
fn edit(world: &Prepared, from: &str, to: &str) {
    let path = world.directory.path().join("lychgate.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "`{from}` is not in the configuration");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Each row is an edit of a sound configuration, and of what lies beside it.
#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn check_and_serve_agree() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("admin: {{address: '{}'}}", taken.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = "  - {address: '127.0.0.1:0'}";
    let twice = format!("  - {{address: '{free}'}}\n  - {{address: '{free}'}}");
    let admin = "admin: {address: '127.0.0.1:0'}";
    let at = |path| format!("{listener}\n  - {{socket: {path}, principal: {{name: a}}}}");
    let nothing = |_: &Path| ();
    let remove = |name: &'static str| move |it: &Path| fs::remove_file(it.join(name)).unwrap();
    let write = |name: &'static str, text: &'static str| {
        move |it: &Path| fs::write(it.join(name), text).unwrap()
    };
    let (no_keys, no_jwks) = (remove("keys.yaml"), remove("jwks.json"));
    let (bad_keys, empty_keys) = (write("keys.yaml", "keys: 3"), write("keys.yaml", ""));
    let (bad_jwks, empty_jwks) = (write("jwks.json", "{}"), write("jwks.json", ""));
    let (html_jwks, no_jwk) = (write("jwks.json", "<html>"), write("jwks.json", r#"{"keys":[]}"#));
    let shadow = "policies: {directory: policies, shadow: {directory: shadow}}";
    let bad_shadow = |it: &Path| {
        fs::create_dir_all(it.join("shadow/guardrails")).unwrap();
        fs::write(it.join("shadow/guardrails/a.json"), "{}").unwrap();
    };
    let key_file = |it: &Path| symlink("nowhere", it.join("key.pem")).unwrap();
    let ledger_file = write("ledger", "");
    let ledger_damaged = |it: &Path| {
        fs::create_dir(it.join("ledger")).unwrap();
        fs::write(it.join("ledger/00000000000000000001.jsonl"), "garbage\n").unwrap();
    };
    let ledger_missing = |it: &Path| {
        fs::create_dir(it.join("ledger")).unwrap();
        let id = "6f1c1a0e-5a51-4d39-8a6e-1d2b3c4d5e6f\n";
        fs::write(it.join("ledger/ledger.lock"), id).unwrap();
    };
    let ledger_nowhere = |it: &Path| symlink("nowhere", it.join("ledger")).unwrap();
    let lock_directory = |it: &Path| fs::create_dir_all(it.join("ledger/ledger.lock")).unwrap();
    let lock_pipe = |it: &Path| {
        fs::create_dir(it.join("ledger")).unwrap();
        let made = Command::new("mkfifo").arg(it.join("ledger/ledger.lock")).status();
        assert!(made.unwrap().success());
    };
    let lock_bytes = |it: &Path| {
        fs::create_dir(it.join("ledger")).unwrap();
        fs::write(it.join("ledger/ledger.lock"), [0xff; 37]).unwrap();
    };
    let segment_directory = |it: &Path| {
        fs::create_dir_all(it.join("ledger/00000000000000000001.jsonl")).unwrap();
    };
    let rows: &[(bool, Break<'_>)] = &[
        (true, ("", "", &nothing)),
        (true, ("drain: 5s", "drain: 6s", &nothing)),
        (true, ("directory: ledger", "directory: ./ledger", &nothing)),
        (false, (admin, &taken, &nothing)),
        (false, (listener, &twice, &nothing)),
        (false, ("listen:\n  - {address: '127.0.0.1:0'}", "listen: []", &nothing)),
        (false, (admin, "admin: {address: nowhere}", &nothing)),
        (false, (admin, "admin: {}", &nothing)),
        (false, (admin, "admni: {address: '127.0.0.1:0'}", &nothing)),
        (false, ("{file: keys.yaml}", "{file: keys.yml}", &nothing)),
        (false, ("keys.yaml", "keys.yaml", &no_keys)),
        (false, ("keys.yaml", "keys.yaml", &bad_keys)),
        (false, ("keys.yaml", "keys.yaml", &empty_keys)),
        (false, ("jwks.json", "jwks.jsn", &nothing)),
        (false, ("jwks.json", "jwks.json", &no_jwks)),
        (false, ("jwks.json", "jwks.json", &bad_jwks)),
        (false, ("jwks.json", "jwks.json", &empty_jwks)),
        (false, ("jwks.json", "jwks.json", &html_jwks)),
        (false, ("jwks.json", "jwks.json", &no_jwk)),
        (false, ("[EdDSA]", "[RS256]", &nothing)),
        (false, ("[EdDSA]", "[HS256]", &nothing)),
        (false, ("[EdDSA]", "[]", &nothing)),
        (false, ("audience: [", "audience: [] #", &nothing)),
        (false, ("name: corp", "name: keys", &nothing)),
        (false, ("name: corp", "name: ''", &nothing)),
        (false, ("credentials: {file: cloud.yaml}", "credentials: {environment: true}", &nothing)),
        (false, ("credentials: {file: cloud.yaml}", "credentials: {}", &nothing)),
        (false, ("kind: modelarts", "kind: obs", &nothing)),
        (false, ("endpoint: http://127", "endpoint: ftp://127", &nothing)),
        (false, ("endpoint: http://127", "endpoint: http://u:p@127", &nothing)),
        (false, ("  - name: emulator", "  - nam: emulator", &nothing)),
        (false, ("region: ", "regionn: ", &nothing)),
        (false, ("policies: {directory: policies}", "policies: {}", &nothing)),
        // Nothing waits for a candidate; that it is broken is a warning.
        (true, ("policies: {directory: policies}", shadow, &nothing)),
        (true, ("policies: {directory: policies}", shadow, &bad_shadow)),
        (false, ("directory: ledger", "directory: mistyped/ledger", &nothing)),
        (false, ("directory: ledger", "directory: ledger", &ledger_file)),
        (false, ("directory: ledger", "directory: ledger", &ledger_damaged)),
        (false, ("directory: ledger", "directory: ledger", &ledger_missing)),
        (false, ("directory: ledger", "directory: ledger", &ledger_nowhere)),
        (false, ("directory: ledger", "directory: ledger", &lock_directory)),
        (false, ("directory: ledger", "directory: ledger", &lock_pipe)),
        (false, ("directory: ledger", "directory: ledger", &lock_bytes)),
        (false, ("directory: ledger", "directory: ledger", &segment_directory)),
        (false, ("directory: ledger", "directory: ''", &nothing)),
        (false, ("directory: ledger", "directory: policies", &nothing)),
        (false, ("directory: ledger", "directory: policies/ledger", &nothing)),
        (false, ("{directory: ledger}", "{directory: ledger, checkpoint_key: key.pem}", &nothing)),
        (false, ("{directory: ledger}", "{directory: ledger, checkpoint_key: key.pem}", &key_file)),
        (
            false,
            ("{directory: ledger}", "{directory: ledger, checkpoint_key: cloud.yaml}", &nothing),
        ),
        (false, ("{directory: ledger}", "{directory: ledger, reserve: 64}", &nothing)),
        (false, ("{directory: ledger}", "{directory: ledger, ship: true}", &nothing)),
        (false, ("drain: 5s", "drain: 5", &nothing)),
        (false, ("drain: 5s", "drain: -5s", &nothing)),
        (false, ("{log: human}", "{log: loud}", &nothing)),
        (false, ("{log: human}", "{log: human, level: loud}", &nothing)),
        (false, ("{log: human}", "{log: human, level: 'info,x=y'}", &nothing)),
        (true, ("{log: human}", "{log: human, level: 'info,x=debug'}", &nothing)),
        (true, (listener, &at("s.sock"), &nothing)),
        (false, (listener, &at("keys.yaml"), &nothing)),
        (false, (listener, &at("policies"), &nothing)),
        (false, ("{log: human}", "{log: human, otlp: 'grpc://127.0.0.1:4317'}", &nothing)),
        (false, ("{log: human}", "{log: human, otlp: '127.0.0.1:4318'}", &nothing)),
        (false, ("trusted_proxies: []", "trusted_proxies: [10.0.0.1/8]", &nothing)),
        (false, ("listen:", "\tlisten:", &nothing)),
    ];
    for (number, (sound, (from, to, beside))) in rows.iter().enumerate() {
        let world = World::builder().prepare().await;
        let directory = world.directory.path();
        edit(&world, from, to);
        beside(directory);
        let config = directory.join("lychgate.yaml");
        let checked = lychgate(&["check", "--config", config.to_str().unwrap()]);
        let row = format!("row {number}, `{to}`: {}{}", checked.stdout, checked.stderr);
        assert_eq!(checked.code, Some(if *sound { 0 } else { 3 }), "{row}");
        assert_eq!(starts(directory).await, *sound, "{row}");
        let warns = checked.stdout.contains("the shadow policies cannot be loaded");
        assert_eq!(warns, *to == shadow, "{row}");
        assert!(
            !row.contains("checkpoint_key: cloud") || !checked.stdout.contains(CLOUD_AK),
            "{row}"
        );
    }
}

/// A directory that cannot be read is a finding like others, and hides none.
#[tokio::test]
async fn a_missing_policy_directory_is_a_finding() {
    let world = World::builder().prepare().await;
    edit(&world, "{directory: policies}", "{directory: nowhere}");
    edit(&world, "drain: 5s", "drain: 5");
    let config = world.directory.path().join("lychgate.yaml");
    let nowhere = world.directory.path().join("nowhere");
    for (arguments, errors) in [
        (["--config", config.to_str().unwrap()], 2),
        (["--policies", nowhere.to_str().unwrap()], 1),
    ] {
        let ran = lychgate(&[&["check"], &arguments[..], &["--format", "json"]].concat());
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["errors"], errors, "{report:#}");
        assert!(ran.stdout.contains(&format!("cannot read {}", nowhere.display())), "{report:#}");
    }
}

/// What a forwarder needs is in its pod, so that what is missing here is a warning.
#[test]
fn check_says_what_a_forwarder_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("f.yaml");
    let file = "listen: [{address: '127.0.0.1:0', principal: {name: a}}]\n\
                admin: {address: '127.0.0.1:0'}\n\
                upstreams: [{name: g, kind: gate, endpoint: 'https://g', token: token, ca: ca.pem}]\n";
    fs::write(&config, file).unwrap();
    for (token, told) in [
        (None, "token: it cannot be read"),
        (Some(""), "token: it is empty"),
        (Some("a.b"), "token: it is not a JSON Web Token"),
        (Some("a.b.c\n"), "upstream `g`: cannot read the CA bundle"),
    ] {
        if let Some(token) = token {
            fs::write(directory.path().join("token"), token).unwrap();
        }
        let ran = lychgate(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("warning[configuration]"), "{}", ran.stdout);
        assert!(ran.stdout.contains(told), "{}", ran.stdout);
    }
}

/// The runbook of an upgrade checks beside the gate that is to be replaced.
#[tokio::test]
async fn a_gate_that_runs_is_no_fault_of_its_configuration() {
    let prepared = World::builder().prepare().await;
    let directory = prepared.directory.path();
    let free: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [data, admin] = [&free[0], &free[1]].map(|it| it.local_addr().unwrap());
    drop(free);
    edit(&prepared, "  - {address: '127.0.0.1:0'}", &format!("  - {{address: '{data}'}}"));
    edit(&prepared, "admin: {address: '127.0.0.1:0'}", &format!("admin: {{address: '{admin}'}}"));
    let config = directory.join("lychgate.yaml");
    let check = || lychgate(&["check", "--config", config.to_str().unwrap()]);
    let mut gate = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["serve", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let listens = || TcpStream::connect(admin).ok().map(drop);
    poll(listens).await;
    let checked = check();
    gate.kill().unwrap();
    gate.wait().unwrap();
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains("a gate runs here"), "{}", checked.stdout);
    // Somebody else is one.
    let _other = TcpListener::bind(data).unwrap();
    let checked = check();
    assert_eq!(checked.code, Some(3), "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("cannot listen on {data}")), "{}", checked.stdout);
}

/// A pipe without a writer would hold whoever opens it, and a device never ends.
#[tokio::test]
async fn only_regular_files_are_read() {
    let pipe = |path: &Path| {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let device = |path: &Path| {
        fs::remove_file(path).unwrap();
        symlink("/dev/zero", path).unwrap();
    };
    let replace: [&dyn Fn(&Path); 2] = [&pipe, &device];
    let policy = "policies/guardrails/protect.json";
    for name in ["lychgate.yaml", "jwks.json", "keys.yaml", "cloud.yaml", policy] {
        for replace in replace {
            let world = World::builder().prepare().await;
            let directory = world.directory.path();
            replace(&directory.join(name));
            let config = directory.join("lychgate.yaml");
            let checked = lychgate(&["check", "--config", config.to_str().unwrap()]);
            let told = format!("{}{}", checked.stdout, checked.stderr);
            assert_eq!(checked.code, Some(3), "{name}: {told}");
            assert!(told.contains("it is not a regular file"), "{name}: {told}");
            assert!(told.contains(name), "{name}: {told}");
        }
    }
    for replace in replace {
        let world = World::start().await;
        world.delete("alice", FINISHED).await;
        let (_, directory) = world.stop().await;
        let ledger = directory.path().join("ledger");
        replace(&ledger.join("00000000000000000001.jsonl"));
        for command in ["verify", "show", "stats"] {
            let ran = lychgate(&["audit", command, ledger.to_str().unwrap()]);
            assert_eq!(ran.code, Some(1), "{command}: {}", ran.stdout);
            assert!(ran.stderr.contains("it is not a regular file"), "{command}: {}", ran.stderr);
        }
    }
}

/// What `serve` would warn of, `check` says as well.
#[tokio::test]
async fn check_says_what_has_no_effect() {
    let world = World::builder().prepare().await;
    let directory = world.directory.path();
    edit(&world, "trusted_proxies: []", "trusted_proxies: [10.0.0.0/8]");
    let checked = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["check", "--config"])
        .arg(directory.join("lychgate.yaml"))
        .envs([("HTTPS_PROXY", "http://proxy"), ("OTEL_BSP_SCHEDULE_DELAY", "1")])
        .output()
        .unwrap();
    let stdout = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{stdout}");
    for name in ["`trusted_proxies`", "HTTPS_PROXY", "OTEL_BSP_SCHEDULE_DELAY"] {
        let line = stdout.lines().find(|it| it.contains(&format!("{name} has no effect")));
        assert!(line.is_some_and(|it| it.starts_with("warning")), "{name}: {stdout}");
    }
    assert_eq!(stdout.matches("warning[configuration]").count(), 3, "{stdout}");
    assert!(stdout.contains("0 errors, 0 security warnings"), "{stdout}");
}

/// The environment names the collector as well as the file does.
#[tokio::test]
async fn a_collector_of_the_environment_is_checked() {
    let world = World::builder().prepare().await;
    let check = |endpoint: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lychgate"));
        command.args(["check", "--config"]).arg(world.directory.path().join("lychgate.yaml"));
        let ran = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    assert_eq!(check("http://127.0.0.1:9").0, Some(0));
    let (code, stdout) = check("http://u:hunter2@127.0.0.1:9");
    assert_eq!(code, Some(3), "{stdout}");
    assert!(stdout.contains("OTEL_EXPORTER_OTLP_ENDPOINT: write the base URL"), "{stdout}");
    assert!(!stdout.contains("hunter2"), "{stdout}");
}

/// `serve` waits for a credential, which may come later; `check` says that it is not there.
#[tokio::test]
async fn check_misses_a_credential_that_serve_would_wait_for() {
    for text in ["", "ak: A\n", "ak: [A]\nsk: s\n", "ak: A\nsk: \"a\\nb\"\n", "- ak: A\n"] {
        let world = World::builder().prepare().await;
        fs::write(world.directory.path().join("cloud.yaml"), text).unwrap();
        let config = world.directory.path().join("lychgate.yaml");
        let checked = lychgate(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(checked.code, Some(3), "{text:?}: {}", checked.stdout);
        assert!(checked.stdout.contains("cloud.yaml"), "{text:?}: {}", checked.stdout);
    }
}
