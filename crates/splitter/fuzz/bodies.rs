//! What must hold of any line on the control socket: run by the fuzzer, and as properties in `tests/properties.rs`.

use splitter::control::{Call, Line, Request};

/// What is understood is written again as the same; what a specification holds is checked without a panic.
pub(crate) fn call(bytes: &[u8]) {
    if let Ok(call) = serde_json::from_slice::<Call>(bytes) {
        let written = serde_json::to_vec(&call).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Call>(&written).ok().as_ref(), Some(&call));
        match &call.request {
            Request::Apply { spec, .. } => drop(spec.validate()),
            Request::StartVersion { version, .. } => drop(version.validate()),
            _ => {}
        }
    }
    if let Ok(line) = serde_json::from_slice::<Line>(bytes) {
        let written = serde_json::to_vec(&line).unwrap_or_default();
        assert!(serde_json::from_slice::<Line>(&written).is_ok());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = splitter::check_url(text);
    }
}
