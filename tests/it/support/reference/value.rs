//! How texts are read and compared: patterns, numbers, dates, truth values, addresses.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

/// A text with what is special in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    AnyChar,
    AnyText,
    Char(char),
    Variable { key: String, default: Option<String> },
}

/// A text without variables.
pub(super) fn wildcards(text: &str) -> Vec<Piece> {
    text.chars().map(wildcard).collect()
}

fn wildcard(c: char) -> Piece {
    match c {
        '*' => Piece::AnyText,
        '?' => Piece::AnyChar,
        c => Piece::Char(c),
    }
}

/// A text with variables, `${*}`, `${?}` and `${$}`.
pub(super) fn pieces(text: &str, wildcards: bool) -> Vec<Piece> {
    let mut res = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(inner) = rest.strip_prefix("${") {
            let (piece, after) = variable(inner);
            res.push(piece);
            rest = after;
        } else {
            res.push(if wildcards { wildcard(c) } else { Piece::Char(c) });
            rest = &rest[c.len_utf8()..];
        }
    }
    res
}

/// What follows `${`, and what follows its `}`.
fn variable(text: &str) -> (Piece, &str) {
    for c in ['*', '?', '$'] {
        if let Some(after) = text.strip_prefix(c).and_then(|it| it.strip_prefix('}')) {
            return (Piece::Char(c), after);
        }
    }
    let end = text.find([',', '}']).expect("a variable ends");
    let key = text[..end].trim().to_owned();
    if let Some(after) = text[end..].strip_prefix('}') {
        return (Piece::Variable { key, default: None }, after);
    }
    let mut rest = text[end + 1..].trim_start().strip_prefix('\'').expect("a default is quoted");
    let mut default = String::new();
    loop {
        let (before, after) = rest.split_once('\'').expect("a default ends");
        default.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                default.push('\'');
                rest = after;
            }
            None => {
                let after = after.trim_start().strip_prefix('}').expect("a variable ends");
                return (Piece::Variable { key, default: Some(default) }, after);
            }
        }
    }
}

/// The keys of the variables in a text.
pub(super) fn variables(text: &str) -> Vec<String> {
    let several = ["lychgate:groups", "modelarts:poolid", "modelarts:pooltype"];
    let keys = pieces(text, false).into_iter().filter_map(|it| match it {
        Piece::Variable { key, .. } => Some(key),
        Piece::AnyChar | Piece::AnyText | Piece::Char(_) => None,
    });
    keys.filter(|it| !several.contains(&it.to_ascii_lowercase().as_str())).collect()
}

/// Whether the pattern covers the whole text.
pub(super) fn fits(pattern: &[Piece], text: &str) -> bool {
    let Some((first, pattern)) = pattern.split_first() else { return text.is_empty() };
    let mut chars = text.chars();
    match first {
        Piece::AnyText => {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| fits(pattern, &text[at..]))
        }
        Piece::AnyChar => chars.next().is_some() && fits(pattern, chars.as_str()),
        Piece::Char(c) => chars.next() == Some(*c) && fits(pattern, chars.as_str()),
        Piece::Variable { .. } => panic!("variables are filled in before"),
    }
}

/// Whether the operator can make something of a value of the request.
pub(super) fn is_readable(operator: &str, present: &str) -> bool {
    match operator {
        "Bool" => boolean(present).is_some(),
        "IpAddress" => address(present).is_some(),
        it if it.starts_with("Number") => number(present).is_some(),
        it if it.starts_with("Date") => instant(present).is_some(),
        _ => true,
    }
}

/// Compares by a positive operator; nothing if it cannot read one of the two.
pub(super) fn compare(operator: &str, present: &str, listed: &[Piece]) -> Option<bool> {
    if operator == "StringMatch" {
        return Some(fits(listed, present));
    }
    let listed: String = listed.iter().map(character).collect();
    let listed = listed.as_str();
    if let Some(order) = operator.strip_prefix("Number") {
        return Some(holds(order, order_of_numbers(&number(present)?, &number(listed)?)));
    }
    if let Some(order) = operator.strip_prefix("Date") {
        return Some(holds(order, instant(present)?.cmp(&instant(listed)?)));
    }
    Some(match operator {
        "StringEquals" => present == listed,
        "StringEqualsIgnoreCase" => present.eq_ignore_ascii_case(listed),
        "StringStartWith" => present.starts_with(listed),
        "StringEndWith" => present.ends_with(listed),
        "Bool" => boolean(present)? == boolean(listed)?,
        "IpAddress" => within(address(present)?, range(listed)?),
        _ => panic!("unknown operator {operator}"),
    })
}

fn character(piece: &Piece) -> char {
    match piece {
        Piece::Char(it) => *it,
        _ => panic!("only a pattern has wildcards"),
    }
}

fn holds(order: &str, of: Ordering) -> bool {
    match order {
        "Equals" => of.is_eq(),
        "LessThan" => of.is_lt(),
        "LessThanEquals" => of.is_le(),
        "GreaterThan" => of.is_gt(),
        "GreaterThanEquals" => of.is_ge(),
        _ => panic!("unknown comparison {order}"),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Whether it is negative, the digits before the point without leading zeros, the digits after it
/// without trailing zeros.
type Number = (bool, String, String);

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(it) => (true, it),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(it) => it,
        None => (digits, ""),
    };
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0').to_owned();
    let fraction = fraction.trim_end_matches('0').to_owned();
    let zero = whole.is_empty() && fraction.is_empty();
    Some((negative && !zero, whole, fraction))
}

fn order_of_numbers(left: &Number, right: &Number) -> Ordering {
    let size = |(_, whole, fraction): &Number| (whole.len(), whole.clone(), fraction.clone());
    match (left.0, right.0) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => size(left).cmp(&size(right)),
        (true, true) => size(right).cmp(&size(left)),
    }
}

fn is_digits(text: &str) -> bool {
    text.chars().all(|it| it.is_ascii_digit())
}

/// Seconds since the year 0, and the digits of the fraction without trailing zeros.
fn instant(text: &str) -> Option<(i64, String)> {
    let (date, time) = text.split_once('T')?;
    let at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(at);
    let (clock, fraction) = match clock.split_once('.') {
        Some((_, "")) => return None,
        Some(it) => it,
        None => (clock, ""),
    };
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let days_of = |month| match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    };
    let valid = (1..=12).contains(&month) && (1..=days_of(month)).contains(&day);
    if !valid
        || 23 < hour
        || 59 < minute
        || 59 < second
        || !is_digits(fraction)
        || 9 < fraction.len()
    {
        return None;
    }
    let offset = match zone.split_at(1) {
        ("Z", "") => 0,
        ("Z", _) => return None,
        (sign, offset) => {
            let [hours, minutes] = fields(offset, ':', [2, 2])?;
            if 23 < hours || 59 < minutes {
                return None;
            }
            let seconds = (hours * 60 + minutes) * 60;
            if sign == "+" { seconds } else { -seconds }
        }
    };
    let mut days = day - 1;
    // The year 0 is a leap year, and so are these before this one.
    days += year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    days += (1..month).map(days_of).sum::<i64>();
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset;
    Some((seconds, fraction.trim_end_matches('0').to_owned()))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Numbers of exactly these many digits.
fn fields<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let parts: Vec<_> = text.split(separator).collect();
    let fits = parts.iter().zip(digits).all(|(it, digits)| it.len() == digits && is_digits(it));
    if parts.len() != N || !fits {
        return None;
    }
    let numbers: Vec<i64> = parts.iter().filter_map(|it| it.parse().ok()).collect();
    numbers.try_into().ok()
}

/// An address; IPv4 in IPv6's clothes is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse::<IpAddr>().ok()?.to_canonical())
}

/// The bits of an address from the left, and how many of them count.
type Range = (IpAddr, usize);

fn range(text: &str) -> Option<Range> {
    let Some((base, length)) = text.split_once('/') else {
        let it = address(text)?;
        return Some((it, bits(it).len()));
    };
    let written: IpAddr = base.parse().ok()?;
    if length.is_empty() || !is_digits(length) || (length != "0" && length.starts_with('0')) {
        return None;
    }
    let length: usize = length.parse().ok()?;
    let all = bits(written);
    if all.len() < length || all[length..].contains(&true) {
        return None;
    }
    match (written, written.to_canonical()) {
        (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => Some((canonical, length - 96)),
        _ => Some((written, length)),
    }
}

fn within(address: IpAddr, (base, length): Range) -> bool {
    address.is_ipv4() == base.is_ipv4() && bits(address)[..length] == bits(base)[..length]
}

fn bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => Ipv6Addr::octets(&it).to_vec(),
    };
    octets.iter().flat_map(|it| (0..8).map(move |at| it & (0x80 >> at) != 0)).collect()
}
