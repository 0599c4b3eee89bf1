//! YAML as values with places: texts as they are written, none of its tricks (anchors, aliases, merge
//! keys, tags, a key twice), and every fault in our words.
//!
//! A file first becomes a tree, and each part of it is then read as the type that is asked for, so
//! that one part that is wrong hides nothing of the next. Small files are read at once, by [`read()`]
//! or, where a wrong line may hold a secret, by [`read_secret`].

mod fault;
mod read;

pub use self::fault::{Fault, Faults, What};

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned as Located};
use std::collections::HashSet;
use std::fmt;

/// How deep a file may be nested.
pub const DEPTH_MAX: usize = 32;

const EVENTS_MAX: usize = 4_000_000;

/// What a plain scalar is where a text is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// The text as written, whatever else it could be.
    AsWritten,
    /// A fault if YAML 1.2 reads something else: `true` and `1.10` need quotes.
    Quoted,
}

/// Where something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// Counted from 1; 0 for what is nowhere in the file.
    pub line: u64,
    /// In characters, counted from 1.
    pub column: u64,
}

/// A value and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a part of a file is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Node, Node)>),
    /// Nothing.
    Null,
    /// A scalar that YAML reads as a number or a truth value, as written.
    Plain(String),
    /// A text.
    Text(String),
}

/// The one value of a file; nothing if it is no YAML, or uses one of its tricks. What is wrong is added
/// to `faults`: the first such thing, and each key that a mapping has already, of which the first
/// one stands.
pub fn parse(text: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: DEPTH_MAX,
            max_documents: 1,
            max_events: EVENTS_MAX,
            max_nodes: EVENTS_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(mut root) => {
            root.complete(text, faults);
            Some(root)
        }
        Err(error) => {
            faults.push(Fault::of_syntax(&error));
            None
        }
    }
}

/// A file as what is asked for, its texts as they are written.
///
/// # Errors
/// What is wrong with it.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Faults> {
    let mut faults = Vec::new();
    let root = parse(text, &mut faults);
    let value = root.and_then(|it| it.read(Texts::AsWritten, &mut faults));
    faults.sort_by_key(|it| it.place.map(|it| it.start));
    value.filter(|_| faults.is_empty()).ok_or(Faults(faults))
}

/// The same of a file that holds secrets.
///
/// # Errors
/// What is wrong with it, without a word of the file.
pub fn read_secret<T: DeserializeOwned>(text: &str) -> Result<T, Faults> {
    read(text).map_err(|Faults(them)| Faults(them.into_iter().map(Fault::discreet).collect()))
}

impl Node {
    /// Takes plain scalars from the source, and keeps the first of equal keys; each further one is a
    /// fault.
    fn complete(&mut self, source: &str, faults: &mut Vec<Fault>) {
        match &mut self.kind {
            Kind::List(them) => them.iter_mut().for_each(|it| it.complete(source, faults)),
            Kind::Map(fields) => {
                let mut seen = HashSet::new();
                fields.retain_mut(|(key, it)| {
                    key.complete(source, faults);
                    it.complete(source, faults);
                    let again = key.text().filter(|name| !seen.insert((*name).to_owned()));
                    faults.extend(again.map(|name| Fault::twice(name).at(key.place)));
                    again.is_none()
                });
            }
            Kind::Plain(written) => {
                let place = self.place.start..self.place.end;
                source.get(place).unwrap_or_default().trim().clone_into(written);
            }
            Kind::Null | Kind::Text(_) => (),
        }
    }

    /// The part as what is asked for. What is wrong is added to `faults`: each field that there is
    /// not, and the first thing that leaves nothing to return.
    pub fn read<T: DeserializeOwned>(&self, texts: Texts, faults: &mut Vec<Fault>) -> Option<T> {
        read::read(self, texts, faults)
    }

    /// The value of a field of a mapping.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Kind::Map(fields) = &self.kind else {
            return None;
        };
        fields.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, it)| it)
    }

    /// A scalar as it is written.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(it) | Kind::Text(it) => Some(it),
            Kind::List(_) | Kind::Map(_) | Kind::Null => None,
        }
    }

    /// Where a reader looks: of a mapping the first key.
    #[must_use]
    pub fn head(&self) -> Place {
        match &self.kind {
            Kind::Map(fields) => fields.first().map_or(self.place, |(key, _)| key.place),
            _ => self.place,
        }
    }
}

impl From<Location> for Place {
    fn from(it: Location) -> Self {
        let number = |it: Option<u64>| it.and_then(|it| usize::try_from(it).ok());
        let start = number(it.span().byte_offset()).unwrap_or_default();
        let end = start + number(it.span().byte_len()).unwrap_or_default();
        Self { start, end, line: it.line(), column: it.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Located { value, referenced, .. } = Located::deserialize(deserializer)?;
        Ok(Self { place: Place::from(referenced), kind: value })
    }
}

/// Plain scalars are empty: their text is in the source.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Plain(String::new()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut res = Vec::new();
        while let Some(it) = list.next_element()? {
            res.push(it);
        }
        Ok(Kind::List(res))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut res = Vec::new();
        while let Some(it) = map.next_entry()? {
            res.push(it);
        }
        Ok(Kind::Map(res))
    }
}

#[cfg(test)]
mod tests;
