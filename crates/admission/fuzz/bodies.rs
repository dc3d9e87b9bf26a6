//! What must hold of any bytes that come as a review or as a policy: run by the fuzzer, and as properties in `tests/mutations.rs`.
#![allow(dead_code, reason = "each target uses its own")]

use std::{collections::BTreeMap, sync::LazyLock};

use admission::{By, Looked, PolicySet, Purpose, Request, Review, answer, decide, needs};
use model::Timestamp;

/// Covers everything; what it wants nobody has proved.
const STRICT: &str = r#"
[[policies]]
name = "all"
images = ["**"]
[[policies.require]]
name = "signature"
identity = "https://ci.example/release"
issuer = "https://ci.example"
"#;

/// A review whose one image has a digest.
const POD: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":
{"group":"","version":"v1","kind":"Pod"},"operation":"CREATE","namespace":"shop","userInfo":{},"object":{"apiVersion":"v1","kind":"Pod",
"metadata":{},"spec":{"containers":[{"name":"a","image":
"r.example/a@sha256:4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c"}]}}}}"#;

/// Nothing is proved, so nothing new runs; whatever is decided has an answer.
pub(crate) fn review(bytes: &[u8]) {
    static POLICIES: LazyLock<PolicySet> =
        LazyLock::new(|| PolicySet::read(&[("strict.toml".to_owned(), STRICT.as_bytes().to_vec())]).expect("a policy"));
    let Ok(review) = Review::parse(bytes) else { return };
    let now = Timestamp::from_millis(1_780_000_000_000);
    let looked: BTreeMap<String, Looked> = BTreeMap::new();
    for purpose in [Purpose::Validate, Purpose::Pin] {
        let decision = decide(Request { review: &review, policies: &POLICIES, looked: &looked, now, purpose });
        let refuses = purpose == Purpose::Validate || !review.doubts.is_empty() || review.images.is_empty();
        assert!(!refuses || review.unchanged || !decision.allowed, "{review:?}");
        assert!(decision.allowed || !decision.reasons.is_empty());
        let answer = answer(&review.uid, &decision);
        assert_eq!(answer["response"]["allowed"], decision.allowed);
        assert_eq!(answer["response"]["uid"], review.uid.as_str());
        assert!(needs(&review, &POLICIES, now, purpose).len() <= review.images.len());
    }
}

/// Any policies: without evidence only what passes by name passes.
pub(crate) fn policy(bytes: &[u8]) {
    let review = Review::parse(POD.as_bytes()).expect("a review");
    let now = Timestamp::from_millis(1_780_000_000_000);
    for name in ["a.toml", "a.yaml"] {
        let Ok(policies) = PolicySet::read(&[(name.to_owned(), bytes.to_vec())]) else { continue };
        let looked: BTreeMap<String, Looked> = BTreeMap::new();
        let decision =
            decide(Request { review: &review, policies: &policies, looked: &looked, now, purpose: Purpose::Validate });
        let lenient = policies.mode != admission::Mode::Enforce
            || policies.policies.iter().any(|p| p.mode.is_some_and(|mode| mode != admission::Mode::Enforce))
            || policies.policies.iter().flat_map(|p| &p.authorities).any(|a| matches!(a.by, By::Pass));
        assert!(lenient || !decision.exceptions.is_empty() || !decision.allowed);
    }
}
