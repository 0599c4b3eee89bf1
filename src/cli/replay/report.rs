//! The result of a replay, or of the shadow policies in a ledger: as text, JSON and Markdown.

use crate::cli::audit::text::table;
use crate::cli::{Exit, Form, case};
use crate::policy::{Answer, Set, budget_of};
use crate::replay::{Acceptance, Class, Group, Said, Tally};
use crate::text::{escaped, escaped_json};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// What no ledger can show.
const BLIND: &str = "Not in any ledger: requests that were refused before the caller was known, \
and requests that nobody made because the policies forbade them. Run the candidate as shadow policies, \
and compare it with `lychgate diff`.";

/// What was found, as `--format json` prints it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report<'a> {
    /// The candidate's version; `None` for shadow policies, whose records name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a str>,
    #[serde(flatten)]
    tally: &'a Tally,
    differences: Vec<Difference<'a>>,
    /// Accepted differences that did not occur.
    not_occurred: Vec<Idle<'a>>,
    blind: &'static str,
}

#[derive(Debug, Serialize)]
struct Difference<'a> {
    class: Class,
    /// The deciding statement: the candidate's, or the one before where nobody decides.
    statement: &'a str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<&'a str>,
    first: Timestamp,
    last: Timestamp,
    principals: &'a BTreeMap<String, u64>,
    /// How many are of other principals.
    others: u64,
    was: Said<'a>,
    says: Said<'a>,
    /// The first of them, as a case of a suite that the candidate meets.
    case: String,
}

#[derive(Debug, Serialize)]
struct Idle<'a> {
    class: Class,
    statement: &'a str,
    reason: &'a str,
}

impl<'a> Difference<'a> {
    fn new(
        (class, statement): (Class, &'a str),
        group: &'a Group,
        candidate: Option<&Set>,
        acceptance: &'a Acceptance,
    ) -> Self {
        let example = &group.example;
        let (answer, by) = &example.says;
        let name = format!("{} by {statement}", class.as_str());
        let said = |(answer, by): &'a (Answer, Option<String>)| Said {
            answer: *answer,
            by: by.as_deref(),
        };
        let mut case =
            case::text(&name, &example.query, &example.attributes, *answer, by.as_deref());
        let budget = by.as_deref().and_then(budget_of).zip(candidate);
        let budget =
            budget.and_then(|(name, set)| set.budgets().iter().find(|it| **it.name() == *name));
        if let Some(it) = budget {
            // A case knows nothing of other deletes but what it says.
            let _ = writeln!(case, "    spent: {}", json!({ &**it.name(): it.share() }));
        }
        Self {
            class,
            statement,
            count: group.count,
            accepted: acceptance.reason(class, statement),
            first: group.first,
            last: group.last,
            principals: &group.principals,
            others: group.others,
            was: said(&example.was),
            says: said(&example.says),
            case,
        }
    }
}

impl<'a> Report<'a> {
    pub(in crate::cli) fn new(
        candidate: Option<&'a Set>,
        tally: &'a Tally,
        acceptance: &'a Acceptance,
    ) -> Self {
        let differences = tally.groups.iter().map(|((class, statement), it)| {
            Difference::new((*class, statement), it, candidate, acceptance)
        });
        let idle = acceptance.idle(tally).map(|it| Idle {
            class: it.class,
            statement: &it.statement,
            reason: &it.reason,
        });
        Self {
            candidate: candidate.map(Set::digest),
            tally,
            differences: differences.collect(),
            not_occurred: idle.collect(),
            blind: BLIND,
        }
    }

    /// By the worst that was found: a drift, because then nothing here can be trusted; then more
    /// access; then what is not known.
    pub(in crate::cli) fn exit(&self) -> Exit {
        let open = || self.differences.iter().filter(|it| it.accepted.is_none());
        let any = |is: fn(Class) -> bool| open().any(|it| is(it.class));
        match () {
            () if any(|it| it == Class::Drift) => Exit::Disagrees,
            () if any(Class::widens) => Exit::Widens,
            () if any(Class::is_open) || self.tally.without_policies != 0 => Exit::CannotSay,
            // Without a single decision that has a shadow, nothing was compared.
            () if self.tally.decisions == self.tally.without_shadow => Exit::CannotSay,
            () if open().next().is_some() || !self.not_occurred.is_empty() => Exit::Differs,
            () => Exit::Ok,
        }
    }

    pub(in crate::cli) fn text(&self, form: Form) -> String {
        match form {
            Form::Human => self.human(),
            Form::Json => {
                let json = serde_json::to_string_pretty(self).unwrap_or_default();
                format!("{}\n", escaped_json(&json))
            }
            Form::Markdown => self.markdown(),
        }
    }

    /// Writes a suite for each class of differences that are not accepted; the candidate meets each
    /// case. Of a drift there is none, because nobody knows what the candidate should answer.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub(in crate::cli) fn write_cases(&self, directory: &Path) -> io::Result<()> {
        let mut suites = BTreeMap::<_, String>::new();
        let wanted = |it: &&Difference<'_>| it.accepted.is_none() && it.class != Class::Drift;
        for it in self.differences.iter().filter(wanted) {
            let suite = suites.entry(it.class).or_insert_with(|| "cases:\n".to_owned());
            suite.push_str(&it.case);
        }
        fs::create_dir_all(directory)?;
        for (class, suite) in suites {
            fs::write(directory.join(format!("replay-{}.yaml", class.as_str())), suite)?;
        }
        Ok(())
    }

    /// What was not judged, and how much of it.
    fn omitted(&self) -> Vec<String> {
        let Tally { without_policies, without_shadow, suppressed, unknown_kinds, .. } = self.tally;
        let lines = [
            (*without_policies, "decisions of a version whose text is not in the ledger"),
            (*without_shadow, "decisions made without shadow policies"),
            (*suppressed, "requests beyond their principal's rate, not recorded one by one"),
            (*unknown_kinds, "records of kinds that this program does not know"),
        ];
        let lines = lines.iter().filter(|(count, _)| *count != 0);
        lines.map(|(count, what)| format!("{count} {what}")).collect()
    }

    fn head(&self) -> String {
        let differ: u64 = self.differences.iter().map(|it| it.count).sum();
        let Tally { decisions, same, .. } = self.tally;
        format!("{decisions} decisions: {same} the same, {differ} different")
    }

    fn human(&self) -> String {
        // Writing into a String cannot fail.
        let mut res = self.head() + "\n";
        if !self.differences.is_empty() {
            let rows: Vec<_> = self.differences.iter().map(Difference::row).collect();
            let heads = ["CLASS", "BY", "COUNT", "FIRST", "LAST", "PRINCIPALS", "ACCEPTED"];
            let _ = write!(res, "\n{}", table(&heads, &rows));
        }
        for it in self.differences.iter().filter(|it| it.accepted.is_none()) {
            let _ = writeln!(
                res,
                "\n{} by {}: {}\n  {}; for example",
                it.class.as_str(),
                escaped(it.statement),
                it.class.meaning(),
                it.answers()
            );
            for line in it.case.lines() {
                let _ = writeln!(res, "  {}", escaped(line));
            }
        }
        for it in &self.not_occurred {
            let (class, statement) = (it.class.as_str(), escaped(it.statement));
            let _ = writeln!(res, "\naccepted, but did not occur: {class} by {statement}");
        }
        for it in self.omitted() {
            let _ = write!(res, "\nnot judged: {it}");
        }
        let _ = writeln!(res, "\n{BLIND}");
        res
    }

    fn markdown(&self) -> String {
        let mut res = format!("### Replay: {}\n", self.head());
        if !self.differences.is_empty() {
            res.push_str("\n| class | by | count | first | last | principals | accepted |\n");
            res.push_str("| --- | --- | --: | --- | --- | --- | --- |\n");
            for it in &self.differences {
                let cells: Vec<_> = it.row().iter().map(|it| cell(it)).collect();
                let _ = writeln!(res, "| {} |", cells.join(" | "));
            }
        }
        for it in self.differences.iter().filter(|it| it.accepted.is_none()) {
            let (class, statement) = (it.class, cell(it.statement));
            let _ = writeln!(
                res,
                "\n<details><summary>{} by {statement}: {}</summary>\n\n{}</details>",
                class.as_str(),
                class.meaning(),
                fenced(&it.case)
            );
        }
        for it in &self.not_occurred {
            let (class, statement) = (it.class.as_str(), cell(it.statement));
            let _ = writeln!(res, "\nAccepted, but did not occur: {class} by {statement}.");
        }
        for it in self.omitted() {
            let _ = writeln!(res, "\nNot judged: {it}.");
        }
        let _ = writeln!(res, "\n{BLIND}");
        res
    }
}

impl Difference<'_> {
    /// What its example was answered, and what the candidate answers.
    fn answers(&self) -> String {
        let [was, says] = [&self.was, &self.says].map(said);
        match self.class {
            Class::Drift => format!("was {says}, is {was} today"),
            Class::NeedsPast => format!("was {was}, may be {says}"),
            it if it.is_open() => format!("was {was}, the candidate's answer is unknown"),
            _ => format!("was {was}, would be {says}"),
        }
    }

    fn row(&self) -> Vec<String> {
        let mut principals: Vec<_> =
            self.principals.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if self.others != 0 {
            principals.push(format!("others {}", self.others));
        }
        vec![
            self.class.as_str().to_owned(),
            self.statement.to_owned(),
            self.count.to_string(),
            self.first.to_string(),
            self.last.to_string(),
            principals.join(", "),
            self.accepted.unwrap_or_default().to_owned(),
        ]
    }
}

fn said(it: &Said<'_>) -> String {
    let by = it.by.map(|it| format!(" by {}", escaped(it))).unwrap_or_default();
    format!("{}{by}", it.answer.as_str())
}

/// A text for a cell of a Markdown table: punctuation that Markdown or HTML could read as markup is
/// written as a character reference.
pub(in crate::cli) fn cell(text: &str) -> String {
    let mut res = String::with_capacity(text.len());
    for it in escaped(text).chars() {
        match it {
            '|' | '<' | '>' | '&' | '`' | '*' | '_' | '[' | ']' | '\\' | '!' | '#' | '~' | '@' => {
                let _ = write!(res, "&#{};", u32::from(it));
            }
            _ => res.push(it),
        }
    }
    res
}

/// A block of code with a fence that is longer than any in it.
pub(in crate::cli) fn fenced(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(escaped).collect();
    let text = lines.join("\n");
    let longest = text.split(|it| it != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}yaml\n{text}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No answer is shown that nobody gave.
    #[test]
    fn what_a_difference_says_depends_on_its_class() {
        for (class, expected) in [
            (Class::Gained, "was deny by a, would be allow by b"),
            (Class::NeedsPast, "was deny by a, may be allow by b"),
            (Class::NeedsTags, "was deny by a, the candidate's answer is unknown"),
            (Class::NotLoaded, "was deny by a, the candidate's answer is unknown"),
            (Class::Drift, "was allow by b, is deny by a today"),
        ] {
            let it = Difference {
                class,
                statement: "b",
                count: 1,
                accepted: None,
                first: Timestamp::UNIX_EPOCH,
                last: Timestamp::UNIX_EPOCH,
                principals: &BTreeMap::new(),
                others: 0,
                was: Said { answer: Answer::Deny, by: Some("a") },
                says: Said { answer: Answer::Allow, by: Some("b") },
                case: String::new(),
            };
            assert_eq!(it.answers(), expected);
        }
    }

    /// What was not judged is never "nothing differs".
    #[test]
    fn a_count_alone_decides_how_it_ends() {
        let tally = |decisions, same, without_policies, without_shadow| Tally {
            decisions,
            same,
            without_policies,
            without_shadow,
            ..Tally::default()
        };
        for (tally, exit, line) in [
            (tally(5, 5, 0, 0), Exit::Ok, None),
            (tally(0, 0, 0, 0), Exit::CannotSay, None),
            (tally(5, 2, 3, 0), Exit::CannotSay, Some("3 decisions of a version whose text")),
            (tally(5, 2, 0, 3), Exit::Ok, Some("3 decisions made without shadow policies")),
            (tally(5, 0, 0, 5), Exit::CannotSay, Some("5 decisions made without shadow policies")),
        ] {
            let acceptance = Acceptance::default();
            let report = Report::new(None, &tally, &acceptance);
            assert_eq!(report.exit(), exit, "{tally:?}");
            for form in [Form::Human, Form::Markdown] {
                let text = report.text(form);
                assert_eq!(text.to_lowercase().contains("not judged"), line.is_some(), "{text}");
                assert!(line.is_none_or(|it| text.contains(it)), "{text}");
            }
        }
    }
}
