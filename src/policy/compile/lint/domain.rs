//! Lints of values that a key cannot have: clock times and ages, names with and without their
//! source.

use crate::policy::JobFact;
use crate::policy::compile::lint::Condition;
use crate::policy::language::diagnostic::{Code, Findings};
use crate::policy::language::json::Text;
use crate::policy::language::key::{Key, Shown};
use crate::policy::language::operator::{Comparison, Operator, Order, Qualifier};
use crate::policy::language::template::Part;
use crate::policy::language::value::Decimal;

/// Ages below this many seconds were probably meant as days, hours or minutes.
const AGE_MIN: i64 = 600;

/// Ages above this many seconds, ten years, were probably meant as milliseconds.
const AGE_MAX: i64 = 10 * 365 * 86_400;

/// Reports a number that the key never has, that every value meets, or that is in another unit.
pub(super) fn number(it: &Condition<'_>, order: Order, findings: &mut Findings<'_>) {
    for text in &it.raw.values {
        let Some(number) = Decimal::parse(&text.value) else {
            continue;
        };
        let asked = Asked { condition: it, order, text, number };
        match (&it.key, it.key.shown()) {
            (Key::Job(JobFact::Age), _) => asked.age(findings),
            (_, Some((Shown::Day, _))) => {
                asked.among(1..=7, findings);
            }
            (_, Some((Shown::Time, _))) => asked.time(findings),
            _ => (),
        }
    }
}

/// One number that a key is compared with.
struct Asked<'a> {
    condition: &'a Condition<'a>,
    order: Order,
    text: &'a Text,
    number: Decimal<'a>,
}

impl Asked<'_> {
    fn time(&self, findings: &mut Findings<'_>) {
        let times = (0..24).flat_map(|hour| (0..60).map(move |it| hour * 100 + it));
        self.among(times, findings);
        if self.is_within(1, 24) {
            let message = format!("`{0}` is {0} minutes past midnight", self.text.value);
            let hint = format!("hours count a hundred: write `{}00`", self.text.value);
            findings.hint(Code::UnlikelyValue, self.text.span, message, hint);
        }
    }

    /// Compares the number with `all`, the values that the key can have.
    fn among(&self, all: impl Iterator<Item = i64>, findings: &mut Findings<'_>) {
        let hint = self.condition.key.unit().unwrap_or_default();
        let (mut some, mut every, mut listed) = (false, true, false);
        for value in all {
            let ordering = self.number.compare_integer(value);
            some |= self.order.holds(ordering);
            every &= self.order.holds(ordering);
            listed |= ordering.is_eq();
        }
        self.report(some, every, hint, findings);
        if some && !every && !listed {
            let message =
                format!("`{}` is not a value of `{}`", self.text.value, self.condition.key);
            findings.hint(Code::ImpossibleValue, self.text.span, message, hint);
        }
    }

    fn age(&self, findings: &mut Findings<'_>) {
        let (order, number) = (self.order, &self.number);
        // Zero stands for all ages below the number, the largest integer for all above.
        let (least, most) = (number.compare_integer(0), number.compare_integer(i64::MAX));
        let (some, every) = match order {
            Order::Equals => (least.is_le(), false),
            _ => (order.holds(least) || order.holds(most), order.holds(least) && order.holds(most)),
        };
        let hint = self.condition.key.unit().unwrap_or_default();
        self.report(some, every, hint, findings);
        if self.is_within(1, AGE_MIN - 1) {
            let age = &self.text.value;
            let message = format!("a job is `{age}` seconds old soon after it was created");
            let hint = "a day is `86400`, an hour `3600`";
            findings.hint(Code::UnlikelyValue, self.text.span, message, hint);
        }
        if self.number.compare_integer(AGE_MAX).is_lt() && some && !every {
            let message = format!("`{}` seconds are more than ten years", self.text.value);
            findings.hint(Code::UnlikelyValue, self.text.span, message, hint);
        }
    }

    /// Reports a comparison that no value of the key meets, or that every value meets.
    fn report(&self, some: bool, every: bool, hint: &str, findings: &mut Findings<'_>) {
        let compared = match self.order {
            Order::Equals => "",
            Order::GreaterThan => "greater than ",
            Order::GreaterThanEquals => "at least ",
            Order::LessThan => "less than ",
            Order::LessThanEquals => "at most ",
        };
        let (key, written) = (&self.condition.key, &self.text.value);
        if !some {
            let message = format!("no `{key}` is {compared}`{written}`");
            findings.hint(self.impossible(), self.text.span, message, hint);
        } else if every {
            let message = format!("every `{key}` is {compared}`{written}`");
            findings.hint(Code::AlwaysTrue, self.text.span, message, hint);
        }
    }

    /// The code for a number that no value meets: if it is all that the condition asks, the
    /// condition never holds.
    fn impossible(&self) -> Code {
        let Operator { negated, if_exists, qualifier, .. } = self.condition.operator;
        let alone = self.condition.raw.values.len() == 1 && qualifier != Some(Qualifier::All);
        match alone && !negated && !if_exists {
            true => Code::NeverMatches,
            false => Code::ImpossibleValue,
        }
    }

    fn is_within(&self, from: i64, to: i64) -> bool {
        self.number.compare_integer(from).is_le() && self.number.compare_integer(to).is_ge()
    }
}

/// Reports a name in a form that the key never has, or hardly ever.
pub(super) fn name(
    it: &Condition<'_>,
    comparison: Comparison,
    text: &Text,
    parts: &[Part],
    findings: &mut Findings<'_>,
) {
    let listed = match parts.first() {
        Some(Part::Text(it)) => it.as_str(),
        _ => "",
    };
    let whole = match comparison {
        Comparison::Equals | Comparison::EqualsIgnoreCase => true,
        Comparison::Match => matches!(parts, [Part::Text(_)]),
        Comparison::EndWith | Comparison::StartWith => false,
    };
    // The beginning of every value that meets the comparison.
    let head = if comparison == Comparison::EndWith { "" } else { listed };
    let (key, written) = (&it.key, &text.value);
    let (code, why, hint) = match key {
        Key::Groups | Key::UserId if whole && !listed.contains('/') => (
            Code::ImpossibleValue,
            "names are qualified by their identity source",
            format!("write `<source>/{listed}`"),
        ),
        Key::Issuer if head.contains([':', '/']) => (
            Code::ImpossibleValue,
            "it is the name of an identity source, not its URL",
            "write its `name` in the configuration, such as `corp`".to_owned(),
        ),
        Key::Job(JobFact::Owner) if is_qualified(head) => (
            Code::UnlikelyValue,
            "it is a name at Huawei Cloud, without a source",
            "compare it with a tag of the caller that holds that name".to_owned(),
        ),
        Key::PrincipalUrn if !(head.starts_with(URN) || URN.starts_with(head)) => (
            Code::ImpossibleValue,
            "it has another form",
            format!("it is `{URN}<account>:external-user:<source>/<name>`"),
        ),
        // A wildcard has a finding of its own.
        Key::ProjectId if whole && !is_project(listed) && !listed.contains(['*', '?']) => (
            Code::ImpossibleValue,
            "it is not a project ID",
            "a project ID has 1 to 64 letters, digits and hyphens".to_owned(),
        ),
        Key::RequestedRegion if whole && !is_part(listed) => (
            Code::ImpossibleValue,
            "it is not the ID of a region",
            "write the ID, such as `cn-north-4`".to_owned(),
        ),
        Key::DomainId | Key::PrincipalAccount if whole && !is_part(listed) => (
            Code::ImpossibleValue,
            "it is not an account ID",
            "write the ID of the account (domain ID), not its name".to_owned(),
        ),
        Key::UserName if is_qualified(head) => (
            Code::UnlikelyValue,
            "it is a name without its source",
            "leave the source out, or ask for `g:UserId`".to_owned(),
        ),
        Key::Job(JobFact::Workspace) if whole && listed.eq_ignore_ascii_case("default") => {
            (Code::UnlikelyValue, "it is an ID", "the default workspace is `0`".to_owned())
        }
        _ => return,
    };
    let seldom = if code == Code::UnlikelyValue { "hardly ever" } else { "never" };
    let message = format!("`{key}` is {seldom} `{written}`: {why}");
    findings.hint(code, text.span, message, hint);
}

/// How every URN of a caller begins.
const URN: &str = "sts::";

/// Whether the text looks like `<source>/…` and not like a URL.
fn is_qualified(text: &str) -> bool {
    let source = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    text.split_once('/').is_some_and(|(it, _)| !it.is_empty() && it.chars().all(source))
}

/// Whether the text may be a region or an account: a part of a resource's name.
fn is_part(text: &str) -> bool {
    let known = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'*' | b'?');
    !text.is_empty() && text.bytes().all(known)
}

fn is_project(text: &str) -> bool {
    let known = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}
