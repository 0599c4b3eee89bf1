//! A trail and its ledgers, made up together: each operation lands in its class, and none can be
//! taken out of the trail without a trace.

mod made;

use self::made::{Made, after, begin, event, gzip, job, made, with};

use super::*;
use crate::ledger::Ending;

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn each_of_ten_thousand_operations_is_in_its_class() {
    let made = made(0..10_000);
    let report = made.report(&made.all(), true);
    let mut counts: BTreeMap<_, u64> = Class::ALL.into_iter().map(|it| (it, 0)).collect();
    for (class, _) in &made.expected {
        *counts.get_mut(class).unwrap() += 1;
    }
    assert_eq!(report.classes, counts);
    let found = report.findings.iter().map(|it| (it.class, it.job.clone().unwrap()));
    let mut found: Vec<_> = found.collect();
    let mut expected = made.expected.clone();
    expected.retain(|(class, _)| *class != Class::Matched);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!((report.gaps.as_slice(), report.is_complete()), ([].as_slice(), true));
    assert!(1_000 < report.bypasses());
}

#[test]
fn no_event_of_a_bypass_can_be_taken_away_unseen() {
    let mut taken = 0;
    for start in (0..10_000).step_by(21) {
        let made = made(start..start + 21);
        let events = made.all();
        let whole = made.report(&events, true);
        for (at, _) in made.events.iter().enumerate().filter(|(_, (_, is_bypass))| *is_bypass) {
            let mut events = events.clone();
            events.remove(at);
            assert_ne!(made.report(&events, true).classes, whole.classes, "{}", made.events[at].0);
            taken += 1;
        }
        // What the gate sent is missed, too.
        let missing = made.report(&[], true);
        assert!(!missing.is_complete() && missing.bypasses() == 0);
    }
    assert!(3_000 < taken, "{taken}");
}

#[test]
fn an_hour_without_a_record_is_not_clean() {
    let made = Made::default();
    let hours: Vec<_> = (0..48)
        .map(|hour| {
            let at = after(hour * 3600 + 1800);
            with(
                &event(4, at, "X"),
                &[
                    ("trace_name", json!("listNotebooks")),
                    ("resource_type", json!("Notebook")),
                    ("time", json!(at.as_millisecond())),
                ],
            )
        })
        .collect();
    let events: Vec<_> = hours.iter().collect();
    assert!(made.report(&events, false).is_complete());
    for hour in 0..48 {
        let mut events = events.clone();
        events.remove(hour);
        let gaps = made.report(&events, false).gaps;
        let since = after(i64::try_from(hour).unwrap() * 3600);
        let [gap] = &gaps[..] else { panic!("{gaps:?}") };
        assert_eq!(
            (gap.since, gap.until),
            (Some(since), Some(since + SignedDuration::from_hours(1)))
        );
        assert!(made.report(&events, true).is_complete());
    }
    // Hours that follow each other are one gap.
    let gaps = made.report(&[], false).gaps;
    assert_eq!(gaps.iter().filter(|it| it.since.is_some()).count(), 1);
}

/// A trail of three hours with its digests: names and bytes.
fn digested(service: &str, event: &Value) -> Vec<(String, Vec<u8>)> {
    let hour = |it: i64| after(it * 3600).strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut previous = (String::new(), String::new());
    for it in 0..3 {
        let trace = format!(
            "CloudTraces/cn-north-4/2026/3/1/system/{service}/x_CloudTrace_cn-north-4_{}_0faa{it}.json.gz",
            hour(it)
        );
        let bytes = gzip(json!([event]).to_string().as_bytes());
        let object = format!(
            "CloudTraces/cn-north-4/2026/3/1/system/Digest/{service}/x_CloudTrace-Digest_cn-north-4_{}.json.gz",
            hour(it + 1)
        );
        let digest = json!({
            "project_id": "0a1b",
            "digest_start_time": hour(it),
            "digest_end_time": hour(it + 1),
            "digest_object": object,
            "previous_digest_object": previous.0,
            "previous_digest_hash_value": previous.1,
            "previous_digest_hash_algorithm": if it == 0 { "" } else { "MD5" },
            "log_files": [{"bucket": "b", "object": trace, "log_hash_value": sum(&bytes), "log_hash_algorithm": "MD5"}],
        });
        let digest = gzip(digest.to_string().as_bytes());
        previous = (object.clone(), sum(&digest));
        files.extend([(trace, bytes), (object, digest)]);
    }
    files
}

fn sum(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Md5::digest(bytes))
}

/// The gaps of the two hours in the middle of [`digested`], and how many bypasses there are.
fn judge(files: &[(String, Vec<u8>)]) -> (Vec<Gap>, u64) {
    let until = after(2 * 3600);
    let window = Window { since: after(600), until, wanted: until };
    let mut trail = Trail::new(window, BTreeSet::new());
    for (name, bytes) in files {
        let _ = trail.read(name, &**bytes);
    }
    let report = reconcile(trail, Book::default(), true);
    (report.gaps.clone(), report.bypasses())
}

#[test]
fn digests_say_whether_the_trail_is_whole() {
    let whole = digested("ModelArts", &event(5, after(3700), "EVE"));
    assert_eq!(judge(&whole), (Vec::new(), 1));
    let why = |files: &[(String, Vec<u8>)]| {
        let (gaps, _) = judge(files);
        gaps.iter().map(|it| it.why.clone()).collect::<Vec<_>>().join("; ")
    };
    for (at, expected) in
        [(0, "missing"), (2, "missing"), (1, "no digest"), (3, "no digest"), (5, "no digest")]
    {
        let mut files = whole.clone();
        files.remove(at);
        assert!(why(&files).contains(expected), "{at}: {}", why(&files));
    }
    let mut files = whole.clone();
    files[2].1 = gzip(b"[]");
    assert!(why(&files).contains("not the one that was written"));
    // A digest that was written anew, to fit, is betrayed by the next one.
    let mut files = whole;
    let mut digest: Value =
        serde_json::from_reader(flate2::read::GzDecoder::new(&*files[3].1)).unwrap();
    digest["log_files"] = json!([]);
    files[3].1 = gzip(digest.to_string().as_bytes());
    files.remove(2);
    assert!(why(&files).contains("not the one that was written"), "{}", why(&files));
    digest["digest_start_time"] = json!("yesterday");
    files[2].1 = gzip(digest.to_string().as_bytes());
    assert!(why(&files).contains("times cannot be read"));
    assert!(why(&digested("ECS", &event(5, after(3700), "EVE"))).contains("none of ModelArts"));
}

#[test]
fn what_is_too_young_cannot_be_said() {
    let settled = after(3600);
    let of = |since: Option<i64>, until: Option<i64>| {
        let unbound = Unbound { since: since.map(after), until: until.map(after), settled };
        let book = Book::default();
        let mut trail = Trail::new(book.window(&unbound), BTreeSet::new());
        trail.read("x", &b"[]"[..]).unwrap();
        reconcile(trail, book, true).gaps
    };
    assert_eq!(of(Some(0), None), []);
    assert_eq!(of(Some(0), Some(3600)), []);
    let gaps = of(Some(0), Some(3601));
    assert!(gaps[0].why.contains("younger"), "{gaps:?}");
    // Neither a ledger nor an option says from when on.
    assert!(of(None, None)[0].why.contains("no time is left"));
    assert!(of(Some(4000), None)[0].why.contains("no time is left"));
}

/// A bucket that is not mounted is an empty directory.
#[test]
fn a_trail_without_a_file_is_not_whole() {
    assert!(reconcile(trail(), Book::default(), true).gaps[0].why.contains("no file"));
}

/// Two gates say no, and the ledger that is read first has the later one.
#[test]
fn the_first_denial_of_all_ledgers_counts() {
    let unbound = Unbound { since: None, until: None, settled: after(3600) };
    for order in [[0, 120], [120, 0]] {
        let mut book = Book::default();
        for seconds in order {
            let mut made = Made::default();
            made.deny(5, after(seconds));
            made.records.iter().for_each(|it| book.take(it, &unbound).unwrap());
            book.end();
        }
        let mut trail = trail();
        trail.read("x", event(5, after(60), "EVE").to_string().as_bytes()).unwrap();
        let findings = reconcile(trail, book, true).findings;
        assert_eq!(findings[0].class, Class::DeniedHere, "{order:?}");
    }
}

/// The gate serves more projects than the trail is about.
#[test]
fn deletes_in_other_projects_are_not_missed() {
    let unbound = Unbound { since: None, until: None, settled: after(3600) };
    let mut made = Made::default();
    made.send(5, after(60), Ending::Sent, Some(202));
    for (project, missing) in [(None, 1), (Some("0a1b2c"), 1), (Some("other"), 0)] {
        let mut book = Book::default();
        project.iter().for_each(|it| book.only_project(it));
        made.records.iter().for_each(|it| book.take(it, &unbound).unwrap());
        assert_eq!(reconcile(trail(), book, true).classes[&Class::Missing], missing, "{project:?}");
    }
}

/// A trail of the first hour.
fn trail() -> Trail {
    let until = after(3600);
    Trail::new(Window { since: begin(), until, wanted: until }, BTreeSet::new())
}

#[test]
fn hostile_trails_are_never_clean() {
    let event = event(5, after(60), "EVE");
    let text = event.to_string();
    let twice = text.replacen('{', r#"{"trace_name":"listNotebooks","#, 1);
    let deep = text.replace("null", &format!("{}1{}", "[".repeat(200), "]".repeat(200)));
    let long = text.replace("null", &format!("\"{}\"", "x".repeat(RECORD_BYTES_MAX)));
    let control = text.replace("eve", "e\u{1}ve");
    let bomb = gzip(&[b' '; 2001]);
    let cut = |it: Vec<u8>| it[..it.len() - 6].to_vec();
    let jobs: Vec<_> = (0..101).map(job).collect();
    for (name, bytes) in [
        ("duplicate members", twice.into_bytes()),
        ("deep", deep.into_bytes()),
        ("long", long.into_bytes()),
        ("bomb", bomb),
        ("cut", cut(gzip(text.as_bytes()))),
        ("cut list", cut(format!("[{text}]").into_bytes())),
        ("no time", with(&event, &[("time", json!("today"))]).to_string().into_bytes()),
        ("no name", with(&event, &[("trace_name", json!({}))]).to_string().into_bytes()),
        (
            "many jobs",
            with(&event, &[("resource_id", json!(jobs.join(",")))]).to_string().into_bytes(),
        ),
        ("no json", b"<html>".to_vec()),
        ("a list of lists", format!("[[{text}]]").into_bytes()),
        (
            "a page without its end",
            json!({"traces": [], "meta_data": {"marker": "x"}}).to_string().into_bytes(),
        ),
        ("a page with an odd end", br#"{"traces":[],"meta_data":{"marker":{}}}"#.to_vec()),
        ("a page with odd words", br#"{"traces":[],"meta_data":"x"}"#.to_vec()),
        ("a faulty digest", br#"{"digest_object":"x"}"#.to_vec()),
        ("other bytes", vec![0xff; 100]),
        ("a name that is no text", text.replace("eve", "\\ud800").into_bytes()),
        ("control characters", control.into_bytes()),
        ("a code of another kind", with(&event, &[("code", json!(0))]).to_string().into_bytes()),
        (
            "a caller that cannot be read",
            with(&event, &[("user", json!([])), ("trace_type", json!("SystemAction"))])
                .to_string()
                .into_bytes(),
        ),
    ] {
        let mut trail = trail();
        trail.inflated_bytes_max = 2000;
        let read = trail.read("x", &*bytes);
        let report = reconcile(trail, Book::default(), true);
        assert!(!report.is_complete() || report.bypasses() != 0, "{name}: {read:?}");
        assert!(read.is_ok() || !report.is_complete(), "{name}");
    }
}

/// Under either name, or both.
#[test]
fn a_rating_says_whether_a_call_failed() {
    let (normal, failed) = (json!("normal"), json!("warning"));
    for (rating, status, expected) in [
        (&normal, &normal, Class::Bypass),
        (&Value::Null, &normal, Class::Bypass),
        (&Value::Null, &Value::Null, Class::Bypass),
        (&Value::Null, &failed, Class::Attempt),
        (&failed, &failed, Class::Attempt),
    ] {
        let members = [("trace_rating", rating.clone()), ("trace_status", status.clone())];
        let mut trail = trail();
        let event = with(&event(5, after(60), "EVE"), &members);
        trail.read("x", event.to_string().as_bytes()).unwrap();
        let findings = reconcile(trail, Book::default(), true).findings;
        assert_eq!(findings[0].class, expected, "{rating} {status}");
    }
}

#[test]
fn the_gate_is_known_by_its_keys_and_by_what_is_said_of_it() {
    for (words, user, expected) in [
        (["lychgate"].as_slice(), json!("lychgate"), Class::GateKey),
        (&["lychgate"], json!("eve"), Class::Bypass),
        (&["AK"], json!({"access_key_id": "AK"}), Class::GateKey),
        (
            &["sts::1:assumed-agency:gate/*"],
            json!({"principal_urn": "sts::1:assumed-agency:gate/a"}),
            Class::GateKey,
        ),
        (
            &["sts::1:assumed-agency:gate/*"],
            json!({"principal_urn": "sts::1:assumed-agency:gate2/a"}),
            Class::Bypass,
        ),
        (&[], json!({"access_key_id": "AK"}), Class::Bypass),
    ] {
        let mut book = Book::default();
        words.iter().for_each(|it| book.also_gate(it));
        let mut trail = trail();
        let event = with(&event(5, after(60), ""), &[("user", user.clone())]);
        trail.read("x", event.to_string().as_bytes()).unwrap();
        let report = reconcile(trail, book, true);
        assert_eq!(report.findings[0].class, expected, "{words:?} {user}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// With digests, no byte of a trail can be changed so that the bypass is gone.
    #[test]
    fn a_changed_trail_is_not_clean(file in 0_usize..6, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut files = digested("ModelArts", &event(5, after(3700), "EVE"));
        let bytes = &mut files[file].1;
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let (gaps, bypasses) = judge(&files);
        prop_assert!(!gaps.is_empty() || bypasses == 1);
    }

    /// Whatever the bytes, reading ends, and what could not be read is not clean.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b','), Just(b':'), Just(b'\\'), any::<u8>()], 0..200)) {
        let mut trail = trail();
        let read = trail.read("x", &*bytes);
        let report = reconcile(trail, Book::default(), true);
        prop_assert!(read.is_ok() || !report.is_complete());
    }
}
