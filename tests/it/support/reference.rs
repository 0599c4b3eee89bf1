//! The reference interpreter: docs/policy-language.md once more, as plainly as it can be written.
//!
//! It is slow, checks nothing that `lychgate check` checks, and shares no code with the engine: only
//! the question (`Query`, `Attributes`) is the same value. What it is given must be free of errors.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod case;
mod document;
mod value;

pub(crate) use self::case::{Case, Suite};
pub(crate) use self::document::{Files, Policies};

use self::document::{Condition, Effect, List, Statement};
use self::value::Piece;

use lychgate::policy::{Action, Attribute, Attributes, Query, Sources};

/// What the policies say. `by` is the name of the deciding statement, `ceiling` or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow { by: String },
    Deny { by: String },
    Indeterminate { wanted: Sources },
}

impl Verdict {
    /// As in the `expect` of a case.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
            Self::Indeterminate { .. } => "indeterminate",
        }
    }

    /// As in the `by` of a case.
    pub(crate) fn by(&self) -> Option<&str> {
        match self {
            Self::Allow { by } | Self::Deny { by } => Some(by),
            Self::Indeterminate { .. } => None,
        }
    }
}

/// Kleene's three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    False,
    True,
    Unknown,
}

impl From<bool> for Truth {
    fn from(it: bool) -> Self {
        if it { Self::True } else { Self::False }
    }
}

fn any(of: impl IntoIterator<Item = Truth>) -> Truth {
    let of: Vec<_> = of.into_iter().collect();
    match of {
        of if of.contains(&Truth::True) => Truth::True,
        of if of.contains(&Truth::Unknown) => Truth::Unknown,
        _ => Truth::False,
    }
}

fn all(of: impl IntoIterator<Item = Truth>) -> Truth {
    let of: Vec<_> = of.into_iter().collect();
    match of {
        of if of.contains(&Truth::False) => Truth::False,
        of if of.contains(&Truth::Unknown) => Truth::Unknown,
        _ => Truth::True,
    }
}

/// What is known under a key. All values are texts; operators read them.
enum Known {
    Values(Vec<String>),
    Absent,
    /// Not asked for yet, or not to be found out.
    Unavailable,
    /// Huawei's IAM knows it and the gate never does.
    Never,
}

/// One question to one set of policies.
struct Judge<'a> {
    query: &'a Query,
    attributes: &'a Attributes,
}

/// Judges with all that is stated.
pub(crate) fn judge(policies: &Policies, query: &Query, attributes: &Attributes) -> Verdict {
    let judge = Judge { query, attributes };
    let (deny, ceiling): (Vec<_>, Vec<_>) =
        policies.guardrails.iter().flatten().partition(|it| it.effect == Effect::Deny);
    let (also_deny, allows): (Vec<_>, Vec<_>) =
        policies.attached(query).into_iter().flatten().partition(|it| it.effect == Effect::Deny);
    let denies = [deny, also_deny].concat();

    let truth = |of: &[&Statement]| any(of.iter().map(|it| judge.statement(it)));
    let first = |of: &[&Statement]| {
        of.iter().find(|it| judge.statement(it) == Truth::True).map(|it| it.name.clone())
    };
    let d = truth(&denies);
    let c = if ceiling.is_empty() { Truth::True } else { truth(&ceiling) };
    let a = truth(&allows);

    if let Some(by) = first(&denies) {
        return Verdict::Deny { by };
    }
    if c == Truth::False {
        return Verdict::Deny { by: "ceiling".to_owned() };
    }
    if a == Truth::False {
        return Verdict::Deny { by: "none".to_owned() };
    }
    if d == Truth::False && c == Truth::True && a == Truth::True {
        return Verdict::Allow { by: first(&allows).unwrap_or_default() };
    }
    let undecided = [(d, denies), (c, ceiling), (a, allows)];
    let undecided = undecided.iter().filter(|(truth, _)| *truth == Truth::Unknown);
    let wanted = undecided.flat_map(|(_, of)| of).map(|it| judge.wanted(it));
    Verdict::Indeterminate { wanted: wanted.fold(Sources::default(), Sources::union) }
}

impl Judge<'_> {
    /// A batch is allowed as a delete is, and denied by what denies either.
    fn is_about(&self, statement: &Statement) -> bool {
        let names: &[&str] = match (self.query.action, statement.effect) {
            (Action::Delete, _) | (Action::BatchDelete, Effect::Allow) => &["delete"],
            (Action::BatchDelete, Effect::Deny) => &["delete", "batchdelete"],
            (Action::Get, _) => &["get"],
        };
        names.iter().any(|it| covers(&statement.action, it))
    }

    fn statement(&self, statement: &Statement) -> Truth {
        let resource = statement.resource.as_ref();
        all([Truth::from(self.is_about(statement))]
            .into_iter()
            .chain(resource.map(|it| self.resource(statement.effect, it)))
            .chain(statement.conditions.iter().map(|it| self.condition(statement.effect, it))))
    }

    /// The sources that a statement names, in keys and in variables, if it is undecided.
    fn wanted(&self, statement: &Statement) -> Sources {
        if self.statement(statement) != Truth::Unknown {
            return Sources::default();
        }
        let keys = statement.conditions.iter().map(|it| it.key.clone());
        let listed = statement.conditions.iter().flat_map(|it| &it.values);
        let resources = statement.resource.iter().flat_map(|it| &it.texts);
        let variables = listed.chain(resources).flat_map(|it| value::variables(it));
        keys.chain(variables).fold(Sources::default(), |sum, it| sum.union(source(&it)))
    }

    fn resource(&self, effect: Effect, list: &List) -> Truth {
        let Query { region, account, job, .. } = self.query;
        let urn = ["modelarts", region, account, "trainJob", &job.training_job_id];
        let meets = |text: &String| {
            if text == "*" {
                return Truth::from(!list.negated);
            }
            let parts: Vec<_> = text.splitn(5, ':').collect();
            let elsewhere = parts.iter().zip(urn).take(4);
            if elsewhere.into_iter().any(|(it, of)| !value::fits(&value::wildcards(it), of)) {
                return Truth::from(list.negated);
            }
            match self.fill_in(parts[4], true) {
                Filled::In(pattern) => {
                    Truth::from(value::fits(&pattern, &job.training_job_id) != list.negated)
                }
                Filled::Not => cautious(effect),
                Filled::Unknown => Truth::Unknown,
            }
        };
        let meets = list.texts.iter().map(meets);
        if list.negated { all(meets) } else { any(meets) }
    }

    fn condition(&self, effect: Effect, condition: &Condition) -> Truth {
        let Condition { qualifier, operator, negated, if_exists, key, values } = condition;
        let present = match self.look_up(key) {
            Known::Never => return Truth::True,
            Known::Unavailable => return Truth::Unknown,
            Known::Absent if operator == "Null" => vec![],
            Known::Absent if *if_exists => return Truth::True,
            Known::Absent if *negated || qualifier == "ForAllValues" => return cautious(effect),
            Known::Absent => return Truth::False,
            Known::Values(it) => it,
        };
        if operator == "Null" {
            let absent = if present.is_empty() { "true" } else { "false" };
            return Truth::from(values.iter().any(|it| it.eq_ignore_ascii_case(absent)));
        }
        let meets = present.iter().map(|present| {
            if !value::is_readable(operator, present) {
                return cautious(effect);
            }
            let meets = values.iter().map(|it| match self.fill_in(it, operator == "StringMatch") {
                Filled::In(listed) => match value::compare(operator, present, &listed) {
                    Some(it) => Truth::from(it != *negated),
                    None => cautious(effect),
                },
                Filled::Not => cautious(effect),
                Filled::Unknown => Truth::Unknown,
            });
            if *negated { all(meets) } else { any(meets) }
        });
        match (qualifier.as_str(), effect) {
            ("ForAllValues", _) | ("", Effect::Allow) => all(meets),
            _ => any(meets),
        }
    }

    fn look_up(&self, key: &str) -> Known {
        let Query { principal, region, account, .. } = self.query;
        let Attributes { pool_id, pool_type, phase, kind, name, owner, .. } = self.attributes;
        let value = |it: &str| Known::Values(vec![it.to_owned()]);
        let tag = |it: Option<&String>| it.map_or(Known::Absent, |it| value(it));

        let (namespace, tag_key) = key.split_once('/').unwrap_or((key, ""));
        match namespace.to_ascii_lowercase().as_str() {
            "g:resourcetag" => match &self.attributes.tags {
                Attribute::Value(it) => tag(it.get(tag_key)),
                Attribute::Absent => Known::Absent,
                Attribute::Unavailable | Attribute::NotAsked => Known::Unavailable,
            },
            "g:principaltag" => tag(principal.tags().get(tag_key)),
            "g:username" => value(principal.name()),
            "g:userid" => value(principal.id()),
            "g:principalurn" => value(&format!("sts::{account}:external-user:{}", principal.id())),
            "g:principalaccount" | "g:domainid" if account.is_empty() => Known::Absent,
            "g:principalaccount" | "g:domainid" => value(account),
            "g:requestedregion" => value(region),
            "g:currenttime" => value(&self.query.now.to_string()),
            "lychgate:timeofday" => value(&self.shown("%H%M", tag_key)),
            "lychgate:dayofweek" => value(&self.shown("%u", tag_key)),
            "g:sourceip" => known(&self.query.source_ip, |it| vec![it.to_canonical().to_string()]),
            "g:securetransport" => known(&self.query.secure_transport, |it| vec![it.to_string()]),
            "g:useragent" => known(&self.query.user_agent, |it| vec![it.clone()]),
            "g:enterpriseprojectid" => Known::Absent,
            "lychgate:groups" if principal.groups().is_empty() => Known::Absent,
            "lychgate:groups" => Known::Values(principal.groups().to_vec()),
            "lychgate:issuer" => value(principal.source()),
            "lychgate:authmethod" => value(principal.method().as_str()),
            "lychgate:projectid" => value(&self.query.job.project_id),
            "modelarts:poolid" => known(pool_id, Vec::clone),
            "modelarts:pooltype" => known(pool_type, Vec::clone),
            "lychgate:jobphase" => known(phase, |it| vec![it.clone()]),
            "lychgate:jobkind" => known(kind, |it| vec![it.clone()]),
            "lychgate:jobname" => known(name, |it| vec![it.clone()]),
            "lychgate:jobowner" => known(owner, |it| vec![it.clone()]),
            "lychgate:jobage" => known(&self.attributes.age, |it| vec![it.to_string()]),
            "lychgate:workspaceid" => known(&self.attributes.workspace_id, |it| vec![it.clone()]),
            _ => Known::Never,
        }
    }

    /// What clock and calendar show in a time zone, UTC if it has no name.
    fn shown(&self, format: &str, zone: &str) -> String {
        let zone = if zone.is_empty() { "UTC" } else { zone };
        let zoned = self.query.now.in_tz(zone).expect("a time zone");
        zoned.strftime(format).to_string()
    }

    /// Puts values in the place of variables. `*` and `?` as written are special if `wildcards`.
    fn fill_in(&self, text: &str, wildcards: bool) -> Filled {
        let mut filled = Vec::new();
        let (mut missing, mut unknown) = (false, false);
        for piece in value::pieces(text, wildcards) {
            let (key, default) = match piece {
                Piece::Variable { key, default } => (key, default),
                piece => {
                    filled.push(piece);
                    continue;
                }
            };
            let several = ["lychgate:groups", "modelarts:poolid", "modelarts:pooltype"];
            let known = match several.contains(&key.to_ascii_lowercase().as_str()) {
                true => Known::Absent,
                false => self.look_up(&key),
            };
            match (known, default) {
                (Known::Unavailable, _) => unknown = true,
                (Known::Values(it), _) => filled.extend(it.concat().chars().map(Piece::Char)),
                (Known::Absent, Some(it)) => filled.extend(it.chars().map(Piece::Char)),
                (Known::Absent, None) | (Known::Never, _) => missing = true,
            }
        }
        match (missing, unknown) {
            (true, _) => Filled::Not,
            (false, true) => Filled::Unknown,
            (false, false) => Filled::In(filled),
        }
    }
}

enum Filled {
    In(Vec<Piece>),
    Not,
    Unknown,
}

/// Where the value of a key comes from, if the cloud must be asked.
fn source(key: &str) -> Sources {
    let key = key.to_ascii_lowercase();
    let details = ["modelarts:", "lychgate:job", "lychgate:workspaceid"];
    Sources {
        details: details.iter().any(|it| key.starts_with(it)),
        tags: key.starts_with("g:resourcetag/"),
    }
}

/// Where the comparison cannot be made: a Deny reads broadly, an Allow narrowly.
fn cautious(effect: Effect) -> Truth {
    Truth::from(effect == Effect::Deny)
}

fn known<T>(of: &Attribute<T>, values: impl Fn(&T) -> Vec<String>) -> Known {
    match of {
        Attribute::Value(it) if values(it).is_empty() => Known::Absent,
        Attribute::Value(it) => Known::Values(values(it)),
        Attribute::Absent => Known::Absent,
        Attribute::Unavailable | Attribute::NotAsked => Known::Unavailable,
    }
}

fn covers(list: &List, operation: &str) -> bool {
    let action = ["modelarts", "trainjob", operation];
    let fits = list.texts.iter().any(|text| {
        let parts: Vec<_> = text.split(':').map(str::to_ascii_lowercase).collect();
        text == "*" || {
            parts.len() == 3
                && parts.iter().zip(action).all(|(it, of)| value::fits(&value::wildcards(it), of))
        }
    });
    fits != list.negated
}
