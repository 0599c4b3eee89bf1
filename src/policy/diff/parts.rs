//! Conditions taken apart: the listed values with variables, and the others.

use super::asked::{self, Subject};
use crate::policy::engine::condition::{Condition, Listed, Operand, Operands, Resource, Test, Urn};
use crate::policy::engine::facts::{Fact, Facts, Value};
use crate::policy::engine::truth::Truth;
use crate::policy::language::document::Effect;
use crate::policy::language::key::Key;
use crate::policy::language::operator::Comparison;
use crate::policy::language::pattern::Piece;
use crate::policy::language::template::Part;
use crate::policy::language::value;
use crate::policy::language::value::Decimal;

use std::fmt;

/// The condition with only those listed values that have no variable to fill in.
pub(super) fn known(condition: &Condition) -> Condition {
    fn is_known<T>(it: &Operand<T>) -> bool {
        match it {
            Operand::Template(parts) => asked::variables(parts).is_empty(),
            Operand::Known(_) => true,
        }
    }
    let mut res = condition.clone();
    if let Test::Listed(it) = &mut res.test {
        match &mut it.operands {
            Operands::Address(them) => them.retain(is_known),
            Operands::Boolean(them) => them.retain(is_known),
            Operands::Date(_, them) => them.retain(is_known),
            Operands::Match(them) => them.retain(is_known),
            Operands::Number(_, them) => them.retain(is_known),
            Operands::Text(_, them) => them.retain(is_known),
        }
    }
    res
}

/// The listed values with variables to fill in.
pub(super) fn templates(condition: &Condition) -> Vec<&[Part]> {
    let mut res = condition.test.templates();
    res.retain(|it| !asked::variables(it).is_empty());
    res
}

/// What one listed value asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// The ID of the job meets the fifth part of a resource.
    Job(Vec<Part>),
    /// A condition with this value alone.
    Key(Condition, Effect),
}

impl Question {
    /// Returns with it whether the answer has to be negated: texts can always be compared, so that
    /// neither negation nor effect matters to the question itself.
    pub(super) fn new(
        condition: &Condition,
        effect: Effect,
        parts: Vec<Part>,
    ) -> Option<(Self, bool)> {
        let Test::Listed(listed) = &condition.test else {
            return None;
        };
        fn only<T>(parts: Vec<Part>) -> Vec<Operand<T>> {
            vec![Operand::Template(parts)]
        }
        let operands = match &listed.operands {
            Operands::Address(_) => Operands::Address(only(parts)),
            Operands::Boolean(_) => Operands::Boolean(only(parts)),
            Operands::Date(it, _) => Operands::Date(*it, only(parts)),
            Operands::Number(it, _) => Operands::Number(*it, only(parts)),
            Operands::Match(_) => Operands::Match(only(parts)),
            Operands::Text(it @ Comparison::EqualsIgnoreCase, _) => {
                Operands::Text(*it, only(parts))
            }
            Operands::Text(it, _) => Operands::Match(only(asked::as_pattern(*it, &parts))),
        };
        let is_text = is_text(&operands);
        let negated = listed.negated && !is_text;
        let effect = if is_text { Effect::Allow } else { effect };
        let test = Test::Listed(Listed { qualifier: None, if_exists: false, negated, operands });
        let question = Condition { key: condition.key.clone(), test };
        Some((Self::Key(question, effect), listed.negated && is_text))
    }

    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Job(_) => Subject::Job,
            Self::Key(it, _) => Subject::Key(it.key.clone()),
        }
    }

    /// The answer where everything is known.
    pub(super) fn holds(&self, facts: Facts<'_>) -> bool {
        let truth = match self {
            Self::Job(parts) => {
                let any = || vec![Piece::Star];
                let id = Operand::Template(parts.clone());
                let urn = Urn::Job { region: any(), account: any(), id };
                Resource { negated: false, patterns: vec![urn] }.holds(Effect::Allow, facts)
            }
            Self::Key(it, effect) => it.holds(*effect, facts),
        };
        truth == Truth::True
    }

    /// The listed value.
    pub(super) fn parts(&self) -> Option<&[Part]> {
        match self {
            Self::Job(parts) => Some(parts),
            Self::Key(it, _) => templates(it).into_iter().next(),
        }
    }

    /// The keys that fill in the variables of the listed value.
    pub(super) fn keys(&self) -> Vec<&Key> {
        self.parts().map(asked::variables).unwrap_or_default()
    }

    /// Whether it compares texts regardless of letter case, and with which pattern; `None` if it
    /// reads them as something else.
    pub(super) fn compared(&self) -> Option<(bool, &[Part])> {
        let folded = match self {
            Self::Job(_) => false,
            Self::Key(Condition { test: Test::Listed(it), .. }, _) => match &it.operands {
                Operands::Match(_) => false,
                Operands::Text(..) => true,
                _ => return None,
            },
            Self::Key(..) => return None,
        };
        Some((folded, self.parts()?))
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(_) => f.write_str("the job's ID")?,
            Self::Key(it, _) => write!(f, "{}", it.key)?,
        }
        f.write_str(" with `")?;
        for part in self.parts().unwrap_or_default() {
            match part {
                Part::Any => f.write_str("?")?,
                Part::Star => f.write_str("*")?,
                Part::Text(it) => f.write_str(it)?,
                Part::Variable(it) => write!(f, "${{{}}}", it.key)?,
            }
        }
        f.write_str("`")
    }
}

/// Whether the operator can read what the key holds.
pub(super) fn is_readable(condition: &Condition, facts: Facts<'_>) -> bool {
    let text = match facts.get(&condition.key) {
        Fact::One(Value::Text(it)) => it,
        Fact::Several([it, ..]) => it.into(),
        _ => return true,
    };
    let Test::Listed(it) = &condition.test else {
        return true;
    };
    match &it.operands {
        Operands::Address(_) => value::address(&text).is_some(),
        Operands::Boolean(_) => value::boolean(&text).is_some(),
        Operands::Date(..) => value::date(&text).is_some(),
        Operands::Number(..) => Decimal::parse(&text).is_some(),
        Operands::Match(_) | Operands::Text(..) => true,
    }
}

/// Whether the condition compares texts as they are, or asks whether the key is present.
pub(super) fn is_plain(condition: &Condition) -> bool {
    match &condition.test {
        Test::Listed(it) => is_text(&it.operands),
        Test::Null { .. } | Test::Unknowable => true,
    }
}

fn is_text(operands: &Operands) -> bool {
    matches!(operands, Operands::Match(_) | Operands::Text(..))
}
