//! One golden file for each kind of receipt: what was once signed must verify, and mean the same, for ever.
//!
//! A file is never edited. `DELIVERYOS_WRITE_GOLDEN=1` writes the file of a kind that has none yet, and only that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use ed25519_dalek::{Signer as _, SigningKey};
use model::{Actor, Digest, Energy, EnergyMethod, Kind, Timestamp};
use receipts::{
    Envelope, EnvelopeSignature, KeyRotated, PAYLOAD_TYPE, Payload, ReceiptKey, Refused, canonical_bytes, flat_view,
    pae, verify,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Golden {
    kind: Kind,
    /// The canonical payload.
    payload: String,
    /// The entry's bytes, which are text.
    entry: String,
    /// RFC 6962 hash of the entry.
    leaf_hash: String,
    /// The key's id.
    keyid: String,
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn key() -> ReceiptKey {
    ReceiptKey::from_bytes(&signing_key().verifying_key().to_bytes()).unwrap()
}

fn path(kind: Kind) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{kind}.json"))
}

fn golden(kind: Kind) -> Golden {
    let text = fs::read_to_string(path(kind)).unwrap_or_else(|error| panic!("{kind} has no golden file: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn sign(payload: &[u8]) -> Envelope {
    let sig = signing_key().sign(&pae(PAYLOAD_TYPE, payload)).to_bytes().to_vec();
    Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: payload.to_vec(),
        signatures: vec![EnvelopeSignature { keyid: key().keyid().to_owned(), sig }],
    }
}

#[test]
fn every_golden_receipt_verifies_and_means_the_same() {
    for kind in Kind::ALL.iter().copied() {
        if std::env::var_os("DELIVERYOS_WRITE_GOLDEN").is_some() && !path(kind).exists() {
            write(kind);
        }
        let golden = golden(kind);
        assert_eq!(golden.kind, kind);
        let verified = verify(golden.entry.as_bytes(), &[key()]).unwrap_or_else(|refused| panic!("{kind}: {refused}"));
        assert_eq!(verified.payload.kind, kind);
        assert_eq!(String::from_utf8(verified.payload_bytes).unwrap(), golden.payload, "{kind}");
        assert_eq!(verified.leaf_hash.to_string(), golden.leaf_hash, "{kind}");
        assert_eq!(verified.keyid, golden.keyid, "{kind}");
        // Read and written again, it is the same text; signed again, the same entry.
        assert_eq!(String::from_utf8(canonical_bytes(&verified.payload).unwrap()).unwrap(), golden.payload, "{kind}");
        assert_eq!(String::from_utf8(sign(golden.payload.as_bytes()).to_bytes()).unwrap(), golden.entry, "{kind}");
        facts_are_readable(&verified.payload);
    }
    let files = fs::read_dir(path(Kind::KeyRotated).parent().unwrap()).unwrap().count();
    assert_eq!(files, Kind::ALL.len(), "a file for each kind, and a kind for each file");
}

/// Every bit of an entry matters: flipped, the entry is refused. Only the name of the field `keyid` may be altered: DSSE
/// says that a field that is not known is ignored and one without a key id is tried with every key. Then the signature
/// holds for the very same payload, and the entry is not the one in the log.
#[test]
fn every_flipped_bit_is_refused() {
    let golden = golden(Kind::KeyRotated);
    let entry = golden.entry.into_bytes();
    let name = String::from_utf8_lossy(&entry).find("\"keyid\"").unwrap() + 1;
    for place in 0..entry.len() {
        for bit in 0..8 {
            let mut bad = entry.clone();
            bad[place] ^= 1 << bit;
            if let Ok(verified) = verify(&bad, &[key()]) {
                assert!(
                    (name..name + 5).contains(&place),
                    "bit {bit} of byte {place} ({:?})",
                    char::from(entry[place])
                );
                assert_eq!(verified.payload_bytes, golden.payload.as_bytes());
                assert_ne!(verified.leaf_hash.to_string(), golden.leaf_hash);
            }
        }
    }
    for place in 0..entry.len() {
        assert!(verify(&entry[..place], &[key()]).is_err(), "cut at {place}");
        let without = [&entry[..place], &entry[place + 1..]].concat();
        let refused = verify(&without, &[key()]).is_err();
        assert!(refused || (name..name + 5).contains(&place), "without byte {place}");
    }
}

#[test]
fn what_is_refused_and_why() {
    let golden = golden(Kind::CanaryStepped);
    let check = |envelope: Envelope, keys: &[ReceiptKey], wanted: fn(&Refused) -> bool| {
        let refused = verify(&envelope.to_bytes(), keys).unwrap_err();
        assert!(wanted(&refused), "{refused:?}");
    };
    let good = Envelope::parse(golden.entry.as_bytes()).unwrap();
    let other = ReceiptKey::from_bytes(&SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes()).unwrap();

    check(good.clone(), &[], |r| *r == Refused::NoKnownKey);
    check(good.clone(), std::slice::from_ref(&other), |r| *r == Refused::NoKnownKey);
    let mut renamed = good.clone();
    renamed.signatures[0].keyid = other.keyid().to_owned();
    check(renamed, std::slice::from_ref(&other), |r| matches!(r, Refused::BadSignature(_)));
    let mut other_type = good.clone();
    other_type.payload_type = "application/vnd.in-toto+json".to_owned();
    check(other_type, &[key()], |r| matches!(r, Refused::PayloadType(_)));

    // Signed by the right key, and still not a receipt.
    let spaced = golden.payload.replacen(':', ": ", 1);
    check(sign(spaced.as_bytes()), &[key()], |r| *r == Refused::NotCanonical);
    let twice = golden.payload.replacen("{", r#"{"a":1,"a":2,"#, 1);
    check(sign(twice.as_bytes()), &[key()], |r| matches!(r, Refused::NotCanonical | Refused::Payload(_)));
    let kind_twice = golden.payload.replacen("{", r#"{"kind":"delivery.flag.toggled","#, 1);
    check(sign(kind_twice.as_bytes()), &[key()], |r| matches!(r, Refused::NotCanonical | Refused::Payload(_)));
    let large = golden.payload.replacen("{", r#"{"a":9007199254740993,"#, 1);
    check(sign(large.as_bytes()), &[key()], |r| matches!(r, Refused::Payload(_)));
    let unknown = golden.payload.replace("delivery.canary.stepped", "delivery.canary.stopped");
    check(sign(unknown.as_bytes()), &[key()], |r| matches!(r, Refused::Payload(_)));
    check(sign(b"[]"), &[key()], |r| matches!(r, Refused::Payload(_)));

    // A second signature by a key that is not known does not disturb; one by a known key must hold.
    let mut two = good.clone();
    two.signatures.push(EnvelopeSignature { keyid: other.keyid().to_owned(), sig: vec![0; 64] });
    assert!(verify(&two.to_bytes(), &[key()]).is_ok());
    check(two, &[key(), other], |r| matches!(r, Refused::BadSignature(_)));
    // Without a key id every known key is tried; both alphabets of base64 are read.
    let mut nameless = good;
    nameless.signatures[0].keyid.clear();
    assert!(verify(&nameless.to_bytes(), &[key()]).is_ok());
    let (payload, sig) = (URL_SAFE.encode(&nameless.payload), URL_SAFE.encode(&nameless.signatures[0].sig));
    let url_safe =
        format!(r#" {{"signatures": [{{"sig": "{sig}"}}], "payloadType": "{PAYLOAD_TYPE}", "payload": "{payload}"}}"#);
    assert!(verify(url_safe.as_bytes(), &[key()]).is_ok());
}

/// Weak keys, under which signatures of anything verify, are no keys.
#[test]
fn weak_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(ReceiptKey::from_bytes(&identity).is_err());
    assert!(ReceiptKey::from_bytes(&[0; 32]).is_err());
    // `openssl pkey -pubin -outform DER | sha256sum` of the key whose seed is 32 times 0x01.
    assert_eq!(key().keyid(), golden(Kind::KeyRotated).keyid);
}

#[test]
fn the_flat_view_carries_the_signature() {
    let verified = verify(golden(Kind::CanaryStepped).entry.as_bytes(), &[key()]).unwrap();
    let view = flat_view(&verified.payload, &verified.signature);
    assert_eq!(view["kind"], "delivery.canary.stepped");
    let sig = view["sig"].as_str().unwrap();
    assert!(sig.starts_with("ed25519:0x") && sig.len() == 10 + 128, "{sig}");
}

/// Writes the golden file of a kind from example facts.
fn write(kind: Kind) {
    let mut payload = Payload::new(kind, Timestamp::from_millis(1_778_162_792_045), actor(kind), &facts(kind)).unwrap();
    payload = payload.cite(["RFC 8785", "Argo Rollouts 1.10"]);
    if kind != Kind::KeyRotated {
        payload = payload.release("checkout-7".parse().unwrap());
    }
    if matches!(kind, Kind::CanaryStepped | Kind::ReleaseCompleted) {
        payload = payload.energy(Energy {
            joules: 0.0213,
            low: 0.01,
            high: 1e-7 + 0.05,
            method: EnergyMethod::ModelCpuTime,
            scope: "cpu".to_owned(),
            coefficient: Some("example-1".to_owned()),
            cpu_time_us: 1234,
            wall_us: 56_789,
            idle_joules: Some(0.5),
        });
    }
    let bytes = canonical_bytes(&payload).unwrap();
    let entry = sign(&bytes).to_bytes();
    let golden = Golden {
        kind,
        payload: String::from_utf8(bytes).unwrap(),
        leaf_hash: tlog::leaf_hash(&entry).to_string(),
        entry: String::from_utf8(entry).unwrap(),
        keyid: key().keyid().to_owned(),
    };
    let text = serde_json::to_string_pretty(&golden).unwrap() + "\n";
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path(kind))
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .unwrap();
}

fn actor(kind: Kind) -> Actor {
    match kind {
        Kind::AnalysisPassed | Kind::AnalysisFailed => Actor::judge(),
        Kind::CommandAccepted | Kind::CommandRefused => "Dana Ødegård".parse().unwrap(),
        _ => Actor::controller(),
    }
}

/// Example facts of a kind; those that `model::event` describes are of its form.
fn facts(kind: Kind) -> Value {
    let digest = Digest::from_sha256(&[0xab; 32]);
    let at = "2026-05-07T14:06:31.045Z";
    let stats = json!({"n": 4812, "errors": 3, "p99_ms": 84.25, "mean_ms": 12.5, "sigma_ms": 3.75});
    let analysis = |verdict: &str| {
        json!({
            "analysis": "latency", "scope": "background", "verdict": verdict, "message": "p99 84.25 ms ≤ limit 92.68 ms", "rule": "threshold",
            "measurements": 60, "segment": digest, "from": at, "to": at, "canary": stats, "stable": stats,
        })
    };
    let command =
        json!({"command": "abort", "command_id": "0b9e1d2c-0001", "reason": "p99 \"jumped\"\n", "refusal": null});
    let command = |refusal: Option<&str>| {
        let mut facts = command.clone();
        match (refusal, facts.as_object_mut()) {
            (Some(why), Some(fields)) => fields.insert("refusal".to_owned(), why.into()),
            (None, Some(fields)) => fields.remove("refusal"),
            _ => None,
        };
        facts
    };
    match kind {
        Kind::CanaryStarted => json!({
            "strategy": "canary", "service": "checkout", "environment": "production", "version": "v2026.05.07", "digest": digest,
            "stable_version": "v2026.05.06", "stable_digest": digest, "recipe": digest, "steps": 8,
            "planned": [{"at_ms": 0, "weight": 5}, {"at_ms": 180_000, "weight": 25}], "planned_ms": 720_000, "runtime": "local",
        }),
        Kind::CanaryStepped => json!({
            "strategy": "canary", "step": 0, "steps": 8, "from_weight": 0, "weight": 5, "applied_at": at, "epoch": 3,
            "operation": "checkout-7/0/weight",
        }),
        Kind::CanaryPaused => json!({"reason": "step", "until": at, "weight": 5, "step": 1}),
        Kind::CanaryResumed => json!({"reason": "the time has passed", "paused_ms": 180_000, "step": 1}),
        Kind::CanaryPromoted => {
            json!({"full": false, "version": "v2026.05.07", "digest": digest, "reason": "all steps are done"})
        }
        Kind::CanaryAborted => json!({
            "reason": "5xx 0.031 > 0.01", "automatic": true, "weight": 25, "breach_at": at,
        }),
        Kind::CanaryCompleted => json!({
            "outcome": "aborted", "took_ms": 200_000, "breach_to_zero_ms": 31, "breach_to_last_request_ms": -4,
            "zero_to_drained_ms": 2_000, "rto_ms": 2_031, "exposed": 4812,
        }),
        Kind::AnalysisPassed => analysis("Successful"),
        Kind::AnalysisFailed => analysis("Failed"),
        Kind::AnalysisInconclusive => analysis("Inconclusive"),
        Kind::AnalysisError => analysis("Error"),
        Kind::RollbackArmed => json!({
            "previous_image": digest, "previous_version": "v2026.05.06", "down_migration": "none", "flags_off": ["new-cart"],
            "acts": ["traffic", "processes", "migration", "flags"], "rto_s": 60,
        }),
        Kind::RollbackExecuted => {
            json!({"act": "traffic", "order": 1, "of": 4, "result": "weight 0 in force", "took_ms": 12})
        }
        Kind::CommandAccepted => command(None),
        Kind::CommandRefused => command(Some("the release has ended")),
        Kind::ReleaseCompleted => json!({
            "outcome": "promoted", "children": 21, "ranges": [[4, 9], [12, 26]], "root": "ab".repeat(32),
        }),
        Kind::KeyRotated => json!({
            "algorithm": "ed25519", "origin": "example.com/log", "vkey": "example.com/log+00000000+AQ==", "keyid": "ab".repeat(32),
            "reason": "the log was begun",
        }),
        // Kinds whose facts are not laid down yet: values of every form.
        Kind::SignatureLogged => json!({
            "log": "rekor.example", "index": 17, "leaf": "ab".repeat(32), "entry": "hashedrekord 0.0.2", "signed": digest,
            "key_details": "PKIX_ECDSA_P256_SHA_256", "by_certificate": false,
        }),
        _ => json!({
            "text": "a – “quoted” \u{1F600} \u{0001} \\ /", "count": 482_116, "negative": -1, "large": "9007199254740993", "ratio": 0.1,
            "small": 5e-324, "big": 1.797_693_134_862_315_7e308, "list": [1, "two", null, true], "nested": {"b": 1, "a": {"ü": []}}, "digest": digest,
        }),
    }
}

fn facts_are_readable(payload: &Payload) {
    use model::event as e;
    fn of<T: DeserializeOwned>(payload: &Payload) {
        payload.facts::<T>().map(|_| ()).unwrap_or_else(|error| panic!("{}: {error:?}", payload.kind));
    }
    match payload.kind {
        Kind::CanaryStarted => of::<e::CanaryStarted>(payload),
        Kind::CanaryStepped => of::<e::CanaryStepped>(payload),
        Kind::CanaryPaused => of::<e::CanaryPaused>(payload),
        Kind::CanaryResumed => of::<e::CanaryResumed>(payload),
        Kind::CanaryPromoted => of::<e::CanaryPromoted>(payload),
        Kind::CanaryAborted => of::<e::CanaryAborted>(payload),
        Kind::CanaryCompleted => of::<e::CanaryCompleted>(payload),
        Kind::AnalysisPassed | Kind::AnalysisFailed | Kind::AnalysisInconclusive | Kind::AnalysisError => {
            of::<e::AnalysisEnded>(payload)
        }
        Kind::RollbackArmed => of::<e::RollbackArmed>(payload),
        Kind::RollbackExecuted => of::<e::RollbackExecuted>(payload),
        Kind::CommandAccepted | Kind::CommandRefused => of::<e::CommandSeen>(payload),
        Kind::ReleaseCompleted => of::<e::ReleaseCompleted>(payload),
        Kind::KeyRotated => of::<KeyRotated>(payload),
        Kind::SignatureLogged => of::<e::SignatureLogged>(payload),
        _ => {}
    }
}
