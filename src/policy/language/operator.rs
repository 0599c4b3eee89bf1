//! The condition operators: `[ForAnyValue:|ForAllValues:]Name[IfExists]`.

use crate::policy::language::kind::Kind;
use crate::policy::language::suggest;

/// An operator as a document names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Operator {
    pub(in crate::policy) qualifier: Option<Qualifier>,
    pub(in crate::policy) test: Test,
    pub(in crate::policy) negated: bool,
    pub(in crate::policy) if_exists: bool,
}

/// How the several values of a key are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Qualifier {
    All,
    Any,
}

/// What is asked of one value, negation aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Test {
    Address,
    Boolean,
    Date(Order),
    Null,
    Number(Order),
    Text(Comparison),
}

/// A comparison of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Comparison {
    EndWith,
    Equals,
    EqualsIgnoreCase,
    Match,
    StartWith,
}

/// A comparison of things that have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Order {
    Equals,
    GreaterThan,
    GreaterThanEquals,
    LessThan,
    LessThanEquals,
}

const NAMES: &[(&str, Test, bool)] = &[
    ("Bool", Test::Boolean, false),
    ("DateGreaterThan", Test::Date(Order::GreaterThan), false),
    ("DateGreaterThanEquals", Test::Date(Order::GreaterThanEquals), false),
    ("DateLessThan", Test::Date(Order::LessThan), false),
    ("DateLessThanEquals", Test::Date(Order::LessThanEquals), false),
    ("IpAddress", Test::Address, false),
    ("NotIpAddress", Test::Address, true),
    ("Null", Test::Null, false),
    ("NumberEquals", Test::Number(Order::Equals), false),
    ("NumberGreaterThan", Test::Number(Order::GreaterThan), false),
    ("NumberGreaterThanEquals", Test::Number(Order::GreaterThanEquals), false),
    ("NumberLessThan", Test::Number(Order::LessThan), false),
    ("NumberLessThanEquals", Test::Number(Order::LessThanEquals), false),
    ("NumberNotEquals", Test::Number(Order::Equals), true),
    ("StringEndWith", Test::Text(Comparison::EndWith), false),
    ("StringEquals", Test::Text(Comparison::Equals), false),
    ("StringEqualsIgnoreCase", Test::Text(Comparison::EqualsIgnoreCase), false),
    ("StringMatch", Test::Text(Comparison::Match), false),
    ("StringNotEndWith", Test::Text(Comparison::EndWith), true),
    ("StringNotEquals", Test::Text(Comparison::Equals), true),
    ("StringNotEqualsIgnoreCase", Test::Text(Comparison::EqualsIgnoreCase), true),
    ("StringNotMatch", Test::Text(Comparison::Match), true),
    ("StringNotStartWith", Test::Text(Comparison::StartWith), true),
    ("StringStartWith", Test::Text(Comparison::StartWith), false),
];

/// Operators of other dialects of the language, which people write by habit.
const FOREIGN: &[(&str, &str)] = &[
    ("ArnEquals", "StringEquals"),
    ("NotStringEquals", "StringNotEquals"),
    ("NotStringMatch", "StringNotMatch"),
    ("StringContains", "StringMatch"),
    ("StringIn", "StringEquals"),
    ("StringNotContains", "StringNotMatch"),
    ("StringNotIn", "StringNotEquals"),
    ("StringRegex", "StringMatch"),
    ("ArnLike", "StringMatch"),
    ("BoolEquals", "Bool"),
    ("NumericEquals", "NumberEquals"),
    ("NumericGreaterThan", "NumberGreaterThan"),
    ("NumericGreaterThanEquals", "NumberGreaterThanEquals"),
    ("NumericLessThan", "NumberLessThan"),
    ("NumericLessThanEquals", "NumberLessThanEquals"),
    ("NumericNotEquals", "NumberNotEquals"),
    ("StringEndsWith", "StringEndWith"),
    ("StringLike", "StringMatch"),
    ("StringNotLike", "StringNotMatch"),
    ("StringStartsWith", "StringStartWith"),
];

impl Operator {
    /// Names are exact, letter case included.
    ///
    /// # Errors
    /// The name that may have been meant.
    pub(in crate::policy) fn parse(name: &str) -> Result<Self, Option<String>> {
        let (prefix, rest, qualifier) = match name {
            _ if name.starts_with(ANY) => (ANY, name.strip_prefix(ANY), Some(Qualifier::Any)),
            _ if name.starts_with(ALL) => (ALL, name.strip_prefix(ALL), Some(Qualifier::All)),
            _ => ("", Some(name), None),
        };
        let rest = rest.unwrap_or_default();
        let (base, suffix) = match rest.strip_suffix(IF_EXISTS) {
            Some(base) => (base, IF_EXISTS),
            None => (rest, ""),
        };
        if let Some((_, test, negated)) = NAMES.iter().find(|(it, ..)| *it == base) {
            let if_exists = !suffix.is_empty();
            return Ok(Self { qualifier, test: *test, negated: *negated, if_exists });
        }
        if let Some((_, it)) = FOREIGN.iter().find(|(it, _)| it.eq_ignore_ascii_case(base)) {
            return Err(Some(format!("{prefix}{it}{suffix}")));
        }
        // The qualifier or the suffix may be what is misspelt.
        let all = NAMES.iter().flat_map(|(it, ..)| {
            ["", ANY, ALL].into_iter().flat_map(move |prefix| {
                ["", IF_EXISTS].map(|suffix| format!("{prefix}{it}{suffix}"))
            })
        });
        let all: Vec<_> = all.collect();
        Err(suggest::nearest(name, all.iter().map(String::as_str)).map(str::to_owned))
    }

    /// Whether the test applies to values of this kind.
    pub(in crate::policy) fn takes(self, kind: Kind) -> bool {
        match self.test {
            Test::Null => true,
            _ if kind == Kind::Text => true,
            Test::Address => kind == Kind::Address,
            Test::Boolean => kind == Kind::Boolean,
            Test::Date(_) => kind == Kind::Date,
            Test::Number(_) => kind == Kind::Number,
            Test::Text(_) => false,
        }
    }
}

impl Order {
    pub(in crate::policy) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equals => ordering.is_eq(),
            Self::GreaterThan => ordering.is_gt(),
            Self::GreaterThanEquals => ordering.is_ge(),
            Self::LessThan => ordering.is_lt(),
            Self::LessThanEquals => ordering.is_le(),
        }
    }
}

const ALL: &str = "ForAllValues:";
const ANY: &str = "ForAnyValue:";
const IF_EXISTS: &str = "IfExists";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_type_is_asked_nothing_else() {
        let all = [Kind::Address, Kind::Boolean, Kind::Date, Kind::Number, Kind::Text];
        for (name, kinds) in [
            ("Null", &all[..]),
            ("IpAddress", &[Kind::Address, Kind::Text]),
            ("Bool", &[Kind::Boolean, Kind::Text]),
            ("DateLessThan", &[Kind::Date, Kind::Text]),
            ("NumberEquals", &[Kind::Number, Kind::Text]),
            ("StringEquals", &[Kind::Text]),
        ] {
            let operator = Operator::parse(name).unwrap();
            let taken: Vec<_> = all.into_iter().filter(|it| operator.takes(*it)).collect();
            assert_eq!(taken, kinds, "{name}");
        }
    }

    /// Editors know the operators from docs/policy.schema.json.
    #[test]
    fn the_schema_has_every_operator() {
        let schema = include_str!("../../../docs/policy.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let patterns =
            &schema["$defs"]["statement"]["properties"]["Condition"]["patternProperties"];
        let names: Vec<_> = NAMES.iter().map(|(it, ..)| *it).filter(|it| *it != "Null").collect();
        let pattern = format!("^(ForAnyValue:|ForAllValues:)?({})(IfExists)?$", names.join("|"));
        let written = patterns.as_object().unwrap().keys().map(String::as_str);
        assert_eq!(written.collect::<Vec<_>>(), [pattern.as_str(), "^Null$"]);
    }

    #[test]
    fn names_are_exact() {
        let parsed = Operator::parse("ForAnyValue:StringNotMatchIfExists");
        let expected = Operator {
            qualifier: Some(Qualifier::Any),
            test: Test::Text(Comparison::Match),
            negated: true,
            if_exists: true,
        };
        assert_eq!(parsed, Ok(expected));
        for (name, meant) in [
            ("stringEquals", Some("StringEquals")),
            ("StringEqual", Some("StringEquals")),
            ("StringLikeIfExists", Some("StringMatchIfExists")),
            ("ForAllValues:NumericLessThan", Some("ForAllValues:NumberLessThan")),
            ("StringContains", Some("StringMatch")),
            ("ForAnyValue:NotStringEquals", Some("ForAnyValue:StringNotEquals")),
            ("ForAnyValues:StringEquals", Some("ForAnyValue:StringEquals")),
            ("ForAnyValue:ForAnyValue:Bool", None),
            ("StringEqualsIfExist", Some("StringEqualsIfExists")),
            ("Frobnicate", None),
            ("", None),
        ] {
            assert_eq!(Operator::parse(name), Err(meant.map(str::to_owned)), "{name}");
        }
    }
}
