//! Texts with variables: `${key}` and `${key, 'default'}`.

use crate::policy::language::key::{Fault, Key};
use crate::policy::language::pattern::Piece;

/// A part of a text as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) enum Part {
    /// `?`, where wildcards are special.
    Any,
    /// `*`, where wildcards are special.
    Star,
    Text(String),
    Variable(Variable),
}

/// `${key}` or `${key, 'default'}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Variable {
    pub(in crate::policy) key: Key,
    pub(in crate::policy) default: Option<String>,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Error {
    /// Something follows the name that is not `}` or `, 'default'}`.
    Default,
    /// `${}`.
    Empty,
    /// `${` within a variable's name.
    Nested,
    /// The name is not a key.
    Key(String, Fault),
    /// No `}`.
    Unclosed,
}

/// Cuts `text` at its variables and, if `wildcards` is set, at `*` and `?`. Neighbouring literals
/// become one; `${*}`, `${?}` and `${$}` are literals.
pub(in crate::policy) fn parse(text: &str, wildcards: bool) -> Result<Vec<Part>, Error> {
    let mut res: Vec<Part> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(it) = rest.chars().next() {
        let part = match rest.strip_prefix("${") {
            Some(tail) => {
                let (part, tail) = variable(tail)?;
                rest = tail;
                part
            }
            None => {
                rest = rest.get(it.len_utf8()..).unwrap_or_default();
                match it {
                    '*' if wildcards => Part::Star,
                    '?' if wildcards => Part::Any,
                    _ => {
                        literal.push(it);
                        continue;
                    }
                }
            }
        };
        match part {
            Part::Text(it) => literal.push_str(&it),
            _ => {
                if !literal.is_empty() {
                    res.push(Part::Text(std::mem::take(&mut literal)));
                }
                res.push(part);
            }
        }
    }
    if !literal.is_empty() {
        res.push(Part::Text(literal));
    }
    Ok(res)
}

/// The pieces of a template without variables.
pub(in crate::policy) fn constant(parts: &[Part]) -> Option<Vec<Piece<'static>>> {
    let piece = |it: &Part| match it {
        Part::Any => Some(Piece::Any),
        Part::Star => Some(Piece::Star),
        Part::Text(it) => Some(Piece::Text(it.clone().into())),
        Part::Variable(_) => None,
    };
    parts.iter().map(piece).collect()
}

/// The text of a template without variables and wildcards.
pub(in crate::policy) fn literal(parts: &[Part]) -> Option<&str> {
    match parts {
        [] => Some(""),
        [Part::Text(it)] => Some(it),
        _ => None,
    }
}

/// The texts in a template.
pub(in crate::policy) fn literals(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|it| match it {
        Part::Text(it) => Some(it.as_str()),
        Part::Any | Part::Star | Part::Variable(_) => None,
    })
}

/// Parses what follows `${`; returns what follows `}` too.
fn variable(text: &str) -> Result<(Part, &str), Error> {
    let end = text.find(['}', ',']).ok_or(Error::Unclosed)?;
    let (name, tail) = text.split_at(end);
    let name = name.trim_matches(BLANKS);
    if name.contains(['$', '{']) && name != "$" {
        return Err(Error::Nested);
    }
    let (default, tail) = match tail.strip_prefix(',') {
        Some(tail) => {
            let (default, tail) = quoted(tail.trim_start_matches(BLANKS))?;
            (Some(default), tail.trim_start_matches(BLANKS))
        }
        None => (None, tail),
    };
    let tail = match tail.strip_prefix('}') {
        Some(tail) => tail,
        None if tail.is_empty() => return Err(Error::Unclosed),
        None => return Err(Error::Default),
    };
    let part = match (name, default) {
        ("", _) => return Err(Error::Empty),
        ("*" | "?" | "$", None) => Part::Text(name.to_owned()),
        (_, default) => match Key::parse(name) {
            Ok(key) => Part::Variable(Variable { key, default }),
            Err(fault) => return Err(Error::Key(name.to_owned(), fault)),
        },
    };
    Ok((part, tail))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A text in single quotes, in which a quote is doubled, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), Error> {
    let mut rest = text.strip_prefix('\'').ok_or(Error::Default)?;
    let mut res = String::new();
    loop {
        let (head, tail) = rest.split_once('\'').ok_or(Error::Unclosed)?;
        res.push_str(head);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                res.push('\'');
                rest = tail;
            }
            None => return Ok((res, tail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: impl Into<Result<Vec<Part>, Error>>) {
        assert_eq!(parse(text, true), expected.into(), "{text}");
    }

    fn text(it: &str) -> Part {
        Part::Text(it.to_owned())
    }

    fn name(default: Option<&str>) -> Part {
        Part::Variable(Variable { key: Key::UserName, default: default.map(str::to_owned) })
    }

    #[test]
    fn variables_and_defaults() {
        check("", Ok(vec![]));
        check("a$b}{", Ok(vec![text("a$b}{")]));
        check("a-${g:UserName}-b", Ok(vec![text("a-"), name(None), text("-b")]));
        check("${ g:username }", Ok(vec![name(None)]));
        check("${g:UserName, 'x'}", Ok(vec![name(Some("x"))]));
        check("${g:UserName,''}", Ok(vec![name(Some(""))]));
        check("${ g:UserName , 'it''s }, {' }", Ok(vec![name(Some("it's }, {"))]));
        check("${g:UserName}${g:UserName}", Ok(vec![name(None), name(None)]));
        check("a*?", Ok(vec![text("a"), Part::Star, Part::Any]));
        check("a${*}b${?}${$}{*", Ok(vec![text("a*b?${"), Part::Star]));
        assert_eq!(parse("a*?", false), Ok(vec![text("a*?")]));
    }

    #[test]
    fn what_is_not_a_variable_is_an_error() {
        let unknown = |it: &str| Err(Error::Key(it.to_owned(), Fault::Unknown(None)));
        check("${g:UserName", Err(Error::Unclosed));
        check("${g:UserName, 'x'", Err(Error::Unclosed));
        check("${g:UserName, 'x}", Err(Error::Unclosed));
        check("${g:UserName, x}", Err(Error::Default));
        check("${g:UserName, 'x' y}", Err(Error::Default));
        check("${g:UserName,}", Err(Error::Default));
        check("${}", Err(Error::Empty));
        check("${ }", Err(Error::Empty));
        check("${, 'x'}", Err(Error::Empty));
        check("${*, 'x'}", unknown("*"));
        for nested in [
            "${g:ResourceTag/${g:UserName}}",
            "${${g:UserName}}",
            "${g:ResourceTag/a${*}}",
            "${g:ResourceTag/{x}}",
            "${g:PrincipalTag/$x}",
        ] {
            check(nested, Err(Error::Nested));
        }
        check("${ecs:flavor}", unknown("ecs:flavor"));
        check("${g:ResourceTag/}", Err(Error::Key("g:ResourceTag/".to_owned(), Fault::NoTagKey)));
    }
}
