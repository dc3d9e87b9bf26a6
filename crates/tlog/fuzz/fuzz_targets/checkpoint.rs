//! What parses is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::Checkpoint;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text);
    }
});
