//! A path that parses is written again; a bundle that decodes is encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{
    TilePath,
    tiles::{decode_entries, encode_entries},
};

fuzz_target!(|input: (&str, u16, &[u8])| {
    let (path, width, bundle) = input;
    if let Ok(parsed) = path.parse::<TilePath>() {
        assert_eq!(parsed.to_string(), path);
    }
    if let Ok(entries) = decode_entries(bundle, width) {
        assert_eq!(encode_entries(&entries).as_deref(), Ok(bundle));
    }
});
