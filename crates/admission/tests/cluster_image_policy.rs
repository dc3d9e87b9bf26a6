//! sigstore's documents mean here what they mean there; what is not supported is refused by its name.
#![allow(clippy::unwrap_used, clippy::panic)] // tests

mod common;

use std::collections::BTreeMap;

use admission::{Fact, FactSigner, Looked, PolicySet};
use common::{KEY, SIGNED, SLSA, cip, creating, digest, fact, found, good, judge, pod, review, said};

fn document(authorities: &str) -> String {
    format!(
        "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata:\n  name: shop\nspec:\n  images:\n  - glob: \"r.example/shop/**\"\n  authorities:\n{authorities}\n"
    )
}

fn allowed(set: &PolicySet, facts: Vec<Fact>) -> bool {
    let looked: BTreeMap<String, Looked> = [(good(), found(&digest(1), facts))].into();
    judge(&review(&creating(&pod(&good()))), set, &looked).allowed
}

const KEYLESS: &str = "  - keyless:
      url: https://fulcio.sigstore.dev
      identities:
      - issuer: https://ci.example
        subject: https://ci.example/release
    ctlog:
      url: https://rekor.sigstore.dev";

fn by_key(rest: &str) -> String {
    let pem: String = KEY.lines().map(|line| format!("        {line}\n")).collect();
    format!("  - name: key\n    key:\n      data: |\n{pem}{rest}")
}

#[test]
fn authorities() {
    let signed = || fact(&digest(1), SIGNED);
    let keyless = cip(&document(KEYLESS)).unwrap();
    assert!(allowed(&keyless, vec![signed()]));
    assert!(!allowed(&keyless, vec![Fact { logged: false, ..signed() }]));
    assert!(!allowed(&keyless, vec![]));

    let patterns = KEYLESS
        .replace("issuer: https://ci.example\n", "issuerRegExp: .*ci.example\n")
        .replace("subject: https://ci.example/release", "subjectRegExp: \"/release$\"");
    let patterns = cip(&document(&patterns)).unwrap();
    assert!(allowed(&patterns, vec![signed()]), "found anywhere in the text, as sigstore's tools match");
    let other = FactSigner::Certificate {
        identity: "https://ci.example/release2".to_owned(),
        issuer: "https://ci.example".to_owned(),
    };
    assert!(!allowed(&patterns, vec![Fact { signer: other, ..signed() }]));

    let key = cip(&document(&by_key(""))).unwrap();
    let hint = key.keys()[0].hint.clone();
    let keyed = Fact { signer: FactSigner::Key { hint }, logged: false, ..signed() };
    assert!(allowed(&key, vec![keyed.clone()]), "a key without ctlog asks for no log");
    let logged = cip(&document(&by_key("    ctlog:\n      url: https://rekor.sigstore.dev"))).unwrap();
    assert!(!allowed(&logged, vec![keyed.clone()]));
    assert!(allowed(&logged, vec![Fact { logged: true, ..keyed.clone() }]));

    // One of several authorities is enough; of one authority's attestations, each is wanted.
    let either = cip(&document(&format!("{KEYLESS}\n{}", by_key("")))).unwrap();
    assert!(allowed(&either, vec![signed()]) && allowed(&either, vec![keyed]) && !allowed(&either, vec![]));
    let both = cip(&document(&format!(
        "{KEYLESS}\n    attestations:\n    - name: a\n      predicateType: slsaprovenance1\n    - name: b\n      predicateType: https://cyclonedx.org/bom"
    )))
    .unwrap();
    let slsa = || fact(&digest(1), SLSA);
    assert!(!allowed(&both, vec![slsa()]) && !allowed(&both, vec![signed()]));
    assert!(allowed(&both, vec![slsa(), fact(&digest(1), "https://cyclonedx.org/bom")]));

    assert!(allowed(&cip(&document("  - static:\n      action: pass")).unwrap(), vec![]));
    let fail = cip(&document("  - static:\n      action: fail\n      message: not these")).unwrap();
    let decision = judge(&review(&creating(&pod(&good()))), &fail, &BTreeMap::new());
    assert!(!decision.allowed && said(&decision).contains("not these"));
}

#[test]
fn modes_and_several_documents() {
    let warn = document(KEYLESS).replace("spec:", "spec:\n  mode: warn");
    let set = cip(&warn).unwrap();
    assert!(allowed(&set, vec![]), "a warning lets it through");
    let two = format!("{}---\n{}", document(KEYLESS), document(KEYLESS).replace("name: shop", "name: second"));
    assert_eq!(cip(&two).unwrap().policies.len(), 2);
    assert!(cip(&format!("{0}---\n{0}", document(KEYLESS))).unwrap_err().to_string().contains("two policies"));
    let old = document(KEYLESS).replace("v1beta1", "v1alpha1");
    assert!(cip(&old).is_ok());
    // A document without a mode enforces, also where everything else warns.
    let files =
        [("a.toml".to_owned(), b"mode = \"audit\"".to_vec()), ("b.yaml".to_owned(), document(KEYLESS).into_bytes())];
    assert!(!allowed(&PolicySet::read(&files).unwrap(), vec![]));
}

#[test]
fn what_is_not_supported_is_named() {
    let check = |text: &str, name: &str| {
        let error = cip(text).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not supported"), "{name}: {error}");
    };
    let added = |line: &str| document(&format!("{KEYLESS}\n{line}"));
    check(&document(KEYLESS).replace("spec:", "spec:\n  policy: {type: cue, data: 'x'}"), "spec.policy");
    check(&document(KEYLESS).replace("spec:", "spec:\n  match: [{resource: pods}]"), "spec.match");
    check(&document(KEYLESS).replace("spec:", "spec:\n  future: 1"), "spec.future");
    check(
        &added("    attestations:\n    - name: a\n      predicateType: vuln\n      policy: {type: rego, data: 'x'}"),
        "attestations[0].policy",
    );
    check(&added("    source: [{oci: r.example/signatures}]"), "source");
    check(&added("    rfc3161timestamp: {trustRootRef: x}"), "rfc3161timestamp");
    check(&added("    signatureFormat: legacy"), "signatureFormat");
    check(&document(&KEYLESS.replace("url: https://fulcio.sigstore.dev", "trustRootRef: x")), "trustRootRef");
    check(
        &document(&KEYLESS.replace("url: https://fulcio.sigstore.dev", "url: https://fulcio.example")),
        "keyless.url",
    );
    check(
        &document(&KEYLESS.replace("url: https://fulcio.sigstore.dev", "insecureIgnoreSCT: true")),
        "insecureIgnoreSCT",
    );
    check(&document(&KEYLESS.replace("url: https://fulcio.sigstore.dev", "ca-cert: {data: x}")), "ca-cert");
    check(&document(&KEYLESS.replace("url: https://rekor.sigstore.dev", "url: https://rekor.example")), "ctlog.url");
    check(&document(&KEYLESS.replace("url: https://rekor.sigstore.dev", "trustRootRef: x")), "trustRootRef");
    check(&document(&KEYLESS.replace("ctlog:\n      url: https://rekor.sigstore.dev", "ctlog: {}")), "empty ctlog");
    check(&document("  - key: {kms: 'awskms://x'}"), "key.kms");
    check(&document("  - key: {secretRef: {name: x}}"), "key.secretRef");
    check(&document(&by_key("      hashAlgorithm: sha512")), "hashAlgorithm");
}

#[test]
fn documents_that_are_none() {
    let check = |text: &str, why: &str| {
        let error = cip(text).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    };
    check("", "no document");
    check("a: [", "policy.yaml");
    check("kind: ClusterImagePolicy", "is no ClusterImagePolicy");
    check(&document(KEYLESS).replace("ClusterImagePolicy", "ImagePolicy"), "is no ClusterImagePolicy");
    check(
        &document(KEYLESS).replace("policy.sigstore.dev/v1beta1", "policy.sigstore.dev/v2"),
        "is no ClusterImagePolicy",
    );
    check(&document("").replace("authorities:\n", "authorities: []\n"), "at least one");
    check(&document("  - name: x"), "exactly one of key, keyless and static");
    check(&document(&format!("{KEYLESS}\n    static: {{action: pass}}")), "exactly one of key, keyless and static");
    check(&document("  - keyless: {identities: []}"), "at least one: without it, anybody could sign");
    check(&document("  - keyless: {identities: [{issuer: a}]}"), "exactly one of subject");
    check(&document("  - keyless: {identities: [{issuer: a, issuerRegExp: b, subject: c}]}"), "exactly one of issuer");
    check(&document("  - keyless: {identities: [{issuer: a, subjectRegExp: '('}]}"), "not a pattern");
    check(&document("  - key: {data: 'x'}"), "not a public key");
    check(&document("  - static: {action: maybe}"), "pass or fail");
    check(&document(KEYLESS).replace("r.example/shop/**", "r.example/{a}"), "is no glob");
    check(&document(KEYLESS).replace("spec:", "spec:\n  mode: audit"), "enforce or warn");
    check(&document(KEYLESS).replace("  name: shop", "  namespace: x"), "name of a ClusterImagePolicy");
}
