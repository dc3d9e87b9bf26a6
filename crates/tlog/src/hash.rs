//! The 32 bytes that everything here is made of.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Characters of a hash in base64, padding included.
const BASE64_LEN: usize = 44;

/// A SHA-256 hash. `Display`, `FromStr` and serde use 64 lower-case hexadecimal digits; the C2SP texts use
/// [`Hash::to_base64`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

/// Text or bytes that are not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not standard base64 (RFC 4648 section 4, padded) of 32 bytes.
    #[error("not the base64 of 32 bytes")]
    Base64,
    /// Not 64 lower-case hexadecimal digits.
    #[error("not 64 lower-case hexadecimal digits")]
    Hex,
    /// Not 32 bytes.
    #[error("{0} bytes where a hash has 32")]
    Length(usize),
}

impl Hash {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a slice that must hold exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, HashError> {
        bytes.try_into().map(Self).map_err(|_| HashError::Length(bytes.len()))
    }

    /// Standard base64 with padding: 44 characters.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// From standard base64 with padding, in its only canonical spelling.
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        if text.len() != BASE64_LEN {
            return Err(HashError::Base64);
        }
        let bytes = STANDARD.decode(text).map_err(|_| HashError::Base64)?;
        Self::from_slice(&bytes).map_err(|_| HashError::Base64)
    }

    /// The first and last eight hexadecimal digits, for a line in a page: `6e340b9c…3afa011d`.
    pub fn short(&self) -> String {
        let hex = self.to_string();
        hex.get(..8).zip(hex.get(56..)).map(|(head, tail)| format!("{head}…{tail}")).unwrap_or(hex)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Hash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(HashError::Hex);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(HashError::Hex),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Hash {
    type Error = HashError;
    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let hash = Hash(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        assert_eq!(serde_json::from_str::<Hash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
        assert_eq!(hash.short(), "00070e15…c4cbd2d9");
    }

    #[test]
    fn refusals() {
        let good = Hash([0xab; 32]);
        let (hex, base64) = (good.to_string(), good.to_base64());
        for bad in ["", &hex[1..], &hex.to_uppercase(), &format!("{hex} "), &format!("+{}", &hex[1..])] {
            assert_eq!(bad.parse::<Hash>(), Err(HashError::Hex), "{bad:?}");
        }
        let trailing_bits = base64.replace("s=", "t="); // same 32 bytes, other unused bits
        assert_ne!(trailing_bits, base64);
        for bad in ["", " ", &base64[..43], &format!("{base64}\n"), &base64.replace('=', ""), &trailing_bits] {
            assert_eq!(Hash::from_base64(bad), Err(HashError::Base64), "{bad:?}");
        }
        assert_eq!(Hash::from_slice(&[0; 31]), Err(HashError::Length(31)));
    }
}
