//! `lychgate replay`, shadow policies and `lychgate audit shadow`, in a whole gate and as commands.

use crate::support::world::{FINISHED, PROJECT, PROTECTED, UNKNOWN, World, poll};

use futures_util::StreamExt;
use lychgate::clock::Clock;
use lychgate::emulator::Job;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use uuid::Uuid;

/// Exit code, stdout, stderr.
fn run(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lychgate")).args(arguments).args(paths).output().unwrap();
    let text = |it| String::from_utf8(it).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The shipped policies without the file `left_out`.
fn candidate(left_out: Option<&str>) -> TempDir {
    let res = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), res.path());
    // The suites speak of what is left out.
    fs::remove_dir_all(res.path().join("tests")).unwrap();
    if let Some(left_out) = left_out {
        fs::remove_file(res.path().join(left_out)).unwrap();
    }
    res
}

fn ledger(world: &World) -> PathBuf {
    world.directory.path().join("ledger")
}

/// Three requests, whose answers are allow, a Deny of the guardrails, and none.
async fn ask(world: &World) {
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert_eq!(world.delete("alice", PROTECTED).await.status, 403);
    assert_eq!(world.delete("carol", PROTECTED).await.status, 403);
    poll(|| Some(()).filter(|()| world.records("outcome").len() == 3)).await;
}

#[tokio::test]
async fn a_change_is_shown_before_it_is_made() {
    let world = World::start().await;
    ask(&world).await;
    let ledger = ledger(&world);
    let replay = |policies: &Path, more: &[&str]| {
        let policies = policies.to_str().unwrap();
        run(&[&["replay", "--policies", policies], more].concat(), &[&ledger])
    };

    let same = candidate(None);
    let (exit, out, err) = replay(same.path(), &[]);
    assert!(exit == 0 && out.starts_with("3 decisions: 3 the same, 0 different\n"), "{out}{err}");
    assert!(out.contains("Not in any ledger"), "{out}");

    let wider = candidate(Some("guardrails/protect.json"));
    let (exit, out, _) = replay(wider.path(), &["--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let found = &report["differences"][0];
    assert_eq!((exit, &found["class"], &found["count"]), (4, &json!("gained"), &json!(1)), "{out}");
    assert_eq!(found["was"], json!({"answer": "deny", "by": "guardrails/protect#NoProd"}));
    assert_eq!(found["principals"], json!({"corp/alice": 1}));
    let statement = found["statement"].as_str().unwrap();

    // Its example is a case that the candidate meets.
    let cases = wider.path().join("tests");
    let (exit, ..) = replay(wider.path(), &["--write-cases", cases.to_str().unwrap()]);
    assert_eq!(exit, 4);
    let (exit, out, err) = run(&["test", "--policies"], &[wider.path()]);
    assert!(exit == 0 && out.contains("1 case"), "{out}{err}");

    let file = wider.path().join("attachments.yaml");
    let (exit, _, err) = replay(wider.path(), &["--write-cases", file.to_str().unwrap()]);
    assert!(exit == 1 && err.contains("attachments.yaml: "), "{err}");

    let (_, out, _) = replay(wider.path(), &["--format", "markdown"]);
    assert!(out.contains("| gained |") && out.contains("```yaml"), "{out}");

    let accept = wider.path().join("accept.txt");
    let accepted = format!("{{class: gained, statement: '{statement}', reason: wanted}}");
    let idle = "{class: revoked, statement: none, reason: wanted}";
    for (list, expected) in [
        (format!("accept: [{accepted}]"), 0),
        (format!("accept: [{accepted}, {idle}]"), 2),
        (format!("accept: [{idle}]"), 4),
        ("accept: [{class: gained}]".to_owned(), 3),
    ] {
        let kept = tempfile::tempdir().unwrap();
        let accept = kept.path().join(accept.file_name().unwrap());
        fs::write(&accept, &list).unwrap();
        let (exit, out, err) = replay(wider.path(), &["--accept", accept.to_str().unwrap()]);
        assert_eq!(exit, expected, "{list}\n{out}{err}");
    }
    // Comments only, and endless: bounded like every other file.
    let kept = tempfile::tempdir().unwrap();
    let long = kept.path().join("accept.txt");
    fs::write(&long, "#\n".repeat(1024 * 1024)).unwrap();
    for path in [&long, Path::new("/dev/zero")] {
        let (exit, _, err) = replay(wider.path(), &["--accept", path.to_str().unwrap()]);
        let told = ["larger than", "not a regular file"].iter().any(|it| err.contains(it));
        assert!(exit == 3 && told, "{err}");
    }

    let narrower = candidate(Some("identity/own-jobs.json"));
    fs::write(
        narrower.path().join("attachments.yaml"),
        "- {to: ['user:corp/nobody'], policies: [break-glass]}\n",
    )
    .unwrap();
    let (exit, out, err) = replay(narrower.path(), &[]);
    assert!(exit == 2 && out.contains("revoked"), "{out}{err}");
    let (exit, ..) = replay(&narrower.path().join("nowhere"), &[]);
    assert_eq!(exit, 3);
    let (exit, out, _) = replay(narrower.path(), &["--since", "2100-01-01"]);
    assert!(exit == 5 && out.starts_with("0 decisions"), "nothing is not the same: {out}");
}

/// The shipped policies with a budget of so many deletes.
fn budget(deletes: u32) -> TempDir {
    let res = candidate(None);
    let budget = format!("{{name: person, per: principal, deletes: {deletes}, within: 1h}}");
    fs::write(res.path().join("budgets.yaml"), format!("budgets: [{budget}]\n")).unwrap();
    res
}

/// A budget that is spent in a whole gate, and what larger and smaller ones would have done.
#[tokio::test]
async fn a_change_of_a_budget_is_shown_before_it_is_made() {
    let in_force = budget(2);
    let policies = format!("{{directory: {:?}}}", in_force.path());
    let world = World::builder().config("{directory: policies}", &policies).start().await;
    for status in [202, 202, 429] {
        let id = Uuid::new_v4().to_string();
        let job = Job::new(PROJECT, &id, "n", Clock::system().now());
        world.emulator.insert(job.with_phase("Completed").with_owner("alice"));
        assert_eq!(world.delete("alice", &id).await.status, status);
    }
    poll(|| Some(()).filter(|()| world.records("outcome").len() == 3)).await;
    let replay = |policies: &TempDir, more: &[&str]| {
        let policies = policies.path().to_str().unwrap();
        run(&[&["replay", "--policies", policies], more].concat(), &[&ledger(&world)])
    };
    let person = "budgets#person";
    let accepted = format!("accept: [{{class: gained, statement: '{person}', reason: wanted}}]");
    let accept = world.directory.path().join("accept.yaml");
    fs::write(&accept, accepted).unwrap();
    let accept = ["--accept", accept.to_str().unwrap()];
    for (deletes, more, exit, found) in [
        (2, [].as_slice(), 0, None),
        (3, &[], 4, Some("gained")),
        (3, &accept, 0, Some("gained")),
        (1, &[], 2, Some("revoked")),
        (3, &["--budgets", "recorded"], 0, None),
        (1, &["--budgets", "recorded"], 0, None),
    ] {
        let more = [&["--format", "json"], more].concat();
        let (code, out, err) = replay(&budget(deletes), &more);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        let differences = report["differences"].as_array().unwrap();
        let said = |it: &Value| (it["class"].clone(), it["statement"].clone(), it["count"].clone());
        let expected = found.map(|class| (json!(class), json!(person), json!(1)));
        let differences: Vec<_> = differences.iter().map(said).collect();
        assert_eq!((code, differences), (exit, Vec::from_iter(expected)), "{deletes} {more:?}");
    }

    // The example of what a budget denies is a case that the candidate meets.
    let smaller = budget(1);
    let cases = smaller.path().join("tests");
    let (_, out, _) = replay(&smaller, &["--write-cases", cases.to_str().unwrap()]);
    assert!(out.contains("would be deny by budgets#person"), "{out}");
    let (exit, out, err) = run(&["test", "--policies"], &[smaller.path()]);
    assert!(exit == 0 && out.contains("1 case"), "{out}{err}");
    // A part of one delete for each of two gates is none.
    let (exit, _, err) = replay(&smaller, &["--replicas", "2"]);
    assert!(exit == 3 && err.contains("budgets.yaml"), "{err}");
}

/// With the facts and the policies of then, whatever the policies say now.
#[tokio::test]
async fn what_was_decided_is_explained_from_the_ledger() {
    let world = World::start().await;
    ask(&world).await;
    let ledger = ledger(&world);
    for (at, code, answer) in [(0, 0, "allow"), (1, 2, "deny"), (2, 2, "deny")] {
        let decision = &world.records("decision")[at];
        for id in ["request_id", "trace_id"] {
            let id = decision[id].as_str().unwrap();
            let arguments = ["explain", "--request-id", id, "--format", "json", "--ledger"];
            let (exit, out, err) = run(&arguments, &[&ledger]);
            let report: Value = serde_json::from_str(&out).unwrap_or_default();
            assert_eq!((exit, &report[0]["answer"]), (code, &json!(answer)), "{out}{err}");
            assert_eq!(report[0]["principal"], decision["principal"]);
        }
    }
    let id = world.records("decision")[1]["request_id"].as_str().unwrap().to_owned();
    let (_, out, _) = run(&["explain", "--request-id", &id, "--ledger"], &[&ledger]);
    assert!(out.contains("denied by guardrails/protect#NoProd"), "{out}");
    let (exit, _, err) = run(&["explain", "--request-id", "none", "--ledger"], &[&ledger]);
    assert!(exit == 1 && err.contains("no decision about the request none"), "{err}");
    let nowhere = Path::new("nowhere");
    let (exit, _, err) = run(&["explain", "--request-id", &id, "--ledger"], &[nowhere]);
    assert!(exit == 1 && err.starts_with("error: nowhere: "), "{err}");
}

/// One edited line is refused, with its place.
#[tokio::test]
async fn a_ledger_that_was_edited_is_not_replayed() {
    let world = World::start().await;
    ask(&world).await;
    let edited = tempfile::tempdir().unwrap();
    let name = "00000000000000000001.jsonl";
    let text = fs::read_to_string(ledger(&world).join(name)).unwrap();
    fs::write(edited.path().join(name), text.replacen("corp/alice", "corp/mallo", 1)).unwrap();
    let policies = candidate(None);
    for command in
        [vec!["replay", "--policies", policies.path().to_str().unwrap()], vec!["audit", "shadow"]]
    {
        let (exit, out, err) = run(&command, &[edited.path()]);
        assert_eq!((exit, out.as_str()), (1, ""), "{command:?}");
        assert!(err.contains(&format!("{name}:2: the line was changed")), "{command:?}: {err}");
    }
}

/// What the shadow said in the records is what a replay of the same ledger says, and the counters.
#[tokio::test]
async fn a_shadow_says_what_a_replay_says_and_decides_nothing() {
    let wider = candidate(Some("guardrails/protect.json"));
    let shadow = format!("{{directory: policies, shadow: {{directory: {:?}}}}}", wider.path());
    let world = World::builder().config("{directory: policies}", &shadow).start().await;
    ask(&world).await;
    assert!(world.emulator.exists(PROTECTED), "the shadow decides nothing");

    let said: Vec<_> =
        world.records("decision").iter().map(|it| it["shadow"]["result"].clone()).collect();
    assert_eq!(said, [json!("allow"), json!("allow"), json!("deny")]);
    let policies = wider.path().to_str().unwrap();
    let json = ["--format", "json"];
    let replay = ["replay", "--policies", policies, "--budgets", "recorded"];
    let replayed = run(&[&replay[..], &json].concat(), &[&ledger(&world)]);
    let shadowed = run(&[&["audit", "shadow"][..], &json].concat(), &[&ledger(&world)]);
    assert_eq!((replayed.0, shadowed.0), (4, 4), "{}{}", replayed.2, shadowed.2);
    let [replayed, shadowed] =
        [replayed.1, shadowed.1].map(|it| serde_json::from_str::<Value>(&it).unwrap());
    assert_eq!(replayed["differences"], shadowed["differences"]);
    // A copy of a ledger has the same decisions.
    let again = tempfile::tempdir().unwrap();
    copy(&ledger(&world), again.path());
    for (command, alone) in [(&replay[..], &replayed), (&["audit", "shadow"], &shadowed)] {
        let (_, both, _) = run(&[command, &json].concat(), &[&ledger(&world), again.path()]);
        assert_eq!(serde_json::from_str::<Value>(&both).unwrap(), *alone, "{command:?}");
    }

    let metrics = world.metrics().await;
    for (live, shadow, count) in [("allow", "allow", 1), ("deny", "allow", 1), ("deny", "deny", 1)]
    {
        let series = format!(
            "lychgate_shadow_decisions_total{{live=\"{live}\",shadow=\"{shadow}\"}} {count}\n"
        );
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
    assert!(metrics.contains("lychgate_shadow_policy_load_ok 1\n"));
}

/// How often each pair of answers was counted.
fn counted(metrics: &str) -> BTreeMap<(String, String), u64> {
    let mut res = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("lychgate_shadow_decisions_total{live=\"") else {
            continue;
        };
        let (live, rest) = rest.split_once("\",shadow=\"").unwrap();
        let (shadow, count) = rest.split_once("\"} ").unwrap();
        let count = count.parse().unwrap();
        if 0 < count {
            res.insert((live.to_owned(), shadow.to_owned()), count);
        }
    }
    res
}

/// Under load, with a candidate that allows more here and less there, and budgets that are used up:
/// the counters, the records and a replay say the same.
#[tokio::test(flavor = "multi_thread")]
async fn shadow_counters_of_a_run_under_load_equal_a_replay_of_its_ledger() {
    const EACH: usize = 40;
    let candidate = candidate(Some("guardrails/protect.json"));
    // Only people of nlp keep what they had.
    let attachments = fs::read_to_string(candidate.path().join("attachments.yaml")).unwrap();
    let fewer = attachments.replace("[group:corp/ml-research, group:corp/nlp", "[group:corp/nlp");
    fs::write(candidate.path().join("attachments.yaml"), fewer).unwrap();
    let shadow = format!("{{directory: policies, shadow: {{directory: {:?}}}}}", candidate.path());
    let world = World::builder().config("{directory: policies}", &shadow).start().await;
    let requests = (0..EACH).flat_map(|_| {
        let people = ["alice", "bob", "carol"];
        people.into_iter().flat_map(|it| [FINISHED, PROTECTED, UNKNOWN].map(|job| (it, job)))
    });
    let sent = requests.map(|(name, job)| world.delete(name, job));
    futures_util::stream::iter(sent).buffer_unordered(16).for_each(async |_| ()).await;
    let decisions = world.records("decision").len();
    poll(|| Some(()).filter(|()| world.records("outcome").len() == decisions)).await;

    let metrics = counted(&world.metrics().await);
    let (ledger, policies) = (ledger(&world), candidate.path().to_str().unwrap());
    let json = |command: &[&str]| {
        let (_, out, err) = run(&[command, &["--format", "json"]].concat(), &[&ledger]);
        serde_json::from_str::<Value>(&out).unwrap_or_else(|_| panic!("{out}{err}"))
    };
    // A shadow is asked for no budget.
    let replayed = json(&["replay", "--policies", policies, "--budgets", "recorded"]);
    let shadowed = json(&["audit", "shadow"]);
    for member in ["decisions", "same", "differences"] {
        assert_eq!(replayed[member], shadowed[member], "{member}");
    }
    // By its own policies nothing differs.
    let own = candidate_of(&world);
    let own = json(&["replay", "--policies", own.path().to_str().unwrap()]);
    assert_eq!((&own["decisions"], &own["same"]), (&json!(decisions), &json!(decisions)));

    let mut classes = BTreeMap::<&str, u64>::new();
    for it in replayed["differences"].as_array().unwrap() {
        *classes.entry(it["class"].as_str().unwrap()).or_default() += it["count"].as_u64().unwrap();
    }
    let mut counters = BTreeMap::<&str, u64>::new();
    for ((live, shadow), count) in &metrics {
        let class = match (live.as_str(), shadow.as_str()) {
            ("deny", "allow") => "gained",
            ("indeterminate", "allow") => "gained_blind",
            ("allow", "deny") => "revoked",
            ("indeterminate", "deny") => "cleared",
            ("allow" | "deny", "indeterminate") => "stalled",
            (live, shadow) if live == shadow => "same",
            other => panic!("{other:?}"),
        };
        *counters.entry(class).or_default() += count;
    }
    let same = counters.remove("same").unwrap_or(0);
    assert_eq!((&json!(same), classes), (&replayed["same"], counters), "{metrics:?}");
    assert_eq!(metrics.values().sum::<u64>(), u64::try_from(decisions).unwrap());
    // Beyond its rate a principal is not recorded.
    assert!(EACH < decisions && 4 <= metrics.len(), "{decisions} decisions: {metrics:?}");
}

/// The policies that the world has in force.
fn candidate_of(world: &World) -> TempDir {
    let res = tempfile::tempdir().unwrap();
    copy(&world.directory.path().join("policies"), res.path());
    res
}

/// A candidate is looked at with the same limits as the policies in force: a budget that is too small
/// for so many replicas is refused here and there.
#[tokio::test]
async fn a_candidate_is_loaded_with_the_checks_of_those_in_force() {
    let small = candidate(None);
    let budgets = "budgets:\n  - {name: few, per: principal, deletes: 2, within: 1h}\n";
    fs::write(small.path().join("budgets.yaml"), budgets).unwrap();
    let shadow = format!(
        "{{directory: policies, shadow: {{directory: {:?}}}}}\nbudgets: {{replicas: 3}}",
        small.path()
    );
    let world = World::builder().config("{directory: policies}", &shadow).start().await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert_eq!(world.records("decision")[0]["shadow"]["error"], "not_loaded");
    assert!(world.metrics().await.contains("lychgate_shadow_policy_load_ok 0\n"));
}

/// A candidate that cannot be loaded is an error everywhere and "same" nowhere, and one that
/// wants what nobody asked for is asked nothing.
#[tokio::test]
async fn a_shadow_that_cannot_be_asked_is_an_error_and_changes_nothing() {
    let broken = candidate(Some("identity/own-jobs.json"));
    let blind = candidate(None);
    // A Deny by an attribute keeps a request that the policies in force decide without look-ups.
    fs::write(
        blind.path().join("guardrails/kind.json"),
        r#"{"Version": "5.0", "Statement": [{"Sid": "ByOwner", "Effect": "Allow",
            "Action": ["modelarts:trainJob:delete"],
            "Condition": {"StringEquals": {"lychgate:jobOwner": ["nobody"]}}}]}"#,
    )
    .unwrap();
    fs::write(blind.path().join("attachments.yaml"), "- {to: [any], policies: [break-glass]}\n")
        .unwrap();
    for (directory, error, exit) in
        [(broken.path(), "not_loaded", 5), (blind.path(), "needs_details_and_tags", 5)]
    {
        let shadow = format!("{{directory: policies, shadow: {{directory: {directory:?}}}}}");
        let world = World::builder().config("{directory: policies}", &shadow).start().await;
        assert_eq!(world.delete("carol", PROTECTED).await.status, 403, "{error}");
        assert_eq!(world.emulator.counts().details, 0, "nothing is looked up for the shadow");
        let decision = &world.records("decision")[0];
        assert_eq!(decision["result"], "deny");
        assert_eq!(decision["shadow"]["error"], error, "{decision}");
        assert_eq!(decision["shadow"]["result"], Value::Null);
        let word = if error == "not_loaded" { "not_loaded" } else { "needs" };
        let counted = counted(&world.metrics().await);
        let expected = BTreeMap::from([(("deny".to_owned(), word.to_owned()), 1)]);
        assert_eq!(counted, expected, "it is counted as nothing else");
        let (code, out, err) = run(&["audit", "shadow"], &[&ledger(&world)]);
        assert_eq!(code, exit, "{out}{err}");
        assert!(out.contains(": 0 the same, 1 different") && out.contains(error), "{out}");
    }
}
