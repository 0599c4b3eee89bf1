//! One condition at a time, under both effects.

use super::*;

/// Judges one condition as the only one of a Deny (beside an Allow of everything) and of an Allow.
/// Returns `T`, `F` or `?` for each.
fn judged(condition: &str, query: &Query, attributes: &Attributes) -> String {
    let fields = format!(r#""Condition": {{{condition}}}"#);
    let [deny, allow] = under_both(&fields);
    let deny = match deny.evaluate(query, attributes) {
        Decision::Allow(_) => 'F',
        Decision::Deny(_) => 'T',
        Decision::Indeterminate(_) => '?',
    };
    let allow = match allow.evaluate(query, attributes) {
        Decision::Allow(_) => 'T',
        Decision::Deny(_) => 'F',
        Decision::Indeterminate(_) => '?',
    };
    format!("{deny}{allow}")
}

#[track_caller]
fn check(condition: &str, expected: &str) {
    let condition = condition.replace('\'', "\"");
    assert_eq!(judged(&condition, &query(), &attributes()), expected, "{condition}");
}

/// Deny first, then Allow.
#[test]
fn one_value() {
    for (condition, expected) in [
        ("'StringEquals': {'g:ResourceTag/env': 'dev'}", "TT"),
        ("'StringEquals': {'g:ResourceTag/env': ['prod', 'dev']}", "TT"),
        ("'StringEquals': {'g:ResourceTag/env': 'Dev'}", "FF"),
        ("'StringEquals': {'g:ResourceTag/empty': ''}", "TT"),
        ("'StringNotEquals': {'g:ResourceTag/env': ['prod', 'dev']}", "FF"),
        ("'StringNotEquals': {'g:ResourceTag/env': ['prod', 'test']}", "TT"),
        ("'StringEqualsIgnoreCase': {'g:ResourceTag/env': 'DEV'}", "TT"),
        ("'StringNotEqualsIgnoreCase': {'g:ResourceTag/env': 'DEV'}", "FF"),
        ("'StringMatch': {'lychgate:jobName': 'vision-*-?'}", "TT"),
        ("'StringEquals': {'lychgate:jobName': 'vision-*-?'}", "FF"),
        ("'StringNotMatch': {'lychgate:jobName': 'vision-*-?'}", "FF"),
        ("'StringStartWith': {'lychgate:jobName': 'vision-'}", "TT"),
        ("'StringStartWith': {'lychgate:jobName': 'vision*'}", "FF"),
        ("'StringNotStartWith': {'lychgate:jobName': 'Vision-'}", "TT"),
        ("'StringEndWith': {'lychgate:jobName': '-1'}", "TT"),
        ("'StringNotEndWith': {'lychgate:jobName': '-1'}", "FF"),
        ("'NumberEquals': {'lychgate:jobAge': '3600.0'}", "TT"),
        ("'NumberNotEquals': {'lychgate:jobAge': '3600.0'}", "FF"),
        ("'NumberLessThan': {'lychgate:jobAge': '3600'}", "FF"),
        ("'NumberLessThanEquals': {'lychgate:jobAge': '3600'}", "TT"),
        ("'NumberGreaterThan': {'lychgate:jobAge': ['4000', '3599.5']}", "TT"),
        ("'NumberGreaterThanEquals': {'g:ResourceTag/count': '9'}", "TT"),
        ("'NumberLessThan': {'g:ResourceTag/count': '9'}", "FF"),
        ("'DateLessThan': {'g:ResourceTag/when': '2026-01-15T12:00:00Z'}", "TT"),
        ("'DateGreaterThan': {'g:ResourceTag/when': '2026-01-15T12:00:00Z'}", "FF"),
        ("'Bool': {'g:ResourceTag/flag': 'True'}", "TT"),
        ("'Bool': {'g:ResourceTag/flag': 'false'}", "FF"),
        ("'IpAddress': {'g:ResourceTag/ip': '10.0.0.0/8'}", "TT"),
        ("'IpAddress': {'g:ResourceTag/ip': '192.168.0.0/16'}", "FF"),
        ("'NotIpAddress': {'g:ResourceTag/ip': '192.168.0.0/16'}", "TT"),
        ("'DateLessThan': {'g:CurrentTime': '2026-01-15T20:00:00+08:00'}", "FF"),
        ("'DateLessThanEquals': {'g:CurrentTime': '2026-01-15T20:00:00+08:00'}", "TT"),
        ("'DateGreaterThan': {'g:CurrentTime': '2026-01-15T11:59:59.9Z'}", "TT"),
        ("'DateGreaterThanEquals': {'g:CurrentTime': '2026-01-15T12:00:00.1Z'}", "FF"),
        ("'NumberEquals': {'lychgate:timeOfDay': '1200'}", "TT"),
        ("'NumberLessThan': {'lychgate:timeOfDay': '1200'}", "FF"),
        ("'NumberEquals': {'lychgate:dayOfWeek': '4'}", "TT"),
        ("'Null': {'lychgate:dayOfWeek': 'true'}", "FF"),
        ("'Bool': {'g:SecureTransport': 'TRUE'}", "TT"),
        ("'Bool': {'g:SecureTransport': 'false'}", "FF"),
        ("'IpAddress': {'g:SourceIp': ['192.168.0.0/16', '::ffff:10.0.0.0/104']}", "TT"),
        ("'NotIpAddress': {'g:SourceIp': ['192.168.0.0/16', '10.0.0.0/8']}", "FF"),
        ("'NotIpAddress': {'g:SourceIp': '2001:db8::/32'}", "TT"),
        ("'Null': {'g:ResourceTag/env': 'false'}", "TT"),
        ("'Null': {'g:ResourceTag/env': 'true'}", "FF"),
        ("'Null': {'g:ResourceTag/empty': 'true'}", "FF"),
        ("'StringEqualsIfExists': {'g:ResourceTag/env': 'prod'}", "FF"),
        ("'ForAllValues:StringEquals': {'g:ResourceTag/env': 'dev'}", "TT"),
        ("'ForAnyValue:StringEquals': {'g:ResourceTag/env': 'prod'}", "FF"),
        ("'StringEquals': {'g:USERNAME': 'alice', 'g:userid': 'corp/alice'}", "TT"),
        ("'StringEquals': {'g:UserName': 'alice'}, 'Bool': {'g:SecureTransport': 'false'}", "FF"),
        ("'StringEquals': {'g:PrincipalUrn': 'sts::123:external-user:corp/alice'}", "TT"),
        ("'StringEquals': {'lychgate:authMethod': 'jwt', 'lychgate:issuer': 'corp'}", "TT"),
        ("'StringEquals': {'g:RequestedRegion': 'cn-north-4', 'g:DomainId': '123'}", "TT"),
    ] {
        check(condition, expected);
    }
}

/// Attack 57
/// Rows 1 to 6 and 9.
#[test]
fn an_absent_key() {
    for (condition, expected) in [
        ("'StringEquals': {'g:ResourceTag/x': ['', 'a']}", "FF"),
        ("'StringMatch': {'g:ResourceTag/x': '*'}", "FF"),
        ("'NumberLessThan': {'g:ResourceTag/x': '1'}", "FF"),
        ("'IpAddress': {'g:ResourceTag/x': '0.0.0.0/0'}", "FF"),
        ("'StringNotEquals': {'g:ResourceTag/x': 'a'}", "TF"),
        ("'StringNotMatch': {'g:ResourceTag/x': '*'}", "TF"),
        ("'NotIpAddress': {'g:ResourceTag/x': '::/0'}", "TF"),
        ("'ForAllValues:StringEquals': {'g:ResourceTag/x': 'a'}", "TF"),
        ("'ForAllValues:StringNotEquals': {'g:ResourceTag/x': 'a'}", "TF"),
        ("'ForAnyValue:StringEquals': {'g:ResourceTag/x': 'a'}", "FF"),
        ("'ForAnyValue:StringNotEquals': {'g:ResourceTag/x': 'a'}", "TF"),
        ("'StringEqualsIfExists': {'g:ResourceTag/x': 'a'}", "TT"),
        ("'StringNotEqualsIfExists': {'g:ResourceTag/x': 'a'}", "TT"),
        ("'ForAllValues:StringEqualsIfExists': {'g:ResourceTag/x': 'a'}", "TT"),
        ("'ForAnyValue:StringNotEqualsIfExists': {'g:ResourceTag/x': 'a'}", "TT"),
        ("'Null': {'g:ResourceTag/x': 'true'}", "TT"),
        ("'Null': {'g:ResourceTag/x': 'false'}", "FF"),
        ("'StringNotEquals': {'g:EnterpriseProjectId': 'a'}", "TF"),
        ("'StringEquals': {'g:ResourceTag/ENV': 'dev'}", "FF"),
        ("'Null': {'g:UserAgent': 'true'}", "TT"),
    ] {
        check(condition, expected);
    }
}

/// Attack 58
/// Rows 7 and 8: the job has pool-a and pool-b, the caller corp/ml and corp/ops.
#[test]
fn several_values() {
    for (condition, expected) in [
        ("'StringEquals': {'modelarts:poolId': 'pool-a'}", "TF"),
        ("'StringEquals': {'modelarts:poolId': ['pool-a', 'pool-b', 'pool-c']}", "TT"),
        ("'StringEquals': {'modelarts:poolId': 'pool-c'}", "FF"),
        ("'StringNotEquals': {'modelarts:poolId': 'pool-a'}", "TF"),
        ("'StringNotEquals': {'modelarts:poolId': ['pool-a', 'pool-b']}", "FF"),
        ("'StringNotEquals': {'modelarts:poolId': 'pool-c'}", "TT"),
        ("'ForAnyValue:StringEquals': {'modelarts:poolId': 'pool-a'}", "TT"),
        ("'ForAnyValue:StringEquals': {'lychgate:groups': ['corp/ops', 'corp/root']}", "TT"),
        ("'ForAllValues:StringEquals': {'modelarts:poolId': 'pool-a'}", "FF"),
        ("'ForAllValues:StringNotEquals': {'modelarts:poolId': 'pool-a'}", "FF"),
        ("'ForAnyValue:StringNotEquals': {'modelarts:poolId': 'pool-a'}", "TT"),
        ("'Null': {'modelarts:poolId': 'false'}", "TT"),
    ] {
        check(condition, expected);
    }
}

/// Rows 11 and 12.
#[test]
fn what_cannot_be_read_or_filled_in() {
    for (condition, expected) in [
        ("'NumberEquals': {'g:ResourceTag/env': '1'}", "TF"),
        ("'NumberNotEquals': {'g:ResourceTag/env': '1'}", "TF"),
        ("'NumberEqualsIfExists': {'g:ResourceTag/env': '1'}", "TF"),
        ("'DateLessThan': {'g:ResourceTag/env': '2026-01-15T12:00:00Z'}", "TF"),
        ("'Bool': {'g:ResourceTag/env': 'true'}", "TF"),
        ("'NotIpAddress': {'g:ResourceTag/env': '10.0.0.0/8'}", "TF"),
        ("'NumberLessThan': {'lychgate:jobAge': '${g:PrincipalTag/max}'}", "TF"),
        ("'NumberLessThan': {'lychgate:jobAge': ['${g:PrincipalTag/max}', '4000']}", "TT"),
        ("'StringEquals': {'g:ResourceTag/env': '${g:PrincipalTag/none}'}", "TF"),
        ("'StringNotEquals': {'g:ResourceTag/env': '${g:PrincipalTag/none}'}", "TF"),
        ("'StringEquals': {'g:ResourceTag/env': ['${g:PrincipalTag/none}', 'dev']}", "TT"),
        ("'StringNotEquals': {'g:ResourceTag/env': ['${g:PrincipalTag/none}', 'dev']}", "FF"),
        ("'StringEquals': {'g:ResourceTag/env': '${modelarts:poolType}'}", "TF"),
        ("'StringEquals': {'g:ResourceTag/env': '${lychgate:groups}'}", "TF"),
    ] {
        check(condition, expected);
    }
}

#[test]
fn variables() {
    for (condition, expected) in [
        (r#""StringStartWith": {"lychgate:jobName": "${g:PrincipalTag/team}-"}"#, "TT"),
        (r#""StringMatch": {"lychgate:jobName": "${g:PrincipalTag/team}-*"}"#, "TT"),
        (r#""StringMatch": {"lychgate:jobName": "*${g:PrincipalTag/team}?*"}"#, "TT"),
        (
            r#""StringMatch": {"lychgate:jobName": "*${g:PrincipalTag/empty}${g:PrincipalTag/empty}*"}"#,
            "TT",
        ),
        (r#""StringEquals": {"g:ResourceTag/env": "${g:PrincipalTag/none, 'dev'}"}"#, "TT"),
        (r#""StringEquals": {"g:ResourceTag/env": "${g:PrincipalTag/team, 'dev'}"}"#, "FF"),
        (r#""StringEquals": {"g:ResourceTag/empty": "${g:PrincipalTag/empty, 'dev'}"}"#, "TT"),
        (r#""StringEquals": {"modelarts:poolType": "${modelarts:poolId, 'dedicated'}"}"#, "TT"),
        (r#""StringEquals": {"g:PrincipalTag/star": "a${*}"}"#, "TT"),
        (r#""StringMatch": {"g:PrincipalTag/team": "v${*}"}"#, "FF"),
        (r#""StringMatch": {"g:PrincipalTag/star": "${g:PrincipalTag/star}"}"#, "TT"),
        (r#""StringMatch": {"lychgate:jobName": "${g:PrincipalTag/star}"}"#, "FF"),
        (r#""NumberEquals": {"lychgate:jobAge": "${lychgate:jobAge}"}"#, "TT"),
        (r#""IpAddress": {"g:SourceIp": "${g:SourceIp}"}"#, "TT"),
        (r#""Bool": {"g:SecureTransport": "${g:SecureTransport}"}"#, "TT"),
        (r#""DateLessThanEquals": {"g:CurrentTime": "${g:CurrentTime}"}"#, "TT"),
        (r#""StringEquals": {"g:UserId": "${lychgate:issuer}/${g:UserName}"}"#, "TT"),
    ] {
        assert_eq!(judged(condition, &query(), &attributes()), expected, "{condition}");
    }
}

/// Attack 57
/// Rows 10 and 13.
#[test]
fn an_unavailable_key() {
    let query = Query { source_ip: Attribute::Unavailable, ..query() };
    for (condition, expected) in [
        ("'StringEquals': {'modelarts:poolId': 'a'}", "??"),
        ("'StringMatch': {'modelarts:poolId': '*'}", "??"),
        ("'StringEqualsIfExists': {'modelarts:poolId': 'a'}", "??"),
        ("'Null': {'modelarts:poolId': ['true', 'false']}", "??"),
        ("'ForAllValues:StringNotEquals': {'g:ResourceTag/x': 'a'}", "??"),
        ("'IpAddress': {'g:SourceIp': '0.0.0.0/0'}", "??"),
        ("'StringEquals': {'g:UserName': '${lychgate:jobOwner}'}", "??"),
        ("'StringNotEquals': {'g:UserName': ['${lychgate:jobOwner}', 'alice']}", "FF"),
        ("'StringEquals': {'g:UserName': ['${lychgate:jobOwner}', 'alice']}", "TT"),
        ("'StringEquals': {'g:UserName': '${lychgate:jobOwner}${g:PrincipalTag/none}'}", "TF"),
        ("'StringEquals': {'g:UserName': '${modelarts:poolId}'}", "TF"),
        ("'NumberLessThan': {'g:PrincipalTag/max': '${lychgate:jobAge}'}", "TF"),
        ("'StringEquals': {'g:ResourceTag/env': 'dev', 'g:UserName': 'bob'}", "FF"),
    ] {
        let condition = condition.replace('\'', "\"");
        assert_eq!(judged(&condition, &query, &Attributes::default()), expected, "{condition}");
    }
    let condition = r#""StringEquals": {"g:UserName": "${lychgate:jobOwner, 'alice'}"}"#;
    assert_eq!(judged(condition, &query, &Attributes::default()), "??");
}

#[test]
fn an_empty_list_is_absent() {
    let attributes = Attributes { pool_id: Attribute::Value(Vec::new()), ..attributes() };
    let nobody = Principal::new("corp", "alice", [], BTreeMap::new(), Method::Local);
    let query = Query { principal: Arc::new(nobody), ..query() };
    for key in ["modelarts:poolId", "lychgate:groups"] {
        let condition = format!(r#""Null": {{"{key}": "true"}}"#);
        assert_eq!(judged(&condition, &query, &attributes), "TT");
    }
}

#[test]
fn what_only_huawei_knows_always_matches_in_a_deny() {
    for condition in [
        r#""Bool": {"g:MFAPresent": "false"}"#,
        r#""Null": {"g:MFAPresent": "true"}"#,
        r#""Null": {"g:MFAPresent": "false"}"#,
        r#""StringNotEquals": {"g:RequestTag/a": "x", "g:RequestTag/b": "x"}"#,
        r#""StringEquals": {"g:UserName": "${g:DomainName, 'x'}"}"#,
        r#""StringNotEquals": {"g:UserName": "${g:DomainName}"}"#,
    ] {
        let deny = document(&statement("Deny", &format!(r#""Condition": {{{condition}}}"#)));
        let set = set(&[
            ("guardrails/d.json", &deny),
            ("identity/all.json", EVERYTHING),
            ("attachments.yaml", TO_ANY),
        ]);
        let decision = set.evaluate(&query(), &Attributes::default());
        assert_eq!(said(&decision), "deny guardrails/d#1", "{condition}");
    }
}
