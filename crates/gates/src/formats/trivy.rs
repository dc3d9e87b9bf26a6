//! Trivy's JSON, schema version 2, of images, file systems and repositories.

use serde_json::Value;

use super::{digest, time};
use crate::{
    Report, Severity, State,
    finding::{Finding, tidy},
    json::Ask,
    shape::{
        Shape::{
            self, Any, Closed, Exactly, Flag, List, Map, Name, Null, Number, Object, Some as AtLeastOne, Text, Whole,
            Word,
        },
        may, must,
    },
};

const SEVERITY: Shape = Word(&["UNKNOWN", "LOW", "MEDIUM", "HIGH", "CRITICAL"]);
const LAYER: Shape = Object(&[may("Digest", Text), may("DiffID", Text), may("Size", Whole), may("CreatedBy", Text)]);
const VULNERABILITY: Shape = Object(&[
    must("VulnerabilityID", Name),
    must("PkgName", Name),
    must("InstalledVersion", Text),
    must("Severity", SEVERITY),
    may("VendorIDs", List(&Text)),
    may("PkgID", Text),
    may("PkgPath", Text),
    may("PkgIdentifier", Object(&[may("PURL", Text), may("BOMRef", Text), may("UID", Text)])),
    may("FixedVersion", Text),
    may(
        "Status",
        Word(&[
            "unknown",
            "not_affected",
            "affected",
            "fixed",
            "under_investigation",
            "will_not_fix",
            "fix_deferred",
            "end_of_life",
        ]),
    ),
    may("Layer", LAYER),
    may("SeveritySource", Text),
    may("PrimaryURL", Text),
    may("DataSource", Object(&[may("ID", Text), may("BaseID", Text), may("Name", Text), may("URL", Text)])),
    may("Fingerprint", Text),
    may("Title", Text),
    may("Description", Text),
    may("CweIDs", List(&Text)),
    may("VendorSeverity", Map(&Whole)),
    may(
        "CVSS",
        Map(&Object(&[
            may("V2Vector", Text),
            may("V3Vector", Text),
            may("V40Vector", Text),
            may("V2Score", Number),
            may("V3Score", Number),
            may("V40Score", Number),
        ])),
    ),
    may("References", List(&Text)),
    may("PublishedDate", Text),
    may("LastModifiedDate", Text),
    may("Custom", Any),
]);
const MISCONFIGURATION: Shape = Object(&[
    must("ID", Name),
    must("Severity", SEVERITY),
    must("Status", Word(&["PASS", "FAIL", "EXCEPTION"])),
    may("Type", Text),
    may("AVDID", Text),
    may("Title", Text),
    may("Description", Text),
    may("Message", Text),
    may("Resolution", Text),
    may("CauseMetadata", Object(&[may("StartLine", Whole), may("EndLine", Whole)])),
]);
const SECRET: Shape = Object(&[
    must("RuleID", Name),
    must("Severity", SEVERITY),
    may("Category", Text),
    may("Title", Text),
    may("StartLine", Whole),
    may("EndLine", Whole),
    // `Match` and `Code` hold the secret itself and are not looked at.
    may("Layer", LAYER),
]);
const LICENCE: Shape = Object(&[
    must("Severity", SEVERITY),
    must("Name", Name),
    may("Category", Text),
    may("PkgName", Text),
    may("FilePath", Text),
    may("Confidence", Number),
    may("Link", Text),
    may("Text", Text),
]);
// Closed: the lists of findings are left out when empty, so only their names tell an empty list from one that was lost.
const RESULT: Shape = Closed(&[
    must("Target", Text),
    must("Class", Word(&["os-pkgs", "lang-pkgs", "config", "secret", "license", "license-file", "custom"])),
    may("Type", Name),
    may("Packages", List(&Any)),
    may("Vulnerabilities", List(&VULNERABILITY)),
    may("MisconfSummary", Object(&[must("Successes", Whole), must("Failures", Whole), may("Exceptions", Whole)])),
    may("Misconfigurations", List(&MISCONFIGURATION)),
    may("Secrets", List(&SECRET)),
    may("Licenses", List(&LICENCE)),
    may("CustomResources", List(&Any)),
    may("ExperimentalModifiedFindings", List(&Any)),
]);
const HISTORY: Shape = Object(&[
    may("created", Text),
    may("created_by", Text),
    may("author", Text),
    may("comment", Text),
    may("empty_layer", Flag),
]);
const METADATA: Shape = Object(&[
    may("Size", Whole),
    may("OS", Object(&[must("Family", Text), must("Name", Text), may("EOSL", Flag), may("extended", Flag)])),
    may("ImageID", Text),
    may("DiffIDs", List(&Text)),
    may("RepoTags", List(&Text)),
    may("RepoDigests", List(&Text)),
    may("Reference", Text),
    may(
        "ImageConfig",
        Object(&[
            may("architecture", Text),
            may("author", Text),
            may("container", Text),
            may("created", Text),
            may("docker_version", Text),
            may("os", Text),
            may("history", Null(&List(&HISTORY))),
            may("rootfs", Object(&[must("type", Text), must("diff_ids", List(&Text))])),
            may(
                "config",
                Object(&[
                    may("Cmd", Null(&List(&Text))),
                    may("Entrypoint", Null(&List(&Text))),
                    may("Env", Null(&List(&Text))),
                    may("Image", Text),
                    may("User", Text),
                    may("WorkingDir", Text),
                    may("Labels", Null(&Map(&Text))),
                    may("ArgsEscaped", Flag),
                ]),
            ),
        ]),
    ),
    may("Layers", List(&LAYER)),
    may("RepoURL", Text),
    may("Branch", Text),
    may("Tags", List(&Text)),
    may("Commit", Text),
]);
const DOCUMENT: Shape = Object(&[
    must("SchemaVersion", Exactly(2)),
    may("Trivy", Object(&[may("Version", Text)])),
    may("ReportID", Text),
    may("CreatedAt", Text),
    may("ArtifactID", Text),
    must("ArtifactName", Name),
    must("ArtifactType", Word(&["container_image", "filesystem", "repository", "cyclonedx", "spdx", "vm"])),
    may("Metadata", METADATA),
    // Trivy leaves it out when there was nothing to scan: no packages, no files. That is not the same as having found nothing.
    must("Results", AtLeastOne(&RESULT)),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    report.tool = "trivy".to_owned();
    report.tool_version = value.get("Trivy").and_then(|t| t.some("Version")).map(tidy);
    report.scanned_at = value.some("CreatedAt").map(|text| time(".CreatedAt", text)).transpose()?;
    report.of_artifact = matches!(value.text("ArtifactType"), "container_image" | "vm");
    if report.of_artifact {
        let metadata = value.get("Metadata").unwrap_or(&Value::Null);
        let digests = metadata.list("RepoDigests").iter().filter_map(Value::as_str);
        let ids = [metadata.some("ImageID"), value.some("ArtifactID")].into_iter().flatten();
        report.subjects = digests.chain(ids).filter_map(digest).collect();
        report.subjects.dedup();
    }
    for (i, result) in value.list("Results").iter().enumerate() {
        one(result, report).map_err(|what| format!(".Results[{i}]{what}"))?;
    }
    Ok(())
}

fn one(result: &Value, report: &mut Report) -> Result<(), String> {
    let target = result.text("Target");
    // Every class but secrets and licences names its type; a result without one was cut.
    if result.some("Type").is_none() && matches!(result.text("Class"), "os-pkgs" | "lang-pkgs" | "config") {
        return Err(": \"Type\" is missing".to_owned());
    }
    for v in result.list("Vulnerabilities") {
        let title = v.some("Title").or_else(|| v.some("Description")).unwrap_or_default();
        let mut finding = Finding::new("trivy", v.text("VulnerabilityID"), severity(v), title)
            .at(v.some("PkgPath").unwrap_or(target), None)
            .of(v.text("PkgName"), v.text("InstalledVersion"));
        finding.fixed_version = v.some("FixedVersion").map(tidy);
        report.findings.push(finding);
    }
    let failures = result.list("Misconfigurations").iter().filter(|m| m.text("Status") == "FAIL").count();
    if let Some(counted) = result.pointer("/MisconfSummary/Failures").and_then(Value::as_u64)
        && usize::try_from(counted) != Ok(failures)
    {
        return Err(format!(": the summary counts {counted} failures, {failures} are listed"));
    }
    for m in result.list("Misconfigurations") {
        let title = m.some("Title").or_else(|| m.some("Message")).unwrap_or_default();
        let line = m.pointer("/CauseMetadata/StartLine").and_then(Value::as_u64).filter(|line| *line > 0);
        let mut finding = Finding::new("trivy", m.text("ID"), severity(m), title).at(target, line);
        match m.text("Status") {
            "FAIL" => {}
            "EXCEPTION" => finding.state = State::Suppressed,
            _ => continue,
        }
        report.findings.push(finding);
    }
    for s in result.list("Secrets") {
        let finding = Finding::new("trivy", s.text("RuleID"), severity(s), s.text("Title"));
        report.findings.push(finding.at(target, s["StartLine"].as_u64()));
    }
    for l in result.list("Licenses") {
        // How bad a licence is, is for the policy to say, not for the scanner.
        let finding = Finding::new("trivy", "licence", Severity::None, l.text("Name"));
        let mut finding = finding.at(l.some("FilePath").unwrap_or(target), None).of(l.text("PkgName"), "");
        finding.licence = Some(tidy(l.text("Name")));
        report.findings.push(finding);
    }
    Ok(())
}

fn severity(value: &Value) -> Severity {
    match value.text("Severity") {
        "CRITICAL" => Severity::Critical,
        "HIGH" => Severity::High,
        "MEDIUM" => Severity::Medium,
        "LOW" => Severity::Low,
        _ => Severity::Unknown,
    }
}
