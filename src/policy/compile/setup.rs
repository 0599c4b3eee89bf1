//! Compares policies with their setting: the time, and the configuration of the gate.

use super::lint::Condition;
use super::{ATTACHMENTS, Place, lint, statements};
use crate::policy::language::attachments::{self, Target};
use crate::policy::language::diagnostic::{Code, Diagnostic, Findings, Span};
use crate::policy::language::document::Statement;
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::operator::{Comparison, Order, Test};
use crate::policy::language::template::Part;
use crate::policy::language::{document, pattern, suggest, template, value};
use crate::policy::{Files, JobFact, Limits, Method};

use jiff::Timestamp;
use std::collections::BTreeSet;

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
    pub sources: BTreeSet<String>,
    /// Those of them whose callers have groups.
    pub grouped: BTreeSet<String>,
    /// The tags of callers; `None` if they are not known.
    pub tags: Option<BTreeSet<String>>,
    /// How callers can sign in, in the words of `lychgate:authMethod`.
    pub methods: BTreeSet<String>,
    /// Project IDs, exact or with one `*` at the end.
    pub projects: Vec<String>,
    /// The regions of the upstreams.
    pub regions: BTreeSet<String>,
    /// Their accounts.
    pub accounts: BTreeSet<String>,
}

impl GateSetup {
    /// Adds an identity source. `tags` are those of its callers; `None` if they are not known.
    pub fn source(
        &mut self,
        name: &str,
        has_groups: bool,
        tags: Option<BTreeSet<String>>,
        method: Method,
    ) {
        self.sources.insert(name.to_owned());
        if has_groups {
            self.grouped.insert(name.to_owned());
        }
        self.methods.insert(method.as_str().to_owned());
        self.tags = self.tags.take().zip(tags).map(|(mut all, more)| {
            all.extend(more);
            all
        });
    }
}

/// Finds what the policies name although it has passed, or the gate does not have it.
#[must_use]
pub fn beside(files: &Files, limits: &Limits, setup: &Setup) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (path, bytes) in files.iter() {
        // Compiling has already reported what cannot be read.
        let mut ignored = Vec::new();
        let mut quiet = Findings { path, found: &mut ignored };
        if let Place::Guardrail | Place::Identity(_) = Place::of(path) {
            let document = document::read(bytes, limits, &mut quiet);
            let live = |it: &&Statement| {
                it.action.as_ref().is_none_or(|choice| {
                    statements::actions(choice, &mut quiet).are_live(it.effect)
                })
            };
            let live: Vec<_> = document.statements.iter().filter(live).collect();
            let findings = &mut Findings { path, found: &mut found };
            live.into_iter().for_each(|it| Beside { setup, findings }.statement(it));
        } else if path == ATTACHMENTS {
            let entries = attachments::entries(bytes, limits, &mut quiet);
            let findings = &mut Findings { path, found: &mut found };
            entries.iter().for_each(|it| Beside { setup, findings }.attachment(it));
        }
    }
    found.sort();
    found.dedup();
    found
}

struct Beside<'a, 'f> {
    setup: &'a Setup,
    findings: &'a mut Findings<'f>,
}

impl Beside<'_, '_> {
    fn attachment(&mut self, entry: &attachments::Entry) {
        let Some(gate) = &self.setup.gate else {
            return;
        };
        for text in &entry.to.value {
            let span = Span::new(text.place.start, text.place.end);
            match Target::parse(&text.value) {
                Ok(Target::Group(name)) => self.source(gate, name, true, span),
                Ok(Target::User(name)) => self.source(gate, name, false, span),
                Ok(Target::Source(name)) => self.source(gate, &format!("{name}/"), false, span),
                Ok(Target::Any) | Err(_) => (),
            }
        }
        for text in entry.projects.iter().flat_map(|it| &it.value) {
            let parts = template::parse(&text.value, true).unwrap_or_default();
            let span = Span::new(text.place.start, text.place.end);
            self.project(gate, &parts, &text.value, span);
        }
    }

    /// Checks the source of a qualified name.
    fn source(&mut self, gate: &GateSetup, name: &str, is_group: bool, span: Span) {
        let source = name.split_once('/').map_or(name, |(it, _)| it);
        if !gate.sources.contains(source) {
            let message = format!("the configuration has no identity source `{source}`");
            self.report(span, message, source, &gate.sources);
        } else if is_group && !gate.grouped.contains(source) {
            let message = format!("callers of `{source}` have no groups");
            let hint = "name the claim with the groups in the configuration: `claims.groups`";
            self.findings.hint(Code::NotConfigured, span, message, hint);
        }
    }

    fn project(&mut self, gate: &GateSetup, parts: &[Part], written: &str, span: Span) {
        let served = gate.projects.iter().any(|it| match it.strip_suffix('*') {
            Some(prefix) => may_begin_with(parts, prefix),
            None => lint::is_met(Comparison::Match, parts, it),
        });
        if !served {
            let message = format!("no upstream of the configuration serves a project `{written}`");
            let all = gate.projects.iter().cloned().collect();
            self.report(span, message, written, &all);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        for it in lint::conditions(statement) {
            self.condition(&it);
        }
        let Some(gate) = &self.setup.gate else {
            return;
        };
        let values = statement.conditions.iter().flat_map(|it| &it.values);
        for text in values.chain(statement.resource.iter().flat_map(|it| &it.values)) {
            for part in template::parse(&text.value, false).unwrap_or_default() {
                if let Part::Variable(it) = part {
                    self.tag(gate, &it.key, text.span);
                }
            }
        }
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
            self.report(span, message, part, all);
        }
    }

    fn condition(&mut self, it: &Condition<'_>) {
        if let Some(gate) = &self.setup.gate {
            self.tag(gate, &it.key, it.raw.key.span);
        }
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

    fn value(&mut self, key: &Key, comparison: Comparison, text: &Text, parts: &[Part]) {
        if *key == Key::Job(JobFact::PoolType) {
            let all: BTreeSet<_> = self.setup.pool_types.iter().cloned().collect();
            let code = match self.setup.gate {
                Some(_) => Code::NotConfigured,
                None => Code::UnlikelyValue,
            };
            return self.word((code, key), comparison, (text, parts), &all);
        }
        let Some(gate) = &self.setup.gate else {
            return;
        };
        let all = match key {
            Key::AuthMethod => &gate.methods,
            Key::DomainId | Key::PrincipalAccount => &gate.accounts,
            Key::Issuer => &gate.sources,
            Key::RequestedRegion => &gate.regions,
            Key::Groups | Key::UserId => {
                return self.qualified(gate, key, comparison, (text, parts));
            }
            Key::ProjectId => {
                let starts = comparison == Comparison::StartWith;
                let open: Vec<_> =
                    parts.iter().cloned().chain(starts.then_some(Part::Star)).collect();
                if comparison != Comparison::EndWith {
                    self.project(gate, &open, &text.value, text.span);
                }
                return;
            }
            _ => return,
        };
        self.word((Code::NotConfigured, key), comparison, (text, parts), all);
    }

    /// Reports a value that is none of the words that the key can have here.
    fn word(
        &mut self,
        (code, key): (Code, &Key),
        comparison: Comparison,
        (text, parts): (&Text, &[Part]),
        all: &BTreeSet<String>,
    ) {
        if all.iter().any(|it| lint::is_met(comparison, parts, it)) {
            return;
        }
        let message = format!("`{key}` is never `{}` here", text.value);
        self.suggest((code, text.span), message, &text.value, all);
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
            self.source(gate, head, *key == Key::Groups, text.span);
        } else if comparison == Comparison::Match || comparison == Comparison::StartWith {
            let open = parts.len() > 1 || comparison == Comparison::StartWith;
            if open && !gate.sources.iter().any(|it| format!("{it}/").starts_with(head)) {
                let message = format!("the configuration has no identity source `{head}…`");
                self.report(text.span, message, head, &gate.sources);
            }
        }
    }

    fn tag(&mut self, gate: &GateSetup, key: &Key, span: Span) {
        if let (Key::PrincipalTag(tag), Some(tags)) = (key, &gate.tags)
            && !tags.contains(tag)
        {
            let message = format!("no identity source fills `{key}`");
            self.report(span, message, tag, tags);
        }
    }

    fn report(&mut self, span: Span, message: String, written: &str, all: &BTreeSet<String>) {
        self.suggest((Code::NotConfigured, span), message, written, all);
    }

    fn suggest(
        &mut self,
        (code, span): (Code, Span),
        message: String,
        written: &str,
        all: &BTreeSet<String>,
    ) {
        let words: Vec<_> = all.iter().map(String::as_str).collect();
        let hint = match suggest::nearest(written, words.iter().copied()) {
            Some(it) => format!("did you mean `{it}`?"),
            None if words.is_empty() => "there are none".to_owned(),
            None => format!("there are: {}", words.join(", ")),
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
