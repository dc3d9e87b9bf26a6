//! What parses is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::VerifyingKey;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<VerifyingKey>() {
        assert_eq!(key.to_string(), text);
    }
});
