//! attack 83: text from callers and from the cloud that would forge a line, colour a terminal, turn
//! the direction of writing or become a formula, and what becomes of it in each output.

use crate::front::attacks::ALLOW_ALL;
use crate::support::http;
use crate::support::world::{AUDIENCE, ISSUER, PROJECT, World};

use lychgate::clock::Clock;
use lychgate::emulator::Job;
use lychgate::text::is_deceptive;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const JOB: &str = "00000000-0000-4000-8000-000000000083";

const DECEITFUL: &str = "a,\"b\"\r\nFORGED \u{1b}[31mred\u{202e}\u{2066}\u{feff}=1+1";

/// Allows what has the deceitful tag value, which so is looked up.
const BY_TAG: &[(&str, &str)] = &[
    (
        "identity/all.json",
        r#"{"Version":"5.0","Statement":[{"Effect":"Allow","Action":["modelarts:trainJob:delete"],
            "Condition":{"Null":{"g:ResourceTag/team":"false","lychgate:jobName":"false"}}}]}"#,
    ),
    ("attachments.yaml", "- {to: [any], policies: [all]}\n"),
];

fn head(world: &World, name: &str, project: &str, fields: &str) -> String {
    let now = Clock::system().now().as_second();
    let token = world.sign(&json!({"iss": ISSUER, "aud": AUDIENCE, "sub": name, "exp": now + 600}));
    format!(
        "DELETE /v2/{project}/training-jobs/{JOB} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    )
}

/// Nothing but lines of characters that a terminal shows as themselves.
fn check_plain(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is empty");
    for line in text.lines() {
        assert!(!line.starts_with("FORGED"), "{what}: {line}");
        assert!(!line.contains(is_deceptive), "{what}: {line:?}");
    }
}

#[tokio::test]
async fn nothing_forges_a_line_or_hides() {
    let world = World::builder()
        .policies(BY_TAG)
        .emulator(|it| it.terminating_look_ups = u32::MAX)
        .config("{log: human}", "{log: human, level: trace}")
        .binary("")
        .start()
        .await;
    let job = Job::new(PROJECT, JOB, DECEITFUL, Clock::system().now()).with_tag("team", DECEITFUL);
    world.emulator.insert(job);
    let agent = "User-Agent: a\u{202e}\u{9b}31m\tb\r\nX-Request-Id: a\u{202e}b\r\n";
    // A name that is printable is taken as it is, whatever it would mean elsewhere.
    for (name, status) in [
        ("=cmd|'/C calc'!A0", 202),
        ("a,b\"c\"", 202),
        ("\u{6570}\u{636e}", 202),
        ("a\nFORGED", 401),
        ("a\u{1b}[31m", 401),
        ("a\u{202e}b", 401),
        (DECEITFUL, 401),
    ] {
        let answer = http::send(world.gate, head(&world, name, PROJECT, agent).as_bytes()).await;
        assert_eq!(answer.status, status, "{name:?}");
        check_plain("an answer", &format!("{answer:?}"));
    }
    world.outcomes(3).await;
    let decisions = world.records("decision");
    assert_eq!(decisions.len(), 3, "{decisions:?}");
    // What was looked up is in the record, as it is.
    let tags = &decisions[0]["attributes"]["tags"]["value"];
    assert_eq!(tags["team"], DECEITFUL);
    assert_eq!(decisions[0]["attributes"]["name"]["value"], DECEITFUL);

    let ledger = world.directory.path().join("ledger");
    for file in fs::read_dir(&ledger).unwrap().map(|it| it.unwrap().path()) {
        if file.extension().is_some_and(|it| it == "jsonl") {
            check_plain("the ledger", &fs::read_to_string(file).unwrap());
        }
    }
    check_plain("the log", &world.process().output());
    check_plain("the metrics", &world.metrics().await);
    for format in ["table", "csv", "json"] {
        let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
            .args(["audit", "show", "--format", format])
            .arg(&ledger)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        check_plain(format, &text);
        assert!(text.contains("corp/=cmd|"), "{text}");
    }
}

/// No label of a metric is chosen by a caller, so their number does not grow with callers.
#[tokio::test]
async fn callers_make_no_series() {
    let world = World::builder().policies(ALLOW_ALL).start().await;
    let ask = async |at: usize| {
        let (name, project) = (format!("user-{at}"), format!("project-{at}"));
        for project in [PROJECT, &project] {
            let fields = format!("X-Request-Id: {at}\r\nUser-Agent: agent-{at}\r\n");
            http::send(world.gate, head(&world, &name, project, &fields).as_bytes()).await;
        }
        world.metrics().await.lines().count()
    };
    let series = ask(0).await;
    for at in 1..30 {
        assert_eq!(ask(at).await, series, "{at}");
    }
}

/// What a tagger or the author of a merge request writes reaches the terminal of who checks it.
#[test]
fn no_command_prints_text_that_moves_a_terminal() {
    const EVIL: &str = r"a\n::error file=x::FORGED \u001b]0;x\u0007\u009b2J\u202e\u2028";
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: String| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("EVIL", EVIL)).unwrap();
    };
    let statement = r#"{"Sid":"EVIL","Effect":"Deny","Action":["modelarts:trainJob:delete"],"Condition":{"StringEquals":{"g:ResourceTag/EVIL":"EVIL"}}}"#;
    write("guardrails/g.json", format!(r#"{{"Version":"5.0","Statement":[{statement}]}}"#));
    write(
        "tests/t.yaml",
        r#"cases:
  - name: "EVIL"
    principal: {source: corp, name: alice}
    request: {project: p, job: 00000000-0000-4000-8000-000000000083, region: r, account: "1", time: 2026-01-15T12:00:00Z}
    job: {tags: {"EVIL": "EVIL"}, name: "EVIL"}
    expect: allow
"#
        .to_owned(),
    );
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lychgate"))
            .args(arguments)
            .arg("--policies")
            .arg(directory.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
        check_plain(&arguments.join(" "), &text);
        assert!(!text.lines().any(|it| it.starts_with("::")), "{text}");
        text
    };
    let results = tempfile::tempdir().unwrap();
    let junit = results.path().join("junit.xml");
    let case = format!("t#{}", serde_json::from_str::<String>(&format!("\"{EVIL}\"")).unwrap());
    for format in ["human", "json"] {
        assert!(
            run(&["test", "--format", format, "--junit", junit.to_str().unwrap()])
                .contains("FORGED")
        );
        check_plain("junit", &fs::read_to_string(&junit).unwrap());
        let explained = run(&["explain", "--format", format, "--case", &case]);
        assert!(explained.contains("FORGED"), "{explained}");
        assert!(run(&["explain", "--format", format, "--case", "t#other"]).contains("FORGED"));
    }
    // Errors and their source lines: the characters themselves, in a text, a name and a file's name.
    let raw = serde_json::from_str::<String>(&format!("\"{EVIL}\"")).unwrap().replace('\n', "");
    let broken = format!(
        r#"{{"Version":"5.0","Statement":[{{"Effect":"Deny","Action":["{raw}"],"{raw}":1}}]}}"#
    );
    fs::write(directory.path().join("guardrails/h.json"), broken).unwrap();
    let named = directory.path().join(Path::new("identity").join(format!("{raw}.txt")));
    fs::create_dir_all(named.parent().unwrap()).unwrap();
    fs::write(named, "").unwrap();
    for format in ["human", "json"] {
        assert!(run(&["check", "--format", format]).contains("FORGED"));
    }
}
