//! JSON, read from text; and JSON that is written already.
//!
//! What a page was rendered from is read from text, and so are the events of the live stream. Reading answers from text too lets
//! the browser's module carry one reader for each type instead of two.

use leptos::{
    server::codee::{Decoder, Encoder},
    server_fn::{Bytes, ContentType, Decodes, Encodes, Format, FormatType},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{ApiError, page::PageText};

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

/// Text that is JSON: sent as it is, and read where its type is known ([`super::page::read`]).
pub struct Written;

impl ContentType for Written {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl FormatType for Written {
    const FORMAT_TYPE: Format = Format::Text;
}

impl Encodes<String> for Written {
    type Error = std::convert::Infallible;

    fn encode(output: &String) -> Result<Bytes, Self::Error> {
        Ok(Bytes::copy_from_slice(output.as_bytes()))
    }
}

impl Decodes<String> for Written {
    type Error = TextJsonError;

    fn decode(bytes: Bytes) -> Result<String, Self::Error> {
        Ok(std::str::from_utf8(&bytes)?.to_owned())
    }
}

/// What no JSON begins with.
const PROBLEM: char = '!';

/// How it stands in the page: as it is, or why there is none.
impl Encoder<PageText> for Written {
    type Error = serde_json::Error;
    type Encoded = String;

    fn encode(page: &PageText) -> Result<String, Self::Error> {
        match page {
            Ok(text) => Ok(text.clone()),
            Err(error) => Ok(format!("{PROBLEM}{}", serde_json::to_string(error)?)),
        }
    }
}

impl Decoder<PageText> for Written {
    type Error = serde_json::Error;
    type Encoded = str;

    fn decode(text: &str) -> Result<PageText, Self::Error> {
        match text.strip_prefix(PROBLEM) {
            Some(error) => serde_json::from_str::<ApiError>(error).map(Err),
            None => Ok(Ok(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "ssr")]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_in_the_document_as_it_is_or_says_why_not() {
        for page in
            [Ok("{\"a\":\"!\"}".to_owned()), Ok(String::new()), Err(ApiError::NotFound("release !x".to_owned()))]
        {
            let text = <Written as Encoder<PageText>>::encode(&page).unwrap();
            assert_eq!(<Written as Decoder<PageText>>::decode(&text).unwrap(), page, "{text}");
        }
        assert!(<Written as Decoder<PageText>>::decode("!what").is_err());
    }
}
