//! One finding, the same whichever tool found it.

use serde::{Deserialize, Serialize};

/// Longest text kept of a report: a title is a sentence, not a page.
const MAX_TEXT: usize = 300;

/// How bad it is. `Unknown` has no place in the order: policies say what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing wrong by itself: a licence that was found.
    None,
    /// To know.
    Info,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
    /// The report does not say.
    Unknown,
}

impl Severity {
    /// The word shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The order to show in: the worst first, what is unknown right after critical.
    pub fn rank(self) -> u8 {
        match self {
            Self::Critical => 0,
            Self::Unknown => 1,
            Self::High => 2,
            Self::Medium => 3,
            Self::Low => 4,
            Self::Info => 5,
            Self::None => 6,
        }
    }

    /// By the bands of CVSS 3.1, section 5.
    pub(crate) fn of_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s > 0.0 => Self::Low,
            _ => Self::None,
        }
    }
}

/// Whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Open,
    /// The report says that it was accepted (a comment in the source, a review).
    Suppressed,
    /// The report says that it was there in its baseline and no longer is.
    Absent,
}

/// Where in the source or image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path, or the target as the tool names it.
    pub path: String,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// Which package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version that is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// What a tool found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The tool's id ([`tool_id`]).
    pub tool: String,
    /// The tool's own name for it: a rule, a CVE.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// In words.
    pub title: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Which package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// The version in which it is fixed, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_version: Option<String>,
    /// The licence, as an SPDX expression, where the finding is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Other names for the same thing: `CVE-…` for `GHSA-…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Whether it counts.
    pub state: State,
    /// What the tool tells the same finding by, over versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl Finding {
    /// An open finding; the rest is added by the format's reader.
    pub(crate) fn new(tool: &str, rule: &str, severity: Severity, title: &str) -> Self {
        Self {
            tool: tool.to_owned(),
            rule: tidy(rule),
            severity,
            title: tidy(title),
            location: None,
            package: None,
            fixed_version: None,
            licence: None,
            aliases: Vec::new(),
            state: State::Open,
            fingerprint: None,
        }
    }

    /// At this place.
    pub(crate) fn at(mut self, path: &str, line: Option<u64>) -> Self {
        if !path.is_empty() {
            self.location = Some(Location { path: tidy(path), line });
        }
        self
    }

    /// In this package.
    pub(crate) fn of(mut self, name: &str, version: &str) -> Self {
        if !name.is_empty() {
            self.package = Some(Package { name: tidy(name), version: tidy(version) });
        }
        self
    }

    /// Its rule and every other name for it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.rule.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// Where it is, for a narrow column: the package and its version, else the path and line.
    pub fn place(&self) -> String {
        match (&self.package, &self.location) {
            (Some(p), _) if p.version.is_empty() => p.name.clone(),
            (Some(p), _) => format!("{} {}", p.name, p.version),
            (None, Some(Location { path, line: Some(line) })) => format!("{path}:{line}"),
            (None, Some(l)) => l.path.clone(),
            (None, None) => String::new(),
        }
    }
}

/// One line, without what a terminal would obey, of bearable length.
pub(crate) fn tidy(text: &str) -> String {
    let mut out = String::new();
    let mut blank = false;
    for (n, c) in text.trim().chars().enumerate() {
        if n >= MAX_TEXT {
            out.push('…');
            break;
        }
        if c.is_whitespace() || c.is_control() {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) && !out.is_empty() {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// The id by which policies name a tool: `Semgrep OSS` and `Semgrep PRO` are `semgrep`, `Trivy` is `trivy`, all else its name in lower
/// case with hyphens.
pub fn tool_id(name: &str) -> String {
    let mut id = String::new();
    for c in name.trim().chars().take(60) {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.ends_with('-') && !id.is_empty() {
            id.push('-');
        }
    }
    let id = id.trim_end_matches('-');
    match id {
        _ if id == "semgrep" || id.starts_with("semgrep-") => "semgrep".to_owned(),
        "osv-scanner" | "osv" | "osvscanner" => "osv-scanner".to_owned(),
        "scancode" | "scancode-toolkit" => "scancode".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_have_one_name() {
        for (name, id) in [
            ("Semgrep OSS", "semgrep"),
            ("Semgrep PRO", "semgrep"),
            ("Trivy", "trivy"),
            ("osv-scanner", "osv-scanner"),
            ("CodeQL command-line toolchain", "codeql-command-line-toolchain"),
            ("  --ESLint!!", "eslint"),
            ("", ""),
        ] {
            assert_eq!(tool_id(name), id, "{name}");
        }
    }

    #[test]
    fn text_is_one_harmless_line() {
        assert_eq!(tidy("a\u{1b}[31m\n\tb\u{0}  c "), "a [31m b c");
        assert!(tidy(&"x".repeat(10_000)).chars().count() <= MAX_TEXT + 1);
    }
}
