//! From the files of a directory to a [`Set`]: every finding at once.

pub(super) mod conditions;
mod lint;
mod setup;
mod statements;

pub(super) use self::setup::{Beside, beside};
pub use self::setup::{GateSetup, Setup, SourceSetup};

use self::lint::{Scope, Source};
use crate::policy::engine::set::Policy;
use crate::policy::language::attachments::{Attached, Attachments};
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::document::Effect;
use crate::policy::language::{attachments, document, suggest};
use crate::policy::{BUDGETS, Compiled, Diagnostic, Files, Limits, Set, Severity, budget};

use std::collections::BTreeMap;
use std::sync::Arc;

const ATTACHMENTS: &str = "attachments.yaml";

/// What a file of the directory is, by its path.
enum Place<'a> {
    Attachments,
    Budgets,
    Guardrail,
    /// The file stem.
    Identity(&'a str),
    /// A suite of tests, which is not enforced.
    Suite,
    Unknown,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let Some((directory, name)) = path.split_once('/') else {
            return match path {
                ATTACHMENTS => Self::Attachments,
                BUDGETS => Self::Budgets,
                _ => Self::Unknown,
            };
        };
        // In a statement's name everything after the first `#` is the Sid.
        let stem = |suffix| {
            let stem = name.strip_suffix(suffix)?;
            let odd = |it: char| it == '#' || it == '/' || it.is_control();
            (!stem.is_empty() && !stem.starts_with('.') && !stem.contains(odd)).then_some(stem)
        };
        match (directory, stem(".json"), stem(".yaml")) {
            ("guardrails", Some(_), _) => Self::Guardrail,
            ("identity", Some(stem), _) => Self::Identity(stem),
            ("tests", _, Some(_)) => Self::Suite,
            _ => Self::Unknown,
        }
    }
}

/// The name that a file without a place was probably meant to have.
fn meant(path: &str) -> Option<String> {
    let Some((directory, name)) = path.split_once('/') else {
        return suggest::nearest(path, [ATTACHMENTS, BUDGETS]).map(str::to_owned);
    };
    let directory = suggest::nearest(directory, ["guardrails", "identity", "tests"])?;
    let extension = if directory == "tests" { "yaml" } else { "json" };
    let res = match name.rsplit_once('.') {
        Some((stem, _)) => format!("{directory}/{stem}.{extension}"),
        None => format!("{directory}/{name}"),
    };
    let fits = name.is_empty() || !matches!(Place::of(&res), Place::Unknown);
    fits.then_some(res)
}

/// Whether the file is a suite of tests.
pub(super) fn is_suite(path: &str) -> bool {
    matches!(Place::of(path), Place::Suite)
}

impl Set {
    /// Compiles the files of a directory, all or nothing, with every finding at once.
    #[must_use]
    pub fn compile(files: &Files, limits: &Limits) -> Compiled {
        compile(files, limits)
    }
}

fn compile(files: &Files, limits: &Limits) -> Compiled {
    let mut found = Vec::new();
    if !counted(files, limits, &mut found) {
        return Compiled { files: files.clone(), set: None, diagnostics: found };
    }
    let mut sources = Vec::new();
    let mut guardrails = Policy::default();
    let mut has_ceiling = false;
    let mut identity = Vec::new();
    // Policies are numbered in the order of their paths; attachments name them by file stem.
    let mut numbers = BTreeMap::new();
    for (path, bytes) in files.iter() {
        let mut findings = Findings { path, found: &mut found };
        let document = path.strip_suffix(".json").unwrap_or(path);
        match Place::of(path) {
            Place::Attachments | Place::Budgets | Place::Suite => (),
            place @ (Place::Guardrail | Place::Identity(_)) => {
                let written = document::read(bytes, limits, &mut findings);
                let (policy, actions) = statements::compile(document, &written, &mut findings);
                let scope = if let Place::Identity(stem) = place {
                    let number = u32::try_from(identity.len()).unwrap_or(u32::MAX);
                    numbers.insert(stem, number);
                    identity.push(policy);
                    Scope::Identity(number)
                } else {
                    has_ceiling |= written.iter().any(|it| it.effect == Effect::Allow);
                    guardrails.denies.extend(policy.denies);
                    guardrails.allows.extend(policy.allows);
                    Scope::Guardrail
                };
                sources.push(Source { path, scope, written, actions });
            }
            Place::Unknown => findings.hint(
                Code::UnknownFile,
                Span::default(),
                "this file does not belong in a policy directory",
                match meant(path) {
                    Some(it) => format!("did you mean `{it}`?"),
                    None if path.contains('#') => {
                        "rename it without `#`, which begins the Sid in a statement's name"
                            .to_owned()
                    }
                    None => "it holds guardrails/*.json, identity/*.json, attachments.yaml, \
                             budgets.yaml, tests/*.yaml and README.md"
                        .to_owned(),
                },
            ),
        }
    }
    let mut attachments = Attachments::default();
    let mut attached = vec![Attached::Nowhere; identity.len()];
    if let Some(bytes) = files.get(ATTACHMENTS) {
        let mut findings = Findings { path: ATTACHMENTS, found: &mut found };
        let before = findings.found.len();
        attachments = attachments::read(bytes, &numbers, limits, &mut attached, &mut findings);
        // With errors it is not known what it attaches.
        let added = findings.found.get(before..).unwrap_or_default();
        if added.iter().any(|it| it.code == Code::InvalidYaml) {
            attached.iter_mut().for_each(|it| *it = Attached::Projects.max(*it));
        }
    }
    let mut findings = Findings { path: BUDGETS, found: &mut found };
    let budgets = match files.get(BUDGETS) {
        Some(bytes) => {
            lint::budgets(&budget::named(bytes), &mut findings);
            budget::read(bytes, limits, &mut findings)
        }
        None => budget::usual(limits, &mut Findings { path: "", ..findings }),
    };
    lint::check(&sources, &attached, &mut found);
    found.sort();
    found.dedup();
    let sound = found.iter().all(|it: &Diagnostic| it.severity() != Severity::Error);
    let set = sound.then(|| Set {
        files: files.clone(),
        digest: files.digest(),
        guardrails,
        has_ceiling,
        identity,
        attachments,
        budgets: Arc::new(budgets),
    });
    Compiled { files: files.clone(), set, diagnostics: found }
}

/// Whether the number of documents is within the limit and not 0; reports it otherwise.
fn counted(files: &Files, limits: &Limits, found: &mut Vec<Diagnostic>) -> bool {
    let is_document = |it: &str| matches!(Place::of(it), Place::Guardrail | Place::Identity(_));
    let documents = files.iter().filter(|(path, _)| is_document(path)).count();
    let mut findings = Findings { path: "", found };
    if documents == 0 {
        findings.hint(
            Code::NoPolicies,
            Span::default(),
            "the directory holds no policy",
            "put documents into guardrails/ and identity/",
        );
    }
    if limits.documents < documents {
        let message = format!("{documents} documents; the limit is {}", limits.documents);
        findings.add(Code::TooManyDocuments, Span::default(), message);
    }
    documents <= limits.documents
}
