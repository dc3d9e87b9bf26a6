//! What must hold of any bytes that are said to be a receipt: run by the fuzzer, and as properties in `tests/properties.rs`.

use receipts::{Envelope, ReceiptKey, canonical_bytes, read_unverified, verify};

/// What parses is written again as the same envelope; nothing verifies without a key; what is read has a canonical form.
pub(crate) fn entry(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::parse(bytes) {
        let written = envelope.to_bytes();
        assert_eq!(Envelope::parse(&written).as_ref(), Ok(&envelope));
        assert!(envelope.signed_bytes().ends_with(&envelope.payload));
    }
    assert!(verify(bytes, &[]).is_err());
    if let Ok(key) = ReceiptKey::from_bytes(&[0x58; 32]) {
        // A signature of a key that nobody has.
        assert!(verify(bytes, &[key]).is_err());
    }
    if let Ok(payload) = read_unverified(bytes) {
        let canonical = canonical_bytes(&payload);
        if let Ok(canonical) = canonical {
            assert!(std::str::from_utf8(&canonical).is_ok());
        }
    }
}
