//! JSON, read from text.
//!
//! What a page was rendered from is read from text, and so are the events of the live stream. Reading answers from text too lets
//! the browser's module carry one reader for each type instead of two.

use leptos::server_fn::{Bytes, ContentType, Decodes, Encodes, Format, FormatType};
use serde::{Serialize, de::DeserializeOwned};

/// JSON in UTF-8.
pub struct TextJson;

/// An answer that is not JSON of what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TextJsonError {
    /// Not UTF-8.
    #[error("the answer is not text")]
    Text(#[from] std::str::Utf8Error),
    /// Not JSON, or of something else.
    #[error("the answer cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl ContentType for TextJson {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl FormatType for TextJson {
    const FORMAT_TYPE: Format = Format::Text;
}

impl<T: Serialize> Encodes<T> for TextJson {
    type Error = serde_json::Error;

    fn encode(output: &T) -> Result<Bytes, Self::Error> {
        serde_json::to_vec(output).map(Bytes::from)
    }
}

impl<T: DeserializeOwned> Decodes<T> for TextJson {
    type Error = TextJsonError;

    fn decode(bytes: Bytes) -> Result<T, Self::Error> {
        Ok(serde_json::from_str(std::str::from_utf8(&bytes)?)?)
    }
}
