//! Instants, without a clock.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// Milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with three decimals, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999Z: four-digit years only.
const MAX_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch, clamped to the years 1970 to 9999.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(0, MAX_MS))
    }
    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }
    /// This instant, later by so many milliseconds.
    pub fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }
    /// Milliseconds from `earlier` to this; negative when `earlier` is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
    /// `HH:MM:SS` in UTC, for dense tables.
    pub fn clock(self) -> String {
        let s = self.0 / 1000 % 86_400;
        format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        // A leap year has 366 days: never too late, and at most six years too early in the year 9999.
        let mut year = 1970 + days / 366;
        while days_before(year + 1) <= days {
            year += 1;
        }
        let mut day = days - days_before(year);
        let mut month = 1;
        while day >= days_in(year, month) {
            day -= days_in(year, month);
            month += 1;
        }
        let (s, ms) = (ms / 1000, ms % 1000);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z", day + 1)
    }
}

const DAY_MS: i64 = 86_400_000;

/// Days from 1970-01-01 to the first of January of a year from 1970 on.
fn days_before(year: i64) -> i64 {
    let since_one = |year: i64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    since_one(year) - since_one(1970)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What is wrong with a text that should be a time.
enum Wrong {
    /// It is none by RFC 3339.
    Form,
    /// It is outside of the years 1970 to 9999.
    Years,
}

/// A text read from its start. Our own few lines and no library of calendars, because the browser reads times before anything else.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Result<u8, Wrong> {
        let (first, rest) = self.0.split_first().ok_or(Wrong::Form)?;
        if !wanted.contains(first) {
            return Err(Wrong::Form);
        }
        self.0 = rest;
        Ok(*first)
    }
    fn digit(&mut self) -> Result<i64, Wrong> {
        Ok(i64::from(self.one_of(b"0123456789")? - b'0'))
    }
    /// So many digits, a number from `least` to `most`.
    fn number(&mut self, digits: usize, least: i64, most: i64) -> Result<i64, Wrong> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 10 + self.digit()?;
        }
        if (least..=most).contains(&number) { Ok(number) } else { Err(Wrong::Form) }
    }
    /// A fraction of a second in milliseconds, cut off there; none is 0.
    fn fraction(&mut self) -> Result<i64, Wrong> {
        if self.one_of(b".").is_err() {
            return Ok(0);
        }
        let mut ms = self.digit()? * 100;
        let mut place = 10;
        // Nanoseconds are the finest that anybody writes.
        for _ in 1..9 {
            let Ok(digit) = self.digit() else { break };
            ms += digit * place;
            place /= 10;
        }
        Ok(ms)
    }
    /// Minutes ahead of UTC.
    fn offset(&mut self) -> Result<i64, Wrong> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let hours = self.number(2, 0, 23)?;
        self.one_of(b":")?;
        Ok(sign * (hours * 60 + self.number(2, 0, 59)?))
    }
    /// A whole time in milliseconds since the epoch.
    fn time(&mut self) -> Result<i64, Wrong> {
        let year = self.number(4, 0, 9999)?;
        self.one_of(b"-")?;
        let month = self.number(2, 1, 12)?;
        self.one_of(b"-")?;
        let day = self.number(2, 1, days_in(year, month))?;
        self.one_of(b"Tt ")?;
        let hour = self.number(2, 0, 23)?;
        self.one_of(b":")?;
        let minute = self.number(2, 0, 59)?;
        self.one_of(b":")?;
        // A leap second is the one before it: the epoch does not count them.
        let second = self.number(2, 0, 60)?.min(59);
        let fraction = self.fraction()?;
        let offset = self.offset()?;
        if !self.0.is_empty() {
            return Err(Wrong::Form);
        }
        if year < 1969 {
            return Err(Wrong::Years);
        }
        let before: i64 = (1..month).map(|month| days_in(year, month)).sum();
        let days = days_before(year) + before + day - 1;
        let ms = days * DAY_MS + ((hour * 60 + minute - offset) * 60 + second) * 1000 + fraction;
        if (0..=MAX_MS).contains(&ms) { Ok(ms) } else { Err(Wrong::Years) }
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Reader(s.as_bytes()).time().map(Self).map_err(|wrong| {
            let expected = match wrong {
                Wrong::Form => "an RFC 3339 time",
                Wrong::Years => "a time in the years 1970 to 9999",
            };
            ParseError::new(expected, s)
        })
    }
}
impl TryFrom<String> for Timestamp {
    type Error = ParseError;
    fn try_from(s: String) -> Result<Self, ParseError> {
        s.parse()
    }
}
impl From<Timestamp> for String {
    fn from(t: Timestamp) -> String {
        t.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        let t = Timestamp::from_millis(1_778_162_792_045);
        assert_eq!(t.to_string(), "2026-05-07T14:06:32.045Z");
        assert_eq!(t.to_string().parse::<Timestamp>().unwrap(), t);
        assert_eq!(t.clock(), "14:06:32");
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!("2026-05-07T16:06:32.045+02:00".parse::<Timestamp>().unwrap(), t);
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    /// The last day, which the other implementation does not have.
    #[test]
    fn the_last_moment() {
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!("9999-12-31T23:59:59.9999Z".parse::<Timestamp>().unwrap(), last);
    }

    /// Forms at the edge, each against a second implementation.
    #[test]
    fn read_as_others_read_it() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:30:00-00:30",
            "1970-01-01T00:29:59+00:30",
            "9999-12-30T21:59:59.999999999Z",
            "9999-12-31T23:59:59-00:01",
            "2024-02-29t12:00:00z",
            "2023-02-29T12:00:00Z",
            "2000-02-29 12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-05-07T14:06:32.1Z",
            "2026-05-07T14:06:32.Z",
            "2026-05-07T14:06:32.0459999Z",
            "2026-05-07T14:06:32.1234567890Z",
            "2026-05-07T24:00:00Z",
            "2026-05-07T14:60:00Z",
            "2026-05-07T14:06:32",
            "2026-05-07T14:06:32Zx",
            "2026-05-00T14:06:32Z",
            "0000-01-01T00:00:00Z",
        ] {
            let other = text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond());
            let other = other.filter(|ms| (0..=MAX_MS).contains(ms));
            assert_eq!(text.parse::<Timestamp>().ok().map(Timestamp::as_millis), other, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn written_as_others_write_it(ms in 0..=jiff::Timestamp::MAX.as_millisecond()) {
            let ours = Timestamp::from_millis(ms);
            let other = jiff::Timestamp::from_millisecond(ms).unwrap();
            proptest::prop_assert_eq!(ours.to_string(), format!("{other:.3}"));
            proptest::prop_assert_eq!(ours.to_string().parse::<Timestamp>().unwrap(), ours);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[0-9TZ:. +-]{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
