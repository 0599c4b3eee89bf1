//! docs/operations.md lists every metric, log field, error code and exit code, no others, and has
//! a section for every alert. `LYCHGATE_ACCEPT=1` writes the table of metrics anew.

use crate::house::config_docs::assert_current;
use crate::house::tidy::rust_files;

use lychgate::exchange::CODES;
use lychgate::metrics::{DEFINITIONS, Kind};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const DOCUMENT: &str = "docs/operations.md";
const METRICS_BEGIN: &str = "LYCHGATE_ACCEPT=1 cargo test --test it operations -->\n";
const ALERTS: &str = "helm/lychgate/rules/lychgate.yaml";
const METRICS_END: &str = "<!-- /metrics -->";

/// Fields of every line that no call names.
const OF_EVERY_LINE: &[&str] = &["level", "message", "target", "time"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|it| panic!("{}: {it}", path.display()))
}

/// The first column of the table under a heading of the document.
fn listed(heading: &str) -> BTreeSet<String> {
    let document = read(DOCUMENT);
    let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|it| it.strip_prefix("| "));
    let rows = rows.map(|it| it.split(" |").next().unwrap().trim_matches('`').to_owned());
    // Without the head of the table and the line below it.
    rows.skip(2).collect()
}

#[test]
fn every_metric_is_listed() {
    let mut table = "\n| metric | type | labels | what |\n| --- | --- | --- | --- |\n".to_owned();
    for it in DEFINITIONS {
        let kind = match it.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let labels: Vec<_> = it.labels.iter().map(|it| format!("`{it}`")).collect();
        table += &format!("| `{}` | {kind} | {} | {} |\n", it.name, labels.join(", "), it.help);
    }
    let document = read(DOCUMENT);
    let (before, rest) = document.split_once(METRICS_BEGIN).unwrap();
    let (_, after) = rest.split_once(METRICS_END).unwrap();
    assert_current(DOCUMENT, &format!("{before}{METRICS_BEGIN}{table}\n{METRICS_END}{after}"));
}

#[test]
fn every_error_code_is_listed() {
    let codes: BTreeSet<_> = CODES.iter().map(ToString::to_string).collect();
    assert_eq!(listed("Error codes"), codes);
}

#[test]
fn every_exit_code_is_listed() {
    let source = read("src/cli.rs");
    let codes =
        source.lines().filter_map(|it| it.trim().strip_prefix("Exit::")?.split_once(" => "));
    let codes: BTreeSet<_> =
        codes.filter_map(|(_, it)| it.strip_suffix(',')).map(str::to_owned).collect();
    let codes: BTreeSet<_> = codes.into_iter().filter(|it| it.parse::<u8>().is_ok()).collect();
    assert!(4 < codes.len(), "the codes were not found: {codes:?}");
    assert_eq!(listed("Exit codes"), codes);
}

#[test]
fn every_log_field_is_listed() {
    let mut fields: BTreeSet<_> = OF_EVERY_LINE.iter().map(|it| (*it).to_owned()).collect();
    let sources = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for path in sources.into_iter().filter(|it| !it.ends_with("tests.rs")) {
        let text = fs::read_to_string(path).unwrap();
        for call in text.split("tracing::").skip(1) {
            fields.extend(fields_of(call));
        }
    }
    assert!(30 < fields.len(), "the fields were not found: {fields:?}");
    assert_eq!(listed("Log"), fields);
}

/// The fields of a call such as `warn!(%path, error = 1, "text")`; none of anything else.
fn fields_of(call: &str) -> Vec<String> {
    let Some((name, arguments)) = call.split_once("!(") else { return Vec::new() };
    if !["$level", "debug", "error", "info", "info_span", "warn"].contains(&name) {
        return Vec::new();
    }
    let fields = arguments_of(arguments).into_iter().filter_map(|it| {
        let it = it.lines().filter(|it| !it.trim_start().starts_with("//")).collect::<String>();
        let it = it.trim().trim_start_matches(['%', '?']);
        if it.is_empty() || it.starts_with(['"', '{']) || it.starts_with("target:") {
            return None;
        }
        let name = it.split_once(" = ").map_or(it, |(name, _)| name);
        (!name.starts_with("parent:")).then(|| name.rsplit('.').next().unwrap().to_owned())
    });
    fields.collect()
}

/// What stands between the commas, up to the closing parenthesis.
fn arguments_of(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut quoted, mut escaped) =
        (vec![String::new()], 0, false, false);
    for it in text.chars() {
        match it {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => (),
            ')' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => (),
        }
        arguments.last_mut().unwrap().push(it);
    }
    arguments
}

#[test]
fn fields_are_found_in_calls() {
    let call =
        "warn!(target: \"x\", parent: None, a, %b, ?c.d,\n// why\n e = f(1, \"),\"), \"g\") \"h\")";
    let found = fields_of(call);
    assert_eq!(found, ["a", "b", "d", "e"]);
    assert_eq!(fields_of("Level::WARN"), [""; 0]);
}

/// A page that leads nowhere helps nobody at three in the morning.
#[test]
fn every_alert_has_its_runbook() {
    let document = read(DOCUMENT);
    let rules = read(ALERTS);
    let alerts = rules.lines().filter_map(|it| it.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = alerts.collect();
    assert!(10 < alerts.len(), "the alerts were not found: {alerts:?}");
    for alert in alerts {
        assert!(document.contains(&format!("\n### {alert}\n")), "{alert} has no section");
        let link = format!("runbook: {DOCUMENT}#{}", alert.to_lowercase());
        assert!(rules.lines().any(|it| it.trim() == link), "{alert} does not lead to its section");
    }
}
