//! What a bundle says of itself, before anything is verified.

use model::Digest;
use sigstore_verify::types::{HashAlgorithm, SignatureContent};

use super::{media_type, parse};
use crate::{Refused, Statement};

/// What a bundle says of itself. Nothing of it is verified: good for choosing and for labels, never for a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Its form, a media type.
    pub form: &'static str,
    /// `dsse-envelope` or `message-signature`.
    pub content: &'static str,
    /// The statement in it.
    pub statement: Option<Statement>,
    /// SHA-256 of the signed file, where the bundle says it.
    pub file: Option<Digest>,
}

impl Described {
    /// Reads a bundle.
    pub fn of(bundle: &[u8]) -> Result<Self, Refused> {
        let bundle = parse(bundle)?;
        let form = media_type(&bundle).as_str();
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                let statement = Statement::parse(envelope.payload.as_bytes())
                    .map_err(|error| Refused::Statement(error.to_string()))?;
                Ok(Self { form, content: "dsse-envelope", statement: Some(statement), file: None })
            }
            SignatureContent::MessageSignature(signed) => {
                let said = signed.message_digest.as_ref().filter(|said| said.algorithm == HashAlgorithm::Sha2256);
                let file = said.and_then(|said| <[u8; 32]>::try_from(said.digest.as_bytes()).ok());
                let file = file.map(|bytes| Digest::from_sha256(&bytes));
                Ok(Self { form, content: "message-signature", statement: None, file })
            }
            _ => Err(Refused::Malformed("a signature of a kind that is not known here".to_owned())),
        }
    }

    /// Whether it says that it is about this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        match &self.statement {
            Some(statement) => statement.is_about(digest),
            None => self.file.as_ref() == Some(digest),
        }
    }
}
