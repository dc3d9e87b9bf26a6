//! Traffic weight.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// Share of traffic in whole per cent, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(100);

    /// A weight of 0 to 100 per cent.
    pub fn new(percent: u8) -> Result<Self, ParseError> {
        if percent <= 100 {
            Ok(Self(percent))
        } else {
            Err(ParseError::new("a weight of 0 to 100", &percent.to_string()))
        }
    }
    /// Per cent.
    pub fn percent(self) -> u8 {
        self.0
    }
}
impl TryFrom<u8> for Weight {
    type Error = ParseError;
    fn try_from(p: u8) -> Result<Self, ParseError> {
        Self::new(p)
    }
}
impl From<Weight> for u8 {
    fn from(w: Weight) -> u8 {
        w.0
    }
}
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}
