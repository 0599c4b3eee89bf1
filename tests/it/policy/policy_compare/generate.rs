//! Policy directories and questions to them, drawn from small alphabets, so that conditions often
//! hold, often fail by little, and often cannot be told.

use crate::support::reference::Files;

use lychgate::policy::{Action, Attribute, Attributes, Job, Method, Principal, Query};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::sample::{select, subsequence};
use proptest::strategy::BoxedStrategy;
use proptest::{option, prop_oneof};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A policy directory, and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) files: Files,
    pub(super) queries: Vec<Query>,
    pub(super) attributes: Vec<Attributes>,
    /// What the unavailable facts of the request and of the job could turn out to be.
    pub(super) fillings: Vec<(Query, Attributes)>,
}

impl World {
    pub(super) fn questions(&self) -> impl Iterator<Item = (&Query, &Attributes)> {
        let pairs = |query| self.attributes.iter().map(move |attributes| (query, attributes));
        self.queries.iter().flat_map(pairs)
    }
}

/// Every query goes with all attributes, and every such pair with all fillings.
pub(super) fn worlds(queries: usize, fillings: usize) -> impl Strategy<Value = World> {
    let stated = prop_oneof![1 => Just(Attributes::default()), 4 => attributes(2)];
    let fillings = vec((query(0), attributes(0)), fillings);
    (files(), vec(query(1), queries), vec(stated, queries), fillings).prop_map(
        |(files, queries, attributes, fillings)| World { files, queries, attributes, fillings },
    )
}

// What is compared with what: one letter of tags and keys per family of operators.

const TEXTS: &[&str] = &["a", "b", "ab", "A", "a/b:c", "*", "", "corp/a"];
const NUMBERS: &[&str] = &["5", "5.0", "-5", "10", "005", "0.3", "x"];
const DATES: &[&str] = &[
    "2026-01-15T12:00:00Z",
    "2026-01-15T20:00:00+08:00",
    "2026-01-15T12:00:00.5Z",
    "2026-01-16T00:00:00-00:30",
    "2026-02-29T00:00:00Z",
];
const BOOLS: &[&str] = &["true", "FALSE", "no"];
const ADDRESSES: &[&str] = &["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.01"];

/// A family of operators, with keys and values for it. The first key is of its own type.
pub(super) struct Family {
    pub(super) operators: &'static [&'static str],
    keys: &'static [&'static str],
    values: &'static [&'static str],
}

pub(super) const TEXT: Family = Family {
    operators: &[
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringMatch",
        "StringNotMatch",
        "StringStartWith",
        "StringNotStartWith",
        "StringEndWith",
        "StringNotEndWith",
    ],
    keys: &[
        "modelarts:poolId",
        "modelarts:poolType",
        "lychgate:groups",
        "g:ResourceTag/t",
        "g:PrincipalTag/t",
        "g:PrincipalTag/T",
        "g:UserName",
        "g:UserId",
        "g:PrincipalUrn",
        "g:PrincipalAccount",
        "g:DomainId",
        "g:RequestedRegion",
        "g:UserAgent",
        "g:EnterpriseProjectId",
        "lychgate:issuer",
        "lychgate:authMethod",
        "lychgate:projectId",
        "lychgate:jobPhase",
        "lychgate:jobKind",
        "lychgate:jobName",
        "lychgate:jobOwner",
        "lychgate:workspaceId",
    ],
    values: &[
        "a",
        "b",
        "A",
        "corp/a",
        "key",
        "*",
        "?",
        "a*",
        "*b*",
        "${*}",
        "a${?}",
        "${$}{a}",
        "${g:UserName}",
        "${ G:username }*",
        "${g:PrincipalTag/t}",
        "${g:PrincipalTag/t, 'a'}",
        "?${g:ResourceTag/t , 'it''s, {'}",
        "${g:ResourceTag/t}",
        "${lychgate:jobOwner}",
        "${lychgate:jobOwner,'*'}",
        "${g:SourceIp}${g:SecureTransport}",
        "${lychgate:groups}",
        "${modelarts:poolId, 'a'}",
        "${g:PrincipalTag/none}",
        "${g:PrincipalTag/none}${lychgate:jobName}",
    ],
};

pub(super) const NUMBER: Family = Family {
    operators: &[
        "NumberEquals",
        "NumberNotEquals",
        "NumberLessThan",
        "NumberLessThanEquals",
        "NumberGreaterThan",
        "NumberGreaterThanEquals",
    ],
    keys: &[
        "lychgate:jobAge",
        "g:ResourceTag/n",
        "g:PrincipalTag/n",
        "modelarts:poolId",
        "lychgate:timeOfDay",
        "lychgate:timeOfDay/America/New_York",
        "lychgate:dayOfWeek",
        "lychgate:dayOfWeek/Asia/Shanghai",
    ],
    values: &[
        "5",
        "5.00",
        "-5",
        "10",
        "0.25",
        "-0",
        "${g:PrincipalTag/n}",
        "${g:ResourceTag/n, '5'}",
        "${lychgate:jobAge}",
        "4",
        "1200",
        "${lychgate:timeOfDay}",
        "${modelarts:poolId, '5'}",
    ],
};

pub(super) const DATE: Family = Family {
    operators: &["DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"],
    keys: &["g:CurrentTime", "g:ResourceTag/d", "g:PrincipalTag/d"],
    values: &[
        "2026-01-15T12:00:00Z",
        "2026-01-15T11:59:59.999999999Z",
        "2026-01-15T20:00:00.50+08:00",
        "2026-01-16T00:00:00-00:30",
        "2024-02-29T00:00:00Z",
        "${g:PrincipalTag/d}",
        "${g:ResourceTag/d}",
        "${g:ResourceTag/d, '1970-01-01T00:00:00Z'}",
        "${g:CurrentTime}",
    ],
};

pub(super) const BOOL: Family = Family {
    operators: &["Bool"],
    keys: &["g:SecureTransport", "g:ResourceTag/o", "g:PrincipalTag/o"],
    values: &["true", "False", "${g:PrincipalTag/o}", "${g:ResourceTag/o}", "${g:SecureTransport}"],
};

pub(super) const ADDRESS: Family = Family {
    operators: &["IpAddress", "NotIpAddress"],
    keys: &["g:SourceIp", "g:ResourceTag/i", "g:PrincipalTag/i", "modelarts:poolId"],
    values: &[
        "10.0.0.0/8",
        "10.0.0.1",
        "::ffff:10.0.0.0/126",
        "0.0.0.0/0",
        "::/0",
        "fd00::/8",
        "${g:PrincipalTag/i}",
        "${g:ResourceTag/i}/32",
        "${g:SourceIp}",
    ],
};

const NULL: Family = Family {
    operators: &["Null"],
    keys: &[
        "g:SourceIp",
        "g:SecureTransport",
        "g:CurrentTime",
        "g:UserAgent",
        "g:EnterpriseProjectId",
        "g:ResourceTag/t",
        "g:PrincipalTag/t",
        "lychgate:groups",
        "lychgate:jobAge",
        "lychgate:jobOwner",
        "modelarts:poolId",
        "modelarts:poolType",
    ],
    values: &["true", "false"],
};

/// Keys that the gate cannot know, for a Deny only.
const NEVER: &[&str] = &["g:MFAPresent", "g:DomainName", "g:PrincipalOrgPath"];

/// Operator, key, values.
type Condition = (String, String, Vec<String>);

fn condition(effect: &'static str) -> BoxedStrategy<Condition> {
    let of = |family: &'static Family| {
        let keys = prop_oneof![select(&family.keys[..1]), select(family.keys)];
        let values = vec(select(family.values).prop_map(str::to_owned), 1..4);
        let qualifier = prop_oneof![
            3 => Just(""), 1 => Just("ForAnyValue:"), 1 => Just("ForAllValues:")
        ];
        let suffix = prop_oneof![3 => Just(""), 1 => Just("IfExists")];
        let operator = (qualifier, select(family.operators), suffix);
        let operator = operator.prop_map(|(qualifier, operator, suffix)| match operator {
            "Null" => operator.to_owned(),
            _ => format!("{qualifier}{operator}{suffix}"),
        });
        (operator, keys.prop_map(str::to_owned), values)
    };
    let known = prop_oneof![
        8 => of(&TEXT), 3 => of(&NUMBER), 2 => of(&DATE), 1 => of(&BOOL), 2 => of(&ADDRESS),
        2 => of(&NULL),
    ];
    if effect == "Allow" {
        return known.boxed();
    }
    let never = (of(&TEXT), select(NEVER))
        .prop_map(|((operator, _, values), key)| (operator, key.to_owned(), values));
    let named = (of(&TEXT), select(NEVER)).prop_map(|((operator, key, mut values), never)| {
        values.push(format!("${{{never}, 'a'}}"));
        (operator, key, values)
    });
    prop_oneof![18 => known, 1 => never, 1 => named].boxed()
}

fn conditions(effect: &'static str) -> impl Strategy<Value = Value> {
    // So that neither Denies nor missing Allows decide nearly everything.
    let (none, one, more) = if effect == "Deny" { (1, 8, 16) } else { (4, 8, 2) };
    let size = prop_oneof![none => 0..=0_usize, one => 1..=1_usize, more => 2..=4_usize];
    size.prop_flat_map(move |size| vec(condition(effect), size)).prop_map(|conditions| {
        let mut operators: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (operator, key, values) in conditions {
            let one = json!(values.first());
            let values = if values.len() == 1 { one } else { json!(values) };
            operators.entry(operator).or_default().insert(key, values);
        }
        json!(operators)
    })
}

const ACTIONS: &[&str] = &["modelarts:trainJob:delete", "*", "ModelArts:*:del?te"];
const OTHER_ACTIONS: &[&str] = &[
    "ecs:*:*",
    "modelarts:trainJob:get",
    "modelarts:trainJob:batchDelete",
    "modelarts:notebook:delete",
];

fn actions() -> impl Strategy<Value = (&'static str, Vec<&'static str>)> {
    prop_oneof![
        20 => vec(select(ACTIONS), 1..3).prop_map(|it| ("Action", it)),
        1 => vec(select(OTHER_ACTIONS), 1..3).prop_map(|it| ("Action", it)),
        2 => vec(select(OTHER_ACTIONS), 1..3).prop_map(|it| ("NotAction", it)),
        1 => vec(select(ACTIONS), 1..2).prop_map(|it| ("NotAction", it)),
    ]
}

const RESOURCES: &[&str] = &[
    "*",
    "modelarts:*:*:trainJob:*",
    "modelarts:r:1:trainJob:a",
    "modelarts:?:*:trainJob:a*",
    "*:*:*:*:*",
    "modelarts::*:trainJob:*",
    "modelarts:r:1:TrainJob:a",
    "modelarts:*:*:trainJob:${g:UserName}",
    "modelarts:*:2:trainJob:${g:PrincipalTag/t}",
    "modelarts:*:*:trainJob:${g:ResourceTag/t, 'a'}",
    "modelarts:*:*:trainJob:${g:PrincipalTag/none}*",
    "modelarts:s:*:trainJob:${lychgate:jobName}",
    "modelarts:*:*:trainJob:${modelarts:poolId}",
    "modelarts:*:*:trainJob:${*}",
];

type Resources = Option<(&'static str, Vec<&'static str>)>;

fn resources() -> impl Strategy<Value = Resources> {
    let name = prop_oneof![3 => Just("Resource"), 1 => Just("NotResource")];
    prop_oneof![3 => Just(None), 2 => (name, vec(select(RESOURCES), 1..3)).prop_map(Some)]
}

fn statement(effect: &'static str) -> impl Strategy<Value = Value> {
    (actions(), resources(), conditions(effect)).prop_map(
        move |(actions, resources, conditions)| {
            let mut it = json!({"Effect": effect});
            it[actions.0] = json!(actions.1);
            if let Some((name, list)) = resources {
                it[name] = json!(list);
            }
            if conditions.as_object().is_some_and(|it| !it.is_empty()) {
                it["Condition"] = conditions;
            }
            it
        },
    )
}

/// At least so many documents of up to three statements, of which so many in ten are Allows.
fn documents(
    names: &'static [&'static str],
    least: usize,
    allows: u32,
) -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let statement = prop_oneof![allows => statement("Allow"), 10 - allows => statement("Deny")];
    let statements = vec((statement, option::weighted(0.3, Just(()))), 1..4);
    let document = statements.prop_map(|statements| {
        let statements = statements.into_iter().enumerate().map(|(at, (mut it, sid))| {
            if sid.is_some() {
                it["Sid"] = json!(format!("s{at}#"));
            }
            it
        });
        json!({"Version": "5.0", "Statement": statements.collect::<Vec<_>>()})
    });
    let names = prop_oneof![3 => subsequence(names, least..=1), 2 => subsequence(names, 1..=3)];
    names.prop_flat_map(move |names| {
        let documents = vec(document.clone(), names.len());
        documents.prop_map(move |documents| names.iter().copied().zip(documents).collect())
    })
}

const TO: &[&str] = &[
    "any",
    "user:corp/a",
    "user:corp/b",
    "user:keys/a",
    "group:corp/a",
    "group:corp/b/c:d",
    "group:keys/a",
    "source:corp",
    "source:keys",
];
const PROJECTS: &[&str] = &["a", "*", "a*", "*b", "A", "*a*b*"];

fn files() -> impl Strategy<Value = Files> {
    // `doc-1` and `doc` sort differently with and without what follows the name.
    const NAMES: &[&str] = &["a", "doc", "doc-1"];
    let documents = (documents(NAMES, 0, 2), documents(NAMES, 1, 8));
    documents.prop_flat_map(|(guardrails, identity)| {
        let stems: Vec<_> = identity.keys().copied().collect();
        let mut files = Files::new();
        for (directory, documents) in [("guardrails", guardrails), ("identity", identity)] {
            for (name, document) in documents {
                let path = format!("{directory}/{name}.json");
                files.insert(path, document.to_string().into_bytes());
            }
        }
        attachments(stems).prop_map(move |attachments| {
            let mut files = files.clone();
            files.insert("attachments.yaml".into(), attachments.to_string().into_bytes());
            files
        })
    })
}

fn attachments(stems: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let all = stems.len();
    let to = prop_oneof![3 => Just(vec!["any"]), 1 => vec(select(TO), 1..4)];
    let projects = option::weighted(0.2, vec(select(PROJECTS), 1..3));
    let entry = (to, projects, subsequence(stems, 1..=all)).prop_map(|(to, projects, policies)| {
        let mut it = json!({"to": to, "policies": policies});
        if let Some(projects) = projects {
            it["projects"] = json!(projects);
        }
        it
    });
    prop_oneof![1 => vec(entry.clone(), 0..=0), 9 => vec(entry, 1..4)].prop_map(|it| json!(it))
}

fn fill<T: Clone>(stated: &Attribute<T>, other: &Attribute<T>) -> Attribute<T> {
    match stated {
        Attribute::Unavailable | Attribute::NotAsked => other.clone(),
        Attribute::Value(_) | Attribute::Absent => stated.clone(),
    }
}

pub(super) fn fill_query(query: &Query, other: &Query) -> Query {
    Query {
        source_ip: fill(&query.source_ip, &other.source_ip),
        secure_transport: fill(&query.secure_transport, &other.secure_transport),
        user_agent: fill(&query.user_agent, &other.user_agent),
        ..query.clone()
    }
}

pub(super) fn fill_attributes(of: &Attributes, other: &Attributes) -> Attributes {
    Attributes {
        pool_id: fill(&of.pool_id, &other.pool_id),
        pool_type: fill(&of.pool_type, &other.pool_type),
        phase: fill(&of.phase, &other.phase),
        kind: fill(&of.kind, &other.kind),
        name: fill(&of.name, &other.name),
        owner: fill(&of.owner, &other.owner),
        age: fill(&of.age, &other.age),
        workspace_id: fill(&of.workspace_id, &other.workspace_id),
        tags: fill(&of.tags, &other.tags),
    }
}

/// A value or nothing, and sometimes unavailable.
fn attribute<T>(value: T, unavailable: u32) -> BoxedStrategy<Attribute<T::Value>>
where
    T: Strategy + 'static,
    T::Value: Clone + 'static,
{
    let value = value.prop_map(Attribute::Value);
    if unavailable == 0 {
        return prop_oneof![4 => value, 1 => Just(Attribute::Absent)].boxed();
    }
    prop_oneof![
        6 => value, 2 => Just(Attribute::Absent), unavailable => Just(Attribute::Unavailable)
    ]
    .boxed()
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    let of = |key: &'static str, values: &'static [&'static str]| {
        select(values).prop_map(move |it| (key.to_owned(), it.to_owned()))
    };
    let tag = prop_oneof![
        3 => of("t", TEXTS), 1 => of("T", TEXTS), 2 => of("n", NUMBERS), 2 => of("d", DATES),
        1 => of("o", BOOLS), 2 => of("i", ADDRESSES),
    ];
    vec(tag, 0..6).prop_map(|it| it.into_iter().collect())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => select(&TEXTS[..2]), 1 => select(&TEXTS[..4])].prop_map(str::to_owned)
}

fn attributes(unavailable: u32) -> impl Strategy<Value = Attributes> {
    let list = || {
        let one = prop_oneof![4 => text(), 1 => select(NUMBERS).prop_map(str::to_owned)];
        attribute(vec(one, 1..4), unavailable)
    };
    let text = || attribute(text(), unavailable);
    let age = attribute(select(&[5_i64, 10, 0, -5][..]), unavailable);
    let tags = match unavailable {
        0 => tags().prop_map(Attribute::Value).boxed(),
        _ => prop_oneof![3 => tags().prop_map(Attribute::Value), 1 => Just(Attribute::Unavailable)]
            .boxed(),
    };
    let details = (list(), list(), age, (text(), text(), text(), text(), text()));
    (details, tags).prop_map(|((pool_id, pool_type, age, texts), tags)| {
        let (phase, kind, name, owner, workspace_id) = texts;
        Attributes { pool_id, pool_type, phase, kind, name, owner, age, workspace_id, tags }
    })
}

fn principal() -> impl Strategy<Value = Principal> {
    let source = prop_oneof![3 => Just("corp"), 1 => Just("keys")];
    let groups = subsequence(&["a", "b/c:d", "x"][..], 0..=3);
    let methods = [Method::Jwt, Method::Key, Method::Local, Method::Mtls];
    (source, select(&TEXTS[..5]), groups, tags(), select(methods.to_vec())).prop_map(
        |(source, name, groups, tags, method)| {
            Principal::new(source, name, groups.into_iter().map(str::to_owned), tags, method)
        },
    )
}

fn query(unavailable: u32) -> impl Strategy<Value = Query> {
    let times = ["2026-01-15T12:00:00Z", "2026-01-15T12:00:00.25Z", "2024-02-29T00:00:00Z"];
    let now = select(times.map(|it| it.parse().expect("a time")).to_vec());
    let addresses = ["10.0.0.1", "::ffff:10.0.0.1", "10.1.0.1", "fd00::1"];
    let source_ip = select(addresses.map(|it| it.parse().expect("an address")).to_vec());
    let place = (select(&["a", "ab", "b"][..]), select(&["a", "ab"][..]));
    let upstream = (select(&["r", "s"][..]), select(&["1", "2"][..]));
    let circumstances = (
        attribute(source_ip, unavailable),
        attribute(select(&[true, false][..]), unavailable),
        attribute(text(), 0),
    );
    let action = prop_oneof![
        6 => Just(Action::Delete),
        2 => Just(Action::BatchDelete),
        2 => Just(Action::Get),
    ];
    ((principal(), action), place, upstream, now, circumstances).prop_map(
        |((principal, action), (project, job), (region, account), now, circumstances)| Query {
            principal: Arc::new(principal),
            action,
            job: Job::new(project, job).into(),
            region: region.to_owned(),
            account: account.to_owned(),
            now,
            source_ip: circumstances.0,
            secure_transport: circumstances.1,
            user_agent: circumstances.2,
        },
    )
}
