//! What a log of signatures takes: requests of Rekor v2's write API, verified, as the entry that is logged.

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};
use serde::Deserialize;
use serde_json::json;
use sigstore_verify::{
    crypto::{KeyAlgorithm, SigningScheme, parse_certificate_info, sha256, sha384, verify_signature_prehashed},
    types::{DerCertificate, DerPublicKey, SignatureBytes, pae},
};

/// Longest certificate or key in a request: Fulcio's have 1 kB, an RSA key of 4,096 bits in a certificate with many names 20 kB.
const MAX_VERIFIER: usize = 20 * 1024;
/// Longest signature: RSA of 4,096 bits has 512 bytes.
const MAX_SIGNATURE: usize = 1024;
/// The kinds of keys that sign here: Rekor v2's, without P-521 and Ed25519ph, which the verifier underneath does not know prehashed.
const KINDS: [(&str, SigningScheme, &str); 5] = [
    ("PKIX_ECDSA_P256_SHA_256", SigningScheme::EcdsaP256Sha256, "SHA2_256"),
    ("PKIX_ECDSA_P384_SHA_384", SigningScheme::EcdsaP384Sha384, "SHA2_384"),
    ("PKIX_RSA_PKCS1V15_2048_SHA256", SigningScheme::RsaPkcs1Sha256, "SHA2_256"),
    ("PKIX_RSA_PKCS1V15_3072_SHA256", SigningScheme::RsaPkcs1Sha256, "SHA2_256"),
    ("PKIX_RSA_PKCS1V15_4096_SHA256", SigningScheme::RsaPkcs1Sha256, "SHA2_256"),
];

/// Why a request is not logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not a request of this API.
    #[error("not a request of Rekor v2: {0}")]
    Malformed(String),
    /// Larger than an entry needs.
    #[error("{what} has {found} bytes, {max} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// A kind of key that is not taken.
    #[error("keys of the kind {0:?} are not taken: ECDSA P-256 and P-384, RSA PKCS#1 v1.5 with SHA-256")]
    Kind(String),
    /// The signature is not this key's over this digest.
    #[error("the signature does not hold: {0}")]
    Signature(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(alias = "hashed_rekord_request_v002")]
    hashed_rekord_request_v002: Option<HashedRekord>,
    #[serde(alias = "dsse_request_v002")]
    dsse_request_v002: Option<Dsse>,
}

#[derive(Deserialize)]
struct HashedRekord {
    digest: String,
    signature: Signature,
}

#[derive(Deserialize)]
struct Signature {
    content: String,
    verifier: Verifier,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verifier {
    #[serde(alias = "public_key")]
    public_key: Option<Raw>,
    #[serde(alias = "x509_certificate")]
    x509_certificate: Option<Raw>,
    #[serde(alias = "key_details")]
    key_details: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(alias = "raw_bytes")]
    raw_bytes: String,
}

#[derive(Deserialize)]
struct Dsse {
    envelope: Envelope,
    verifiers: Vec<Verifier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    #[serde(alias = "payload_type")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// The entry that a request to Rekor v2's write API becomes, in its canonical form (RFC 8785), once its signature was verified.
///
/// `hashedRekordRequestV002` is taken as it is. `dsseRequestV002`, which Rekor v2 itself has given up, is logged as its clients are told
/// to log envelopes: a hashedrekord over the digest of the pre-authentication encoding.
pub fn log_entry(request: &[u8]) -> Result<Vec<u8>, EntryError> {
    let request: Request = serde_json::from_slice(request).map_err(|error| EntryError::Malformed(error.to_string()))?;
    let malformed = |why: &str| EntryError::Malformed(why.to_owned());
    match (request.hashed_rekord_request_v002, request.dsse_request_v002) {
        (Some(asked), None) => {
            let digest = base64("digest", &asked.digest, 64)?;
            entry(&digest, &asked.signature.content, &asked.signature.verifier)
        }
        (None, Some(asked)) => {
            let ([signature], [verifier]) = (&asked.envelope.signatures[..], &asked.verifiers[..]) else {
                return Err(malformed("an envelope with one signature and its one verifier"));
            };
            let payload = base64("payload", &asked.envelope.payload, super::limits::MAX_BUNDLE)?;
            let message = pae(&asked.envelope.payload_type, &payload);
            let (_, scheme, _) = kind(&verifier.key_details)?;
            let digest = match scheme {
                SigningScheme::EcdsaP384Sha384 => sha384(&message).as_bytes().to_vec(),
                _ => sha256(&message).as_bytes().to_vec(),
            };
            entry(&digest, &signature.sig, verifier)
        }
        _ => Err(malformed("exactly one of hashedRekordRequestV002 and dsseRequestV002")),
    }
}

fn entry(digest: &[u8], signature: &str, verifier: &Verifier) -> Result<Vec<u8>, EntryError> {
    let (details, scheme, algorithm) = kind(&verifier.key_details)?;
    let length = if algorithm == "SHA2_384" { 48 } else { 32 };
    if digest.len() != length {
        return Err(EntryError::Malformed(format!("the digest has {} bytes, {details} signs {length}", digest.len())));
    }
    let signature = base64("signature", signature, MAX_SIGNATURE)?;
    let (name, raw, key) = match (&verifier.public_key, &verifier.x509_certificate) {
        (Some(key), None) => {
            let raw = base64("key", &key.raw_bytes, MAX_VERIFIER)?;
            ("publicKey", raw.clone(), DerPublicKey::new(raw))
        }
        (None, Some(certificate)) => {
            let raw = base64("certificate", &certificate.raw_bytes, MAX_VERIFIER)?;
            let parsed = parse_certificate_info(&DerCertificate::new(raw.clone()));
            let parsed = parsed.map_err(|error| EntryError::Malformed(format!("the certificate: {error}")))?;
            ("x509Certificate", raw, parsed.public_key)
        }
        _ => return Err(EntryError::Malformed("exactly one of publicKey and x509Certificate".to_owned())),
    };
    let found = KeyAlgorithm::from_spki(&key).map_err(|error| EntryError::Malformed(format!("the key: {error}")))?;
    if found != scheme.key_algorithm() {
        return Err(EntryError::Kind(format!("{found:?} as {details}")));
    }
    verify_signature_prehashed(&key, digest, &SignatureBytes::new(signature.clone()), scheme)
        .map_err(|error| EntryError::Signature(error.to_string()))?;
    let mut said = json!({ "keyDetails": details });
    said[name] = json!({ "rawBytes": STANDARD.encode(raw) });
    let body = json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
        "data": { "algorithm": algorithm, "digest": STANDARD.encode(digest) },
        "signature": { "content": STANDARD.encode(signature), "verifier": said },
    } } });
    serde_json_canonicalizer::to_vec(&body).map_err(|error| EntryError::Malformed(error.to_string()))
}

fn kind(details: &str) -> Result<(&'static str, SigningScheme, &'static str), EntryError> {
    let found = KINDS.into_iter().find(|(name, ..)| *name == details);
    found.ok_or_else(|| EntryError::Kind(details.chars().take(80).collect()))
}

/// Bytes in base64; protobuf's JSON form takes the alphabet for addresses too.
fn base64(what: &'static str, text: &str, max: usize) -> Result<Vec<u8>, EntryError> {
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    let bytes = bytes.map_err(|_| EntryError::Malformed(format!("the {what} is not base64")))?;
    match bytes.len() {
        0 => Err(EntryError::Malformed(format!("the {what} is empty"))),
        found if found > max => Err(EntryError::TooLarge { what, found, max }),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{SLSA_PROVENANCE, SigningKey, Statement};

    #[test]
    fn what_is_logged_was_verified() {
        let (key, _) = SigningKey::generate().unwrap();
        let (other, _) = SigningKey::generate().unwrap();
        let signed = key.file(&mut &b"a file"[..]).unwrap();
        let request: Value = serde_json::from_str(&signed.log_request()).unwrap();
        let body = log_entry(request.to_string().as_bytes()).unwrap();
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.starts_with(r#"{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":"#),
            "{text}"
        );
        let refused = |change: &dyn Fn(&mut Value), expected: &str| {
            let mut changed = request.clone();
            change(&mut changed["hashedRekordRequestV002"]);
            let said = log_entry(changed.to_string().as_bytes()).unwrap_err().to_string();
            assert!(said.contains(expected), "{expected:?}: {said}");
        };
        refused(&|r| r["digest"] = STANDARD.encode([1; 32]).into(), "does not hold");
        refused(&|r| r["digest"] = STANDARD.encode([1; 31]).into(), "signs 32");
        refused(&|r| r["digest"] = "%".into(), "not base64");
        refused(&|r| r["digest"] = "".into(), "is empty");
        refused(&|r| r["signature"]["content"] = STANDARD.encode([1; 2000]).into(), "1024 are allowed");
        let spki = STANDARD.encode(other.public().spki());
        refused(&|r| r["signature"]["verifier"]["publicKey"]["rawBytes"] = spki.clone().into(), "does not hold");
        refused(&|r| r["signature"]["verifier"]["keyDetails"] = "PKIX_ED25519".into(), "not taken");
        refused(&|r| r["signature"]["verifier"]["keyDetails"] = "PKIX_ECDSA_P384_SHA_384".into(), "signs 48");
        refused(&|r| r["signature"]["verifier"]["keyDetails"] = "PKIX_RSA_PKCS1V15_2048_SHA256".into(), "not taken");
        refused(&|r| r["signature"]["verifier"]["x509Certificate"] = json!({"rawBytes": "AAAA"}), "exactly one of");
        refused(
            &|r| {
                r["signature"]["verifier"] =
                    json!({"x509Certificate": {"rawBytes": "AAAA"}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"})
            },
            "certificate",
        );
        for rubbish in ["", "{}", "[]", "null", r#"{"hashedRekordRequestV002":{}}"#] {
            assert!(log_entry(rubbish.as_bytes()).is_err(), "{rubbish}");
        }
    }

    #[test]
    fn an_envelope_becomes_the_entry_that_its_client_would_send() {
        let (key, _) = SigningKey::generate().unwrap();
        let statement = Statement::new("app", &model::Digest::from_sha256(&[7; 32]), SLSA_PROVENANCE, json!({}));
        let signed = key.statement(&statement).unwrap();
        let sent: Value = serde_json::from_str(&signed.log_request()).unwrap();
        let verifier = sent["hashedRekordRequestV002"]["signature"]["verifier"].clone();
        let bundle: Value = serde_json::from_str(&key_bundle(signed)).unwrap();
        let envelope = bundle["dsseEnvelope"].clone();
        let dsse = json!({ "dsseRequestV002": { "envelope": envelope, "verifiers": [verifier] } });
        let body = log_entry(dsse.to_string().as_bytes()).unwrap();
        assert_eq!(body, log_entry(sent.to_string().as_bytes()).unwrap());
        let two = json!({ "dsseRequestV002": { "envelope": envelope, "verifiers": [verifier, verifier] } });
        assert!(log_entry(two.to_string().as_bytes()).is_err());
    }

    fn key_bundle(signed: crate::Signed) -> String {
        signed.unlogged().unwrap()
    }
}
