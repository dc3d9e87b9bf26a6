//! SARIF 2.1.0, OASIS Standard: the parts of section 3 that say what was found, whether it counts, and whether the run was whole.

use serde_json::Value;

use super::{digest, time};
use crate::{
    Report, Severity, State,
    finding::{Finding, tidy, tool_id},
    json::Ask,
    shape::{
        Shape::{self, Any, Flag, List, Map, Name, Null, Number, Object, Some as AtLeastOne, Text, Whole, Word},
        may, must,
    },
};

const LEVEL: Shape = Word(&["none", "note", "warning", "error"]);
const MESSAGE: Shape = Object(&[
    may("text", Text),
    may("markdown", Text),
    may("id", Text),
    may("arguments", List(&Text)),
    may("properties", Map(&Any)),
]);
const ARTIFACT_LOCATION: Shape = Object(&[
    may("uri", Text),
    may("uriBaseId", Text),
    may("index", Whole),
    may("description", MESSAGE),
    may("properties", Map(&Any)),
]);
const CONTENT: Shape = Object(&[may("text", Text), may("binary", Text), may("rendered", Any)]);
const REGION: Shape = Object(&[
    may("startLine", Whole),
    may("startColumn", Whole),
    may("endLine", Whole),
    may("endColumn", Whole),
    may("charOffset", Whole),
    may("charLength", Whole),
    may("byteOffset", Whole),
    may("byteLength", Whole),
    may("snippet", CONTENT),
    may("message", MESSAGE),
    may("sourceLanguage", Text),
    may("properties", Map(&Any)),
]);
const LOCATION: Shape = Object(&[
    may("id", Whole),
    may(
        "physicalLocation",
        Object(&[
            may("artifactLocation", ARTIFACT_LOCATION),
            may("region", REGION),
            may("contextRegion", REGION),
            may("address", Any),
            may("properties", Map(&Any)),
        ]),
    ),
    may("logicalLocations", List(&Any)),
    may("message", MESSAGE),
    may("annotations", List(&REGION)),
    may("relationships", List(&Any)),
    may("properties", Map(&Any)),
]);
const SUPPRESSION: Shape = Object(&[
    must("kind", Word(&["inSource", "external"])),
    may("status", Word(&["accepted", "underReview", "rejected"])),
    may("justification", Text),
    may("guid", Text),
    may("location", LOCATION),
    may("properties", Map(&Any)),
]);
const CODE_FLOW: Shape = Object(&[
    may("message", MESSAGE),
    must(
        "threadFlows",
        AtLeastOne(&Object(&[
            may("id", Text),
            may("message", MESSAGE),
            must(
                "locations",
                AtLeastOne(&Object(&[
                    may("location", LOCATION),
                    may("nestingLevel", Whole),
                    may("executionOrder", Whole),
                    may("importance", Word(&["important", "essential", "unimportant"])),
                    may("kinds", List(&Text)),
                    may("state", Map(&Any)),
                    may("index", Whole),
                    may("properties", Map(&Any)),
                ])),
            ),
            may("properties", Map(&Any)),
        ])),
    ),
    may("properties", Map(&Any)),
]);
const FIX: Shape = Object(&[
    may("description", MESSAGE),
    must(
        "artifactChanges",
        AtLeastOne(&Object(&[
            must("artifactLocation", ARTIFACT_LOCATION),
            must(
                "replacements",
                AtLeastOne(&Object(&[must("deletedRegion", REGION), may("insertedContent", CONTENT)])),
            ),
        ])),
    ),
    may("properties", Map(&Any)),
]);
const RESULT: Shape = Object(&[
    may("ruleId", Name),
    may("ruleIndex", Whole),
    may("rule", Object(&[may("id", Text), may("index", Whole), may("guid", Text), may("toolComponent", Any)])),
    may("kind", Word(&["notApplicable", "pass", "fail", "review", "open", "informational"])),
    may("level", LEVEL),
    must("message", MESSAGE),
    may("locations", List(&LOCATION)),
    may("relatedLocations", List(&LOCATION)),
    may("analysisTarget", ARTIFACT_LOCATION),
    may("suppressions", List(&SUPPRESSION)),
    may("baselineState", Word(&["new", "unchanged", "updated", "absent"])),
    may("fingerprints", Map(&Text)),
    may("partialFingerprints", Map(&Text)),
    may("codeFlows", List(&CODE_FLOW)),
    may("fixes", List(&FIX)),
    may("rank", Number),
    may("guid", Text),
    may("correlationGuid", Text),
    may("occurrenceCount", Whole),
    may("hostedViewerUri", Text),
    may("workItemUris", List(&Text)),
    may("taxa", List(&Any)),
    may("properties", Map(&Any)),
]);
const RULE_PROPERTIES: Shape = Object(&[
    // Text by GitHub's own words; some tools write the number.
    may("security-severity", Any),
    may("precision", Any),
    may("tags", List(&Text)),
]);
const RULE: Shape = Object(&[
    must("id", Name),
    may("name", Text),
    may("guid", Text),
    may("shortDescription", MESSAGE),
    may("fullDescription", MESSAGE),
    may("help", MESSAGE),
    may("helpUri", Text),
    may("messageStrings", Map(&MESSAGE)),
    may("deprecatedIds", List(&Text)),
    may(
        "defaultConfiguration",
        Object(&[
            may("level", LEVEL),
            may("enabled", Flag),
            may("rank", Number),
            may("parameters", Map(&Any)),
            may("properties", Map(&Any)),
        ]),
    ),
    may("relationships", List(&Any)),
    may("properties", RULE_PROPERTIES),
]);
const COMPONENT: Shape = Object(&[
    must("name", Name),
    may("fullName", Text),
    may("version", Text),
    may("semanticVersion", Text),
    may("informationUri", Text),
    may("organization", Text),
    may("rules", List(&RULE)),
    may("notifications", List(&Any)),
    may("properties", Map(&Any)),
]);
const NOTIFICATION: Shape = Object(&[
    must("message", MESSAGE),
    may("level", LEVEL),
    may("descriptor", Object(&[may("id", Text), may("index", Whole), may("guid", Text)])),
    may("associatedRule", Any),
    may("locations", List(&LOCATION)),
    may("exception", Any),
    may("timeUtc", Text),
    may("properties", Map(&Any)),
]);
const INVOCATION: Shape = Object(&[
    must("executionSuccessful", Flag),
    may("startTimeUtc", Text),
    may("endTimeUtc", Text),
    may("exitCode", Whole),
    may("exitCodeDescription", Text),
    may("commandLine", Text),
    may("toolExecutionNotifications", List(&NOTIFICATION)),
    may("toolConfigurationNotifications", List(&NOTIFICATION)),
    may("properties", Map(&Any)),
]);
const RUN_PROPERTIES: Shape = Object(&[
    // As Trivy writes them.
    may("imageID", Text),
    may("imageName", Text),
    may("repoDigests", Null(&List(&Text))),
    may("repoTags", Null(&List(&Text))),
]);
const RUN: Shape = Object(&[
    must("tool", Object(&[must("driver", COMPONENT), may("extensions", List(&COMPONENT))])),
    // Absent means that the tool did not look (3.14.23), which is not the same as having found nothing.
    must("results", List(&RESULT)),
    may("invocations", List(&INVOCATION)),
    may("columnKind", Word(&["utf16CodeUnits", "unicodeCodePoints"])),
    may("originalUriBaseIds", Map(&ARTIFACT_LOCATION)),
    may("versionControlProvenance", List(&Any)),
    may("artifacts", List(&Any)),
    may("taxonomies", List(&Any)),
    may("properties", RUN_PROPERTIES),
]);
const DOCUMENT: Shape = Object(&[
    must("version", Word(&["2.1.0"])),
    may("$schema", Text),
    must("runs", AtLeastOne(&RUN)),
    may("inlineExternalProperties", List(&Any)),
    may("properties", Map(&Any)),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    for (i, run) in value.list("runs").iter().enumerate() {
        let driver = &run["tool"]["driver"];
        let tool = tool_id(driver.text("name"));
        if tool.is_empty() {
            return Err(format!(".runs[{i}].tool.driver.name: it has no letter or digit"));
        }
        if report.tool.is_empty() {
            report.tool.clone_from(&tool);
            report.tool_version = driver.some("semanticVersion").or_else(|| driver.some("version")).map(tidy);
        } else if report.tool != tool {
            return Err(format!(".runs[{i}]: runs of {} and of {tool} in one file: give a file for each", report.tool));
        }
        if tool == "semgrep" {
            always_written_by_semgrep(run).map_err(|what| format!(".runs[{i}]{what}"))?;
        }
        invocations(run, i, report)?;
        if let Some(properties) = run.get("properties") {
            let image = properties.some("imageID");
            report.of_artifact |= image.is_some();
            let digests = properties.list("repoDigests").iter().filter_map(Value::as_str);
            report.subjects.extend(digests.chain(image).filter_map(digest));
        }
        for (n, result) in run.list("results").iter().enumerate() {
            let finding = one(run, &tool, result).map_err(|what| format!(".runs[{i}].results[{n}]{what}"))?;
            report.findings.extend(finding);
        }
    }
    Ok(())
}

/// The standard lets a tool leave its invocation out, and the level of a notification. Semgrep never does, and says there alone
/// what it could not scan.
fn always_written_by_semgrep(run: &Value) -> Result<(), String> {
    let invocations = run.list("invocations");
    if invocations.is_empty() {
        return Err(": \"invocations\" is missing".to_owned());
    }
    for invocation in invocations {
        if invocation.get("toolExecutionNotifications").is_none() {
            return Err(".invocations: \"toolExecutionNotifications\" is missing".to_owned());
        }
        if invocation.list("toolExecutionNotifications").iter().any(|n| n.get("level").is_none()) {
            return Err(".invocations.toolExecutionNotifications: \"level\" is missing".to_owned());
        }
    }
    Ok(())
}

/// Whether the tool got to its end, and when.
fn invocations(run: &Value, i: usize, report: &mut Report) -> Result<(), String> {
    for invocation in run.list("invocations") {
        if invocation["executionSuccessful"].as_bool() != Some(true) {
            report.errors.push("the tool says that its run was not successful".to_owned());
        }
        for list in ["toolExecutionNotifications", "toolConfigurationNotifications"] {
            // Without a level a notification is a warning (3.58.6).
            for n in invocation.list(list).iter().filter(|n| n.text("level") == "error") {
                report.errors.push(tidy(n["message"].some("text").unwrap_or("an error without a message")));
            }
        }
        let ended = invocation.some("endTimeUtc").or_else(|| invocation.some("startTimeUtc"));
        if let Some(text) = ended {
            let at = time(&format!(".runs[{i}].invocations"), text)?;
            // The oldest of several scans is the report's age.
            report.scanned_at = Some(report.scanned_at.map_or(at, |known| known.min(at)));
        }
    }
    Ok(())
}

/// One result; `None` when it says that nothing is wrong.
fn one(run: &Value, tool: &str, result: &Value) -> Result<Option<Finding>, String> {
    let rule = rule(run, result)?;
    let id = result
        .some("ruleId")
        .or_else(|| result.pointer("/rule/id").and_then(Value::as_str))
        .or_else(|| rule.map(|rule| rule.text("id")))
        .filter(|id| !id.is_empty())
        .ok_or(": neither a rule nor its index is named")?;
    // 3.27.9: only `fail` (the default) has a level; what passed or does not apply is no finding. A review or an open question is one.
    let kind = result.some("kind").unwrap_or("fail");
    if matches!(kind, "pass" | "notApplicable") {
        return Ok(None);
    }
    let said = result["message"].some("text").or_else(|| result["message"].some("markdown"));
    let title = rule.and_then(|rule| rule["shortDescription"].some("text"));
    let severity = match kind {
        "informational" => Severity::Info,
        "review" | "open" => Severity::Unknown,
        _ => severity(rule, result)?,
    };
    let place = result.list("locations").first().and_then(|l| l.get("physicalLocation"));
    let path = place.and_then(|p| p["artifactLocation"].some("uri")).unwrap_or_default();
    let line = place.and_then(|p| p["region"]["startLine"].as_u64());
    let trivy = tool == "trivy";
    let shown = if trivy { title.or(said) } else { said.or(title) };
    let mut finding = Finding::new(tool, id, severity, shown.unwrap_or_default()).at(path, line);
    if trivy {
        // Trivy's message is a list of `Name: value` lines.
        let named = |name: &str| {
            said.and_then(|said| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")))
                .unwrap_or_default()
        };
        finding = finding.of(named("Package"), named("Installed Version"));
        finding.fixed_version = Some(tidy(named("Fixed Version"))).filter(|text| !text.is_empty());
    }
    finding.state = state(result);
    finding.fingerprint = ["fingerprints", "partialFingerprints"]
        .iter()
        .find_map(|key| result.get(key)?.as_object()?.values().find_map(Value::as_str))
        .map(tidy);
    Ok(Some(finding))
}

/// The rule's description in the driver. An index that leads nowhere, or to another rule, is a contradiction.
fn rule<'a>(run: &'a Value, result: &Value) -> Result<Option<&'a Value>, String> {
    let rules = run["tool"]["driver"].list("rules");
    let component = result.pointer("/rule/toolComponent");
    let index = result.get("ruleIndex").or_else(|| result.pointer("/rule/index")).and_then(Value::as_i64);
    let id = result.some("ruleId").or_else(|| result.pointer("/rule/id").and_then(Value::as_str));
    // A rule of an extension is described there; -1 is the standard's word for "no index".
    if component.is_none()
        && let Some(index) = index.filter(|i| *i != -1)
    {
        let found = usize::try_from(index).ok().and_then(|i| rules.get(i));
        let found = found.ok_or_else(|| format!(".ruleIndex: there is no rule {index}"))?;
        // An id may name a part of a rule, after a slash (3.52.4).
        if let Some(id) = id {
            let own = found.text("id");
            if id != own && !id.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')) {
                return Err(format!(".ruleIndex: rule {index} is {:?}, not {:?}", tidy(own), tidy(id)));
            }
        }
        return Ok(Some(found));
    }
    let extensions = run["tool"].list("extensions").iter().flat_map(|e| e.list("rules"));
    Ok(id.and_then(|id| rules.iter().chain(extensions).find(|rule| rule.text("id") == id)))
}

/// `security-severity` (a CVSS score, as GitHub defines it), else the level, else the rule's level, else `warning` (3.27.10).
fn severity(rule: Option<&Value>, result: &Value) -> Result<Severity, String> {
    let score = |value: &Value| match value.get("properties").and_then(|p| p.get("security-severity")) {
        None => Ok(None),
        Some(Value::String(text)) => {
            text.parse::<f64>().map(Some).map_err(|_| ": security-severity is not a number".to_owned())
        }
        Some(Value::Number(n)) => Ok(n.as_f64()),
        Some(_) => Err(": security-severity is not a number".to_owned()),
    };
    let found = match score(result)? {
        Some(found) => Some(found),
        None => rule.map(score).transpose()?.flatten(),
    };
    match found {
        Some(s) if !(0.0..=10.0).contains(&s) => return Err(format!(": security-severity {s} is not 0 to 10")),
        // Some tools write 0.0 for what has no score.
        Some(s) if s > 0.0 => return Ok(Severity::of_score(s)),
        _ => {}
    }
    let level = result
        .some("level")
        .or_else(|| rule.and_then(|rule| rule.pointer("/defaultConfiguration/level")).and_then(Value::as_str))
        .unwrap_or("warning");
    Ok(match level {
        "error" => Severity::High,
        "warning" => Severity::Medium,
        "note" => Severity::Low,
        _ => Severity::None,
    })
}

/// Suppressed when there is a suppression and none is under review or rejected (3.27.23, 3.35.3).
fn state(result: &Value) -> State {
    let suppressions = result.list("suppressions");
    let accepted = |s: &Value| matches!(s.some("status"), None | Some("accepted"));
    if result.text("baselineState") == "absent" {
        State::Absent
    } else if !suppressions.is_empty() && suppressions.iter().all(accepted) {
        State::Suppressed
    } else {
        State::Open
    }
}
