//! Verification of one receipt: each check apart, each with its reason, with the arithmetic to look at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use model::ReleaseId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tlog::{
    Checkpoint, ConsistencyStep, Hash, InclusionStep, SignedNote, TlogProof, consistency_steps, inclusion_steps,
    leaf_hash, verify_consistency,
};

use crate::{
    MAX_ENTRY, PAYLOAD_TYPE, Payload,
    canonical::canonical_bytes,
    dsse::{Envelope, EnvelopeError},
};

/// What precedes the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key that may sign receipts.
///
/// Its key id is the SHA-256 of its SubjectPublicKeyInfo in hexadecimal, so that
/// `openssl pkey -pubin -outform DER | sha256sum` finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptKey {
    key: VerifyingKey,
    keyid: String,
}

/// Bytes that are not a usable Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 public key")]
pub struct KeyError;

/// An entry whose signature and form hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What it states.
    pub payload: Payload,
    /// The bytes that were signed, as received.
    pub payload_bytes: Vec<u8>,
    /// The key that signed.
    pub keyid: String,
    /// The signature.
    pub signature: [u8; 64],
    /// RFC 6962 leaf hash of the entry's bytes.
    pub leaf_hash: Hash,
}

/// Why an entry is not a receipt to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not an envelope.
    #[error("the entry is not an envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Signed bytes of something else.
    #[error("the envelope holds {0:?}, not a receipt")]
    PayloadType(String),
    /// No signature names a known key, or none of those without a name fits.
    #[error("no signature by a known key")]
    NoKnownKey,
    /// A signature that names a known key does not verify.
    #[error("the signature of key {0} does not verify")]
    BadSignature(String),
    /// The signed bytes are not a payload.
    #[error("the signed payload cannot be read: {0}")]
    Payload(String),
    /// The signed bytes are not the one canonical form of what they state.
    #[error("the signed payload is not in canonical form")]
    NotCanonical,
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub enum Check {
    /// It holds.
    Passed,
    /// It does not hold: why.
    Refused(String),
    /// It was not done: why not.
    NotDone(String),
}

/// A tree head that was believed before, kept by who verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// A receipt and all that is needed to check it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptParts {
    /// Its place.
    pub index: u64,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// Inclusion proof, from the leaf's sibling to the root's child.
    pub inclusion: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: SignedNote,
}

/// Why parts of a receipt cannot even be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// Not base64 of at most [`MAX_ENTRY`] bytes.
    #[error("the entry is not the base64 of at most {MAX_ENTRY} bytes")]
    Entry,
    /// Not base64 of hashes, or more than 64.
    #[error("the inclusion proof is not a list of at most 64 hashes in base64")]
    Inclusion,
    /// Not a signed note.
    #[error("the checkpoint is not a signed note: {0}")]
    Checkpoint(#[from] tlog::NoteError),
    /// Not a `.tlog-proof` file.
    #[error("not a tlog-proof file: {0}")]
    Proof(#[from] tlog::TlogProofError),
    /// The file carries no entry, and none was given beside it.
    #[error("the proof carries no receipt: give the receipt's file as well")]
    NoEntry,
}

/// What was checked of a receipt, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Place in the log; `None` for a receipt without its proof.
    pub index: Option<u64>,
    /// What the receipt states; there when it is readable, believed only when `signature` passed.
    pub payload: Option<Payload>,
    /// The release it belongs to.
    pub release: Option<ReleaseId>,
    /// The key that signed, when the signature passed.
    pub keyid: Option<String>,
    /// RFC 6962 hash of the entry's bytes.
    pub leaf_hash: Hash,
    /// The receipt is signed by the pinned key.
    pub signature: Check,
    /// The log's checkpoint is signed by the pinned key.
    pub checkpoint_signature: Check,
    /// The receipt is in the tree of that checkpoint, at its place.
    pub inclusion: Check,
    /// That tree and the one seen last are of one history.
    pub consistency: Check,
    /// What the checkpoint says, when it is readable.
    pub checkpoint: Option<Checkpoint>,
    /// Each hashing from the leaf to the root.
    pub inclusion_steps: Vec<InclusionStep>,
    /// Each hashing of the consistency proof.
    pub consistency_steps: Vec<ConsistencyStep>,
}

impl ReceiptKey {
    /// From the 32 bytes; weak keys, under which anything verifies, are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError)?;
        if key.is_weak() {
            return Err(KeyError);
        }
        let keyid = Sha256::new().chain_update(SPKI_PREFIX).chain_update(bytes).finalize();
        Ok(Self { key, keyid: hex::encode(keyid) })
    }

    /// The key of a log's `vkey`: a log signs its receipts and its checkpoints with one key. The two cannot be taken
    /// for each other: a receipt's signed bytes begin with `DSSEv1 `, a checkpoint's with the log's origin, which has no
    /// space.
    pub fn from_vkey(vkey: &tlog::VerifyingKey) -> Result<Self, KeyError> {
        Self::from_bytes(vkey.public_key())
    }

    /// SHA-256 of the SubjectPublicKeyInfo, hexadecimal.
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> Option<[u8; 64]> {
        let bytes: [u8; 64] = signature.try_into().ok()?;
        self.key.verify_strict(message, &Signature::from_bytes(&bytes)).ok().map(|()| bytes)
    }
}

/// Whether these bytes are a receipt signed by one of `keys`, verified as received.
///
/// A signature that names a known key must verify; signatures of other keys are ignored.
pub fn verify(entry: &[u8], keys: &[ReceiptKey]) -> Result<Verified, Refused> {
    let envelope = Envelope::parse(entry)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Refused::PayloadType(envelope.payload_type));
    }
    let message = envelope.signed_bytes();
    let mut signer = None;
    for signature in &envelope.signatures {
        let named = |key: &&ReceiptKey| signature.keyid == key.keyid;
        if let Some(key) = keys.iter().find(named) {
            let bytes = key.verifies(&message, &signature.sig);
            let bytes = bytes.ok_or_else(|| Refused::BadSignature(key.keyid.clone()))?;
            signer.get_or_insert((key, bytes));
        } else if signature.keyid.is_empty() && signer.is_none() {
            signer = keys.iter().find_map(|key| Some((key, key.verifies(&message, &signature.sig)?)));
        }
    }
    let (key, signature) = signer.ok_or(Refused::NoKnownKey)?;
    let payload: Payload = serde_json::from_slice(&envelope.payload).map_err(|e| Refused::Payload(e.to_string()))?;
    let canonical = canonical_bytes(&payload).map_err(|e| Refused::Payload(e.to_string()))?;
    if canonical != envelope.payload {
        return Err(Refused::NotCanonical);
    }
    Ok(Verified {
        payload,
        payload_bytes: envelope.payload,
        keyid: key.keyid.clone(),
        signature,
        leaf_hash: leaf_hash(entry),
    })
}

/// What an entry states, without believing it: the signature is not looked at.
pub fn read_unverified(entry: &[u8]) -> Result<Payload, Refused> {
    let envelope = Envelope::parse(entry)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Refused::PayloadType(envelope.payload_type));
    }
    serde_json::from_slice(&envelope.payload).map_err(|e| Refused::Payload(e.to_string()))
}

/// The flat JSON that people are shown: the payload with its signature as `sig "ed25519:0x…"`. A view, never parsed back.
pub fn flat_view(payload: &Payload, signature: &[u8; 64]) -> Map<String, Value> {
    let mut view = match serde_json::to_value(payload) {
        Ok(Value::Object(view)) => view,
        _ => Map::new(),
    };
    view.insert("sig".to_owned(), Value::String(format!("ed25519:0x{}", hex::encode(signature))));
    view
}

impl ReceiptParts {
    /// From the texts that pages and the API carry: base64 of entry and hashes, the checkpoint as it is.
    pub fn from_text(
        index: u64,
        entry: &str,
        inclusion: &[impl AsRef<str>],
        checkpoint: &str,
    ) -> Result<Self, PartsError> {
        if inclusion.len() > tlog::proof::MAX_PROOF_HASHES {
            return Err(PartsError::Inclusion);
        }
        let entry = STANDARD.decode(entry).ok().filter(|bytes| bytes.len() <= MAX_ENTRY).ok_or(PartsError::Entry)?;
        let hashes = inclusion.iter().map(|hash| Hash::from_base64(hash.as_ref()));
        let inclusion = hashes.collect::<Result<_, _>>().map_err(|_| PartsError::Inclusion)?;
        Ok(Self { index, entry, inclusion, checkpoint: SignedNote::parse(checkpoint.as_bytes())? })
    }

    /// From a `.tlog-proof` file, whose `extra` line carries the entry, or beside which the entry is given.
    pub fn from_tlog_proof(file: &[u8], entry: Option<Vec<u8>>) -> Result<Self, PartsError> {
        let proof = TlogProof::parse(file)?;
        let entry = entry.or(proof.extra).ok_or(PartsError::NoEntry)?;
        if entry.len() > MAX_ENTRY {
            return Err(PartsError::Entry);
        }
        Ok(Self { index: proof.index, entry, inclusion: proof.hashes, checkpoint: proof.checkpoint })
    }

    /// The `.tlog-proof` file, with the entry in its `extra` line.
    pub fn to_tlog_proof(&self) -> String {
        let proof = TlogProof {
            extra: Some(self.entry.clone()),
            index: self.index,
            hashes: self.inclusion.clone(),
            checkpoint: self.checkpoint.clone(),
        };
        proof.to_string()
    }
}

impl Report {
    /// True when nothing was refused and all but consistency was done: consistency needs an earlier visit.
    pub fn holds(&self) -> bool {
        let passed = |check: &Check| *check == Check::Passed;
        passed(&self.signature)
            && passed(&self.checkpoint_signature)
            && passed(&self.inclusion)
            && !matches!(self.consistency, Check::Refused(_))
    }
}

impl Check {
    fn of<E: ToString>(result: Result<(), E>) -> Self {
        result.map_or_else(|error| Self::Refused(error.to_string()), |()| Self::Passed)
    }
}

/// Checks a receipt against a pinned key and, when there is one, against the tree head seen last.
///
/// `consistency` leads from the smaller of the two trees (the one seen, the checkpoint's) to the larger; it is empty when
/// the sizes are equal, and `None` when it was not to be had.
pub fn verify_receipt(
    parts: &ReceiptParts,
    pinned: &tlog::VerifyingKey,
    seen: Option<Seen>,
    consistency: Option<&[Hash]>,
) -> Report {
    let mut report = verify_alone(&parts.entry, pinned);
    report.index = Some(parts.index);
    let opened = Checkpoint::open(&parts.checkpoint, pinned.name(), std::slice::from_ref(pinned));
    report.checkpoint_signature = Check::of(opened.map(|_| ()).map_err(|error| describe(&error)));
    // The arithmetic is shown also when the checkpoint is not to be believed.
    report.checkpoint = parts.checkpoint.text().parse().ok();
    if let Some(head) = report.checkpoint.clone() {
        let leaf = report.leaf_hash;
        report.inclusion =
            Check::of(tlog::verify_inclusion(&leaf, parts.index, head.size, &parts.inclusion, &head.root));
        report.inclusion_steps = inclusion_steps(&leaf, parts.index, head.size, &parts.inclusion).unwrap_or_default();
        (report.consistency, report.consistency_steps) = check_consistency(&head, seen, consistency);
    } else {
        report.inclusion = Check::NotDone("the checkpoint cannot be read".to_owned());
        report.consistency = Check::NotDone("the checkpoint cannot be read".to_owned());
    }
    report
}

/// Checks a receipt that came without a proof: its signature, and nothing about the log.
pub fn verify_alone(entry: &[u8], pinned: &tlog::VerifyingKey) -> Report {
    let no_proof = || Check::NotDone("the receipt came without a proof".to_owned());
    let verified = ReceiptKey::from_vkey(pinned)
        .map_err(|error| error.to_string())
        .and_then(|key| verify(entry, &[key]).map_err(|refused| refused.to_string()));
    let (signature, keyid, payload) = match verified {
        Ok(verified) => (Check::Passed, Some(verified.keyid), Some(verified.payload)),
        Err(reason) => (Check::Refused(reason), None, read_unverified(entry).ok()),
    };
    Report {
        index: None,
        release: payload.as_ref().and_then(|payload| payload.release.clone()),
        payload,
        keyid,
        leaf_hash: leaf_hash(entry),
        signature,
        checkpoint_signature: no_proof(),
        inclusion: no_proof(),
        consistency: no_proof(),
        checkpoint: None,
        inclusion_steps: Vec::new(),
        consistency_steps: Vec::new(),
    }
}

fn check_consistency(head: &Checkpoint, seen: Option<Seen>, proof: Option<&[Hash]>) -> (Check, Vec<ConsistencyStep>) {
    let not_done = |why: &str| (Check::NotDone(why.to_owned()), Vec::new());
    let Some(seen) = seen else { return not_done("no checkpoint was seen before this one") };
    let now = Seen { size: head.size, root: head.root };
    let (old, new) = if seen.size <= now.size { (seen, now) } else { (now, seen) };
    if old.size == 0 {
        return not_done("the log was empty when it was seen last");
    }
    let proof = match proof {
        Some(proof) => proof,
        None if old.size == new.size => &[],
        None => return not_done("no consistency proof was given"),
    };
    (
        Check::of(verify_consistency(old.size, &old.root, new.size, &new.root, proof)),
        consistency_steps(old.size, &old.root, new.size, proof).unwrap_or_default(),
    )
}

/// An error with its sources in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
