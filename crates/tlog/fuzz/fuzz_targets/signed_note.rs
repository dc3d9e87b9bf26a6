//! What parses is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::SignedNote;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
});
