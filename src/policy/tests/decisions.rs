//! From statements to decisions: who decides, which sources are wanted, whom policies are attached
//! to.

use super::*;

/// Statements in short: `D`/`A` for the effect, then a condition: nothing, `name=x` (the caller's),
/// `pool=x`, `tag=x` or `never` (another action).
fn short(statements: &[&str]) -> String {
    let statements = statements.iter().map(|it| {
        let (effect, condition) = it.split_once(' ').unwrap_or((it, ""));
        let effect = if effect == "D" { "Deny" } else { "Allow" };
        let key = match condition.split_once('=') {
            Some(("name", value)) => ("g:UserName", value),
            Some(("pool", value)) => ("modelarts:poolType", value),
            Some(("tag", value)) => ("g:ResourceTag/env", value),
            Some(("ip", value)) => ("g:UserAgent", value),
            _ if condition == "never" => {
                return format!(r#"{{"Effect": "{effect}", "Action": ["obs:bucket:list"]}}"#);
            }
            _ => return statement(effect, ""),
        };
        let (key, value) = key;
        let fields = format!(r#""Condition": {{"StringEquals": {{"{key}": "{value}"}}}}"#);
        statement(effect, &fields)
    });
    document(&statements.collect::<Vec<_>>().join(", "))
}

#[track_caller]
fn check(guardrails: &[&str], identity: &[&str], attributes: &Attributes, expected: &str) {
    let mut files = vec![("attachments.yaml", "- {to: [any], policies: [i]}\n")];
    let (guardrails, identity) = (short(guardrails), short(identity));
    files.push(("identity/i.json", &identity));
    if guardrails.contains("Effect") {
        files.push(("guardrails/g.json", &guardrails));
    }
    let set = match identity.contains("Effect") {
        true => set(&files),
        false => set(&files[2..]),
    };
    let query = Query { user_agent: Attribute::Unavailable, ..query() };
    assert_eq!(said(&set.evaluate(&query, attributes)), expected);
}

/// `¬D ∧ C ∧ A`; the job is of a dedicated pool and tagged `env: dev`.
#[test]
fn the_formula() {
    let known = &attributes();
    let unknown = &Attributes::default();
    for (guardrails, identity, attributes, expected) in [
        (&[][..], &["A"][..], known, "allow identity/i#1"),
        (&["D name=bob"], &["A name=bob"], known, "none"),
        (&["D name=bob"], &["A name=bob", "A", "A"], known, "allow identity/i#2"),
        (&["D name=bob", "D"], &["A"], known, "deny guardrails/g#2"),
        (&["D", "D"], &["D"], known, "deny guardrails/g#1"),
        (&["A"], &["A", "D"], known, "deny identity/i#2"),
        (&["A name=bob"], &["A"], known, "ceiling"),
        (&["A name=bob", "A"], &["A"], known, "allow identity/i#1"),
        (&["A name=bob"], &["A name=bob"], known, "ceiling"),
        (&["A never"], &["A"], known, "ceiling"),
        (&["D never"], &["A"], known, "allow identity/i#1"),
        (&["A never", "A"], &["A"], known, "allow identity/i#1"),
        (&["A"], &[], known, "none"),
        // An unknown fact matters only where it can change the answer.
        (&["D pool=public"], &["A"], unknown, "? details"),
        (&["D pool=public"], &["A"], known, "allow identity/i#1"),
        (&["D pool=dedicated"], &["A"], known, "deny guardrails/g#1"),
        (&["D pool=public", "D"], &["A"], unknown, "deny guardrails/g#2"),
        (&["D pool=public"], &["A name=bob"], unknown, "none"),
        (&["D pool=public", "A name=bob"], &["A"], unknown, "ceiling"),
        (&["D tag=prod"], &["A pool=public"], unknown, "? details tags"),
        (&["D name=bob"], &["A pool=public", "A"], unknown, "allow identity/i#2"),
        (&["A pool=public", "A"], &["A"], unknown, "allow identity/i#1"),
        (&["A pool=public", "A"], &["A tag=x"], unknown, "? tags"),
        (&["A pool=public"], &["A tag=x"], unknown, "? details tags"),
        (&["A pool=public"], &["A tag=x", "D"], unknown, "deny identity/i#2"),
        // A fact of the request that is unavailable.
        (&["D ip=x"], &["A"], known, "?"),
        (&["D ip=x", "D"], &["A"], known, "deny guardrails/g#2"),
    ] {
        check(guardrails, identity, attributes, expected);
    }
}

#[test]
fn of_several_deciders_the_first_is_named() {
    let allow = document(&statement("Allow", ""));
    let deny = document(&statement("Deny", ""));
    let named = document(&statement("Deny", r#""Sid": "No #1""#));
    let all = "- {to: [any], policies: [b, a]}\n- {to: ['user:corp/alice'], policies: [a-b, b]}\n";
    for (files, expected) in [
        // `a-b.json` sorts before `a.json`.
        (&[("identity/a.json", &allow), ("identity/b.json", &allow)][..], "allow identity/a-b#1"),
        (&[("identity/a.json", &allow), ("identity/b.json", &deny)], "deny identity/b#1"),
        (&[("identity/a.json", &deny), ("identity/b.json", &deny)], "deny identity/a#1"),
        (&[("identity/b.json", &deny), ("guardrails/z.json", &named)], "deny guardrails/z#No #1"),
        (&[("guardrails/a.json", &deny), ("guardrails/a-b.json", &deny)], "deny guardrails/a-b#1"),
    ] {
        let mut all_files = vec![("attachments.yaml", all)];
        all_files.extend(["identity/a.json", "identity/a-b.json", "identity/b.json"].map(|path| {
            let given = files.iter().find(|(it, _)| *it == path);
            (path, given.map_or(EVERYTHING, |(_, text)| text.as_str()))
        }));
        all_files.extend(files.iter().map(|(path, text)| (*path, text.as_str())));
        let decision = set(&all_files).evaluate(&query(), &attributes());
        assert_eq!(said(&decision), expected);
    }
}

#[test]
fn resources() {
    let here = format!("modelarts:cn-north-4:123:trainJob:{JOB}");
    for (field, values, expected) in [
        ("Resource", r#"["*"]"#, "TT"),
        ("Resource", r#"["modelarts:*:*:trainJob:*"]"#, "TT"),
        ("Resource", &format!(r#"["{here}"]"#), "TT"),
        ("Resource", r#"["modelarts:*:*:trainJob:3faf5c03-*-24b05d99734?"]"#, "TT"),
        ("Resource", r#"["modelarts:cn-north-1:*:trainJob:*"]"#, "FF"),
        ("Resource", r#"["modelarts:cn-north-?:1*3:tr*b:*"]"#, "TT"),
        ("Resource", r#"["modelarts::*:trainJob:*"]"#, "FF"),
        ("Resource", r#"["modelarts:*:*:trainjob:*"]"#, "FF"),
        ("Resource", r#"["*:*:*:*:*"]"#, "TT"),
        ("Resource", r#"["modelarts:*:*:trainJob:*:x"]"#, "FF"),
        ("Resource", r#"["obs:*:*:bucket:x", "*:*:*:*:3*"]"#, "TT"),
        ("NotResource", r#"["*"]"#, "FF"),
        ("NotResource", r#"["modelarts:cn-north-1:*:trainJob:*"]"#, "TT"),
        ("NotResource", &format!(r#"["obs:*:*:bucket:x", "{here}"]"#), "FF"),
        ("Resource", r#"["modelarts:*:*:trainJob:${g:PrincipalTag/none}"]"#, "TF"),
        ("NotResource", r#"["modelarts:*:*:trainJob:${g:PrincipalTag/none}"]"#, "TF"),
        ("Resource", r#"["modelarts:x:*:trainJob:${g:PrincipalTag/none}"]"#, "FF"),
        ("Resource", r#"["modelarts:*:*:trainJob:3${g:PrincipalTag/none, 'faf'}*"]"#, "TT"),
        ("Resource", r#"["modelarts:*:*:trainJob:${g:PrincipalTag/star}"]"#, "FF"),
    ] {
        let fields = format!(r#""{field}": {values}"#);
        let [deny, allow] = under_both(&fields);
        let holds = [&deny, &allow].map(|it| said(&it.evaluate(&query(), &attributes())));
        let expected = match expected {
            "TT" => ["deny guardrails/d#1", "allow identity/all#1"],
            "TF" => ["deny guardrails/d#1", "none"],
            _ => ["allow identity/all#1", "none"],
        };
        assert_eq!(holds, expected, "{fields}");
    }
}

/// Which actions a statement with these names is about: an Allow and a Deny of them, in turn, for a
/// delete, a batch and a look.
#[test]
fn actions() {
    for (field, values, allows, denies) in [
        ("Action", r#"["*"]"#, "dbg", "dbg"),
        ("Action", r#"["*:*:*"]"#, "dbg", "dbg"),
        ("Action", r#"["ModelArts:TRAINJOB:Delete"]"#, "db", "db"),
        ("Action", r#"["modelarts:train*:delet?"]"#, "db", "db"),
        ("Action", r#"["modelarts:trainJob:create", "modelarts:trainJob:get"]"#, "g", "g"),
        ("Action", r#"["modelarts:trainJob:list"]"#, "", ""),
        ("Action", r#"["modelarts:trainJob:*"]"#, "dbg", "dbg"),
        ("Action", r#"["modelarts:trainJob:*delete"]"#, "db", "db"),
        ("Action", r#"["modelarts:trainjob:batchdelete"]"#, "", "b"),
        ("Action", r#"["modelarts:trainJob:batch*"]"#, "", "b"),
        ("Action", r#"["modelarts:*:get", "modelarts:*:batchDelete"]"#, "g", "bg"),
        ("Action", r#"["obs:*:*"]"#, "", ""),
        ("NotAction", r#"["obs:*:*"]"#, "dbg", "dbg"),
        ("NotAction", r#"["obs:*:*", "modelarts:*:delete"]"#, "g", "bg"),
        ("NotAction", r#"["modelarts:*:batchDelete", "modelarts:*:get"]"#, "db", "db"),
    ] {
        let statement =
            |effect: &str| document(&format!(r#"{{"Effect": "{effect}", "{field}": {values}}}"#));
        let (allow, deny) = (statement("Allow"), statement("Deny"));
        let everything = document(r#"{"Effect": "Allow", "Action": ["*"]}"#);
        let granted = set(&[("identity/all.json", &allow), ("attachments.yaml", TO_ANY)]);
        let denied = [
            ("guardrails/g.json", deny.as_str()),
            ("identity/all.json", &everything),
            ("attachments.yaml", TO_ANY),
        ];
        let denied = set(&denied);
        for (action, letter) in Action::ALL.into_iter().zip(['d', 'b', 'g']) {
            let query = Query { action, ..query() };
            let expected = match allows.contains(letter) {
                true => "allow identity/all#1",
                false => "none",
            };
            let row = format!("{action} {field} {values}");
            assert_eq!(said(&granted.evaluate(&query, &attributes())), expected, "Allow: {row}");
            let expected = match denies.contains(letter) {
                true => "deny guardrails/g#1",
                false => "allow identity/all#1",
            };
            assert_eq!(said(&denied.evaluate(&query, &attributes())), expected, "Deny: {row}");
        }
    }
}

/// Who may look may not delete with that.
#[test]
fn a_permit_to_look_deletes_nothing() {
    let allow = document(r#"{"Effect": "Allow", "Action": ["*"]}"#);
    let set = set(&[("identity/all.json", &allow), ("attachments.yaml", TO_ANY)]);
    for (action, deletes) in
        [(Action::Delete, true), (Action::BatchDelete, true), (Action::Get, false)]
    {
        let query = Query { action, ..query() };
        let Decision::Allow(permit) = set.evaluate(&query, &attributes()) else {
            panic!("{action} is denied");
        };
        assert_eq!(permit.spend().is_some(), deletes, "{action}");
    }
}

#[test]
fn policies_hold_for_whom_they_are_attached_to() {
    for (entry, expected) in [
        ("to: [any]", true),
        ("to: ['user:corp/alice']", true),
        ("to: ['user:corp/Alice']", false),
        ("to: ['user:lab/alice']", false),
        ("to: ['group:corp/ml']", true),
        ("to: ['group:corp/alice', 'user:corp/ml']", false),
        ("to: ['source:corp']", true),
        ("to: ['source:lab', 'group:lab/ml']", false),
        ("to: ['source:lab', any, any]", true),
        ("to: [any], projects: [p1]", true),
        ("to: [any], projects: [P1]", false),
        ("to: [any], projects: [p2, 'p*']", true),
        ("to: [any], projects: [p2, p11]", false),
        ("to: [any], projects: ['*1']", true),
    ] {
        let attachments = format!("- {{{entry}, policies: [all]}}\n");
        let set = set(&[("identity/all.json", EVERYTHING), ("attachments.yaml", &attachments)]);
        let expected = if expected { "allow identity/all#1" } else { "none" };
        assert_eq!(said(&set.evaluate(&query(), &attributes())), expected, "{entry}");
    }
}

#[test]
fn names_of_principals_may_hold_slashes_and_colons() {
    let attachments = "- {to: ['user:mtls/spiffe://a.example/ns/b:c'], policies: [all]}\n";
    let set = set(&[("identity/all.json", EVERYTHING), ("attachments.yaml", attachments)]);
    let caller =
        Principal::new("mtls", "spiffe://a.example/ns/b:c", [], BTreeMap::new(), Method::Mtls);
    let query = Query { principal: Arc::new(caller), ..query() };
    assert_eq!(said(&set.evaluate(&query, &attributes())), "allow identity/all#1");
}

#[test]
fn a_statement_knows_its_place() {
    let text = document(&[statement("Deny", ""), statement("Deny", r#""Sid": "x""#)].join(", "));
    let set = set(&[("guardrails/g.json", &text)]);
    let Decision::Deny(denial) = set.evaluate(&query(), &attributes()) else { panic!() };
    let place = set.place(denial.statement.unwrap().as_str()).unwrap();
    assert_eq!(place.path, "guardrails/g.json");
    assert_eq!(text.get(place.span.start..place.span.end), Some(&*statement("Deny", "")));
}
