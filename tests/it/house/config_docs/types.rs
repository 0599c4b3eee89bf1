//! The types of the configuration file, read from their source.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, LitStr, Meta, PathArguments, Type};

/// The structs and enums by name.
pub(super) struct Types(BTreeMap<String, Definition>);

/// A struct or an enum.
pub(super) struct Definition {
    pub(super) doc: String,
    pub(super) form: Form,
}

pub(super) enum Form {
    /// A mapping with these keys and no others.
    Mapping(Vec<Field>),
    /// One of these words, each with its meaning.
    Words(Vec<(String, String)>),
    /// Any of these.
    Either(Vec<(Shape, String)>),
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// What can stand as a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Bool,
    Duration,
    List(Box<Self>),
    Map(Box<Self>),
    Named(String),
    Number,
    Path,
    Size,
    Text,
    /// A number that is not negative.
    Whole,
    /// One word.
    Word(String),
}

impl Types {
    pub(super) fn read() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
        let files = ["file.rs", "file/ledger.rs", "file/policies.rs"]
            .map(|it| syn::parse_file(&fs::read_to_string(directory.join(it)).unwrap()).unwrap());
        let definition = |item: &Item| match item {
            Item::Struct(it) => {
                let doc = doc(&it.attrs);
                let form =
                    Form::Mapping(fields(&it.fields, serde(&it.attrs).contains_key("default")));
                Some((it.ident.to_string(), Definition { doc, form }))
            }
            Item::Enum(it) => {
                let definition = Definition { doc: doc(&it.attrs), form: variants(it) };
                Some((it.ident.to_string(), definition))
            }
            _ => None,
        };
        Self(files.iter().flat_map(|it| &it.items).filter_map(definition).collect())
    }

    pub(super) fn get(&self, name: &str) -> &Definition {
        self.0.get(name).unwrap_or_else(|| panic!("no type `{name}` in src/config/file.rs"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Definition)> {
        self.0.iter()
    }
}

fn fields(fields: &Fields, all_default: bool) -> Vec<Field> {
    let fields = fields.iter().map(|it| {
        let (shape, optional) = shape(&it.ty);
        let serde = serde(&it.attrs);
        let name = it.ident.as_ref().unwrap().to_string();
        Field {
            name: serde.get("rename").unwrap_or(&name).trim_start_matches("r#").to_owned(),
            doc: doc(&it.attrs),
            required: !optional && !all_default && !serde.contains_key("default"),
            shape,
        }
    });
    fields.collect()
}

fn variants(written: &syn::ItemEnum) -> Form {
    let attributes = serde(&written.attrs);
    let word = |it: &syn::Variant| match serde(&it.attrs).get("rename") {
        Some(name) => name.clone(),
        None => match attributes.get("rename_all").map(String::as_str) {
            Some("lowercase") | None => it.ident.to_string().to_lowercase(),
            Some(other) => panic!("`{}` is renamed as {other}", it.ident),
        },
    };
    let documented = |it: &syn::Variant| {
        let doc = doc(&it.attrs);
        assert!(!doc.is_empty(), "`{}::{}` has no doc comment", written.ident, it.ident);
        doc
    };
    // Words and whole mappings side by side: an untagged enum, or one that reads itself.
    if written.variants.iter().all(|it| it.fields.is_empty()) {
        return Form::Words(written.variants.iter().map(|it| (word(it), documented(it))).collect());
    }
    let either = written.variants.iter().map(|it| {
        let shape = match it.fields.iter().next() {
            Some(field) => shape(&field.ty).0,
            None => Shape::Word(word(it)),
        };
        (shape, documented(it))
    });
    Form::Either(either.collect())
}

/// The shape of a type, and whether it may be left out.
fn shape(ty: &Type) -> (Shape, bool) {
    let Type::Path(path) = ty else { panic!("a type that is no path") };
    let last = path.path.segments.last().unwrap();
    let inner = |at: usize| match &last.arguments {
        PathArguments::AngleBracketed(it) => match it.args.iter().nth(at) {
            Some(GenericArgument::Type(it)) => shape(it).0,
            _ => panic!("`{}` with few arguments", last.ident),
        },
        _ => panic!("`{}` without arguments", last.ident),
    };
    let shape = match last.ident.to_string().as_str() {
        "Option" => return (inner(0), true),
        "Spanned" | "Box" => inner(0),
        "Vec" => Shape::List(Box::new(inner(0))),
        "BTreeMap" => Shape::Map(Box::new(inner(1))),
        "bool" => Shape::Bool,
        "f64" => Shape::Number,
        "u16" | "u32" | "u64" | "usize" => Shape::Whole,
        "PathBuf" => Shape::Path,
        "Size" => Shape::Size,
        "Span" => Shape::Duration,
        "String" => Shape::Text,
        name => Shape::Named(name.to_owned()),
    };
    (shape, false)
}

/// The doc comment as one paragraph.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|it| match &it.meta {
        Meta::NameValue(it) if it.path.is_ident("doc") => match &it.value {
            Expr::Lit(it) => match &it.lit {
                Lit::Str(it) => Some(it.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// What `#[serde(…)]` says; a word without a value has an empty one.
fn serde(attributes: &[Attribute]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for it in attributes.iter().filter(|it| it.path().is_ident("serde")) {
        let read = it.parse_nested_meta(|meta| {
            let value = match meta.value() {
                Ok(value) => value.parse::<LitStr>()?.value(),
                Err(_) => String::new(),
            };
            found.insert(meta.path.get_ident().unwrap().to_string(), value);
            Ok(())
        });
        read.unwrap();
    }
    found
}
