//! A trail and its ledgers, made up together: each operation lands in its class, and none can be
//! taken out of the trail without a trace.

use super::*;
use crate::ledger::record::{Body, Context, Decision, Outcome, Settlement, to_json};
use crate::ledger::{Ending, Kind, LedgerId, Record};
use crate::policy::{Action, Answer, Attribute, Method};

use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const GATE_KEY: &str = "GATEKEYEXAMPLE000000";
const LEDGER: &str = "7f5f1a52-54b1-4f0e-9d8e-1c54a0a3a001";

fn begin() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    begin() + SignedDuration::from_secs(seconds)
}

fn job(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Ledger, trail, and what must come of them.
#[derive(Default)]
struct Made {
    records: Vec<Record>,
    /// Each with whether it alone tells of a bypass.
    events: Vec<(Value, bool)>,
    /// Class and job of each operation, and what it must be called.
    expected: Vec<(Class, String)>,
}

impl Made {
    fn record(&mut self, time: Timestamp, kind: Kind, body: &Body<'_>) -> u64 {
        let seq = u64::try_from(self.records.len()).unwrap() + 1;
        self.records.push(Record {
            ledger_id: LedgerId::parse(LEDGER).unwrap(),
            seq,
            time,
            kind,
            file: String::new(),
            line: seq,
            text: to_json(body).into_bytes(),
        });
        seq
    }

    fn decide(&mut self, number: usize, time: Timestamp, result: Answer) -> u64 {
        let attributes = crate::policy::Attributes::default();
        let decision = Decision {
            request_id: Cow::Borrowed("r"),
            caller_request_id: None,
            trace_id: Cow::Borrowed("t"),
            source: Cow::Borrowed("corp"),
            principal: Cow::Borrowed("corp/alice"),
            groups: Cow::Borrowed(&[]),
            tags: Cow::Owned(BTreeMap::new()),
            peer: None,
            source_ip: Attribute::Absent,
            project: Cow::Borrowed("0a1b"),
            job: Cow::Owned(job(number)),
            upstream: Cow::Borrowed("bj4"),
            action: Action::Delete,
            resource: Cow::Borrowed("modelarts:::trainJob:"),
            context: Context {
                region: Cow::Borrowed(""),
                account: Cow::Borrowed(""),
                now: time,
                auth_method: Method::Jwt,
                secure_transport: Attribute::Absent,
                user_agent: Cow::Owned(Attribute::Absent),
            },
            attributes: Cow::Owned(attributes),
            look_ups: Cow::Borrowed(&[]),
            policy_digest: Cow::Borrowed("d"),
            result,
            reason: None,
            statement: None,
            budget: None,
            charges: Cow::Borrowed(&[]),
            unit: None,
            batch: None,
            shadow: None,
        };
        self.record(time, Kind::Decision, &Body::Decision(Box::new(decision)))
    }

    fn deny(&mut self, number: usize, time: Timestamp) {
        let of = self.decide(number, time, Answer::Deny);
        let outcome = outcome(of, Ending::Denied, None);
        self.record(time, Kind::Outcome, &Body::Outcome(outcome));
    }

    /// Sends a delete that ends so.
    fn send(&mut self, number: usize, time: Timestamp, result: Ending, status: Option<u16>) {
        let of = self.decide(number, time, Answer::Allow);
        let request_id = (status.is_some() && number.is_multiple_of(2))
            .then(|| Cow::Owned(format!("q{number}")));
        let outcome = Outcome { upstream_request_id: request_id, ..outcome(of, result, status) };
        self.record(time, Kind::Outcome, &Body::Outcome(outcome));
        if result == Ending::Unknown && number.is_multiple_of(3) {
            let settlement = Settlement { of, result: Ending::Gone };
            self.record(time, Kind::Settlement, &Body::Settlement(settlement));
        }
    }

    fn event(&mut self, event: Value) {
        self.events.push((event, false));
    }

    fn bypass(&mut self, event: Value) {
        self.events.push((event, true));
    }

    fn expect(&mut self, class: Class, number: usize) {
        self.expected.push((class, job(number)));
    }

    /// One operation of the kind that its number says.
    fn operation(&mut self, number: usize) {
        let time = after(i64::try_from(number).unwrap() * 8);
        match number % 21 {
            0..=4 | 10..=13 | 15..=16 => self.through(number, time),
            _ => self.past(number, time),
        }
    }

    /// An operation through the gate.
    fn through(&mut self, number: usize, time: Timestamp) {
        let late = |seconds| time + SignedDuration::from_secs(seconds);
        let gate = |seconds| event(number, late(seconds), GATE_KEY);
        let mut sent = |it: i64, status| self.send(number, late(it), Ending::Sent, Some(status));
        let (class, events) = match number % 21 {
            0 | 1 => {
                sent(0, 202);
                (Class::Matched, vec![gate(1)])
            }
            2 => {
                sent(0, 202);
                // The end of an asynchronous call, which nobody has asked for.
                let end = with(&by_itself(&gate(180)), &[("trace_id", json!(number))]);
                (Class::Matched, vec![gate(1), end])
            }
            3 => {
                sent(0, 202);
                (Class::Matched, vec![gate(1), gate(1)])
            }
            4 => return self.deny(number, time),
            10 => {
                self.send(number, time, Ending::Unknown, None);
                let known = number.is_multiple_of(3);
                (if known { Class::Matched } else { Class::Settled }, vec![gate(2)])
            }
            11 => {
                sent(0, 409);
                (Class::Matched, vec![with(&gate(0), &[("trace_rating", json!("warning"))])])
            }
            12 => {
                sent(0, 409);
                self.expect(Class::Differs, number);
                return self.bypass(gate(0));
            }
            13 => {
                sent(0, 202);
                (Class::Failed, vec![with(&gate(1), &[("trace_rating", json!("incident"))])])
            }
            15 => {
                sent(600, 202);
                self.expect(Class::Retagged, number);
                let tags = [("trace_name", json!("CreateJobTags"))];
                (Class::Matched, vec![with(&event(number, time, "EVE"), &tags), gate(601)])
            }
            _ => {
                // A client that repeats, and no request ID that tells the two apart.
                sent(0, 202);
                sent(20, 202);
                self.expect(Class::Matched, number);
                let again = |it: i64| {
                    let id = json!(format!("{it} {number}"));
                    with(&gate(it), &[("request_id", Value::Null), ("trace_id", id)])
                };
                (Class::Matched, vec![again(0), again(20)])
            }
        };
        self.expect(class, number);
        events.into_iter().for_each(|it| self.event(it));
    }

    /// An operation past the gate.
    fn past(&mut self, number: usize, time: Timestamp) {
        let late = |seconds| time + SignedDuration::from_secs(seconds);
        let eve = |seconds| event(number, late(seconds), "EVEKEYEXAMPLE0000000");
        let (class, event) = match number % 21 {
            5 => (Class::Bypass, eve(0)),
            6 => {
                let console = json!({"name": "eve", "invoked_by": ["service.console"]});
                (Class::Console, with(&eve(0), &[("user", console)]))
            }
            7 => {
                self.deny(number, time);
                (Class::DeniedHere, eve(60))
            }
            8 => (Class::GateKey, event(number, time, GATE_KEY)),
            9 => {
                self.expect(Class::System, number);
                return self.event(by_itself(&eve(0)));
            }
            14 => {
                self.expect(Class::Attempt, number);
                return self.event(with(&eve(0), &[("code", json!("403"))]));
            }
            17 => {
                let notebook =
                    [("trace_name", json!("deleteNotebook")), ("resource_type", json!("Notebook"))];
                return self.event(with(&eve(0), &notebook));
            }
            18 => {
                let old = [
                    ("trace_name", json!("deleteModelArtsTrainJob")),
                    ("resource_type", json!("ModelArtsTrainJob")),
                ];
                (Class::Bypass, with(&eve(0), &old))
            }
            19 => {
                // A batch: one event, two jobs.
                let second = number + 1_000_000;
                let items = [number, second].map(|it| json!({"metadata": {"id": job(it)}}));
                let body = json!({"jobs": items}).to_string();
                self.expect(Class::Bypass, second);
                let batch = [("resource_id", Value::Null), ("request", json!(body))];
                (Class::Bypass, with(&eve(0), &batch))
            }
            _ => {
                // Somebody is quicker than the gate, which then finds no job.
                self.send(number, late(30), Ending::Sent, Some(400));
                (Class::Bypass, with(&eve(0), &[("request_id", Value::Null)]))
            }
        };
        self.expect(class, number);
        self.bypass(event);
    }

    fn report(&self, events: &[&Value], complete: bool) -> Report {
        let until = begin() + SignedDuration::from_hours(48);
        let unbound = Unbound { since: Some(begin()), until: Some(until), settled: until };
        let mut book = Book::default();
        for it in &self.records {
            book.take(it, &unbound).unwrap();
        }
        let mut trail = Trail::new(book.window(&unbound), BTreeSet::new());
        // A small trail is one file, which need not be inflated.
        let first = usize::from(events.len() < 500);
        for (number, chunk) in events.chunks(500).enumerate() {
            trail.read("trail", &*file(first + number, chunk)).unwrap();
        }
        reconcile(trail, book, complete)
    }

    fn all(&self) -> Vec<&Value> {
        self.events.iter().map(|(it, _)| it).collect()
    }
}

fn outcome(of: u64, result: Ending, status: Option<u16>) -> Outcome<'static> {
    let sent = result.is_sent();
    Outcome {
        of,
        result,
        status,
        upstream_request_id: None,
        access_key: sent.then_some(Cow::Borrowed(GATE_KEY)),
        date: None,
        duration_ms: 1,
    }
}

/// The event of a delete, its fields in forms that change with `number`.
fn event(number: usize, time: Timestamp, key: &str) -> Value {
    let user = json!({
        "name": if key == GATE_KEY { "lychgate" } else { "eve" },
        "access_key_id": key,
        "principal_is_root_user": "false",
        "domain": {"name": "corp"},
    });
    let ms = time.as_millisecond();
    let time = match number % 4 {
        0 => json!(ms),
        1 => json!(ms.to_string()),
        2 => json!(time.strftime("%Y/%m/%d %H:%M:%S GMT+00:00").to_string()),
        _ => json!(time.to_string()),
    };
    json!({
        "trace_id": format!("trace-{number}-{key}"),
        "trace_name": if number.is_multiple_of(5) { "deletejobv2" } else { "DeleteJobV2" },
        "trace_rating": "normal",
        "trace_type": "ApiCall",
        "code": ([json!("202"), json!(202), Value::Null][number % 3]),
        "time": time,
        "resource_type": "JobV2",
        "resource_id": if number.is_multiple_of(7) { job(number).to_uppercase() } else { job(number) },
        "request": (["", "{}"][number % 2]),
        "response": Value::Null,
        "request_id": if number.is_multiple_of(4) { json!(format!("q{number}")) } else { Value::Null },
        "source_ip": "192.0.2.7",
        "user": if number.is_multiple_of(2) { user } else { json!(user.to_string()) },
    })
}

fn with(event: &Value, members: &[(&str, Value)]) -> Value {
    let mut event = event.clone();
    for (name, value) in members {
        event[*name] = value.clone();
    }
    event
}

/// As the cloud writes down what nobody has asked for.
fn by_itself(event: &Value) -> Value {
    let system = ("trace_type", json!("SystemAction"));
    with(event, &[("user", Value::Null), ("source_ip", Value::Null), system])
}

/// A file of these records, in one of the forms in which the service hands them out.
fn file(form: usize, events: &[&Value]) -> Vec<u8> {
    match form % 5 {
        0 => gzip(json!(events).to_string().as_bytes()),
        1 => json!(events).to_string().into_bytes(),
        2 => events.iter().map(|it| format!("{it}\n")).collect::<String>().into_bytes(),
        3 => json!({"traces": events, "meta_data": {"count": events.len(), "marker": null}})
            .to_string()
            .into_bytes(),
        _ => {
            let lines: String = events.iter().map(|it| json!({"cts": it}).to_string()).collect();
            gzip(lines.as_bytes())
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn made(numbers: impl IntoIterator<Item = usize>) -> Made {
    let mut made = Made::default();
    numbers.into_iter().for_each(|it| made.operation(it));
    made
}

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
    assert_eq!(gaps.len(), 1);
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
        let trail = Trail::new(book.window(&unbound), BTreeSet::new());
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
        ("a faulty digest", br#"{"digest_object":"x"}"#.to_vec()),
        ("other bytes", vec![0xff; 100]),
        ("a name that is no text", text.replace("eve", "\\ud800").into_bytes()),
        ("control characters", control.into_bytes()),
    ] {
        let until = after(3600);
        let window = Window { since: begin(), until, wanted: until };
        let mut trail = Trail::new(window, BTreeSet::new());
        trail.inflated_bytes_max = 2000;
        let read = trail.read("x", &*bytes);
        let report = reconcile(trail, Book::default(), true);
        assert!(!report.is_complete() || report.bypasses() != 0, "{name}: {read:?}");
        assert!(read.is_ok() || !report.is_complete(), "{name}");
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
        let until = after(3600);
        let mut book = Book::default();
        words.iter().for_each(|it| book.also_gate(it));
        let mut trail =
            Trail::new(Window { since: begin(), until, wanted: until }, BTreeSet::new());
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
        let until = after(3600);
        let mut trail = Trail::new(Window { since: begin(), until, wanted: until }, BTreeSet::new());
        let read = trail.read("x", &*bytes);
        let report = reconcile(trail, Book::default(), true);
        prop_assert!(read.is_ok() || !report.is_complete());
    }
}
