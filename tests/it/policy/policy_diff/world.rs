//! Pairs of policy directories over a few keys, and every request of the world that they are about.

use crate::support::reference::Files;

use lychgate::policy::{Action, Attribute, Attributes, Job, Method, Principal, Query};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A generator of numbers: xorshift.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut res = Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..4 {
            res.next();
        }
        res
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() >> 16).expect("48 bits") % count
    }

    fn of<T: Copy>(&mut self, them: &[T]) -> T {
        them[self.below(them.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Something that requests differ in, and what policies ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    Account,
    Age,
    Agent,
    Caller,
    Groups,
    Job,
    Kind,
    Method,
    Name,
    Now,
    Owner,
    Phase,
    PoolId,
    PoolType,
    PrincipalTag,
    Project,
    Region,
    ResourceTag,
    Secure,
    SourceIp,
    Workspace,
}

const AXES: &[Axis] = &[
    Axis::Account,
    Axis::Age,
    Axis::Agent,
    Axis::Caller,
    Axis::Groups,
    Axis::Job,
    Axis::Kind,
    Axis::Method,
    Axis::Name,
    Axis::Now,
    Axis::Owner,
    Axis::Phase,
    Axis::PoolId,
    Axis::PoolType,
    Axis::PrincipalTag,
    Axis::Project,
    Axis::Region,
    Axis::ResourceTag,
    Axis::Secure,
    Axis::SourceIp,
    Axis::Workspace,
];

/// What a request has of an axis; `None` is unavailable.
type Held = Option<Vec<&'static str>>;

const TEXT_OPERATORS: &[&str] = &[
    "StringEquals",
    "StringEquals",
    "StringNotEquals",
    "StringMatch",
    "StringMatch",
    "StringNotMatch",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringStartWith",
    "StringNotEndWith",
];
const TEXTS: &[&str] = &["a", "b", "ab", "a*", "*b", "?", "*"];
const NUMBERS: &[&str] = &["5", "10", "5.5", "-1"];

impl Axis {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Account => &["g:PrincipalAccount", "g:DomainId", "g:PrincipalUrn"],
            Self::Age => &["lychgate:jobAge"],
            Self::Agent => &["g:UserAgent"],
            Self::Caller => &["g:UserName", "g:UserId", "lychgate:issuer", "g:PrincipalUrn"],
            Self::Groups => &["lychgate:groups"],
            Self::Job => &[],
            Self::Kind => &["lychgate:jobKind"],
            Self::Method => &["lychgate:authMethod"],
            Self::Name => &["lychgate:jobName"],
            Self::Now => &["g:CurrentTime", "lychgate:timeOfDay", "lychgate:dayOfWeek"],
            Self::Owner => &["lychgate:jobOwner"],
            Self::Phase => &["lychgate:jobPhase"],
            Self::PoolId => &["modelarts:poolId"],
            Self::PoolType => &["modelarts:poolType"],
            Self::PrincipalTag => &["g:PrincipalTag/t"],
            Self::Project => &["lychgate:projectId"],
            Self::Region => &["g:RequestedRegion"],
            Self::ResourceTag => &["g:ResourceTag/t", "g:ResourceTag/t", "g:ResourceTag/T"],
            Self::Secure => &["g:SecureTransport"],
            Self::SourceIp => &["g:SourceIp"],
            Self::Workspace => &["lychgate:workspaceId"],
        }
    }

    /// What the axis can fill in.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Caller => Some("g:UserName"),
            Self::PrincipalTag => Some("g:PrincipalTag/t"),
            Self::ResourceTag => Some("g:ResourceTag/t"),
            Self::Owner => Some("lychgate:jobOwner"),
            Self::Project => Some("lychgate:projectId"),
            Self::Age => Some("lychgate:jobAge"),
            _ => None,
        }
    }

    fn held(self) -> Vec<Held> {
        let one = |them: &[&'static str]| them.iter().map(|it| Some(vec![*it])).collect::<Vec<_>>();
        let several = |them: &[&[&'static str]]| -> Vec<Held> {
            them.iter().map(|it| Some(it.to_vec())).collect()
        };
        let with = |them: Vec<Held>| [vec![Some(vec![]), None], them].concat();
        match self {
            Self::Account | Self::Region => one(&["a", "b", "ab", "A", "x"]),
            Self::Age => with(one(&["5", "10", "7", "3", "-1", "-2", "11"])),
            Self::Agent | Self::Kind | Self::Name | Self::Owner | Self::Phase | Self::Workspace => {
                with(one(&["a", "b", "ab", "A", "B", "x", "axx"]))
            }
            Self::Caller => {
                one(&["corp/a", "corp/b", "corp/ab", "corp/x", "keys/a", "keys/x", "a/b"])
            }
            Self::Groups => several(&[&[], &["a"], &["b"], &["x"], &["a", "b"], &["a", "x"]]),
            Self::Job | Self::Project => one(&["a", "b", "ab", "x", "xb"]),
            Self::Method => one(&["jwt", "key", "local", "mtls"]),
            Self::Now => one(&[
                "2026-01-15T12:00:00Z",
                "2026-01-15T12:00:00.5Z",
                "2026-01-15T00:04:00Z",
                "2026-01-15T00:05:00Z",
                "2026-01-15T00:06:00Z",
                "2026-01-15T00:10:00Z",
                "2026-01-15T00:00:00Z",
                "2026-01-14T12:00:00Z",
                "2026-01-14T00:05:00Z",
                "2026-01-16T00:05:00Z",
                "2026-01-16T12:00:00Z",
                "2026-01-16T00:10:00Z",
                "2026-01-17T12:00:00Z",
            ]),
            Self::PoolId => with(several(&[
                &["a"],
                &["b"],
                &["x"],
                &["ab"],
                &["a", "b"],
                &["a", "x"],
                &["b", "x"],
                &["a", "ab"],
            ])),
            Self::PoolType => with(several(&[&["a"], &["b"], &["x"], &["a", "b"], &["a", "x"]])),
            Self::PrincipalTag => {
                let values = one(&["a", "b", "ab", "A", "x", "", "5", "7", "10"]);
                [vec![Some(vec![])], values].concat()
            }
            Self::ResourceTag => with(one(&["a", "b", "ab", "x", "axx", "", "5", "7", "10"])),
            Self::Secure => with(one(&["true", "false"])),
            Self::SourceIp => {
                with(one(&["10.0.0.1", "10.0.0.2", "10.1.0.1", "11.0.0.1", "fd00::1", "fe00::1"]))
            }
        }
    }

    fn set(self, held: &Held, query: &mut Query, attributes: &mut Attributes) {
        let text = || attribute(held, |it| (*it[0]).to_owned());
        let texts = || attribute(held, |it| it.iter().map(|it| (*it).to_owned()).collect());
        let first = || held.as_ref().map_or("", |it| it.first().copied().unwrap_or_default());
        match self {
            Self::Account => query.account = first().to_owned(),
            Self::Age => attributes.age = attribute(held, |it| it[0].parse().expect("a number")),
            Self::Agent => query.user_agent = text(),
            Self::Caller | Self::Groups | Self::Method | Self::PrincipalTag => {
                self.set_principal(held, query);
            }
            Self::Job => {
                query.job = Arc::new(Job::new(query.job.project_id.clone(), first()));
            }
            Self::Kind => attributes.kind = text(),
            Self::Name => attributes.name = text(),
            Self::Now => query.now = first().parse().expect("a time"),
            Self::Owner => attributes.owner = text(),
            Self::Phase => attributes.phase = text(),
            Self::PoolId => attributes.pool_id = texts(),
            Self::PoolType => attributes.pool_type = texts(),
            Self::Project => {
                query.job = Arc::new(Job::new(first(), query.job.training_job_id.clone()));
            }
            Self::Region => query.region = first().to_owned(),
            Self::ResourceTag => {
                let tag = |it: &Vec<&str>| {
                    it.iter().map(|it| ("t".to_owned(), (*it).to_owned())).collect()
                };
                attributes.tags =
                    held.as_ref().map_or(Attribute::Unavailable, |it| Attribute::Value(tag(it)));
            }
            Self::Secure => query.secure_transport = attribute(held, |it| it[0] == "true"),
            Self::SourceIp => {
                query.source_ip = attribute(held, |it| it[0].parse().expect("an address"));
            }
            Self::Workspace => attributes.workspace_id = text(),
        }
    }

    fn set_principal(self, held: &Held, query: &mut Query) {
        let it = &query.principal;
        let (mut id, mut tags, mut method) = (it.id().to_owned(), it.tags().clone(), it.method());
        let prefix = it.source().len() + 1;
        let mut groups: Vec<_> = it.groups().iter().map(|it| it[prefix..].to_owned()).collect();
        let held = held.clone().unwrap_or_default();
        match self {
            Self::Caller => id = held[0].to_owned(),
            Self::Groups => groups = held.iter().map(|it| (*it).to_owned()).collect(),
            Self::Method => {
                let all = [Method::Jwt, Method::Key, Method::Local, Method::Mtls];
                method = all.into_iter().find(|it| it.as_str() == held[0]).expect("a method");
            }
            _ => tags = held.iter().map(|it| ("t".to_owned(), (*it).to_owned())).collect(),
        }
        let (source, name) = id.split_once('/').expect("a qualified name");
        query.principal = Arc::new(Principal::new(source, name, groups, tags, method));
    }
}

fn attribute<T>(held: &Held, value: impl Fn(&Vec<&'static str>) -> T) -> Attribute<T> {
    match held {
        None => Attribute::Unavailable,
        Some(them) if them.is_empty() => Attribute::Absent,
        Some(them) => Attribute::Value(value(them)),
    }
}

/// Two directories and what they are about.
pub(super) struct Pair {
    pub(super) old: Files,
    pub(super) new: Files,
    axes: Vec<Axis>,
    pub(super) has_templates: bool,
    /// Texts are compared that are numbers too, or of which a part is compared.
    pub(super) is_hard: bool,
}

impl Pair {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut axes: Vec<Axis> = (0..2 + random.below(2)).map(|_| random.of(AXES)).collect();
        // Texts that are compared with others, in a quarter of all pairs.
        if random.one_in(3) {
            axes = vec![random.of(&[
                Axis::Name,
                Axis::Owner,
                Axis::PoolId,
                Axis::ResourceTag,
                Axis::Job,
                Axis::Groups,
                Axis::PrincipalTag,
            ])];
            axes.push(random.of(&[Axis::Caller, Axis::PrincipalTag, Axis::Owner, Axis::Project]));
        }
        axes.sort_unstable();
        axes.dedup();
        let mut maker =
            Maker { random, axes: axes.clone(), templates: false, hard: false, read: false };
        let mut guardrails: Vec<_> =
            (0..maker.random.below(3)).map(|_| maker.guardrail()).collect();
        let mut identity: Vec<_> =
            (0..1 + maker.random.below(3)).map(|_| maker.identity()).collect();
        let mut attachments = maker.attachments();
        let old = files(&guardrails, &identity, &attachments);
        for _ in 0..1 + maker.random.below(2) {
            match maker.random.below(8) {
                0 if !guardrails.is_empty() => drop(guardrails.pop()),
                0 | 1 => guardrails.push(maker.guardrail()),
                2 => attachments = maker.attachments(),
                3 => identity.push(maker.identity()),
                4 if 1 < identity.len() => drop(identity.pop()),
                5 | 6 if !guardrails.is_empty() => {
                    let at = maker.random.below(guardrails.len());
                    guardrails[at] = maker.guardrail();
                }
                _ => {
                    let at = maker.random.below(identity.len());
                    identity[at] = maker.identity();
                }
            }
        }
        let new = files(&guardrails, &identity, &attachments);
        let (has_templates, is_hard) =
            (maker.templates, maker.hard || maker.templates && maker.read);
        Self { old, new, axes, has_templates, is_hard }
    }

    pub(super) fn each_request(&self, mut visit: impl FnMut(&Query, &Attributes)) {
        let (query, attributes) = usual();
        for action in Action::ALL {
            let query = Query { action, ..query.clone() };
            self.vary(&self.axes, &query, &attributes, &mut visit);
        }
    }

    fn vary(
        &self,
        axes: &[Axis],
        query: &Query,
        attributes: &Attributes,
        visit: &mut impl FnMut(&Query, &Attributes),
    ) {
        let Some((axis, rest)) = axes.split_first() else {
            // No job in a pool is without a type of pool.
            let untyped = attributes.pool_type == Attribute::Absent
                && attributes.pool_id.value().is_some()
                && self.axes.contains(&Axis::PoolType);
            if !untyped {
                visit(query, attributes);
            }
            return;
        };
        for held in axis.held() {
            let (mut query, mut attributes) = (query.clone(), attributes.clone());
            axis.set(&held, &mut query, &mut attributes);
            self.vary(rest, &query, &attributes, visit);
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.axes)?;
        for (name, files) in [("old", &self.old), ("new", &self.new)] {
            for (path, bytes) in files {
                writeln!(f, "{name}/{path}: {}", String::from_utf8_lossy(bytes))?;
            }
        }
        Ok(())
    }
}

struct Maker<'a> {
    random: &'a mut Random,
    axes: Vec<Axis>,
    templates: bool,
    hard: bool,
    /// A tag is read as a number.
    read: bool,
}

impl Maker<'_> {
    fn guardrail(&mut self) -> Value {
        let effect = if self.random.one_in(4) { "Allow" } else { "Deny" };
        self.statement(effect)
    }

    fn identity(&mut self) -> Value {
        let effect = if self.random.one_in(4) { "Deny" } else { "Allow" };
        self.statement(effect)
    }

    fn statement(&mut self, effect: &str) -> Value {
        let mut res = json!({"Effect": effect});
        let (name, actions) = match self.random.below(12) {
            0 => ("Action", json!(["modelarts:trainJob:delete"])),
            1 => ("Action", json!(["modelarts:trainJob:get"])),
            2 => ("Action", json!(["modelarts:trainJob:batchDelete"])),
            3 => ("NotAction", json!(["modelarts:trainJob:get"])),
            _ => ("Action", json!(["*"])),
        };
        res[name] = actions;
        if self.axes.contains(&Axis::Job) || self.random.one_in(12) {
            let ids = ["a", "a*", "?", "*", "${g:UserName}", "${g:PrincipalTag/t, 'a'}*"];
            let id = self.random.of(&ids);
            let id = match id.contains('$') {
                true if id.contains("UserName") && self.axes.contains(&Axis::Caller) => id,
                true if id.contains("Tag") && self.axes.contains(&Axis::PrincipalTag) => id,
                true => "a*",
                false => id,
            };
            self.templates |= id.contains('$');
            let region = self.random.of(&["*", "*", "a"]);
            let name = if self.random.one_in(3) { "NotResource" } else { "Resource" };
            res[name] = json!([format!("modelarts:{region}:*:trainJob:{id}")]);
        }
        let mut operators: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for _ in 0..self.random.below(3) + usize::from(effect == "Deny") {
            let axis = self.axes[self.random.below(self.axes.len())];
            if axis.keys().is_empty() {
                continue;
            }
            let key = self.random.of(axis.keys());
            let (operator, values) = self.test(axis, key);
            operators.entry(operator).or_default().insert(key.to_owned(), json!(values));
        }
        if !operators.is_empty() {
            res["Condition"] = json!(operators);
        }
        res
    }

    fn test(&mut self, axis: Axis, key: &str) -> (String, Vec<String>) {
        if self.random.one_in(8) {
            return ("Null".to_owned(), vec![self.random.of(&["true", "false"]).to_owned()]);
        }
        let (operators, values): (&[&str], &[&str]) = match (axis, key) {
            (Axis::Age, _) => (NUMBER_OPERATORS, NUMBERS),
            (Axis::Now, "g:CurrentTime") => (
                &["DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"],
                &["2026-01-15T12:00:00Z", "2026-01-16T00:00:00Z", "2026-01-15T08:05:00+08:00"],
            ),
            (Axis::Now, "lychgate:dayOfWeek") => (NUMBER_OPERATORS, &["4", "5", "4.5", "9"]),
            (Axis::Now, _) => (NUMBER_OPERATORS, &["5", "10", "1200", "5.5"]),
            (Axis::Secure, _) => (&["Bool"], &["true", "FALSE"]),
            (Axis::SourceIp, _) => (
                &["IpAddress", "NotIpAddress"],
                &["10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "fd00::/8", "10.0.0.0/31"],
            ),
            (Axis::ResourceTag | Axis::PrincipalTag, _) if self.random.one_in(5) => {
                self.read = true;
                (NUMBER_OPERATORS, NUMBERS)
            }
            (_, "g:UserId" | "lychgate:groups") => (
                TEXT_OPERATORS,
                &["corp/a", "corp/b", "*/a", "corp/*", "corp/?", "keys/a", "*a", "x"],
            ),
            (_, "g:PrincipalUrn") => (
                TEXT_OPERATORS,
                &[
                    "sts::a:external-user:corp/a",
                    "sts::*:external-user:corp/*",
                    "*:keys/a",
                    "sts::a:*",
                ],
            ),
            (_, "lychgate:issuer") => (TEXT_OPERATORS, &["corp", "keys", "c*", "a"]),
            (_, "lychgate:authMethod") => (TEXT_OPERATORS, &["jwt", "key", "m*", "JWT"]),
            _ => (TEXT_OPERATORS, TEXTS),
        };
        let operator = self.random.of(operators);
        let mut values: Vec<_> =
            (0..1 + self.random.below(2)).map(|_| self.random.of(values).to_owned()).collect();
        if self.random.one_in(2) {
            self.add_template(axis, key, operator, &mut values);
        }
        let qualifier = self.random.of(&["", "", "", "ForAnyValue:", "ForAllValues:"]);
        let suffix = self.random.of(&["", "", "IfExists"]);
        (format!("{qualifier}{operator}{suffix}"), values)
    }

    fn add_template(&mut self, axis: Axis, key: &str, operator: &str, values: &mut Vec<String>) {
        let variables: Vec<_> =
            self.axes.iter().filter(|it| **it != axis).filter_map(|it| it.variable()).collect();
        let text = operator.starts_with("String");
        if variables.is_empty() || matches!(axis, Axis::Now | Axis::Secure | Axis::SourceIp) {
            return;
        }
        let variable = self.random.of(&variables);
        let default = if self.random.one_in(4) { ", 'a'" } else { "" };
        let template = format!("${{{variable}{default}}}");
        let template = match (text, key) {
            (true, "lychgate:groups") => format!("corp/{template}"),
            (true, "g:PrincipalUrn") => return,
            (true, _) => match self.random.below(5) {
                0 => format!("a{template}"),
                1 => format!("{template}*"),
                2 => format!("*{template}"),
                _ => template,
            },
            (false, _) => template,
        };
        self.templates = true;
        // What is a number as a key is text in a listed value.
        self.hard |= !text || variable == "lychgate:jobAge";
        self.hard |= matches!(key, "lychgate:groups" | "lychgate:issuer");
        values.push(template);
    }

    fn attachments(&mut self) -> Value {
        let mut res = Vec::new();
        for policy in ["p0", "p1", "p2", "p3", "p4"] {
            let mut to = vec![self.random.of(&["any", "any", "source:corp"])];
            if self.axes.contains(&Axis::Caller) || self.axes.contains(&Axis::Groups) {
                to = vec![self.random.of(&[
                    "any",
                    "user:corp/a",
                    "group:corp/a",
                    "source:keys",
                    "group:corp/b",
                ])];
            }
            let mut entry = json!({"to": to, "policies": [policy]});
            if self.axes.contains(&Axis::Project) && self.random.one_in(2) {
                entry["projects"] = json!([self.random.of(&["a", "a*", "*b"])]);
            }
            res.push(entry);
        }
        json!(res)
    }
}

const NUMBER_OPERATORS: &[&str] = &[
    "NumberEquals",
    "NumberNotEquals",
    "NumberLessThan",
    "NumberLessThanEquals",
    "NumberGreaterThan",
    "NumberGreaterThanEquals",
];

fn files(guardrails: &[Value], identity: &[Value], attachments: &Value) -> Files {
    let mut res = Files::new();
    let document =
        |statements: &[&Value]| json!({"Version": "5.0", "Statement": statements}).to_string();
    if !guardrails.is_empty() {
        let all: Vec<_> = guardrails.iter().collect();
        res.insert("guardrails/g.json".to_owned(), document(&all).into_bytes());
    }
    for (at, statement) in identity.iter().enumerate() {
        res.insert(format!("identity/p{at}.json"), document(&[statement]).into_bytes());
    }
    let known = |it: &&Value| {
        let name = it["policies"][0].as_str().expect("a name");
        res.contains_key(&format!("identity/{name}.json"))
    };
    let attachments: Vec<_> =
        attachments.as_array().expect("a list").iter().filter(known).collect();
    res.insert("attachments.yaml".to_owned(), json!(attachments).to_string().into_bytes());
    res
}

/// What the comparison takes for usual too, so that it makes no difference.
fn usual() -> (Query, Attributes) {
    let query = Query {
        principal: Arc::new(Principal::new("corp", "alice", [], BTreeMap::new(), Method::Jwt)),
        action: Action::Delete,
        job: Arc::new(Job::new("0a1b2c", "3faf5c03-aaa1-4cbe-879d-24b05d997347")),
        region: "cn-north-4".to_owned(),
        account: "123".to_owned(),
        now: "2026-01-15T12:00:00Z".parse().expect("a time"),
        source_ip: Attribute::Absent,
        secure_transport: Attribute::Absent,
        user_agent: Attribute::Absent,
    };
    let attributes = Attributes {
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
    (query, attributes)
}
