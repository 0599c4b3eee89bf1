//! Ledgers of gates with budgets, and what other budgets would have said.

use super::*;
use crate::policy::BUDGETS;

/// What does not decide for the budgets' sake is about these.
const PERSON: &str = "{name: person, per: principal, deletes: 10, within: 1h}";

/// Policies that allow jobs of these names, with these budgets.
fn set(names: &[&str], budgets: &str) -> Arc<Set> {
    let list = serde_json::to_string(names).unwrap();
    let statement = format!(
        r#"{{"Sid": "It", "Effect": "Allow", "Action": ["modelarts:trainJob:delete"],
            "Condition": {{"StringEquals": {{"lychgate:jobName": {list}}}}}}}"#
    );
    let budgets = match budgets {
        "none" => "budgets: none".to_owned(),
        list => format!("budgets: [{list}]"),
    };
    compile(&[
        ("identity/it.json", &document(&statement)),
        ("attachments.yaml", TO_ANY),
        (BUDGETS, &budgets),
    ])
}

fn sent(status: u16) -> Outcome {
    Outcome { status: Some(status), ..Ending::Sent.into() }
}

impl Made {
    /// A delete that the cloud accepts, if it is permitted; a minute later it is the next one's turn.
    async fn delete(&self, set: &Arc<Set>, who: &str, job: &str) {
        self.end(set, (who, job), sent(202)).await;
    }

    /// The number of the decision, if it is permitted.
    async fn end(&self, set: &Arc<Set>, (who, job): (&str, &str), end: Outcome) -> Option<u64> {
        let judged = self.judge((set, set), &query(who), &super::job(job), Of::default()).await;
        let seq = match judged {
            Recorded::Permitted(_, entry) => {
                let seq = entry.seq();
                entry.close(end);
                Some(seq)
            }
            Recorded::Denied(_) => None,
            Recorded::Undecided(_) => panic!("the job's details are known"),
        };
        self.wait(60).await;
        seq
    }

    async fn wait(&self, seconds: i64) {
        self.ledger().flushed().await;
        let passed = SignedDuration::from_secs(seconds);
        tokio::time::advance(passed.unsigned_abs()).await;
        self.clock.set(self.clock.now() + passed);
    }
}

fn recorded() -> Options {
    Options { policies_alone: true, ..Options::default() }
}

/// Fourteen deletes by alice, of which ten have room, and six by bob.
async fn spent(set: &Arc<Set>) -> TempDir {
    let made = Made::new();
    for who in [["alice"; 14].as_slice(), &["bob"; 6]].concat() {
        made.delete(set, who, "a").await;
    }
    made.finish().await
}

#[tokio::test(start_paused = true)]
async fn a_planted_change_of_a_budget_flips_what_it_is_about_and_nothing_else() {
    let was = set(&["a"], PERSON);
    let directory = spent(&was).await;
    let person = "budgets#person";
    for (budgets, expected) in [
        (PERSON.to_owned(), vec![]),
        (PERSON.replace("person", "people"), vec![]),
        (PERSON.replace("10", "7"), vec![("revoked", person, 3)]),
        (PERSON.replace("10", "11"), vec![("gained", person, 1)]),
        (PERSON.replace("10", "12"), vec![("gained", person, 2)]),
        (PERSON.replace("10", "99"), vec![("gained", person, 4)]),
        ("none".to_owned(), vec![("gained", person, 4)]),
        (PERSON.replace("1h", "3h"), vec![]),
        // After ten minutes the first has left.
        (PERSON.replace("1h", "10m"), vec![("gained", person, 4)]),
        (PERSON.replace("1h", "11m"), vec![("gained", person, 3)]),
        (PERSON.replace("principal", "group:corp/ml"), vec![("revoked", person, 6)]),
        (
            "{name: all, per: all, deletes: 10, within: 1h}".to_owned(),
            vec![("revoked", "budgets#all", 6)],
        ),
        (
            format!("{PERSON}, {{name: all, per: project, deletes: 13, within: 1h}}"),
            vec![("revoked", "budgets#all", 3)],
        ),
        (
            PERSON.replace('}', r#", when: {"StringEquals": {"g:UserName": "bob"}}}"#),
            vec![("gained", person, 4)],
        ),
        (
            "{name: few, per: principal, deletes: 5, within: 1d}".to_owned(),
            vec![("revoked", "budgets#few", 6)],
        ),
    ] {
        let candidate = set(&["a"], &budgets);
        let tally = replay(directory.path(), &candidate, &Options::default());
        assert_eq!(counts(&tally), expected, "{budgets}");
        let differ: u64 = expected.iter().map(|(.., count)| count).sum();
        assert_eq!((tally.decisions, tally.same), (20, 20 - differ), "{budgets}");
        let policies = replay(directory.path(), &candidate, &recorded());
        assert_eq!((counts(&policies), policies.same), (vec![], 20), "{budgets}");
    }
}

/// What the candidate denies leaves room, and what it allows takes some.
#[tokio::test(start_paused = true)]
async fn policies_that_allow_more_or_less_fill_the_budgets_otherwise() {
    let it = "identity/it#It";
    let person = "budgets#person";
    for (was, now, expected) in [
        // Five of b were denied, ten of a allowed.
        (&["a"][..], &["a", "b"][..], vec![("gained", it, 5), ("revoked", person, 5)]),
        (&["a", "b"], &["a"], vec![("gained", person, 5), ("revoked", "none", 5)]),
        (&["a", "b"], &["a", "b", "c"], vec![]),
    ] {
        let (was, now) = (set(was, PERSON), set(now, PERSON));
        let made = Made::new();
        for job in [["b"; 5].as_slice(), &["a"; 10]].concat() {
            made.delete(&was, "alice", job).await;
        }
        let directory = made.finish().await;
        let tally = replay(directory.path(), &now, &Options::default());
        assert_eq!(counts(&tally), expected);
    }
}

/// What a copy or an archive has of a ledger is told once, and counts for what the ledger has after it.
#[tokio::test(start_paused = true)]
async fn a_ledger_goes_on_from_what_another_directory_has() {
    let was = set(&["a", "b"], PERSON);
    let made = Made::new();
    for _ in 0..5 {
        made.delete(&was, "alice", "b").await;
    }
    let now = made.clock.now();
    let ledger = made.finish().await;
    let (copy, rest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |ledger: &TempDir, to: &TempDir| {
        for file in fs::read_dir(ledger.path()).unwrap().map(Result::unwrap) {
            if !copy.path().join(file.file_name()).exists() {
                fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
            }
        }
    };
    put(&ledger, &copy);
    let made = Made::go_on(ledger, now);
    for _ in 0..5 {
        made.delete(&was, "alice", "a").await;
    }
    let ledger = made.finish().await;
    put(&ledger, &rest);
    // It denies each b, which therefore takes no room from an a.
    let candidate = set(&["a"], &PERSON.replace("10", "4"));
    let options = Options { copies: true, ..Options::default() };
    let expected = [("revoked", "budgets#person", 1), ("revoked", "none", 5)];
    for directories in
        [vec![&ledger], vec![&copy, &ledger], vec![&ledger, &copy], vec![&copy, &rest]]
    {
        let mut replay = Replay::new(Arc::clone(&candidate), options.clone());
        for it in &directories {
            replay.read(it.path(), |_, _| ()).unwrap().unwrap();
        }
        let tally = replay.finish();
        assert_eq!(
            (counts(&tally).as_slice(), tally.decisions),
            (&expected[..], 10),
            "{directories:?}"
        );
    }
}

/// As a gate counts: what was certainly not deleted is given back.
#[tokio::test(start_paused = true)]
async fn what_came_of_a_delete_decides_whether_it_counts() {
    let was = set(&["a"], "none");
    let candidate = set(&["a"], "{name: two, per: principal, deletes: 2, within: 1h}");
    for (end, settled, counts_on) in [
        (sent(202), None, true),
        (sent(302), None, true),
        (sent(404), None, false),
        (sent(429), None, false),
        (sent(500), None, true),
        (Ending::NotSent.into(), None, false),
        (Ending::Gone.into(), None, true),
        (Ending::Present.into(), None, false),
        (Ending::Unknown.into(), None, true),
        (Ending::Unknown.into(), Some(Ending::Gone), true),
        (Ending::Unknown.into(), Some(Ending::Present), false),
    ] {
        let made = Made::new();
        for _ in 0..2 {
            let seq = made.end(&was, ("alice", "a"), end.clone()).await;
            if let Some(settled) = settled {
                made.ledger().settle(seq.unwrap(), settled);
            }
        }
        made.delete(&was, "alice", "a").await;
        let directory = made.finish().await;
        let tally = replay(directory.path(), &candidate, &Options::default());
        let expected = if counts_on { vec![("revoked", "budgets#two", 1)] } else { vec![] };
        assert_eq!(counts(&tally), expected, "{end:?} {settled:?}");
    }
}

/// The candidate comes into force with the window, and knows what was deleted before.
#[tokio::test(start_paused = true)]
async fn a_window_begins_with_what_was_deleted_before() {
    let was = set(&["a"], PERSON);
    let directory = spent(&was).await;
    let since = NOON.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(9 * 60);
    let options = Options { since: Some(since), ..Options::default() };
    let less = set(&["a"], &PERSON.replace("10", "7"));
    let tally = replay(directory.path(), &less, &options);
    assert_eq!((counts(&tally), tally.decisions), (vec![("revoked", "budgets#person", 1)], 11));
}

/// A gate that went on with a ledger whose beginning is not there.
#[tokio::test(start_paused = true)]
async fn what_depends_on_deletes_that_were_not_read_is_never_a_flip() {
    let was = set(&["a"], PERSON);
    let made = Made::go_on(spent(&was).await, NOON.parse().unwrap());
    made.wait(30 * 60).await;
    // Three that have room, and one that has none because of what is not read.
    for _ in 0..3 {
        made.delete(&was, "carol", "a").await;
    }
    let full = made.budgets.open(was.budgets());
    for seq in 0..10 {
        let (query, attributes) = (query("alice"), job("a"));
        let end = budget::PastEnd::Kept(made.clock.now());
        let past = budget::Past { seq: 1_000_000 + seq, unit: None, query, attributes, end };
        made.budgets.fill(&full, &past);
    }
    made.budgets.filled(&full).await;
    made.delete(&was, "alice", "a").await;
    made.wait(2 * 60 * 60).await;
    for _ in 0..3 {
        made.delete(&was, "carol", "a").await;
    }
    let directory = made.finish().await;
    fs::remove_file(directory.path().join("00000000000000000001.jsonl")).unwrap();
    let person = "budgets#person";
    for (budgets, expected) in [
        (PERSON.to_owned(), vec![]),
        // No budget at all needs no past.
        ("none".to_owned(), vec![("gained", person, 1)]),
        (PERSON.replace("10", "20"), vec![("needs_past", person, 1)]),
        // As many as were read are too many in any case; two hours later all is known.
        (PERSON.replace("10", "2"), vec![("revoked", person, 2), ("needs_past", person, 2)]),
        (PERSON.replace("10", "9"), vec![("needs_past", person, 3)]),
        (PERSON.replace("1h", "3h"), vec![("needs_past", person, 6)]),
    ] {
        let candidate = set(&["a"], &budgets);
        let tally = replay(directory.path(), &candidate, &Options::default());
        assert_eq!(counts(&tally), expected, "{budgets}");
    }
}

/// Time goes on for a gate whatever is done to its clock, and so it does here.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_keeps_nothing_in_a_window() {
    let was = set(&["a"], "none");
    let candidate = set(&["a"], "{name: two, per: principal, deletes: 2, within: 1h}");
    for (minutes, expected) in [(50, vec![("revoked", "budgets#two", 1)]), (61, vec![])] {
        let made = Made::new();
        made.delete(&was, "alice", "a").await;
        made.delete(&was, "alice", "a").await;
        made.clock.set(made.clock.now() - SignedDuration::from_hours(5));
        made.delete(&was, "bob", "a").await;
        made.wait((minutes - 1) * 60).await;
        made.delete(&was, "alice", "a").await;
        let directory = made.finish().await;
        let tally = replay(directory.path(), &candidate, &Options::default());
        assert_eq!(counts(&tally), expected, "{minutes}");
    }
}

/// A gate with half of each budget: told of it, a replay counts halves; otherwise what was recorded
/// cannot be counted, and is not claimed.
#[tokio::test(start_paused = true)]
async fn a_part_of_a_budget_is_counted_as_one_and_never_taken_for_all_of_it() {
    let shared = |budgets: &str, replicas: u32| {
        let limits = Limits { replicas, ..Limits::default() };
        let set = set(&["a"], budgets);
        Arc::new(Set::compile(set.files(), &limits).set.unwrap())
    };
    let directory = spent(&shared(PERSON, 2)).await;
    let person = "budgets#person";
    for (deletes, replicas, expected) in [
        ("10", 2, vec![]),
        ("12", 2, vec![("gained", person, 2)]),
        ("8", 2, vec![("revoked", person, 2)]),
        ("10", 1, vec![]),
        ("12", 1, vec![("needs_past", person, 10)]),
    ] {
        let candidate = shared(&PERSON.replace("10", deletes), replicas);
        let options = Options { replicas, ..Options::default() };
        let tally = replay(directory.path(), &candidate, &options);
        assert_eq!(counts(&tally), expected, "{deletes} by {replicas}");
    }
}

/// Counters in a database, of which a ledger tells only a part.
#[test]
fn what_other_gates_have_part_in_is_known_to_be_spent_and_never_to_have_room() {
    let was = set(&["a"], PERSON);
    let asked = |is_shared| Asked {
        query: query("alice"),
        attributes: job("a"),
        digest: was.digest().into(),
        result: Answer::Allow,
        reason: None,
        statement: None,
        budget: None,
        charges: vec![ledger::Charged { budget: "person".into(), key: "corp/alice".into() }],
        is_shared,
        batch: None,
    };
    let room = |budgets: &str, is_shared: bool, taken: u64| {
        let candidate = set(&["a"], budgets);
        let first = (1, NOON.parse().unwrap());
        let mut counted = Counted::new(candidate.budgets(), 1, first);
        for seq in 0..taken {
            counted.take(seq, &asked(is_shared), Some(was.budgets()), true);
        }
        match counted.room(&asked(is_shared), was.budgets()) {
            Room::Free => "free",
            Room::Spent(_) => "spent",
            Room::Unknown(_) => "unknown",
        }
    };
    for (budgets, taken, alone, shared) in [
        (PERSON, 4, "free", "free"),
        (&PERSON.replace("10", "20"), 4, "free", "free"),
        (&PERSON.replace("10", "5"), 4, "free", "unknown"),
        (&PERSON.replace("10", "5"), 5, "spent", "spent"),
        (&PERSON.replace("principal", "all"), 4, "free", "unknown"),
    ] {
        let found = (room(budgets, false, taken), room(budgets, true, taken));
        assert_eq!(found, (alone, shared), "{budgets} {taken}");
    }
}

/// The record says what the gate counted, and so does the version: they have to agree.
#[tokio::test(start_paused = true)]
async fn a_record_whose_budgets_are_not_those_of_its_version_is_drift() {
    let (was, other) = (set(&["a"], PERSON), set(&["a"], &PERSON.replace("person", "other")));
    let made = Made::new();
    let uncounted = Of { uncounted: true, ..Of::default() };
    for (judge, of) in [(&was, uncounted), (&other, Of::default()), (&was, Of::default())] {
        drop(made.judge((&was, judge), &query("alice"), &job("a"), of).await);
    }
    let none = set(&["a"], &PERSON.replace("10", "1").replace("person", "none"));
    made.delete(&none, "bob", "a").await;
    drop(made.judge((&was, &none), &query("bob"), &job("a"), Of::default()).await);
    let directory = made.finish().await;
    let tally = replay(directory.path(), &was, &Options::default());
    let expected = [("drift", "budgets#none", 1), ("drift", "identity/it#It", 2)];
    assert_eq!((counts(&tally), tally.same), (expected.to_vec(), 2));
    let policies = replay(directory.path(), &was, &recorded());
    assert_eq!((counts(&policies), policies.same), (vec![], 5));
}

/// All jobs of a batch are sent, or none.
#[tokio::test(start_paused = true)]
async fn a_batch_counts_as_a_whole() {
    let three = "{name: three, per: principal, deletes: 3, within: 1h}";
    for (was, now, expected) in [
        // Not sent then, because of b: the candidate lets it through, and three more have no room.
        (
            &["a"][..],
            &["a", "b"][..],
            vec![("gained", "identity/it#It", 1), ("revoked", "budgets#three", 1)],
        ),
        // Sent then: the candidate keeps all of it back, so that there is room once more.
        (&["a", "b"], &["a"], vec![("gained", "budgets#three", 1), ("revoked", "none", 1)]),
    ] {
        let (was, now) = (set(was, three), set(now, three));
        let made = Made::new();
        let mut permitted = Vec::new();
        for (index, name) in (0..).zip(["a", "b", "a"]) {
            let batch = Some(record::Batch { id: "1".into(), index, of: 3 });
            let of = Of { batch, ..Of::default() };
            permitted.push(made.judge((&was, &was), &query("alice"), &job(name), of).await);
        }
        let is_whole = permitted.iter().all(|it| matches!(it, Recorded::Permitted(..)));
        let end = if is_whole { sent(202) } else { Ending::NotSent.into() };
        for it in permitted {
            if let Recorded::Permitted(_, entry) = it {
                entry.close(end.clone());
            }
        }
        made.wait(60).await;
        made.delete(&was, "alice", "a").await;
        let directory = made.finish().await;
        let tally = replay(directory.path(), &now, &Options::default());
        assert_eq!(counts(&tally), expected);
    }
}
