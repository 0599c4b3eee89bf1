//! Every link of the documentation leads somewhere: to a file that is there, to a heading in it.

use std::fs;
use std::path::{Path, PathBuf};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = ["README.md", "ARCHITECTURE.md", "SECURITY.md"]
        .iter()
        .chain(&["policies/README.md", "examples/policies/README.md"])
        .map(|it| root.join(it))
        .filter(|it| it.exists())
        .collect();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|it| it.unwrap().path());
    found.extend(docs.filter(|it| it.extension().is_some_and(|it| it == "md")));
    found.sort();
    found
}

/// The lines that are no code.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    let headings = headings.map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase());
    let slug = |heading: String| {
        let kept = heading.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let (mut count, mut wrong) = (0, Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in prose(&text) {
            let links = line.split("](").skip(1).filter_map(|it| it.split_once(')'));
            for (link, _) in links.filter(|(it, _)| !it.contains("://")) {
                count += 1;
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => document.clone(),
                    path => document.parent().unwrap().join(path),
                };
                let leads = match fs::read_to_string(&target) {
                    Ok(text) => anchor.is_empty() || anchors(&text).iter().any(|it| it == anchor),
                    Err(_) => anchor.is_empty() && target.exists(),
                };
                if !leads {
                    wrong.push(format!("{}:{}: {link}", document.display(), number + 1));
                }
            }
        }
    }
    assert!(100 < count, "the links were not found: {count}");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn anchors_are_those_of_headings() {
    let text = "# A b, `c[].d`!\n```\n# no\n```\n### 2. Was it?\n";
    assert_eq!(anchors(text), ["a-b-cd", "2-was-it"]);
}
