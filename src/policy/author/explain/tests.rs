//! The way to an allow, against examples and against plain search.

use super::*;
use super::{alphabet, way};
use crate::policy::engine::point::{Point, Setting};
use crate::policy::language::key::Key;
use crate::policy::{Answer, Attribute, Files, Method, Principal, tests};

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn world() -> Point {
    let tags = BTreeMap::from([("team".to_owned(), "vision".to_owned())]);
    let query = Query {
        principal: Arc::new(Principal::new("corp", "alice", ["ml".into()], tags, Method::Jwt)),
        source_ip: Attribute::Value("192.0.2.1".parse().unwrap()),
        ..tests::query()
    };
    let attributes = Attributes {
        pool_id: Attribute::Value(vec!["pool-z".to_owned()]),
        phase: Attribute::Value("Running".to_owned()),
        name: Attribute::Value("nightly".to_owned()),
        owner: Attribute::Value("alice".to_owned()),
        age: Attribute::Value(60),
        workspace_id: Attribute::Absent,
        tags: Attribute::Value(BTreeMap::new()),
        ..tests::attributes()
    };
    Point { query, attributes }
}

/// Statements in short: the effect and the conditions.
fn document(statements: &[(&str, &str)]) -> String {
    let statements = statements.iter().map(|(effect, condition)| {
        let condition = match *condition {
            "" => String::new(),
            it => format!(r#", "Condition": {{{it}}}"#),
        };
        format!(r#"{{"Effect": "{effect}", "Action": ["*"]{condition}}}"#)
    });
    let statements: Vec<_> = statements.collect();
    format!(r#"{{"Version": "5.0", "Statement": [{}]}}"#, statements.join(", "))
}

/// `g` are guardrails, `i` is attached to any, `ops` to the group of this name.
fn set(g: &[(&str, &str)], i: &[(&str, &str)], ops: &[(&str, &str)]) -> Set {
    let attachments = "- {to: [any], policies: [i]}\n- {to: ['group:corp/ops'], policies: [ops]}\n";
    let never = [("Allow", r#""StringEquals": {"g:UserName": "nobody"}"#)];
    let or_never = |it: &[(&str, &str)]| document(if it.is_empty() { &never } else { it });
    let mut files = vec![
        ("attachments.yaml", attachments.to_owned()),
        ("identity/i.json", or_never(i)),
        ("identity/ops.json", or_never(ops)),
    ];
    if !g.is_empty() {
        files.push(("guardrails/g.json", document(g)));
    }
    let files: Files = files.into_iter().collect();
    let compiled = Set::compile(&files, &Limits::default());
    compiled.set.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

/// `key=value` for each change, `never <decider>` or `far`.
fn said(way: Option<&Way>) -> String {
    match way {
        None => "allowed".to_owned(),
        Some(Way::Changes { changes }) => {
            let changes = changes.iter().map(|it| match &it.to {
                Actual::Absent => format!("{}!", it.key),
                Actual::Unavailable => format!("{}?", it.key),
                Actual::Values(them) => format!("{}={}", it.key, them.join("+")),
            });
            changes.collect::<Vec<_>>().join(" ")
        }
        Some(Way::Far) => "far".to_owned(),
        Some(Way::GivenUp) => "given up".to_owned(),
        Some(Way::Never { decider }) => format!("never {decider}"),
    }
}

const OWN: &str = r#""StringEquals": {"g:UserName": "bob"}"#;
const FOUR: &str = r#""StringEquals": {"g:ResourceTag/a": "1", "g:ResourceTag/b": "1",
                  "g:ResourceTag/c": "1", "g:ResourceTag/d": "1"}"#;

/// The condition of a Deny, if there is one; the condition of an Allow; the way to an allow.
const WAYS: &[(&str, &str, &str)] = &[
    ("", "", "allowed"),
    (
        "",
        r#""StringEquals": {"modelarts:poolId": ["pool-a", "pool-b"]}"#,
        "modelarts:poolId=pool-a",
    ),
    ("", r#""StringEqualsIgnoreCase": {"lychgate:jobName": "A"}"#, "lychgate:jobName=A"),
    ("", r#""StringMatch": {"lychgate:jobName": "tmp-*-?"}"#, "lychgate:jobName=tmp--x"),
    (
        "",
        r#""StringStartWith": {"lychgate:jobName": "tmp-"}, "StringEndWith": {"lychgate:jobName": "-old"}"#,
        "lychgate:jobName=tmp--old",
    ),
    ("", r#""NumberGreaterThan": {"lychgate:jobAge": "3600"}"#, "lychgate:jobAge=3601"),
    ("", r#""NumberLessThan": {"lychgate:jobAge": "60"}"#, "lychgate:jobAge=59"),
    ("", r#""IpAddress": {"g:SourceIp": "10.0.0.0/8"}"#, "g:SourceIp=10.0.0.0"),
    (
        "",
        r#""IpAddress": {"g:SourceIp": "10.0.0.0/8"}, "NotIpAddress": {"g:SourceIp": "10.0.0.0/16"}"#,
        "g:SourceIp=10.255.255.255",
    ),
    ("", r#""Bool": {"g:SecureTransport": "false"}"#, "g:SecureTransport=false"),
    ("", r#""Null": {"g:ResourceTag/done": "false"}"#, "g:ResourceTag/done=other"),
    ("", r#""Null": {"lychgate:jobOwner": "true"}"#, "lychgate:jobOwner!"),
    ("", r#""StringMatch": {"g:ResourceTag/run": "*"}"#, "g:ResourceTag/run="),
    ("", r#""StringMatch": {"lychgate:workspaceId": "*"}"#, "lychgate:workspaceId=other"),
    (
        "",
        r#""DateGreaterThan": {"g:CurrentTime": "2026-01-15T13:00:00Z"}"#,
        "g:CurrentTime=2026-01-15T13:00:01Z",
    ),
    (
        "",
        r#""NumberGreaterThanEquals": {"lychgate:timeOfDay": "1330"}"#,
        "g:CurrentTime=2026-01-15T13:30:00Z",
    ),
    (
        "",
        r#""NumberGreaterThan": {"lychgate:timeOfDay": ["1730.5", "9223372036854775807"]}"#,
        "g:CurrentTime=2026-01-15T17:31:00Z",
    ),
    (
        "",
        r#""NumberGreaterThan": {"lychgate:timeOfDay": "1799"}"#,
        "g:CurrentTime=2026-01-15T18:00:00Z",
    ),
    ("", r#""NumberEquals": {"lychgate:dayOfWeek": "6"}"#, "g:CurrentTime=2026-01-17T00:00:00Z"),
    (
        r#""NumberGreaterThanEquals": {"lychgate:timeOfDay": "1000"}"#,
        r#""NumberGreaterThan": {"lychgate:timeOfDay": "900"}"#,
        "g:CurrentTime=2026-01-16T09:01:00Z",
    ),
    (
        r#""DateLessThan": {"g:CurrentTime": "2026-02-01T00:00:00Z"}"#,
        r#""NumberEquals": {"lychgate:dayOfWeek": "3"}"#,
        "g:CurrentTime=2026-02-04T00:00:00Z",
    ),
    (
        "",
        r#""StringEquals": {"lychgate:jobOwner": "${g:PrincipalTag/huawei_user}"}"#,
        "g:PrincipalTag/huawei_user=alice",
    ),
    (
        "",
        r#""StringEquals": {"lychgate:jobName": "${g:PrincipalTag/team}"}"#,
        "lychgate:jobName=vision",
    ),
    (
        "",
        r#""ForAnyValue:StringEquals": {"lychgate:groups": "corp/vision"}"#,
        "lychgate:groups=corp/ml+corp/vision",
    ),
    (
        r#""StringEquals": {"lychgate:jobPhase": ["Running", "Pending"]}"#,
        "",
        "lychgate:jobPhase=Abnormal",
    ),
    (r#""StringNotEquals": {"g:ResourceTag/env": "dev"}"#, "", "g:ResourceTag/env=dev"),
    (
        r#""NumberLessThan": {"lychgate:jobAge": "100"}"#,
        r#""StringEquals": {"modelarts:poolId": "pool-a"}"#,
        "modelarts:poolId=pool-a lychgate:jobAge=100",
    ),
    (
        r#""DateLessThan": {"g:CurrentTime": "2026-01-15T13:00:00Z"}, "StringEquals": {"lychgate:jobKind": "job"}"#,
        "",
        "lychgate:jobKind=autosearch_job",
    ),
    ("", OWN, "never none"),
    (r#""StringEquals": {"g:UserName": "alice"}"#, "", "never guardrails/g#1"),
    ("", FOUR, "far"),
];

#[test]
fn the_smallest_change_is_found_for_each_family_of_operators() {
    for (deny, allow, expected) in WAYS.iter().copied() {
        let guardrails = [("Deny", deny)];
        let guardrails = if deny.is_empty() { &[][..] } else { &guardrails };
        let set = set(guardrails, &[("Allow", allow)], &[]);
        let Point { query, attributes } = world();
        let way = set.explain(&query, &attributes).way;
        // Of several keys, the order is that of the statements.
        let mut words: Vec<_> = said(way.as_ref()).split(' ').map(str::to_owned).collect();
        let mut wanted: Vec<_> = expected.split(' ').map(str::to_owned).collect();
        words.sort();
        wanted.sort();
        assert_eq!(words, wanted, "{deny} {allow}");
    }
}

#[test]
fn another_group_brings_its_policies() {
    let nobody = r#""StringEquals": {"g:UserName": "bob"}"#;
    let ops = r#""StringEquals": {"lychgate:jobPhase": "Failed"}"#;
    let Point { query, attributes } = world();
    let check = |ops: &[(&str, &str)], expected: &str| {
        let set = set(&[], &[("Allow", nobody)], ops);
        assert_eq!(said(set.explain(&query, &attributes).way.as_ref()), expected);
    };
    check(&[("Allow", "")], "lychgate:groups=corp/ml+corp/ops");
    check(&[("Allow", ops)], "lychgate:groups=corp/ml+corp/ops lychgate:jobPhase=Failed");
    check(&[("Allow", ""), ("Deny", "")], "never none");
}

#[test]
fn what_is_unavailable_can_become_known() {
    let deny = r#""StringEquals": {"g:ResourceTag/env": "prod"}"#;
    let set = set(&[("Deny", deny)], &[("Allow", "")], &[]);
    let Point { query, .. } = world();
    let explanation = set.explain(&query, &Attributes::default());
    assert_eq!(explanation.decision.answer(), Answer::Indeterminate);
    assert_eq!(said(explanation.way.as_ref()), "g:ResourceTag/env=other");
    let [deny, allow] = <[JudgedStatement; 2]>::try_from(explanation.statements).unwrap();
    assert_eq!((deny.holds, allow.holds), (Truth::Unknown, Truth::True));
    assert_eq!(deny.checks[0].actual, Actual::Unavailable);
}

#[test]
fn statements_are_shown_as_written_with_what_is_there() {
    let allow =
        r#""ForAnyValue:StringMatchIfExists": {"MODELARTS:poolId": ["a*", "${g:UserName}-?"]}"#;
    let set = set(&[], &[("Allow", allow)], &[]);
    let Point { query, attributes } = world();
    let explanation = set.explain(&query, &attributes);
    let check = &explanation.statements[0].checks[0];
    assert_eq!(check.operator, "ForAnyValue:StringMatchIfExists");
    assert_eq!(check.key.as_deref(), Some("MODELARTS:poolId"));
    let expected = |written: &str, filled: Option<&str>| Expected {
        written: written.to_owned(),
        filled: filled.map(str::to_owned),
    };
    assert_eq!(
        check.expected,
        [expected("a*", None), expected("${g:UserName}-?", Some("alice-?"))]
    );
    assert_eq!(check.actual, Actual::Values(vec!["pool-z".to_owned()]));
    assert_eq!(check.holds, Truth::False);
}

/// Conditions on few keys with few values, so that they meet.
const CONDITIONS: &[&str] = &[
    "",
    r#""StringEquals": {"modelarts:poolId": "pool-a"}"#,
    r#""StringNotEquals": {"modelarts:poolId": ["pool-a", "pool-z"]}"#,
    r#""ForAllValues:StringStartWith": {"modelarts:poolId": "pool-"}"#,
    r#""ForAnyValue:StringEquals": {"modelarts:poolId": "pool-b"}"#,
    r#""StringEquals": {"g:ResourceTag/env": "prod"}"#,
    r#""StringNotEqualsIfExists": {"g:ResourceTag/env": "dev"}"#,
    r#""Null": {"g:ResourceTag/env": "false"}"#,
    r#""StringEquals": {"g:ResourceTag/env": "${g:PrincipalTag/team}"}"#,
    r#""StringEquals": {"lychgate:jobOwner": "${g:PrincipalTag/team}"}"#,
    r#""StringMatch": {"lychgate:jobName": "${g:PrincipalTag/team}-*"}"#,
    r#""StringStartWith": {"lychgate:jobName": "tmp"}"#,
    r#""StringNotEndWith": {"lychgate:jobName": "ly"}"#,
    r#""NumberLessThan": {"lychgate:jobAge": "100"}"#,
    r#""NumberGreaterThanEquals": {"lychgate:jobAge": "90"}"#,
    r#""IpAddress": {"g:SourceIp": "10.0.0.0/8"}"#,
    r#""NotIpAddress": {"g:SourceIp": ["192.0.2.0/24", "10.0.0.0/8"]}"#,
    r#""ForAnyValue:StringEquals": {"lychgate:groups": "corp/ops"}"#,
    r#""ForAllValues:StringNotEquals": {"lychgate:groups": "corp/ml"}"#,
    r#""StringEquals": {"g:UserName": "bob"}"#,
    r#""DateGreaterThan": {"g:CurrentTime": "2026-01-15T13:00:00Z"}"#,
    r#""NumberGreaterThanEquals": {"lychgate:timeOfDay": "1330"}"#,
    r#""NumberGreaterThan": {"lychgate:dayOfWeek": "5"}"#,
    r#""Bool": {"g:SecureTransport": "false"}"#,
];

#[test]
fn a_way_round_the_guardrails_is_the_last_one() {
    let spared = r#""ForAllValues:StringNotEquals": {"lychgate:groups": "corp/ops"}"#;
    let find = |deny: &str, case: &Point| {
        let set = set(&[("Deny", deny)], &[("Allow", "")], &[("Allow", "")]);
        match set.explain(&case.query, &case.attributes).way {
            Some(Way::Changes { changes }) => {
                changes.into_iter().map(|it| (it.key, it.lifts)).collect::<Vec<_>>()
            }
            it => panic!("{it:?}"),
        }
    };
    let both = format!(
        r#""StringEquals": {{"lychgate:jobPhase": "Running", "lychgate:jobKind": "job"}}, {spared}"#
    );
    let case = world();
    // One other fact is preferred to the group.
    assert_eq!(find(&both, &case), [("lychgate:jobPhase".to_owned(), vec![])]);
    // Nothing else would do, and the guardrail that the group lifts is named.
    let lifted = vec!["guardrails/g#1".to_owned()];
    assert_eq!(find(spared, &case), [("lychgate:groups".to_owned(), lifted)]);
}

#[test]
fn a_search_that_is_cut_short_says_so() {
    let (set, case) = (set(&[], &[("Allow", FOUR)], &[]), world());
    let find = |judgements| way::find_within(judgements, &set, &case.query, &case.attributes);
    assert_eq!((find(3), find(1000)), (Way::GivenUp, Way::Far));
}

/// The fewest changes that allow, found by trying everything.
fn fewest(set: &Set, case: &Point, time: bool, exempt: bool) -> Option<usize> {
    let groups = way::groups(set, case);
    let worlds = groups.iter().map(|it| (1, case.having(&Key::Groups, it)));
    let worlds = worlds.filter(|(_, it)| way::lifted(set, case, it).is_empty() != exempt);
    let mut best = None;
    let own = (!exempt).then(|| (0, case.clone()));
    for (changed, world) in own.into_iter().chain(worlds) {
        let statements: Vec<_> = set.statements_about(&world.query).collect();
        let options: Vec<_> = alphabet::keys(&statements)
            .into_iter()
            .filter(|it| time || *it != Key::CurrentTime)
            .map(|key| (alphabet::settings(&key, &statements, &world), key))
            .collect();
        let size = (changed..=3).find(|size| some(set, &world, &options, size - changed));
        best = best.into_iter().chain(size).min();
    }
    best
}

fn some(set: &Set, world: &Point, options: &[(Vec<Setting>, Key)], size: usize) -> bool {
    if size == 0 {
        return set.evaluate(&world.query, &world.attributes).answer() == Answer::Allow;
    }
    options.iter().enumerate().any(|(at, (settings, key))| {
        let rest = options.get(at + 1..).unwrap_or_default();
        settings.iter().any(|it| some(set, &world.having(key, it), rest, size - 1))
    })
}

/// The case with the suggested changes, made from what the suggestion says.
fn applied(case: &Point, changes: &[Change]) -> Point {
    let mut res = case.clone();
    for it in changes {
        let key = Key::parse(&it.key).unwrap();
        let settings = match &it.to {
            Actual::Absent => vec![Setting::Absent],
            Actual::Unavailable => panic!("{it:?}"),
            Actual::Values(them) => {
                let one = them.last().unwrap();
                let bare = them.iter().map(|it| it.trim_start_matches("corp/").to_owned());
                let mut readings = vec![
                    Setting::Text(one.clone()),
                    Setting::Texts(them.clone()),
                    Setting::Texts(bare.collect()),
                ];
                readings.extend(one.parse().map(Setting::Address));
                readings.extend(one.parse().map(Setting::Boolean));
                readings.extend(one.parse().map(Setting::Date));
                readings.extend(one.parse().map(Setting::Number));
                readings
            }
        };
        let mut worlds = settings.iter().map(|setting| res.having(&key, setting));
        res = worlds.find(|world| Actual::of(&key, world) == it.to).unwrap();
    }
    res
}

fn statement() -> impl Strategy<Value = (bool, Vec<usize>)> {
    (any::<bool>(), proptest::collection::vec(0..CONDITIONS.len(), 1..4))
}

fn written(statements: &[(bool, Vec<usize>)]) -> Vec<(&'static str, String)> {
    let written = statements.iter().map(|(denies, conditions)| {
        // Each operator only once in a statement, or the field would be there twice.
        let mut seen: Vec<&str> = Vec::new();
        let mut texts = Vec::new();
        for text in conditions.iter().map(|it| CONDITIONS[*it]).filter(|it| !it.is_empty()) {
            let operator = text.split(':').next().unwrap();
            if !seen.contains(&operator) {
                seen.push(operator);
                texts.push(text);
            }
        }
        (if *denies { "Deny" } else { "Allow" }, texts.join(", "))
    });
    written.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_suggestion_allows_and_no_smaller_one_does(
        g in proptest::collection::vec(statement(), 0..3),
        i in proptest::collection::vec(statement(), 1..3),
        ops in proptest::collection::vec(statement(), 0..2),
        tags_known in any::<bool>(),
    ) {
        let (g, i, ops) = (written(&g), written(&i), written(&ops));
        fn borrow<'a>(them: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
            them.iter().map(|(effect, text)| (*effect, text.as_str())).collect()
        }
        let set = set(&borrow(&g), &borrow(&i), &borrow(&ops));
        let mut case = world();
        if !tags_known {
            case.attributes.tags = Attribute::Unavailable;
        }
        let explanation = set.explain(&case.query, &case.attributes);
        // A change of time, and then a bypass of guardrails, only if nothing else leads to an
        // allow.
        let rounds = [(false, false), (true, false), (false, true), (true, true)];
        let fewest = rounds.iter().find_map(|(time, exempt)| fewest(&set, &case, *time, *exempt));
        match explanation.way {
            None => prop_assert_eq!(fewest, Some(0)),
            Some(Way::Changes { changes }) => {
                prop_assert_eq!(fewest, Some(changes.len()), "{:?}", changes);
                let world = applied(&case, &changes);
                let decision = set.evaluate(&world.query, &world.attributes);
                prop_assert_eq!(decision.answer(), Answer::Allow, "{:?}", changes);
            }
            Some(Way::Far | Way::Never { .. }) => prop_assert_eq!(fewest, None),
            Some(Way::GivenUp) => prop_assert!(false, "four keys are not that many"),
        }
    }
}
