//! Semgrep's own JSON (`semgrep scan --json`), by its published `semgrep_output_v1` types.

use serde_json::Value;

use crate::{
    Report, Severity, State,
    finding::{Finding, tidy},
    json::Ask,
    shape::{
        Shape::{self, Any, Flag, List, Map, Name, Null, Number, Object, Text, Whole, Word},
        may, must,
    },
};

const POSITION: Shape = Object(&[must("line", Whole), must("col", Whole), may("offset", Whole)]);
/// Its old words and its new ones.
const SEVERITY: Shape =
    Word(&["ERROR", "WARNING", "INFO", "EXPERIMENT", "INVENTORY", "CRITICAL", "HIGH", "MEDIUM", "LOW"]);
const EXTRA: Shape = Object(&[
    must("message", Text),
    must("severity", SEVERITY),
    may("metadata", Map(&Any)),
    may("metavars", Map(&Any)),
    may("fingerprint", Text),
    may("lines", Text),
    may("is_ignored", Null(&Flag)),
    may("fix", Null(&Text)),
    may("fix_regex", Any),
    may("validation_state", Null(&Text)),
    may("engine_kind", Any),
    may("sca_info", Null(&SCA)),
    may("dataflow_trace", Any),
]);
const SCA: Shape = Object(&[
    may("reachable", Flag),
    may("reachability_rule", Flag),
    may("sca_finding_schema", Whole),
    may(
        "dependency_match",
        Object(&[may("found_dependency", Object(&[must("package", Text), must("version", Text)]))]),
    ),
]);
const RESULT: Shape = Object(&[
    must("check_id", Name),
    must("path", Text),
    must("start", POSITION),
    must("end", POSITION),
    must("extra", EXTRA),
]);
const ERROR: Shape = Object(&[
    must("level", Word(&["error", "warn", "info"])),
    must("type", Any),
    may("code", Whole),
    may("message", Text),
    may("path", Null(&Text)),
    may("rule_id", Null(&Text)),
    may("long_msg", Null(&Text)),
    may("short_msg", Null(&Text)),
    may("spans", Null(&List(&Any))),
]);
const DOCUMENT: Shape = Object(&[
    may("version", Text),
    must("results", List(&RESULT)),
    must("errors", List(&ERROR)),
    may("paths", Object(&[may("scanned", List(&Text)), may("skipped", Null(&List(&Any)))])),
    may("time", Any),
    may("interfile_languages_used", List(&Text)),
    may("skipped_rules", List(&Any)),
    may("rules_by_engine", List(&Any)),
    may("engine_requested", Any),
    may("profiling_times", Map(&Number)),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    report.tool = "semgrep".to_owned();
    report.tool_version = value.some("version").map(tidy);
    for error in value.list("errors") {
        // A rule that does not apply to a file is no error; Semgrep itself ends with a code other than 0 only on `error`.
        if error.text("level") == "error" {
            let said = error.some("message").or_else(|| error.some("long_msg")).unwrap_or("an error without a message");
            report.errors.push(tidy(said));
        }
    }
    for result in value.list("results") {
        let extra = &result["extra"];
        let severity = match extra.text("severity") {
            "CRITICAL" => Severity::Critical,
            "ERROR" | "HIGH" => Severity::High,
            "WARNING" | "MEDIUM" => Severity::Medium,
            "LOW" => Severity::Low,
            "INFO" | "INVENTORY" => Severity::Info,
            _ => Severity::Unknown,
        };
        let line = result["start"]["line"].as_u64();
        let mut finding = Finding::new("semgrep", result.text("check_id"), severity, extra.text("message"));
        finding = finding.at(result.text("path"), line);
        if let Some(dependency) = extra.pointer("/sca_info/dependency_match/found_dependency") {
            finding = finding.of(dependency.text("package"), dependency.text("version"));
        }
        if extra["is_ignored"].as_bool() == Some(true) {
            finding.state = State::Suppressed;
        }
        // "requires login" stands there when nobody was logged in: no fingerprint.
        finding.fingerprint = extra.some("fingerprint").filter(|text| !text.contains(' ')).map(tidy);
        report.findings.push(finding);
    }
    Ok(())
}
