//! An organisation to measure with: ten guardrails and any number of identity policies, five for each
//! user; and the questions of its last user, each with its answer.

use lychgate::policy::{
    Action, Attribute, Attributes, Decision, Files, Job, Limits, Method, Principal, Query, Set,
};

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

/// How many identity policies there are.
pub(crate) const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// How many of them are attached to one user.
pub(crate) const ATTACHED: usize = 5;

/// How much more a decision may cost in the largest of [`SIZES`] than in the smallest.
pub(crate) const GROWTH_MAX: f64 = 1.5;

pub(crate) const JOB: &str = "3faf5c03-aaa1-4cbe-879d-24b05d997347";
pub(crate) const PROJECT: &str = "0a1b2c";
pub(crate) const REGION: &str = "cn-north-4";
pub(crate) const ACCOUNT: &str = "123";
pub(crate) const ADDRESS: &str = "10.1.2.3";
pub(crate) const TEAM: &str = "vision";

/// The conditions of the guardrails, all of them Denies.
const GUARDRAILS: [&str; 10] = [
    r#""StringEquals": {"g:ResourceTag/protected": "true"}"#,
    r#""StringEquals": {"lychgate:jobPhase": ["Running", "Pending", "Creating"]}"#,
    r#""NumberLessThan": {"lychgate:jobAge": "3600"}"#,
    r#""NotIpAddress": {"g:SourceIp": "10.0.0.0/8"}"#,
    r#""StringNotEquals": {"g:RequestedRegion": ["cn-north-4", "cn-east-3"]}"#,
    r#""StringMatch": {"lychgate:jobName": "release-*"}"#,
    r#""Bool": {"g:SecureTransport": "false"}"#,
    r#""ForAnyValue:StringEquals": {"modelarts:poolId": ["pool-frozen", "pool-audit"]}"#,
    r#""ForAnyValue:StringEquals": {"modelarts:poolType": "public"}, "StringEquals": {"lychgate:jobKind": "edge_job"}"#,
    r#""StringEquals": {"g:ResourceTag/env": "prod"}"#,
];

/// What is different from a completed job in the pool of the user's last policy.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) pool: String,
    pub(crate) environment: &'static str,
    /// The deciding statement, and whether it allows; `None` where nothing does.
    pub(crate) answer: Option<(String, bool)>,
}

/// The number of the user who asks: the last one.
pub(crate) fn asker(size: usize) -> usize {
    size / ATTACHED - 1
}

pub(crate) fn questions(size: usize) -> [Question; 3] {
    let own = || format!("pool-{}", size - 1);
    let allow = Some((format!("identity/p{:05}#1", size - 1), true));
    let deny = Some(("guardrails/g9#1".to_owned(), false));
    [
        Question { name: "allow", pool: own(), environment: "dev", answer: allow },
        Question { name: "explicit deny", pool: own(), environment: "prod", answer: deny },
        Question {
            name: "nothing allows",
            pool: "pool-x".to_owned(),
            environment: "dev",
            answer: None,
        },
    ]
}

impl Question {
    pub(crate) fn attributes(&self) -> Attributes {
        let text = |it: &str| Attribute::Value(it.to_owned());
        let tags = [("env", self.environment), ("team", TEAM)];
        Attributes {
            pool_id: Attribute::Value(vec![self.pool.clone()]),
            pool_type: Attribute::Value(vec!["dedicated".to_owned()]),
            phase: text("Completed"),
            kind: text("job"),
            name: text("vision-train-17"),
            owner: text("alice"),
            age: Attribute::Value(86_400),
            workspace_id: text("0"),
            tags: Attribute::Value(map(&tags)),
        }
    }

    /// The set's own answer, in the form of [`Question::answer`].
    pub(crate) fn asked(
        set: &Set,
        query: &Query,
        attributes: &Attributes,
    ) -> Option<(String, bool)> {
        match set.evaluate(query, attributes) {
            Decision::Allow(permit) => Some((permit.statement().to_string(), true)),
            Decision::Deny(denial) => denial.statement.map(|it| (it.to_string(), false)),
            Decision::Indeterminate(doubt) => panic!("undecided: {doubt:?}"),
        }
    }
}

/// A decision as the gate takes one; the optimiser must not know what is asked nor drop the answer.
pub(crate) fn decide(set: &Set, query: &Query, attributes: &Attributes) {
    drop(black_box(black_box(set).evaluate(black_box(query), black_box(attributes))));
}

pub(crate) fn query(size: usize) -> Query {
    let name = format!("user{}", asker(size));
    let groups = ["ml".to_owned(), "ops".to_owned()];
    let principal = Principal::new("corp", &name, groups, map(&[("team", TEAM)]), Method::Jwt);
    Query {
        principal: Arc::new(principal),
        action: Action::Delete,
        job: Job::new(PROJECT, JOB).into(),
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        now: "2026-01-15T12:00:00Z".parse().expect("a time"),
        source_ip: Attribute::Value(ADDRESS.parse().expect("an address")),
        secure_transport: Attribute::Value(true),
        user_agent: Attribute::Absent,
    }
}

pub(crate) fn set(size: usize) -> Set {
    let document = |effect, conditions: &str| {
        format!(
            r#"{{"Version": "5.0", "Statement": [{{"Effect": "{effect}",
               "Action": ["modelarts:trainJob:delete"], "Condition": {{{conditions}}}}}]}}"#
        )
    };
    let mut files = BTreeMap::new();
    for (number, conditions) in GUARDRAILS.iter().enumerate() {
        files.insert(format!("guardrails/g{number}.json"), document("Deny", conditions));
    }
    let mut attachments = String::new();
    for number in 0..size {
        let conditions = format!(
            r#""StringEquals": {{"modelarts:poolId": ["pool-{number}", "shared-{number}"],
                "g:ResourceTag/team": "${{g:PrincipalTag/team}}"}},
               "StringStartWith": {{"lychgate:jobName": "vision-"}}"#
        );
        files.insert(format!("identity/p{number:05}.json"), document("Allow", &conditions));
        let user = number / ATTACHED;
        writeln!(attachments, "- {{to: ['user:corp/user{user}'], policies: [p{number:05}]}}")
            .expect("a text grows");
    }
    files.insert("attachments.yaml".to_owned(), attachments);
    let compiled = Set::compile(&files.into_iter().collect::<Files>(), &Limits::default());
    compiled.set.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
