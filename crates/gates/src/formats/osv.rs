//! OSV-Scanner's JSON (`osv-scanner scan --format json`) and the OSV schema of the vulnerabilities in it.

use serde_json::Value;

use crate::{
    Report, Severity,
    cvss::base_score,
    finding::{Finding, tidy},
    json::Ask,
    shape::{
        Shape::{self, Any, Closed, Flag, List, Map, Name, Null, Object, Some as AtLeastOne, Text, Word},
        may, must,
    },
};

const EVENT: Shape =
    Object(&[may("introduced", Text), may("fixed", Text), may("last_affected", Text), may("limit", Text)]);
const SEVERITY: Shape =
    Object(&[must("type", Word(&["CVSS_V2", "CVSS_V3", "CVSS_V4", "Ubuntu"])), must("score", Name)]);
const AFFECTED: Shape = Object(&[
    may("package", Object(&[must("name", Text), must("ecosystem", Text), may("purl", Text)])),
    may(
        "ranges",
        Null(&List(&Object(&[
            must("type", Word(&["GIT", "SEMVER", "ECOSYSTEM"])),
            may("repo", Text),
            must("events", AtLeastOne(&EVENT)),
            may("database_specific", Null(&Map(&Any))),
        ]))),
    ),
    may("versions", Null(&List(&Text))),
    may("severity", Null(&List(&SEVERITY))),
    may("ecosystem_specific", Null(&Map(&Any))),
    may("database_specific", Null(&Map(&Any))),
]);
const REFERENCE: Shape = Object(&[
    must(
        "type",
        Word(&[
            "ADVISORY",
            "ARTICLE",
            "DETECTION",
            "DISCUSSION",
            "REPORT",
            "FIX",
            "INTRODUCED",
            "GIT",
            "PACKAGE",
            "EVIDENCE",
            "WEB",
        ]),
    ),
    must("url", Text),
]);
const VULNERABILITY: Shape = Object(&[
    must("id", Name),
    may("schema_version", Text),
    may("modified", Text),
    may("published", Text),
    may("withdrawn", Text),
    may("aliases", Null(&List(&Text))),
    may("upstream", Null(&List(&Text))),
    may("related", Null(&List(&Text))),
    may("summary", Text),
    may("details", Text),
    may("severity", Null(&List(&SEVERITY))),
    may("affected", Null(&List(&AFFECTED))),
    may("references", Null(&List(&REFERENCE))),
    may("credits", Null(&List(&Any))),
    may("database_specific", Null(&Map(&Any))),
]);
const GROUP: Shape = Object(&[
    must("ids", AtLeastOne(&Text)),
    may("aliases", Null(&List(&Text))),
    may("max_severity", Text),
    may("experimentalAnalysis", Null(&Map(&Any))),
    may("experimental_analysis", Null(&Map(&Any))),
]);
// Closed: its lists are left out when empty.
const PACKAGE: Shape = Closed(&[
    must(
        "package",
        Object(&[
            must("name", Text),
            may("version", Text),
            // Empty for what is found by its commit.
            must("ecosystem", Text),
            may("commit", Text),
            may("purl", Text),
            may("deprecated", Flag),
            may("os_package_name", Text),
            may("image_origin_details", Any),
            may("inventory", Any),
        ]),
    ),
    may("vulnerabilities", List(&VULNERABILITY)),
    may("groups", List(&GROUP)),
    may("dependency_groups", Null(&List(&Text))),
    may("licenses", Null(&List(&Text))),
    may("license_violations", Null(&List(&Text))),
]);
const RESULT: Shape = Object(&[
    must(
        "source",
        Object(&[
            must("path", Text),
            must("type", Word(&["lockfile", "docker", "image", "sbom", "git", "artifact", "os", "unknown"])),
        ]),
    ),
    must("packages", AtLeastOne(&PACKAGE)),
    may("experimental_pes", Null(&List(&Any))),
]);
const DOCUMENT: Shape = Object(&[
    must("results", List(&RESULT)),
    may(
        "experimental_config",
        Object(&[may("licenses", Object(&[may("summary", Flag), may("allowlist", Null(&List(&Text)))]))]),
    ),
    may("image_metadata", Any),
    may("license_summary", Null(&List(&Any))),
    may("experimental_generic_findings", Any),
]);

pub(crate) fn read(value: &Value, report: &mut Report) -> Result<(), String> {
    DOCUMENT.check(value)?;
    report.tool = "osv-scanner".to_owned();
    for (i, result) in value.list("results").iter().enumerate() {
        for (n, entry) in result.list("packages").iter().enumerate() {
            let at = format!(".results[{i}].packages[{n}]");
            package(result["source"].text("path"), entry, report).map_err(|what| format!("{at}{what}"))?;
        }
    }
    Ok(())
}

fn package(path: &str, entry: &Value, report: &mut Report) -> Result<(), String> {
    let (vulnerabilities, groups) = (entry.list("vulnerabilities"), entry.list("groups"));
    let listed = |key: &str| entry.get(key).is_some_and(|v| !v.is_null());
    // The two are written together; one without the other is a report that lost something.
    if vulnerabilities.is_empty() != groups.is_empty() || listed("vulnerabilities") != listed("groups") {
        return Err(": vulnerabilities and groups do not belong together".to_owned());
    }
    if !listed("vulnerabilities") && !listed("licenses") && !listed("license_violations") {
        return Err(": neither vulnerabilities nor licenses: it does not say what was looked for".to_owned());
    }
    let (name, version) = (entry["package"].text("name"), entry["package"].text("version"));
    let name = if name.is_empty() { entry["package"].text("commit") } else { name };
    // A report with licences and without a vulnerability scan says so by its second part alone.
    for (k, vulnerability) in vulnerabilities.iter().enumerate() {
        let severity =
            severity(vulnerability, vulnerabilities, groups).map_err(|w| format!(".vulnerabilities[{k}]{w}"))?;
        let title = vulnerability.some("summary").or_else(|| vulnerability.some("details")).unwrap_or_default();
        let mut finding =
            Finding::new("osv-scanner", vulnerability.text("id"), severity, title).at(path, None).of(name, version);
        finding.aliases = vulnerability.list("aliases").iter().filter_map(Value::as_str).take(50).map(tidy).collect();
        finding.fixed_version = fixed(vulnerability, entry["package"].text("name"));
        report.findings.push(finding);
    }
    for licence in entry.list("licenses").iter().filter_map(Value::as_str) {
        let mut finding =
            Finding::new("osv-scanner", "licence", Severity::None, licence).at(path, None).of(name, version);
        finding.licence = Some(tidy(licence));
        report.findings.push(finding);
    }
    for licence in entry.list("license_violations").iter().filter_map(Value::as_str) {
        let title = format!("{licence} is not on the scan's own list of allowed licences");
        let finding = Finding::new("osv-scanner", "licence-violation", Severity::High, &title);
        report.findings.push(finding.at(path, None).of(name, version));
    }
    Ok(())
}

/// By its own score, its database's word, the group's highest score, or what its aliases in the group say, in this order.
fn severity(own: &Value, all: &[Value], groups: &[Value]) -> Result<Severity, String> {
    if let Some(found) = stated(own)? {
        return Ok(found);
    }
    let id = own.text("id");
    let names = |group: &&Value| {
        let ids = group.list("ids").iter().chain(group.list("aliases"));
        ids.filter_map(Value::as_str).any(|known| known == id)
    };
    let Some(group) = groups.iter().find(names) else { return Ok(Severity::Unknown) };
    if let Some(text) = group.some("max_severity") {
        let score: f64 = text.parse().map_err(|_| ": the group's max_severity is not a number".to_owned())?;
        return Ok(of_score(score));
    }
    let mut worst = Severity::Unknown;
    for other in all.iter().filter(|v| group.list("ids").iter().any(|known| known.as_str() == v.some("id"))) {
        if let Some(found) = stated(other)?
            && (worst == Severity::Unknown || found > worst)
        {
            worst = found;
        }
    }
    Ok(worst)
}

/// What the vulnerability's entry itself says; `None` when it says nothing that can be computed here.
fn stated(vulnerability: &Value) -> Result<Option<Severity>, String> {
    let affected = vulnerability.list("affected").iter().flat_map(|a| a.list("severity"));
    let mut found: Option<Severity> = None;
    for s in vulnerability.list("severity").iter().chain(affected) {
        let score = s.text("score");
        let one = match s.text("type") {
            "CVSS_V2" => base_score(2, score).map(of_score).ok_or(": not a CVSS 2 vector")?,
            "CVSS_V3" => base_score(3, score).map(of_score).ok_or(": not a CVSS 3 vector")?,
            "CVSS_V4" if score.starts_with("CVSS:4.0/") => continue,
            "CVSS_V4" => return Err(": not a CVSS 4 vector".to_owned()),
            _ => match score {
                "negligible" | "low" => Severity::Low,
                "medium" => Severity::Medium,
                "high" => Severity::High,
                "critical" => Severity::Critical,
                _ => continue,
            },
        };
        found = Some(found.map_or(one, |known| known.max(one)));
    }
    if found.is_some() {
        return Ok(found);
    }
    match vulnerability.get("database_specific").and_then(|d| d.get("severity")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => match word.to_ascii_uppercase().as_str() {
            "LOW" => Ok(Some(Severity::Low)),
            "MODERATE" | "MEDIUM" => Ok(Some(Severity::Medium)),
            "HIGH" => Ok(Some(Severity::High)),
            "CRITICAL" => Ok(Some(Severity::Critical)),
            _ => Err(format!(".database_specific.severity: {:?} is not a known word", tidy(word))),
        },
        Some(_) => Err(".database_specific.severity: not a text".to_owned()),
    }
}

/// A vulnerability without any impact is one whose score was not filled in.
fn of_score(score: f64) -> Severity {
    if score > 0.0 { Severity::of_score(score) } else { Severity::Unknown }
}

/// The first version named as fixed for this package.
fn fixed(vulnerability: &Value, name: &str) -> Option<String> {
    let affected = vulnerability.list("affected").iter().filter(|a| a["package"].text("name") == name);
    let events =
        affected.flat_map(|a| a.list("ranges")).filter(|r| r.text("type") != "GIT").flat_map(|r| r.list("events"));
    events.filter_map(|event| event.some("fixed")).next().map(tidy)
}
