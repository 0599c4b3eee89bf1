//! Conditions and resources, compiled, and how they are judged. The rows of the cautious reading
//! that the comments name are those of docs/policy-language.md.

use crate::policy::engine::facts::{Fact, Facts, Filled, Value};
use crate::policy::engine::truth::Truth;
use crate::policy::language::document::Effect;
use crate::policy::language::key::Key;
use crate::policy::language::operator::{Comparison, Order, Qualifier};
use crate::policy::language::pattern::Piece;
use crate::policy::language::template::Part;
use crate::policy::language::value::Decimal;
use crate::policy::language::{pattern, value};

use ipnet::IpNet;
use jiff::SignedDuration;
use std::borrow::Cow;
use std::iter;

/// One key under one operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Condition {
    pub(in crate::policy) key: Key,
    pub(in crate::policy) test: Test,
}

/// What a condition asks about its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Test {
    Listed(Listed),
    /// `Null`: whether the condition holds when the key is absent, and when it is there.
    Null {
        absent: bool,
        present: bool,
    },
    /// The gate cannot know the key. Only in a Deny, where the condition then always holds.
    Unknowable,
}

/// Any operator but `Null`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Listed {
    pub(in crate::policy) qualifier: Option<Qualifier>,
    pub(in crate::policy) if_exists: bool,
    pub(in crate::policy) negated: bool,
    pub(in crate::policy) operands: Operands,
}

/// The listed values, read as the operator needs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Operands {
    Address(Vec<Operand<IpNet>>),
    Boolean(Vec<Operand<bool>>),
    Date(Order, Vec<Operand<SignedDuration>>),
    Match(Vec<Operand<Vec<Piece<'static>>>>),
    Number(Order, Vec<Operand<Decimal<'static>>>),
    Text(Comparison, Vec<Operand<String>>),
}

/// A listed value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Operand<T> {
    Known(T),
    /// It has variables.
    Template(Vec<Part>),
}

/// A resource pattern: `*`, or five parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Urn {
    Any,
    /// The service or the type is not that of a training job.
    Other,
    Job {
        region: Vec<Piece<'static>>,
        account: Vec<Piece<'static>>,
        id: Operand<Vec<Piece<'static>>>,
    },
}

/// `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Resource {
    pub(in crate::policy) negated: bool,
    pub(in crate::policy) patterns: Vec<Urn>,
}

/// Whether one value meets one listed value, before negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    Known(bool),
    /// A value that the operator cannot read, or a variable that cannot be filled in (rows 11, 12).
    Unreadable,
    /// A variable names an unavailable key (row 13).
    Unknown,
}

impl Condition {
    /// The keys that it depends on: its own, and those that fill in variables.
    pub(in crate::policy) fn keys(&self) -> impl Iterator<Item = &Key> {
        let templates = self.test.templates();
        iter::once(self.key.origin()).chain(templates.into_iter().flat_map(variables))
    }

    pub(in crate::policy) fn holds(&self, effect: Effect, facts: Facts<'_>) -> Truth {
        match (&self.test, facts.get(&self.key)) {
            (Test::Unknowable, _) => Truth::True,
            (_, Fact::Unavailable) => Truth::Unknown,
            (Test::Null { absent, .. }, Fact::Absent) => (*absent).into(),
            (Test::Null { present, .. }, Fact::One(_) | Fact::Several(_)) => (*present).into(),
            (Test::Listed(it), Fact::Absent) => it.absent(effect),
            (Test::Listed(it), Fact::One(value)) => it.value(value, effect, facts),
            (Test::Listed(it), Fact::Several(values)) => it.several(values, effect, facts),
        }
    }
}

impl Test {
    /// The listed values that have variables.
    pub(in crate::policy) fn templates(&self) -> Vec<&[Part]> {
        fn of<T>(them: &[Operand<T>]) -> Vec<&[Part]> {
            them.iter().filter_map(Operand::template).collect()
        }
        match self {
            Self::Listed(it) => match &it.operands {
                Operands::Address(them) => of(them),
                Operands::Boolean(them) => of(them),
                Operands::Date(_, them) => of(them),
                Operands::Match(them) => of(them),
                Operands::Number(_, them) => of(them),
                Operands::Text(_, them) => of(them),
            },
            Self::Null { .. } | Self::Unknowable => Vec::new(),
        }
    }
}

impl<T> Operand<T> {
    fn template(&self) -> Option<&[Part]> {
        match self {
            Self::Template(parts) => Some(parts),
            Self::Known(_) => None,
        }
    }
}

/// The keys that fill in variables. A key that may hold several values never does.
fn variables(parts: &[Part]) -> impl Iterator<Item = &Key> {
    let keys = parts.iter().filter_map(|it| match it {
        Part::Variable(it) => Some(it.key.origin()),
        Part::Any | Part::Star | Part::Text(_) => None,
    });
    keys.filter(|it| !it.is_several())
}

impl Listed {
    /// Rows 1 to 6.
    fn absent(&self, effect: Effect) -> Truth {
        match (self.if_exists, self.qualifier, self.negated) {
            (true, _, _) => Truth::True,
            (false, Some(Qualifier::All), _) | (false, _, true) => cautious(effect),
            (false, Some(Qualifier::Any) | None, false) => Truth::False,
        }
    }

    /// Rows 7 and 8.
    fn several(&self, values: &[String], effect: Effect, facts: Facts<'_>) -> Truth {
        let each =
            values.iter().map(|it| self.value(Value::Text(Cow::Borrowed(it)), effect, facts));
        match (self.qualifier, effect) {
            (Some(Qualifier::Any), _) | (None, Effect::Deny) => Truth::any(each),
            (Some(Qualifier::All), _) | (None, Effect::Allow) => Truth::all(each),
        }
    }

    fn value(&self, value: Value<'_>, effect: Effect, facts: Facts<'_>) -> Truth {
        let list = List { negated: self.negated, effect, facts };
        match (&self.operands, value) {
            (Operands::Address(them), Value::Address(it)) => {
                list.judge(them, value::range, |net| net.contains(&it))
            }
            (Operands::Address(them), Value::Text(it)) => match value::address(&it) {
                Some(it) => list.judge(them, value::range, |net| net.contains(&it)),
                None => cautious(effect),
            },
            (Operands::Boolean(them), Value::Boolean(it)) => {
                list.judge(them, value::boolean, |listed| *listed == it)
            }
            (Operands::Boolean(them), Value::Text(it)) => match value::boolean(&it) {
                Some(it) => list.judge(them, value::boolean, |listed| *listed == it),
                None => cautious(effect),
            },
            (Operands::Date(order, them), Value::Date(it)) => {
                let it = it.as_duration();
                list.judge(them, value::date, |listed| order.holds(it.cmp(listed)))
            }
            (Operands::Date(order, them), Value::Text(it)) => match value::date(&it) {
                Some(it) => list.judge(them, value::date, |listed| order.holds(it.cmp(listed))),
                None => cautious(effect),
            },
            (Operands::Number(order, them), Value::Number(it)) => {
                list.numbers(them, |listed| order.holds(listed.compare_integer(it)))
            }
            (Operands::Number(order, them), Value::Text(it)) => match Decimal::parse(&it) {
                Some(it) => list.numbers(them, |listed| order.holds(it.cmp(listed))),
                None => cautious(effect),
            },
            (Operands::Match(them), Value::Text(it)) => list.patterns(them, &it),
            (Operands::Text(comparison, them), Value::Text(it)) => {
                list.texts(them, |listed| comparison.holds(&it, listed))
            }
            // Unreachable: each operator was checked against the type of its key.
            _ => cautious(effect),
        }
    }
}

impl Resource {
    /// The job IDs that have variables.
    pub(in crate::policy) fn templates(&self) -> impl Iterator<Item = &[Part]> {
        self.patterns.iter().filter_map(|it| match it {
            Urn::Job { id, .. } => id.template(),
            Urn::Any | Urn::Other => None,
        })
    }

    /// The keys that fill in variables.
    pub(in crate::policy) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.templates().flat_map(variables)
    }

    pub(in crate::policy) fn holds(&self, effect: Effect, facts: Facts<'_>) -> Truth {
        let list = List { negated: self.negated, effect, facts };
        list.combine(self.patterns.iter().map(|urn| match urn {
            Urn::Any => Meets::Known(true),
            Urn::Other => Meets::Known(false),
            Urn::Job { region, account, id } => {
                let query = facts.query;
                match pattern::matches(region, &query.region)
                    && pattern::matches(account, &query.account)
                {
                    true => list.pattern(id, &query.job.training_job_id),
                    false => Meets::Known(false),
                }
            }
        }))
    }
}

/// A list of values in the making of a judgement.
#[derive(Clone, Copy)]
struct List<'a> {
    negated: bool,
    effect: Effect,
    facts: Facts<'a>,
}

impl<'a> List<'a> {
    /// One value meets a positive operator if it meets any of the listed values, a negated one if
    /// it differs from all.
    fn combine(self, them: impl Iterator<Item = Meets>) -> Truth {
        let truths = them.map(|it| match it {
            Meets::Known(it) => Truth::from(it != self.negated),
            Meets::Unreadable => cautious(self.effect),
            Meets::Unknown => Truth::Unknown,
        });
        match self.negated {
            true => Truth::all(truths),
            false => Truth::any(truths),
        }
    }

    fn judge<T>(
        self,
        them: &'a [Operand<T>],
        read: impl Fn(&str) -> Option<T>,
        meets: impl Fn(&T) -> bool,
    ) -> Truth {
        self.combine(them.iter().map(|it| match it {
            Operand::Known(it) => Meets::Known(meets(it)),
            Operand::Template(parts) => self.filled(parts, |text| Some(meets(&read(text)?))),
        }))
    }

    fn numbers(
        self,
        them: &'a [Operand<Decimal<'static>>],
        meets: impl Fn(&Decimal<'_>) -> bool,
    ) -> Truth {
        self.combine(them.iter().map(|it| match it {
            Operand::Known(it) => Meets::Known(meets(it)),
            Operand::Template(parts) => {
                self.filled(parts, |text| Some(meets(&Decimal::parse(text)?)))
            }
        }))
    }

    fn texts(self, them: &'a [Operand<String>], meets: impl Fn(&str) -> bool) -> Truth {
        self.combine(them.iter().map(|it| match it {
            Operand::Known(it) => Meets::Known(meets(it)),
            Operand::Template(parts) => self.filled(parts, |text| Some(meets(text))),
        }))
    }

    fn patterns(self, them: &'a [Operand<Vec<Piece<'static>>>], text: &str) -> Truth {
        self.combine(them.iter().map(|it| self.pattern(it, text)))
    }

    fn pattern(self, operand: &'a Operand<Vec<Piece<'static>>>, text: &str) -> Meets {
        let parts = match operand {
            Operand::Known(it) => return Meets::Known(pattern::matches(it, text)),
            Operand::Template(it) => it,
        };
        let mut pieces = Vec::with_capacity(parts.len());
        let filled = self.facts.each(parts, |part, it| {
            pieces.push(match part {
                Part::Any => Piece::Any,
                Part::Star => Piece::Star,
                Part::Text(_) | Part::Variable(_) => Piece::Text(it),
            });
        });
        match filled {
            Filled::Done(()) => Meets::Known(pattern::matches(&pieces, text)),
            Filled::Unfillable => Meets::Unreadable,
            Filled::Unknown => Meets::Unknown,
        }
    }

    fn filled(self, parts: &'a [Part], meets: impl Fn(&str) -> Option<bool>) -> Meets {
        match self.facts.fill(parts) {
            Filled::Done(it) => meets(&it).map_or(Meets::Unreadable, Meets::Known),
            Filled::Unfillable => Meets::Unreadable,
            Filled::Unknown => Meets::Unknown,
        }
    }
}

impl Comparison {
    /// `Match` compares as `Equals` here; patterns are judged elsewhere.
    pub(in crate::policy) fn holds(self, text: &str, listed: &str) -> bool {
        match self {
            Self::EndWith => text.ends_with(listed),
            Self::Equals | Self::Match => text == listed,
            Self::EqualsIgnoreCase => text.eq_ignore_ascii_case(listed),
            Self::StartWith => text.starts_with(listed),
        }
    }
}

/// The cautious reading: a Deny holds, an Allow does not.
fn cautious(effect: Effect) -> Truth {
    match effect {
        Effect::Allow => Truth::False,
        Effect::Deny => Truth::True,
    }
}
