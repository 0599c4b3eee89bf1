//! One case: from what is written to a query and the expected answer.

use super::written::{self, Stated};
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::yaml::Spanned;
use crate::policy::language::{suggest, value, yaml};
use crate::policy::{
    self, Action, Answer, Attribute, Attributes, Decision, Denial, Explanation, JobFact, Method,
    Principal, Query, Set, Severity, Span,
};
use crate::text::is_deceptive;

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest project ID and the longest job ID, in characters. They are those of the route.
const ID_MAX: usize = 64;

const METHODS: [Method; 4] = [Method::Jwt, Method::Key, Method::Local, Method::Mtls];

/// One case of a suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// The suite's file, as in [`Files`](crate::policy::Files).
    pub path: String,
    /// Where its name stands in the file.
    pub span: Span,
    /// Unique in its file.
    pub name: String,
    /// What is asked.
    pub query: Query,
    /// What is known of the job.
    pub attributes: Attributes,
    /// How many deletes each budget has already counted for this case's own keys; 0 for budgets
    /// that are not named.
    pub spent: BTreeMap<String, u64>,
    /// The expected answer.
    pub expected: Answer,
    /// The expected decider, if the case names one.
    pub by: Option<String>,
}

impl Case {
    /// Judges it by the policies and budgets of `set`.
    #[must_use]
    pub fn judge(&self, set: &Set) -> Decision {
        let decision = set.evaluate(&self.query, &self.attributes);
        let overspent = || set.budgets().overspent(&self.query, &self.attributes, &self.spent);
        let takes = matches!(decision, Decision::Allow(_)) && self.query.action.is_delete();
        match takes.then(overspent).flatten() {
            Some(budget) => Decision::Deny(Denial::over_budget(budget.name())),
            None => decision,
        }
    }

    /// The same with its reasons.
    #[must_use]
    pub fn explain(&self, set: &Set) -> Explanation {
        let mut res = set.explain(&self.query, &self.attributes);
        res.decision = self.judge(set);
        for it in &mut res.budgets {
            it.spent = self.spent.get(&it.name).copied();
        }
        res
    }

    /// The decision is the expected one. An undecided request has no decider, so `by` does not
    /// count there.
    #[must_use]
    pub fn is_met_by(&self, decision: &Decision) -> bool {
        let by = match (&self.by, decision.decider()) {
            (Some(expected), Some(decider)) => expected == decider,
            _ => true,
        };
        self.expected == decision.answer() && by
    }
}

/// `None` after a complaint that leaves nothing to ask.
pub(super) fn read(written: &written::Case, findings: &mut Findings<'_>) -> Option<Case> {
    let before = findings.found.len();
    let expected = word(&written.expect, &Answer::ALL, Answer::as_str, findings);
    let query = query(&written.principal, &written.request, findings);
    let attributes = attributes(&written.job, findings);
    let added = findings.found.get(before..).unwrap_or_default();
    if added.iter().any(|it| it.severity() == Severity::Error) {
        return None;
    }
    Some(Case {
        path: findings.path.to_owned(),
        span: yaml::span(&written.name),
        name: written.name.value.clone(),
        query: query?,
        attributes,
        spent: written.spent.0.iter().map(|(name, it)| (name.value.clone(), *it)).collect(),
        expected: expected?,
        by: written.by.as_ref().map(|it| it.value.clone()),
    })
}

fn query(
    principal: &written::Principal,
    request: &written::Request,
    findings: &mut Findings<'_>,
) -> Option<Query> {
    let principal = self::principal(principal, findings)?;
    ids(request, findings);
    let action = match &request.action {
        Some(text) => word(text, &Action::ALL, Action::as_str, findings)?,
        None => Action::Delete,
    };
    let now = value::date(&request.time.value).and_then(|it| Timestamp::from_duration(it).ok());
    if now.is_none() {
        let hint = "write a date and time with its zone, such as `2026-01-15T12:00:00Z`";
        impossible(&request.time, "time", hint, findings);
    }
    let source_ip = request.source_ip.as_ref().and_then(|text| {
        let address = value::address(&text.value);
        if address.is_none() {
            impossible(text, "address", "write an IPv4 or IPv6 address", findings);
        }
        address
    });
    let stated = [
        ("secure", request.secure.is_some()),
        ("source_ip", request.source_ip.is_some()),
        ("user_agent", request.user_agent.is_some()),
    ];
    let unavailable = unavailable(&request.unavailable, &stated, &[], findings);
    Some(Query {
        principal: Arc::new(principal),
        action,
        job: policy::Job::new(&request.project.value, &request.job.value).into(),
        region: request.region.value.clone(),
        // Where the policies ask for it, it is stated.
        account: request.account.as_ref().map(|it| it.value.clone()).unwrap_or_default(),
        now: now?,
        source_ip: attribute(source_ip, unavailable.contains(&"source_ip")),
        secure_transport: attribute(request.secure, unavailable.contains(&"secure")),
        user_agent: attribute(request.user_agent.clone(), unavailable.contains(&"user_agent")),
    })
}

fn principal(it: &written::Principal, findings: &mut Findings<'_>) -> Option<Principal> {
    let (source, name) = (it.source.value.as_str(), it.name.value.as_str());
    if source.is_empty() || source.contains('/') {
        let hint = "write the name of an identity source, such as `corp`";
        impossible(&it.source, "source", hint, findings);
    }
    if name.is_empty() {
        impossible(&it.name, "name", "write the caller's name at its source", findings);
    }
    for text in it.groups.iter().chain([&it.name.value]) {
        let span = yaml::span(&it.name);
        if text.trim() != text || text.contains(is_deceptive) {
            let message = format!("`{text}` has characters that no name has: a gate refuses them");
            let hint = "names have no spaces at their ends and no characters that are not seen";
            findings.hint(Code::ImpossibleCase, span, message, hint);
        } else if let Some(rest) = text.strip_prefix(source).and_then(|it| it.strip_prefix('/')) {
            let message = format!("the source is added to `{text}`: it becomes `{source}/{text}`");
            findings.hint(Code::UnlikelyValue, span, message, format!("write `{rest}`"));
        }
    }
    let method = match &it.method {
        Some(text) => word(text, &METHODS, Method::as_str, findings)?,
        None => Method::Jwt,
    };
    let tags = it.tags.0.iter().map(|(tag, it)| (tag.value.clone(), it.clone())).collect();
    Some(Principal::new(source, name, it.groups.iter().cloned(), tags, method))
}

/// IDs that no route accepts are mistakes. Which job IDs a gate's route accepts is a setting that a
/// policy directory does not know, so the widest setting counts.
fn ids(request: &written::Request, findings: &mut Findings<'_>) {
    let sized = |it: &str| (1..=ID_MAX).contains(&it.len());
    let (project, job) = (request.project.value.as_str(), request.job.value.as_str());
    if !sized(project) || !project.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
        let hint = format!("a project ID has 1 to {ID_MAX} letters, digits and hyphens");
        impossible(&request.project, "project ID", &hint, findings);
    }
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    if !sized(job) || !job.bytes().all(fits) || job == "batch-delete" {
        let hint = match job.bytes().any(|it| it.is_ascii_uppercase()) {
            true => "write its letters in lower case, as ModelArts issues them",
            false => "write a UUID such as `3faf5c03-aaa1-4cbe-879d-24b05d997347`",
        };
        impossible(&request.job, "job ID", hint, findings);
    }
}

fn attributes(job: &written::Job, findings: &mut Findings<'_>) -> Attributes {
    let stated = JobFact::ALL.iter().map(|it| (it.case(), job.stated.contains_key(it)));
    let stated: Vec<_> = stated.chain([("tags", job.tags.is_some())]).collect();
    let named = unavailable(&job.unavailable, &stated, &["details"], findings);
    let mut res = Attributes::default();
    for fact in JobFact::ALL {
        // A stated fact counts, even if the other details are unavailable.
        let stated = job.stated.get(fact);
        match stated {
            Some(Stated::Text(it)) if it.value.is_empty() => empty(*fact, it, findings),
            Some(Stated::Texts(it)) if it.value.iter().any(String::is_empty) => {
                empty(*fact, it, findings);
            }
            Some(Stated::Text(text)) => {
                documented(text, fact.values().unwrap_or_default(), findings);
            }
            _ => (),
        }
        let stated = stated.map(Stated::held);
        let unknown = named.contains(&"details") || named.contains(&fact.case());
        res.set(*fact, attribute(stated, unknown));
    }
    res.tags = match named.contains(&"tags") {
        true => Attribute::Unavailable,
        false => Attribute::Value(job.tags.clone().unwrap_or_default()),
    };
    if let (Some(Stated::Texts(pool_id)), Attribute::Value(_), Attribute::Absent) =
        (job.stated.get(&JobFact::PoolId), &res.pool_id, &res.pool_type)
    {
        findings.hint(
            Code::PoolWithoutType,
            yaml::span(pool_id),
            "a job in a pool also has a pool type",
            "add `pool_type: [dedicated]`",
        );
    }
    res
}

/// A gate takes an empty text for one that is absent.
fn empty<T>(fact: JobFact, at: &Spanned<T>, findings: &mut Findings<'_>) {
    let message = format!("no job has an empty text as its `{}`", fact.case());
    let hint = "what ModelArts leaves empty counts as absent: leave it out";
    findings.hint(Code::ImpossibleCase, yaml::span(at), message, hint);
}

/// ModelArts may use words that it has not documented, but one that is nearly a documented word is
/// a mistake, and one that is written like none of them hardly meant.
fn documented(text: &Spanned<String>, words: &'static [&'static str], findings: &mut Findings<'_>) {
    if suggest::nearest(&text.value, words.iter().copied()).is_some() {
        word(text, words, |it| it, findings);
    } else if !words.is_empty() && !words.iter().any(|it| is_written_like(it, &text.value)) {
        let message = format!("ModelArts does not document `{}` here", text.value);
        let hint = format!("the documented words are {}", words.join(", "));
        findings.hint(Code::UnlikelyValue, yaml::span(text), message, hint);
    }
}

/// Whether both are words of ASCII letters, with a capital at the beginning or without.
fn is_written_like(known: &str, word: &str) -> bool {
    let begins = |it: &str| it.starts_with(|it: char| it.is_ascii_uppercase());
    let plain = word.bytes().all(|it| it.is_ascii_alphabetic() || it == b'_');
    known == word || plain && begins(known) == begins(word)
}

/// The fields that are listed as unavailable. `stated` are all that could be, and whether each is
/// stated; `also` are further words.
fn unavailable(
    words: &[Spanned<String>],
    stated: &[(&'static str, bool)],
    also: &[&'static str],
    findings: &mut Findings<'_>,
) -> Vec<&'static str> {
    let known: Vec<_> = also.iter().copied().chain(stated.iter().map(|(it, _)| *it)).collect();
    let mut res = Vec::new();
    for text in words {
        let Some(field) = word(text, &known, |it| it, findings) else {
            continue;
        };
        if stated.contains(&(field, true)) {
            findings.hint(
                Code::StatedAndUnavailable,
                yaml::span(text),
                format!("`{field}` is stated and cannot be unavailable too"),
                "take one of the two out",
            );
        }
        res.push(field);
    }
    res
}

/// Reads one of `words`; `None` after a complaint.
fn word<T: Copy>(
    text: &Spanned<String>,
    words: &[T],
    name: impl Fn(T) -> &'static str,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let found = words.iter().copied().find(|it| name(*it) == text.value);
    if found.is_none() {
        let names: Vec<_> = words.iter().map(|it| name(*it)).collect();
        let hint = format!("the words are {}", names.join(", "));
        let hint = suggest::hint(&text.value, names, hint);
        let message = format!("`{}` means nothing here", text.value);
        findings.hint(Code::UnknownWord, yaml::span(text), message, hint);
    }
    found
}

fn impossible(text: &Spanned<String>, what: &str, hint: &str, findings: &mut Findings<'_>) {
    let message = format!("`{}` is not a valid {what}", text.value);
    findings.hint(Code::ImpossibleCase, yaml::span(text), message, hint);
}

fn attribute<T>(value: Option<T>, unavailable: bool) -> Attribute<T> {
    match value {
        Some(it) => Attribute::Value(it),
        None if unavailable => Attribute::Unavailable,
        None => Attribute::Absent,
    }
}
