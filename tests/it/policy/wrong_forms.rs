//! What authors write and hardly mean: `check` says so, and says nothing of the right form.

use crate::policy::findings::setup;

use lychgate::policy::{Code, Diagnostic, Effort, Files, Limits, Method, Set, beside};

/// A document that allows everything.
const EVERYTHING: &str =
    r#"{"Version": "5.0", "Statement": [{"Effect": "Allow", "Action": ["*"]}]}"#;

/// What a closer look finds in a directory.
fn examined(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let mut compiled = Set::compile(&files.iter().copied().collect(), &Limits::default());
    compiled.examine(Effort { steps: 1_000_000, go_on: &|| true });
    compiled.diagnostics
}

/// The codes and texts of what there is to say about one statement with `condition`: a `deny`, an
/// `allow`, or an Allow of the guardrails, a `ceiling`.
fn found(kind: &str, condition: &str) -> Vec<(Code, String)> {
    let (path, effect, attached) = match kind {
        "allow" => ("identity/doc.json", "Allow", "doc"),
        "ceiling" => ("guardrails/doc.json", "Allow", "all"),
        "deny" => ("guardrails/doc.json", "Deny", "all"),
        _ => panic!("{kind}"),
    };
    let document = format!(
        r#"{{"Version": "5.0", "Statement": [{{"Effect": "{effect}", "Action":
            ["modelarts:trainJob:delete"], "Condition": {condition}}}]}}"#
    );
    let attachments = format!("- {{to: [any], projects: [p1], policies: [{attached}]}}");
    let mut files = vec![(path, document.as_str()), ("attachments.yaml", &attachments)];
    if attached == "all" {
        files.push(("identity/all.json", EVERYTHING));
    }
    let text =
        |it: &Diagnostic| format!("{}\n{}", it.message, it.hint.as_deref().unwrap_or_default());
    examined(&files).iter().map(|it| (it.code, text(it))).collect()
}

/// A row each: the kind of the statement, the code of the finding, the condition, and perhaps a part of
/// what is said.
const WRONG: &str = r##"
# Several groups.
deny one-or-all-groups {"StringNotEquals": {"lychgate:groups": "corp/admins"}} => `ForAllValues:StringNotEquals`
deny one-or-all-groups {"ForAnyValue:StringNotMatchIfExists": {"lychgate:groups": "corp/admin*"}} => `ForAllValues:StringNotMatchIfExists`
deny one-or-all-groups {"ForAllValues:StringEquals": {"lychgate:groups": "corp/interns"}} => `StringEquals`
allow one-or-all-groups {"StringEquals": {"lychgate:groups": ["corp/a", "corp/b"]}} => `ForAnyValue:StringEquals`
ceiling one-or-all-groups {"ForAllValues:StringStartWith": {"lychgate:groups": "corp/"}} => `ForAnyValue:StringStartWith`
allow allow-for-any-value {"ForAnyValue:StringNotEquals": {"lychgate:groups": "corp/interns"}} => ForAnyValue
# The clock.
deny impossible-value {"NumberGreaterThan": {"lychgate:timeOfDay": "1780"}} => `1780` is not a value
deny impossible-value {"NumberLessThan": {"lychgate:timeOfDay": "9.5"}} => 17:30 is `1730`
deny unlikely-value {"NumberLessThan": {"lychgate:timeOfDay": "9"}} => write `900`
deny never-matches {"NumberGreaterThanEquals": {"lychgate:timeOfDay": "2400"}} => no `lychgate:timeOfDay` is at least `2400`
deny always-true {"NumberLessThan": {"lychgate:timeOfDay": "2400"}} => less than `2400`
deny impossible-value {"NumberEquals": {"lychgate:dayOfWeek": ["6", "0"]}} => `7` is Sunday
deny impossible-value {"NumberNotEquals": {"lychgate:dayOfWeek": "9"}} => no `lychgate:dayOfWeek` is `9`
deny impossible-value {"NumberGreaterThan": {"lychgate:dayOfWeek": "5.5"}} => `5.5` is not a value
deny unlikely-value {"NumberLessThanIfExists": {"lychgate:jobAge": "7"}} => a day is `86400`
allow unlikely-value {"NumberGreaterThan": {"lychgate:jobAge": "168"}} => `168` seconds
allow always-true {"NumberGreaterThan": {"lychgate:jobAge": "-1"}} => greater than `-1`
deny impossible-value {"NumberLessThanIfExists": {"lychgate:jobAge": "0"}} => no `lychgate:jobAge` is less than `0`
deny unlikely-value {"NumberLessThan": {"lychgate:timeOfDay/Asia/Shanghai": "17"}} => write `1700`
deny unknown-key {"NumberLessThan": {"lychgate:timeOfDay/Asia/Shanghi": "1700"}} => `Asia/Shanghai`
deny unknowable-deny {"StringEquals": {"g:PrincipalId": "alice"}} => always matches
# Names.
allow unlikely-value {"StringEquals": {"g:UserName": "corp/alice"}} => `g:UserId`
allow unlikely-value {"StringMatch": {"g:UserName": "corp/ci-*"}} => `g:UserId`
allow impossible-value {"StringEquals": {"g:UserId": "alice"}} => /alice`
allow unlikely-value {"StringEquals": {"lychgate:jobOwner": "corp/alice"}} => Huawei
allow impossible-value {"StringEquals": {"lychgate:issuer": "https://sso.example.com"}} => `corp`
allow impossible-value {"StringMatch": {"g:PrincipalUrn": "iam::123:user:*"}} => `sts::<account>
deny unlikely-value {"StringEquals": {"lychgate:workspaceId": "default"}} => `0`
# What cannot hold together.
deny never-matches {"NumberLessThan": {"lychgate:timeOfDay": "900"}, "NumberGreaterThan": {"lychgate:timeOfDay": "1700"}}
deny never-matches {"NumberLessThan": {"lychgate:timeOfDay/Asia/Shanghai": "900"}, "NumberGreaterThan": {"lychgate:timeOfDay/Asia/Shanghai": "1700"}}
deny never-matches {"StringEquals": {"lychgate:jobPhase": "Failed"}, "StringNotEquals": {"lychgate:jobPhase": "Failed"}}
deny never-matches {"StringEquals": {"lychgate:jobName": ["a", "b"]}, "StringStartWith": {"lychgate:jobName": "c"}}
deny never-matches {"DateGreaterThan": {"g:CurrentTime": "2026-02-01T00:00:00Z"}, "DateLessThan": {"g:CurrentTime": "2026-01-01T00:00:00Z"}}
deny never-matches {"IpAddress": {"g:SourceIp": "10.0.0.0/8"}, "NotIpAddress": {"g:SourceIp": "10.0.0.0/8"}}
# Numbers and dates in the forms of others.
deny malformed-value {"NumberLessThan": {"lychgate:timeOfDay": "09:00"}} => `1730`
deny malformed-value {"NumberEquals": {"lychgate:dayOfWeek": "Saturday"}} => Sunday
deny malformed-value {"NumberLessThan": {"lychgate:jobAge": "7d"}} => `86400`
deny unlikely-value {"NumberLessThanIfExists": {"lychgate:jobAge": "604800000"}} => ten years
deny unknown-operator {"DateEquals": {"g:CurrentTime": "2027-01-01T00:00:00Z"}} => `DateGreaterThanEquals` and `DateLessThan`
deny unknown-key {"NumberLessThan": {"lychgate:timeOfDay/Asia/Beijing": "900"}} => Beijing time is `Asia/Shanghai`
# What leaves nothing out.
deny unlikely-value {"NotIpAddress": {"g:SourceIp": "0.0.0.0/0"}} => every IPv4
allow unlikely-value {"IpAddress": {"g:SourceIp": ["10.0.0.0/8", "::/0"]}} => every IPv6
deny always-true {"Bool": {"g:SecureTransport": ["true", "False"]}} => the one
allow unlikely-value {"StringEquals": {"lychgate:jobName": "${lychgate:jobName}"}} => with itself
# Texts that are not what they look like.
deny unlikely-value {"StringEquals": {"g:UserName": "alice "}} => the space counts
deny unlikely-value {"StringMatch": {"g:UserName": " ci-*"}} => the space counts
deny unlikely-value {"StringEquals": {"g:UserName": "ali\u200bce"}} => not seen
deny unlikely-value {"StringEquals": {"g:ResourceTag/env": "prod\u00a0eu"}} => look like a space
deny unlikely-value {"StringEquals": {"g:ResourceTag/ env": "prod"}} => the space
deny unlikely-value {"Null": {"g:ResourceTag/e\u00adnv": "true"}} => not seen
allow unlikely-value {"StringMatch": {"lychgate:jobName": "$g:UserName-*"}} => `${g:UserName}`
allow unlikely-value {"StringEquals": {"lychgate:jobOwner": "{{ g:UserName }}"}} => nothing is filled in
allow unlikely-value {"StringMatch": {"lychgate:jobName": "^ci-*"}} => list several
allow unlikely-value {"StringMatch": {"lychgate:jobName": "*-prod$"}} => list several
allow unlikely-value {"StringMatch": {"lychgate:jobName": "ci-[0-9]*"}} => regular
allow unlikely-value {"StringMatch": {"lychgate:jobName": "(ci|cd)-*"}} => regular
allow unlikely-value {"StringMatch": {"lychgate:jobName": "{ci,cd}-*"}} => regular
deny impossible-value {"StringEquals": {"g:RequestedRegion": "华北-北京四"}} => the ID
deny impossible-value {"StringEquals": {"g:DomainId": "our company"}} => domain ID
deny unlikely-value {"StringEquals": {"g:UserName": "аlice"}} => look like Latin
deny unlikely-value {"StringEquals": {"g:ResourceTag/env": "eu-prоd"}} => look like Latin
# Several pools.
deny one-or-all-groups {"ForAllValues:StringEquals": {"modelarts:poolType": "public"}} => write `StringEquals`
# A ceiling is said to be one, every time.
ceiling ceiling {"StringEquals": {"g:RequestedRegion": "cn-north-4"}} => identity/
"##;

#[test]
fn a_wrong_form_is_found_and_the_right_one_is_named() {
    for row in WRONG.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let (statement, says) = row.split_once(" => ").unwrap_or((row, ""));
        let [kind, code, condition] = statement.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let found = found(kind, condition);
        let said = found.iter().any(|(it, text)| it.as_str() == code && text.contains(says));
        assert!(said, "{row}: {found:#?}");
    }
}

#[test]
fn of_a_right_form_nothing_is_said() {
    for (kind, condition) in [
        ("deny", r#"{"ForAllValues:StringNotEquals": {"lychgate:groups": "corp/admins"}}"#),
        ("deny", r#"{"StringEquals": {"lychgate:groups": "corp/interns"}}"#),
        ("deny", r#"{"ForAnyValue:StringEquals": {"lychgate:groups": "corp/interns"}}"#),
        ("allow", r#"{"ForAnyValue:StringMatch": {"lychgate:groups": "corp/ml-*"}}"#),
        ("deny", r#"{"NumberLessThan": {"lychgate:timeOfDay": "900"}}"#),
        ("deny", r#"{"NumberGreaterThanEquals": {"lychgate:timeOfDay": "1730"}}"#),
        ("deny", r#"{"NumberGreaterThan": {"lychgate:dayOfWeek": "5"}}"#),
        ("deny", r#"{"NumberLessThanIfExists": {"lychgate:jobAge": "3600"}}"#),
        ("allow", r#"{"StringEquals": {"g:UserName": "alice"}}"#),
        ("allow", r#"{"StringEquals": {"g:UserName": "spiffe://example.org/ns/a"}}"#),
        ("allow", r#"{"StringEquals": {"g:UserName": "system:serviceaccount:ci:clean"}}"#),
        ("allow", r#"{"StringMatch": {"g:PrincipalUrn": "*:external-user:corp/*"}}"#),
        ("allow", r#"{"StringMatch": {"lychgate:jobOwner": "li_*"}}"#),
        ("deny", r#"{"StringEquals": {"lychgate:workspaceId": "0"}}"#),
        ("deny", r#"{"StringStartWith": {"lychgate:jobName": "ci "}}"#),
        ("deny", r#"{"StringEquals": {"g:UserName": ["Олена", "νίκος-a", "µ-tests"]}}"#),
        ("deny", r#"{"StringNotEquals": {"modelarts:poolType": "dedicated"}}"#),
        ("deny", r#"{"StringMatch": {"g:UserAgent": "Mozilla/5.0 (X11; Linux) a-[b]*"}}"#),
        ("deny", r#"{"StringEquals": {"g:RequestedRegion": "cn-north-4", "g:DomainId": "0a_b"}}"#),
        ("deny", r#"{"StringMatch": {"g:ResourceTag/the owner": "Li * Na"}}"#),
        ("allow", r#"{"StringMatch": {"lychgate:jobName": "{x}-msg:a-*"}}"#),
        ("deny", r#"{"NumberLessThanIfExists": {"lychgate:jobAge": "31536000"}}"#),
    ] {
        let found = found(kind, condition);
        assert!(found.is_empty(), "{kind} {condition}: {found:#?}");
    }
}

/// A statement that names nothing protects nothing, or grants nothing.
#[test]
fn a_statement_that_names_nothing_is_found() {
    let action = r#""Action": ["modelarts:trainJob:delete"]"#;
    for (effect, rest, says) in [
        ("Deny", format!(r#"{action}, "NotResource": ["*"]"#), "excludes everything"),
        ("Allow", format!(r#"{action}, "NotResource": ["*"]"#), "excludes everything"),
        (
            "Deny",
            format!(
                r#"{action}, "NotResource": ["modelarts:*:*:trainJob:a", "modelarts:*:*:trainJob:*"]"#
            ),
            "excludes everything",
        ),
        ("Deny", r#""NotAction": ["*"]"#.to_owned(), "no action at all"),
        ("Allow", r#""NotAction": ["*"]"#.to_owned(), "no action at all"),
        ("Deny", r#""NotAction": ["obs:object:get", "*:*:*"]"#.to_owned(), "no action at all"),
    ] {
        let path = if effect == "Deny" { "guardrails/doc.json" } else { "identity/doc.json" };
        let document =
            format!(r#"{{"Version": "5.0", "Statement": [{{"Effect": "{effect}", {rest}}}]}}"#);
        let found = examined(&[
            (path, &document),
            ("identity/all.json", EVERYTHING),
            ("attachments.yaml", "- {to: [any], projects: [p1], policies: [all]}"),
        ]);
        let said =
            found.iter().any(|it| it.code == Code::NeverMatches && it.message.contains(says));
        assert!(said, "{document}: {found:?}");
    }
}

#[test]
fn a_file_with_nearly_the_right_name_is_told_the_right_one() {
    for (path, says) in [
        ("attachments.yml", "did you mean `attachments.yaml`?"),
        ("budget.yaml", "did you mean `budgets.yaml`?"),
        ("guardrail/", "did you mean `guardrails/`?"),
        ("Identity/a.json", "did you mean `identity/a.json`?"),
        ("identity/a.JSON", "did you mean `identity/a.json`?"),
        ("guardrails/a.yaml", "did you mean `guardrails/a.json`?"),
        ("tests/a.yml", "did you mean `tests/a.yaml`?"),
        ("identity/a#b.json", "rename it without `#`"),
        ("identity/a", "it holds guardrails/*.json"),
        ("notes.txt", "it holds guardrails/*.json"),
        ("backup/a.json", "it holds guardrails/*.json"),
    ] {
        let found = examined(&[(path, "")]);
        let told = found.iter().find(|it| it.code == Code::UnknownFile).unwrap();
        let hint = told.hint.as_deref().unwrap_or_default();
        assert!(hint.starts_with(says), "{path}: {hint}");
    }
}

/// `projects: ['*']` leaves no project out, so that the policy counts as bound to none.
#[test]
fn projects_that_leave_none_out_bind_nothing() {
    for (projects, wide) in [("['*']", true), ("[p1, '**']", true), ("['p*']", false)] {
        let attachments =
            format!("- {{to: ['group:corp/a'], projects: {projects}, policies: [all]}}");
        let found =
            examined(&[("identity/all.json", EVERYTHING), ("attachments.yaml", &attachments)]);
        let said = found.iter().any(|it| it.code == Code::WildcardAllow);
        assert_eq!(said, wide, "{projects}: {found:?}");
    }
}

/// What there is to say about one file beside a gate with an issuer, whose callers have groups and the
/// tag `team`, and client certificates.
fn found_beside(path: &str, text: &str, with_gate: bool) -> Vec<(Code, String)> {
    let mut setup = setup();
    match &mut setup.gate {
        Some(gate) if with_gate => {
            gate.projects.push("ff".to_owned());
            gate.source("mtls", false, Some([].into()), Method::Mtls);
        }
        gate => *gate = None,
    }
    let files: Files = [(path, text.as_bytes().to_vec())].into_iter().collect();
    let found = beside(&files, &setup).into_iter();
    found.map(|it| (it.code, it.message + "\n" + &it.hint.unwrap_or_default())).collect()
}

fn condition(condition: &str) -> String {
    format!(
        r#"{{"Version": "5.0", "Statement": [{{"Effect": "Deny", "Action": ["*"], "Condition": {condition}}}]}}"#
    )
}

#[test]
fn what_the_gate_does_not_have_is_found() {
    for (entry, says) in [
        ("{to: ['group:crop/ml'], policies: [p]}", "did you mean `corp`?"),
        ("{to: ['user:keys/ci'], policies: [p]}", "no identity source `keys`"),
        ("{to: ['source:local'], policies: [p]}", "no identity source `local`"),
        ("{to: ['group:mtls/ops'], policies: [p]}", "have no groups"),
        ("{to: [any], projects: [0a2], policies: [p]}", "serves a project `0a2`"),
        ("{to: [any], projects: ['*0'], policies: [p]}", ""),
        ("{to: [any], projects: ['0a*'], policies: [p]}", ""),
        ("{to: [any], projects: ['0a1c*'], policies: [p]}", "serves a project `0a1c*`"),
        ("{to: ['group:corp/ml', 'user:mtls/spiffe://a/b'], projects: [ff], policies: [p]}", ""),
    ] {
        let found = found_beside("attachments.yaml", &format!("- {entry}"), true);
        assert_eq!(
            found.iter().any(|(_, it)| it.contains(says)),
            !says.is_empty(),
            "{entry}: {found:?}"
        );
        assert!(found.iter().all(|(it, _)| *it == Code::NotConfigured), "{entry}");
        assert_eq!(found_beside("attachments.yaml", &format!("- {entry}"), false), []);
    }
    for (written, says) in [
        (r#"{"StringEquals": {"lychgate:groups": "crop/ml"}}"#, "did you mean `corp`?"),
        (r#"{"StringMatch": {"lychgate:groups": "ml-*"}}"#, "no identity source `ml-…`"),
        (r#"{"StringMatch": {"lychgate:groups": "c*"}}"#, ""),
        (r#"{"StringMatch": {"lychgate:groups": "*/ml"}}"#, ""),
        (r#"{"StringEquals": {"g:UserId": "keys/ci"}}"#, "no identity source `keys`"),
        (r#"{"StringStartWith": {"g:UserId": "mtls/spiffe://"}}"#, ""),
        (r#"{"StringEquals": {"lychgate:issuer": "corp"}}"#, ""),
        (r#"{"StringEquals": {"lychgate:issuer": "crop"}}"#, "did you mean `corp`?"),
        (r#"{"StringEquals": {"g:PrincipalTag/taem": "x"}}"#, "did you mean `team`?"),
        (r#"{"StringEquals": {"lychgate:jobName": "${g:PrincipalTag/nick}"}}"#, "fills"),
        (r#"{"StringEquals": {"lychgate:jobName": "${g:PrincipalTag/team}"}}"#, ""),
        (r#"{"StringEquals": {"lychgate:authMethod": "key"}}"#, "is never `key` here"),
        (r#"{"StringEquals": {"lychgate:authMethod": ["jwt", "mtls"]}}"#, ""),
        (r#"{"StringEquals": {"g:RequestedRegion": "cn-north-5"}}"#, "`cn-north-4`"),
        (r#"{"StringMatch": {"g:RequestedRegion": "cn-*"}}"#, ""),
        (r#"{"StringEquals": {"g:PrincipalAccount": "124"}}"#, "`123`"),
        (r#"{"StringEquals": {"lychgate:projectId": "0b"}}"#, "serves a project `0b`"),
        (r#"{"StringStartWith": {"lychgate:projectId": "0a1"}}"#, ""),
        (r#"{"StringEquals": {"modelarts:poolType": "Public"}}"#, "did you mean `public`?"),
        (r#"{"DateLessThan": {"g:CurrentTime": "2026-05-31T00:00:00Z"}}"#, "has passed"),
        (r#"{"DateGreaterThan": {"g:CurrentTime": "2026-05-31T00:00:00Z"}}"#, ""),
        (
            r#"{"DateLessThan": {"g:CurrentTime": ["2026-05-31T00:00:00Z", "2027-01-01T00:00:00Z"]}}"#,
            "",
        ),
    ] {
        let found = found_beside("guardrails/g.json", &condition(written), true);
        let said = found.iter().any(|(_, it)| it.contains(says));
        assert_eq!(said, !says.is_empty(), "{written}: {found:?}");
        assert_eq!(found.is_empty(), says.is_empty(), "{written}: {found:?}");
    }
    // Without a configuration the words of pool types and the dates are looked at.
    let words = condition(r#"{"StringEquals": {"modelarts:poolType": "Public"}}"#);
    let found = found_beside("guardrails/g.json", &words, false);
    assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>(), [Code::UnlikelyValue]);
    let resource = r#"{"Version": "5.0", "Statement": [{"Effect": "Deny", "Action": ["*"], "Resource":
        ["modelarts:cn-north-5:*:trainJob:*", "modelarts:*:124:trainJob:*", "modelarts:cn-*:123:trainJob:*"]}]}"#;
    assert_eq!(found_beside("identity/p.json", resource, true).len(), 2);
}

#[test]
fn budgets_and_suites_are_compared_with_the_gate_as_well() {
    let budget = |it: &str| format!("budgets: [{{name: b, deletes: 2, within: 1h, {it}}}]");
    let who = |it: &str| {
        let request = "request: {project: ff, job: j-1, region: cn-north-4, account: '123', time: 2026-01-15T12:00:00Z}";
        format!("cases: [{{name: n, principal: {{{it}}}, {request}, job: {{}}, expect: deny}}]")
    };
    let asked = |request: &str, job: &str| {
        format!(
            "cases: [{{name: n, principal: {{source: corp, name: a}}, request: {{job: j-1, \
             time: 2026-01-15T12:00:00Z, {request}}}, job: {job}, expect: deny}}]"
        )
    };
    let at = "project: ff, region: cn-north-4, account: '123'";
    let suite = "tests/t.yaml";
    for (path, text, says) in [
        ("budgets.yaml", budget("per: principal"), ""),
        ("budgets.yaml", budget("per: 'group:corp/ml'"), ""),
        ("budgets.yaml", budget("per: 'group:crop/ml'"), "did you mean `corp`?"),
        ("budgets.yaml", budget("per: 'group:mtls/ops'"), "have no groups"),
        ("budgets.yaml", budget("per: 'tag:team'"), ""),
        ("budgets.yaml", budget("per: 'tag:taem'"), "did you mean `team`?"),
        (
            "budgets.yaml",
            budget("per: all, when: {StringEquals: {'lychgate:issuer': keys}}"),
            "is never `keys` here",
        ),
        (
            "budgets.yaml",
            budget(
                "per: all, when: {StringEquals: {'lychgate:jobName': '${g:PrincipalTag/nick}'}}",
            ),
            "fills",
        ),
        (suite, who("source: corp, name: a, groups: [ml], tags: {team: t}"), ""),
        (suite, who("source: mtls, name: a, method: mtls"), ""),
        (suite, who("source: crop, name: a"), "did you mean `corp`?"),
        (suite, who("source: mtls, name: a"), "write `method: mtls`"),
        (suite, who("source: corp, name: a, method: key"), "do not sign in by `key`"),
        (suite, who("source: mtls, name: a, method: mtls, groups: [ops]"), "have no groups"),
        (suite, who("source: corp, name: a, tags: {taem: t}"), "did you mean `team`?"),
        (suite, asked(at, "{pool_type: [public]}"), ""),
        (suite, asked(at, "{pool_type: [publik]}"), "did you mean `public`?"),
        // That strangers are denied is a case; that they are allowed cannot be.
        (suite, who("source: cluster-a, name: a"), ""),
        (suite, asked(&at.replace("ff", "0123456789"), "{}"), ""),
        (
            suite,
            who("source: cluster-a, name: a").replace("deny", "allow"),
            "no identity source `cluster-a`",
        ),
        (suite, asked(&at.replace("ff", "fe"), "{}"), "serves a project `fe`"),
        (suite, asked(&at.replace("-4", "-5"), "{}"), "`cn-north-4`"),
        (suite, asked(&at.replace("123", "124"), "{}"), "`123`"),
    ] {
        let found = found_beside(path, &text, true);
        assert_eq!(found.len(), usize::from(!says.is_empty()), "{text}: {found:?}");
        assert!(found.iter().all(|(code, it)| *code == Code::NotConfigured && it.contains(says)));
    }
    // Once for a suite, however many cases share it.
    let principal = "principal: {source: crop, name: a}";
    let request =
        "request: {project: ff, job: j-1, region: cn-north-4, time: 2026-01-15T12:00:00Z}";
    let two = format!(
        "defaults: {{{principal}, {request}, job: {{}}}}\ncases: [{{name: a, expect: deny}}, {{name: b, expect: deny}}]"
    );
    assert_eq!(found_beside(suite, &two, true).len(), 1);
    assert_eq!(found_beside(suite, &two, false), []);
}

/// What a budget compares with is looked at like the conditions of a statement.
#[test]
fn a_wrong_form_is_found_in_a_budget() {
    for (when, code) in [
        ("NumberLessThan: {'lychgate:timeOfDay': '9'}", Some(Code::UnlikelyValue)),
        ("NumberEquals: {'lychgate:dayOfWeek': '0'}", Some(Code::NeverMatches)),
        (
            "StringEquals: {'lychgate:issuer': 'https://sso.example.com'}",
            Some(Code::ImpossibleValue),
        ),
        ("StringEquals: {'g:UserName': 'corp/*'}", Some(Code::LiteralWildcard)),
        ("StringNotEquals: {'lychgate:groups': corp/a}", Some(Code::OneOrAllGroups)),
        ("'ForAllValues:StringEquals': {'lychgate:groups': corp/a}", Some(Code::OneOrAllGroups)),
        ("'ForAllValues:StringNotEquals': {'lychgate:groups': corp/a}", None),
        (
            "StringEquals: {'lychgate:issuer': keys}, StringNotEquals: {'lychgate:issuer': keys}",
            Some(Code::NeverMatches),
        ),
        (
            "NumberLessThan: {'lychgate:timeOfDay': '900'}, NumberGreaterThan: {'lychgate:timeOfDay': '1700'}",
            Some(Code::NeverMatches),
        ),
        (
            "NumberLessThan: {'lychgate:timeOfDay': '900'}, StringEquals: {'lychgate:issuer': keys}",
            None,
        ),
        ("NumberLessThan: {'lychgate:timeOfDay': '900'}", None),
        ("StringNotEquals: {'lychgate:issuer': keys}", None),
    ] {
        let budgets =
            format!("budgets: [{{name: b, per: all, deletes: 2, within: 1h, when: {{{when}}}}}]");
        let found = examined(&[("budgets.yaml", &budgets), ("identity/all.json", EVERYTHING)]);
        let codes: Vec<_> = found.iter().filter(|it| it.path == "budgets.yaml").collect();
        assert_eq!(
            codes.iter().any(|it| Some(it.code) == code),
            code.is_some(),
            "{when}: {codes:?}"
        );
        assert_eq!(codes.is_empty(), code.is_none(), "{when}: {codes:?}");
    }
}
