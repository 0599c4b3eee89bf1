//! `lychgate audit` as an auditor runs it: the program, its exit codes, what it prints where.

use crate::support::world::{FINISHED, PROJECT, PROTECTED, World, poll};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use lychgate::cli::Exit;
use lychgate::emulator::{Effect, Fault, Operation, Reset};
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
    let written = |kind: &str, count| world.records(kind).len() == count;
    poll(|| Some(()).filter(|()| written("outcome", 4) && written("tombstone", 1))).await;
    world
}

#[tokio::test]
async fn a_ledger_that_is_written_to_can_be_read() {
    let world = world().await;
    let directory = ledger(&world);
    let ran = audit(&["verify"], &[&directory]);
    assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
    assert!(
        ran.out
            .contains("records 1 to 10 are whole (4 decision, 4 outcome, 1 policies, 1 tombstone)")
    );
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
    assert_eq!(stats["records"], 10);
    let deletes = |names: &[&str]| {
        names.iter().map(|it| stats["deletes"][it].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(deletes(&["deleted", "unknown", "denied", "refused_by_the_cloud"]), [1, 1, 2, 0]);
    assert_eq!(stats["principals"]["corp/alice"]["deleted"], 1);
    assert_eq!(stats["statements"]["guardrails/protect#NoProd"], 1);
    let later = audit(&["stats", "--format", "json", "--until", "2020-01-01"], &[&directory]);
    assert_eq!(later.json()[0]["records"], 0);
    // A ledger that is named twice, and a copy, hold the same deletes.
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    for again in [&*directory, copy.path()] {
        let ran = audit(&["stats", "--format", "json"], &[&directory, again]);
        assert_eq!(ran.json()[0], *stats);
        assert!(ran.err.contains("10 records are passed over: another directory"), "{}", ran.err);
    }
    // A copy that went on differently holds what nobody else does.
    let segment = fs::read_dir(copy.path()).unwrap().map(|it| it.unwrap().path());
    let segment =
        segment.filter(|it| it.extension().is_some_and(|it| it == "jsonl")).max().unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let before = text.rsplit_once(r#","sum":"#).unwrap().0.to_owned() + r#","more":1"#;
    let line = before.lines().last().unwrap();
    let sum = HEXLOWER.encode(&digest(&SHA256, line.as_bytes()).as_ref()[..8]);
    fs::write(&segment, format!("{before},\"sum\":\"{sum}\"}}\n")).unwrap();
    let ran = audit(&["stats", "--format", "json"], &[&directory, copy.path()]);
    assert_eq!((ran.exit, &ran.json()[0]["records"]), (1, &11.into()), "{}", ran.err);
    assert!(ran.err.contains("9 records are passed over"), "{}", ran.err);
    assert!(ran.err.contains("01.jsonl:10: another directory has another record"), "{}", ran.err);
    let ran = audit(&["verify"], &[&directory, copy.path()]);
    assert_eq!((ran.exit, ran.out.lines().count()), (1, 2), "each is whole: {}", ran.err);
    assert!(ran.err.contains("one of them was rewritten"), "{}", ran.err);
    let link = copy.path().join("link");
    std::os::unix::fs::symlink(&directory, &link).unwrap();
    let used = |directories: &[&Path]| {
        audit(&["budgets", "--format", "json"], directories).json()[0]["counters"][0]["used"]
            .clone()
    };
    assert_eq!(used(&[&directory, &link, &directory]), 2);
    assert_eq!(used(&[&directory, copy.path()]), 2);
    let text = audit(&["stats"], &[&directory]).out;
    assert!(text.contains("deny nothing_allows  1\n"), "{text}");
    assert!(text.contains("deleted  1      ModelArts accepted it"), "{text}");
}

#[tokio::test]
async fn show_finds_what_is_asked_for() {
    let world = world().await;
    let directory = ledger(&world);
    let id = world.records("decision")[2]["request_id"].as_str().unwrap().to_owned();
    for (filter, found) in [
        (vec![], vec!["corp/alice", "corp/alice", "corp/carol", "corp/dave"]),
        (vec!["--principal", "corp/alice"], vec!["corp/alice", "corp/alice"]),
        (vec!["--principal", "alice"], vec![]),
        (vec!["--job", FINISHED], vec!["corp/alice"]),
        (vec!["--decision", "deny"], vec!["corp/alice", "corp/carol"]),
        (vec!["--decision", "indeterminate"], vec![]),
        (vec!["--project", PROJECT, "--decision", "allow"], vec!["corp/alice", "corp/dave"]),
        (vec!["--project", "other"], vec![]),
        (vec!["--batch", "00000000-0000-4000-8000-000000000000"], vec![]),
        (vec!["--since", "2020-01-01", "--principal", "corp/dave"], vec!["corp/dave"]),
        (vec!["--until", "2020-01-01"], vec![]),
        (
            vec!["--principal", "corp/*"],
            vec!["corp/alice", "corp/alice", "corp/carol", "corp/dave"],
        ),
        (vec!["--principal", "corp/a*"], vec!["corp/alice", "corp/alice"]),
        (vec!["--job", &FINISHED[..8]], vec!["corp/alice"]),
        (vec!["--request-id", &id[..8]], vec!["corp/carol"]),
        (vec!["--request-id", &id], vec!["corp/carol"]),
        (vec!["--statement", "guardrails/protect#NoProd"], vec!["corp/alice"]),
        (vec!["--statement", "guardrails/*"], vec!["corp/alice"]),
        (vec!["--statement", "guardrails/protect"], vec![]),
        (vec!["--ending", "unknown"], vec!["corp/dave"]),
        (vec!["--ending", "denied"], vec!["corp/alice", "corp/carol"]),
        (vec!["--status", "202"], vec!["corp/alice"]),
        (vec!["--since", "1h", "--ending", "sent"], vec!["corp/alice"]),
        (vec!["--last", "1"], vec!["corp/dave"]),
        (vec!["--last", "0"], vec!["corp/alice", "corp/alice", "corp/carol", "corp/dave"]),
    ] {
        let arguments = [vec!["show", "--format", "json"], filter.clone()].concat();
        let ran = audit(&arguments, &[&directory]);
        let note = match filter[..] {
            ["--last", "1"] => "note: the last 1 of 4 decisions; --last 0 for all\n",
            _ if found.is_empty() => "note: none of 4 decisions match\n",
            _ => "",
        };
        assert_eq!((ran.exit, ran.err.as_str()), (0, note), "{filter:?}");
        let rows = ran.json();
        let principals: Vec<_> = rows.iter().map(|it| it["principal"].as_str().unwrap()).collect();
        assert_eq!(principals, found, "{filter:?}");
    }
    let ran = audit(&["show", "--job", FINISHED], &[&directory]);
    assert!(ran.out.contains("  pools: [\"pool-vision-1\"]\n"), "{}", ran.out);
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
    for width in ["100", "80"] {
        let table = audit(&["show", "--width", width], &[&directory]).out;
        let longest = table.lines().map(|it| it.chars().count()).max().unwrap();
        assert!(longest <= width.parse().unwrap(), "{table}");
        assert!(table.contains("corp/dave") && table.contains(&FINISHED[..7]), "{table}");
    }
}

/// What is written while it is followed is told, each decision when it has ended.
#[tokio::test]
async fn a_ledger_can_be_followed() {
    let world = World::start().await;
    world.delete("alice", PROTECTED).await;
    let out = world.directory.path().join("followed");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lychgate"))
        .args(["audit", "show", "--follow", "--format", "csv"])
        .arg(ledger(&world))
        .stdout(fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let lines = async |count: usize| {
        let read = || fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect();
        poll(|| Some(read()).filter(|it: &Vec<String>| it.len() == count)).await
    };
    assert!(lines(2).await[1].contains("guardrails/protect#NoProd,denied"));
    assert_eq!(world.delete("alice", FINISHED).await.status, 202);
    assert!(lines(3).await[2].ends_with(",sent,202"));
    assert_eq!(world.delete("carol", PROTECTED).await.status, 403);
    assert!(lines(4).await[3].contains("corp/carol"));
    child.kill().unwrap();
    child.wait().unwrap();
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

/// A copy that is behind, and an archive with what retention has removed since, add up to the whole.
#[tokio::test]
async fn parts_and_copies_of_a_ledger_are_one_ledger_in_any_order() {
    let world = world().await;
    world.emulator.fault(Fault::new(Effect::Forbidden).at(Operation::Delete).times(1));
    assert_eq!(world.delete("dave", PROTECTED).await.status, 403);
    poll(|| Some(()).filter(|()| world.records("outcome").len() == 5)).await;
    let whole = ledger(&world);
    let lines = fs::read_to_string(whole.join("00000000000000000001.jsonl")).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    let now = world.records("outcome")[4]["time"].as_str().unwrap().to_owned();
    let commands = [["stats"].as_slice(), &["show"], &["pending"], &["budgets", "--at", &now]];
    let told = |directories: &[&Path]| {
        commands.map(|it| {
            let ran = audit(&[it, &["--format", "json"]].concat(), directories);
            assert_eq!(ran.exit, 0, "{}", ran.err);
            ran.out
        })
    };
    let expected = told(&[&whole]);
    assert!(expected[3].contains(r#""used":2,"#), "{}", expected[3]);
    let (early, late) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for cut in 1..lines.len() {
        let put = |directory: &TempDir, first: usize, lines: &[&str]| {
            fs::write(directory.path().join(format!("{first:020}.jsonl")), lines.join("\n") + "\n")
        };
        put(&early, 1, &lines[..cut]).unwrap();
        put(&late, cut + 1, &lines[cut..]).unwrap();
        let (early, late) = (early.path(), late.path());
        for directories in [[early, late], [late, early], [early, &whole], [&whole, early]] {
            assert_eq!(told(&directories), expected, "{cut}: {directories:?}");
        }
        fs::remove_file(late.join(format!("{:020}.jsonl", cut + 1))).unwrap();
    }
}

/// A period has the decisions that were made in it, with how they ended.
#[tokio::test]
async fn a_period_has_its_decisions_with_their_ends() {
    let world = world().await;
    let stats = |option: &str, time: &Value| {
        let arguments = ["stats", "--format", "json", option, time.as_str().unwrap()];
        let stats = audit(&arguments, &[&ledger(&world)]).json().remove(0);
        (stats["deletes"].clone(), stats["endings"].clone())
    };
    let end = world.records("outcome")[0]["time"].clone();
    let (deletes, endings) = stats("--until", &end);
    assert_eq!((&deletes["deleted"], &deletes["unknown"]), (&1.into(), &0.into()));
    assert_eq!(endings, serde_json::json!({"sent": 1}));
    let (deletes, endings) = stats("--since", &end);
    assert_eq!((&deletes["deleted"], &deletes["denied"]), (&0.into(), &2.into()));
    assert_eq!(endings, serde_json::json!({"denied": 2, "unknown": 1}));
    let used = |at: &str| {
        let ran = audit(&["budgets", "--format", "json", "--at", at], &[&ledger(&world)]);
        ran.json()[0]["counters"][0]["used"].clone()
    };
    assert_eq!(used("2020-01-01T00:00:00Z"), 0, "they were made later");
    assert_eq!(used(end.as_str().unwrap()), 1);
}

/// A later program has written one of its kinds and one of its members.
#[test]
fn what_a_later_program_added_is_passed_over_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/ledger_reader/kinds");
    fs::copy(seed, directory.path().join("00000000000000000001.jsonl")).unwrap();
    let ran = audit(&["verify"], &[directory.path()]);
    let whole = "records 1 to 3 are whole (1 decision, 1 outcome, 1 of unknown kinds)";
    assert!(ran.exit == 0 && ran.out.contains(whole), "{} {}", ran.out, ran.err);
    for command in ["pending", "show", "stats"] {
        let ran = audit(&[command], &[directory.path()]);
        let note = "note: records of kinds that this program does not know: 1\n";
        assert_eq!((ran.exit, ran.err.as_str()), (0, note), "{command}");
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

/// Made for this test; it signs nothing else.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHF1LcC5D1qICN139iXB0iJ3IGrJxJQD7KM+j11eQx/g
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAFkwMdC5ch7wczieKidOECVCbfxhbWGzBTuLOqzNmFGw=
-----END PUBLIC KEY-----
";

#[tokio::test]
async fn a_kept_checkpoint_shows_that_the_end_was_cut_off() {
    let keys = TempDir::new().unwrap();
    let put = |name: &str, text: &str| {
        let path = keys.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (private, public) = (put("private.pem", PRIVATE), put("public.pem", PUBLIC));
    let settings = format!("directory: ledger, checkpoint_key: {private}, checkpoint_records: 1");
    let world = World::builder().config("directory: ledger", &settings).start().await;
    for _ in 0..3 {
        assert_eq!(world.delete("carol", FINISHED).await.status, 403);
    }
    let (exit, root) = world.stop().await;
    assert_eq!(exit, Exit::Ok);
    let directory = root.path().join("ledger");
    let segment = directory.join("00000000000000000001.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let is_checkpoint = |it: &&&str| it.contains(r#""kind":"checkpoint""#);
    let kept = lines.iter().rfind(is_checkpoint).unwrap();
    assert_eq!(Some(kept), lines.last(), "a stop in good order ends with one");
    let kept = put("kept.json", &format!("{kept}\n"));
    let verify = |arguments: &[&str]| audit(&[&["verify"], arguments].concat(), &[&directory]);
    let ran = verify(&["--key", &public, "--checkpoint", &kept]);
    assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains(&format!("signed up to {}", lines.len())), "{}", ran.out);

    // As short as somebody likes, at the end of a line, it is a whole chain.
    for length in 1..lines.len() {
        fs::write(&segment, lines[..length].join("\n") + "\n").unwrap();
        assert_eq!(verify(&[]).exit, 0, "{length}");
        let ran = verify(&["--key", &public, "--checkpoint", &kept]);
        assert_eq!(ran.exit, 1, "{length}");
        assert!(ran.err.contains("its end was cut off"), "{length}: {}", ran.err);
    }
    fs::write(&segment, text.clone()).unwrap();
    let other = put("other.pem", &PUBLIC.replace("FkwMdC5c", "GkwMdC5c"));
    let ran = verify(&["--key", &other]);
    assert_eq!(ran.exit, 1);
    assert!(ran.err.contains(".jsonl:") && ran.err.contains("was not given"), "{}", ran.err);
    assert_eq!(verify(&["--key", &private]).exit, 1);
    assert_eq!(verify(&["--checkpoint", &public]).exit, 1);
    let other = World::start().await;
    assert_eq!(other.delete("carol", FINISHED).await.status, 403);
    let ran = audit(&["verify", "--checkpoint", &kept], &[&ledger(&other)]);
    assert_eq!(ran.exit, 1);
    assert!(ran.err.contains("no such ledger here"), "{}", ran.err);
}

#[test]
fn what_cannot_be_read_is_not_verified() {
    let empty = TempDir::new().unwrap();
    let missing = empty.path().join("missing");
    for (arguments, directory, exit, message) in [
        (&["verify"][..], empty.path(), 1, "no records here"),
        (&["pending"], empty.path(), 0, "no records here"),
        (&["stats"], empty.path(), 0, "no records here"),
        (&["show"], empty.path(), 0, "no records here"),
        (&["verify"], &missing, 1, "No such file"),
        (&["verify", "--key", "/nowhere"], empty.path(), 1, "cannot read it: No such file"),
        (&["show"], &missing, 1, "No such file"),
        (&["show", "--since", "yesterday"], empty.path(), 64, "not a time"),
        (&["budgets", "--at", "2026-01-15T12:00:00"], empty.path(), 64, "not a time"),
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
