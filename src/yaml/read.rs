//! A part of a file as a value of the type that is asked for.

use super::{Fault, Kind, Node, Place, Spanned, Texts, What};

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::{Deserialize, de};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

/// What [`Spanned`] calls itself, so that it is told its place.
const SPANNED: &str = "$lychgate::yaml::Spanned";

pub(super) fn read<T: DeserializeOwned>(
    node: &Node,
    texts: Texts,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let context = Context { texts, faults: RefCell::new(Vec::new()) };
    let result = T::deserialize(Reader { node, context: &context });
    let found = context.faults.into_inner();
    // A field in another spelling is not missing as well.
    let meant = |name| found.iter().any(|it| it.what == What::Unknown(Some(name)));
    let (value, last) = match result {
        Ok(value) => (Some(value), None),
        Err(fault) => match fault.what {
            What::Missing(name) if meant(name) => (None, None),
            _ => (None, Some(fault)),
        },
    };
    let whole = found.is_empty();
    faults.extend(found);
    faults.extend(last);
    value.filter(|_| whole)
}

struct Context {
    texts: Texts,
    /// What is wrong and stops nothing.
    faults: RefCell<Vec<Fault>>,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    context: &'a Context,
}

impl<'a> Reader<'a> {
    fn at(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.node.kind {
            Kind::List(them) => visitor.visit_seq(Elements { reader: self, rest: them.iter() }),
            Kind::Map(them) => visitor.visit_map(Fields::new(self, them, None)),
            Kind::Null => visitor.visit_unit(),
            Kind::Plain(written) => plain(written, visitor),
            Kind::Text(it) => visitor.visit_str(it),
        };
        result.map_err(|it| it.at(self.node.head()))
    }
}

/// A plain scalar as the number or truth value that it is.
fn plain<'de, V: Visitor<'de>>(written: &str, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(it) = written.to_ascii_lowercase().parse() {
        visitor.visit_bool(it)
    } else if let Ok(it) = written.parse() {
        visitor.visit_u64(it)
    } else if let Ok(it) = written.parse() {
        visitor.visit_i64(it)
    } else if let Ok(it) = written.parse() {
        visitor.visit_f64(it)
    } else {
        visitor.visit_str(written)
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match (&self.node.kind, self.context.texts) {
            (Kind::Plain(it), Texts::AsWritten) => visitor.visit_str(it),
            (Kind::Plain(it), Texts::Quoted) => Err(Fault::unquoted(it)),
            _ => return self.visit(visitor),
        };
        result.map_err(|it| it.at(self.node.head()))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.kind {
            // A setting without its value must not pass for one that nobody wrote.
            Kind::Null => Err(Fault::empty().at(self.node.head())),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match name {
            SPANNED => visitor.visit_seq(Placed { reader: self, is_told: false }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.kind {
            Kind::Map(fields) => visitor.visit_map(Fields::new(self, fields, Some(known))),
            // What serde derives would take a list for the fields in their order.
            _ => {
                let fault: Fault = de::Error::invalid_type(unexpected(self.node), &visitor);
                let hint = Some(format!("its fields are {}", known.join(", ")));
                Err(Fault { hint, ..fault })
            }
        };
        result.map_err(|it| it.at(self.node.head()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match self.node.text() {
            Some(word) => {
                let word: StrDeserializer<'_, Fault> = word.into_deserializer();
                visitor.visit_enum(word)
            }
            None => Err(de::Error::invalid_type(unexpected(self.node), &"a word")),
        };
        result.map_err(|it| it.at(self.node.head()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map
    }
}

fn unexpected(node: &Node) -> Unexpected<'_> {
    match &node.kind {
        Kind::List(_) => Unexpected::Seq,
        Kind::Map(_) => Unexpected::Map,
        Kind::Null => Unexpected::Unit,
        Kind::Plain(it) | Kind::Text(it) => Unexpected::Str(it),
    }
}

struct Elements<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.rest.next().map(|it| seed.deserialize(self.reader.at(it))).transpose()
    }
}

struct Fields<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, (Node, Node)>,
    /// Further fields are faults; `None` if there may be any.
    known: Option<&'static [&'static str]>,
    value: Option<&'a Node>,
}

impl<'a> Fields<'a> {
    fn new(
        reader: Reader<'a>,
        all: &'a [(Node, Node)],
        known: Option<&'static [&'static str]>,
    ) -> Self {
        Self { reader, rest: all.iter(), known, value: None }
    }

    /// The next field that there is.
    fn next(&mut self) -> Option<&'a (Node, Node)> {
        self.rest.find(|(key, _)| {
            let Some(known) = self.known else {
                return true;
            };
            let name = key.text().unwrap_or_default();
            let is_known = known.contains(&name);
            if !is_known {
                let fault = Fault::unknown(name, known).at(key.place);
                self.reader.context.faults.borrow_mut().push(fault);
            }
            is_known
        })
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(self.reader.at(key)).map(Some).map_err(|it| it.at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(it) => seed.deserialize(self.reader.at(it)).map_err(|fault| fault.at(it.head())),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// A place, and then the value.
struct Placed<'a> {
    reader: Reader<'a>,
    is_told: bool,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.is_told {
            return seed.deserialize(self.reader).map(Some);
        }
        self.is_told = true;
        let Place { start, end, line, column } = self.reader.node.place;
        let numbers = [start as u64, end as u64, line, column];
        seed.deserialize(SeqDeserializer::new(numbers.into_iter())).map(Some)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(PhantomData))
    }
}

struct SpannedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<T> {
    type Value = Spanned<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Spanned<T>, A::Error> {
        let (Some((start, end, line, column)), Some(value)) =
            (list.next_element()?, list.next_element()?)
        else {
            return Err(de::Error::custom("a place and its value are needed here"));
        };
        Ok(Spanned { value, place: Place { start, end, line, column } })
    }
}

impl<T> Spanned<T> {
    /// A value that is nowhere in a file.
    #[must_use]
    pub fn nowhere(value: T) -> Self {
        Self { value, place: Place::default() }
    }
}
