//! How texts are read as numbers, dates, truth values and addresses.

use ipnet::IpNet;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

/// The longest number that is read, in bytes.
pub(in crate::policy) const NUMBER_BYTES_MAX: usize = 2048;

/// A decimal number, compared exactly: `-?digits(.digits)?`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Decimal<'a> {
    /// Never set on zero.
    negative: bool,
    /// Without leading zeros; empty for zero.
    integer: Cow<'a, str>,
    /// Without trailing zeros.
    fraction: Cow<'a, str>,
}

impl<'a> Decimal<'a> {
    /// No exponent, no plus sign, no white space; at most [`NUMBER_BYTES_MAX`] bytes.
    pub(in crate::policy) fn parse(text: &'a str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(it) => (true, it),
            None => (false, text),
        };
        let (integer, fraction) = match digits.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (digits, None),
        };
        let plain = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        if NUMBER_BYTES_MAX < text.len() || !plain(integer) || !fraction.is_none_or(plain) {
            return None;
        }
        let integer = integer.trim_start_matches('0');
        let fraction = fraction.unwrap_or_default().trim_end_matches('0');
        let negative = negative && !(integer.is_empty() && fraction.is_empty());
        Some(Self { negative, integer: Cow::Borrowed(integer), fraction: Cow::Borrowed(fraction) })
    }

    pub(in crate::policy) fn into_owned(self) -> Decimal<'static> {
        Decimal {
            negative: self.negative,
            integer: Cow::Owned(self.integer.into_owned()),
            fraction: Cow::Owned(self.fraction.into_owned()),
        }
    }

    /// How `integer` compares to this number.
    pub(in crate::policy) fn compare_integer(&self, integer: i64) -> Ordering {
        let sign = (integer < 0).cmp(&self.negative).reverse();
        if sign != Ordering::Equal {
            return sign;
        }
        // More digits than any i64 has.
        let magnitude = match 20 < self.integer.len() {
            true => Ordering::Less,
            false => {
                let whole = self.integer.parse::<u128>().unwrap_or_default();
                let fraction = match self.fraction.is_empty() {
                    true => Ordering::Equal,
                    false => Ordering::Less,
                };
                u128::from(integer.unsigned_abs()).cmp(&whole).then(fraction)
            }
        };
        if self.negative { magnitude.reverse() } else { magnitude }
    }
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let integer = if self.integer.is_empty() { "0" } else { &self.integer };
        match self.fraction.as_ref() {
            "" => write!(f, "{sign}{integer}"),
            fraction => write!(f, "{sign}{integer}.{fraction}"),
        }
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude = |a: &Self, b: &Self| {
            (a.integer.len().cmp(&b.integer.len()))
                .then_with(|| a.integer.cmp(&b.integer))
                .then_with(|| a.fraction.cmp(&b.fraction))
        };
        match (self.negative, other.negative) {
            (false, false) => magnitude(self, other),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (true, true) => magnitude(other, self),
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An RFC 3339 date-time in its upper-case form: `2026-01-15T12:00:00Z`, with an optional fraction
/// of at most nine digits and `Z` or an offset such as `+08:00`. No second 60, no day alone.
///
/// The result is the time since 1970-01-01T00:00:00Z. It is not a `Timestamp`, because those end a
/// day before `9999-12-31T23:59:59Z`, which people write for "for ever".
pub(in crate::policy) fn date(text: &str) -> Option<SignedDuration> {
    let (day_and_time, rest) = text.split_at_checked(19)?;
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    let shaped = day_and_time.bytes().enumerate().all(|(at, it)| match at {
        4 | 7 => it == b'-',
        10 => it == b'T',
        13 | 16 => it == b':',
        _ => it.is_ascii_digit(),
    });
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|it: char| it.is_ascii_digit());
            if !(1..=9).contains(&(fraction.len() - zone.len())) {
                return None;
            }
            zone
        }
        None => rest,
    };
    if !shaped || day_and_time.ends_with("60") {
        return None;
    }
    let offset = match zone.split_at_checked(1)? {
        ("Z", "") => SignedDuration::ZERO,
        (sign @ ("+" | "-"), offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let two = |it: &str, max: &str| it.len() == 2 && digits(it) && it <= max;
            if !two(hours, "23") || !two(minutes, "59") {
                return None;
            }
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            SignedDuration::from_mins(if sign == "+" { minutes } else { -minutes })
        }
        _ => return None,
    };
    let local = text.strip_suffix(zone)?.parse::<DateTime>().ok()?;
    local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).checked_sub(offset)
}

/// `true` or `false` in any ASCII case.
pub(in crate::policy) fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// One address. An IPv4 address written in IPv6 (`::ffff:a.b.c.d`) is the IPv4 address.
pub(in crate::policy) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|it| it.to_canonical())
}

/// An address or a range in CIDR notation without host bits. A range of IPv4 addresses written in
/// IPv6 (`::ffff:a.b.c.0/120`) is the IPv4 range.
pub(in crate::policy) fn range(text: &str) -> Option<IpNet> {
    let Some((base, prefix)) = text.split_once('/') else {
        return address(text).map(IpNet::from);
    };
    let plain = !prefix.is_empty()
        && prefix.bytes().all(|it| it.is_ascii_digit())
        && (prefix == "0" || !prefix.starts_with('0'));
    if !plain {
        return None;
    }
    let (base, prefix) = (base.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
    let canonical = base.to_canonical();
    let prefix = match base.is_ipv6() && canonical.is_ipv4() {
        true => prefix.checked_sub(96)?,
        false => prefix,
    };
    let range = IpNet::new(canonical, prefix).ok()?;
    (range.network() == canonical).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_decimals() {
        let order = |a, b| Some(Decimal::parse(a)?.cmp(&Decimal::parse(b)?));
        for (a, b, expected) in [
            ("1", "1.0", Some(Ordering::Equal)),
            ("-0", "0.00", Some(Ordering::Equal)),
            ("007", "7", Some(Ordering::Equal)),
            ("9", "10", Some(Ordering::Less)),
            ("-9", "-10", Some(Ordering::Greater)),
            ("-1", "1", Some(Ordering::Less)),
            ("0.1", "0.09", Some(Ordering::Greater)),
            ("9007199254740993", "9007199254740992", Some(Ordering::Greater)),
            ("0.30", "0.3000000000000000000001", Some(Ordering::Less)),
            ("1", "1e0", None),
            ("1", "+1", None),
            ("1", " 1", None),
            ("1", "1.", None),
            ("1", ".5", None),
            ("1", "", None),
            ("1", "-", None),
            ("1", "NaN", None),
            ("1", "1_0", None),
            ("1", "١", None),
            ("1", "1.2.3", None),
        ] {
            assert_eq!(order(a, b), expected, "{a} and {b}");
            assert_eq!(order(b, a), expected.map(Ordering::reverse), "{b} and {a}");
        }
        assert_eq!(Decimal::parse(&"1".repeat(NUMBER_BYTES_MAX + 1)), None);
    }

    #[test]
    fn integers_compare_like_their_texts() {
        let texts = [
            "0",
            "1",
            "-1",
            "1.5",
            "-1.5",
            "0.5",
            "-0.5",
            "9223372036854775807",
            "2",
            "-2",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999999",
            "-99999999999999999999999999",
        ];
        for text in texts {
            let number = Decimal::parse(text).unwrap();
            for integer in [0, 1, -1, 2, -2, i64::MAX, i64::MIN] {
                let digits = integer.to_string();
                let expected = Decimal::parse(&digits).unwrap().cmp(&number);
                assert_eq!(number.compare_integer(integer), expected, "{integer} and {text}");
            }
        }
    }

    #[test]
    fn dates_are_strict() {
        let noon = "2026-01-15T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_duration();
        for text in [
            "2026-01-15T12:00:00Z",
            "2026-01-15T20:00:00+08:00",
            "2026-01-15T12:00:00.000Z",
            "2026-01-15T12:00:00-00:00",
            "2026-01-14T12:01:00-23:59",
        ] {
            assert_eq!(date(text), Some(noon), "{text}");
        }
        let for_ever =
            ["9999-12-31T23:59:58Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"];
        assert!(for_ever.iter().all(|it| date(it).is_some()));
        assert!(for_ever.is_sorted_by_key(|it| date(it)));
        assert!(date("0000-01-01T00:00:00+23:59") < date("1970-01-01T00:00:00Z"));
        for text in [
            "",
            "2026-01-15",
            "2026-01-15T12:00Z",
            "2026-01-15T12:00:00",
            "2026-01-15 12:00:00Z",
            "2026-01-15t12:00:00z",
            "2026-01-15T12:00:60Z",
            "2026-02-30T12:00:00Z",
            "2026-01-15T24:00:00Z",
            "20260115T120000Z",
            "1768478400",
            "2026-01-15T12:00:00.Z",
            "2026-01-15T12:00:00+0800",
            "2026-01-15T12:00:00+24:00",
            "2026-01-15T12:00:00+08",
            "2026-01-15T12:00:00Z[UTC]",
            "2026-01-15T12:00:00+08:00:00",
            "+2026-01-15T12:00:00Z",
            "2026-01-15T12:00:00.0000000001Z",
            " 2026-01-15T12:00:00Z",
            "2026-01-15T12:00:00,5Z",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_and_ranges_are_strict() {
        let contains = |net, address_text| Some(range(net)?.contains(&address(address_text)?));
        for (net, text, expected) in [
            ("10.0.0.0/8", "10.1.2.3", Some(true)),
            ("10.0.0.0/8", "11.1.2.3", Some(false)),
            ("10.0.0.0/8", "::ffff:10.1.2.3", Some(true)),
            ("::ffff:10.0.0.0/104", "10.1.2.3", Some(true)),
            ("::ffff:10.0.0.1", "10.0.0.1", Some(true)),
            ("0.0.0.0/0", "::1", Some(false)),
            ("::/0", "10.0.0.1", Some(false)),
            ("::/0", "::ffff:10.0.0.1", Some(false)),
            ("2001:db8::/32", "2001:0db8::1", Some(true)),
            ("10.0.0.1", "10.0.0.1", Some(true)),
            ("10.0.0.1/32", "10.0.0.1", Some(true)),
            ("10.0.0.1/8", "10.0.0.1", None),
            ("2001:db8::1/32", "::1", None),
            ("010.0.0.1", "10.0.0.1", None),
            ("10.0.0.0/08", "10.0.0.1", None),
            ("10.0.0.0/33", "10.0.0.1", None),
            ("10.0.0.0/", "10.0.0.1", None),
            ("10.0.0.0/+8", "10.0.0.1", None),
            ("::ffff:0:0/95", "10.0.0.1", None),
            ("10.0.0", "10.0.0.1", None),
            ("10.0.0.1:80", "10.0.0.1", None),
            ("fe80::1%eth0", "10.0.0.1", None),
            ("10.0.0.1", "10.0.0.1:80", None),
            ("10.0.0.1", " 10.0.0.1", None),
            ("10.0.0.1", "10.0.0.1/32", None),
        ] {
            assert_eq!(contains(net, text), expected, "{net} and {text}");
        }
    }

    #[test]
    fn booleans_fold_case_and_nothing_else() {
        let read = ["true", "TRUE", "True", "false", "fALSE", "yes", "1", " true", ""].map(boolean);
        let (t, f) = (Some(true), Some(false));
        assert_eq!(read, [t, t, t, f, f, None, None, None, None]);
    }
}
