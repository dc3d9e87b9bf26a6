//! What statements say: SLSA provenance, bills of materials, vulnerability scans.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A document that cannot be attested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// Not a bill of materials in this form.
    #[error("it is not a CycloneDX bill of materials: bomFormat must be CycloneDX and specVersion 1.x")]
    NotCycloneDx,
    /// A scan that ended before it began.
    #[error("the scan ended before it began")]
    Times,
}

/// How something was built, as the one who built it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// Who builds: an address that stands for the whole builder, its operator included.
    pub builder: String,
    /// What kind of build: an address that says what the parameters mean.
    pub build_type: String,
    /// What a person or system outside the builder chose.
    pub parameters: BTreeMap<String, String>,
    /// The source, as `git+https://…@refs/…`.
    pub source: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
    /// This run of the builder.
    pub invocation: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

impl Build {
    /// As SLSA Provenance v1. What is not known is left out.
    pub fn predicate(&self) -> Value {
        let mut definition = json!({ "buildType": self.build_type, "externalParameters": self.parameters });
        if let Some(source) = &self.source {
            let mut material = json!({ "uri": source });
            if let Some(commit) = &self.commit {
                material["digest"] = json!({ "gitCommit": commit });
            }
            definition["resolvedDependencies"] = json!([material]);
        }
        let mut metadata = Map::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                metadata.insert(name.to_owned(), value.into());
            }
        };
        put("invocationId", self.invocation.clone());
        put("startedOn", self.started.map(|time| time.to_string()));
        put("finishedOn", self.finished.map(|time| time.to_string()));
        let mut details = json!({ "builder": { "id": self.builder } });
        if !metadata.is_empty() {
            details["metadata"] = metadata.into();
        }
        json!({ "buildDefinition": definition, "runDetails": details })
    }
}

/// A CycloneDX bill of materials as it is.
pub fn cyclonedx(bytes: &[u8]) -> Result<Value, PredicateError> {
    let bom: Value = serde_json::from_slice(bytes).map_err(|error| PredicateError::NotJson(error.to_string()))?;
    let version = bom.get("specVersion").and_then(Value::as_str).unwrap_or_default();
    if bom.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") || !version.starts_with("1.") {
        return Err(PredicateError::NotCycloneDx);
    }
    Ok(bom)
}

/// A scanner's report as it is, with who scanned and when, in the form that cosign reads.
pub fn vulnerabilities(
    report: &[u8],
    scanner: &str,
    version: &str,
    started: Timestamp,
    finished: Timestamp,
) -> Result<Value, PredicateError> {
    let result: Value = serde_json::from_slice(report).map_err(|error| PredicateError::NotJson(error.to_string()))?;
    if finished < started {
        return Err(PredicateError::Times);
    }
    Ok(json!({
        "invocation": { "parameters": [], "uri": "", "event_id": "", "builder.id": "" },
        "scanner": { "uri": scanner, "version": version, "db": { "uri": "", "version": "" }, "result": result },
        "metadata": { "scanStartedOn": started.to_string(), "scanFinishedOn": finished.to_string() },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said() {
        let build = Build {
            builder: "https://ci.example/builder".into(),
            build_type: "https://ci.example/v1".into(),
            source: Some("git+https://git.example/app@refs/heads/main".into()),
            commit: Some("abc".into()),
            ..Build::default()
        };
        let said = build.predicate();
        assert_eq!(said["runDetails"]["builder"]["id"], "https://ci.example/builder");
        assert_eq!(said["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"], "abc");
        assert!(said["runDetails"].get("metadata").is_none());
        assert!(cyclonedx(br#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#).is_ok());
        assert_eq!(cyclonedx(br#"{"bomFormat":"SPDX","specVersion":"1.6"}"#), Err(PredicateError::NotCycloneDx));
        assert!(matches!(cyclonedx(b"<bom/>"), Err(PredicateError::NotJson(_))));
        let time = |text: &str| text.parse().unwrap();
        let (early, late) = (time("2026-01-01T00:00:00Z"), time("2026-01-01T00:01:00Z"));
        assert_eq!(vulnerabilities(b"[]", "s", "1", early, late).unwrap()["scanner"]["result"], json!([]));
        assert_eq!(vulnerabilities(b"[]", "s", "1", late, early), Err(PredicateError::Times));
    }
}
