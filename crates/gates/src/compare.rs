//! What is new and what is fixed against the reports of the release before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Finding, State};

/// The difference between two sets of findings, of those that are there: open or suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// There now, not before.
    pub new: Vec<Finding>,
    /// There before, not now.
    pub fixed: Vec<Finding>,
    /// There before and now.
    pub unchanged: u64,
}

impl Difference {
    /// `2 new, 5 fixed, 3 unchanged`.
    pub fn sentence(&self) -> String {
        format!("{} new, {} fixed, {} unchanged", self.new.len(), self.fixed.len(), self.unchanged)
    }
}

/// Compares two sets of findings. The same finding is the same rule (by any of its names) of the same tool in the same package and file,
/// or the same fingerprint where the tool gives one; lines and versions may move. Licences that were found are no findings here.
pub fn compare(now: &[Finding], before: &[Finding]) -> Difference {
    let there = |f: &&Finding| f.state != State::Absent && f.licence.is_none();
    let mut left: BTreeMap<String, Vec<&Finding>> = BTreeMap::new();
    for finding in before.iter().filter(there) {
        left.entry(place(finding)).or_default().push(finding);
    }
    let mut difference = Difference::default();
    for finding in now.iter().filter(there) {
        let known = left.get_mut(&place(finding));
        let found = known.and_then(|known| {
            let exact = known.iter().position(|other| same_print(finding, other));
            let at = exact
                .or_else(|| known.iter().position(|other| !prints(finding, other) && same_name(finding, other)))?;
            Some(known.swap_remove(at))
        });
        match found {
            Some(_) => difference.unchanged += 1,
            None => difference.new.push(finding.clone()),
        }
    }
    difference.fixed = left.into_values().flatten().cloned().collect();
    difference.fixed.sort_by_key(|f| f.severity.rank());
    difference.new.sort_by_key(|f| f.severity.rank());
    difference
}

/// What stays the same when code moves: tool, package, and the path of what is not a package.
fn place(finding: &Finding) -> String {
    let path = finding.location.as_ref().map_or("", |l| l.path.as_str());
    match &finding.package {
        // Where a lock file lies is part of which package is meant by it; the target of an image is the image, which changes.
        Some(p) if finding.tool == "trivy" => format!("{}\0{}", finding.tool, p.name),
        Some(p) => format!("{}\0{}\0{path}", finding.tool, p.name),
        None => format!("{}\0\0{path}", finding.tool),
    }
}

fn prints(a: &Finding, b: &Finding) -> bool {
    a.fingerprint.is_some() && b.fingerprint.is_some()
}

fn same_print(a: &Finding, b: &Finding) -> bool {
    prints(a, b) && a.fingerprint == b.fingerprint && a.rule == b.rule
}

fn same_name(a: &Finding, b: &Finding) -> bool {
    a.names().any(|name| b.names().any(|other| other == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    fn found(rule: &str, package: &str, path: &str, print: &str) -> Finding {
        let mut finding = Finding::new("semgrep", rule, Severity::High, "").at(path, Some(1)).of(package, "1");
        finding.fingerprint = Some(print.to_owned()).filter(|p| !p.is_empty());
        finding
    }

    #[test]
    fn new_fixed_and_unchanged() {
        let before = [
            found("a", "", "x.py", ""),
            found("a", "", "x.py", ""),
            found("b", "", "x.py", ""),
            found("CVE-1", "p", "", ""),
        ];
        let mut renamed = found("GHSA-1", "p", "", "");
        renamed.aliases.push("CVE-1".to_owned());
        let now = [found("a", "", "x.py", ""), renamed, found("a", "", "y.py", "")];
        let d = compare(&now, &before);
        assert_eq!(d.sentence(), "1 new, 2 fixed, 2 unchanged");
        assert_eq!(d.new[0].location.as_ref().unwrap().path, "y.py");
    }

    #[test]
    fn a_fingerprint_tells_two_of_a_rule_apart() {
        let before = [found("a", "", "x.py", "1"), found("a", "", "x.py", "2")];
        let now = [found("a", "", "x.py", "2"), found("a", "", "x.py", "3")];
        let d = compare(&now, &before);
        assert_eq!(d.sentence(), "1 new, 1 fixed, 1 unchanged");
        assert_eq!(d.fixed[0].fingerprint.as_deref(), Some("1"));
    }

    #[test]
    fn what_is_gone_in_the_baseline_is_not_there() {
        let mut gone = found("a", "", "x.py", "");
        gone.state = State::Absent;
        assert_eq!(compare(&[gone.clone()], &[]).sentence(), "0 new, 0 fixed, 0 unchanged");
    }
}
