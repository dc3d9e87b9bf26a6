//! `verify-bundle` as a program: the protocol of Sigstore's conformance suite.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::process::run;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn suite() -> Option<PathBuf> {
    let Some(data) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!(
            "SKIPPED: DELIVERYOS_TEST_DATA is not set: verify-bundle was not run on Sigstore's conformance suite"
        );
        return None;
    };
    let suite = PathBuf::from(data).join("sigstore/bundle-verify");
    assert!(suite.is_dir(), "{} is missing", suite.display());
    Some(suite)
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// The file that a case is about: its own, or the one of most.
fn about(suite: &Path, case: &str) -> PathBuf {
    let own = suite.join(case).join("artifact");
    if own.exists() { own } else { suite.join("a.txt") }
}

/// Runs it as the suite would.
fn verify(suite: &Path, case: &str, artifact: Option<&str>, more: &[&str]) -> (i32, String, String) {
    let file = |name: &str| {
        let path = suite.join(case).join(name);
        path.exists().then(|| path.display().to_string())
    };
    let data = tempfile::tempdir().unwrap();
    let bundle = file("bundle.sigstore.json").unwrap();
    let (key, root) = (file("key.pub"), file("trusted_root.json"));
    let artifact = artifact.map(str::to_owned).unwrap_or_else(|| about(suite, case).display().to_string());
    let said = |name: &str, usual: &str| file(name).map_or_else(|| usual.to_owned(), |path| text(&path));
    let (identity, issuer) = (said("identity", IDENTITY), said("issuer", ISSUER));
    let mut args = vec!["verify-bundle", "--bundle", &bundle];
    match &key {
        Some(key) => args.extend(["--key", key]),
        None => args.extend(["--certificate-identity", &identity, "--certificate-oidc-issuer", &issuer]),
    }
    if let Some(root) = &root {
        args.extend(["--trusted-root", root]);
    }
    args.extend(more);
    args.push(&artifact);
    run(data.path(), &args)
}

#[test]
fn verdicts_codes_and_reasons() {
    let Some(suite) = suite() else { return };
    let check = |case: &str, artifact: Option<&str>, more: &[&str], code: i32, expected: &str| {
        let (found, out, err) = verify(&suite, case, artifact, more);
        assert_eq!(found, code, "{case}: {out}{err}");
        assert!(format!("{out}{err}").contains(expected), "{case}: {expected:?} is missing in {out}{err}");
    };
    // The digest of a.txt.
    let digest = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    let other = "sha256:b0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    check("happy-path-v0.3", None, &[], 0, "VERIFIED");
    check("happy-path-v0.3", Some(digest), &[], 0, "VERIFIED");
    check("happy-path-v0.3", Some(other), &[], 1, "not about this artifact");
    check("happy-path-v0.3", Some("sha256:a0cf"), &[], 2, "cannot be read");
    check("happy-path-v0.1", None, &[], 0, "VERIFIED");
    check("happy-path-v0.1", None, &["--only-v03"], 1, "older form");
    check("rekor2-dsse-happy-path", None, &["--json"], 0, "\"verified\":true");
    check("rekor2-dsse-happy-path", None, &["--type", "https://slsa.dev/provenance/v1.1"], 1, "the policy asks for");
    check("managed-key-and-trusted-root", None, &[], 0, "signed by  key");
    check("managed-key-wrong-key_fail", None, &[], 1, "refused");
    check("invalid-checkpoint-signature_fail", None, &["--json"], 1, "\"verified\":false");
    check("bundle-malformed-json_fail", None, &[], 1, "not a Sigstore bundle");
    check("happy-path-v0.3", Some("/no/such/file"), &[], 2, "cannot be read");
    assert!(fs::exists(suite.join("a.txt")).unwrap());
}

/// Every case of the suite, as it calls its clients: the exit code alone is the verdict.
#[test]
fn the_whole_suite_by_path_and_by_digest() {
    let Some(suite) = suite() else { return };
    let folders = fs::read_dir(&suite).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 70);
    let judge = |names: &[String]| -> Vec<String> {
        let mut wrong = Vec::new();
        for name in names {
            let digest = registry::digest_of(&fs::read(about(&suite, name)).unwrap()).to_string();
            for artifact in [None, Some(digest.as_str())] {
                let (code, out, err) = verify(&suite, name, artifact, &[]);
                let (expected, words) = match name.as_str() {
                    // Nothing can be said by authorities that cannot be read: no verdict, and no yes.
                    "trust-root-tlog-missing-validity-start_fail" => (3, "error: the trust root cannot be used"),
                    name if name.ends_with("_fail") => (1, "refused: "),
                    _ => (0, "VERIFIED: "),
                };
                if code != expected || !format!("{out}{err}").starts_with(words) {
                    wrong.push(format!("{name} {artifact:?}: {code} {out}{err}"));
                }
            }
        }
        wrong
    };
    // Two at a time: each starts the program.
    let (first, second) = names.split_at(names.len() / 2);
    let wrong = std::thread::scope(|scope| {
        let other = scope.spawn(|| judge(second));
        [judge(first), other.join().unwrap()].concat()
    });
    assert!(wrong.is_empty(), "{} of 140 wrong:\n{}", wrong.len(), wrong.join("\n"));
}
