//! Reports that their tool cannot have written never pass, and nothing that is handed in panics.

mod common;

use common::{FIXTURES, judge, real};
use gates::{GateDecision, Policy, Report};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Keys below which any type may stand, by the formats' own words.
const FREE: [&str; 11] = [
    "metadata",
    "metavars",
    "engine_kind",
    "properties",
    "database_specific",
    "ecosystem_specific",
    "skipped_rules",
    "precision",
    "license_detections",
    "security-severity",
    "profiling_times",
];

/// Lists of findings that their tool leaves out when they are empty: a report without them is one that found nothing.
const LEFT_OUT: [&str; 6] =
    ["Vulnerabilities", "Misconfigurations", "Secrets", "Licenses", "licenses", "license_violations"];

/// Fields that hold one of a few words.
const WORDS: [&str; 14] = [
    "type",
    "level",
    "severity",
    "kind",
    "status",
    "baselineState",
    "ArtifactType",
    "Class",
    "Severity",
    "Status",
    "state",
    "checklist",
    "columnKind",
    "importance",
];

/// A step in a document.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    At(usize),
}

/// Every place in a document, parents before children.
fn places(value: &Value) -> Vec<Vec<Step>> {
    fn walk(value: &Value, at: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
        out.push(at.clone());
        let steps: Vec<(Step, &Value)> = match value {
            Value::Object(o) => o.iter().map(|(k, v)| (Step::Key(k.clone()), v)).collect(),
            Value::Array(a) => a.iter().enumerate().map(|(i, v)| (Step::At(i), v)).collect(),
            _ => Vec::new(),
        };
        for (step, below) in steps {
            at.push(step);
            walk(below, at, out);
            at.pop();
        }
    }
    let mut out = Vec::new();
    walk(value, &mut Vec::new(), &mut out);
    out
}

fn get<'a>(value: &'a mut Value, place: &[Step]) -> &'a mut Value {
    place.iter().fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key).unwrap(),
        Step::At(i) => value.get_mut(i).unwrap(),
    })
}

/// The keys on the way to a place, the last one first.
fn keys(place: &[Step]) -> impl Iterator<Item = &str> {
    place.iter().rev().filter_map(|s| if let Step::Key(k) = s { Some(k.as_str()) } else { None })
}

fn key(place: &[Step]) -> &str {
    keys(place).next().unwrap_or("")
}

fn free(place: &[Step]) -> bool {
    // Semgrep's errors have a type that is a word in one, and a list with anything in it in another.
    let error = matches!(place, [Step::Key(list), Step::At(_), Step::Key(of), ..] if list == "errors" && of == "type");
    error || keys(place).any(|key| FREE.contains(&key))
}

/// ScanCode's packages and Trivy's layers have a type that is any text.
fn named(place: &[Step]) -> bool {
    let mut keys = keys(place);
    keys.next() == Some("type") && matches!(keys.next(), Some("packages" | "rootfs"))
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// All places of our own reports, and a hundred or two of each of the others, which are long.
fn some_of(name: &str, places: Vec<Vec<Step>>) -> impl Iterator<Item = Vec<Step>> {
    let own = FIXTURES.iter().any(|(known, _)| *known == name);
    let stride = if own { 1 } else { places.len() / 150 + 1 };
    places.into_iter().step_by(stride)
}

fn passes(bytes: &[u8]) -> bool {
    // Nothing is too old or about something else: only the report itself speaks.
    static POLICY: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(|| {
        Policy::parse("name = \"mutations\"\nsubject = \"ignored\"\n[licences]\ndenied = [\"AGPL-*\", \"SSPL-*\"]")
            .unwrap()
    });
    judge(bytes, &POLICY, None).decision == GateDecision::Passed
}

fn all() -> Vec<(String, Vec<u8>)> {
    let own = FIXTURES.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    own.chain(real()).collect()
}

#[test]
fn cut_off_anywhere_it_never_passes() {
    let mut tried = 0;
    for (name, bytes) in all() {
        let whole = bytes.trim_ascii_end().len();
        // Every place of our own, some hundred of each of the others.
        let stride = if FIXTURES.iter().any(|(own, _)| *own == name) { 1 } else { whole / 150 + 1 };
        for end in (0..whole).step_by(stride) {
            assert!(!passes(&bytes[..end]), "{name} cut at {end}");
            tried += 1;
        }
    }
    assert!(tried >= 5_000, "{tried}");
}

#[test]
fn a_changed_type_never_passes() {
    let mut tried = 0;
    for (name, bytes) in all() {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        for place in some_of(&name, places(&value)) {
            let mut changed = value.clone();
            let was = get(&mut changed, &place).clone();
            for other in [Value::Null, json!(true), json!(7), json!("seven"), json!([]), json!({})] {
                if kind(&other) == kind(&was) || free(&place) || allowed_null(&was, &other, &place) {
                    continue;
                }
                *get(&mut changed, &place) = other.clone();
                let bytes = serde_json::to_vec(&changed).unwrap();
                assert!(!passes(&bytes), "{name}: {place:?} as {other}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 2_000, "{tried}");
}

/// Where the format itself allows null beside a value: it then says the same as leaving it out.
fn allowed_null(was: &Value, other: &Value, place: &[Step]) -> bool {
    const NULLABLE: [&str; 30] = [
        "is_ignored",
        "validation_state",
        "path",
        "aliases",
        "affected",
        "ranges",
        "references",
        "severity",
        "dependency_groups",
        "licenses",
        "license_violations",
        "allowlist",
        "repoDigests",
        "repoTags",
        "Cmd",
        "Env",
        "history",
        "sha1",
        "md5",
        "sha256",
        "mime_type",
        "file_type",
        "programming_language",
        "detected_license_expression",
        "detected_license_expression_spdx",
        "name",
        "version",
        "declared_license_expression_spdx",
        "fix",
        "rule_id",
    ];
    let either = was.is_null() || other.is_null();
    // A null became a text: what may be null may be a text, and then passes or not by what it says.
    let package = named(place) && keys(place).nth(1) == Some("packages");
    either && (package || NULLABLE.contains(&key(place))) && matches!(place.last(), Some(Step::Key(_)))
}

#[test]
fn an_unknown_word_never_passes() {
    let mut tried = 0;
    for (name, bytes) in all() {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        for place in places(&value) {
            let mut changed = value.clone();
            let at = get(&mut changed, &place);
            let Some(word) = at.as_str().map(str::to_owned) else { continue };
            if !WORDS.contains(&key(&place)) || free(&place) || named(&place) {
                continue;
            }
            for other in [format!("{word}x"), String::new(), word.chars().rev().collect(), "unheard-of".to_owned()] {
                *get(&mut changed, &place) = json!(other);
                let bytes = serde_json::to_vec(&changed).unwrap();
                assert!(!passes(&bytes), "{name}: {place:?} as {other:?}");
                assert!(Report::read(&bytes).is_err(), "{name}: {place:?} as {other:?} is read");
                tried += 1;
            }
        }
    }
    assert!(tried >= 150, "{tried}");
}

#[test]
fn without_a_field_a_failing_report_still_fails() {
    let mut tried = 0;
    for (name, bytes) in all() {
        if passes(&bytes) {
            continue;
        }
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        for place in some_of(&name, places(&value)) {
            let Some(Step::Key(last)) = place.last() else { continue };
            if LEFT_OUT.contains(&last.as_str()) {
                continue;
            }
            let mut changed = value.clone();
            get(&mut changed, &place[..place.len() - 1]).as_object_mut().unwrap().remove(last);
            assert!(!passes(&serde_json::to_vec(&changed).unwrap()), "{name}: without {place:?}");
            tried += 1;
        }
    }
    assert!(tried >= 150, "{tried}");
}

/// Reports that pass, and each field without which they are not what their tool writes.
#[test]
fn without_a_required_field_nothing_passes() {
    let check = |report: Value, required: &[&str]| {
        assert!(passes(&serde_json::to_vec(&report).unwrap()), "{report}");
        for pointer in required {
            let mut changed = report.clone();
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(last).unwrap();
            assert!(!passes(&serde_json::to_vec(&changed).unwrap()), "without {pointer}");
        }
    };
    check(
        json!({"version": "1", "errors": [], "results": [{"check_id": "r", "path": "p", "start": {"line": 1, "col": 1},
            "end": {"line": 1, "col": 2}, "extra": {"message": "m", "severity": "INFO"}}]}),
        &[
            "/errors",
            "/results",
            "/results/0/check_id",
            "/results/0/path",
            "/results/0/start",
            "/results/0/start/line",
            "/results/0/end",
            "/results/0/extra",
            "/results/0/extra/message",
            "/results/0/extra/severity",
        ],
    );
    check(
        json!({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x", "rules": [{"id": "r"}]}}, "invocations":
            [{"executionSuccessful": true}], "results": [{"ruleId": "r", "message": {"text": "t"}, "suppressions": [{"kind": "inSource"}]}]}]}),
        &[
            "/version",
            "/runs",
            "/runs/0/tool",
            "/runs/0/tool/driver",
            "/runs/0/tool/driver/name",
            "/runs/0/tool/driver/rules/0/id",
            "/runs/0/results",
            "/runs/0/results/0/message",
            "/runs/0/results/0/ruleId",
            "/runs/0/results/0/suppressions/0/kind",
            "/runs/0/results/0/suppressions",
            "/runs/0/invocations/0/executionSuccessful",
        ],
    );
    check(
        json!({"results": [{"source": {"path": "p", "type": "lockfile"}, "packages": [{"package": {"name": "n", "version": "1",
            "ecosystem": "Go"}, "vulnerabilities": [], "groups": []}]}]}),
        &[
            "/results",
            "/results/0/source",
            "/results/0/source/path",
            "/results/0/source/type",
            "/results/0/packages",
            "/results/0/packages/0/package",
            "/results/0/packages/0/package/name",
            "/results/0/packages/0/package/ecosystem",
            "/results/0/packages/0/vulnerabilities",
            "/results/0/packages/0/groups",
        ],
    );
    check(
        json!({"SchemaVersion": 2, "ArtifactName": "a", "ArtifactType": "filesystem", "Results": [{"Target": "t", "Class": "lang-pkgs",
            "Type": "cargo"}]}),
        &[
            "/SchemaVersion",
            "/ArtifactName",
            "/ArtifactType",
            "/Results",
            "/Results/0/Target",
            "/Results/0/Class",
            "/Results/0/Type",
        ],
    );
    check(
        json!({"files": [{"path": "p", "type": "file", "detected_license_expression_spdx": null, "scan_errors": []}], "packages": [],
            "dependencies": []}),
        &[
            "/files",
            "/files/0/path",
            "/files/0/type",
            "/files/0/detected_license_expression_spdx",
            "/files/0/scan_errors",
            "/packages",
        ],
    );
    check(
        json!({"checklist": "deliveryos.dev/checklist/v1", "name": "n", "completed_at": "2026-05-07T10:00:00Z", "items": [{"id": "i",
            "title": "t", "state": "not-applicable", "by": "dana", "reason": "r"}]}),
        &[
            "/checklist",
            "/name",
            "/completed_at",
            "/items",
            "/items/0/id",
            "/items/0/title",
            "/items/0/state",
            "/items/0/by",
            "/items/0/reason",
        ],
    );
}

/// A small generator: the same mutations every time.
struct Mix(u64);

impl Mix {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below.max(1)).unwrap()).unwrap()
    }
}

/// One byte changed, doubled, or swapped: no panic, and no failing report becomes one that passes.
#[test]
fn ten_thousand_changed_bytes() {
    let mut mix = Mix(0x9e37_79b9_7f4a_7c15);
    let failing: Vec<(String, Vec<u8>)> = all().into_iter().filter(|(_, bytes)| !passes(bytes)).collect();
    for n in 0..12_000 {
        // Mostly our own, which are small; they come first.
        let (name, bytes) = &failing[if n % 8 == 0 { n / 8 % failing.len() } else { n % FIXTURES.len() }];
        let mut changed = bytes.clone();
        let at = mix.next(changed.len());
        match mix.next(4) {
            0 => changed[at] = b" {}[]:,\"0a\\\xff-"[mix.next(13)],
            1 => changed[at] ^= 1 << mix.next(8),
            2 => {
                changed.remove(at);
            }
            _ => {
                let other = mix.next(changed.len());
                changed.swap(at, other);
            }
        }
        assert!(
            !passes(&changed),
            "{name}: mutation {n} at {at}: {:?}",
            String::from_utf8_lossy(&changed[at.saturating_sub(40)..(at + 40).min(changed.len())])
        );
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Report::read(&bytes);
    }

    #[test]
    fn any_policy(text in "[a-z_\\[\\]=\" 0-9.\\n]{0,200}") {
        let _ = Policy::parse(&text);
    }
}
