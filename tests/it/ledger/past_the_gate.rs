//! What goes past the gate: the calls that do, the policy that stops them, and the trail that tells.

use crate::house::cli::lychgate;
use crate::house::config_docs::assert_current;
use crate::support::world::{CLOUD_AK, FINISHED, PROTECTED, World};

use jiff::SignedDuration;
use lychgate::clock::Clock;
use lychgate::emulator;
use lychgate::emulator::{Bypass, Emulator};
use lychgate::policy::{
    Action, Answer, Attribute, Attributes, Files, Job, Limits, Method, Principal, Query, Set,
};
use lychgate::reconcile::{CALLS, Harm, actions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The action of a single delete.
const ACTION: &str = "modelarts:trainJob:delete";

const INSTALL: &str = "docs/install.md";
const CALLS_BEGIN: &str = "LYCHGATE_ACCEPT=1 cargo test --test it past_the_gate -->\n";
const CALLS_END: &str = "<!-- /calls -->";

#[test]
fn the_calls_are_listed_where_people_lock_them() {
    let mut table =
        "\n| call | what it does | action | alias | denied by |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for it in CALLS {
        let alias = it.alias.map(|it| format!("`{it}`")).unwrap_or_default();
        let by = if it.harm == Harm::Loosen { "`--tags`" } else { "`lockdown`" };
        let call = format!("`{}`", it.request);
        table += &format!("| {call} | {} | `{}` | {alias} | {by} |\n", it.effect, it.action);
    }
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(INSTALL)).unwrap();
    let (before, rest) = document.split_once(CALLS_BEGIN).unwrap();
    let (_, after) = rest.split_once(CALLS_END).unwrap();
    assert_current(INSTALL, &format!("{before}{CALLS_BEGIN}{table}\n{CALLS_END}{after}"));
}

/// What the gate's engine says to a delete by `name` of the identity source `corp`, under the
/// guardrail `document` and an identity policy that allows everything.
fn judge(document: &Value, name: &str) -> Answer {
    let allow = json!({"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": [ACTION]}]});
    let attachments = "- to: [any]\n  projects: [0a1b]\n  policies: [all]\n";
    let files = Files::from_iter([
        ("attachments.yaml", attachments.as_bytes().to_vec()),
        ("guardrails/lockdown.json", document.to_string().into_bytes()),
        ("identity/all.json", allow.to_string().into_bytes()),
    ]);
    let set = Set::compile(&files, &Limits::default()).set.unwrap();
    let principal = Principal::new("corp", name, Vec::new(), BTreeMap::new(), Method::Jwt);
    let query = Query {
        principal: Arc::new(principal),
        action: Action::Delete,
        job: Arc::new(Job::new("0a1b", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-03-01T00:00:00Z".parse().unwrap(),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    };
    set.evaluate(&query, &Attributes::default()).answer()
}

/// The engine knows one action; each of the document's takes its place in turn.
#[test]
fn the_lock_denies_each_call_to_everybody_but_the_gate() {
    for (extra, loosen) in [([].as_slice(), false), (&["--tags"], true)] {
        for format in ["scp", "identity"] {
            let gates =
                ["sts::123:external-user:corp/gate", "sts::123:external-user:corp/agency/*"];
            let mut arguments = vec!["lockdown", "--format", format];
            arguments.extend(gates.iter().flat_map(|it| ["--principal", it]));
            arguments.extend(extra);
            let ran = lychgate(&arguments);
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            let policy: Value = serde_json::from_str(&ran.stdout).unwrap();
            let listed = actions(loosen);
            assert_eq!(policy["Statement"][0]["Action"], json!(listed));
            assert_eq!(policy["Statement"][0].get("Resource").is_some(), format == "scp");
            for chosen in &listed {
                let put = |place: &[&str]| {
                    let others = listed.iter().filter(|it| *it != chosen && **it != ACTION);
                    let mut policy = policy.clone();
                    policy["Statement"][0]["Action"] =
                        json!(others.chain(place).collect::<Vec<_>>());
                    policy
                };
                for (name, expected) in [
                    ("gate", Answer::Allow),
                    ("agency/session", Answer::Allow),
                    ("gate2", Answer::Deny),
                    ("agency2/session", Answer::Deny),
                    ("alice", Answer::Deny),
                ] {
                    assert_eq!(judge(&put(&[ACTION]), name), expected, "{chosen} {name}");
                    assert_eq!(
                        judge(&put(&[]), name),
                        Answer::Allow,
                        "without it: {chosen} {name}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_lock_is_checked_and_fits() {
    let gate = "iam::0123456789abcdef0123456789abcdef:user:lychgate";
    let ran = lychgate(&["lockdown", "--tags", "--principal", gate]);
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("guardrails/lockdown.json", ran.stdout.as_str()),
        (
            "identity/all.json",
            r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["*"]}]}"#,
        ),
        ("attachments.yaml", "- to: [any]\n  projects: [0a1b]\n  policies: [all]\n"),
    ] {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let policies = directory.path().to_str().unwrap();
    let ran = lychgate(&["check", "--policies", policies]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let many: Vec<_> = (0..100).map(|it| format!("{gate}{it}")).collect();
    let lock = |count: usize| {
        let arguments = many.iter().take(count).flat_map(|it| ["--principal", it.as_str()]);
        lychgate(&["lockdown"].into_iter().chain(arguments).collect::<Vec<_>>())
    };
    for count in (50..100).step_by(5) {
        let ran = lock(count);
        let fits = ran.code == Some(0) && ran.stdout.trim_end().chars().count() <= 5120;
        assert!(fits || ran.code == Some(3), "{count}: as it is printed");
    }
    let ran = lock(100);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    assert!(ran.stderr.contains("5120 characters"));
}

/// A gate, a cloud, and everybody who goes round the gate.
#[tokio::test]
async fn the_trail_tells_who_walked_round_the_gate() {
    let world = World::start().await;
    let of_running = "a94f0b17-6c2d-4e83-9f51-08d7b3e6c24a".to_owned();
    let of_nlp = "2b7c54a9-e016-4d8f-9372-c4f80e6b1ad5".to_owned();
    let old = "1d95e7b4-0f8a-4263-b6cd-a72c3e9054f8".to_owned();
    let mallory = "mallory".to_owned();
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert_eq!(world.delete("alice", PROTECTED).await.status, 403);
    let matched = BTreeMap::from([("matched".to_owned(), 1)]);
    assert_eq!(reconcile(&world), (matched, 0, Some(0)));
    for (how, class) in [
        (Bypass::Ageing { job: old }, "system"),
        (Bypass::Console { job: of_running, user: mallory.clone() }, "console"),
        (Bypass::Key { job: of_nlp, access_key: CLOUD_AK.to_owned() }, "gate_key"),
        (Bypass::Console { job: PROTECTED.to_owned(), user: mallory }, "denied_here"),
    ] {
        let (before, bypasses, _) = reconcile(&world);
        assert!(world.emulator.bypass(&how) && !world.emulator.bypass(&how), "{how:?}");
        let mut expected = before;
        expected.insert(class.to_owned(), 1);
        let bypasses = bypasses + u64::from(class != "system");
        let exit = if bypasses == 0 { 0 } else { 2 };
        assert_eq!(reconcile(&world), (expected, bypasses, Some(exit)), "{how:?}");
    }
}

/// How many of each class there are, how many bypasses the metrics tell, and the exit code.
fn reconcile(world: &World) -> (BTreeMap<String, u64>, u64, Option<i32>) {
    let directory = world.directory.path();
    let (trail, metrics) = (directory.join("trail.json"), directory.join("reconcile.prom"));
    let later = Clock::system().now() + SignedDuration::from_hours(1);
    fs::write(&trail, json!(world.emulator.trail(later)).to_string()).unwrap();
    let (trail, ledger) = (trail.to_str().unwrap(), directory.join("ledger"));
    let ran = lychgate(&[
        "audit",
        "reconcile",
        "--complete",
        "--lateness",
        "0s",
        "--format",
        "json",
        "--trail",
        trail,
        "--metrics",
        metrics.to_str().unwrap(),
        ledger.to_str().unwrap(),
    ]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let classes: BTreeMap<String, u64> = serde_json::from_value(report["classes"].clone()).unwrap();
    let found = classes.into_iter().filter(|(_, count)| *count != 0).collect();
    let metrics = fs::read_to_string(metrics).unwrap();
    let without_value = |it: &str| match it.rsplit_once(' ') {
        Some((name, _)) if !it.starts_with('#') => format!("{name} 0\n"),
        _ => format!("{it}\n"),
    };
    assert_current(
        "tests/data/reconcile.prom",
        &metrics.lines().map(without_value).collect::<String>(),
    );
    let mut told = metrics.lines().filter_map(|it| it.strip_prefix("lychgate_reconcile_bypasses "));
    (found, told.next().unwrap().parse().unwrap(), ran.code)
}

#[tokio::test]
async fn a_trail_comes_late() {
    let clock = Clock::manual("2026-03-01T00:00:00Z".parse().unwrap());
    let mut config = emulator::Config::new(Vec::new());
    config.clock = clock.clone();
    config.trail_delay = SignedDuration::from_mins(5);
    let emulator = Emulator::start(config).await.unwrap();
    let jobs = emulator::sample::jobs(clock.now());
    jobs.into_iter().for_each(|it| emulator.insert(it));
    let how = Bypass::Console { job: FINISHED.to_owned(), user: "mallory".to_owned() };
    assert!(emulator.bypass(&how));
    for (seconds, records) in [(0, 0), (299, 0), (300, 1), (302, 2)] {
        let now = clock.now() + SignedDuration::from_secs(seconds);
        assert_eq!(emulator.trail(now).len(), records, "{seconds}");
    }
}
