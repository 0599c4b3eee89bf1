//! attachments.yaml: which identity policies are attached to whom.

use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::pattern::Piece;
use crate::policy::language::yaml::{Spanned, Texts};
use crate::policy::language::{pattern, suggest, yaml};
use crate::policy::{Limits, Query};
use crate::text::is_deceptive;
use crate::yaml::Kind;

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// To what extent an identity policy is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Attached {
    #[default]
    Nowhere,
    /// Only with `projects` that leave some out.
    Projects,
    Everywhere,
}

/// The longest project ID, in characters (ModelArts API reference, DeleteTrainingJob).
const PROJECT_ID_MAX: usize = 64;

/// Policies by whom they are attached to.
#[derive(Debug, Default)]
pub(in crate::policy) struct Attachments {
    any: Grants,
    groups: HashMap<String, Grants>,
    sources: HashMap<String, Grants>,
    users: HashMap<String, Grants>,
}

/// The numbers of the policies attached to one target.
#[derive(Debug, Default)]
struct Grants {
    everywhere: Vec<u32>,
    /// By project ID.
    exact: HashMap<String, Vec<u32>>,
    patterns: Vec<(Vec<Piece<'static>>, u32)>,
}

/// An entry as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Entry {
    pub(in crate::policy) to: Spanned<Vec<Spanned<String>>>,
    pub(in crate::policy) projects: Option<Spanned<Vec<Spanned<String>>>>,
    policies: Spanned<Vec<Spanned<String>>>,
}

impl Attachments {
    /// Calls `visit` with the number of each policy that is attached to the principal for the
    /// project, repeatedly if it is attached in several ways.
    pub(in crate::policy) fn each(&self, query: &Query, mut visit: impl FnMut(u32)) {
        let principal = &query.principal;
        let groups = principal.groups().iter().filter_map(|it| self.groups.get(it));
        let grants = [self.users.get(principal.id()), self.sources.get(principal.source())];
        for grants in grants.into_iter().flatten().chain(groups).chain([&self.any]) {
            grants.each(&query.job.project_id, &mut visit);
        }
    }

    /// The groups that something is attached to, qualified, in no order.
    pub(in crate::policy) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Every policy with each target that it is attached to, in order.
    pub(in crate::policy) fn grants(&self) -> Vec<Grant<'_>> {
        let any = [(Target::Any, &self.any)].into_iter();
        let all = any
            .chain(named(&self.groups, Target::Group))
            .chain(named(&self.sources, Target::Source))
            .chain(named(&self.users, Target::User));
        let mut res: Vec<_> = all.flat_map(|(to, grants)| grants.all(to)).collect();
        res.sort_by_key(|it| {
            let project = if let Projects::One(id) = it.projects { id } else { "" };
            (it.to, it.policy, project)
        });
        res
    }

    fn to(&mut self, target: &Target<'_>) -> &mut Grants {
        match target {
            Target::Any => &mut self.any,
            Target::Group(it) => self.groups.entry((*it).to_owned()).or_default(),
            Target::Source(it) => self.sources.entry((*it).to_owned()).or_default(),
            Target::User(it) => self.users.entry((*it).to_owned()).or_default(),
        }
    }
}

impl Grants {
    fn each(&self, project_id: &str, visit: &mut impl FnMut(u32)) {
        let exact = self.exact.get(project_id);
        let patterns = self.patterns.iter().filter(|(it, _)| pattern::matches(it, project_id));
        let numbers = self.everywhere.iter().chain(exact.into_iter().flatten());
        numbers.chain(patterns.map(|(_, number)| number)).copied().for_each(visit);
    }

    fn all<'a>(&'a self, to: Target<'a>) -> impl Iterator<Item = Grant<'a>> {
        let everywhere = self.everywhere.iter().map(|it| (Projects::All, *it));
        let exact = self.exact.iter();
        let exact = exact.flat_map(|(id, them)| them.iter().map(|it| (Projects::One(id), *it)));
        let like = self.patterns.iter().map(|(it, number)| (Projects::Like(it), *number));
        let all = everywhere.chain(exact).chain(like);
        all.map(move |(projects, policy)| Grant { to, projects, policy })
    }

    fn add(&mut self, projects: Option<&[String]>, policy: u32) {
        let Some(projects) = projects else {
            self.everywhere.push(policy);
            return;
        };
        for project in projects {
            match project.contains('*') {
                true => self.patterns.push((pattern::parse(project), policy)),
                false => self.exact.entry(project.clone()).or_default().push(policy),
            }
        }
    }
}

/// One policy, attached to one target.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Grant<'a> {
    pub(in crate::policy) to: Target<'a>,
    pub(in crate::policy) projects: Projects<'a>,
    pub(in crate::policy) policy: u32,
}

/// For which projects a policy is attached.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Projects<'a> {
    All,
    Like(&'a [Piece<'static>]),
    One(&'a str),
}

/// Targets of one kind.
fn named<'a>(
    them: &'a HashMap<String, Grants>,
    to: fn(&'a str) -> Target<'a>,
) -> impl Iterator<Item = (Target<'a>, &'a Grants)> {
    them.iter().map(move |(name, grants)| (to(name), grants))
}

/// Whom an entry names; names are qualified, such as `corp/alice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Target<'a> {
    Any,
    Group(&'a str),
    Source(&'a str),
    User(&'a str),
}

impl<'a> Target<'a> {
    /// Everything after the first colon is the name; it may hold anything but wildcards.
    pub(in crate::policy) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let Some((kind, name)) = text.split_once(':') else {
            return Err("write `user:<source>/<name>`, `group:<source>/<name>`, \
                        `source:<source>` or `any`");
        };
        if name.contains(['*', '?']) {
            return Err("wildcards are not allowed here; attach to a group, a source or `any`");
        }
        if name.trim() != name || name.contains(is_deceptive) {
            return Err("names have no spaces at their ends and no characters that are not seen");
        }
        let qualified = is_qualified(name);
        let unqualified = "the name needs its identity source: `<source>/<name>`";
        match kind {
            "user" if qualified => Ok(Self::User(name)),
            "group" if qualified => Ok(Self::Group(name)),
            "user" | "group" => Err(unqualified),
            "source" if name.is_empty() => Err("the name of the source is missing"),
            "source" if name.contains('/') => Err("the name of a source has no slash"),
            "source" => Ok(Self::Source(name)),
            _ => Err("the kinds of targets are `user:`, `group:`, `source:` and `any`"),
        }
    }
}

/// Whether a name is `<source>/<name>`.
pub(in crate::policy) fn is_qualified(name: &str) -> bool {
    name.split_once('/').is_some_and(|(source, name)| !source.is_empty() && !name.is_empty())
}

/// Reads attachments.yaml. `policies` are the numbers of the policies of identity/ by file stem;
/// `attached` is set, by number, to the extent to which each is attached.
pub(in crate::policy) fn read(
    bytes: &[u8],
    policies: &BTreeMap<&str, u32>,
    limits: &Limits,
    attached: &mut [Attached],
    findings: &mut Findings<'_>,
) -> Attachments {
    let mut res = Attachments::default();
    for entry in entries(bytes, limits, findings) {
        let projects = entry.projects.as_ref().map(|it| projects(it, findings));
        let numbers = numbers(&entry.policies, policies, findings);
        let all = |it: &String| !it.is_empty() && it.bytes().all(|it| it == b'*');
        let extent = match &projects {
            Some(them) if !them.iter().any(all) => Attached::Projects,
            _ => Attached::Everywhere,
        };
        for number in &numbers {
            if let Some(it) = attached.get_mut(*number as usize) {
                *it = extent.max(*it);
            }
        }
        not_empty(&entry.to, "to", findings);
        for text in &entry.to.value {
            match Target::parse(&text.value) {
                Ok(target) => {
                    let grants = res.to(&target);
                    numbers.iter().for_each(|it| grants.add(projects.as_deref(), *it));
                }
                Err(hint) => {
                    let message = format!("`{}` is not a target of an attachment", text.value);
                    findings.hint(Code::MalformedTarget, yaml::span(text), message, hint);
                }
            }
        }
    }
    res
}

/// The entries that can be read, as written.
pub(in crate::policy) fn entries(
    bytes: &[u8],
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Vec<Entry> {
    let Some(root) = yaml::parse(bytes, limits.attachments_bytes, findings) else {
        return Vec::new();
    };
    // A file without entries, or with comments only, attaches nothing.
    let nodes = match root.kind {
        Kind::Null => &[],
        _ => yaml::list(&root, "attachments.yaml", findings),
    };
    nodes.iter().filter_map(|it| yaml::read(it, Texts::AsWritten, findings)).collect()
}

fn numbers(
    names: &Spanned<Vec<Spanned<String>>>,
    policies: &BTreeMap<&str, u32>,
    findings: &mut Findings<'_>,
) -> Vec<u32> {
    not_empty(names, "policies", findings);
    let mut res = Vec::new();
    for name in &names.value {
        match policies.get(name.value.as_str()) {
            Some(number) => res.push(*number),
            None => {
                let message = format!("there is no identity/{}.json", name.value);
                let stem = name.value.trim_start_matches("identity/").trim_end_matches(".json");
                let hint = "name the policy by its file in identity/, without `.json`";
                let hint = suggest::hint(stem, policies.keys().copied(), hint);
                findings.hint(Code::UnknownPolicy, yaml::span(name), message, hint);
            }
        }
    }
    res
}

fn projects(patterns: &Spanned<Vec<Spanned<String>>>, findings: &mut Findings<'_>) -> Vec<String> {
    not_empty(patterns, "projects", findings);
    for pattern in &patterns.value {
        let text = pattern.value.as_str();
        let possible = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '*';
        let fixed = text.chars().filter(|it| *it != '*').count();
        if text.is_empty() || !text.chars().all(possible) || PROJECT_ID_MAX < fixed {
            findings.hint(
                Code::MalformedProject,
                yaml::span(pattern),
                format!("no project ID matches `{text}`"),
                format!(
                    "a project ID has 1 to {PROJECT_ID_MAX} letters, digits and hyphens; \
                         `*` stands for any of them"
                ),
            );
        }
    }
    patterns.value.iter().map(|it| it.value.clone()).collect()
}

fn not_empty(list: &Spanned<Vec<Spanned<String>>>, name: &str, findings: &mut Findings<'_>) {
    if list.value.is_empty() {
        let span: Span = yaml::span(list);
        findings.add(Code::Empty, span, format!("`{name}`: the list is empty"));
    }
}
