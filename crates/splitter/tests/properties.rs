//! What must hold of any line on the control socket. The bodies are the fuzz targets' own (`fuzz/`).

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;

const CALL: &str = r#"{"id":1,"request":{"do":"apply","epoch":7,"spec":{"service":"shop","listen":["127.0.0.1:0"],"limits":{"headers":100},"sticky":{"cookie":"uid"},"dead_man_seconds":60,"stable":{"version":"a","release":"v1","source":{"process":{"command":["x","{port}"],"env":{"A":"b"}}},"health":{"path":"/healthz"}},"canary":{"version":"b","release":"v2","source":{"url":"http://127.0.0.1:1"},"protocol":"h2c"}}}}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn any_line_is_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        bodies::call(&bytes);
    }

    #[test]
    fn a_changed_call_is_understood_or_refused(
        changes in proptest::collection::vec((0..CALL.len(), 0..12_usize, proptest::sample::select(vec![
            "", "\"", "{", "}", "null", "-1", "1e400", "18446744073709551616", "\\u0000", "http://", "[]", ",",
        ])), 0..4)
    ) {
        let mut bytes = CALL.as_bytes().to_vec();
        for (at, length, piece) in changes {
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, piece.bytes());
        }
        bodies::call(&bytes);
    }

    #[test]
    fn any_address_is_usable_or_refused(text in "(http|https|ftp)?(://)?[a-z\\[\\]:@/?#%.0-9]{0,30}") {
        bodies::call(text.as_bytes());
    }
}
