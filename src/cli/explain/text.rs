//! An explanation for people: the answer, the way to an allow, then the tree of statements.

use super::{Check, Report, Statement};
use crate::cli::paint::Paint;
use crate::policy::{self, Actual, Counted, Way};
use crate::text::escaped;

use jiff::SignedDuration;
use std::fmt::Write;

pub(super) fn render(report: &Report<'_>, paint: Paint) -> String {
    let mut res = String::new();
    let Report { case, principal, project, job, .. } = report;
    // Writing into a String cannot fail.
    if let Some(case) = case {
        let _ = writeln!(res, "case {} ({})", escaped(case.name), case.position);
    }
    let [principal, job, project] = [*principal, *job, *project].map(escaped);
    let _ = writeln!(res, "{principal} deletes job {job} of project {project}\n");
    let _ = writeln!(res, "{}", paint.answer(report.answer, &answer(report)));
    if let Some(way) = report.way {
        res.push_str(&self::way(way, report.answer));
    }
    for it in report.budgets {
        let _ = writeln!(res, "counted by {}", budget(it));
    }
    for it in &report.statements {
        let _ = write!(res, "\n{}", statement(it, paint));
    }
    res
}

pub(super) fn statement(it: &Statement<'_>, paint: Paint) -> String {
    let matches = match it.matches {
        "yes" => "matches",
        "no" => "does not match",
        _ => "unknown",
    };
    let head = paint.head(&format!("{} {}", it.effect, escaped(it.name)));
    let mut res = format!("{head}: {matches}  ({})\n", it.position);
    for it in &it.checks {
        res.push_str(&format!("  {}\n", check(it, paint)));
    }
    res
}

fn answer(report: &Report<'_>) -> String {
    let place = report.place.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
    match (report.answer, report.by) {
        ("allow", Some(by)) => format!("allowed by {}{place}", escaped(by)),
        ("deny", Some("ceiling")) => {
            "denied: outside the guardrails, none of which allows it".into()
        }
        ("deny", Some("none")) => "denied: no attached policy allows it".into(),
        ("deny", Some(by)) => format!("denied by {}{place}", escaped(by)),
        (answer, _) => format!("{answer}: what is unavailable could change the answer"),
    }
}

fn way(way: &Way, answer: &str) -> String {
    match way {
        Way::Changes { changes } => {
            let told = changes.iter().map(|it| {
                let (from, to) = (held(&it.from), held(&it.to));
                format!("{} were {to} (now {from})", escaped(&it.key))
            });
            let told: Vec<_> = told.collect();
            let mut res = format!("allowed if {}\n", told.join("\n       and "));
            let lifts: Vec<_> =
                changes.iter().flat_map(|it| &it.lifts).map(|it| escaped(it)).collect();
            if !lifts.is_empty() {
                let lifts = lifts.join(", ");
                res.push_str(&format!(
                    "this bypasses the guardrails ({lifts}): nothing less would do\n"
                ));
            }
            res
        }
        Way::Far => {
            "allowed only if more than three keys were different; see what fails below\n".into()
        }
        Way::GivenUp => {
            "too many changes are possible to find one that allows it; see what fails below\n"
                .into()
        }
        Way::Never { decider } => match decider.as_str() {
            "ceiling" => "never allowed: the guardrails allow nothing of this kind\n".into(),
            "none" => "never allowed: no policy of this caller could allow it\n".into(),
            it if answer == "deny" => format!("never allowed: explicit deny {}\n", escaped(it)),
            it => format!("never allowed: {}\n", escaped(it)),
        },
    }
}

fn budget(it: &Counted) -> String {
    let Counted { name, key, deletes, within_seconds, spent } = it;
    let within = SignedDuration::from_secs(*within_seconds);
    let whose = policy::whose(key).map(|it| format!(" for `{}`", escaped(it))).unwrap_or_default();
    let spent = spent.map(|it| format!(", {it} spent")).unwrap_or_default();
    format!("budgets#{name}: {deletes} deletes within {within:#}{whose}{spent}")
}

fn check(it: &Check<'_>, paint: Paint) -> String {
    let holds = match it.holds {
        "yes" => paint.good("holds  "),
        "no" => paint.bad("fails  "),
        _ => paint.unsure("unknown"),
    };
    let expected = it.expected.iter().map(|it| match &it.filled {
        Some(filled) => format!("`{}` = `{}`", escaped(&it.written), escaped(filled)),
        None => format!("`{}`", escaped(&it.written)),
    });
    let expected: Vec<_> = expected.collect();
    let key = it.key.map(|it| format!(" {}", escaped(it))).unwrap_or_default();
    let (list, actual) = (expected.join(", "), held(it.actual));
    let several = match (it.several, it.holds) {
        (Some("all"), "no") => "; every one of them must meet it, `ForAnyValue:` asks for one",
        (Some("one"), "yes") => "; one of them is enough here, `ForAllValues:` asks for all",
        _ => "",
    };
    format!("{holds} {}{key}: expected {list}; actual {actual}{several}", it.operator)
}

fn held(it: &Actual) -> String {
    match it {
        Actual::Absent => "absent".to_owned(),
        Actual::Unavailable => "unavailable".to_owned(),
        Actual::Values(them) => {
            let them: Vec<_> = them.iter().map(|it| format!("`{}`", escaped(it))).collect();
            them.join(", ")
        }
    }
}
