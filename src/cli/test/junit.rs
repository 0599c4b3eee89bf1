//! Results in JUnit's XML, as CI systems read it: one `testsuite` per file of tests/.

use super::{Outcome, Report};
use crate::text::escaped;

use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn render(report: &Report<'_>) -> String {
    let mut suites: BTreeMap<&str, Vec<&Outcome<'_>>> = BTreeMap::new();
    for it in &report.cases {
        suites.entry(it.position.file).or_default().push(it);
    }
    let mut res = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let (tests, failures) = (report.cases.len(), report.failed);
    // Writing into a String cannot fail.
    let _ = writeln!(res, "<testsuites tests=\"{tests}\" failures=\"{failures}\">");
    for (file, outcomes) in suites {
        let failures = outcomes.iter().filter(|it| !it.passed).count();
        let (file, tests) = (escape(&escaped(file)), outcomes.len());
        let head = format!("name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\"");
        let _ = writeln!(res, "  <testsuite {head}>");
        for it in outcomes {
            let (name, line) = (escape(&escaped(it.name)), it.position.line);
            let head =
                format!("classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\"");
            let _ = match it.passed {
                true => writeln!(res, "    <testcase {head}/>"),
                false => {
                    let text = escape(&it.difference());
                    let message = escape(&format!("got {}", it.got.text()));
                    let failure = format!("<failure message=\"{message}\">\n{text}</failure>");
                    writeln!(res, "    <testcase {head}>{failure}</testcase>")
                }
            };
        }
        res.push_str("  </testsuite>\n");
    }
    res.push_str("</testsuites>\n");
    res
}

/// Text for an attribute or an element. What XML 1.0 cannot hold becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut res = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => res.push_str("&amp;"),
            '<' => res.push_str("&lt;"),
            '>' => res.push_str("&gt;"),
            '"' => res.push_str("&quot;"),
            '\n' => res.push('\n'),
            '\t' | '\r' => {
                let _ = write!(res, "&#{};", u32::from(it));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => res.push('\u{fffd}'),
            _ => res.push(it),
        }
    }
    res
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a<b>&\"c\"\u{1b}\td"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}&#9;d");
    }
}
