//! What must hold of any bytes that are said to be a receipt. The bodies are the fuzz targets' own (`fuzz/`).

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use receipts::{Envelope, EnvelopeSignature, PAYLOAD_TYPE, Payload, ReceiptKey, canonical_bytes, pae, verify};

fn signed() -> (Vec<u8>, ReceiptKey) {
    let key = SigningKey::from_bytes(&[3; 32]);
    let public = ReceiptKey::from_bytes(&key.verifying_key().to_bytes()).unwrap();
    let facts =
        serde_json::json!({ "command": "abort", "command_id": "c", "reason": "é\u{202e}\"", "n": [1, 2.5, null] });
    let time = model::Timestamp::from_millis(1_790_000_000_000);
    let payload = Payload::new(model::Kind::CommandAccepted, time, model::Actor::controller(), &facts).unwrap();
    let payload = canonical_bytes(&payload).unwrap();
    let sig = key.sign(&pae(PAYLOAD_TYPE, &payload)).to_bytes().to_vec();
    let signatures = vec![EnvelopeSignature { keyid: public.keyid().to_owned(), sig }];
    (Envelope { payload_type: PAYLOAD_TYPE.to_owned(), payload, signatures }.to_bytes(), public)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        bodies::entry(&bytes);
    }

    /// A receipt with bytes changed is refused, or it is the same envelope written in another way.
    #[test]
    fn a_changed_receipt_is_refused(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (good, key) = signed();
        prop_assert!(verify(&good, std::slice::from_ref(&key)).is_ok());
        let mut bytes = good.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bodies::entry(&bytes);
        if verify(&bytes, &[key]).is_ok() {
            let (one, other) = (Envelope::parse(&good).unwrap(), Envelope::parse(&bytes).unwrap());
            prop_assert_eq!((one.payload, one.payload_type), (other.payload, other.payload_type));
        }
    }
}
