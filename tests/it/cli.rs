//! The commands for policy authors, run as they run them: the real binary on real directories.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every directory of policies that is shipped.
const SHIPPED: [&str; 2] = ["policies", "examples/policies"];

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the command line from the root of the repository.
fn lychgate(arguments: &[&str]) -> Ran {
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

/// Compares exit code and both streams with the golden file of this name.
#[track_caller]
fn golden(name: &str, arguments: &[&str]) {
    let Ran { code, stdout, stderr } = lychgate(arguments);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../data/cli");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let command = arguments.join(" ");
    let text = format!("lychgate {command}\nexit code {code:?}\n\n{stdout}--- stderr\n{stderr}");
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
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../data/cli");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("junit", fs::read_to_string(&path).unwrap()));
    let nowhere = Path::new("tests/data/cli/nowhere/junit.xml").to_str().unwrap();
    let ran = lychgate(&["test", "--policies", "tests/data/cli/team", "--junit", nowhere]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("cannot write"), "{}", ran.stderr);
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [
        &["check"][..],
        &["check", "--config", "a", "--policies", "b"],
        &["test"],
        &["test", "--policies", "policies", "--format", "xml"],
    ] {
        assert_eq!(lychgate(arguments).code, Some(64), "{arguments:?}");
    }
}
