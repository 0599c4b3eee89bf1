//! No two files lead to each other: a circle of files has to be read, and changed, as one.
//!
//! A room and what is in it are one thing, so a file may use what its parent declares. The check
//! follows `use` lines and re-exports, not every path in the text.

use crate::house::tidy::rust_files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each file as a path of modules, with what it uses.
type Files = BTreeMap<String, Vec<String>>;

#[test]
fn no_circles_of_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let texts = rust_files(&root).into_iter().filter(|it| !it.ends_with("tests.rs")).map(|path| {
        let name = path.strip_prefix(&root).unwrap().with_extension("");
        let name = name.to_str().unwrap().replace('/', "::");
        (name, fs::read_to_string(path).unwrap())
    });
    let found = circles(&texts.collect());
    assert!(found.is_empty(), "these files lead to each other:\n{}\n", found.join("\n"));
}

#[test]
fn circles_are_seen() {
    let files = |rows: &[(&str, &str)]| {
        rows.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    for (rows, expected) in [
        (vec![("a", "use crate::b::X;"), ("b", "use std::io;")], vec![]),
        (vec![("a", "use crate::b::X;"), ("b", "use crate::a::{\n    Y,\n};")], vec!["a b"]),
        (
            vec![
                ("a", "pub use self::c::Z;"),
                ("a::c", "use super::d::W;"),
                ("a::d", "use crate::a::Z;"),
            ],
            vec!["a::c a::d"],
        ),
        (vec![("a", "use self::c::Z;"), ("a::c", "use crate::a::Z;")], vec![]),
        (
            vec![("a", "use crate::b;"), ("b", "use crate::c;"), ("c", "use crate::a;")],
            vec!["a b c"],
        ),
    ] {
        assert_eq!(circles(&files(&rows)), expected, "{rows:?}");
    }
}

/// Groups of files that lead to each other, each as its names.
fn circles(texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut exports = BTreeMap::new();
    let mut uses = Files::new();
    for (file, text) in texts {
        for (is_public, path) in
            paths(file, text.split("#[cfg(test)]\nmod tests {").next().unwrap())
        {
            if is_public {
                let (_, name) = path.rsplit_once("::").unwrap_or(("", &path));
                exports.insert(format!("{file}::{name}"), path);
            } else {
                uses.entry(file.clone()).or_default().push(path);
            }
        }
    }
    let target = |path: &String| {
        let mut path = path.clone();
        while let Some(to) = exports.get(&path) {
            path.clone_from(to);
        }
        let mut file = &*path;
        while !texts.contains_key(file) {
            file = file.rsplit_once("::")?.0;
        }
        Some(file.to_owned())
    };
    let is_within = |one: &str, other: &str| {
        one.strip_prefix(other).is_some_and(|it| it.is_empty() || it.starts_with("::"))
    };
    let arrows: BTreeMap<_, BTreeSet<_>> = uses
        .iter()
        .map(|(from, paths)| {
            let to = paths.iter().filter_map(target);
            (from.clone(), to.filter(|to| !is_within(from, to) && !is_within(to, from)).collect())
        })
        .collect();
    let mut found = BTreeSet::new();
    for file in arrows.keys() {
        let reached = reach(file, &arrows);
        let back = |it: &&String| reach(it, &arrows).contains(file);
        let circle: BTreeSet<_> = reached.iter().filter(back).cloned().collect();
        if !circle.is_empty() {
            found.insert(circle.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
    found.into_iter().collect()
}

/// Everything that arrows lead to.
fn reach(from: &str, arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for to in arrows.get(file).into_iter().flatten() {
            if reached.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    reached
}

/// What `use` lines name, from the root of the crate, and whether they are re-exports.
fn paths(file: &str, text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let lines = text.split_inclusive('\n').scan(0, |at, it| {
        let start = *at;
        *at += it.len();
        Some(start)
    });
    for start in lines {
        let (head, rest) = match text[start..].split_once("use ") {
            Some((head, rest))
                if head.is_empty() || head.starts_with("pub") && !head.contains('\n') =>
            {
                (head, rest)
            }
            _ => continue,
        };
        let path = rest.split(';').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let (base, names) = path.split_once("::{").unwrap_or((&path, "self"));
        let mut base: Vec<&str> = base.split(" as ").next().unwrap().split("::").collect();
        let mut prefix: Vec<&str> = file.split("::").collect();
        match base.remove(0) {
            "crate" => prefix.clear(),
            "self" => (),
            "super" => drop(prefix.pop()),
            _ => continue,
        }
        while base.first() == Some(&"super") {
            base.remove(0);
            prefix.pop();
        }
        let base = [prefix, base].concat().join("::");
        for name in
            names.trim_end_matches('}').split(',').map(str::trim).filter(|it| !it.is_empty())
        {
            let name = name.split(" as ").next().unwrap();
            let path = if name == "self" { base.clone() } else { format!("{base}::{name}") };
            found.push((!head.is_empty(), path));
        }
    }
    found
}
