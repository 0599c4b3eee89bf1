//! Suites from text to cases.

use super::*;
use crate::policy::{Answer, Attribute, Attributes, Job, Limits, Method, Sources};

use std::collections::BTreeMap;

const WHO: &str = "principal: {source: corp, name: alice}";
const REQUEST: &str = "request: {project: p1, job: 3faf5c03-aaa1-4cbe-879d-24b05d997347, \
                       region: cn-north-4, time: 2026-01-15T12:00:00Z}";

fn suites(text: &str) -> Suites {
    let files: Files = [("tests/t.yaml", text)].into_iter().collect();
    Suites::read(&files, None)
}

fn codes(suites: &Suites) -> Vec<Code> {
    suites.diagnostics.iter().map(|it| it.code).collect()
}

/// A suite of one case with this job.
fn job(job: &str) -> Suites {
    suites(&format!("cases:\n  - {{name: n, {WHO}, {REQUEST}, job: {job}, expect: deny}}\n"))
}

#[test]
fn every_field_is_read() {
    let text = "cases:
  - name: all
    principal: {source: corp, name: alice, groups: [ml, 'a b'], tags: {team: vision}, method: mtls}
    request: {project: p1, job: j-1, region: r, account: '123', source_ip: '::ffff:10.1.2.3',
      time: 2026-01-15T20:00:00+08:00, secure: false, user_agent: curl}
    job: {pool_id: [a, b], pool_type: [dedicated], tags: {env: ''}, phase: Failed, kind: job, name: n,
      owner: o, age: 0, workspace: '0'}
    expect: allow
    by: none
";
    let suites = suites(text);
    assert_eq!(suites.diagnostics, []);
    let [case] = <[Case; 1]>::try_from(suites.cases).unwrap();
    let query = &case.query;
    assert_eq!((case.name.as_str(), case.expected), ("all", Answer::Allow));
    assert_eq!((case.path.as_str(), case.by.as_deref()), ("tests/t.yaml", Some("none")));
    assert_eq!(text.get(case.span.start..case.span.end), Some("all"));
    assert_eq!(query.principal.id(), "corp/alice");
    assert_eq!(query.principal.groups(), ["corp/a b", "corp/ml"]);
    assert_eq!(query.principal.method(), Method::Mtls);
    assert_eq!(*query.job, Job::new("p1", "j-1"));
    assert_eq!((query.region.as_str(), query.account.as_str()), ("r", "123"));
    assert_eq!(query.now, "2026-01-15T12:00:00Z".parse().unwrap());
    assert_eq!(query.source_ip, Attribute::Value("10.1.2.3".parse().unwrap()));
    assert_eq!(query.secure_transport, Attribute::Value(false));
    let text = |it: &str| Attribute::Value(it.to_owned());
    assert_eq!(query.user_agent, text("curl"));
    let expected = Attributes {
        pool_id: Attribute::Value(vec!["a".to_owned(), "b".to_owned()]),
        pool_type: Attribute::Value(vec!["dedicated".to_owned()]),
        phase: text("Failed"),
        kind: text("job"),
        name: text("n"),
        owner: text("o"),
        age: Attribute::Value(0),
        workspace_id: text("0"),
        tags: Attribute::Value([("env".to_owned(), String::new())].into()),
    };
    assert_eq!(case.attributes, expected);
}

#[test]
fn what_is_left_out_is_absent_and_what_is_unavailable_is_unknown() {
    let absent = Attributes {
        pool_id: Attribute::Absent,
        pool_type: Attribute::Absent,
        phase: Attribute::Absent,
        kind: Attribute::Absent,
        name: Attribute::Absent,
        owner: Attribute::Absent,
        age: Attribute::Absent,
        workspace_id: Attribute::Absent,
        tags: Attribute::Value(BTreeMap::new()),
    };
    let phase = || Attribute::Value("Failed".to_owned());
    let mut unavailable = Attributes::default();
    unavailable.asked(Sources { details: true, tags: true });
    for (text, expected) in [
        ("{}", absent.clone()),
        ("{pool_id: [], pool_type: []}", absent.clone()),
        ("unavailable", unavailable.clone()),
        ("{unavailable: [details, tags]}", unavailable.clone()),
        ("{unavailable: [tags]}", Attributes { tags: Attribute::Unavailable, ..absent.clone() }),
        (
            "{unavailable: [details]}",
            Attributes { tags: absent.tags.clone(), ..unavailable.clone() },
        ),
        (
            "{phase: Failed, unavailable: [details]}",
            Attributes { phase: phase(), tags: absent.tags.clone(), ..unavailable.clone() },
        ),
        (
            "{phase: Failed, unavailable: [age]}",
            Attributes { phase: phase(), age: Attribute::Unavailable, ..absent },
        ),
    ] {
        let suites = job(text);
        assert_eq!(suites.diagnostics, [], "{text}");
        assert_eq!(suites.cases[0].attributes, expected, "{text}");
    }
}

#[test]
fn mistakes_are_found_and_their_cases_left_out() {
    let case = |head: &str, who: &str, request: &str, tail: &str| {
        format!("cases:\n  - {{{head}, {who}, {request}, job: {{}}, {tail}}}\n")
    };
    let with =
        |from: &str, to: &str| case("name: n", WHO, &REQUEST.replace(from, to), "expect: deny");
    let of_job = |fact: &str| with("p1", "p1").replace("job: {}", &format!("job: {{{fact}}}"));
    for (text, expected) in [
        (case("name: n", WHO, REQUEST, "expect: no"), Code::UnknownWord),
        (case("nam: n", WHO, REQUEST, "expect: deny"), Code::InvalidYaml),
        (case("name: n", WHO, REQUEST, "by: none"), Code::InvalidYaml),
        (case("name: n", WHO, REQUEST, "expect: deny, x: y"), Code::InvalidYaml),
        (case("name: true", WHO, REQUEST, "expect: deny"), Code::InvalidYaml),
        (
            case("name: n", "principal: {source: a/b, name: n}", REQUEST, "expect: deny"),
            Code::ImpossibleCase,
        ),
        (
            case("name: n", "principal: {source: a, name: ''}", REQUEST, "expect: deny"),
            Code::ImpossibleCase,
        ),
        (
            case(
                "name: n",
                "principal: {source: a, name: b, method: x509}",
                REQUEST,
                "expect: deny",
            ),
            Code::UnknownWord,
        ),
        (with("3faf", "3FAF"), Code::ImpossibleCase),
        (with("3faf5c03-aaa1-4cbe-879d-24b05d997347", "batch-delete"), Code::ImpossibleCase),
        (with("p1", "p_1"), Code::ImpossibleCase),
        (of_job("owner: ''"), Code::ImpossibleCase),
        (of_job("phase: \"\""), Code::ImpossibleCase),
        (of_job("pool_id: [a, ''], pool_type: [dedicated]"), Code::ImpossibleCase),
        (with("p1", "'0123'"), Code::Empty),
        (with("p1", "0123"), Code::InvalidYaml),
        (with("2026-01-15T12:00:00Z", "2026-01-15"), Code::ImpossibleCase),
        (with("p1", "p1, source_ip: 10.0.0.0/8"), Code::ImpossibleCase),
        (with("p1", "p1, secure: true, unavailable: [secure]"), Code::StatedAndUnavailable),
        (with("p1", "p1, unavailable: [time]"), Code::UnknownWord),
        ("cases: []".to_owned(), Code::Empty),
        ("- name: n".to_owned(), Code::InvalidYaml),
        ("cases: &a [*a]".to_owned(), Code::InvalidYaml),
        (String::new(), Code::InvalidYaml),
    ] {
        let suites = suites(&text);
        // A quoted number is a valid project ID: the one row without a mistake.
        let sound = text.contains("'0123'");
        assert_eq!(codes(&suites), if sound { vec![] } else { vec![expected] }, "{text}");
        assert_eq!(suites.cases.len(), usize::from(sound), "{text}");
    }
    for (text, expected) in [
        ("{pool_id: [a]}", Code::PoolWithoutType),
        ("{tags: {}, unavailable: [tags]}", Code::StatedAndUnavailable),
        ("{unavailable: [detail]}", Code::UnknownWord),
        ("absent", Code::InvalidYaml),
        ("{phase: }", Code::InvalidYaml),
    ] {
        let suites = job(text);
        assert_eq!(codes(&suites), [expected], "{text}");
        assert_eq!(suites.cases.len(), usize::from(expected == Code::PoolWithoutType), "{text}");
    }
}

#[test]
fn a_case_may_be_over_budget() {
    let directory = |case: &str| -> Files {
        let everything =
            r#"{"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": ["*"]}]}"#;
        let budgets = "budgets:
  - {name: person, per: principal, deletes: 2, within: 1h}
  - {name: project, per: project, deletes: 3, within: 1h}
  - {name: keys, per: all, deletes: 1, within: 1h, when: {StringEquals: {'lychgate:issuer': keys}}}";
        let attachments = "[{to: [source:corp], policies: [all]}]";
        let suite = format!("cases:\n  - {{name: n, {WHO}, {REQUEST}, job: {{}}, {case}}}\n");
        [
            ("identity/all.json", everything),
            ("attachments.yaml", attachments),
            (crate::policy::BUDGETS, budgets),
            ("tests/t.yaml", &suite),
        ]
        .into_iter()
        .collect()
    };
    for (case, expected) in [
        ("expect: allow", "identity/all#1"),
        ("spent: {}, expect: allow", "identity/all#1"),
        ("spent: {person: 1, project: 2}, expect: allow", "identity/all#1"),
        ("spent: {person: 2}, expect: deny", "budgets#person"),
        ("spent: {person: 1, project: 3}, expect: deny", "budgets#project"),
        // The first of several decides.
        ("spent: {project: 3, person: 99}, expect: deny, by: budgets#person", "budgets#person"),
        // A budget that does not apply.
        ("spent: {keys: 1}, expect: allow", "identity/all#1"),
    ] {
        let files = directory(case);
        let set = Set::compile(&files, &Limits::default()).set.unwrap();
        let suites = Suites::read(&files, Some(&set));
        assert_eq!(suites.diagnostics, [], "{case}");
        let [case] = <[Case; 1]>::try_from(suites.cases).unwrap();
        let decision = case.judge(&set);
        assert_eq!(decision.decider(), Some(expected), "{case:?}");
        assert!(case.is_met_by(&decision), "{case:?}");
    }
    // A denial by the policies comes first, and takes no unit.
    let files = directory("spent: {person: 2}, expect: deny, by: none");
    let files = files.iter().filter(|(path, _)| *path != "attachments.yaml");
    let files: Files = files.collect();
    let set = Set::compile(&files, &Limits::default()).set.unwrap();
    let [case] = <[Case; 1]>::try_from(Suites::read(&files, Some(&set)).cases).unwrap();
    assert_eq!(case.judge(&set).decider(), Some("none"));
    for (case, expected) in [
        ("spent: {persn: 1}, expect: allow", Code::UnknownBudget),
        ("expect: deny, by: budgets#persn", Code::UnknownBudget),
        ("expect: deny, by: budget#person", Code::UnknownStatement),
        ("spent: {person: -1}, expect: deny", Code::InvalidYaml),
        ("spent: [person], expect: deny", Code::InvalidYaml),
    ] {
        let files = directory(case);
        let set = Set::compile(&files, &Limits::default()).set.unwrap();
        let suites = Suites::read(&files, Some(&set));
        assert_eq!((codes(&suites), suites.cases.len()), (vec![expected], 0), "{case}");
    }
}

#[test]
fn a_caller_has_a_name_that_a_gate_accepts() {
    for who in ["name: 'b '", "name: b, groups: [\"c\\u200bd\"]", "name: b, groups: [\"\\u00a0c\"]"]
    {
        let case = format!("name: n, principal: {{source: a, {who}}}, {REQUEST}, job: {{}}");
        let read = suites(&format!("cases: [{{{case}, expect: deny}}]"));
        assert_eq!((codes(&read), read.cases.len()), (vec![Code::ImpossibleCase], 0), "{who}");
    }
}

#[test]
fn what_is_hardly_meant_is_a_warning_and_the_case_counts() {
    for (who, job, says) in [
        ("{source: corp, name: corp/alice}", "{}", Some("it becomes `corp/corp/alice`")),
        ("{source: corp, name: alice, groups: [corp/ml]}", "{}", Some("it becomes `corp/corp/ml`")),
        ("{source: corp, name: alice, groups: [other/ml]}", "{}", None),
        (
            "{source: corp, name: alice}",
            "{phase: 已完成}",
            Some("the documented words are Abnormal"),
        ),
        ("{source: corp, name: alice}", "{phase: done}", Some("the documented words are Abnormal")),
        ("{source: corp, name: alice}", "{phase: Failed}", None),
        ("{source: corp, name: alice}", "{phase: Suspended}", None),
        ("{source: corp, name: alice}", "{owner: anybody}", None),
    ] {
        let case = format!("{{name: n, principal: {who}, {REQUEST}, job: {job}, expect: deny}}");
        let read = suites(&format!("cases: [{case}]"));
        assert_eq!(read.cases.len(), 1, "{case}: {:?}", read.diagnostics);
        let told = read.diagnostics.iter().map(|it| {
            assert_eq!(it.code, Code::UnlikelyValue);
            format!("{} {}", it.message, it.hint.as_deref().unwrap_or_default())
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), usize::from(says.is_some()), "{case}: {told:?}");
        assert!(told.iter().all(|it| it.contains(says.unwrap_or_default())), "{told:?}");
    }
}

/// A gate always has an account, so that an answer for none at all is one that it never gives.
#[test]
fn where_the_policies_ask_for_the_account_a_case_states_it() {
    let condition = |key: &str, value: &str| {
        format!(r#""Resource": ["*"], "Condition": {{"StringMatch": {{"{key}": "{value}"}}}}"#)
    };
    let resource = |it: &str| format!(r#""Resource": ["modelarts:{it}:trainJob:*"]"#);
    let budget = |key: &str| {
        format!(
            "budgets: [{{name: b, per: all, deletes: 1, within: 1h, when: {{StringMatch: {{'{key}': a}}}}}}]"
        )
    };
    let none = || "budgets: none".to_owned();
    for (rest, budgets, asks) in [
        (condition("g:PrincipalAccount", "1*"), none(), true),
        (condition("g:DomainId", "123"), none(), true),
        (condition("g:PrincipalUrn", "*:external-user:corp/*"), none(), true),
        (condition("lychgate:jobName", "${g:PrincipalAccount}-*"), none(), true),
        (resource("*:123"), none(), true),
        (resource("cn-north-4:1*"), none(), true),
        (resource("*:*"), budget("g:PrincipalAccount"), true),
        (resource("cn-north-4:*"), budget("g:UserName"), false),
        (condition("g:UserName", "alice"), none(), false),
    ] {
        let files = |suite: &str| -> Files {
            let document = format!(
                r#"{{"Version": "5.0", "Statement": [{{"Effect": "Allow", "Action": ["*"], {rest}}}]}}"#
            );
            [
                ("identity/doc.json", document.as_str()),
                ("attachments.yaml", "[{to: [any], policies: [doc]}]"),
                (crate::policy::BUDGETS, &budgets),
                ("tests/t.yaml", suite),
            ]
            .into_iter()
            .collect()
        };
        let found = |suite: &str| {
            let files = files(suite);
            let set = Set::compile(&files, &Limits::default()).set;
            assert!(set.is_some(), "{rest} {budgets}");
            let read = Suites::read(&files, set.as_ref());
            (codes(&read), read.cases.len())
        };
        let without = format!("cases: [{{name: n, {WHO}, {REQUEST}, job: {{}}, expect: deny}}]");
        let wanted = if asks { (vec![Code::ImpossibleCase], 0) } else { (Vec::new(), 1) };
        assert_eq!(found(&without), wanted, "{rest} {budgets}");
        let with = format!("defaults: {{request: {{account: '123'}}}}\n{without}");
        assert_eq!(found(&with), (Vec::new(), 1), "{rest} {budgets}");
    }
}

#[test]
fn what_a_case_does_not_say_is_in_the_defaults() {
    let read = |defaults: &str, suite: &str| {
        let files: Files =
            [("tests/defaults.yaml", defaults), ("tests/t.yaml", suite)].into_iter().collect();
        Suites::read(&files, None)
    };
    let all = format!("{WHO}\n{REQUEST}\njob: {{phase: Failed, owner: li_na, tags: {{env: dev}}}}");
    let own = "defaults: {principal: {name: bob, groups: [ops]}}\n";
    for (suite, name, phase, owner) in [
        ("cases: [{name: n, expect: deny}]", "corp/alice", "Failed", Some("li_na")),
        (
            "cases: [{name: n, principal: {name: eve}, expect: deny}]",
            "corp/eve",
            "Failed",
            Some("li_na"),
        ),
        (
            "cases: [{name: n, job: {phase: Completed}, expect: deny}]",
            "corp/alice",
            "Completed",
            Some("li_na"),
        ),
        ("cases: [{name: n, job: {owner: ~}, expect: deny}]", "corp/alice", "Failed", None),
        (&format!("{own}cases: [{{name: n, expect: deny}}]"), "corp/bob", "Failed", Some("li_na")),
    ] {
        let suites = read(&all, suite);
        assert_eq!(suites.diagnostics, [], "{suite}");
        let [case] = <[Case; 1]>::try_from(suites.cases).unwrap();
        assert_eq!(case.query.principal.id(), name, "{suite}");
        assert_eq!(case.attributes.phase.value().map(String::as_str), Some(phase), "{suite}");
        assert_eq!(case.attributes.owner.value().map(String::as_str), owner, "{suite}");
    }
    // A field listed as unavailable does not get its default.
    let suites = read(&all, "cases: [{name: n, job: {unavailable: [details]}, expect: deny}]");
    assert_eq!(suites.diagnostics, []);
    assert_eq!(suites.cases[0].attributes.phase, Attribute::Unavailable);
    assert_eq!(suites.cases[0].attributes.tags.value().map(BTreeMap::len), Some(1));
    // A mistake is reported where it stands.
    let short = "cases: [{name: n, expect: deny}, {name: m, expect: deny}]";
    for (defaults, suite, path, codes) in [
        (all.replace("p1", "p_1"), short, "tests/defaults.yaml", &[Code::ImpossibleCase][..]),
        (format!("{all}\nexpect: deny"), short, "tests/defaults.yaml", &[Code::InvalidYaml]),
        (all.replace("phase", "phas"), short, "tests/defaults.yaml", &[Code::InvalidYaml]),
        (
            all.clone(),
            "defaults: {job: {phase: failed}}\ncases: [{name: n, expect: deny}, {name: m, expect: deny}]",
            "tests/t.yaml",
            &[Code::UnknownWord],
        ),
    ] {
        let found = read(&defaults, suite).diagnostics;
        let found = found.iter().filter(|it| it.path == path);
        assert_eq!(found.map(|it| it.code).collect::<Vec<_>>(), codes, "{defaults}\n{suite}");
    }
}
