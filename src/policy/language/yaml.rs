//! Reads the YAML files of a policy directory; faults become findings.

pub(in crate::policy) use crate::yaml::{Node, Spanned, Texts};

use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::json;
use crate::yaml;
use crate::yaml::{Fault, Kind, Place};

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The one value of a file, or `None` after a complaint.
pub(in crate::policy) fn parse(
    bytes: &[u8],
    bytes_max: usize,
    findings: &mut Findings<'_>,
) -> Option<Node> {
    let text = json::text(bytes, bytes_max, findings)?;
    let mut faults = Vec::new();
    let root = yaml::parse(text, &mut faults);
    faults.into_iter().for_each(|it| report(it, findings));
    root
}

/// A part of a file as what is asked for, or `None` after a complaint.
pub(in crate::policy) fn read<T: DeserializeOwned>(
    node: &Node,
    texts: Texts,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let mut faults = Vec::new();
    let value = node.read(texts, &mut faults);
    faults.into_iter().for_each(|it| report(it, findings));
    value
}

/// The entries of a list; none after a complaint. `what` is what the list is called.
pub(in crate::policy) fn list<'n>(
    node: &'n Node,
    what: &str,
    findings: &mut Findings<'_>,
) -> &'n [Node] {
    match &node.kind {
        Kind::List(them) => them,
        _ => {
            let message = format!("{what} must be a list");
            let hint = "begin each entry with a dash and a space: `- `";
            findings.hint(Code::InvalidYaml, span_of(node.head()), message, hint);
            &[]
        }
    }
}

/// Whether the node is a mapping; reports if it is not, and fields that are none of `known`.
pub(in crate::policy) fn fields(
    node: &Node,
    known: &'static [&'static str],
    findings: &mut Findings<'_>,
) -> bool {
    let Kind::Map(fields) = &node.kind else {
        let message = "a mapping is needed here";
        let hint = format!("its fields are {}", known.join(", "));
        findings.hint(Code::InvalidYaml, span_of(node.head()), message, hint);
        return false;
    };
    for (key, _) in fields {
        let name = key.text().unwrap_or_default();
        if !known.contains(&name) {
            report(Fault::unknown(name, known).at(key.place), findings);
        }
    }
    true
}

fn report(fault: Fault, findings: &mut Findings<'_>) {
    let code = Code::InvalidYaml;
    let at = span_of(fault.place.unwrap_or_default());
    match fault.hint {
        Some(hint) => findings.hint(code, at, fault.message, hint),
        None => findings.add(code, at, fault.message),
    }
}

/// A map in the order of the file, with the places of its keys.
#[derive(Debug)]
pub(in crate::policy) struct Pairs<T>(pub(in crate::policy) Vec<(Spanned<String>, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
        let mut res = Vec::new();
        while let Some(it) = map.next_entry()? {
            res.push(it);
        }
        Ok(Pairs(res))
    }
}

/// Where a value stands.
pub(in crate::policy) fn span<T>(it: &Spanned<T>) -> Span {
    span_of(it.place)
}

/// A place as findings have it.
pub(in crate::policy) fn span_of(it: Place) -> Span {
    Span::new(it.start, it.end)
}
