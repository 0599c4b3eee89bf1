//! Every operator, in a Deny and in an Allow, with every qualifier and suffix, over absent, unknown,
//! one and several values, against lists of every kind of value.

use super::generate::{ADDRESS, BOOL, DATE, NUMBER, TEXT};
use super::{load, show};

use crate::support::reference::{Files, Policies, judge};

use lychgate::policy::{Action, Attribute, Attributes, Job, Method, Principal, Query};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Operators of one family; what the request may hold; what may be listed.
struct Family {
    operators: &'static [&'static str],
    present: &'static [&'static str],
    listed: &'static [&'static str],
}

const FAMILIES: &[Family] = &[
    Family {
        operators: TEXT.operators,
        present: &["a", "B", "ab", "*", ""],
        listed: &["a", "b", "a*", "?", "${*}"],
    },
    Family {
        operators: NUMBER.operators,
        present: &[
            "5",
            "-5.50",
            "07",
            "0.5000000000000000000000000000001",
            "1e3",
            "+5",
            "5.",
            ".5",
            "-0",
            " 5",
            "",
        ],
        listed: &["5.0", "-5.5", "7", "0.5"],
    },
    Family {
        operators: DATE.operators,
        present: &[
            "2026-01-15T12:00:00Z",
            "2026-01-15T20:00:00.000+08:00",
            "2026-01-15T12:00:00.1Z",
            "2026-01-15T12:00:60Z",
            "2026-01-15",
            "2026-01-15t12:00:00z",
            "2026-01-15 12:00:00Z",
            "2026-02-29T00:00:00Z",
            "2024-02-29T24:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59Z",
            "2026-01-15T12:00:00.000000001Z",
            "2026-01-15T12:00:00.0000000001Z",
            "2026-01-15T12:00:00-00:00",
            "2026-01-15T12:00:00+24:00",
            "2026-01-15T12:00:00",
        ],
        listed: &["2026-01-15T12:00:00Z", "2026-01-15T04:00:00.1-08:00"],
    },
    Family {
        operators: BOOL.operators,
        present: &["true", "FALSE", "1", ""],
        listed: &["true", "False"],
    },
    Family {
        operators: ADDRESS.operators,
        present: &[
            "10.0.0.1",
            "::ffff:10.0.0.2",
            "fd00::1",
            "010.0.0.1",
            "10.0.0.0/8",
            "10.0.0.1/32",
            "::ffff:a00:1",
            "fe80::1%eth0",
            "[fd00::1]",
            "10.0.0.1:80",
        ],
        listed: &["10.0.0.1", "10.0.0.0/8", "::ffff:10.0.0.2/127", "fd00::/8", "::/0"],
    },
];

/// Variables that cannot be filled in, that are unknown, that have a default, that have a value.
const VARIABLES: &[&str] = &[
    "${g:PrincipalTag/none}",
    "${g:ResourceTag/unknown}",
    "${g:ResourceTag/unknown, 'a'}",
    "${modelarts:poolType, 'a'}",
    "${g:PrincipalTag/value}",
];

#[test]
fn every_operator_in_every_situation() {
    let mut tally = Tally::default();
    for family in FAMILIES {
        let operators = spelled(family.operators);
        let lists = lists(family.listed);
        let states = states(family.present);
        let asked = |value: &&str| states.iter().map(|it| question(it.clone(), value)).collect();
        let questions: Vec<Vec<_>> = family.present.iter().map(asked).collect();
        // This key takes every operator and holds any number of values.
        tally.compare("modelarts:poolId", &operators, &lists, &questions[0]);
        let lists = [vec!["${g:PrincipalTag/value}"], vec!["x${g:PrincipalTag/value}", "5"]];
        let lists =
            if family.operators.contains(&"StringEquals") { &lists[..] } else { &lists[..1] };
        tally.compare("modelarts:poolId", &operators, lists, &questions.concat());
    }
    tally.compare("modelarts:poolId", &null(), &presence(), &circumstances());
    assert!(30_000 < tally.asked, "{}", tally.asked);
    tally.finish();
}

#[test]
fn keys_with_a_type_in_every_situation() {
    let [_, number, date, truth, address] = FAMILIES else { panic!("five families") };
    let rows = [
        ("lychgate:jobAge", number),
        ("g:CurrentTime", date),
        ("g:SecureTransport", truth),
        ("g:SourceIp", address),
    ];
    let mut tally = Tally::default();
    for (key, family) in rows {
        let lists = lists(family.listed);
        tally.compare(key, &spelled(family.operators), &lists, &circumstances());
        tally.compare(key, &null(), &presence(), &circumstances());
    }
    tally.finish();
}

fn null() -> Vec<String> {
    vec!["Null".to_owned()]
}

fn presence() -> Vec<Vec<&'static str>> {
    vec![vec!["true"], vec!["FALSE"], vec!["true", "false"]]
}

#[derive(Default)]
struct Tally {
    asked: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn compare(
        &mut self,
        key: &str,
        operators: &[String],
        lists: &[Vec<&'static str>],
        questions: &[(Query, Attributes)],
    ) {
        for operator in operators {
            for (effect, list) in both(lists) {
                let files = files(effect, operator, key, list);
                let engine = load(&files).unwrap_or_else(|it| panic!("{it}"));
                let policies = Policies::load(&files);
                for (query, attributes) in questions {
                    let expected = judge(&policies, query, attributes);
                    let found = engine.judge(query, attributes);
                    self.asked += 1;
                    if expected != found {
                        let files = show(&files);
                        self.wrong.push(format!(
                            "{files}{query:?}\n{attributes:?}\nreference {expected:?}, engine {found:?}\n"
                        ));
                    }
                }
            }
        }
    }

    fn finish(self) {
        let some: Vec<_> = self.wrong.iter().take(10).map(String::as_str).collect();
        let (wrong, asked) = (self.wrong.len(), self.asked);
        assert!(wrong == 0, "{wrong} of {asked} differ, such as\n{}", some.join("\n"));
    }
}

fn spelled(operators: &[&str]) -> Vec<String> {
    let mut res = Vec::new();
    for operator in operators {
        for qualifier in ["", "ForAnyValue:", "ForAllValues:"] {
            for suffix in ["", "IfExists"] {
                res.push(format!("{qualifier}{operator}{suffix}"));
            }
        }
    }
    res
}

/// Single values and pairs of them, with a variable in every place.
fn lists(listed: &[&'static str]) -> Vec<Vec<&'static str>> {
    let mut res: Vec<_> = listed.iter().chain(VARIABLES).map(|it| vec![*it]).collect();
    res.extend(listed.windows(2).map(<[_]>::to_vec));
    res.extend(VARIABLES.iter().map(|it| vec![listed[0], it]));
    res.push(VARIABLES[..2].to_vec());
    res
}

fn both<'a>(
    lists: &'a [Vec<&'static str>],
) -> impl Iterator<Item = (&'static str, &'a [&'static str])> {
    ["Deny", "Allow"].into_iter().flat_map(|effect| lists.iter().map(move |it| (effect, &it[..])))
}

/// Absent, unknown, each value, and neighbours among the first five.
fn states(present: &[&str]) -> Vec<Attribute<Vec<String>>> {
    let mut res = vec![Attribute::Absent, Attribute::Unavailable];
    for (at, first) in present.iter().enumerate() {
        res.push(Attribute::Value(vec![(*first).to_owned()]));
        if let Some(second) = present[..5.min(present.len())].get(at + 1) {
            res.push(Attribute::Value(vec![(*first).to_owned(), (*second).to_owned()]));
        }
    }
    res
}

fn files(effect: &str, operator: &str, key: &str, list: &[&str]) -> Files {
    let statement =
        json!({"Effect": effect, "Action": ["*"], "Condition": {operator: {key: list}}});
    let everything = json!({"Effect": "Allow", "Action": ["*"]});
    let statements =
        if effect == "Deny" { json!([statement, everything]) } else { json!([statement]) };
    let document = json!({"Version": "5.0", "Statement": statements});
    let attachments = json!([{"to": ["any"], "policies": ["doc"]}]);
    Files::from([
        ("identity/doc.json".to_owned(), document.to_string().into_bytes()),
        ("attachments.yaml".to_owned(), attachments.to_string().into_bytes()),
    ])
}

fn question(pool_id: Attribute<Vec<String>>, value: &str) -> (Query, Attributes) {
    let tags = BTreeMap::from([("value".to_owned(), value.to_owned())]);
    let query = Query {
        principal: Arc::new(Principal::new("corp", "alice", [], tags, Method::Jwt)),
        action: Action::Delete,
        job: Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347").into(),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-01-15T12:00:00Z".parse().expect("a time"),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    };
    (query, Attributes { pool_id, ..Attributes::default() })
}

/// The keys with a type, each absent, unknown and with every value.
fn circumstances() -> Vec<(Query, Attributes)> {
    let times = ["2026-01-15T12:00:00Z", "2026-01-15T12:00:00.1Z", "2026-01-15T11:59:59Z"];
    let addresses = ["10.0.0.1", "::ffff:10.0.0.2", "fd00::1"];
    let mut res = Vec::new();
    for at in 0..5_usize {
        for value in ["5", "2026-01-15T12:00:00Z", "true", "10.0.0.1", "x"] {
            let known = at.saturating_sub(2);
            let pool_id = attribute_of(at, || vec!["a".to_owned()]);
            let (mut query, mut attributes) = question(pool_id, value);
            query.now = times[known].parse().expect("a time");
            query.source_ip = attribute_of(at, || addresses[known].parse().expect("an address"));
            query.secure_transport = attribute_of(at, || known == 0);
            attributes.age = attribute_of(at, || [5, 7, -6][known]);
            res.push((query, attributes));
        }
    }
    res
}

fn attribute_of<T>(at: usize, value: impl Fn() -> T) -> Attribute<T> {
    match at {
        0 => Attribute::Absent,
        1 => Attribute::Unavailable,
        _ => Attribute::Value(value()),
    }
}
