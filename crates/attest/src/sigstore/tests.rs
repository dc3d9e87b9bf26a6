//! Sigstore's own conformance suite, by path and by digest, and the attacks that our own checks are for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::Match;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

fn suite() -> Option<PathBuf> {
    let Some(data) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!("SKIPPED: DELIVERYOS_TEST_DATA is not set: Sigstore's conformance suite was not run");
        return None;
    };
    let suite = Path::new(&data).join("sigstore/bundle-verify");
    assert!(suite.is_dir(), "{} is missing", suite.display());
    Some(suite)
}

fn now() -> Timestamp {
    Timestamp::now()
}

struct Case {
    bundle: Vec<u8>,
    artifact: PathBuf,
    trust: Result<TrustRoot, Refused>,
    policy: Result<Policy, Refused>,
}

fn case(suite: &Path, name: &str) -> Case {
    let dir = suite.join(name);
    let text = |file: &str| fs::read_to_string(dir.join(file)).ok().map(|text| text.trim().to_owned());
    let signer = match text("key.pub") {
        // One of the keys is not a key: refused as well.
        Some(pem) => PublicKey::from_pem(&pem).map(Signer::key),
        None => Ok(Signer::keyless(
            Match::exact(text("identity").unwrap_or_else(|| IDENTITY.to_owned())).unwrap(),
            Match::exact(text("issuer").unwrap_or_else(|| ISSUER.to_owned())).unwrap(),
        )),
    };
    let own = dir.join("artifact");
    Case {
        bundle: fs::read(dir.join("bundle.sigstore.json")).unwrap(),
        artifact: if own.exists() { own } else { suite.join("a.txt") },
        trust: match fs::read(dir.join("trusted_root.json")) {
            Ok(bytes) => TrustRoot::from_json(&bytes),
            Err(_) => TrustRoot::public(),
        },
        policy: signer.map(|signer| Policy { old_forms: true, ..Policy::by(signer) }),
    }
}

impl Case {
    fn run(&self, artifact: Artifact<'_>) -> Result<Proved, Refused> {
        Verifier::new(self.trust.clone()?)?.verify(&self.bundle, artifact, &self.policy.clone()?, now())
    }
    fn digest(&self) -> Digest {
        Digest::from_sha256(sv::crypto::sha256(&fs::read(&self.artifact).unwrap()).as_bytes())
    }
}

#[test]
fn the_conformance_suite_by_path_and_by_digest() {
    let Some(suite) = suite() else { return };
    let mut names: Vec<String> = fs::read_dir(&suite)
        .unwrap()
        .flatten()
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 70);
    let mut wrong = Vec::new();
    for name in &names {
        let case = case(&suite, name);
        let mut file = fs::File::open(&case.artifact).unwrap();
        let verdicts = [case.run(Artifact::Reader(&mut file)), case.run(Artifact::Digest(case.digest()))];
        for (how, verdict) in ["path", "digest"].into_iter().zip(verdicts) {
            if verdict.is_ok() == name.ends_with("_fail") {
                wrong.push(format!("{name} by {how}: {verdict:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of 140 wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The bundle with something changed.
fn forged(case: &Case, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut bundle: serde_json::Value = serde_json::from_slice(&case.bundle).unwrap();
    change(&mut bundle);
    bundle.to_string().into_bytes()
}

#[test]
fn what_the_library_leaves_to_us() {
    let Some(suite) = suite() else { return };
    let good = case(&suite, "happy-path-v0.3-new-mediaType");
    let strict = Policy { old_forms: false, ..good.policy.clone().unwrap() };
    let verifier = Verifier::new(good.trust.clone().unwrap()).unwrap();
    let verify =
        |bundle: &[u8], policy: &Policy| verifier.verify(bundle, Artifact::Digest(good.digest()), policy, now());
    let proved = verify(&good.bundle, &strict).unwrap();
    assert!(proved.logged.iter().all(|entry| entry.proof) && !proved.logged.is_empty());
    assert!(matches!(&proved.signer, ProvedSigner::Certificate { identity, .. } if identity == IDENTITY));

    // Relabelled v0.1, the proof left out: the log's promise alone is there.
    let relabelled = forged(&good, |bundle| {
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
        bundle["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    });
    assert!(matches!(verify(&relabelled, &strict), Err(Refused::OldForm(_))));
    let without = forged(&good, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    });
    assert_eq!(verify(&without, &strict).unwrap_err(), Refused::NoProof(0));
    // A second entry without a proof beside one that has it.
    let half = forged(&good, |bundle| {
        let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        let mut second = entries[0].clone();
        second.as_object_mut().unwrap().remove("inclusionProof");
        entries.push(second);
    });
    assert_eq!(verify(&half, &strict).unwrap_err(), Refused::NoProof(1));
    // An entry that names another log of the trust root than the one that signed.
    let other = forged(&good, |bundle| {
        let trust: serde_json::Value = serde_json::from_str(sv::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let own = bundle["verificationMaterial"]["tlogEntries"][0]["logId"].clone();
        let other = trust["tlogs"].as_array().unwrap().iter().map(|log| log["logId"].clone()).find(|id| *id != own);
        bundle["verificationMaterial"]["tlogEntries"][0]["logId"] = other.unwrap();
    });
    assert!(verify(&other, &strict).is_err());
    let unknown = forged(&good, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] =
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    });
    assert!(matches!(verify(&unknown, &strict), Err(Refused::UnknownLog { entry: 0, .. })));
    let many = forged(&good, |bundle| {
        let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        let one = entries[0].clone();
        entries.resize(limits::MAX_LOG_ENTRIES + 1, one);
    });
    assert!(matches!(verify(&many, &strict), Err(Refused::TooMany { .. })));
    assert_eq!(verify(&vec![b' '; limits::MAX_BUNDLE + 1], &strict).unwrap_err(), Refused::TooLarge);

    // Identities: by pattern, and a pattern that only begins like it.
    let by = |identity: &str, issuer: &str| {
        Policy::by(Signer::keyless(Match::pattern(identity).unwrap(), Match::pattern(issuer).unwrap()))
    };
    assert!(verify(&good.bundle, &by("https://github\\.com/sigstore-conformance/.*", "https://token\\..*")).is_ok());
    assert!(matches!(verify(&good.bundle, &by("https://github\\.com/sigstore", ".*")), Err(Refused::Identity { .. })));
    assert!(matches!(verify(&good.bundle, &by(".*", "https://accounts\\.google\\.com")), Err(Refused::Issuer { .. })));
    assert!(matches!(
        verify(&good.bundle, &strict.clone().stating(crate::SLSA_PROVENANCE)),
        Err(Refused::PredicateType { .. })
    ));
}

#[test]
fn a_key_counts_only_in_its_time() {
    let Some(suite) = suite() else { return };
    let good = case(&suite, "managed-key-happy-path");
    let policy = good.policy.clone().unwrap();
    let Signer::Key(key) = &policy.signer else { panic!("a key") };
    let verifier = Verifier::new(good.trust.clone().unwrap()).unwrap();
    let verify = |from: Option<&str>, until: Option<&str>| {
        let time = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let key = crate::KeyPolicy { key: key.key.clone(), not_before: time(from), not_after: time(until) };
        let policy = Policy { signer: Signer::Key(Box::new(key)), ..policy.clone() };
        verifier.verify(&good.bundle, Artifact::Digest(good.digest()), &policy, now())
    };
    assert!(verify(None, None).is_ok());
    assert!(verify(Some("2020-01-01T00:00:00Z"), Some("2100-01-01T00:00:00Z")).is_ok());
    assert!(matches!(verify(Some("2100-01-01T00:00:00Z"), None), Err(Refused::KeyWindow { .. })));
    assert!(matches!(verify(None, Some("2020-01-01T00:00:00Z")), Err(Refused::KeyWindow { .. })));
}

#[test]
fn nothing_from_outside_panics() {
    let Some(suite) = suite() else { return };
    let good = case(&suite, "rekor2-dsse-happy-path");
    let verifier = Verifier::new(good.trust.clone().unwrap()).unwrap();
    let (digest, policy) = (good.digest(), good.policy.clone().unwrap());
    assert!(verifier.verify(&good.bundle, Artifact::Digest(digest.clone()), &policy, now()).is_ok());
    // A byte changed at every place, by a step that visits all parts.
    for at in (0..good.bundle.len()).step_by(31) {
        let mut changed = good.bundle.clone();
        changed[at] ^= 0x15;
        // Some bytes carry no meaning (whitespace, the signature's name): accepted or refused, never a panic.
        let _ = verifier.verify(&changed, Artifact::Digest(digest.clone()), &policy, now());
        let _ = verifier.verify(&good.bundle[..at], Artifact::Digest(digest.clone()), &policy, now()).unwrap_err();
    }
}
