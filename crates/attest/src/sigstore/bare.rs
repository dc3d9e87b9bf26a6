//! A managed key's signature that nobody has logged or timed: the library takes none, a policy may.

use model::Digest;
use sigstore_verify::{
    crypto::{KeyAlgorithm, SigningScheme, sha256, sha256_reader, verify_signature, verify_signature_prehashed},
    types::{Bundle, HashAlgorithm, SignatureContent},
};

use super::{Artifact, Evidence, PublicKey, make::IN_TOTO};
use crate::Refused;

/// Whether there is nothing but a signature.
pub(super) fn is_bare(bundle: &Bundle) -> bool {
    let material = &bundle.verification_material;
    material.tlog_entries.is_empty() && material.timestamp_verification_data.rfc3161_timestamps.is_empty()
}

/// The digest of what can be read here, to its end.
pub fn digest_of(reader: &mut dyn std::io::Read) -> Result<Digest, Refused> {
    let hash = sha256_reader(reader).map_err(|error| Refused::Unreadable(error.to_string()))?;
    Ok(Digest::from_sha256(hash.as_bytes()))
}

/// Holds the signature against key and artifact.
pub(super) fn verify(
    bundle: &Bundle,
    evidence: &Evidence,
    artifact: Artifact<'_>,
    key: &PublicKey,
) -> Result<(), Refused> {
    let wrong = |why: &dyn std::fmt::Display| Refused::Signature(why.to_string());
    let algorithm = KeyAlgorithm::from_spki(&key.0).map_err(|error| wrong(&error))?;
    let digest = match artifact {
        Artifact::Bytes(bytes) => Digest::from_sha256(sha256(bytes).as_bytes()),
        Artifact::Digest(digest) => digest,
        Artifact::Reader(reader) => digest_of(reader)?,
    };
    match (&bundle.content, evidence) {
        (SignatureContent::DsseEnvelope(envelope), Evidence::Statement(statement)) => {
            if envelope.payload_type != IN_TOTO {
                return Err(Refused::Statement(format!("the payload is not {IN_TOTO}")));
            }
            let scheme = algorithm.default_signing_scheme();
            verify_signature(&key.0, &envelope.pae(), &envelope.signature.sig, scheme)
                .map_err(|error| wrong(&error))?;
            if !statement.is_about(&digest) {
                return Err(Refused::OtherArtifact(format!("none of its subjects is {digest}")));
            }
            Ok(())
        }
        (SignatureContent::MessageSignature(signed), _) => {
            let bytes = hex::decode(digest.hex()).map_err(|error| Refused::OtherArtifact(error.to_string()))?;
            if let Some(said) = &signed.message_digest
                && (said.algorithm != HashAlgorithm::Sha2256 || said.digest.as_bytes() != bytes)
            {
                return Err(Refused::OtherArtifact(format!("it was made over another digest than {digest}")));
            }
            let scheme = algorithm.default_signing_scheme();
            if !matches!(scheme, SigningScheme::EcdsaP256Sha256 | SigningScheme::RsaPkcs1Sha256) {
                return Err(Refused::Signature("a bare signature is verified over SHA-256 only".to_owned()));
            }
            verify_signature_prehashed(&key.0, &bytes, &signed.signature, scheme).map_err(|error| wrong(&error))
        }
        _ => Err(Refused::Malformed("a signature of a kind that is not known here".to_owned())),
    }
}
