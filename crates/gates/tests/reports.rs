//! Every real report has the findings that it has.

mod common;

use common::{FIXTURES, digest, judge, now, real};
use gates::{Format, GateDecision, Policy, ReasonCode, Report, Request, Severity, Standing, State, Submitted, decide};

/// Counted with other tools: `jq '[.runs[].results[]] | length'` for SARIF, with `select(.suppressions)` for those suppressed;
/// `jq '[.results[].packages[].vulnerabilities[]?] | length'` for OSV-Scanner; `jq '[.Results[].Vulnerabilities[]?] | length'` for
/// Trivy; `jq '[.files[] | select(.detected_license_expression_spdx != null)] | length'` for ScanCode. Severities by hand.
#[rustfmt::skip]
const EXPECTED: [(&str, Format, usize, usize, &str); 21] = [
    ("osv/results-empty.json", Format::OsvJson, 0, 0, ""),
    ("osv/results-some.json", Format::OsvJson, 1, 0, "unknown"),
    ("osv/test-vuln-results-a-1.json", Format::OsvJson, 3, 0, "high high unknown"),
    ("osv/test-vuln-results-a.json", Format::OsvJson, 3, 0, "high high unknown"),
    ("osv/test-vuln-results-b.json", Format::OsvJson, 4, 0, "high high high high"),
    ("osv/test-vuln-results-c.json", Format::OsvJson, 1, 0, "unknown"),
    ("osv/test-vuln-results-d.json", Format::OsvJson, 0, 0, ""),
    ("scancode/simple-expected.json", Format::ScancodeJson, 0, 0, ""),
    ("scancode/tree-expected.json", Format::ScancodeJson, 0, 0, ""),
    ("semgrep/068553.sarif", Format::Sarif, 2, 0, "high high"),
    ("semgrep/5cdef6.sarif", Format::Sarif, 2, 0, "high high"),
    ("semgrep/af46de.sarif", Format::Sarif, 2, 0, "high high"),
    ("semgrep/be8d2f.sarif", Format::Sarif, 2, 1, "high high"),
    ("semgrep/c06c5a.sarif", Format::Sarif, 3, 0, "high high high"),
    ("semgrep/cc68ee.sarif", Format::Sarif, 1, 1, "high"),
    ("semgrep/eed47e.sarif", Format::Sarif, 0, 0, ""),
    ("semgrep/f0494c.sarif", Format::Sarif, 1, 0, "medium"),
    ("trivy/alpine-310.json.golden", Format::TrivyJson, 4, 0, "medium medium medium medium"),
    ("trivy/alpine-310.sarif.golden", Format::Sarif, 4, 0, "medium medium medium medium"),
    ("trivy/busybox-with-lockfile.json.golden", Format::TrivyJson, 2, 0, "high medium"),
    ("trivy/debian-buster.json.golden", Format::TrivyJson, 2, 0, "critical low"),
];

#[test]
fn real_reports_have_the_right_counts() {
    let real = real();
    if real.is_empty() {
        return;
    }
    let names: Vec<&str> = real.iter().map(|(name, _)| name.as_str()).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|row| row.0).collect();
    assert_eq!(names, expected, "every file is in the table");
    for ((name, bytes), (_, format, findings, suppressed, severities)) in real.iter().zip(EXPECTED) {
        let report = Report::read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.format, format, "{name}");
        assert_eq!(report.findings.len(), findings, "{name}");
        let of = |state| report.findings.iter().filter(|f| f.state == state).count();
        assert_eq!(of(State::Suppressed), suppressed, "{name}");
        let mut found: Vec<&str> = report.findings.iter().map(|f| f.severity.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), severities, "{name}");
        // Those of artifacts are too old for the built-in policy as well.
        let decision = judge(bytes, &Policy::strict(), None);
        let fails = findings > suppressed || name == "semgrep/eed47e.sarif";
        assert_eq!(decision.decision == GateDecision::Failed, fails, "{name}: {:?}", decision.reasons);
    }
}

#[test]
fn both_of_trivys_formats_say_the_same() {
    let real = real();
    let find = |name: &str| real.iter().find(|(n, _)| n == name).map(|(_, bytes)| Report::read(bytes).unwrap());
    let (Some(json), Some(sarif)) = (find("trivy/alpine-310.json.golden"), find("trivy/alpine-310.sarif.golden"))
    else {
        return;
    };
    let told = |r: &Report| {
        r.findings
            .iter()
            .map(|f| (f.rule.clone(), f.package.clone(), f.fixed_version.clone(), f.severity, f.title.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&json), told(&sarif));
    assert!(json.of_artifact && sarif.of_artifact);
    // Of both, the configuration's digest is known and the manifest's is not: the image was a file.
    assert!(json.subjects.contains(&sarif.subjects[0]));
}

#[test]
fn what_each_format_says() {
    let check = |name: &str, rows: &[(&str, Severity, State, &str)]| {
        let bytes = FIXTURES.iter().find(|(n, _)| *n == name).unwrap().1;
        let report = Report::read(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found: Vec<_> = report.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.state, f.place())).collect();
        let expected: Vec<_> =
            rows.iter().map(|(rule, severity, state, place)| (*rule, *severity, *state, (*place).to_owned())).collect();
        assert_eq!(found, expected, "{name}");
    };
    use {Severity::*, State::*};
    check(
        "semgrep.json",
        &[
            ("python.flask.debug-enabled", High, Open, "app/main.py:14"),
            ("python.lang.weak-hash", Medium, Suppressed, "app/etag.py:3"),
        ],
    );
    check(
        "tool.sarif",
        &[
            ("js/sql-injection", High, Open, "src/db.js:40"),
            ("js/sql-injection", High, Open, "src/old.js:7"),
            ("js/unused", Low, Suppressed, ""),
            ("js/sql-injection", High, Absent, ""),
        ],
    );
    check(
        "osv.json",
        &[
            ("RUSTSEC-0000-0001", Critical, Open, "smallvec 0.6.9"),
            ("GHSA-0000-0000-0001", Medium, Open, "smallvec 0.6.9"),
            ("licence", Severity::None, Open, "smallvec 0.6.9"),
            ("licence", Severity::None, Open, "left 1.0.0"),
            ("licence-violation", High, Open, "left 1.0.0"),
        ],
    );
    check(
        "trivy.json",
        &[
            ("CVE-0000-0002", High, Open, "musl 1.2.5"),
            ("CVE-0000-0003", Unknown, Open, "zlib 1.3"),
            ("DS002", High, Open, "Dockerfile:3"),
            ("aws-access-key-id", Critical, Open, "/etc/app.env:1"),
            ("licence", Severity::None, Open, "busybox"),
        ],
    );
    check(
        "scancode.json",
        &[
            ("licence", Severity::None, Open, "src/a.c"),
            ("licence", Severity::None, Open, "src/b.c"),
            ("licence", Severity::None, Open, "left 1.0.0"),
        ],
    );
    check(
        "checklist.json",
        &[("load", Medium, Open, "production readiness"), ("restore", High, Open, "production readiness")],
    );
}

/// Policy, subject and time, on one report each.
#[test]
fn decisions() {
    let bytes = |name: &str| FIXTURES.iter().find(|(n, _)| *n == name).unwrap().1;
    let clean = br#"{"SchemaVersion":2,"CreatedAt":"2026-05-07T10:00:00Z","ArtifactName":"x","ArtifactType":"container_image","Metadata":{"RepoDigests":["x@sha256:2222222222222222222222222222222222222222222222222222222222222222"]},"Results":[{"Target":"x","Class":"os-pkgs","Type":"alpine"}]}"#;
    let sources = br#"{"results":[],"errors":[],"paths":{"scanned":["a.py"]},"version":"1.0.0"}"#;
    let check = |what: &str, report: &[u8], policy: &str, subject: Option<char>, codes: &[ReasonCode]| {
        let policy = if policy.is_empty() {
            Policy::strict()
        } else {
            Policy::parse(&format!("name = \"t\"\n{policy}")).unwrap()
        };
        let decision = judge(report, &policy, subject.map(digest).as_ref());
        let mut found: Vec<_> = decision.reasons.iter().map(|r| r.code).collect();
        found.dedup();
        assert_eq!(found, codes, "{what}: {:?}", decision.reasons);
        assert_eq!(decision.decision == GateDecision::Passed, codes.is_empty(), "{what}");
    };
    use ReasonCode::*;
    check("a clean image", clean, "", None, &[]);
    check("the right image", clean, "", Some('2'), &[]);
    check("another image", clean, "", Some('3'), &[WrongSubject]);
    check("a clean source tree", sources, "", Some('3'), &[]);
    check("a source tree where a digest is required", sources, "subject = \"required\"", Some('3'), &[WrongSubject]);
    check("another image, ignored", clean, "subject = \"ignored\"", Some('3'), &[]);
    check("young enough", clean, "max_age = \"2h\"", None, &[]);
    check("too old", clean, "max_age = \"30m\"", None, &[Stale]);
    check("without an age", sources, "max_age = \"2h\"", None, &[Stale]);
    check("a tool is missing", clean, "required = [\"semgrep\", \"trivy\"]", None, &[Missing]);
    check("nothing readable", b"{", "", None, &[Unreadable]);
    check("strict", bytes("trivy.json"), "", Some('2'), &[Finding]);
    check("only critical", bytes("trivy.json"), "fail_at = \"critical\"\nunknown = \"pass\"", None, &[Finding]);
    check(
        "a waiver for it",
        bytes("trivy.json"),
        "fail_at = \"critical\"\nunknown = \"pass\"\n[[waivers]]\nrule = \"aws-access-key-id\"\nowner = \"dana\"\nreason = \"a test key\"\nexpires = \"2026-06-01\"",
        None,
        &[],
    );
    check(
        "a waiver that has expired",
        bytes("trivy.json"),
        "fail_at = \"critical\"\nunknown = \"pass\"\n[[waivers]]\nrule = \"aws-access-key-id\"\nowner = \"dana\"\nreason = \"a test key\"\nexpires = \"2026-05-07T11:00:00Z\"",
        None,
        &[Finding],
    );
    check("licences", bytes("scancode.json"), "", None, &[Licence]);
    check(
        "licences allowed",
        bytes("scancode.json"),
        "[licences]\nallowed = [\"MIT\", \"SSPL-*\", \"AGPL-3.0-only\"]",
        None,
        &[],
    );
    check(
        "no suppressions",
        bytes("semgrep.json"),
        "suppressions = \"count\"\n[tools.semgrep]\nfail_at = \"medium\"",
        None,
        &[Finding],
    );
    check("open items", bytes("checklist.json"), "", Some('2'), &[Finding]);
    check("a checklist of another", bytes("checklist.json"), "fail_at = \"critical\"", Some('3'), &[WrongSubject]);
    let nothing = decide(Request {
        reports: &[],
        policy: &Policy::strict(),
        subject: Option::None,
        now: now(),
        before: Option::None,
    });
    assert_eq!(nothing.reasons[0].code, Missing);
    let tomorrow = String::from_utf8(clean.to_vec()).unwrap().replace("2026-05-07T10", "2026-05-08T10");
    check("a scan of tomorrow", tomorrow.as_bytes(), "", None, &[Stale]);
}

#[test]
fn the_difference_is_told_and_must_be_readable() {
    let reports = [Submitted::read("now", FIXTURES[3].1)];
    let policy = Policy::strict();
    let check = |before: &[u8], expected: Option<&str>| {
        let before = [Submitted::read("before", before)];
        let decision =
            decide(Request { reports: &reports, policy: &policy, subject: None, now: now(), before: Some(&before) });
        assert_eq!(decision.difference.map(|d| d.sentence()).as_deref(), expected);
        assert_eq!(decision.reasons.iter().any(|r| r.code == ReasonCode::Unreadable), expected.is_none());
    };
    check(FIXTURES[3].1, Some("0 new, 0 fixed, 4 unchanged"));
    check(FIXTURES[2].1, Some("4 new, 3 fixed, 0 unchanged"));
    check(b"[", None);
}

#[test]
fn a_failing_finding_comes_first_and_says_why() {
    let decision = judge(FIXTURES[3].1, &Policy::strict(), Some(&digest('2')));
    assert_eq!(decision.findings[0].standing, Standing::Fails);
    assert_eq!(decision.findings[0].finding.severity, Severity::Critical);
    assert!(
        decision.reasons.iter().any(|r| r.text == "trivy CVE-0000-0002 (high) in musl 1.2.5, fixed in 1.2.6: overflow"),
        "{:?}",
        decision.reasons
    );
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!(json["decision"], "failed");
    assert_eq!(json["findings"][0]["tool"], "trivy");
}

#[test]
fn the_example_policy_is_read() {
    let policy = Policy::parse(include_str!("../../../examples/gates.toml")).unwrap();
    assert_eq!(policy.required, ["semgrep", "osv-scanner", "trivy"]);
}
