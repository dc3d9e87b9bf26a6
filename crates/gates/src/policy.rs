//! What may pass, in TOML.
//!
//! ```toml
//! name = "production"
//! required = ["trivy", "semgrep"]   # reports that must be there
//! max_age = "7d"                    # of every scan; a report that does not say when it was made then fails
//! subject = "when-stated"           # or "required", "ignored": whether a report must name the digest that is asked about
//! fail_at = "low"                   # this severity and above fail
//! unknown = "fail"                  # or "pass": what has no severity
//! suppressions = "accept"           # or "count": what the report itself says was accepted
//! scan_errors = "fail"              # or "pass": a tool that could not look everywhere
//!
//! [tools.trivy]                     # the same fields, for one tool
//! fail_at = "high"
//! only_fixable = true               # what has no fixed version yet passes
//!
//! [licences]
//! allowed = ["MIT", "Apache-2.0", "BSD-*"]
//! denied = ["AGPL-*"]
//!
//! [[waivers]]
//! rule = "CVE-2019-1549"            # and, to narrow it: tool, package, path
//! owner = "dana"
//! reason = "not reachable: we never fork"
//! expires = "2026-12-01"
//! ```

use std::collections::BTreeMap;

use model::{Digest, Timestamp};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{Finding, Severity, State, tool_id};

/// Largest policy, bytes: thousands of waivers are a page that nobody reads.
const MAX_POLICY: usize = 256 * 1024;
/// Most waivers.
const MAX_WAIVERS: usize = 2_000;
/// Licences that bind whoever only offers the program over a network, or are not free: refused when nothing else is said.
const STRICT_DENIED: [&str; 6] =
    ["AGPL-*", "SSPL-*", "BUSL-*", "CC-BY-NC-*", "LicenseRef-scancode-proprietary*", "LicenseRef-scancode-commercial*"];
/// Oldest scan that the built-in policy accepts, from reports that say when they were made.
const STRICT_AGE_MS: i64 = 30 * DAY_MS;
const DAY_MS: i64 = 86_400_000;

/// What to do with what has no severity, or with a scan that was not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// It fails.
    Fail,
    /// It passes.
    Pass,
}

/// What to do with what a report says was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suppressions {
    /// It does not count.
    Accept,
    /// It counts like any other finding.
    Count,
}

/// Whether a report must name the digest that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subjects {
    /// Every report.
    Required,
    /// Reports on built artifacts; one on sources need not, but when it names a digest, then this one.
    WhenStated,
    /// None.
    Ignored,
}

/// What holds for one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) fail_at: Severity,
    pub(crate) unknown: Unknown,
    pub(crate) max_age_ms: Option<i64>,
    /// Whether a report that does not say when it was made fails, with a maximum age.
    pub(crate) age_required: bool,
    pub(crate) subject: Subjects,
    pub(crate) suppressions: Suppressions,
    pub(crate) scan_errors: Unknown,
    pub(crate) only_fixable: bool,
}

/// A finding that may stay, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The finding's rule, or one of its other names.
    pub rule: String,
    /// Only of this tool.
    pub tool: Option<String>,
    /// Only in this package.
    pub package: Option<String>,
    /// Only at this path, or below it when it ends with `/`.
    pub path: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// From then on the finding counts again.
    pub expires: Timestamp,
}

impl Waiver {
    /// True when this is what the waiver is about, whether or not it has expired.
    pub fn is_about(&self, finding: &Finding) -> bool {
        let path = finding.location.as_ref().map_or("", |l| l.path.as_str());
        finding.names().any(|name| name == self.rule)
            && self.tool.as_ref().is_none_or(|tool| *tool == finding.tool)
            && self.package.as_ref().is_none_or(|name| finding.package.as_ref().is_some_and(|p| p.name == *name))
            && self.path.as_ref().is_none_or(|own| if own.ends_with('/') { path.starts_with(own) } else { path == own })
    }
}

/// What may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Digest of its text; of the built-in one, of its name and version.
    pub digest: Digest,
    /// Tools whose report must be there.
    pub required: Vec<String>,
    /// Licences that alone may be used; empty = all that are not denied.
    pub allowed_licences: Vec<String>,
    /// Licences that may not be used.
    pub denied_licences: Vec<String>,
    /// Findings that may stay, for a while.
    pub waivers: Vec<Waiver>,
    pub(crate) default: Rules,
    pub(crate) tools: BTreeMap<String, Rules>,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too large.
    #[error("the policy has {0} bytes, at most {MAX_POLICY} are read")]
    TooLarge(usize),
    /// Not TOML, or with fields that are not known.
    #[error("{0}")]
    Toml(String),
    /// A value that makes no sense.
    #[error("{0}")]
    Value(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    #[serde(default)]
    required: Vec<String>,
    max_age: Option<String>,
    subject: Option<Subjects>,
    fail_at: Option<Severity>,
    unknown: Option<Unknown>,
    suppressions: Option<Suppressions>,
    scan_errors: Option<Unknown>,
    #[serde(default)]
    only_fixable: bool,
    #[serde(default)]
    tools: BTreeMap<String, ToolText>,
    #[serde(default)]
    licences: Licences,
    #[serde(default)]
    waivers: Vec<WaiverText>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolText {
    max_age: Option<String>,
    subject: Option<Subjects>,
    fail_at: Option<Severity>,
    unknown: Option<Unknown>,
    suppressions: Option<Suppressions>,
    scan_errors: Option<Unknown>,
    only_fixable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    denied: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiverText {
    rule: String,
    tool: Option<String>,
    package: Option<String>,
    path: Option<String>,
    owner: String,
    reason: String,
    expires: String,
}

impl Policy {
    /// The built-in policy: everything from `low` up fails, and so does what has no severity, a scan that was not whole, a dated scan of
    /// more than 30 days, a report on another artifact, and a licence with network copyleft or without freedom.
    pub fn strict() -> Self {
        Self {
            name: "built-in strict".to_owned(),
            digest: Digest::from_sha256(&Sha256::digest("deliveryos built-in strict gate policy, version 1").into()),
            required: Vec::new(),
            allowed_licences: Vec::new(),
            denied_licences: STRICT_DENIED.map(str::to_owned).to_vec(),
            waivers: Vec::new(),
            default: Rules {
                max_age_ms: Some(STRICT_AGE_MS),
                // Semgrep, OSV-Scanner and most SARIF carry no time: strict is not the same as unusable.
                age_required: false,
                ..strict_rules()
            },
            tools: BTreeMap::new(),
        }
    }

    /// Reads a policy. Unknown fields are refused, and every error names the line.
    ///
    /// # Errors
    /// When it is not a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge(text.len()));
        }
        let parsed: Text = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            PolicyError::Toml(format!("{line}{}", error.message()))
        })?;
        let wrong = |what: String| Err(PolicyError::Value(what));
        if parsed.name.trim().is_empty() || parsed.name.len() > 100 || parsed.name.chars().any(char::is_control) {
            return wrong("name: 1 to 100 characters".to_owned());
        }
        for (at, tool) in
            parsed.required.iter().map(|t| ("required", t)).chain(parsed.tools.keys().map(|t| ("tools", t)))
        {
            if tool.is_empty() || tool_id(tool) != *tool {
                return wrong(format!("{at}: a tool is named like {:?}, not {tool:?}", tool_id(tool)));
            }
        }
        if parsed.waivers.len() > MAX_WAIVERS {
            return wrong(format!("waivers: at most {MAX_WAIVERS}"));
        }
        let strict = strict_rules();
        let default = Rules {
            fail_at: severity("fail_at", parsed.fail_at)?.unwrap_or(strict.fail_at),
            unknown: parsed.unknown.unwrap_or(strict.unknown),
            max_age_ms: parsed.max_age.as_deref().map(|t| age("max_age", t)).transpose()?,
            age_required: true,
            subject: parsed.subject.unwrap_or(strict.subject),
            suppressions: parsed.suppressions.unwrap_or(strict.suppressions),
            scan_errors: parsed.scan_errors.unwrap_or(strict.scan_errors),
            only_fixable: parsed.only_fixable,
        };
        let mut tools = BTreeMap::new();
        for (name, t) in parsed.tools {
            let at = |field: &str| format!("tools.{name}.{field}");
            let rules = Rules {
                fail_at: severity(&at("fail_at"), t.fail_at)?.unwrap_or(default.fail_at),
                unknown: t.unknown.unwrap_or(default.unknown),
                max_age_ms: t
                    .max_age
                    .as_deref()
                    .map(|text| age(&at("max_age"), text))
                    .transpose()?
                    .or(default.max_age_ms),
                age_required: true,
                subject: t.subject.unwrap_or(default.subject),
                suppressions: t.suppressions.unwrap_or(default.suppressions),
                scan_errors: t.scan_errors.unwrap_or(default.scan_errors),
                only_fixable: t.only_fixable.unwrap_or(default.only_fixable),
            };
            tools.insert(name, rules);
        }
        for (list, entries) in [("allowed", &parsed.licences.allowed), ("denied", &parsed.licences.denied)] {
            if entries.iter().any(|entry| entry.trim().is_empty()) {
                return wrong(format!("licences.{list}: an entry is empty"));
            }
        }
        let waivers = parsed.waivers.into_iter().enumerate().map(|(i, w)| waiver(i, w)).collect::<Result<_, _>>()?;
        Ok(Self {
            name: parsed.name,
            digest: Digest::from_sha256(&Sha256::digest(text).into()),
            required: parsed.required,
            allowed_licences: parsed.licences.allowed,
            denied_licences: parsed.licences.denied,
            waivers,
            default,
            tools,
        })
    }

    pub(crate) fn rules(&self, tool: &str) -> &Rules {
        self.tools.get(tool).unwrap_or(&self.default)
    }

    /// True when this finding's severity, by itself, makes the gate fail.
    pub(crate) fn counts(&self, finding: &Finding) -> bool {
        let rules = self.rules(&finding.tool);
        match finding.state {
            State::Absent => return false,
            State::Suppressed if rules.suppressions == Suppressions::Accept => return false,
            State::Open | State::Suppressed => {}
        }
        if rules.only_fixable
            && finding.package.is_some()
            && finding.licence.is_none()
            && finding.fixed_version.is_none()
        {
            return false;
        }
        match finding.severity {
            Severity::Unknown => rules.unknown == Unknown::Fail,
            severity => severity >= rules.fail_at,
        }
    }
}

fn strict_rules() -> Rules {
    Rules {
        fail_at: Severity::Low,
        unknown: Unknown::Fail,
        max_age_ms: None,
        age_required: true,
        subject: Subjects::WhenStated,
        suppressions: Suppressions::Accept,
        scan_errors: Unknown::Fail,
        only_fixable: false,
    }
}

/// A severity that can be compared; `none` would make every licence that is found a failure.
fn severity(at: &str, given: Option<Severity>) -> Result<Option<Severity>, PolicyError> {
    match given {
        Some(Severity::Unknown | Severity::None) => {
            Err(PolicyError::Value(format!("{at}: one of info, low, medium, high, critical")))
        }
        other => Ok(other),
    }
}

/// `36h`, `7d`, `90m`.
fn age(at: &str, text: &str) -> Result<i64, PolicyError> {
    let wrong = || PolicyError::Value(format!("{at}: {text:?} is not like 36h or 7d, up to 3650d"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY_MS,
        _ => return Err(wrong()),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let ms = number.parse::<i64>().ok().filter(|_| plain).and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
    if (1..=3650 * DAY_MS).contains(&ms) { Ok(ms) } else { Err(wrong()) }
}

fn waiver(i: usize, w: WaiverText) -> Result<Waiver, PolicyError> {
    let at = |field: &str| format!("waivers[{i}].{field}");
    for (field, text) in [("rule", &w.rule), ("owner", &w.owner), ("reason", &w.reason)] {
        if text.trim().is_empty() {
            return Err(PolicyError::Value(format!("{}: it must say something", at(field))));
        }
    }
    // A day ends where the next begins, in UTC: the waiver holds up to the day's first moment.
    let whole = if w.expires.len() == 10 { format!("{}T00:00:00Z", w.expires) } else { w.expires.clone() };
    let expires = whole.parse().map_err(|_| {
        PolicyError::Value(format!(
            "{}: {:?} is neither a day (2026-12-01) nor an RFC 3339 time",
            at("expires"),
            w.expires
        ))
    })?;
    if let Some(tool) = w.tool.as_ref().filter(|tool| tool_id(tool) != **tool) {
        return Err(PolicyError::Value(format!("{}: a tool is named like {:?}", at("tool"), tool_id(tool))));
    }
    Ok(Waiver {
        rule: w.rule,
        tool: w.tool,
        package: w.package,
        path: w.path,
        owner: w.owner,
        reason: w.reason,
        expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
name = "production"
required = ["trivy"]
max_age = "7d"
[tools.trivy]
fail_at = "high"
[licences]
denied = ["AGPL-*"]
[[waivers]]
rule = "CVE-1"
owner = "dana"
reason = "not reachable"
expires = "2026-12-01"
"#;

    #[test]
    fn a_whole_policy_is_read() {
        let policy = Policy::parse(WHOLE).unwrap();
        assert_eq!(policy.rules("trivy").fail_at, Severity::High);
        assert_eq!(policy.rules("trivy").max_age_ms, Some(7 * DAY_MS));
        assert_eq!(policy.rules("semgrep").fail_at, Severity::Low);
        assert_eq!(policy.waivers[0].expires.to_string(), "2026-12-01T00:00:00.000Z");
        assert_ne!(policy.digest, Policy::strict().digest);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let said = Policy::parse(&WHOLE.replace(from, to)).unwrap_err().to_string();
            assert!(said.contains(expected), "{to}: {said}");
        };
        check("max_age", "maxage", "line 4: unknown field `maxage`");
        check("\"7d\"", "\"7 days\"", "max_age");
        check("\"7d\"", "\"-7d\"", "max_age");
        check("\"7d\"", "\"99999999999999999999d\"", "max_age");
        check("\"7d\"", "\"ü\"", "max_age");
        check("\"high\"", "\"hihg\"", "unknown variant `hihg`");
        check("\"high\"", "\"none\"", "tools.trivy.fail_at");
        check("[tools.trivy]", "[tools.Trivy]", "tools: a tool is named like \"trivy\"");
        check("owner = \"dana\"\n", "", "missing field `owner`");
        check("owner = \"dana\"", "owner = \" \"", "waivers[0].owner");
        check("reason = \"not reachable\"\n", "", "missing field `reason`");
        check("expires = \"2026-12-01\"\n", "", "missing field `expires`");
        check("2026-12-01", "never", "waivers[0].expires");
        check("name = \"production\"\n", "", "missing field `name`");
    }
}
