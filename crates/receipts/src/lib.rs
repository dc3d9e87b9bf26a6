//! Receipt payloads, their canonical form, their envelope, and verification.
//!
//! One log entry is one DSSE envelope (JSON) of payload type [`PAYLOAD_TYPE`]. Its payload bytes are the RFC 8785 (JCS)
//! form of a [`Payload`], signed with Ed25519 over the DSSE pre-authentication encoding. The leaf hash is taken over the
//! entry's bytes as they are; what was signed is verified as received and never serialised again first.
//!
//! Pure: verification only. Signing lives in `receipt-log`.

mod canonical;
pub mod dsse;
mod finite;
mod payload;
mod range;
mod verify;

pub use canonical::{CanonicalError, MAX_DEPTH, MAX_SAFE_INTEGER, canonical_bytes};
pub use dsse::{Envelope, EnvelopeError, EnvelopeSignature, pae};
pub use payload::{KeyRotated, Payload, PayloadError};
pub use range::{Progress, RangeCheck};
pub use verify::{
    Check, KeyError, PartsError, ReceiptKey, ReceiptParts, Refused, Report, Seen, Verified, flat_view, read_unverified,
    verify, verify_alone, verify_receipt,
};

/// Payload type of the envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.deliveryos.receipt.v1+json";

/// Longest entry in bytes: the 16-bit length of a tlog-tiles entry bundle.
pub const MAX_ENTRY: usize = 65_535;

/// Longest payload in bytes: what base64 makes fit an entry beside two signatures with their key ids.
pub const MAX_PAYLOAD: usize = 48_000;
