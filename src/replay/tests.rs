//! Ledgers made on purpose, and what other policies would have said.

mod budgets;

use super::*;

use crate::budget::{self, Refused};
use crate::clock::Clock;
use crate::ledger::record::{LookUp, LookUpResult, Shadow, ShadowError, Source};
use crate::ledger::{self, Ending, Judged, Ledger, Outcome, Recorded};
use crate::metrics::Metrics;
use crate::policy::{Action, Attribute, Files, Job, Limits, Method, Principal, Query};

use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

const NOON: &str = "2026-01-15T12:00:00Z";

const TO_ANY: &str = "- {to: [any], policies: [it]}\n";

/// Policies that allow what meets this condition.
fn allow(condition: &str) -> Arc<Set> {
    let statement = format!(
        r#"{{"Sid": "It", "Effect": "Allow", "Action": ["modelarts:trainJob:delete"]{condition}}}"#
    );
    compile(&[("identity/it.json", &document(&statement)), ("attachments.yaml", TO_ANY)])
}

fn document(statements: &str) -> String {
    format!(r#"{{"Version": "5.0", "Statement": [{statements}]}}"#)
}

fn compile(files: &[(&str, &str)]) -> Arc<Set> {
    let files: Files = files.iter().map(|(path, text)| (*path, *text)).collect();
    let compiled = Set::compile(&files, &Limits::default());
    Arc::new(compiled.set.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics)))
}

fn named(names: &[String]) -> Arc<Set> {
    let list = serde_json::to_string(names).unwrap();
    allow(&format!(r#", "Condition": {{"StringEquals": {{"lychgate:jobName": {list}}}}}"#))
}

fn query(name: &str) -> Query {
    let groups = ["ml".to_owned()];
    Query {
        principal: Arc::new(Principal::new("corp", name, groups, BTreeMap::new(), Method::Jwt)),
        action: Action::Delete,
        job: Arc::new(Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: NOON.parse().unwrap(),
        source_ip: Attribute::Value([10, 1, 2, 3].into()),
        secure_transport: Attribute::Value(true),
        user_agent: Attribute::Value("curl/8".to_owned()),
    }
}

/// The details of a job, looked up.
fn job(name: &str) -> Attributes {
    let mut res = Attributes {
        name: Attribute::Value(name.to_owned()),
        phase: Attribute::Value("Running".to_owned()),
        ..Attributes::default()
    };
    res.asked(crate::policy::Sources { details: true, tags: false });
    res
}

/// What else is recorded of a decision.
#[derive(Clone, Default)]
struct Of<'a> {
    shadow: Option<Shadow<'a>>,
    batch: Option<record::Batch<'a>>,
    /// It is not recorded what was taken of the budgets.
    uncounted: bool,
}

/// A ledger that is being made, as a gate makes it.
struct Made {
    directory: TempDir,
    clock: Clock,
    budgets: budget::Budgets,
    opened: ledger::Opened,
}

impl Made {
    fn new() -> Self {
        Self::go_on(tempfile::tempdir().unwrap(), NOON.parse().unwrap())
    }

    /// Another run of a gate with the same ledger, which knows nothing of what was deleted before.
    fn go_on(directory: TempDir, now: Timestamp) -> Self {
        let clock = Clock::manual(now);
        let config = ledger::Config {
            directory: directory.path().to_owned(),
            reserve: 0,
            segment: 64 * 1024,
            retain: SignedDuration::from_hours(24 * 400),
            checkpoints: None,
            ship: false,
            echo: false,
        };
        let opened = ledger::open(&config, clock.clone(), &Metrics::new()).unwrap();
        Self { directory, clock, budgets: budget::Budgets::new(now), opened }
    }

    fn ledger(&self) -> &Ledger {
        &self.opened.ledger
    }

    /// Records what `judge` says under the digest of `set`.
    async fn record(
        &self,
        (set, judge): (&Arc<Set>, &Set),
        query: &Query,
        attributes: &Attributes,
        shadow: Option<Shadow<'_>>,
    ) {
        let of = Of { shadow, ..Of::default() };
        drop(self.judge((set, judge), query, attributes, of).await);
    }

    /// The same; what is permitted is the caller's to end.
    async fn judge(
        &self,
        (set, judge): (&Arc<Set>, &Set),
        query: &Query,
        attributes: &Attributes,
        of: Of<'_>,
    ) -> Recorded {
        if !self.budgets.knows(judge.budgets()) {
            let room = self.budgets.open(judge.budgets());
            self.budgets.filled(&room).await;
        }
        let mut decision = judge.evaluate(query, attributes);
        let mut unit = None;
        if decision.answer() == Answer::Allow {
            match self.budgets.take(judge.budgets(), query, attributes).await {
                Ok(taken) => unit = Some(taken),
                Err(Refused::Spent(it)) => {
                    decision = Decision::Deny(Denial::over_budget(&it.budget));
                }
                Err(Refused::Away) => panic!("there is no database"),
            }
        }
        let sources = attributes.sources();
        let look_up = LookUp {
            source: Source::Details,
            at: query.now,
            upstream_request_id: None,
            result: LookUpResult::Found,
        };
        let look_ups: Vec<_> = sources.details.then_some(look_up).into_iter().collect();
        let recorded = self.ledger().record(Judged {
            request_id: "a",
            caller_request_id: None,
            trace_id: "",
            peer: None,
            upstream: "bj4",
            query,
            attributes,
            decision,
            policies: set,
            look_ups: &look_ups,
            unit: unit.filter(|_| !of.uncounted),
            batch: of.batch,
            shadow: of.shadow,
        });
        recorded.await.unwrap()
    }

    async fn finish(self) -> TempDir {
        self.opened.thread.close().await.unwrap();
        self.directory
    }
}

fn replay(directory: &Path, candidate: &Arc<Set>, options: &Options) -> Tally {
    let mut replay = Replay::new(Arc::clone(candidate), options.clone());
    replay.read(directory, |_, _| ()).unwrap().unwrap();
    replay.finish()
}

fn counts(tally: &Tally) -> Vec<(&str, &str, u64)> {
    let groups = tally.groups.iter();
    groups.map(|((class, by), it)| (class.as_str(), by.as_str(), it.count)).collect()
}

/// 50 planted changes yield exactly the flips that their construction implies.
#[tokio::test]
async fn a_planted_change_flips_what_it_is_about_and_nothing_else() {
    const NAMES: usize = 50;
    let names: Vec<_> = (0..NAMES).map(|it| format!("job-{it}")).collect();
    // Of each pair of names one is allowed, and name number n was asked about n % 3 + 1 times.
    let allowed: Vec<_> = names.iter().step_by(2).cloned().collect();
    let set = named(&allowed);
    let made = Made::new();
    let mut asked = 0;
    for (number, name) in names.iter().enumerate() {
        for _ in 0..=number % 3 {
            made.record((&set, &set), &query("alice"), &job(name), None).await;
            asked += 1;
        }
    }
    let directory = made.finish().await;

    let same = replay(directory.path(), &set, &Options::default());
    assert_eq!((same.decisions, same.same, counts(&same)), (asked, asked, vec![]));
    for (number, name) in names.iter().enumerate() {
        let mut changed = allowed.clone();
        let (class, by) = match changed.iter().position(|it| it == name) {
            Some(at) => {
                changed.remove(at);
                ("revoked", "none")
            }
            None => {
                changed.push(name.clone());
                ("gained", "identity/it#It")
            }
        };
        let tally = replay(directory.path(), &named(&changed), &Options::default());
        let count = u64::try_from(number % 3).unwrap() + 1;
        assert_eq!(counts(&tally), [(class, by, count)], "{name}");
        assert_eq!(tally.same, asked - count, "{name}");
        let example = &tally.groups.values().next().unwrap().example;
        assert_eq!(example.attributes.name, Attribute::Value(name.clone()));
    }
}

/// Skipped look-ups must not look like answers.
#[tokio::test]
async fn what_depends_on_what_was_not_asked_is_never_a_flip() {
    let set = allow("");
    let made = Made::new();
    for attributes in [Attributes::default(), job("a")] {
        made.record((&set, &set), &query("alice"), &attributes, None).await;
    }
    let mut unavailable = Attributes::default();
    unavailable.asked(crate::policy::Sources { details: true, tags: true });
    made.record((&set, &set), &query("alice"), &unavailable, None).await;
    let directory = made.finish().await;
    let by_tag = r#""g:ResourceTag/team": ["vision"]"#;
    let by_owner = r#""lychgate:jobOwner": ["alice"]"#;
    let it = "identity/it#It";
    for (keys, expected) in [
        (by_tag.to_owned(), vec![("stalled", it, 1), ("needs_tags", it, 2)]),
        (by_owner.to_owned(), vec![("stalled", it, 2), ("needs_details", it, 1)]),
        (
            format!("{by_tag}, {by_owner}"),
            vec![("stalled", it, 1), ("needs_tags", it, 1), ("needs_details_and_tags", it, 1)],
        ),
    ] {
        let condition = format!(r#", "Condition": {{"StringEquals": {{{keys}}}}}"#);
        let tally = replay(directory.path(), &allow(&condition), &Options::default());
        assert_eq!(counts(&tally), expected, "{keys}");
        assert_eq!(tally.same, 0);
    }
}

#[tokio::test]
async fn a_record_that_its_own_policies_contradict_is_drift() {
    let (set, other) = (allow(""), named(&["nobody's".to_owned()]));
    let made = Made::new();
    made.record((&set, &other), &query("alice"), &job("a"), None).await;
    made.record((&set, &set), &query("alice"), &job("a"), None).await;
    let directory = made.finish().await;
    let tally = replay(directory.path(), &set, &Options::default());
    assert_eq!((counts(&tally), tally.same), (vec![("drift", "none", 1)], 1));
}

/// A version whose text is not that of its digest, or does not compile today.
#[tokio::test]
async fn decisions_of_a_version_that_cannot_be_read_are_counted_and_never_the_same() {
    let set = allow("");
    let lost = Arc::new(Set::of_no_statements("1f", set.files().clone()));
    let made = Made::new();
    for (version, times) in [(&lost, 3), (&set, 2)] {
        for _ in 0..times {
            made.record((version, &set), &query("alice"), &job("a"), None).await;
        }
    }
    let directory = made.finish().await;
    for candidate in [&set, &named(&["a".to_owned()]), &named(&["b".to_owned()])] {
        let tally = replay(directory.path(), candidate, &Options::default());
        assert_eq!((tally.decisions, tally.without_policies), (5, 3));
        let differ: u64 = counts(&tally).iter().map(|(.., count)| count).sum();
        assert_eq!(tally.same + differ, 2);
    }
}

/// More than are kept ready, and a request of the version before is still at work at each change.
#[tokio::test]
async fn no_version_of_a_segment_is_forgotten_for_the_number_of_them() {
    let made = Made::new();
    let sets: Vec<_> = (0..200).map(|it| named(&[format!("job-{it}")])).collect();
    for pair in sets.windows(2) {
        for set in [&pair[1], &pair[0]] {
            made.record((set, set), &query("alice"), &job("a"), None).await;
        }
    }
    let directory = made.finish().await;
    let tally = replay(directory.path(), &sets[0], &Options::default());
    assert_eq!((tally.decisions, tally.same, tally.without_policies), (398, 398, 0));
}

#[tokio::test]
async fn one_edited_line_is_refused() {
    let set = allow("");
    let made = Made::new();
    for _ in 0..3 {
        made.record((&set, &set), &query("alice"), &job("a"), None).await;
    }
    let directory = made.finish().await;
    let path = directory.path().join("00000000000000000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [("corp/alice", "corp/mallo"), (r#""result":"allow""#, r#""result":"denyy""#)]
    {
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let read =
            Replay::new(Arc::clone(&set), Options::default()).read(directory.path(), |_, _| ());
        assert!(matches!(read, Err(Unverified::Damaged(_))), "{from}: {read:?}");
    }
}

#[tokio::test]
async fn only_what_was_decided_in_the_window_counts() {
    let (set, none) = (allow(""), named(&["nobody's".to_owned()]));
    let made = Made::new();
    let start: Timestamp = NOON.parse().unwrap();
    for hours in 0..4 {
        made.clock.set(start + SignedDuration::from_hours(hours));
        made.record((&set, &set), &query("alice"), &job("a"), None).await;
    }
    let directory = made.finish().await;
    let time = |hours: i64| Some(start + SignedDuration::from_hours(hours));
    for (since, until, expected) in
        [(None, None, 4), (time(1), None, 3), (None, time(3), 3), (time(1), time(2), 1)]
    {
        let options = Options { since, until, ..Options::default() };
        let tally = replay(directory.path(), &none, &options);
        assert_eq!(counts(&tally), [("revoked", "none", expected)], "{options:?}");
        let group = tally.groups.values().next().unwrap();
        assert_eq!(group.first, since.unwrap_or(start));
    }
}

#[tokio::test]
async fn the_same_answer_by_another_statement_is_shown_when_asked_for() {
    let set = allow("");
    let statement =
        r#"{"Sid": "Other", "Effect": "Allow", "Action": ["modelarts:trainJob:delete"]}"#;
    let renamed =
        compile(&[("identity/it.json", &document(statement)), ("attachments.yaml", TO_ANY)]);
    let made = Made::new();
    made.record((&set, &set), &query("alice"), &job("a"), None).await;
    let directory = made.finish().await;
    let silent = replay(directory.path(), &renamed, &Options::default());
    assert_eq!((counts(&silent), silent.same), (vec![], 1));
    let options = Options { statements: true, ..Options::default() };
    let shown = replay(directory.path(), &renamed, &options);
    assert_eq!(counts(&shown), [("statement", "identity/it#Other", 1)]);
}

#[tokio::test]
async fn principals_beyond_the_limit_are_counted_together() {
    let set = allow("");
    let made = Made::new();
    for number in 0..PRINCIPALS_MAX + 7 {
        let query = query(&format!("p{number}"));
        made.record((&set, &set), &query, &job("a"), None).await;
    }
    made.ledger().suppressed("corp/p0", NOON.parse().unwrap(), 41);
    let directory = made.finish().await;
    let tally = replay(directory.path(), &named(&["nobody's".to_owned()]), &Options::default());
    let group = tally.groups.values().next().unwrap();
    assert_eq!((group.principals.len(), group.others), (PRINCIPALS_MAX, 7));
    assert_eq!(tally.suppressed, 41);
}

/// An error is never "the same".
#[tokio::test]
async fn shadows_are_counted_by_class_and_errors_are_classes() {
    let set = allow("");
    let shadow = |result: Option<Answer>, reason, error| Shadow {
        digest: None,
        result,
        reason,
        statement: None,
        error,
    };
    let rows = [
        (Some(shadow(Some(Answer::Allow), None, None)), None),
        (
            Some(shadow(Some(Answer::Deny), Some(Reason::NothingAllows), None)),
            Some(("revoked", "none")),
        ),
        (
            Some(shadow(Some(Answer::Indeterminate), None, None)),
            Some(("stalled", "identity/it#It")),
        ),
        (
            Some(shadow(None, None, Some(ShadowError::NotLoaded))),
            Some(("not_loaded", "identity/it#It")),
        ),
        (
            Some(shadow(None, None, Some(ShadowError::NeedsTags))),
            Some(("needs_tags", "identity/it#It")),
        ),
        (Some(shadow(None, None, None)), Some(("not_loaded", "identity/it#It"))),
        (None, None),
    ];
    for (shadow, expected) in rows {
        let made = Made::new();
        made.record((&set, &set), &query("alice"), &job("a"), shadow.clone()).await;
        let directory = made.finish().await;
        let mut shadows = Shadows::new(Options::default());
        shadows.read(directory.path()).unwrap();
        let tally = shadows.finish();
        let found = counts(&tally).first().map(|(class, by, _)| (*class, *by));
        assert_eq!(found, expected, "{shadow:?}");
        let is_same = expected.is_none() && shadow.is_some();
        assert_eq!((tally.same == 1, tally.without_shadow == 1), (is_same, shadow.is_none()));
    }
}

#[test]
fn what_may_be_accepted_is_a_closed_form() {
    for (text, error) in [
        ("accept: []", None),
        ("accept: [{class: gained, statement: identity/a#B, reason: CHG-1}]", None),
        ("{}", Some("1:1: `accept` is missing")),
        ("accept: [{class: gained, statement: a}]", Some("1:11: `reason` is missing")),
        ("accept: [{class: gaind, statement: a, reason: b}]", Some("did you mean `gained`?")),
        ("accept: [{class: gained, statement: a, reason: b, resaon: c}]", Some("`reason`?")),
        (
            "accept:\n- {class: gained, statement: a, reason: ''}\n- {class: drift, statement: a, reason: b}",
            Some("3:3: `drift`"),
        ),
        ("accept: [{class: gained, statement: a, reason: ' '}]", Some("has no reason")),
        ("accept: [{class: needs_tags, statement: a, reason: b}]", Some("cannot be accepted")),
        ("accept: [{class: not_loaded, statement: a, reason: b}]", Some("cannot be accepted")),
        ("accept: [{class: drift, statement: a, reason: b}]", Some("cannot be accepted")),
        (
            "accept: [{class: gained, statement: a, reason: b}, {class: gained, statement: a, reason: c}]",
            Some("is there twice"),
        ),
    ] {
        let parsed = Acceptance::parse(text).map(drop).map_err(|it| it.to_string());
        match error {
            None => assert_eq!(parsed, Ok(()), "{text}"),
            Some(error) => {
                let said = parsed.unwrap_err();
                assert!(said.contains(error), "{text}: {said}");
            }
        }
    }
}
