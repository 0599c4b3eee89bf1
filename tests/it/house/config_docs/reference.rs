//! The types of the configuration file → the reference for people and the schema for editors.

use super::types::{Definition, Field, Form, Shape, Types};

use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The type of the whole file.
const ROOT: &str = "File";

const HEAD: &str = "# Configuration

Made from src/config/file.rs; every setting, its default and what it means. [lychgate.example.yaml](../lychgate.example.yaml)
shows them all in one file, and `lychgate check --config FILE` says what is wrong with one, with line and column.

* Durations are written `300ms`, `2s`, `15m`, `1h`, `400d`; sizes `512B`, `64KiB`, `64MiB`, `1GiB`.
* Relative paths are relative to the file. Unknown keys and a key twice are errors, all of them told at once. Anchors, aliases, merge keys and tags (`!`) are not accepted.
* Of the environment, `LYCHGATE_LOG` (the log level) and some of OpenTelemetry's variables override the file:
  `OTEL_EXPORTER_OTLP_ENDPOINT` (`telemetry.otlp`), `OTEL_TRACES_SAMPLER` with `OTEL_TRACES_SAMPLER_ARG`
  (`telemetry.ratio`: `parentbased_always_on`, `parentbased_always_off`, `parentbased_traceidratio`),
  `OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none` (no traces; the ledger is shipped all the same).
  `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` (also for `TRACES` and `LOGS`) add
  to what is sent. Any other `OTEL_*` that is set is named at the start and by `check`: it has no effect.
* [lychgate.schema.json](lychgate.schema.json) is a JSON schema for editors; the first line of the file names it:
  `# yaml-language-server: $schema=./docs/lychgate.schema.json`
";

/// One setting, wherever it stands.
pub(super) struct Setting {
    /// Such as `upstreams[].credentials.file`.
    pub(super) path: String,
    /// The stated default, in YAML.
    pub(super) default: Option<String>,
}

/// Every setting with its path, in the order of the reference.
pub(super) fn settings(types: &Types) -> Vec<Setting> {
    let mut res = Vec::new();
    for (path, definition) in sections(types) {
        let Form::Mapping(fields) = &definition.form else { continue };
        for field in fields {
            let (_, default) = split(&field.doc);
            res.push(Setting {
                path: join(&path, &field.name),
                default: default.map(str::to_owned),
            });
        }
    }
    res
}

pub(super) fn markdown(types: &Types) -> String {
    let mut res = HEAD.to_owned();
    for (path, definition) in sections(types) {
        let Form::Mapping(fields) = &definition.form else { continue };
        match path.as_str() {
            "" => res.push_str("\n## The file\n"),
            path => writeln!(res, "\n## `{path}`").unwrap(),
        }
        if !definition.doc.is_empty() {
            writeln!(res, "\n{}", definition.doc).unwrap();
        }
        res.push_str("\n| setting | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for field in fields {
            let (meaning, default) = split(&field.doc);
            assert!(!meaning.is_empty(), "`{}` has no doc comment", join(&path, &field.name));
            let default = match (default, field.required) {
                (Some(default), _) => format!("`{default}`"),
                (None, true) => "required".to_owned(),
                (None, false) => String::new(),
            };
            let value = describe(types, &field.shape, &join(&path, &field.name));
            let path = join(&path, &field.name);
            let meaning = format!("{meaning}{}", words(types, &field.shape, &path));
            let row = format!("| `{}` | {value} | {default} | {meaning} |", field.name);
            writeln!(res, "{}", row.replace("|  |", "| |")).unwrap();
        }
    }
    res
}

/// The types of the mappings, each with the path at which it stands, depth first.
fn sections(types: &Types) -> Vec<(String, &Definition)> {
    let mut res = Vec::new();
    visit(types, ROOT, "", &mut res);
    res
}

fn visit<'a>(types: &'a Types, name: &str, path: &str, res: &mut Vec<(String, &'a Definition)>) {
    let definition = types.get(name);
    match &definition.form {
        Form::Mapping(fields) => {
            res.push((path.to_owned(), definition));
            for Field { name, shape, .. } in fields {
                visit_shape(types, shape, join(path, name), res);
            }
        }
        Form::Either(shapes) => {
            for (shape, _) in shapes {
                visit_shape(types, shape, path.to_owned(), res);
            }
        }
        Form::Words(_) => (),
    }
}

fn visit_shape<'a>(
    types: &'a Types,
    shape: &Shape,
    path: String,
    res: &mut Vec<(String, &'a Definition)>,
) {
    match shape {
        Shape::Named(name) => visit(types, name, &path, res),
        Shape::List(item) => visit_shape(types, item, format!("{path}[]"), res),
        Shape::Map(item) => visit_shape(types, item, path, res),
        _ => (),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A doc comment without its default, and the default.
fn split(doc: &str) -> (&str, Option<&str>) {
    match doc.split_once("Default: `") {
        Some((meaning, default)) => {
            let default = default.strip_suffix("`.");
            (meaning.trim_end(), Some(default.expect("a comment ends in Default: `x`.")))
        }
        None => (doc, None),
    }
}

/// What can stand there, in the table.
fn describe(types: &Types, shape: &Shape, path: &str) -> String {
    match shape {
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Duration => "duration".to_owned(),
        Shape::List(item) => format!("list of {}", describe(types, item, &format!("{path}[]"))),
        Shape::Map(item) => format!("names to {}", describe(types, item, path)),
        Shape::Number => "number".to_owned(),
        Shape::Path => "path".to_owned(),
        Shape::Size => "size".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Whole => "whole number".to_owned(),
        Shape::Word(word) => format!("`{word}`"),
        Shape::Named(name) => match &types.get(name).form {
            Form::Mapping(_) => format!("[`{path}`](#{})", anchor(path)),
            Form::Words(words) => {
                words.iter().map(|(it, _)| format!("`{it}`")).collect::<Vec<_>>().join(" or ")
            }
            Form::Either(shapes) => {
                let shapes = shapes.iter().map(|(it, _)| describe(types, it, path));
                shapes.collect::<Vec<_>>().join(" or ")
            }
        },
    }
}

/// The meaning of each word, or of each way to write it, behind the meaning of the setting.
fn words(types: &Types, shape: &Shape, path: &str) -> String {
    let Shape::Named(name) = shape else { return String::new() };
    let meanings: Vec<_> = match &types.get(name).form {
        Form::Mapping(_) => return String::new(),
        Form::Words(words) => words.iter().map(|(it, doc)| format!("`{it}`: {doc}")).collect(),
        Form::Either(shapes) => {
            shapes.iter().map(|(it, doc)| format!("{}: {doc}", describe(types, it, path))).collect()
        }
    };
    format!(" {}", meanings.join(" "))
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(path: &str) -> String {
    path.chars().filter(|it| it.is_alphanumeric() || matches!(it, '_' | '-')).collect()
}

pub(super) fn schema(types: &Types) -> Value {
    let mut res = object(types, ROOT);
    res["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    res["title"] = json!("The configuration file of Lychgate");
    let named = types.iter().filter(|(name, _)| *name != ROOT);
    let named = named.map(|(name, _)| (name.clone(), object(types, name)));
    res["$defs"] = Value::Object(named.collect());
    res
}

fn object(types: &Types, name: &str) -> Value {
    let Definition { doc, form } = types.get(name);
    let mut res = match form {
        Form::Mapping(fields) => {
            let properties: Map<_, _> = fields
                .iter()
                .map(|it| {
                    let mut value = value(&it.shape);
                    value["description"] = json!(it.doc);
                    (it.name.clone(), value)
                })
                .collect();
            let required: Vec<_> =
                fields.iter().filter(|it| it.required).map(|it| &it.name).collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
        Form::Words(words) => json!({"enum": words.iter().map(|(it, _)| it).collect::<Vec<_>>()}),
        Form::Either(shapes) => {
            json!({"anyOf": shapes.iter().map(|(it, _)| value(it)).collect::<Vec<_>>()})
        }
    };
    if !doc.is_empty() {
        res["description"] = json!(doc);
    }
    res
}

fn value(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Duration => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Shape::List(item) => json!({"type": "array", "items": value(item)}),
        Shape::Map(item) => json!({"type": "object", "additionalProperties": value(item)}),
        Shape::Named(name) => json!({"$ref": format!("#/$defs/{name}")}),
        Shape::Number => json!({"type": "number"}),
        Shape::Path | Shape::Text => json!({"type": "string"}),
        Shape::Size => json!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$"}),
        Shape::Whole => json!({"type": "integer", "minimum": 0}),
        Shape::Word(word) => json!({"const": word}),
    }
}
