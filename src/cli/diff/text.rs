//! A comparison for people, and for the comment of a change.

use super::{Difference, Report, Said};
use crate::cli::replay::{cell, fenced};
use crate::policy::Shift;
use crate::text::escaped;

use std::fmt::Write;

/// What each kind of difference means, the gravest first.
const KINDS: &[(Shift, &str)] = &[
    (Shift::Gained, "newly allowed"),
    (Shift::GainedBlind, "allowed although something that mattered before is unavailable"),
    (Shift::Revoked, "no longer allowed"),
    (Shift::Stalled, "no longer decided while something is unavailable"),
    (Shift::Cleared, "denied although something that mattered before is unavailable"),
];

pub(super) fn human(report: &Report) -> String {
    let mut res = String::new();
    // Writing into a String cannot fail.
    for (title, them) in sections(report) {
        let _ = writeln!(res, "{title}\n");
        for it in them {
            let [old, new] = [&it.old, &it.new].map(said);
            let _ = writeln!(res, "  {}", escaped(&cause(it)));
            let _ = writeln!(res, "    old: {}\n    new: {}", escaped(&old), escaped(&new));
            for line in it.case.lines() {
                let _ = writeln!(res, "    {}", escaped(line));
            }
            res.push('\n');
        }
    }
    for it in &report.besides {
        let _ = writeln!(res, "{it} differs; its effect is not compared\n");
    }
    for it in &report.undecided {
        let _ = writeln!(res, "undecided{}: {}\n", of(it.shift), escaped(&it.reason));
    }
    let _ = writeln!(res, "{}", summary(report));
    res
}

pub(super) fn markdown(report: &Report) -> String {
    let mut res = format!("### Policy change: {}\n", summary(report));
    for (title, them) in sections(report) {
        let _ = writeln!(res, "\n**{title}**\n");
        for it in them {
            let _ = writeln!(
                res,
                "<details><summary>{}</summary>\n\n- before: {}\n- after: {}\n\n{}\n</details>",
                cell(&cause(it)),
                cell(&said(&it.old)),
                cell(&said(&it.new)),
                fenced(&it.case),
            );
        }
    }
    if !report.besides.is_empty() || !report.undecided.is_empty() {
        res.push('\n');
    }
    for it in &report.besides {
        let _ = writeln!(res, "- `{it}` differs; its effect is not compared");
    }
    for it in &report.undecided {
        let _ = writeln!(res, "- undecided{}: {}", of(it.shift), cell(&it.reason));
    }
    res
}

/// The differences by kind, with a title each.
fn sections(report: &Report) -> Vec<(String, Vec<&Difference>)> {
    let kinds = KINDS.iter().map(|(kind, meaning)| {
        let of_kind: Vec<_> = report.differences.iter().filter(|it| it.shift == *kind).collect();
        (format!("{}: {meaning}", kind.as_str()), of_kind)
    });
    let beyond = report.beyond.as_deref().unwrap_or_default().iter().collect();
    let all = kinds.chain([("beyond the envelope".to_owned(), beyond)]);
    all.filter(|(_, them)| !them.is_empty()).collect()
}

fn cause(it: &Difference) -> String {
    match (it.version, it.cause.as_str()) {
        ("old", "ceiling") => "what was outside the guardrails".to_owned(),
        ("old", "none") => "what nothing allowed".to_owned(),
        ("new", "ceiling") => "what is outside the guardrails now".to_owned(),
        ("new", "none") => "what nothing allows now".to_owned(),
        ("old", name) => format!("{name} decided it before"),
        (_, name) => format!("{name} decides it now"),
    }
}

fn said(it: &Said) -> String {
    let by = it.by.as_ref().map(|it| format!(" by {it}")).unwrap_or_default();
    let place = it.place.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{}{by}{place}", it.answer)
}

fn of(shift: Option<Shift>) -> String {
    shift.map(|it| format!(" ({})", it.as_str())).unwrap_or_default()
}

fn summary(report: &Report) -> String {
    let count = |kind: Shift| report.differences.iter().filter(|it| it.shift == kind).count();
    let mut res = match report.widens {
        Some(true) => "NEW ACCESS".to_owned(),
        Some(false) => "no new access".to_owned(),
        None => "UNDECIDED whether there is new access".to_owned(),
    };
    for (kind, _) in KINDS.iter().filter(|(kind, _)| 0 < count(*kind)) {
        let _ = write!(res, ", {} {}", count(*kind), kind.as_str());
    }
    if let Some(beyond) = &report.beyond {
        match beyond.len() {
            0 => res.push_str(", nothing beyond the envelope"),
            n => {
                let _ = write!(res, ", {n} beyond the envelope");
            }
        }
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Undecided;

    /// Names and values are the words of whoever wrote the policies.
    #[test]
    fn no_word_of_a_policy_passes_for_ours() {
        let word = "a\u{202e}\n```\n";
        let said = || Said { answer: "deny", by: Some(word.to_owned()), place: None };
        let report = Report {
            widens: Some(true),
            differences: vec![Difference {
                shift: Shift::Gained,
                cause: word.to_owned(),
                version: "new",
                old: said(),
                new: said(),
                case: format!("  - name: {word}"),
            }],
            beyond: None,
            undecided: vec![Undecided { shift: None, reason: word.to_owned() }],
            besides: Vec::new(),
        };
        let (human, markdown) = (human(&report), markdown(&report));
        assert!(!human.contains('\u{202e}') && !markdown.contains('\u{202e}'), "{human}{markdown}");
        assert!(markdown.contains("\n````yaml\n") && markdown.contains("\n````\n"), "{markdown}");
        assert_eq!(human.matches("\n```").count(), 0, "{human}");
    }
}
