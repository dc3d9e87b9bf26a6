//! The receipt that notes an entry in the main log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Kind, event::SignatureLogged};
use receipt_log::{AppendError as NoteError, Draft, Log};
use receipts::Payload;
use serde_json::Value;
use tlog::leaf_hash;

use crate::Entry;

/// The idempotency key of the note of an entry.
pub(crate) fn key(index: u64) -> String {
    format!("rekor/{index}")
}

/// Writes the note; the index of the one that is there when it was written before.
pub(crate) async fn write(notes: &dyn Log, origin: &str, entry: &Entry) -> Result<u64, NoteError> {
    let facts = facts(origin, entry).ok_or_else(|| {
        NoteError::NotCanonical(format!("entry {} of the signature log is not one that was appended", entry.index))
    })?;
    let payload = Payload::new(Kind::SignatureLogged, entry.at, entry.by.clone(), &facts)
        .map_err(|error| NoteError::NotCanonical(error.to_string()))?
        .cite(["Rekor v2", "C2SP tlog-tiles", "RFC 6962"]);
    notes.append(Draft { key: key(entry.index), payload }).await
}

/// What the note says: a function of the stored entry, so that it is the same whenever it is written.
fn facts(origin: &str, entry: &Entry) -> Option<SignatureLogged> {
    let body: Value = serde_json::from_slice(&entry.body).ok()?;
    let spec = body.get("spec")?.get("hashedRekordV002")?;
    let data = spec.get("data")?;
    let algorithm = data.get("algorithm")?.as_str()?.strip_prefix("SHA2_")?;
    let digest = STANDARD.decode(data.get("digest")?.as_str()?).ok()?;
    let verifier = spec.get("signature")?.get("verifier")?;
    Some(SignatureLogged {
        log: origin.to_owned(),
        index: entry.index,
        leaf: hex::encode(leaf_hash(&entry.body).0),
        entry: format!("{} {}", body.get("kind")?.as_str()?, body.get("apiVersion")?.as_str()?),
        signed: format!("sha{algorithm}:{}", hex::encode(digest)),
        key_details: verifier.get("keyDetails")?.as_str()?.to_owned(),
        by_certificate: verifier.get("x509Certificate").is_some(),
    })
}
