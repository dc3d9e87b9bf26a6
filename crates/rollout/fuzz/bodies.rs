//! What must hold of any recipe and any condition: run by the fuzzer, and as properties in `tests/properties.rs`.

use rollout::{Recipe, Severity, expr, lint, unsupported_locally};

/// Nothing panics, every finding has its place, and what loads is clean, has a timetable and is told what it cannot do here.
pub(crate) fn recipe(bytes: &[u8]) {
    let files = [("file.yaml", bytes)];
    let report = lint(&files);
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for finding in &report.findings {
        assert!(usize::try_from(finding.line).is_ok_and(|line| line <= lines + 1), "{finding:?}");
        assert!(!finding.message.is_empty(), "{finding:?}");
    }
    match Recipe::load(&files) {
        Ok(recipe) => {
            assert!(report.is_clean(), "{:?}", report.findings);
            let rows = rollout::timetable(&recipe);
            assert!(rows.iter().all(|row| row.starts_ms.is_none_or(|ms| ms >= 0)), "{rows:?}");
            let _ = unsupported_locally(&recipe);
            let _ = recipe.speed(1_000.0);
        }
        Err(refused) => assert!(refused.findings.iter().any(|f| f.severity == Severity::Error), "{refused:?}"),
    }
}

/// A condition that is let through can be asked of anything, and answers or says why not.
pub(crate) fn condition(text: &str) {
    if expr::check(text).is_err() {
        return;
    }
    for value in ["null", "0.2", "[]", "[0.2, 1e300]", "{\"a\": [1]}", "\"x\""] {
        let value = serde_json::from_str(value).unwrap_or_default();
        let _ = expr::condition(text, &expr::Value::from_json(&value, false));
    }
}
