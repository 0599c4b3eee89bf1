//! Reading directories and following their changes, on real files.

use super::*;

use crate::policy::{Action, Attributes, Decision, Job, Method, Principal, Query};

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const DENY: &str = r#"{"Version": "5.0", "Statement": [
    {"Effect": "Deny", "Action": ["modelarts:trainJob:delete"]}]}"#;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn paths(root: &Path) -> Vec<String> {
    let files = read(root, &Limits::default()).unwrap();
    files.iter().map(|(path, _)| path.to_owned()).collect()
}

#[test]
fn a_directory_is_read_whole() {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        &[
            ("guardrails/a.json", DENY),
            ("guardrails/README.md", ""),
            ("guardrails/..swap", ""),
            ("guardrails/deeper/b.json", DENY),
            ("identity/a.txt", ""),
            ("tests/a.yaml", ""),
            ("attachments.yaml", ""),
            ("README.md", ""),
            ("..2026/guardrails/c.json", DENY),
            (".git/config", ""),
            ("guardrails/.g.json.swp", "x"),
            ("guardrails/g.json~", "x"),
            ("identity/.gitkeep", ""),
            ("guardrails/a.json.bak", ""),
        ],
    );
    symlink(root.path().join("guardrails"), root.path().join("more")).unwrap();
    assert_eq!(
        paths(root.path()),
        [
            "attachments.yaml",
            "guardrails/a.json",
            "guardrails/a.json.bak",
            "guardrails/deeper/",
            "identity/a.txt",
            "more/",
            "tests/a.yaml",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let missing = read(&root.path().join("missing"), &Limits::default());
    assert!(matches!(missing, Err(Error::Io { .. })));
    fs::create_dir(root.path().join("guardrails")).unwrap();
    symlink("nowhere", root.path().join("guardrails/a.json")).unwrap();
    assert!(matches!(read(root.path(), &Limits::default()), Err(Error::Io { .. })));
    fs::remove_file(root.path().join("guardrails/a.json")).unwrap();
    let limits = Limits { documents: 0, ..Limits::default() };
    let many: Vec<_> = (0..=OTHER_FILES).map(|it| (format!("tests/{it}.yaml"), "")).collect();
    let many: Vec<_> = many.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    write(root.path(), &many);
    assert!(matches!(read(root.path(), &limits), Err(Error::TooMuch { .. })));
}

const OTHER_FILES: usize = 1000;

/// The volume of a ConfigMap: everything behind a link that is swapped.
struct ConfigMap(tempfile::TempDir);

impl ConfigMap {
    fn new(files: &[(&str, &str)]) -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        it.swap("..1", files);
        for name in ["guardrails", "identity", "attachments.yaml"] {
            symlink(Path::new("..data").join(name), it.0.path().join(name)).unwrap();
        }
        it
    }

    fn swap(&self, version: &str, files: &[(&str, &str)]) {
        let root = self.0.path();
        write(&root.join(version), files);
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }
}

fn version(sid: &str) -> Vec<(&'static str, String)> {
    let sid = format!(r#""Sid": "{sid}", "Effect": "Deny""#);
    vec![
        ("guardrails/g.json", DENY.replace(r#""Effect": "Deny""#, &sid)),
        ("identity/i.json", DENY.replace("Deny", "Allow")),
        ("attachments.yaml", "- {to: [any], projects: [p], policies: [i]}\n".to_owned()),
    ]
}

fn borrowed<'a>(files: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    files.iter().map(|(path, text)| (*path, text.as_str())).collect()
}

async fn open(root: &Path) -> (Policies, CancellationToken, tokio_util::task::TaskTracker) {
    let clock = Clock::manual("2026-01-15T12:00:00Z".parse().unwrap());
    let (policies, follower) = Policies::open(
        (Role::InForce, root.to_owned()),
        Limits::default(),
        clock,
        Metrics::default(),
        Prepare::by(async |_| ()),
    )
    .await;
    let (stop, tasks) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
    tasks.spawn(follower.run(stop.clone()));
    (policies, stop, tasks)
}

/// Waits for a state.
async fn until(policies: &Policies, is: impl Fn(&State) -> bool) -> State {
    let mut policies = policies.clone();
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let state = policies.state();
            if is(&state) {
                return state;
            }
            policies.changed().await;
        }
    });
    waited.await.unwrap()
}

/// The Sid of the Deny of a version.
fn decider(set: &Set) -> String {
    let caller = Principal::new("corp", "alice", [], BTreeMap::new(), Method::Jwt);
    let query = Query {
        principal: Arc::new(caller),
        action: Action::Delete,
        job: Job::new("p", "3faf5c03-aaa1-4cbe-879d-24b05d997347").into(),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-01-15T12:00:00Z".parse().unwrap(),
        source_ip: crate::policy::Attribute::Absent,
        secure_transport: crate::policy::Attribute::Absent,
        user_agent: crate::policy::Attribute::Absent,
    };
    match set.evaluate(&query, &Attributes::default()) {
        Decision::Deny(denial) => denial.statement.unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}

/// attacks 55 and 56
#[tokio::test]
async fn each_swap_of_a_config_map_is_noticed_and_a_bad_version_changes_nothing() {
    let map = ConfigMap::new(&borrowed(&version("One")));
    let (policies, stop, tasks) = open(map.0.path()).await;
    let one = policies.state().in_force.unwrap();
    assert_eq!(decider(&one.set), "guardrails/g#One");
    assert_eq!(one.loaded.to_string(), "2026-01-15T12:00:00Z");

    map.swap("..2", &borrowed(&version("Two")));
    let two = until(&policies, |it| it.in_force.as_ref().unwrap().set.digest() != one.set.digest());
    let two = two.await.in_force.unwrap();
    assert_eq!(decider(&two.set), "guardrails/g#Two");

    map.swap("..3", &[("guardrails/g.json", "{}"), ("attachments.yaml", "")]);
    fs::create_dir(map.0.path().join("..3/identity")).unwrap();
    let refused = until(&policies, |it| it.refusal.as_ref().is_some_and(|it| it.digest.is_some()));
    let refused = refused.await;
    let refusal = refused.refusal.unwrap();
    assert_eq!(refusal.errors, 2);
    assert_eq!(refusal.first, "guardrails/g.json:1:1: `Statement` is missing [missing-field]");
    assert_eq!(refused.in_force.unwrap().set.digest(), two.set.digest());

    // Back to what is in force.
    map.swap("..4", &borrowed(&version("Two")));
    until(&policies, |it| it.refusal.is_none()).await;
    assert_eq!(policies.current().unwrap().digest(), two.set.digest());

    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn without_policies_there_is_nothing_in_force_until_there_are() {
    let root = tempfile::tempdir().unwrap();
    let (policies, _stop, _tasks) = open(root.path()).await;
    assert!(policies.current().is_none());
    assert_eq!(policies.state().refusal.unwrap().errors, 1);

    write(root.path(), &[("guardrails/g.json", DENY)]);
    let state = until(&policies, |it| it.in_force.is_some()).await;
    assert_eq!(state.refusal, None);
    assert_eq!(decider(&state.in_force.unwrap().set), "guardrails/g#1");
}

/// attack 62
/// What a request gets is one version, and that version's answer, whatever happens meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_judged_by_one_version() {
    let map = ConfigMap::new(&borrowed(&version("V0")));
    let (policies, _stop, _tasks) = open(map.0.path()).await;
    let requests = policies.clone();
    let judging = spawn_blocking(move || {
        let mut seen = BTreeMap::new();
        let mut judged = 0;
        while judged < 2000 || seen.len() < 3 {
            let set = requests.current().unwrap();
            let decider = decider(&set);
            let before = seen.insert(set.digest().to_owned(), decider.clone());
            assert!(before.is_none_or(|it| it == decider));
            judged += 1;
        }
        seen
    });
    for number in 1..3 {
        let before = policies.current().unwrap().digest().to_owned();
        map.swap(&format!("..v{number}"), &borrowed(&version(&format!("V{number}"))));
        until(&policies, |it| it.in_force.as_ref().unwrap().set.digest() != before).await;
    }
    let seen = tokio::time::timeout(Duration::from_secs(60), judging).await.unwrap().unwrap();
    let deciders: Vec<_> =
        seen.values().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    assert_eq!(deciders, ["guardrails/g#V0", "guardrails/g#V1", "guardrails/g#V2"]);
}

/// An edit in place, an editor's rename, a file of a sub-directory after a swap: heard or not, each
/// counts within two seconds.
#[tokio::test]
async fn an_edit_counts_within_two_seconds_wherever_it_is_made() {
    type Edit = fn(&Path, &str);
    let in_place: Edit = |root, text| fs::write(root.join("guardrails/g.json"), text).unwrap();
    let renamed: Edit = |root, text| {
        fs::write(root.join("guardrails/.g.json.tmp"), text).unwrap();
        fs::rename(root.join("guardrails/.g.json.tmp"), root.join("guardrails/g.json")).unwrap();
    };
    let replaced: Edit = |root, text| {
        fs::rename(root.join("guardrails"), root.join(".old")).unwrap();
        write(root, &[("guardrails/g.json", text)]);
        fs::remove_dir_all(root.join(".old")).unwrap();
    };
    for heard in [true, false] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &borrowed(&version("V0")));
        let clock = Clock::manual("2026-01-15T12:00:00Z".parse().unwrap());
        let opened = Policies::open(
            (Role::InForce, root.path().to_owned()),
            Limits::default(),
            clock,
            Metrics::default(),
            Prepare::by(async |_| ()),
        );
        let (policies, mut follower) = opened.await;
        if !heard {
            follower.watcher = None;
        }
        let stop = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(follower.run(stop.clone()));
        for (number, edit) in [in_place, renamed, replaced, in_place, renamed].iter().enumerate() {
            let (_, text) = version(&format!("V{}", number + 1)).remove(0);
            edit(root.path(), &text);
            let sid = format!("guardrails/g#V{}", number + 1);
            let edited = Instant::now();
            until(&policies, |it| decider(&it.in_force.as_ref().unwrap().set) == sid).await;
            // The machine may be busy; what is asked for is not a minute.
            assert!(edited.elapsed() < Duration::from_secs(10), "{heard} {number}");
        }
        stop.cancel();
    }
}
