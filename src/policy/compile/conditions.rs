//! Conditions: operators, keys, values, variables.

use crate::policy::Sources;
use crate::policy::engine::condition::{Condition, Listed, Operand, Operands, Test};
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::document::Effect;
use crate::policy::language::json::Text;
use crate::policy::language::key::Key;
use crate::policy::language::kind::Kind;
use crate::policy::language::operator::{Comparison, Operator};
use crate::policy::language::template::Part;
use crate::policy::language::value::Decimal;
use crate::policy::language::{document, key, operator, template, value};

use std::collections::HashSet;

/// Compiles the conditions of a live statement; adds to `sources` what they name.
pub(in crate::policy) fn compile(
    raw: &[document::Condition],
    effect: Effect,
    sources: &mut Sources,
    findings: &mut Findings<'_>,
) -> Vec<Condition> {
    let mut seen = HashSet::new();
    let mut faulty = HashSet::new();
    let mut res = Vec::new();
    for condition in raw {
        let name = &condition.operator;
        if !seen.insert((name.value.as_str(), folded(&condition.key.value))) {
            let message = format!("`{}` is here twice under one operator", condition.key.value);
            findings.add(Code::DuplicateField, condition.key.span, message);
        }
        let operator = match Operator::parse(&name.value) {
            Ok(it) => Some(it),
            Err(meant) => {
                if faulty.insert(&name.value) {
                    let message = format!("there is no operator `{}`", name.value);
                    let hint = match meant {
                        _ if ["DateEquals", "DateNotEquals"]
                            .iter()
                            .any(|it| name.value.contains(it)) =>
                        {
                            "a moment is hardly ever met: write `DateGreaterThanEquals` and \
                             `DateLessThan`"
                                .to_owned()
                        }
                        Some(it) => format!("did you mean `{it}`?"),
                        None => "docs/policy-language.md lists the operators".to_owned(),
                    };
                    findings.hint(Code::UnknownOperator, name.span, message, hint);
                }
                None
            }
        };
        let key = key(&condition.key.value, condition.key.span, effect, findings);
        if let (Some(operator), Some(key)) = (operator, key) {
            let mut compiler = Compiler { effect, sources, findings };
            res.extend(compiler.condition(condition, operator, key));
        }
    }
    res
}

/// A key name without its letter case, which counts only in a tag key.
fn folded(name: &str) -> String {
    match name.split_once('/') {
        Some((head, tag)) => format!("{}/{tag}", head.to_ascii_lowercase()),
        None => name.to_ascii_lowercase(),
    }
}

fn key(name: &str, span: Span, effect: Effect, findings: &mut Findings<'_>) -> Option<Key> {
    if name.contains("${") {
        let message = "a key is taken as written: it has no variables";
        let hint = "name the tag's key, and put the variable into the value";
        findings.hint(Code::MalformedVariable, span, message, hint);
        return None;
    }
    match Key::parse(name) {
        Ok(Key::Unknowable(_)) if effect == Effect::Allow => {
            findings.hint(
                Code::UnknowableKey,
                span,
                format!("only Huawei Cloud knows `{name}`, so this Allow could never be decided"),
                "use a key that the gate knows, such as `lychgate:groups` or `g:PrincipalTag/…`",
            );
            None
        }
        Ok(key) => {
            if matches!(key, Key::Unknowable(_)) {
                findings.hint(
                    Code::UnknowableDeny,
                    span,
                    format!("only Huawei Cloud knows `{name}`: here it always matches"),
                    "the statement denies as if this condition were not there",
                );
            }
            Some(key)
        }
        Err(fault) => {
            unknown_key(Code::UnknownKey, name, fault, span, findings);
            None
        }
    }
}

fn unknown_key(code: Code, name: &str, fault: key::Fault, span: Span, findings: &mut Findings<'_>) {
    let (message, hint) = match fault {
        key::Fault::NoTagKey => {
            (format!("`{name}` lacks the key of the tag"), format!("write `{name}<tag key>`"))
        }
        key::Fault::Unknown(Some(it)) => {
            let it = if it.ends_with('/') { format!("{it}<tag key>") } else { it.to_owned() };
            (format!("there is no key `{name}`"), format!("did you mean `{it}`?"))
        }
        key::Fault::Unknown(None) => (
            format!("there is no key `{name}`"),
            "docs/policy-language.md lists the keys".to_owned(),
        ),
        key::Fault::Zone(meant) => (
            format!("`{name}` names no time zone"),
            match meant {
                Some(it) if it == "Asia/Shanghai" => format!("did you mean `{it}`?"),
                Some(it) => format!("did you mean `{it}`? Beijing time is `Asia/Shanghai`"),
                None => {
                    "write a name of the IANA database; Beijing time is `Asia/Shanghai`".to_owned()
                }
            },
        ),
    };
    findings.hint(code, span, message, hint);
}

/// Cuts a text at its variables and adds to `sources` what they name. `None` after a complaint.
pub(super) fn template(
    text: &Text,
    wildcards: bool,
    effect: Effect,
    sources: &mut Sources,
    findings: &mut Findings<'_>,
) -> Option<Vec<Part>> {
    let parts = match template::parse(&text.value, wildcards) {
        Ok(it) => it,
        Err(error) => {
            malformed_variable(error, text.span, findings);
            return None;
        }
    };
    for part in &parts {
        let Part::Variable(variable) = part else {
            continue;
        };
        if let Key::Unknowable(name) = variable.key {
            match effect {
                Effect::Allow => {
                    let message = format!("only Huawei Cloud knows `{name}`");
                    let hint = "use a key that the gate knows, such as `g:PrincipalTag/…`";
                    findings.hint(Code::UnknowableKey, text.span, message, hint);
                }
                Effect::Deny => {
                    let message = format!("only Huawei Cloud knows `{name}`: this always matches");
                    findings.add(Code::UnknowableDeny, text.span, message);
                }
            }
        }
        // A key that may hold several values is never filled in, known or not.
        if !variable.key.is_several() {
            *sources = sources.union(variable.key.sources());
        }
    }
    Some(parts)
}

fn malformed_variable(error: template::Error, span: Span, findings: &mut Findings<'_>) {
    let hint = "write `${key}` or `${key, 'default'}`; for a plain `${` write `${$}{`";
    let message = match error {
        template::Error::Default => "the default of a variable must be in single quotes",
        template::Error::Empty => "a variable needs a key",
        template::Error::Key(name, fault) => {
            unknown_key(Code::MalformedVariable, &name, fault, span, findings);
            return;
        }
        template::Error::Nested => "a variable names one key, without a variable inside it",
        template::Error::Unclosed => "a variable is not closed by `}`",
    };
    findings.hint(Code::MalformedVariable, span, message, hint);
}

struct Compiler<'a, 'f> {
    effect: Effect,
    sources: &'a mut Sources,
    findings: &'a mut Findings<'f>,
}

impl Compiler<'_, '_> {
    fn condition(
        &mut self,
        raw: &document::Condition,
        operator: Operator,
        key: Key,
    ) -> Option<Condition> {
        if !operator.takes(key.kind()) {
            let (what, instead) = match key.kind() {
                Kind::Address => ("an address", "`IpAddress` or `NotIpAddress`"),
                Kind::Boolean => ("a truth value", "`Bool`"),
                Kind::Date => ("a date", "`DateLessThan`, `DateGreaterThanEquals` and the like"),
                Kind::Number => ("a number", "`NumberLessThan`, `NumberEquals` and the like"),
                Kind::Text => ("a text", "a String operator"),
            };
            self.findings.hint(
                Code::OperatorType,
                raw.operator.span,
                format!("`{}` does not fit `{key}`, which is {what}", raw.operator.value),
                format!("use {instead}"),
            );
            return None;
        }
        *self.sources = self.sources.union(key.sources());
        let test = match operator.test {
            operator::Test::Null => self.null(raw, operator)?,
            _ => Test::Listed(Listed {
                qualifier: operator.qualifier,
                if_exists: operator.if_exists,
                negated: operator.negated,
                operands: self.operands(operator.test, &key, &raw.values)?,
            }),
        };
        let unknowable = matches!(key, Key::Unknowable(_));
        Some(Condition { key, test: if unknowable { Test::Unknowable } else { test } })
    }

    fn null(&mut self, raw: &document::Condition, operator: Operator) -> Option<Test> {
        let hint = r#"`"Null": {"<key>": "true"}` holds when the key is absent"#;
        if operator.qualifier.is_some() || operator.if_exists {
            let message = "`Null` takes neither a qualifier nor IfExists";
            self.findings.hint(Code::NullForm, raw.operator.span, message, hint);
            return None;
        }
        let (mut absent, mut present) = (false, false);
        for text in &raw.values {
            match value::boolean(&text.value) {
                Some(true) => absent = true,
                Some(false) => present = true,
                None => {
                    let message = format!("`Null` cannot be `{}`", text.value);
                    self.findings.hint(Code::NullForm, text.span, message, hint);
                    return None;
                }
            }
        }
        Some(Test::Null { absent, present })
    }

    fn operands(&mut self, test: operator::Test, key: &Key, values: &[Text]) -> Option<Operands> {
        Some(match test {
            operator::Test::Address => {
                let hint = "write an address or a range without host bits, such as `10.0.0.0/8`";
                Operands::Address(self.read(values, value::range, "an address or a range", hint)?)
            }
            operator::Test::Boolean | operator::Test::Null => Operands::Boolean(self.read(
                values,
                value::boolean,
                "a truth value",
                "write `true` or `false`",
            )?),
            operator::Test::Date(order) => {
                let hint = "write a date and time with its zone, such as `2026-01-15T12:00:00Z`";
                Operands::Date(order, self.read(values, value::date, "a date with a time", hint)?)
            }
            operator::Test::Number(order) => {
                let read = |it: &str| Decimal::parse(it).map(Decimal::into_owned);
                let hint = key.unit().unwrap_or("write digits, such as `3600` or `-1.5`");
                Operands::Number(order, self.read(values, read, "a number", hint)?)
            }
            operator::Test::Text(Comparison::Match) => {
                Operands::Match(self.each(values, true, |_, it| template::constant(it).map(Ok))?)
            }
            operator::Test::Text(comparison) => {
                let constant = |parts: &[Part]| Some(Ok(template::literal(parts)?.to_owned()));
                Operands::Text(comparison, self.each(values, false, |_, it| constant(it))?)
            }
        })
    }

    fn read<T>(
        &mut self,
        values: &[Text],
        read: impl Fn(&str) -> Option<T>,
        what: &str,
        hint: &str,
    ) -> Option<Vec<Operand<T>>> {
        let malformed = |text: &Text| (format!("`{}` is not {what}", text.value), hint.to_owned());
        self.each(values, false, |text, parts| {
            Some(read(template::literal(parts)?).ok_or_else(|| malformed(text)))
        })
    }

    /// Reads each value; `known` reads one without variables.
    fn each<T>(
        &mut self,
        values: &[Text],
        wildcards: bool,
        known: impl Fn(&Text, &[Part]) -> Option<Result<T, (String, String)>>,
    ) -> Option<Vec<Operand<T>>> {
        let operands = values.iter().map(|text| {
            let parts = template(text, wildcards, self.effect, self.sources, self.findings)?;
            match known(text, &parts) {
                Some(Ok(it)) => Some(Operand::Known(it)),
                Some(Err((message, hint))) => {
                    self.findings.hint(Code::MalformedValue, text.span, message, hint);
                    None
                }
                None => Some(Operand::Template(parts)),
            }
        });
        // Every complaint, not just the first.
        let operands: Vec<_> = operands.collect();
        operands.into_iter().collect()
    }
}
