//! ScanCode Toolkit's JSON (`scancode --license --json`), output format 3 and 4.

use serde_json::Value;

use super::time;
use crate::{
    Report, Severity,
    finding::{Finding, tidy},
    json::Ask,
    shape::{
        Shape::{self, Any, Flag, List, Map, Name, Null, Number, Object, Text, Whole, Word},
        may, must,
    },
};

const NOTE: Shape = Object(&[
    may("copyright", Text),
    may("holder", Text),
    may("author", Text),
    may("start_line", Whole),
    may("end_line", Whole),
]);
const FILE: Shape = Object(&[
    must("path", Name),
    must("type", Word(&["file", "directory"])),
    may("name", Text),
    may("base_name", Text),
    may("extension", Text),
    may("size", Whole),
    may("date", Null(&Text)),
    may("sha1", Null(&Text)),
    may("md5", Null(&Text)),
    may("sha256", Null(&Text)),
    may("sha512", Null(&Text)),
    may("mime_type", Null(&Text)),
    may("file_type", Null(&Text)),
    may("programming_language", Null(&Text)),
    may("is_binary", Flag),
    may("is_text", Flag),
    may("is_archive", Flag),
    may("is_media", Flag),
    may("is_source", Flag),
    may("is_script", Flag),
    may("package_data", List(&PACKAGE)),
    may("for_packages", List(&Text)),
    may("detected_license_expression", Null(&Text)),
    may("detected_license_expression_spdx", Null(&Text)),
    may("license_detections", List(&Map(&Any))),
    may("license_clues", List(&Map(&Any))),
    may("percentage_of_license_text", Number),
    may("copyrights", List(&NOTE)),
    may("holders", List(&NOTE)),
    may("authors", List(&NOTE)),
    may("emails", List(&Map(&Any))),
    may("urls", List(&Map(&Any))),
    may("files_count", Whole),
    may("dirs_count", Whole),
    may("size_count", Whole),
    must("scan_errors", List(&Text)),
]);
const PACKAGE: Shape = Object(&[
    may("type", Null(&Text)),
    may("namespace", Null(&Text)),
    may("name", Null(&Text)),
    may("version", Null(&Text)),
    may("purl", Null(&Text)),
    may("declared_license_expression", Null(&Text)),
    may("declared_license_expression_spdx", Null(&Text)),
    may("datafile_paths", List(&Text)),
]);
const HEADER: Shape = Object(&[
    must("tool_name", Text),
    may("tool_version", Text),
    may("options", Map(&Any)),
    may("notice", Text),
    may("start_timestamp", Text),
    may("end_timestamp", Text),
    may("output_format_version", Text),
    may("duration", Number),
    may("message", Null(&Text)),
    may("errors", List(&Text)),
    may("warnings", List(&Text)),
    may("extra_data", Map(&Any)),
]);
const DOCUMENT: Shape = Object(&[
    may("headers", List(&HEADER)),
    must("files", List(&FILE)),
    may("packages", List(&PACKAGE)),
    may("dependencies", List(&Map(&Any))),
    may("license_detections", List(&Map(&Any))),
    may("license_references", List(&Map(&Any))),
    may("license_rule_references", List(&Map(&Any))),
    may("summary", Map(&Any)),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    report.tool = "scancode".to_owned();
    for header in value.list("headers") {
        report.tool_version = header.some("tool_version").map(tidy);
        report.errors.extend(header.list("errors").iter().filter_map(Value::as_str).take(20).map(tidy));
        if let Some(text) = header.some("end_timestamp") {
            report.scanned_at = Some(timestamp(text)?);
        }
    }
    let files = value.list("files");
    if files.is_empty() {
        return Err(".files: an empty list: nothing was scanned".to_owned());
    }
    // The option --package writes both, if only as empty lists.
    if value.get("packages").is_some() != value.get("dependencies").is_some() {
        return Err(": packages and dependencies do not belong together".to_owned());
    }
    for (i, file) in files.iter().enumerate() {
        let path = file.text("path");
        for error in file.list("scan_errors").iter().filter_map(Value::as_str) {
            report.errors.push(tidy(&format!("{path}: {error}")));
        }
        if file.text("type") != "file" {
            continue;
        }
        // The key is there, if only with null, whenever licences were looked for.
        let Some(spdx) = file.get("detected_license_expression_spdx") else {
            return Err(format!(".files[{i}]: licences were not scanned: run scancode with --license"));
        };
        if let Some(expression) = spdx.as_str().filter(|text| !text.is_empty()) {
            report.findings.push(licence(expression).at(path, None));
        } else if let Some(key) = file.some("detected_license_expression") {
            // Found, and without an SPDX name: judged by ScanCode's own.
            report.findings.push(licence(&format!("LicenseRef-scancode-{key}")).at(path, None));
        }
    }
    for package in value.list("packages") {
        if let Some(expression) = package.some("declared_license_expression_spdx") {
            let path = package.list("datafile_paths").first().and_then(Value::as_str).unwrap_or_default();
            report.findings.push(licence(expression).at(path, None).of(package.text("name"), package.text("version")));
        }
    }
    Ok(())
}

fn licence(expression: &str) -> Finding {
    let mut finding = Finding::new("scancode", "licence", Severity::None, expression);
    // Not cut: an expression that lost its end would be another.
    finding.licence = Some(expression.split_whitespace().collect::<Vec<_>>().join(" "));
    finding
}

/// `2024-03-05T121314.123456`: ScanCode leaves the colons out of its times, which are UTC.
fn timestamp(text: &str) -> Result<model::Timestamp, String> {
    let at = ".headers.end_timestamp";
    if let Some((date, clock)) = text.split_once('T')
        && let (Some(h), Some(m), Some(s)) = (clock.get(..2), clock.get(2..4), clock.get(4..))
        && !clock.contains(':')
    {
        return time(at, &format!("{date}T{h}:{m}:{s}Z"));
    }
    time(at, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_colons() {
        assert_eq!(timestamp("2024-03-05T121314.5").unwrap().to_string(), "2024-03-05T12:13:14.500Z");
        assert_eq!(timestamp("2024-03-05T12:13:14Z").unwrap().to_string(), "2024-03-05T12:13:14.000Z");
        assert!(timestamp("2024-03-05Tü2").is_err());
        assert!(timestamp("yesterday").is_err());
    }
}
