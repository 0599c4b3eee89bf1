//! Operations, each with what it leaves in the ledger and in the trail, and what it must be called.

use crate::ledger::record::{Body, Decision, Outcome, Settlement, to_json};
use crate::ledger::{Ending, Kind, LedgerId, Record, fixture};
use crate::policy::Answer;
use crate::reconcile::{Book, Class, Report, Trail, Unbound, reconcile};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write;

const GATE_KEY: &str = "GATEKEYEXAMPLE000000";
const LEDGER: &str = "7f5f1a52-54b1-4f0e-9d8e-1c54a0a3a001";

pub(super) fn begin() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

pub(super) fn after(seconds: i64) -> Timestamp {
    begin() + SignedDuration::from_secs(seconds)
}

pub(super) fn job(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Ledger, trail, and what must come of them.
#[derive(Default)]
pub(super) struct Made {
    pub(super) records: Vec<Record>,
    /// Each with whether it alone tells of a bypass.
    pub(super) events: Vec<(Value, bool)>,
    /// Class and job of each operation, and what it must be called.
    pub(super) expected: Vec<(Class, String)>,
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
        let decision = Decision { job: Cow::Owned(job(number)), result, ..fixture::decision() };
        self.record(time, Kind::Decision, &Body::Decision(Box::new(decision)))
    }

    pub(super) fn deny(&mut self, number: usize, time: Timestamp) {
        let of = self.decide(number, time, Answer::Deny);
        let outcome = outcome(of, Ending::Denied, None);
        self.record(time, Kind::Outcome, &Body::Outcome(outcome));
    }

    /// Sends a delete that ends so.
    pub(super) fn send(
        &mut self,
        number: usize,
        time: Timestamp,
        result: Ending,
        status: Option<u16>,
    ) {
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

    pub(super) fn report(&self, events: &[&Value], complete: bool) -> Report {
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

    pub(super) fn all(&self) -> Vec<&Value> {
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
pub(super) fn event(number: usize, time: Timestamp, key: &str) -> Value {
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

pub(super) fn with(event: &Value, members: &[(&str, Value)]) -> Value {
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

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn made(numbers: impl IntoIterator<Item = usize>) -> Made {
    let mut made = Made::default();
    numbers.into_iter().for_each(|it| made.operation(it));
    made
}
