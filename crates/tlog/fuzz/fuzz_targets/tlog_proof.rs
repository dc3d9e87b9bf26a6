//! What parses is written again byte for byte, and does not verify without a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{Hash, TlogProof};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        assert!(proof.verify(&Hash([0; 32]), "log.example", &[]).is_err());
    }
});
