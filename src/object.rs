//! JSON objects that are objects. serde's derived readers also take a list for one, its elements for
//! the members in the order in which they are declared; no peer of the gate writes that, and where an
//! answer decides about a job, what is not as documented must not be read.

mod strict;

pub use self::strict::parse;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What `T` reads from an object, and from nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Inner {
        a: Option<u8>,
    }

    #[test]
    fn only_an_object_is_one() {
        let read = |it: &str| serde_json::from_str::<Object<Inner>>(it).map(|it| it.0.a);
        assert_eq!(read(r#"{"a":1,"b":2}"#).unwrap(), Some(1));
        assert_eq!(read("{}").unwrap(), None);
        for text in ["[1]", "[]", "null", "1", r#""a""#, r#"{"a":1,"a":1}"#, r#"{"a":1}x"#] {
            assert!(read(text).is_err(), "{text}");
            let derived = serde_json::from_str::<Inner>(text);
            assert_eq!(derived.is_ok(), text == "[1]", "why this module is there: {text}");
        }
    }
}
