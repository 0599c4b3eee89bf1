//! The comparison of two sets of policies: every key, pairs that are the same, pairs that are hard.

use super::point::{Setting, Variable};
use super::*;
use crate::policy::engine::facts::{Fact, Facts};
use crate::policy::language::key::{self, Key};
use crate::policy::language::kind::Kind;
use crate::policy::{Files, JobFact, Limits};

fn set(guardrails: &str, identity: &str) -> Set {
    let document = |it: &str| format!(r#"{{"Version": "5.0", "Statement": [{it}]}}"#);
    let mut files = vec![
        ("identity/p.json", document(identity)),
        ("attachments.yaml", r#"[{"to": ["any"], "policies": ["p"]}]"#.to_owned()),
    ];
    if !guardrails.is_empty() {
        files.push(("guardrails/g.json", document(guardrails)));
    }
    let files: Files = files.into_iter().collect();
    let compiled = Set::compile(&files, &Limits::default());
    compiled.set.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn compare(old: &Set, new: &Set, steps: u64) -> Comparison {
    Comparison::new(old, new, &Shift::ALL, Effort { steps, go_on: &|| true })
}

const ALLOW: &str = r#"{"Effect": "Allow", "Action": ["*"]}"#;

fn deny(operator: &str, key: &str, values: &str) -> String {
    format!(
        r#"{{"Effect": "Deny", "Action": ["*"], "Condition": {{"{operator}": {{"{key}": {values}}}}}}}"#
    )
}

/// Every key: a Deny that asks for it alone is found to matter, by a request that has the value.
#[test]
fn no_key_is_forgotten() {
    let tags = ["g:PrincipalTag/t", "g:ResourceTag/t"];
    for name in key::names().chain(tags) {
        let key = Key::parse(name).unwrap();
        let (operator, value) = match key.kind() {
            Kind::Address => ("IpAddress", "203.0.113.0/24"),
            Kind::Boolean => ("Bool", "true"),
            Kind::Date => ("DateGreaterThan", "2031-01-01T00:00:00Z"),
            Kind::Number => ("NumberEquals", "4"),
            Kind::Text => match key {
                Key::Groups | Key::UserId => ("StringEquals", "acme/anna"),
                Key::PrincipalUrn => ("StringEquals", "sts::77:external-user:acme/anna"),
                Key::AuthMethod => ("StringEquals", "mtls"),
                _ => ("StringEquals", "special"),
            },
        };
        let deny = deny(operator, name, &format!(r#""{value}""#));
        let (old, new) = (set("", ALLOW), set(&deny, ALLOW));
        let found = compare(&old, &new, 1_000_000);
        assert_eq!(found.disagreement, None, "{name}");
        assert_eq!(found.undecided, [], "{name}");
        let revoked = found.differences.iter().find(|it| it.shift == Shift::Revoked);
        let Some(it) = revoked else {
            assert_eq!(key, Key::EnterpriseProjectId, "{name}");
            continue;
        };
        assert_eq!(it.cause, Cause::New("guardrails/g#1".to_owned()), "{name}");
        let facts = Facts { query: &it.query, attributes: &it.attributes };
        let held = match facts.get(&key) {
            Fact::One(it) => vec![it.into_text().into_owned()],
            Fact::Several(them) => them.to_vec(),
            Fact::Absent | Fact::Unavailable => Vec::new(),
        };
        assert!(!held.is_empty(), "{name}");
        if key.kind() == Kind::Text {
            assert_eq!(held, [value], "{name}");
        }
        let lost = compare(&new, &old, 1_000_000);
        let gained = lost.differences.iter().find(|it| it.shift == Shift::Gained);
        assert_eq!(gained.unwrap().cause, Cause::Old("guardrails/g#1".to_owned()), "{name}");
        // An unavailable value is a difference of its own.
        let variable = Variable::of(&key).unwrap();
        let blind = lost.differences.iter().any(|it| it.shift == Shift::GainedBlind);
        assert_eq!(blind, variable.may_be_unavailable(), "{name}");
    }
}

/// A variable that is set holds what it was set to.
#[test]
fn variables_are_set_and_read_alike() {
    let text = Setting::Text("a/b".to_owned());
    for name in key::names().chain(["g:PrincipalTag/t", "g:ResourceTag/t"]) {
        let Some(variable) = Variable::of(&Key::parse(name).unwrap()) else {
            continue;
        };
        let setting = match variable {
            Variable::Fact(JobFact::Age) => Setting::Number(4),
            Variable::Method => Setting::Method(crate::policy::Method::Mtls),
            Variable::Now => Setting::Date("2031-01-01T00:00:00Z".parse().unwrap()),
            Variable::Secure => Setting::Boolean(true),
            Variable::SourceIp => Setting::Address("203.0.113.1".parse().unwrap()),
            _ if variable.is_several() => Setting::Texts(vec!["a".to_owned(), "b".to_owned()]),
            _ => text.clone(),
        };
        let mut point = Point::new();
        point.set(&variable, &setting);
        assert_eq!(point.setting(&variable), setting, "{name}");
        assert_eq!(variable.is_several(), Key::parse(name).unwrap().is_several(), "{name}");
    }
}

#[test]
fn what_says_the_same_is_the_same() {
    for (old, new) in [
        // One statement in two.
        (
            deny("StringEquals", "g:ResourceTag/env", r#"["prod", "stage"]"#),
            [
                deny("StringEquals", "g:ResourceTag/env", r#""prod""#),
                deny("StringEquals", "g:ResourceTag/env", r#""stage""#),
            ]
            .join(","),
        ),
        (
            deny("StringMatch", "lychgate:jobName", r#"["a*", "ab*"]"#),
            deny("StringStartWith", "lychgate:jobName", r#""a""#),
        ),
        (
            deny("NotIpAddress", "g:SourceIp", r#"["10.0.0.0/9", "10.128.0.0/9"]"#),
            deny("NotIpAddress", "g:SourceIp", r#""10.0.0.0/8""#),
        ),
        (
            deny("NumberGreaterThan", "lychgate:dayOfWeek", r#""5""#),
            deny("NumberEquals", "lychgate:dayOfWeek", r#"["6", "7"]"#),
        ),
        (
            deny("StringEquals", "g:UserId", r#""corp/alice""#),
            deny("StringEquals", "g:UserName", r#""alice""#)
                .replace(r#""StringEquals": {"#, r#""StringEquals": {"lychgate:issuer": "corp", "#),
        ),
        (
            deny("StringEquals", "lychgate:jobOwner", r#""${g:UserName}""#),
            deny("StringMatch", "lychgate:jobOwner", r#""${g:UserName}""#),
        ),
        (
            deny("StringStartWith", "lychgate:jobName", r#""${g:UserName}-""#),
            deny("StringMatch", "lychgate:jobName", r#""${g:UserName}-*""#),
        ),
        (
            deny("NumberGreaterThan", "lychgate:jobAge", r#""4""#),
            deny("NumberGreaterThanEquals", "lychgate:jobAge", r#"["5", "4.5"]"#),
        ),
    ] {
        let found = compare(&set(&old, ALLOW), &set(&new, ALLOW), 1_000_000);
        assert!(found.differences.is_empty(), "{old}\n{new}\n{:#?}", found.differences);
        assert_eq!((found.undecided, found.disagreement), (vec![], None), "{old}\n{new}");
    }
}

/// What exceeds a limit is undecided, and says so.
#[test]
fn hard_pairs_are_undecided() {
    let infixes: Vec<_> = ('a'..='x').map(|it| format!(r#""*{it}{it}*""#)).collect();
    let patterns = deny("StringMatch", "lychgate:jobName", &format!("[{}]", infixes.join(",")));
    let number = deny("NumberLessThan", "lychgate:jobAge", r#""${g:PrincipalTag/youngest}""#);
    let twice = deny("StringEquals", "lychgate:jobName", r#""${g:UserName}${g:UserName}""#);
    let once = deny("StringNotMatch", "lychgate:jobName", r#""*""#);
    for (old, new, is_open) in [
        (ALLOW, patterns.as_str(), true),
        // A difference is a difference, whatever it depends on, as soon as a request shows it.
        (&once, &number, false),
        (&once, &twice, false),
    ] {
        let found = match is_open {
            true => compare(&set("", old), &set(new, ALLOW), 300_000),
            false => compare(&set(old, ALLOW), &set(new, ALLOW), 3_000_000),
        };
        assert_eq!(found.undecided.is_empty(), !is_open, "{new}: {:?}", found.undecided);
        assert_eq!(found.differences.is_empty(), is_open, "{new}");
        assert_eq!(found.disagreement, None);
    }
    let stopped = Comparison::new(
        &set("", ALLOW),
        &set(&patterns, ALLOW),
        &Shift::ALL,
        Effort { steps: u64::MAX, go_on: &|| false },
    );
    assert_eq!((stopped.differences.len(), stopped.undecided.len()), (0, 1));
}

/// The smallest request: nothing is stated that does not matter.
#[test]
fn requests_are_small() {
    let old = set(&deny("StringEquals", "g:ResourceTag/env", r#""prod""#), ALLOW);
    let both = [
        deny("StringEquals", "g:ResourceTag/env", r#""prod""#),
        deny("StringEquals", "lychgate:jobPhase", r#""Running""#),
    ];
    let found = compare(&old, &set(&both.join(","), ALLOW), 1_000_000);
    let it = found.differences.iter().find(|it| it.shift == Shift::Revoked).unwrap();
    let mut expected = Point::new();
    expected.set(&Variable::Fact(JobFact::Phase), &Setting::Text("Running".to_owned()));
    assert_eq!((&it.attributes, &it.query), (&expected.attributes, &expected.query));
}

/// A difference for one action alone is found, with a request for it; one cause for several actions
/// is reported once.
#[test]
fn actions_are_told_apart() {
    let effects =
        |effect: &str, actions: &str| format!(r#"{{"Effect": "{effect}", "Action": [{actions}]}}"#);
    let [delete, batch, get] = Action::ALL.map(|it| format!("\"{it}\""));
    let allow = |actions: &[&String]| {
        let actions: Vec<_> = actions.iter().map(|it| it.as_str()).collect();
        effects("Allow", &actions.join(","))
    };
    let both = allow(&[&delete, &get]);
    let none = effects("Deny", r#""obs:bucket:list""#);
    for (old, new, expected) in [
        (("", allow(&[&delete])), ("", both.clone()), &[(Shift::Gained, Action::Get)][..]),
        (("", allow(&[&get])), ("", both.clone()), &[(Shift::Gained, Action::Delete)]),
        (("", both.clone()), ("", allow(&[&get])), &[(Shift::Revoked, Action::Delete)]),
        (("", allow(&[&get])), ("", allow(&[&get, &batch])), &[]),
        (("", both.clone()), (&*batch, both.clone()), &[(Shift::Revoked, Action::BatchDelete)]),
        ((&*batch, both.clone()), (&*delete, both.clone()), &[(Shift::Revoked, Action::Delete)]),
        (
            (&*get, both.clone()),
            (&*batch, both),
            &[(Shift::Gained, Action::Get), (Shift::Revoked, Action::BatchDelete)],
        ),
        (("", allow(&[&delete, &batch])), ("", allow(&[&delete])), &[]),
    ] {
        let of = |(deny, allow): (&str, String)| {
            let deny = if deny.is_empty() { none.clone() } else { effects("Deny", deny) };
            set(&deny, &allow)
        };
        let show = format!("{old:?} {new:?}");
        let found = compare(&of(old), &of(new), 1_000_000);
        assert_eq!(found.undecided, [], "{show}");
        let found: Vec<_> =
            found.differences.iter().map(|it| (it.shift, it.query.action)).collect();
        assert_eq!(found, expected, "{show}");
    }
}

/// Those who can, the engine allows; those who cannot, it never allows.
#[test]
fn who_can_is_what_the_engine_allows() {
    let identity = [
        (
            "identity/owners.json",
            r#"{"StringEquals": {"lychgate:jobOwner": "${g:PrincipalTag/u}"}}"#,
        ),
        ("identity/all.json", r#"{"StringEquals": {"lychgate:jobPhase": "Completed"}}"#),
        ("identity/other.json", r#"{"StringEquals": {"modelarts:poolId": "pool-b"}}"#),
        ("identity/office.json", r#"{"NumberLessThan": {"lychgate:timeOfDay": "900"}}"#),
    ];
    let statement = |condition: &str| {
        let statement = r#"{"Effect": "Allow", "Action": ["*"], "Condition": "#;
        format!(r#"{{"Version": "5.0", "Statement": [{statement}{condition}}}]}}"#)
    };
    let mut files: Vec<_> = identity.iter().map(|(path, it)| (*path, statement(it))).collect();
    let guardrail = deny("IpAddress", "g:SourceIp", r#""10.0.0.0/8""#);
    files.push((
        "guardrails/g.json",
        format!(r#"{{"Version": "5.0", "Statement": [{guardrail}]}}"#),
    ));
    let attachments = r#"[
        {"to": ["group:corp/owners"], "policies": ["owners"]},
        {"to": ["user:corp/anna"], "policies": ["all"]},
        {"to": ["source:keys"], "policies": ["other"]},
        {"to": ["any"], "policies": ["office"]}
    ]"#;
    files.push(("attachments.yaml", attachments.to_owned()));
    let files: Files = files.into_iter().collect();
    let set = Set::compile(&files, &Limits::default()).set.unwrap();
    let mut job = Point::new();
    job.set(&Variable::Fact(JobFact::Owner), &Setting::Text("li_na".to_owned()));
    job.set(&Variable::Fact(JobFact::Phase), &Setting::Text("Completed".to_owned()));
    job.set(&Variable::Fact(JobFact::PoolId), &Setting::Texts(vec!["pool-a".to_owned()]));
    let effort = Effort { steps: 1_000_000, go_on: &|| true };
    let found = set.who_can(&job.query, &job.attributes, effort);
    let could = |target: &str| &found.iter().find(|it| it.target == target).unwrap().could;
    assert_eq!(found.len(), 4);
    assert_eq!(*could("user:corp/anna"), Could::Yes { by: "identity/all#1".to_owned() });
    for (target, key, by) in [
        ("any", "g:CurrentTime", "identity/office#1"),
        ("group:corp/owners", "g:PrincipalTag/u", "identity/owners#1"),
        ("source:keys", "g:CurrentTime", "identity/office#1"),
    ] {
        let Could::If { keys, by: found } = could(target) else {
            panic!("{target}: {:?}", could(target));
        };
        assert_eq!(keys.len(), 1, "{target}: {keys:?}");
        assert!(keys[0].0 == key || keys[0].0 == "g:CurrentTime", "{target}: {keys:?}");
        assert!(found == by || found == "identity/office#1", "{target}: {found}");
    }
    // The same job, unfinished, with nothing known of its owner.
    job.set(&Variable::Fact(JobFact::Phase), &Setting::Text("Running".to_owned()));
    let deny = deny("StringEquals", "lychgate:jobPhase", r#""Running""#);
    let all = [("guardrails/g.json", format!(r#"{{"Version": "5.0", "Statement": [{deny}]}}"#))];
    let denied: Files = files
        .iter()
        .filter(|(path, _)| *path != "guardrails/g.json")
        .map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))
        .chain(all.map(|(path, text)| (path.to_owned(), text.into_bytes())))
        .collect();
    let set = Set::compile(&denied, &Limits::default()).set.unwrap();
    for it in set.who_can(&job.query, &job.attributes, effort) {
        let by = match it.target.as_str() {
            "user:corp/anna" | "any" | "source:keys" | "group:corp/owners" => "guardrails/g#1",
            other => panic!("{other}"),
        };
        assert_eq!(it.could, Could::No { by: by.to_owned() }, "{}", it.target);
    }
}
