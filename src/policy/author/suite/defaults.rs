//! Defaults: the fields of a case that does not state them itself.

use super::{BYTES_MAX, case, written};
use crate::policy::language::diagnostic::Findings;
use crate::policy::language::yaml;
use crate::policy::language::yaml::{Node, Texts};
use crate::yaml::{Kind, Place};

/// The parts of a case that can have defaults.
const PARTS: &[&str] = &["job", "principal", "request"];

/// The required fields of a case, so that defaults can be checked without one.
const SKELETON: &str = "{name: defaults, expect: deny, job: {}, principal: {source: a, name: a}, \
                        request: {project: a, job: a, region: a, time: 2026-01-15T12:00:00Z}}";

/// Fields of the parts of a case.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    parts: Vec<(Node, Node)>,
    /// They stand in another file than the cases: findings then point at the case.
    elsewhere: bool,
}

impl Defaults {
    /// Reads tests/defaults.yaml. If anything in it is wrong, that is reported and there are no
    /// defaults.
    pub(super) fn file(bytes: &[u8], findings: &mut Findings<'_>) -> Self {
        let before = findings.found.len();
        let Some(root) = yaml::parse(bytes, BYTES_MAX, findings) else {
            return Self::default();
        };
        let res = Self { elsewhere: true, ..Self::new(&root, findings) };
        if let Some(skeleton) = crate::yaml::parse(SKELETON, &mut Vec::new()) {
            let whole = Self { elsewhere: false, ..Self::of(&skeleton) };
            let node = whole.under(&Node { kind: Kind::Map(res.parts.clone()), ..skeleton });
            let written = yaml::read::<written::Case>(&node, Texts::Quoted, findings);
            let _ = written.and_then(|it| case::read(&it, findings));
        }
        match findings.found.len() == before {
            true => res,
            false => Self::default(),
        }
    }

    /// Reads the field `defaults` of a suite.
    pub(super) fn new(node: &Node, findings: &mut Findings<'_>) -> Self {
        match yaml::fields(node, PARTS, findings) {
            true => Self::of(node),
            false => Self::default(),
        }
    }

    fn of(node: &Node) -> Self {
        let parts = match &node.kind {
            Kind::Map(fields) => fields.clone(),
            _ => Vec::new(),
        };
        Self { parts, elsewhere: false }
    }

    /// The case with the defaults for what it does not state.
    pub(super) fn under(&self, case: &Node) -> Node {
        let Kind::Map(fields) = &case.kind else {
            return case.clone();
        };
        let mut fields = fields.clone();
        for (name, default) in &self.parts {
            let place = self.elsewhere.then(|| case.head());
            let (name, default) = (moved(name, place), moved(default, place));
            match fields.iter_mut().find(|(it, _)| it.text() == name.text()) {
                Some((_, stated)) => overlay(&default, stated),
                None => fields.push((name, default)),
            }
        }
        Node { kind: Kind::Map(fields), place: case.place }
    }
}

/// Adds to a part of a case the fields that it neither states nor lists as unavailable. A field
/// that is stated as nothing (`~`) is removed.
fn overlay(default: &Node, stated: &mut Node) {
    let (Kind::Map(default), Kind::Map(fields)) = (&default.kind, &mut stated.kind) else {
        return;
    };
    let unavailable = fields.iter().find(|(it, _)| it.text() == Some("unavailable"));
    let unavailable = match unavailable.map(|(_, it)| &it.kind) {
        Some(Kind::List(them)) => them.iter().filter_map(Node::text).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let is_unavailable = |name: &str| {
        let details = name != "tags" && unavailable.iter().any(|it| it == "details");
        details || unavailable.iter().any(|it| it == name)
    };
    for (name, value) in default {
        let text = name.text().unwrap_or_default();
        let stated = fields.iter().position(|(it, _)| it.text() == Some(text));
        match stated.and_then(|at| Some((at, &fields.get(at)?.1.kind))) {
            Some((at, Kind::Null)) => {
                fields.remove(at);
            }
            Some(_) => (),
            None if is_unavailable(text) => (),
            None => fields.push((name.clone(), value.clone())),
        }
    }
}

fn moved(node: &Node, place: Option<Place>) -> Node {
    let kind = match &node.kind {
        Kind::List(them) => Kind::List(them.iter().map(|it| moved(it, place)).collect()),
        Kind::Map(them) => {
            let pair = |(key, it): &(Node, Node)| (moved(key, place), moved(it, place));
            Kind::Map(them.iter().map(pair).collect())
        }
        it => it.clone(),
    };
    Node { kind, place: place.unwrap_or(node.place) }
}
