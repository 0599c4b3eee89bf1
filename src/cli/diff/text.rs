//! A comparison for people, and for the comment of a change.

use super::{Difference, Report, Said};

use crate::policy::Shift;

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
            let _ = writeln!(res, "  {}", cause(it));
            let _ = writeln!(res, "    old: {}\n    new: {}", said(&it.old), said(&it.new));
            let _ = writeln!(res, "{}", indented(&it.case, "    "));
        }
    }
    for it in &report.besides {
        let _ = writeln!(res, "{it} differs; its effect is not compared\n");
    }
    for it in &report.undecided {
        let _ = writeln!(res, "undecided{}: {}\n", of(it.shift), it.reason);
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
                "<details><summary>{}</summary>\n\n- before: {}\n- after: {}\n\n```yaml\n{}```\n\n</details>",
                cause(it),
                said(&it.old),
                said(&it.new),
                it.case,
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
        let _ = writeln!(res, "- undecided{}: {}", of(it.shift), it.reason);
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

fn indented(text: &str, by: &str) -> String {
    let lines = text.lines().map(|it| format!("{by}{it}\n"));
    lines.collect()
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
