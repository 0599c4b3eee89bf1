//! The commands for policy authors, run as they run them: the real binary on real directories.

use crate::support::toy::{World, limits};
use crate::support::world::{self, FINISHED, PROJECT, PROTECTED, UNKNOWN};

use lychgate::server::admin;
use lychgate::server::admin::Check;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every directory of policies that is shipped.
const SHIPPED: [&str; 2] = ["policies", "examples/policies"];

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command line from the root of the repository.
pub(crate) fn lychgate(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// As with `| head -1`: whoever stops reading has what it wants.
#[test]
fn who_closes_a_pipe_hears_no_complaint() {
    for (arguments, code) in [
        (&["completions", "bash"][..], 0),
        (&["test", "policies"], 0),
        (&["check", "policies"], 0),
        (&["lockdown", "--help"], 0),
        (
            &[
                "explain",
                "--policies",
                "policies",
                "--case",
                "protect#nobody deletes what is tagged prod",
            ],
            2,
        ),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}

/// On a terminal, which `script` makes, and nowhere else.
#[test]
fn colours_are_for_terminals_that_want_them() {
    let program = env!("CARGO_BIN_EXE_lychgate");
    let prod = "'protect#nobody deletes what is tagged prod'";
    for arguments in ["test policies", &format!("explain --policies policies --case {prod}")] {
        for (name, value, expected) in [
            ("TERM", "xterm", true),
            ("TERM", "dumb", false),
            ("NO_COLOR", "1", false),
            ("CLICOLOR", "0", false),
        ] {
            let mut command = Command::new("script");
            command.args(["-q", "-c", &format!("{program} {arguments}"), "/dev/null"]);
            command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
            let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("passed") || text.contains("denied by"), "{text}");
            assert_eq!(
                text.contains('\u{1b}'),
                expected,
                "{arguments} with {name}={value}: {text}"
            );
        }
        let plain = Command::new("sh").args(["-c", &format!("{program} {arguments}")]).output();
        assert!(!String::from_utf8(plain.unwrap().stdout).unwrap().contains('\u{1b}'));
    }
}

/// Compares exit code and both streams with the golden file of this name.
#[track_caller]
fn golden(name: &str, arguments: &[&str]) {
    let Ran { code, stdout, stderr } = lychgate(arguments);
    let command = arguments.join(" ");
    let text = format!("lychgate {command}\nexit code {code:?}\n\n{stdout}--- stderr\n{stderr}");
    assert_golden(name, &text);
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../data/cli");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn shipped_policies_have_no_error_and_no_security_warning() {
    for directory in SHIPPED {
        let ran = lychgate(&["check", "--policies", directory, "--format", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["errors"], 0, "{directory}: {}", ran.stdout);
        assert_eq!(report["security"], 0, "{directory}: {}", ran.stdout);
        assert_eq!(ran.code, Some(0), "{directory}");
    }
}

#[test]
fn shipped_suites_pass_and_every_statement_decides() {
    for directory in SHIPPED {
        let ran = lychgate(&["test", "--policies", directory, "--format", "json"]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["failed"], 0, "{directory}: {}", ran.stdout);
        assert_ne!(report["passed"], 0, "{directory}");
        assert_eq!(report["undecided"], Value::Array(vec![]), "{directory}");
        assert_eq!(ran.code, Some(0), "{directory}");
    }
}

#[test]
fn check_tells_everything_about_policies_and_suites() {
    golden("check", &["check", "--policies", "tests/data/cli/faulty"]);
    golden("check-json", &["check", "--policies", "tests/data/cli/faulty", "--format", "json"]);
    golden("check-nothing", &["check", "--policies", "tests/data/cli/nowhere"]);
}

#[test]
fn check_tells_which_tls_file_is_missing() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("lychgate.yaml");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("lychgate.example.yaml")).unwrap();
    let policies = format!("directory: {}", root.join("policies").display());
    fs::write(&file, example.replace("directory: policies", &policies)).unwrap();
    let ran = lychgate(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let line = 1 + example.lines().position(|it| it.contains("certificate: ")).unwrap();
    let certificate = directory.path().join("tls/tls.crt");
    let place = format!(" --> {}:{line}:20\n", file.display());
    let message = format!("error[configuration]: {}: it cannot be read", certificate.display());
    for told in [place, message] {
        assert!(ran.stdout.contains(&told), "{told} is not in\n{}", ran.stdout);
    }
}

#[test]
fn a_forwarder_is_checked_without_policies_and_explains_nothing() {
    let config = "lychgate.forwarder.example.yaml";
    let ran = lychgate(&["check", "--config", config]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let ran = lychgate(&[
        "explain",
        "--config",
        config,
        "--project",
        "0a1b",
        "--job",
        UNKNOWN,
        "--as",
        "corp/alice",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(ran.stderr.contains("a forwarder, which judges nothing"), "{}", ran.stderr);
}

#[test]
fn check_tells_what_is_wrong_with_a_configuration() {
    golden("check-config", &["check", "--config", "tests/data/cli/faulty.yaml"]);
    let ran = lychgate(&["check", "--config", "tests/data/cli/faulty.yaml", "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["findings"][0]["code"], "configuration");
    assert_eq!(ran.code, Some(3));
}

#[test]
fn test_shows_what_failed_and_what_decided_nothing() {
    golden("test", &["test", "--policies", "tests/data/cli/team"]);
    golden("test-json", &["test", "--policies", "tests/data/cli/team", "--format", "json"]);
    golden("test-faulty", &["test", "--policies", "tests/data/cli/faulty"]);
}

#[test]
fn test_writes_junit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("junit.xml");
    let junit = path.to_str().unwrap();
    let ran = lychgate(&["test", "--policies", "tests/data/cli/team", "--junit", junit]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_golden("junit", &fs::read_to_string(&path).unwrap());
    let nowhere = Path::new("tests/data/cli/nowhere/junit.xml").to_str().unwrap();
    let ran = lychgate(&["test", "--policies", "tests/data/cli/team", "--junit", nowhere]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("cannot write"), "{}", ran.stderr);
}

/// A directory with a warning and a security warning, and without a suite.
#[test]
fn what_is_no_error_can_be_denied_and_no_case_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let write = |statement: &str| {
        let text = format!(r#"{{"Version": "5.0", "Statement": [{statement}]}}"#);
        let all = r#"{"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": ["*"]}]}"#;
        let attachments = "- {to: [any], projects: [p1], policies: [all]}";
        for (name, text) in [
            ("guardrails/g.json", text.as_str()),
            ("identity/all.json", all),
            ("attachments.yaml", attachments),
        ] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    };
    let ceiling = r#"{"Effect": "Allow", "Action": ["*"]}"#;
    let warning = r#"{"Effect": "Deny", "Action": ["*"], "Condition": {"NumberEquals": {"lychgate:dayOfWeek": "8"}}}"#;
    let security = r#"{"Effect": "Allow", "NotAction": ["ecs:*:*"]}"#;
    for (statement, codes) in [(ceiling, [0, 0, 0]), (warning, [0, 0, 3]), (security, [0, 3, 3])] {
        write(statement);
        let denied: [&[&str]; 3] = [&[], &["--deny", "security"], &["--deny", "warnings"]];
        let found = denied.map(|it| lychgate(&[&["check", path], it].concat()).code.unwrap());
        assert_eq!(found, codes, "{statement}");
    }
    let ran = lychgate(&["test", path]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("There is nothing to run"), "{}", ran.stdout);
    assert_eq!(lychgate(&["check"]).code, Some(64));
}

const TEAM: &str = "tests/data/cli/team";

#[test]
fn explain_shows_why_and_the_way_to_an_allow() {
    for (name, case) in [
        ("explain-allowed", "tests/team.yaml#a pool of the team"),
        ("explain-deny", "team.yaml#prod stays"),
        ("explain-one", "team#a pool of others"),
        ("explain-two", "team#a pool of others from outside"),
        ("explain-ceiling", "team#a region of others"),
        ("explain-unknown", "team#nobody knows the tags"),
        ("explain-over-budget", "team#the fifty-first of an hour"),
    ] {
        golden(name, &["explain", "--policies", TEAM, "--case", case]);
    }
    let case = "team#a pool of others from outside";
    golden("explain-json", &["explain", "--policies", TEAM, "--case", case, "--format", "json"]);
}

#[test]
fn explain_says_which_cases_there_are() {
    golden("explain-no-case", &["explain", "--policies", TEAM, "--case", "team#nothing"]);
    for case in ["nowhere#nothing", "team"] {
        let ran = lychgate(&["explain", "--policies", TEAM, "--case", case]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(64), ""), "{case}");
    }
    let faulty = ["explain", "--policies", "tests/data/cli/faulty", "--case", "protect#prod stays"];
    assert_eq!(lychgate(&faulty).code, Some(3));
}

/// The suggestion, put into the case, is allowed: from the output of one run to the next.
#[test]
fn what_explain_suggests_is_allowed() {
    let from = "source_ip: 192.0.2.1, time: 2026-01-15T12:00:00Z}\n    job: {pool_id: [pool-c]";
    let to = "source_ip: 10.0.0.0, time: 2026-01-15T12:00:00Z}\n    job: {pool_id: [pool-a]";
    let directory = copied(TEAM);
    let suite = directory.path().join("tests/team.yaml");
    fs::write(&suite, fs::read_to_string(&suite).unwrap().replace(from, to)).unwrap();
    let case = "team#a pool of others from outside";
    let policies = directory.path().to_str().unwrap();
    let ran = lychgate(&["explain", "--policies", policies, "--case", case, "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["answer"]), (Some(0), &Value::from("allow")), "{}", ran.stdout);
    let before = ["explain", "--policies", TEAM, "--case", case, "--format", "json"];
    let report: Value = serde_json::from_str(&lychgate(&before).stdout).unwrap();
    let changes = report["way"]["changes"].as_array().unwrap();
    let values = changes.iter().map(|it| &it["to"]["values"][0]);
    assert_eq!(values.collect::<Vec<_>>(), ["pool-a", "10.0.0.0"]);
}

#[tokio::test]
async fn explain_looks_a_job_up_and_saves_it_as_a_case() {
    let gate = world::World::start().await;
    let path = |name: &str| gate.directory.path().join(name).to_str().unwrap().to_owned();
    let (config, suite) = (path("lychgate.yaml"), path("policies/tests/saved.yaml"));
    fs::create_dir(path("policies/tests")).unwrap();
    let explain =
        async |job: &'static str, more: &'static [&'static str], suite: Option<&String>| {
            let mut arguments: Vec<String> = ["explain", "--config", &config, "--project", PROJECT]
                .into_iter()
                .chain(["--job", job, "--as", "corp/alice", "--format", "json"])
                .chain(more.iter().copied())
                .map(str::to_owned)
                .collect();
            if let Some(suite) = suite {
                arguments.extend(["--save".to_owned(), suite.clone()]);
            }
            let run = move || lychgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            tokio::task::spawn_blocking(run).await.unwrap()
        };
    let who = &["--group", "ml-research", "--tag", "team=vision"];
    for (job, code, answer) in [(FINISHED, 0, "allow"), (PROTECTED, 2, "deny")] {
        let ran = explain(job, who, Some(&suite)).await;
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["answer"], answer);
    }
    // A token says the same of the caller as the options do.
    let token = gate.directory.path().join("token");
    fs::write(&token, gate.token("alice")).unwrap();
    let arguments: Vec<String> =
        ["explain", "--config", &config, "--project", PROJECT, "--job", FINISHED]
            .into_iter()
            .chain(["--token", token.to_str().unwrap(), "--format", "json"])
            .map(str::to_owned)
            .collect();
    let run = move || lychgate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    assert_eq!(report["principal"], "corp/alice", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    // What was saved is a suite that passes, and nothing was deleted.
    let policies = path("policies");
    let run = move || lychgate(&["test", "--policies", &policies, "--format", "json"]);
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let cases = report["cases"].as_array().unwrap();
    let saved = cases.iter().filter(|it| it["file"] == "tests/saved.yaml");
    let saved: Vec<_> = saved.map(|it| it["passed"] == true).collect();
    assert_eq!((saved, ran.code), (vec![true, true], Some(0)), "{}", ran.stdout);
    assert_eq!(explain(FINISHED, who, None).await.code, Some(0));

    let ran = explain(FINISHED, &["--group", "corp/ml-research"], None).await;
    assert!(
        ran.stderr.contains("write `ml-research` for the group corp/ml-research"),
        "{}",
        ran.stderr
    );

    let ran = explain(UNKNOWN, who, None).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("no such job"), "{}", ran.stderr);
    fs::write(&suite, "cases: []\n").unwrap();
    let ran = explain(FINISHED, who, Some(&suite)).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert_eq!(fs::read_to_string(&suite).unwrap(), "cases: []\n");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = lychgate(&["completions", shell]);
        assert_eq!(ran.code, Some(0), "{shell}");
        for word in ["explain", "--junit", "create"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(lychgate(&["completions", "cmd"]).code, Some(64));
}

#[test]
fn every_key_pair_is_new() {
    let create = || {
        let ran = lychgate(&["keys", "create", "--format", "json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let pair: Value = serde_json::from_str(&ran.stdout).unwrap();
        ["ak", "sk"].map(|it| pair[it].as_str().unwrap().to_owned())
    };
    let [[ak, sk], [other_ak, other_sk]] = [create(), create()];
    assert_eq!((ak.len(), sk.len()), (20, 40));
    assert!(ak != other_ak && sk != other_sk);
    let lines = lychgate(&["keys", "create"]).stdout;
    assert!(lines.starts_with("ak: ") && lines.contains("\nsk: "), "{}", lines.len());
}

#[test]
fn a_key_is_added_to_a_file_as_the_gate_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.yaml");
    let add = |more: &[&str]| {
        let file = path.to_str().unwrap();
        let fixed = ["keys", "create", "--add", file, "--principal"];
        lychgate(&[&fixed[..], more].concat())
    };
    let ran = add(&["cleanup", "--group", "jobs", "--tag", "team=vision"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(add(&["other"]).code, Some(0));
    let text = fs::read_to_string(&path).unwrap();
    let entry = text.lines().nth(1).unwrap().trim_start_matches("  - ");
    let entry: Value = serde_json::from_str(entry).unwrap();
    assert_eq!(entry["principal"], "cleanup");
    assert_eq!((&entry["groups"][0], &entry["tags"]["team"]), (&"jobs".into(), &"vision".into()));
    assert!(ran.stdout.contains(entry["ak"].as_str().unwrap()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    // Another list style, and what would not be a file of keys any more, stay as they are.
    for (text, principal) in [("keys: []\n", "x"), (text.as_str(), "a\u{202e}b"), ("x: 1\n", "x")] {
        fs::write(&path, text).unwrap();
        let ran = add(&[principal]);
        assert_eq!(ran.code, Some(1), "{text}");
        assert!(ran.stderr.contains("stays as it is"), "{}", ran.stderr);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
    for more in [&["--principal", "a\u{202e}b"][..], &["--principal", "p", "--group", "a\nb"]] {
        let ran = lychgate(&[&["keys", "create"], more].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{more:?}");
        assert!(ran.stderr.contains("the gate would not take this entry"), "{}", ran.stderr);
    }
    let printed = lychgate(&["keys", "create", "--principal", "p"]).stdout;
    assert!(printed.starts_with("  - {\"ak\":"), "an entry to paste");
}

#[test]
fn the_version_names_the_commit() {
    let said = lychgate(&["--version"]).stdout;
    let expected = concat!("lychgate ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(said.starts_with(expected) && said.ends_with(")\n"), "{said}");
}

#[tokio::test]
async fn health_asks_the_admin_listener() {
    let detail = || Some("version b refused, 1 error".to_owned());
    let check = |name, ok, counted, detail| Check { name, ok, counted, detail };
    let refused =
        [check("ledger", true, true, None), check("policies_current", false, false, detail())];
    let unready = [check("ledger", false, true, None), check("identity", false, true, detail())];
    // The checks, the arguments, whether it is well, and what is told.
    for (checks, arguments, is_well, words) in [
        (&unready, &[][..], true, &["ok\n"][..]),
        (&unready, &["--ready"], false, &["503", "\n  ledger\n", "\n  identity: version b"]),
        (&refused, &["--ready"], true, &["ok\n"]),
        (&refused, &["--ready", "--current"], false, &["\n  policies_current: version b refused"]),
    ] {
        let checks = checks.to_vec();
        let admin_routes = admin::admin(move || checks.clone(), |_| "# EOF\n".to_owned());
        let world = World::serve(admin_routes, limits()).await;
        // Of the addresses of a name, one answers.
        for host in ["127.0.0.1", "localhost"] {
            let admin = format!("{host}:{}", world.address.port());
            let ran = tokio::task::spawn_blocking(move || {
                lychgate(&[&["health", "--admin", &admin], arguments].concat())
            });
            let Ran { code, stdout, stderr } = ran.await.unwrap();
            assert_eq!(code, Some(i32::from(!is_well)), "{arguments:?}: {stderr}");
            let told = stdout + &stderr;
            assert!(words.iter().all(|it| told.contains(it)), "{arguments:?}: {told}");
        }
        world.stop().await;
    }
    // Nobody listens on port 1.
    assert_eq!(lychgate(&["health", "--admin", "127.0.0.1:1"]).code, Some(1));
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [
        &["check"][..],
        &["check", "--config", "a", "--policies", "b"],
        &["explain"],
        &["explain", "--policies", "policies"],
        &["explain", "--config", "lychgate.yaml", "--case", "a#b"],
        &["explain", "--config", "lychgate.yaml", "--project", "p", "--job", "j"],
        &["health", "--current"],
        &["test"],
        &["test", "--policies", "policies", "--format", "xml"],
    ] {
        assert_eq!(lychgate(arguments).code, Some(64), "{arguments:?}");
    }
}

/// A copy of a directory of policies of the repository.
fn copied(policies: &str) -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(policies);
    let directory = tempfile::tempdir().unwrap();
    for place in ["", "guardrails", "identity", "tests"] {
        fs::create_dir_all(directory.path().join(place)).unwrap();
        for entry in fs::read_dir(root.join(place)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, directory.path().join(from.strip_prefix(&root).unwrap())).unwrap();
            }
        }
    }
    directory
}

/// A copy of the shipped policies without one of its files, and without suites.
fn without(path: &str) -> tempfile::TempDir {
    let directory = copied("policies");
    fs::remove_file(directory.path().join(path)).unwrap();
    fs::remove_dir_all(directory.path().join("tests")).unwrap();
    directory
}

/// Every way in which a comparison can end, and its requests are cases that come out.
#[test]
fn diff_says_whether_more_is_allowed() {
    let wider = without("guardrails/finished.json");
    let wider = wider.path().to_str().unwrap();
    let unbudgeted = without("budgets.yaml");
    let unbudgeted = unbudgeted.path().to_str().unwrap();
    for (arguments, code, expected) in [
        (&["policies", "policies"][..], 0, "no new access\n"),
        (&["policies", wider], 4, "NEW ACCESS"),
        (&[wider, "policies"], 2, "no new access, "),
        (&[wider, wider, "--within", "policies"], 4, "beyond the envelope"),
        (&[wider, "policies", "--within", "policies"], 2, "nothing beyond the envelope"),
        (&["policies", wider, "--limit", "0"], 5, "UNDECIDED"),
        (&["policies", "tests/data/cli/faulty"], 3, ""),
        (&["policies", unbudgeted], 2, "budgets.yaml differs; its effect is not compared\n"),
        (&["policies", unbudgeted, "--format", "markdown"], 2, "- `budgets.yaml` differs; its"),
    ] {
        let ran = lychgate(&[&["diff"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(expected), "{arguments:?}\n{}", ran.stdout);
    }
    let ran = lychgate(&["diff", "policies", wider, "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let cases: Vec<_> = report["differences"].as_array().unwrap().iter().collect();
    assert!(cases.iter().any(|it| it["shift"] == "gained"), "{report:#}");
    let cases: String = cases.iter().map(|it| it["case"].as_str().unwrap()).collect();
    fs::create_dir(Path::new(wider).join("tests")).unwrap();
    fs::write(Path::new(wider).join("tests/found.yaml"), format!("cases:\n{cases}")).unwrap();
    let ran = lychgate(&["test", "--policies", wider]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(" 0 failed"), "{}", ran.stdout);
}

#[test]
fn who_can_names_everybody() {
    let job = "{owner: li_na, phase: Completed, name: a, pool_type: [public]}";
    let project = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
    let arguments = ["who-can", "--policies", "policies", "--project", project, "--job", job];
    let ran = lychgate(&[&arguments[..], &["--format", "json"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |target: &str| {
        let rows = report["receivers"].as_array().unwrap();
        rows.iter().find(|it| it["target"] == target).cloned().unwrap()
    };
    let owner = of("group:corp/ml-research");
    assert_eq!(owner["could"], "if", "{report:#}");
    assert_eq!(owner["keys"][0]["key"], "g:PrincipalTag/huawei_user", "{report:#}");
    assert_eq!(owner["keys"][0]["value"], "li_na", "{report:#}");
    assert_eq!(of("group:keys/jobs")["could"], "no", "{report:#}");
    let ran = lychgate(&arguments);
    assert!(ran.stdout.contains("g:PrincipalTag/huawei_user is `li_na`"), "{}", ran.stdout);
    let ran = lychgate(&["who-can", "--policies", "policies", "--job", "{colour: red}"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let ran = lychgate(&["who-can", "--policies", "policies"]);
    assert_eq!(ran.code, Some(64));
}
