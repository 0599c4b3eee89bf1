//! What is wrong with a file, in words for whoever wrote it.

use super::{DEPTH_MAX, Place};
use crate::text::suggest;

use serde::de;
use serde::de::Unexpected;
use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;
use std::fmt;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub what: What,
    /// Where; `None` only while it is on its way to a place.
    pub place: Option<Place>,
    /// What is wrong, in one sentence without a full stop. It repeats no value of the file.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The field of this name is missing.
    Missing(&'static str),
    /// Anything else.
    Other,
    /// It is not YAML.
    Syntax,
    /// The mapping has the field already.
    Twice,
    /// There is no such field; the one that may have been meant.
    Unknown(Option<&'static str>),
    /// A word that is none of those that can be here, or a text without the quotes that it needs.
    Word,
}

/// All that is wrong with a file, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Fault {
    fn new(what: What, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { what, place: None, message: message.into(), hint: hint.map(str::to_owned) }
    }

    /// With this place, if it has none yet.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// A field that is none of `known`.
    #[must_use]
    pub fn unknown(name: &str, known: &'static [&'static str]) -> Self {
        let meant = suggest::nearest(name, known.iter().copied());
        let hint = match meant {
            Some(it) => format!("did you mean `{it}`?"),
            None => format!("the fields are {}", known.join(", ")),
        };
        let message = format!("there is no field `{name}` here");
        Self::new(What::Unknown(meant), message, Some(&hint))
    }

    /// A field that may be left out, without a value.
    pub(super) fn empty() -> Self {
        let hint = Some("write it, or leave the field out");
        Self::new(What::Other, "a value is needed here, and this is nothing", hint)
    }

    /// A field that its mapping has already.
    pub(super) fn twice(name: &str) -> Self {
        Self::new(What::Twice, format!("`{name}` is here twice"), Some("leave one of the two out"))
    }

    /// A plain scalar that is no text, where a text is asked for.
    pub(super) fn unquoted(written: &str) -> Self {
        let hint = format!("write it in quotes: `\"{written}\"`");
        Self::new(What::Word, "a text is needed here", Some(&hint))
    }

    /// The same without a word of the file, which may be a secret.
    #[must_use]
    pub(super) fn discreet(self) -> Self {
        let message = match self.what {
            What::Missing(_) | What::Other => return self,
            What::Syntax => "this is not YAML",
            What::Twice => "a field is here twice",
            What::Unknown(_) => "there is no such field here",
            What::Word => "this means nothing here",
        };
        // The hint for a word may repeat it.
        let hint = self.hint.filter(|_| self.what != What::Word);
        Self { message: message.to_owned(), hint, ..self }
    }

    pub(super) fn of_syntax(error: &Error) -> Self {
        let tricks = Some("write out what it stands for");
        let (what, message, hint) = match error {
            Error::Budget { breach, .. } => {
                let (message, hint) = match breach {
                    BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } => {
                        ("anchors (`&`) and aliases (`*`) are not read".to_owned(), tricks)
                    }
                    BudgetBreach::Depth { .. } => {
                        (format!("nested more than {DEPTH_MAX} deep"), None)
                    }
                    BudgetBreach::Documents { .. } => {
                        ("a second document begins here".to_owned(), ONE_DOCUMENT)
                    }
                    _ => ("the file holds too much".to_owned(), None),
                };
                (What::Other, message, hint)
            }
            Error::MultipleDocuments { .. } => {
                (What::Other, "a second document begins here".to_owned(), ONE_DOCUMENT)
            }
            Error::UnknownAnchor { .. } | Error::AliasError { .. } => {
                (What::Other, "anchors (`&`) and aliases (`*`) are not read".to_owned(), tricks)
            }
            Error::MergeKeyNotAllowed { .. } | Error::MergeValueNotMapOrSeqOfMaps { .. } => {
                (What::Other, "merge keys (`<<`) are not read".to_owned(), tricks)
            }
            Error::UnsupportedTag { .. } | Error::TaggedStructFieldName { .. } => {
                let message = "tags (`!`) are not read".to_owned();
                (What::Other, message, Some("put a text that begins with `!` into quotes"))
            }
            Error::Eof { .. } => (What::Other, "the file ends too early".to_owned(), None),
            Error::NonFiniteFloat { .. } => {
                let message = "a text is needed here, or a number that is finite".to_owned();
                (What::Other, message, Some("write a text in quotes"))
            }
            Error::ExternalMessage { msg, .. } => {
                (What::Syntax, format!("this is not YAML: {msg}"), SHAPE)
            }
            _ => (What::Syntax, "this is not YAML".to_owned(), SHAPE),
        };
        let place = error.location().map(Place::from).unwrap_or_default();
        Self::new(what, message, hint).at(place)
    }
}

const ONE_DOCUMENT: Option<&str> = Some("a file holds one document: take the `---` out");

const SHAPE: Option<&str> = Some(
    "look here and in the line above: every level is indented by blanks, a blank follows each \
     colon and dash, and quotes come in pairs",
);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { place, message, hint, .. }) in self.0.iter().enumerate() {
            let Place { line, column, .. } = place.unwrap_or_default();
            let before = if 0 < at { "; " } else { "" };
            write!(f, "{before}{line}:{column}: {message}")?;
            if let Some(hint) = hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other, message.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, needed: &dyn de::Expected) -> Self {
        let hint = match found {
            Unexpected::Str(_) if wanted(needed) == "a list" => Some("write it as a list: `[…]`"),
            Unexpected::Str(it) if it.parse::<f64>().is_ok() => Some("leave out the quotes"),
            _ => None,
        };
        let found = match found {
            Unexpected::Bool(it) => format!("`{it}`"),
            Unexpected::Float(_) | Unexpected::Signed(_) | Unexpected::Unsigned(_) => {
                "a number".to_owned()
            }
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Str(_) => "a text".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            _ => "something else".to_owned(),
        };
        let message = format!("{} is needed here, and this is {found}", wanted(needed));
        Self::new(What::Other, message, hint)
    }

    fn invalid_value(_: Unexpected<'_>, needed: &dyn de::Expected) -> Self {
        let most = if needed.to_string() == "u32" { " to 4294967295" } else { "" };
        Self::new(What::Other, format!("{}{most} is needed here", wanted(needed)), None)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let hint = match suggest::nearest(word, known.iter().copied()) {
            Some(it) => format!("did you mean `{it}`?"),
            None => format!("the words are {}", known.join(", ")),
        };
        Self::new(What::Word, format!("`{word}` means nothing here"), Some(&hint))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown(name, known)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(What::Missing(name), format!("`{name}` is missing"), None)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::twice(name)
    }
}

/// What a visitor asks for, without the words of Rust.
fn wanted(needed: &dyn de::Expected) -> String {
    let needed = needed.to_string();
    match needed.as_str() {
        "a string" | "a borrowed string" | "string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a map" => "a mapping".to_owned(),
        "f64" => "a number".to_owned(),
        "i64" => "a whole number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0".to_owned(),
        it if it.starts_with("struct ") => "a mapping".to_owned(),
        _ => needed,
    }
}
