//! Compares policies with their setting: the time, and the configuration of the gate.

use super::lint::Condition;
use super::{Place, lint, statements};
use crate::policy::budget::Named;
use crate::policy::language::attachments::{self, Target};
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings, Span};
use crate::policy::language::document::{Choice, Statement};
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::operator::{Comparison, Order, Test};
use crate::policy::language::template::Part;
use crate::policy::language::{document, pattern, suggest, template, value};
use crate::policy::{Files, JobFact, Limits, Method, Per, budget};

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The setting that policies are compared with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Dates before it have passed.
    pub now: Timestamp,
    /// The words of `modelarts:poolType`.
    pub pool_types: Vec<String>,
    /// The gate, if its configuration is known.
    pub gate: Option<GateSetup>,
}

/// What the configuration of a gate has that policies can name.
#[derive(Clone, Debug, Default)]
pub struct GateSetup {
    /// The identity sources.
    pub sources: BTreeMap<String, SourceSetup>,
    /// The tags of callers; `None` if they are not known.
    pub tags: Option<BTreeSet<String>>,
    /// Project IDs, exact or with one `*` at the end.
    pub projects: Vec<String>,
    /// The regions of the upstreams.
    pub regions: BTreeSet<String>,
    /// Their accounts.
    pub accounts: BTreeSet<String>,
}

/// What is known of the callers of an identity source.
#[derive(Clone, Copy, Debug)]
pub struct SourceSetup {
    /// They may have groups.
    pub grouped: bool,
    /// How they sign in.
    pub method: Method,
}

impl GateSetup {
    /// Adds an identity source. `tags` are those of its callers; `None` if they are not known.
    pub fn source(
        &mut self,
        name: &str,
        grouped: bool,
        tags: Option<BTreeSet<String>>,
        method: Method,
    ) {
        let new = SourceSetup { grouped: false, method };
        self.sources.entry(name.to_owned()).or_insert(new).grouped |= grouped;
        self.tags = self.tags.take().zip(tags).map(|(mut all, more)| {
            all.extend(more);
            all
        });
    }

    fn sources(&self) -> Vec<&str> {
        self.sources.keys().map(String::as_str).collect()
    }
}

fn words(all: &BTreeSet<String>) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// Finds what the policies, attachments and budgets name although it has passed, or the gate does not
/// have it.
pub(in crate::policy) fn beside(files: &Files, setup: &Setup) -> Vec<Diagnostic> {
    let (limits, mut found) = (&Limits::default(), Vec::new());
    for (path, bytes) in files.iter() {
        let findings = &mut Findings { path, found: &mut found };
        let mut it = Beside { setup, findings, near_only: false };
        match Place::of(path) {
            Place::Attachments => {
                // Compiling has already reported what cannot be read.
                let mut ignored = Vec::new();
                let quiet = &mut Findings { path, found: &mut ignored };
                let entries = attachments::entries(bytes, limits, quiet);
                entries.iter().for_each(|entry| it.attachment(entry));
            }
            Place::Budgets => {
                budget::named(bytes).iter().for_each(|budget| it.budget(budget));
            }
            Place::Guardrail | Place::Identity(_) => {
                live(path, bytes, limits).iter().for_each(|statement| it.statement(statement));
            }
            Place::Suite | Place::Unknown => (),
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The live statements of a document, as far as they can be read.
fn live(path: &str, bytes: &[u8], limits: &Limits) -> Vec<Statement> {
    let mut ignored = Vec::new();
    let mut quiet = Findings { path, found: &mut ignored };
    let statements = document::read(bytes, limits, &mut quiet);
    let mut live = |it: &Statement| {
        let about = it.action.as_ref().map(|it| statements::actions(it, &mut quiet));
        about.is_none_or(|actions| actions.are_live(it.effect))
    };
    statements.into_iter().filter(|it| live(it)).collect()
}

/// Where what a directory names is compared with a setup.
pub(in crate::policy) struct Beside<'a, 'f> {
    pub(in crate::policy) setup: &'a Setup,
    pub(in crate::policy) findings: &'a mut Findings<'f>,
    /// Report only what is nearly a name that the gate has.
    pub(in crate::policy) near_only: bool,
}

impl Beside<'_, '_> {
    fn attachment(&mut self, entry: &attachments::Entry) {
        for text in &entry.to.value {
            let span = Span::new(text.place.start, text.place.end);
            match Target::parse(&text.value) {
                Ok(Target::Group(name)) => self.source(name, true, span),
                Ok(Target::User(name)) => self.source(name, false, span),
                Ok(Target::Source(name)) => self.source(&format!("{name}/"), false, span),
                Ok(Target::Any) | Err(_) => (),
            }
        }
        for text in entry.projects.iter().flat_map(|it| &it.value) {
            let parts = template::parse(&text.value, true).unwrap_or_default();
            self.project(&parts, &text.value, Span::new(text.place.start, text.place.end));
        }
    }

    fn budget(&mut self, budget: &Named) {
        match &budget.per {
            Some(Per::Group(name)) => self.source(name, true, budget.span),
            Some(Per::Tag(tag)) => self.tag(&Key::PrincipalTag(tag.clone()), budget.span),
            _ => (),
        }
        self.conditions(&budget.conditions, None);
    }

    /// Checks the source of a qualified name.
    fn source(&mut self, name: &str, is_group: bool, span: Span) {
        let Some(gate) = &self.setup.gate else { return };
        let source = name.split_once('/').map_or(name, |(it, _)| it);
        match gate.sources.get(source) {
            None => {
                let message = format!("the configuration has no identity source `{source}`");
                self.report(span, message, source, &gate.sources());
            }
            Some(it) if is_group && !it.grouped => {
                let message = format!("callers of `{source}` have no groups");
                let hint = "name the claim with the groups in the configuration: `claims.groups`";
                self.findings.hint(Code::NotConfigured, span, message, hint);
            }
            Some(_) => (),
        }
    }

    fn project(&mut self, parts: &[Part], written: &str, span: Span) {
        let Some(gate) = &self.setup.gate else { return };
        let served = gate.projects.iter().any(|it| match it.strip_suffix('*') {
            Some(prefix) => may_begin_with(parts, prefix),
            None => lint::is_met(Comparison::Match, parts, it),
        });
        if !served {
            let message = format!("no upstream of the configuration serves a project `{written}`");
            let all: Vec<_> = gate.projects.iter().map(String::as_str).collect();
            self.report(span, message, written, &all);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        self.conditions(&statement.conditions, statement.resource.as_ref());
        let Some(gate) = &self.setup.gate else { return };
        for text in statement.resource.iter().flat_map(|it| &it.values) {
            let parts: Vec<_> = text.value.splitn(5, ':').collect();
            if let [_, region, account, _, _] = parts.as_slice() {
                self.urn_part(region, "region", &gate.regions, text.span);
                self.urn_part(account, "account", &gate.accounts, text.span);
            }
        }
    }

    fn urn_part(&mut self, part: &str, what: &str, all: &BTreeSet<String>, span: Span) {
        let pieces = pattern::parse(part);
        // An empty part has a finding of its own.
        if !part.is_empty() && !all.iter().any(|it| pattern::matches(&pieces, it)) {
            let message = format!("no upstream of the configuration has the {what} `{part}`");
            self.report(span, message, part, &words(all));
        }
    }

    fn conditions(&mut self, raw: &[document::Condition], resource: Option<&Choice>) {
        lint::keys(raw, resource, |key, span| self.tag(key, span));
        for it in lint::conditions(raw) {
            self.condition(&it);
        }
    }

    fn condition(&mut self, it: &Condition<'_>) {
        match it.operator.test {
            Test::Date(order) if it.key == Key::CurrentTime => self.date(it, order),
            Test::Text(comparison) => {
                for text in &it.raw.values {
                    let parts = template::parse(&text.value, comparison == Comparison::Match);
                    let parts = parts.unwrap_or_default();
                    if !parts.iter().any(|it| matches!(it, Part::Variable(_))) {
                        self.value(&it.key, comparison, text, &parts);
                    }
                }
            }
            _ => (),
        }
    }

    fn date(&mut self, it: &Condition<'_>, order: Order) {
        let over = |text: &Text| {
            let date = value::date(&text.value);
            date.is_some_and(|it| it <= self.setup.now.as_duration())
        };
        let before = matches!(order, Order::LessThan | Order::LessThanEquals);
        if let Some(text) = it.raw.values.first()
            && before
            && it.raw.values.iter().all(over)
        {
            let message = format!("`{}` has passed: this never holds again", text.value);
            let hint = "remove the statement, or write the date that you mean";
            self.findings.hint(Code::PastDate, text.span, message, hint);
        }
    }

    /// A text that is compared with a key; `parts` are what is in it.
    fn value(&mut self, key: &Key, comparison: Comparison, text: &Text, parts: &[Part]) {
        // The words that the key can have here.
        let all: Vec<_> = match (key, &self.setup.gate) {
            (Key::Job(JobFact::PoolType), _) => {
                self.setup.pool_types.iter().map(String::as_str).collect()
            }
            (_, None) => return,
            (Key::AuthMethod, Some(gate)) => {
                gate.sources.values().map(|it| it.method.as_str()).collect()
            }
            (Key::DomainId | Key::PrincipalAccount, Some(gate)) => words(&gate.accounts),
            (Key::Issuer, Some(gate)) => gate.sources(),
            (Key::RequestedRegion, Some(gate)) => words(&gate.regions),
            (Key::Groups | Key::UserId, Some(gate)) => {
                return self.qualified(gate, key, comparison, (text, parts));
            }
            (Key::ProjectId, Some(_)) => {
                let starts = comparison == Comparison::StartWith;
                let open: Vec<_> =
                    parts.iter().cloned().chain(starts.then_some(Part::Star)).collect();
                if comparison != Comparison::EndWith {
                    self.project(&open, &text.value, text.span);
                }
                return;
            }
            _ => return,
        };
        if !all.iter().any(|it| lint::is_met(comparison, parts, it)) {
            let message = format!("`{key}` is never `{}` here", text.value);
            self.report(text.span, message, &text.value, &all);
        }
    }

    /// What a key holds, in full.
    pub(in crate::policy) fn holds(&mut self, key: &Key, value: &str, span: Span) {
        let text = Text { value: value.to_owned(), span };
        self.value(key, Comparison::Equals, &text, &[Part::Text(value.to_owned())]);
    }

    /// Checks a name that begins with a source.
    fn qualified(
        &mut self,
        gate: &GateSetup,
        key: &Key,
        comparison: Comparison,
        (text, parts): (&Text, &[Part]),
    ) {
        let head = match (comparison, parts.first()) {
            (Comparison::EndWith, _) => return,
            (_, Some(Part::Text(it))) => it.as_str(),
            _ => return,
        };
        if head.contains('/') {
            self.source(head, *key == Key::Groups, text.span);
        } else if comparison == Comparison::Match || comparison == Comparison::StartWith {
            let open = parts.len() > 1 || comparison == Comparison::StartWith;
            if open && !gate.sources.keys().any(|it| format!("{it}/").starts_with(head)) {
                let message = format!("the configuration has no identity source `{head}…`");
                self.report(text.span, message, head, &gate.sources());
            }
        }
    }

    /// A key that may be a tag of callers.
    pub(in crate::policy) fn tag(&mut self, key: &Key, span: Span) {
        let tags = self.setup.gate.as_ref().and_then(|it| it.tags.as_ref());
        if let (Key::PrincipalTag(tag), Some(tags)) = (key, tags)
            && !tags.contains(tag)
        {
            let message = format!("no identity source fills `{key}`");
            self.report(span, message, tag, &words(tags));
        }
    }

    /// Reports what is none of `all`.
    fn report(&mut self, span: Span, message: String, written: &str, all: &[&str]) {
        // Without a configuration the words are those that are usual.
        let code = match self.setup.gate {
            Some(_) => Code::NotConfigured,
            None => Code::UnlikelyValue,
        };
        let mut all = all.to_vec();
        all.sort_unstable();
        all.dedup();
        let hint = match suggest::nearest(written, all.iter().copied()) {
            Some(it) => format!("did you mean `{it}`?"),
            None if self.near_only => return,
            None if all.is_empty() => "there are none".to_owned(),
            None => format!("there are: {}", all.join(", ")),
        };
        self.findings.hint(code, span, message, hint);
    }
}

/// Whether some text that matches the pattern begins with `prefix`.
fn may_begin_with(parts: &[Part], prefix: &str) -> bool {
    let mut rest = prefix.chars();
    for part in parts {
        match part {
            Part::Star | Part::Variable(_) => return true,
            Part::Any => {
                if rest.next().is_none() {
                    return true;
                }
            }
            Part::Text(it) => {
                for literal in it.chars() {
                    match rest.next() {
                        None => return true,
                        Some(it) if it == literal => (),
                        Some(_) => return false,
                    }
                }
            }
        }
    }
    rest.as_str().is_empty()
}
