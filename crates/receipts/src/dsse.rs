//! DSSE v1.0.2 (github.com/secure-systems-lab/dsse): the envelope around signed bytes, and what exactly is signed.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde::{Deserialize, Serialize};

use crate::MAX_ENTRY;

/// Signatures of one envelope: the key, its successor during a rotation, and two more. Each costs a verification.
pub const MAX_SIGNATURES: usize = 4;
/// Characters of a key id: 64 hexadecimal digits are the common form, some write `SHA256:…` or a name.
pub const MAX_KEYID: usize = 128;
/// Characters of a payload type: a media type.
pub const MAX_PAYLOAD_TYPE: usize = 255;
/// Bytes of one signature: Ed25519 has 64, the largest post-quantum one in use about 5 kB.
const MAX_SIGNATURE: usize = 8 * 1024;

/// A parsed envelope. Nothing is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// How to read the payload; part of what is signed.
    pub payload_type: String,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// One to [`MAX_SIGNATURES`].
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature over [`pae`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// Which key is said to have signed: a hint, not authenticated. Empty when unset.
    pub keyid: String,
    /// The signature's bytes.
    pub sig: Vec<u8>,
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than a log entry may be.
    #[error("{0} bytes are more than the {MAX_ENTRY} of a log entry")]
    TooLarge(usize),
    /// Not JSON of the envelope's form, or a field is there twice.
    #[error("not a DSSE envelope: {0}")]
    Json(String),
    /// A field is not base64 in one of the two alphabets, in its canonical spelling.
    #[error("{0} is not base64")]
    Base64(&'static str),
    /// None, or more than [`MAX_SIGNATURES`].
    #[error("{0} signatures, 1 to {MAX_SIGNATURES} are allowed")]
    Signatures(usize),
    /// A text or a signature is longer than its limit.
    #[error("{0} is too long")]
    Long(&'static str),
}

/// The form on the wire. Fields that are not known are ignored, as the specification demands; they are not signed, and
/// nothing here shows them.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    payload: std::borrow::Cow<'a, str>,
    #[serde(rename = "payloadType", borrow)]
    payload_type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    signatures: Vec<WireSignature<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature<'a> {
    #[serde(default, borrow)]
    keyid: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    sig: std::borrow::Cow<'a, str>,
}

/// Pre-authentication encoding: the bytes that are signed.
/// `"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload`
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// An envelope from its JSON bytes, within limits.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENTRY {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|error| EnvelopeError::Json(error.to_string()))?;
        if !(1..=MAX_SIGNATURES).contains(&wire.signatures.len()) {
            return Err(EnvelopeError::Signatures(wire.signatures.len()));
        }
        if wire.payload_type.len() > MAX_PAYLOAD_TYPE {
            return Err(EnvelopeError::Long("payloadType"));
        }
        let signature = |wire: &WireSignature<'_>| {
            if wire.keyid.len() > MAX_KEYID {
                return Err(EnvelopeError::Long("keyid"));
            }
            let sig = decode(&wire.sig).ok_or(EnvelopeError::Base64("sig"))?;
            if sig.len() > MAX_SIGNATURE {
                return Err(EnvelopeError::Long("sig"));
            }
            Ok(EnvelopeSignature { keyid: wire.keyid.clone().into_owned(), sig })
        };
        Ok(Self {
            payload: decode(&wire.payload).ok_or(EnvelopeError::Base64("payload"))?,
            payload_type: wire.payload_type.clone().into_owned(),
            signatures: wire.signatures.iter().map(signature).collect::<Result<_, _>>()?,
        })
    }

    /// The JSON bytes as this log writes them: fields in alphabetical order, no spaces, standard base64.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            payload: STANDARD.encode(&self.payload).into(),
            payload_type: self.payload_type.as_str().into(),
            signatures: self
                .signatures
                .iter()
                .map(|s| WireSignature { keyid: s.keyid.as_str().into(), sig: STANDARD.encode(&s.sig).into() })
                .collect(),
        };
        // Texts and lists of texts always have a JSON form.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// The bytes that each signature covers.
    pub fn signed_bytes(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }
}

/// Standard or URL-safe alphabet with padding, as the specification's own implementations read it; never both alphabets in
/// one text, never stray bits at the end.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|b| b == b'-' || b == b'_') { URL_SAFE.decode(text).ok() } else { STANDARD.decode(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The specification's own example (protocol.md, "Test Vectors").
    #[test]
    fn specification_vector() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        let envelope = Envelope::parse(
            br#"{"payload": "aGVsbG8gd29ybGQ=",
                 "payloadType": "http://example.com/HelloWorld",
                 "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}"#,
        )
        .unwrap();
        assert_eq!(envelope.payload, b"hello world");
        assert_eq!(envelope.signatures[0].keyid, "");
        assert_eq!(envelope.signatures[0].sig.len(), 64);
    }

    #[test]
    fn both_alphabets() {
        let bytes = [0xfb_u8, 0xff, 0xfe];
        for text in ["+//+", "-__-"] {
            assert_eq!(decode(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        assert_eq!(decode("YQ==").as_deref(), Some(&b"a"[..]));
        for bad in ["YQ", "YR==", "Y", "YQ=\n", "+_", " YQ=="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals() {
        let check = |json: &str, wanted: fn(&EnvelopeError) -> bool| {
            let error = Envelope::parse(json.as_bytes()).unwrap_err();
            assert!(wanted(&error), "{json} gave {error:?}");
        };
        let json = |error: &EnvelopeError| matches!(error, EnvelopeError::Json(_));
        for bad in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"payload":"","payloadType":""}"#,
            r#"{"payload":"","payload":"","payloadType":"","signatures":[{"sig":""}]}"#,
            r#"{"payload":"","payloadType":"","signatures":[{"keyid":"a"}]}"#,
            r#"{"payload":1,"payloadType":"","signatures":[{"sig":""}]}"#,
            r#"{"payload":"","payloadType":"","signatures":[{"sig":""}]} x"#,
        ] {
            check(bad, json);
        }
        check(r#"{"payload":"","payloadType":"","signatures":[]}"#, |e| *e == EnvelopeError::Signatures(0));
        check(
            r#"{"payload":"","payloadType":"","signatures":[{"sig":""},{"sig":""},{"sig":""},{"sig":""},{"sig":""}]}"#,
            |e| *e == EnvelopeError::Signatures(5),
        );
        check(r#"{"payload":"*","payloadType":"","signatures":[{"sig":""}]}"#, |e| {
            *e == EnvelopeError::Base64("payload")
        });
        check(r#"{"payload":"","payloadType":"","signatures":[{"sig":"*"}]}"#, |e| *e == EnvelopeError::Base64("sig"));
        let long =
            format!(r#"{{"payload":"","payloadType":"","signatures":[{{"keyid":"{}","sig":""}}]}}"#, "k".repeat(129));
        check(&long, |e| *e == EnvelopeError::Long("keyid"));
        check(&" ".repeat(MAX_ENTRY + 1), |e| matches!(e, EnvelopeError::TooLarge(_)));
        check(&"[".repeat(60_000), json);
    }
}
