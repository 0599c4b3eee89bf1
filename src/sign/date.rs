//! The value of `X-Sdk-Date`: UTC, compact ISO form, whole seconds.

use super::Error;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A point in time as it is signed, such as `20260115T120000Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdkDate {
    text: String,
    time: Timestamp,
}

impl SdkDate {
    /// `time`, cut to the second.
    #[must_use]
    pub fn new(time: Timestamp) -> Self {
        let it = Offset::UTC.to_datetime(time);
        let mut text = String::with_capacity(16);
        // A year outside 0–9999 comes out wrong, and is refused like any date that is not now.
        push_pair(&mut text, it.year() / 100);
        push_pair(&mut text, it.year() % 100);
        push_pair(&mut text, it.month().into());
        push_pair(&mut text, it.day().into());
        text.push('T');
        push_pair(&mut text, it.hour().into());
        push_pair(&mut text, it.minute().into());
        push_pair(&mut text, it.second().into());
        text.push('Z');
        Self { text, time }
    }

    /// Reads a header value. Exactly the form that the SDKs send: a lenient reader would give one
    /// moment two spellings.
    ///
    /// # Errors
    /// [`Error::Date`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text)
            .and_then(|it| Offset::UTC.to_timestamp(it))
            .map_err(|_| Error::Date)?;
        // jiff takes other spellings too, such as a leap second.
        Some(Self::new(time)).filter(|it| it.text == text).ok_or(Error::Date)
    }

    /// The header value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The day, such as `20260115`.
    #[must_use]
    pub fn day(&self) -> &str {
        self.text.get(..8).unwrap_or_default()
    }

    /// The moment.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

/// Two decimal digits; the formatting machinery would cost a tenth of a signature.
fn push_pair(text: &mut String, number: i16) {
    for digit in [number / 10 % 10, number % 10] {
        text.extend(char::from_digit(u32::from(digit.unsigned_abs()), 10));
    }
}
