//! What the tests share.

use gates::{Decision, Policy, Request, Submitted, decide};
use model::{Digest, Timestamp};

/// One failing report of each format, our own.
#[allow(dead_code)] // not every test file uses it
pub(crate) const FIXTURES: [(&str, &[u8]); 6] = [
    ("semgrep.json", include_bytes!("../fixtures/semgrep.json")),
    ("tool.sarif", include_bytes!("../fixtures/tool.sarif")),
    ("osv.json", include_bytes!("../fixtures/osv.json")),
    ("trivy.json", include_bytes!("../fixtures/trivy.json")),
    ("scancode.json", include_bytes!("../fixtures/scancode.json")),
    ("checklist.json", include_bytes!("../fixtures/checklist.json")),
];

/// When the fixtures are an hour old.
pub(crate) fn now() -> Timestamp {
    "2026-05-07T11:00:00Z".parse().unwrap()
}

/// A digest of one digit.
#[allow(dead_code)]
pub(crate) fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

/// One report by a policy.
pub(crate) fn judge(bytes: &[u8], policy: &Policy, subject: Option<&Digest>) -> Decision {
    let reports = [Submitted::read("report", bytes)];
    decide(Request { reports: &reports, policy, subject, now: now(), before: None })
}

/// Real reports of the tools, when they are there.
#[allow(dead_code)]
pub(crate) fn real() -> Vec<(String, Vec<u8>)> {
    let Some(root) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!("SKIPPED: DELIVERYOS_TEST_DATA is not set, the scanners' own reports are not read");
        return Vec::new();
    };
    let root = std::path::PathBuf::from(root).join("scanners");
    let mut found = Vec::new();
    for tool in ["semgrep", "osv", "trivy", "scancode"] {
        let dir = root.join(tool);
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            let name = format!("{tool}/{}", path.file_name().unwrap().to_string_lossy());
            found.push((name, std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}
