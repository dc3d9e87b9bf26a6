//! The `trusted_root.json` by which others believe this log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tlog::VerifyingKey;

/// SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Longest name of a host (RFC 1035).
const MAX_HOST: usize = 253;

/// Whether this can name the log: the name of a host, without port and path, because verifiers take the host of the trusted root's
/// address for it.
pub fn is_origin(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= MAX_HOST && text.split('.').all(label)
}

/// The log's id: the whole hash of which checkpoints carry the first four bytes (c2sp.org/signed-note, Ed25519).
pub(crate) fn log_id(vkey: &VerifyingKey) -> [u8; 32] {
    let hash = Sha256::new().chain_update(vkey.name()).chain_update([b'\n', 1]).chain_update(vkey.public_key());
    hash.finalize().into()
}

/// What a verifier needs to believe this log, and nobody else: no certificate authority, no timestamps.
pub fn trusted_root(vkey: &VerifyingKey, begun: Timestamp) -> Value {
    let spki = [&ED25519_SPKI[..], vkey.public_key()].concat();
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [{
            "baseUrl": format!("https://{}", vkey.name()),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(spki),
                "keyDetails": "PKIX_ED25519",
                "validFor": { "start": begun.to_string() },
            },
            "logId": { "keyId": STANDARD.encode(log_id(vkey)) },
        }],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    })
}

/// The log's key, out of a document that [`trusted_root`] made; `None` for any other.
pub fn key_of(trusted_root: &Value) -> Option<VerifyingKey> {
    let log = trusted_root.get("tlogs")?.get(0)?;
    let origin = log.get("baseUrl")?.as_str()?.strip_prefix("https://")?;
    let spki = STANDARD.decode(log.get("publicKey")?.get("rawBytes")?.as_str()?).ok()?;
    let key = spki.strip_prefix(&ED25519_SPKI)?;
    VerifyingKey::new(origin, key.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_back() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
        let vkey = VerifyingKey::new("log.example", &key).unwrap();
        let root = trusted_root(&vkey, Timestamp::from_millis(0));
        assert_eq!(key_of(&root).unwrap().to_string(), vkey.to_string());
        assert!(key_of(&json!({})).is_none());
    }

    #[test]
    fn names_of_logs_are_names_of_hosts() {
        for good in ["log.example", "rekor-0123.deliveryos.local", "a"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "a.", ".a", "a..b", "a/b", "a:1", "https://a", "-a", "a-", "A.b", "a b", "ä", &"a".repeat(64)]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
