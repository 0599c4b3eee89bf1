//! `lychgate audit` as an auditor runs it: the program, its exit codes, what it prints where.

use crate::world::FINISHED;
use crate::world::PROJECT;
use crate::world::PROTECTED;
use crate::world::World;
use crate::world::poll;

use lychgate::emulator::Effect;
use lychgate::emulator::Fault;
use lychgate::emulator::Operation;
use lychgate::emulator::Reset;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Exit code, stdout, stderr.
struct Ran {
    exit: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
    }
}

fn audit(arguments: &[&str], directories: &[&Path]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .arg("audit")
        .args(arguments)
        .args(directories)
        .output()
        .unwrap();
    Ran {
        exit: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn ledger(world: &World) -> std::path::PathBuf {
    world.directory.path().join("ledger")
}

/// A gate that runs, with an allowed, two denied and an unsettled delete in its ledger.
async fn world() -> World {
    let world = World::start().await;
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert_eq!(world.delete("alice", PROTECTED).await.status, 403);
    assert_eq!(world.delete("carol", PROTECTED).await.status, 403);
    let reset = Effect::Reset { when: Reset::Arrived };
    world.emulator.fault(Fault::new(reset).at(Operation::Delete).times(1));
    assert_eq!(world.delete("dave", PROTECTED).await.status, 504);
    poll(|| Some(()).filter(|()| world.records("outcome").len() == 4)).await;
    world
}

#[tokio::test]
async fn a_ledger_that_is_written_to_can_be_read() {
    let world = world().await;
    let directory = ledger(&world);
    let ran = audit(&["verify"], &[&directory]);
    assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("records 1 to 9 are whole (4 decision, 4 outcome, 1 policies)"));
    let ran = audit(&["verify", "--format", "json"], &[&directory]);
    assert_eq!(ran.json()[0]["records"]["decision"], 4);

    let ran = audit(&["pending", "--format", "json"], &[&directory]);
    let pending = ran.json();
    assert_eq!((ran.exit, pending.len()), (0, 1), "{}", ran.out);
    assert_eq!(pending[0]["principal"], "corp/dave");
    assert_eq!(pending[0]["unknown"], true);
    assert!(audit(&["pending"], &[&directory]).out.contains("sent, effect unknown"));

    let ran = audit(&["stats", "--format", "json"], &[&directory]);
    let stats = &ran.json()[0];
    assert_eq!(stats["decisions"]["allow"], 2);
    assert_eq!(stats["decisions"]["deny explicit_deny"], 1);
    assert_eq!(stats["decisions"]["deny nothing_allows"], 1);
    assert_eq!(stats["endings"]["denied"], 2);
    assert_eq!(stats["principals"]["corp/alice"]["allow"], 1);
    assert_eq!(stats["records"], 9);
    let text = audit(&["stats"], &[&directory]).out;
    assert!(text.contains("deny nothing_allows  1\n"), "{text}");
}

#[tokio::test]
async fn show_finds_what_is_asked_for() {
    let world = world().await;
    let directory = ledger(&world);
    for (filter, found) in [
        (vec![], vec!["corp/alice", "corp/alice", "corp/carol", "corp/dave"]),
        (vec!["--principal", "corp/alice"], vec!["corp/alice", "corp/alice"]),
        (vec!["--principal", "alice"], vec![]),
        (vec!["--job", FINISHED], vec!["corp/alice"]),
        (vec!["--decision", "deny"], vec!["corp/alice", "corp/carol"]),
        (vec!["--decision", "indeterminate"], vec![]),
        (vec!["--project", PROJECT, "--decision", "allow"], vec!["corp/alice", "corp/dave"]),
        (vec!["--project", "other"], vec![]),
        (vec!["--since", "2020-01-01", "--principal", "corp/dave"], vec!["corp/dave"]),
        (vec!["--until", "2020-01-01"], vec![]),
    ] {
        let arguments = [vec!["show", "--format", "json"], filter.clone()].concat();
        let ran = audit(&arguments, &[&directory]);
        assert_eq!((ran.exit, ran.err.as_str()), (0, ""), "{filter:?}");
        let rows = ran.json();
        let principals: Vec<_> = rows.iter().map(|it| it["principal"].as_str().unwrap()).collect();
        assert_eq!(principals, found, "{filter:?}");
    }
    let ran = audit(&["show", "--format", "json", "--job", FINISHED], &[&directory]);
    let row = &ran.json()[0];
    assert_eq!((&row["result"], &row["outcome"]["result"]), (&"allow".into(), &"sent".into()));
    assert_eq!(row["outcome"]["status"], 202);
    assert!(row["settlement"].is_null());
    // Everything that was judged by is there.
    assert_eq!(row["attributes"]["tags"]["value"]["team"], "vision");

    let csv = audit(&["show", "--format", "csv"], &[&directory]).out;
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().starts_with("time,ledger_id,seq,"));
    assert!(lines.next().unwrap().ends_with(",sent,202"));
    let table = audit(&["show"], &[&directory]).out;
    let row = table.lines().find(|it| it.contains("corp/dave")).unwrap();
    assert!(row.contains("allow") && row.contains("unknown"), "{row}");
}

#[tokio::test]
async fn several_ledgers_are_one_story() {
    let (first, second) = (World::start().await, World::start().await);
    // Taking turns, so that no order of directories is the order of time.
    for (world, name) in [(&first, "alice"), (&second, "bob"), (&first, "carol")] {
        assert_eq!(world.delete(name, PROTECTED).await.status, 403);
    }
    let (one, two) = (ledger(&first), ledger(&second));
    for directories in [[&*one, &*two], [&*two, &*one]] {
        let ran = audit(&["show", "--format", "json"], &directories);
        let rows = ran.json();
        let principals: Vec<_> = rows.iter().map(|it| it["principal"].as_str().unwrap()).collect();
        assert_eq!(principals, ["corp/alice", "corp/bob", "corp/carol"]);
        assert_eq!(audit(&["verify"], &directories).out.lines().count(), 2);
    }
}

#[tokio::test]
async fn the_first_bad_record_is_named() {
    let world = world().await;
    let copy = TempDir::new().unwrap();
    let segment = "00000000000000000001.jsonl";
    let text = fs::read_to_string(ledger(&world).join(segment)).unwrap();
    fs::write(copy.path().join(segment), text.replacen("corp/alice", "corp/mallory", 1)).unwrap();
    let good = ledger(&world);
    let ran = audit(&["verify"], &[copy.path(), &good]);
    assert_eq!(ran.exit, 1);
    assert!(ran.err.contains(&format!("{segment}:2: the line was changed")), "{}", ran.err);
    assert!(ran.out.contains("are whole"), "the other one is");
    for command in ["show", "stats", "pending"] {
        let ran = audit(&[command], &[copy.path()]);
        assert_eq!(ran.exit, 1, "{command}");
        assert!(ran.err.contains(&format!("{segment}:2:")), "{command}: {}", ran.err);
    }
}

#[test]
fn what_cannot_be_read_is_not_verified() {
    let empty = TempDir::new().unwrap();
    let missing = empty.path().join("missing");
    for (arguments, directory, exit, message) in [
        (&["verify"][..], empty.path(), 1, "no records here"),
        (&["verify"], &missing, 1, "No such file"),
        (&["show"], &missing, 1, "No such file"),
        (&["show", "--since", "yesterday"], empty.path(), 64, "no time"),
        (&["show", "--decision", "maybe"], empty.path(), 64, "maybe"),
        (&["shred"], empty.path(), 64, "shred"),
    ] {
        let ran = audit(arguments, &[directory]);
        assert_eq!(ran.exit, exit, "{arguments:?}");
        assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
        assert!(!ran.out.contains("error"), "messages go to stderr");
    }
    assert_eq!(audit(&["verify"], &[]).exit, 64);
}
