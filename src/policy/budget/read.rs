//! Reads budgets.yaml into budgets, with all findings about it.

use super::{BUDGETS_MAX, Budget, Budgets, DELETES_MAX, Per, WITHIN_MAX};
use crate::policy::compile::conditions;
use crate::policy::engine::condition::Condition;
use crate::policy::language::attachments::Target;
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::document::{self, Effect};
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::yaml::{self, Node, Pairs, Spanned, Texts};
use crate::policy::{Limits, Sources};
use crate::text::is_deceptive;
use crate::yaml::Kind;

use jiff::SignedDuration;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::fmt;

/// The longest name of a budget, in characters.
const NAME_MAX: usize = 64;

/// The units of time, in seconds.
const UNITS: [(&str, i64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

/// A budget as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    per: Spanned<String>,
    deletes: Spanned<u64>,
    within: Spanned<String>,
    when: Option<Spanned<Pairs<Pairs<Values>>>>,
}

/// One value, or a list.
#[derive(Debug)]
struct Values(Vec<Spanned<String>>);

/// The budgets of a directory without budgets.yaml.
pub(in crate::policy) fn usual(limits: &Limits, findings: &mut Findings<'_>) -> Budgets {
    let res = Budgets::usual(limits.replicas);
    let fewest = res.iter().map(Budget::deletes).min().unwrap_or_default();
    if fewest < limits.replicas {
        below_replicas(fewest, limits, Span::default(), findings);
    }
    res
}

fn below_replicas(deletes: u32, limits: &Limits, span: Span, findings: &mut Findings<'_>) {
    let replicas = limits.replicas;
    findings.hint(
        Code::BudgetBelowReplicas,
        span,
        format!("{replicas} processes cannot share {deletes} deletes: each would have none"),
        "raise the number in budgets.yaml, run fewer replicas, or share exactly through a \
         database (`budgets.store` of the configuration)",
    );
}

/// Reads budgets.yaml. What cannot be read is reported and left out.
pub(in crate::policy) fn read(
    bytes: &[u8],
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Budgets {
    let usual = Budgets::usual(limits.replicas);
    let Some(root) = yaml::parse(bytes, limits.attachments_bytes, findings) else {
        return usual;
    };
    let before = findings.found.len();
    yaml::fields(&root, &["budgets"], findings);
    if findings.found.len() != before {
        return usual;
    }
    let Some(budgets) = root.field("budgets") else {
        let message = "`budgets` is missing";
        let hint = "write `budgets:` and a list, or `budgets: none`";
        findings.hint(Code::InvalidYaml, yaml::span_of(root.head()), message, hint);
        return usual;
    };
    let span = yaml::span_of(budgets.head());
    if budgets.text() == Some("none") {
        findings.hint(
            Code::NoBudgets,
            span,
            "there is no brake on mass deletion: whoever may delete may delete everything",
            "set limits that normal work does not reach, or remove the file: the default is 50 \
             deletes by one principal in an hour and 500 in one project in a day",
        );
        return Budgets::new(Vec::new());
    }
    if let Some(word) = budgets.text() {
        let message = format!("`budgets` cannot be `{word}`");
        let hint = "write a list, each entry after a dash and a space, or `none`";
        findings.hint(Code::InvalidYaml, span, message, hint);
        return usual;
    }
    let nodes = yaml::list(budgets, "`budgets`", findings);
    if matches!(&budgets.kind, Kind::List(them) if them.is_empty()) {
        let message = "`budgets`: the list is empty";
        findings.hint(Code::Empty, span, message, "write `budgets: none` if you want none");
    }
    let entries = entries(nodes, findings);
    if let Some(beyond) = entries.get(BUDGETS_MAX) {
        let message = format!("a directory has at most {BUDGETS_MAX} budgets");
        findings.add(Code::MalformedBudget, yaml::span(&beyond.name), message);
    }
    let mut names = HashSet::new();
    let mut list = Vec::new();
    for entry in &entries {
        if !names.insert(entry.name.value.as_str()) {
            let message = format!("another budget has the name `{}`", entry.name.value);
            findings.add(Code::DuplicateBudget, yaml::span(&entry.name), message);
        }
        list.extend(Reader { limits, findings: &mut *findings }.budget(entry));
    }
    Budgets::new(list)
}

fn entries(nodes: &[Node], findings: &mut Findings<'_>) -> Vec<Entry> {
    nodes.iter().filter_map(|it| yaml::read(it, Texts::AsWritten, findings)).collect()
}

/// What a budget names.
#[derive(Debug)]
pub(in crate::policy) struct Named {
    /// What has a counter of its own, if it can be read, and where that stands.
    pub(in crate::policy) per: Option<Per>,
    pub(in crate::policy) span: Span,
    pub(in crate::policy) conditions: Vec<document::Condition>,
}

/// What those budgets name that can be read. [`read`] reports the others.
pub(in crate::policy) fn named(bytes: &[u8]) -> Vec<Named> {
    let (limits, mut ignored) = (&Limits::default(), Vec::new());
    let findings = &mut Findings { path: "", found: &mut ignored };
    let root = yaml::parse(bytes, limits.attachments_bytes, findings);
    let nodes = match root.as_ref().and_then(|it| it.field("budgets")) {
        Some(Node { kind: Kind::List(them), .. }) => them.as_slice(),
        _ => &[],
    };
    let entries = entries(nodes, findings);
    let mut reader = Reader { limits, findings };
    let named = entries.iter().map(|it| Named {
        per: per(&it.per.value).ok(),
        span: yaml::span(&it.per),
        conditions: it.when.as_ref().map(|it| reader.raw(it)).unwrap_or_default(),
    });
    named.collect()
}

struct Reader<'a, 'f> {
    limits: &'a Limits,
    findings: &'a mut Findings<'f>,
}

impl Reader<'_, '_> {
    fn budget(&mut self, entry: &Entry) -> Option<Budget> {
        let name = self.name(&entry.name);
        let per = self.per(&entry.per);
        let deletes = self.deletes(&entry.deletes);
        let within = self.within(&entry.within);
        let mut sources = Sources::default();
        let raw = entry.when.as_ref().map(|it| self.raw(it)).unwrap_or_default();
        let when = self.when(&raw, &mut sources);
        let mut res = Budget::new(name?, per?, deletes?, within?, self.limits.replicas);
        res.sources = res.sources.union(sources);
        if !raw.is_empty() {
            res.scope = scope(&res.per, &raw);
        }
        res.when = when;
        if !res.sources.is_empty() {
            self.findings.hint(
                Code::BudgetJobFacts,
                yaml::span(&entry.name),
                format!("`{}` depends on the job, which is not looked up for a budget", res.name),
                "if no policy asks for these facts of the job, they are unknown: a condition on \
                 them then holds, and all such jobs count as one pool",
            );
        }
        Some(res)
    }

    fn name<'t>(&mut self, text: &'t Spanned<String>) -> Option<&'t str> {
        let name = text.value.as_str();
        let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        let fine = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits);
        if !fine {
            let hint = format!("a name has 1 to {NAME_MAX} lower-case letters, digits and hyphens");
            self.malformed(text, "name of a budget", &hint);
        }
        fine.then_some(name)
    }

    fn per(&mut self, text: &Spanned<String>) -> Option<Per> {
        per(&text.value).map_err(|hint| self.malformed(text, "scope of a budget", hint)).ok()
    }

    fn deletes(&mut self, number: &Spanned<u64>) -> Option<u32> {
        let deletes = u32::try_from(number.value).ok().filter(|it| (1..=DELETES_MAX).contains(it));
        let Some(deletes) = deletes else {
            let hint = format!("write a number from 1 to {DELETES_MAX}");
            let message = format!("a budget cannot have {} deletes", number.value);
            self.findings.hint(Code::MalformedBudget, yaml::span(number), message, hint);
            return None;
        };
        if deletes < self.limits.replicas {
            below_replicas(deletes, self.limits, yaml::span(number), self.findings);
        }
        Some(deletes)
    }

    fn within(&mut self, text: &Spanned<String>) -> Option<SignedDuration> {
        let within = duration(&text.value).filter(|it| !it.is_zero() && *it <= WITHIN_MAX);
        if within.is_none() {
            let hint = "write a whole number and s, m, h or d, such as `1h`; at most `7d`";
            self.malformed(text, "time of a budget", hint);
        }
        within
    }

    /// The condition in the form that a document has.
    fn raw(&mut self, written: &Spanned<Pairs<Pairs<Values>>>) -> Vec<document::Condition> {
        let mut res = Vec::new();
        if written.value.0.is_empty() {
            let message = "`when` is empty";
            self.findings.hint(Code::Empty, yaml::span(written), message, "leave it out");
        }
        for (operator, keys) in &written.value.0 {
            if keys.0.is_empty() {
                let message = format!("`{}` is empty", operator.value);
                self.findings.add(Code::Empty, yaml::span(operator), message);
            }
            for (key, values) in &keys.0 {
                let values: Vec<_> = values.0.iter().map(|it| self.text(it)).collect();
                if values.is_empty() {
                    let message = format!("the values of `{}`: the list is empty", key.value);
                    self.findings.add(Code::Empty, yaml::span(key), message);
                }
                if self.limits.values < values.len() {
                    let message = format!("a list has at most {} values", self.limits.values);
                    self.findings.add(Code::TooManyValues, yaml::span(key), message);
                }
                let (operator, key) = (self.text(operator), self.text(key));
                res.push(document::Condition { operator, key, values });
            }
        }
        res
    }

    fn when(&mut self, raw: &[document::Condition], sources: &mut Sources) -> Vec<Condition> {
        for it in raw {
            if let Ok(Key::Unknowable(name)) = Key::parse(&it.key.value) {
                self.findings.hint(
                    Code::UnknowableKey,
                    it.key.span,
                    format!("only Huawei Cloud knows `{name}`: the budget would count everything"),
                    "use a key that the gate knows, such as `lychgate:groups`",
                );
                return Vec::new();
            }
        }
        conditions::compile(raw, Effect::Deny, sources, self.findings)
    }

    fn text(&mut self, text: &Spanned<String>) -> Text {
        let span = yaml::span(text);
        if self.limits.text_bytes < text.value.len() {
            let message = format!("a text has at most {} bytes", self.limits.text_bytes);
            self.findings.add(Code::TextTooLong, span, message);
        }
        Text { value: text.value.clone(), span }
    }

    fn malformed(&mut self, text: &Spanned<String>, what: &str, hint: &str) {
        let message = format!("`{}` is not a valid {what}", text.value);
        self.findings.hint(Code::MalformedBudget, yaml::span(text), message, hint);
    }
}

fn per(text: &str) -> Result<Per, &'static str> {
    const SCOPES: &str = "write `principal`, `project`, `pool`, `source`, `all`, \
                          `group:<source>/<name>` or `tag:<key>`";
    let is_key = |it: &str| !it.is_empty() && it.trim() == it && !it.contains(is_deceptive);
    Ok(match text {
        "all" => Per::All,
        "pool" => Per::Pool,
        "principal" => Per::Principal,
        "project" => Per::Project,
        "source" => Per::Source,
        _ => match text.split_once(':') {
            Some(("group", name)) if name.contains(['*', '?']) => {
                return Err("wildcards are not allowed here; write the whole name");
            }
            Some(("group", _)) => match Target::parse(text)? {
                Target::Group(group) => Per::Group(group.to_owned()),
                _ => return Err(SCOPES),
            },
            Some(("tag", tag)) if is_key(tag) => Per::Tag(tag.to_owned()),
            Some(("tag", tag)) if !tag.is_empty() => {
                return Err(
                    "tag keys have no spaces at their ends and no characters that are not seen",
                );
            }
            _ => return Err(SCOPES),
        },
    })
}

/// A whole number and a unit.
fn duration(text: &str) -> Option<SignedDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, seconds) = UNITS.iter().find(|(it, _)| *it == unit)?;
    number.parse::<i64>().ok()?.checked_mul(*seconds).map(SignedDuration::from_secs)
}

/// What a budget counts, as text.
fn scope(per: &Per, raw: &[document::Condition]) -> String {
    let values = |them: &[Text]| them.iter().map(|it| it.value.clone()).collect::<Vec<_>>();
    let conditions = raw.iter().map(|it| (&it.operator.value, &it.key.value, values(&it.values)));
    format!("{per} when {:?}", conditions.collect::<Vec<_>>())
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<OneOrMany>::deserialize(deserializer).map(|it| {
            Self(match it.value {
                OneOrMany::Many(them) => them,
                OneOrMany::One(value) => vec![Spanned { value, place: it.place }],
            })
        })
    }
}

enum OneOrMany {
    Many(Vec<Spanned<String>>),
    One(String),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes, or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
        let mut res = Vec::new();
        while let Some(it) = list.next_element()? {
            res.push(it);
        }
        Ok(OneOrMany::Many(res))
    }
}
