//! Reviews, policies and facts to decide upon.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use std::collections::BTreeMap;

use admission::{Decision, Fact, FactSigner, Looked, PolicySet, Purpose, Request, Review, Says, decide};
use model::{Digest, Timestamp};
use serde_json::{Value, json};

pub const SLSA: &str = "https://slsa.dev/provenance/v1";
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
pub const CI: &str = "https://ci.example/release";
pub const ISSUER: &str = "https://ci.example";
/// Any bytes do: which key it is, not what can be done with it, is compared here.
pub const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";

pub const POLICY: &str = r#"
[[policies]]
name = "shop"
images = ["r.example/shop/**"]
[[policies.require]]
name = "signature"
identity = "https://ci.example/release"
issuer = "https://ci.example"
"#;

pub fn digest(seed: u8) -> Digest {
    Digest::from_sha256(&[seed; 32])
}

/// The image with evidence.
pub fn good() -> String {
    format!("r.example/shop/app@{}", digest(1))
}

/// The image without.
pub fn bad() -> String {
    format!("r.example/shop/app@{}", digest(2))
}

pub fn now() -> Timestamp {
    "2026-05-07T13:00:00Z".parse().unwrap()
}

pub fn policies(toml: &str) -> PolicySet {
    PolicySet::read(&[("admission.toml".to_owned(), toml.as_bytes().to_vec())]).unwrap()
}

pub fn cip(yaml: &str) -> Result<PolicySet, admission::PolicyError> {
    PolicySet::read(&[("policy.yaml".to_owned(), yaml.as_bytes().to_vec())])
}

pub fn pod_spec(image: &str) -> Value {
    json!({ "containers": [{ "name": "app", "image": image }] })
}

pub fn pod(image: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app-1", "namespace": "shop" }, "spec": pod_spec(image) })
}

/// The review of an object that is to be created.
pub fn creating(object: &Value) -> Value {
    reviewing("CREATE", object, &Value::Null)
}

pub fn reviewing(operation: &str, object: &Value, old: &Value) -> Value {
    let api = object["apiVersion"].as_str().unwrap();
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": group, "version": version, "kind": object["kind"] },
            "resource": { "group": group, "version": version, "resource": "things" },
            "name": "app-1", "namespace": "shop", "operation": operation,
            "userInfo": { "username": "dana", "groups": ["system:authenticated"] },
            "object": object, "oldObject": old, "dryRun": false, "options": { "kind": "CreateOptions" },
        }
    })
}

pub fn review(value: &Value) -> Review {
    Review::parse(value.to_string().as_bytes()).unwrap()
}

/// Signed by CI, logged, a minute ago.
pub fn fact(subject: &Digest, statement: &str) -> Fact {
    Fact {
        subject: subject.clone(),
        signer: FactSigner::Certificate { identity: CI.to_owned(), issuer: ISSUER.to_owned() },
        says: Says::Statement(statement.to_owned()),
        logged: true,
        times: vec![now().plus_millis(-60_000)],
        dated: None,
        document: digest(200),
    }
}

pub fn found(of: &Digest, facts: Vec<Fact>) -> Looked {
    Looked::Found { digest: of.clone(), facts, notes: Vec::new() }
}

/// What a look finds: the good image has its signature, the bad one has none.
pub fn looked() -> BTreeMap<String, Looked> {
    [(good(), found(&digest(1), vec![fact(&digest(1), SIGNED)])), (bad(), found(&digest(2), Vec::new()))].into()
}

pub fn judge(review: &Review, policies: &PolicySet, looked: &BTreeMap<String, Looked>) -> Decision {
    decide(Request { review, policies, looked, now: now(), purpose: Purpose::Validate })
}

/// All reasons in one line.
pub fn said(decision: &Decision) -> String {
    decision.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join(" | ")
}
