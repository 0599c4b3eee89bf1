//! Durations and sizes as they are written: a whole number and a unit.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] =
    &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];

/// A duration with a unit: `300ms`, `2s`, `15m`, `1h`, `400d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A size with a binary unit: `512B`, `64KiB`, `64MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let millis = parse(&text, DURATIONS).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a duration: write a whole number and ms, s, m, h or d, such as `2s`"
            ))
        })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text, SIZES).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a size: write a whole number and B, KiB, MiB, GiB or TiB, such as `64MiB`"
            ))
        })
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(it, _)| *it == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_units() {
        for (text, expected) in [
            ("300ms", Some(300)),
            ("2s", Some(2_000)),
            ("15m", Some(900_000)),
            ("1h", Some(3_600_000)),
            ("400d", Some(34_560_000_000)),
            ("0s", Some(0)),
            ("2", None),
            ("", None),
            ("s", None),
            ("2 s", None),
            ("-2s", None),
            ("2.5s", None),
            ("2S", None),
            ("2sec", None),
            ("99999999999999999999d", None),
            ("213503982335d", None),
        ] {
            assert_eq!(parse(text, DURATIONS), expected, "{text}");
        }
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("1B", Some(1)),
            ("1TiB", Some(1 << 40)),
            ("64MB", None),
            ("64", None),
            ("64mib", None),
        ] {
            assert_eq!(parse(text, SIZES), expected, "{text}");
        }
    }
}
