//! Rules about the code itself that neither rustfmt nor clippy can express.
//!
//! The check is lexical: it reads lines, not syntax. It keeps honest people honest.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that know no other and that everyone above the pure core may use.
const LEAVES: &[&str] =
    &["client", "clock", "metrics", "mounted", "object", "secret", "text", "trouble", "yaml"];

/// Every module and what it may import besides itself; [`LEAF`] stands for all of [`LEAVES`].
const LAYERS: &[(&str, &[&str])] = &[
    ("client", &["mounted"]),
    ("clock", &[]),
    ("metrics", &[]),
    ("mounted", &[]),
    ("object", &[]),
    ("secret", &[]),
    ("text", &[]),
    ("trouble", &[]),
    ("yaml", &["text"]),
    ("policy", &["text", "yaml"]),
    ("route", &["object", "policy"]),
    ("sign", &["secret"]),
    ("attributes", &[LEAF, "ledger", "policy", "telemetry", "upstream"]),
    ("authn", &[LEAF, "policy", "sign"]),
    ("credentials", &[LEAF, "sign"]),
    ("budget", &[LEAF, "policy"]),
    ("ledger", &[LEAF, "budget", "policy"]),
    ("reconcile", &["ledger", "object", "policy", "text"]),
    ("reload", &[LEAF, "policy"]),
    ("replay", &["budget", "ledger", "policy", "yaml"]),
    ("telemetry", &[LEAF, "policy"]),
    ("upstream", &[LEAF, "ledger", "policy", "sign", "telemetry"]),
    ("exchange", &[LEAF, "authn", "budget", "policy", "route", "telemetry", "upstream"]),
    (
        "gateway",
        &[
            LEAF,
            "attributes",
            "authn",
            "budget",
            "exchange",
            "ledger",
            "policy",
            "reload",
            "replay",
            "sign",
            "telemetry",
            "upstream",
        ],
    ),
    ("forward", &[LEAF, "authn", "exchange", "policy", "telemetry", "upstream"]),
    ("server", &[LEAF, "authn", "exchange", "policy", "route"]),
    // It stands for the cloud and must not agree with the gate by sharing its code.
    ("emulator", &["clock"]),
];

const LEAF: &str = "a leaf";

/// The floors above, from the top: each may import all modules that are not above itself.
const TOP: &[&str] = &["main", "lib", "cli", "app", "config"];

/// Modules that are functions of their arguments.
const PURE: &[&str] = &["policy", "route", "sign"];

/// Words that would make a function more than that.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "tracing",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "TcpStream",
    "UdpSocket",
    "::now()",
];

/// Words that promise work instead of doing it.
const LEFT_OVER: &[&str] = &["TODO", "FIXME", "XXX"];

/// The most lines of a source file without its tests.
const LINES_MAX: usize = 500;

#[test]
fn sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = rust_files(&root);
    assert!(!paths.is_empty());
    let complaints: Vec<_> = paths
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(path).unwrap();
            inspect(name, &text).into_iter().map(move |it| format!("src/{name}{it}"))
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_test_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for path in rust_files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} starts without `//!`", path.display());
    }
}

#[test]
fn tidy_sees_what_it_forbids() {
    let long = "//! Why.\n".to_owned() + &"\n".repeat(LINES_MAX);
    for (name, text, expected) in [
        ("route.rs", "//! Why.\nuse crate::policy::Query;\n", [].as_slice()),
        ("cli/serve.rs", "//! Why.\nuse crate::gateway::Gateway;\n", &[]),
        ("server/head.rs", "//! Why.\n// crate::cli is fine in a comment\n", &[]),
        ("server/head/tests.rs", "//! Why.\nuse crate::cli::Main;\n", &[]),
        ("route.rs", "//! Why.\n#[cfg(test)]\nmod tests {\n    use crate::cli::Main;\n}\n", &[]),
        ("policy.rs", "use x;\n", &[": starts without a `//!` that says what it is for"]),
        ("stray.rs", "//! Why.\n", &[": `stray` has no row in LAYERS"]),
        ("secret.rs", &long, &[": has more than 500 lines"]),
        ("app.rs", "//! Why.\nuse crate::cli::Exit;\n", &[":2: `app` may not import `cli`"]),
        ("config.rs", "//! Why.\nuse crate::app::App;\n", &[":2: `config` may not import `app`"]),
        ("sign.rs", "//! Why.\nuse crate::cli;\n", &[":2: `sign` may not import `cli`"]),
        (
            "policy/evaluate.rs",
            "//! Why.\nfn f() { crate::ledger::open() }\n",
            &[":2: `policy` may not import `ledger`"],
        ),
        (
            "authn.rs",
            "//! Why.\nuse crate::{policy, route};\n",
            &[":2: one `use` per module, so that layers can be searched for"],
        ),
        ("sign.rs", "//! Why.\nuse super::cli;\n", &[":2: `super` is the crate root here"]),
        (
            "sign/key.rs",
            "//! Why.\nuse super::super::cli;\n",
            &[":2: `super::super` hides where it leads"],
        ),
        (
            "policy/load.rs",
            "//! Why.\nasync fn f() { std::fs::read(x) }\n",
            &[":2: `policy` is pure: `async `", ":2: `policy` is pure: `std::fs`"],
        ),
        (
            "clock.rs",
            "//! Why.\nuse std::fs::File;\nuse std::fs::{read, write};\n",
            &[":3: a second `use` of `std::fs`: merge them"],
        ),
        ("clock.rs", "//! Why.\n// TODO: more\n", &[":2: do it or leave it: `TODO`"]),
    ] {
        assert_eq!(inspect(name, text), expected, "{name}");
    }
}

fn inspect(name: &str, text: &str) -> Vec<String> {
    let module = name.split(['/', '.']).next().unwrap();
    let is_test = name.ends_with("/tests.rs");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(": starts without a `//!` that says what it is for".to_owned());
    }
    if !TOP.contains(&module) && !LAYERS.iter().any(|(it, _)| *it == module) {
        complaints.push(format!(": `{module}` has no row in LAYERS"));
    }
    if LINES_MAX < text.lines().count() && !is_test {
        complaints.push(format!(": has more than {LINES_MAX} lines"));
    }
    let mut parents = HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let mut found = left_overs(line);
        found.extend(
            parent(line)
                .filter(|it| !parents.insert(*it))
                .map(|it| format!("a second `use` of `{it}`: merge them")),
        );
        if !line.trim_start().starts_with("//") && !is_test {
            found.extend(imports(module, name, line));
            found.extend(impurities(module, line));
        }
        complaints.extend(found.into_iter().map(|it| format!(":{}: {it}", index + 1)));
    }
    complaints
}

/// The parent of what a `use` at the top of a file imports; modules of the crate have a line each.
fn parent(line: &str) -> Option<&str> {
    let path = line.strip_prefix("use ")?.split(['{', ';']).next()?.trim_end_matches("::");
    let parent = if line.contains('{') { path } else { path.rsplit_once("::")?.0 };
    (parent != "crate" && !line.ends_with("*;")).then_some(parent)
}

fn left_overs(line: &str) -> Vec<String> {
    let found = LEFT_OVER.iter().filter(|it| line.contains(**it));
    found.map(|it| format!("do it or leave it: `{it}`")).collect()
}

fn imports(module: &str, name: &str, line: &str) -> Vec<String> {
    let mut found = Vec::new();
    if line.contains("use crate::{") {
        found.push("one `use` per module, so that layers can be searched for".to_owned());
    }
    if line.contains("super::super") {
        found.push("`super::super` hides where it leads".to_owned());
    } else if line.contains("super::") && !name.contains('/') {
        found.push("`super` is the crate root here".to_owned());
    }
    for (at, prefix) in line.match_indices("crate::") {
        let (_, rest) = line.split_at(at + prefix.len());
        let target = rest.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap();
        if !target.is_empty() && !may_import(module, target) {
            found.push(format!("`{module}` may not import `{target}`"));
        }
    }
    found
}

fn may_import(module: &str, target: &str) -> bool {
    let floor = |name: &str| TOP.iter().position(|it| *it == name);
    let Some((_, allowed)) = LAYERS.iter().find(|(it, _)| *it == module) else {
        return floor(target).is_none_or(|it| floor(module).is_some_and(|at| at <= it));
    };
    target == module
        || allowed.contains(&target)
        || allowed.contains(&LEAF) && LEAVES.contains(&target)
}

fn impurities(module: &str, line: &str) -> Vec<String> {
    let found = IMPURE.iter().filter(|it| PURE.contains(&module) && line.contains(**it));
    found.map(|it| format!("`{module}` is pure: `{it}`")).collect()
}

pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
