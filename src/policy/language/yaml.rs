//! YAML with positions: no anchors, aliases, merges or tags' tricks, no field twice, texts as they
//! are written.

use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::json;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::marker::PhantomData;

const DEPTH_MAX: usize = 32;
const EVENTS_MAX: usize = 4_000_000;

/// What a plain scalar is where a text is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Texts {
    /// The text as written, whatever else it could be.
    AsWritten,
    /// An error if YAML 1.2 reads something else: `true` and `1.10` need quotes.
    Quoted,
}

/// The one value of a file, or `None` after a complaint.
pub(in crate::policy) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    texts: Texts,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let text = json::text(bytes, bytes_max, findings)?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: DEPTH_MAX,
            max_documents: 1,
            max_events: EVENTS_MAX,
            max_nodes: EVENTS_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        no_schema: texts == Texts::Quoted,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(it) => Some(it),
        Err(error) => {
            let at = error.location().map_or_else(Span::default, bytes_of);
            let message = error.without_snippet().to_string();
            findings.add(Code::InvalidYaml, at, message.trim_end_matches('.'));
            None
        }
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

/// A field that may be left out but not left empty.
pub(in crate::policy) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Where a value stands.
pub(in crate::policy) fn span<T>(it: &Spanned<T>) -> Span {
    bytes_of(it.referenced)
}

fn bytes_of(location: Location) -> Span {
    let number = |it: Option<u64>| it.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    let start = number(location.span().byte_offset());
    Span::new(start, start + number(location.span().byte_len()))
}
