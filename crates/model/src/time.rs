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
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "an RFC 3339 time";
        // The longest form with nanoseconds and an offset has 35 characters.
        if s.len() > 40 {
            return Err(ParseError::new(EXPECTED, s));
        }
        let t: jiff::Timestamp = s.parse().map_err(|_| ParseError::new(EXPECTED, s))?;
        let ms = t.as_millisecond();
        if (0..=MAX_MS).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(ParseError::new("a time in the years 1970 to 9999", s))
        }
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
}
