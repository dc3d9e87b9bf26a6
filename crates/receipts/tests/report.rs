//! `verify_receipt`: each check apart, and no check passes when what it is about was altered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use ed25519_dalek::{Signer as _, SigningKey};
use model::{Actor, Kind, Timestamp};
use receipts::{
    Check, Envelope, EnvelopeSignature, PAYLOAD_TYPE, PartsError, Payload, ReceiptKey, ReceiptParts, Report, Seen,
    canonical_bytes, pae, verify_alone, verify_receipt,
};
use serde_json::json;
use tlog::{
    Checkpoint, Frontier, Hash, NodeId, SignedNote, VerifyingKey, leaf_hash, prove_consistency, prove_inclusion,
};

const ORIGIN: &str = "example.com/log";

struct World {
    entries: Vec<Vec<u8>>,
    nodes: std::collections::HashMap<NodeId, Hash>,
    heads: Vec<Seen>,
}

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn vkey() -> VerifyingKey {
    VerifyingKey::new(ORIGIN, &signer().verifying_key().to_bytes()).unwrap()
}

fn world(size: u64) -> World {
    let keyid = ReceiptKey::from_vkey(&vkey()).unwrap().keyid().to_owned();
    let mut world = World { entries: Vec::new(), nodes: Default::default(), heads: Vec::new() };
    let mut tree = Frontier::new();
    world.heads.push(Seen { size: 0, root: tree.root() });
    for n in 0..size {
        let actor: Actor = "dana".parse().unwrap();
        let payload =
            Payload::new(Kind::FlagToggled, Timestamp::from_millis(1_000 * n as i64), actor, &json!({"n": n})).unwrap();
        let payload = canonical_bytes(&payload).unwrap();
        let sig = signer().sign(&pae(PAYLOAD_TYPE, &payload)).to_bytes().to_vec();
        let signatures = vec![EnvelopeSignature { keyid: keyid.clone(), sig }];
        let entry = Envelope { payload_type: PAYLOAD_TYPE.to_owned(), payload, signatures }.to_bytes();
        world.nodes.extend(tree.push(leaf_hash(&entry)));
        world.entries.push(entry);
        world.heads.push(Seen { size: n + 1, root: tree.root() });
    }
    world
}

impl World {
    fn checkpoint(&self, size: u64) -> SignedNote {
        let head = self.heads[size as usize];
        let text = Checkpoint::new(ORIGIN, head.size, head.root).unwrap().to_string();
        let signature = signer().sign(text.as_bytes()).to_bytes();
        SignedNote::assemble(text, &vkey(), &signature).unwrap()
    }

    fn parts(&self, index: u64, size: u64) -> ReceiptParts {
        let inclusion = prove_inclusion(index, size, |id| self.nodes.get(&id).copied().ok_or(())).unwrap();
        ReceiptParts {
            index,
            entry: self.entries[index as usize].clone(),
            inclusion,
            checkpoint: self.checkpoint(size),
        }
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        prove_consistency(old, new, |id| self.nodes.get(&id).copied().ok_or(())).unwrap()
    }
}

fn outcomes(report: &Report) -> [char; 4] {
    [&report.signature, &report.checkpoint_signature, &report.inclusion, &report.consistency].map(|check| match check {
        Check::Passed => '✓',
        Check::Refused(_) => '✗',
        Check::NotDone(_) => '–',
    })
}

#[test]
fn every_receipt_of_every_tree_holds() {
    let world = world(20);
    for size in 1..=20 {
        for index in 0..size {
            for seen in 1..=20 {
                let proof = world.consistency(seen.min(size), seen.max(size));
                let report =
                    verify_receipt(&world.parts(index, size), &vkey(), Some(world.heads[seen as usize]), Some(&proof));
                assert_eq!(outcomes(&report), ['✓'; 4], "{index} of {size}, seen {seen}: {report:?}");
                assert!(report.holds());
                assert_eq!(
                    report.inclusion_steps.last().map_or(report.leaf_hash, |step| step.result),
                    world.heads[size as usize].root
                );
            }
        }
    }
}

#[test]
fn what_was_not_done_says_why() {
    let world = world(5);
    let parts = world.parts(2, 5);
    let report = verify_receipt(&parts, &vkey(), None, None);
    assert_eq!(outcomes(&report), ['✓', '✓', '✓', '–']);
    assert!(report.holds());
    let report = verify_receipt(&parts, &vkey(), Some(world.heads[3]), None);
    assert_eq!(report.consistency, Check::NotDone("no consistency proof was given".to_owned()));
    assert_eq!(
        outcomes(&verify_receipt(&parts, &vkey(), Some(world.heads[5]), None)),
        ['✓'; 4],
        "the same checkpoint again"
    );
    assert_eq!(outcomes(&verify_receipt(&parts, &vkey(), Some(world.heads[0]), None)), ['✓', '✓', '✓', '–']);
    let alone = verify_alone(&parts.entry, &vkey());
    assert_eq!(outcomes(&alone), ['✓', '–', '–', '–']);
    assert!(!alone.holds());
}

#[test]
fn what_was_altered_is_refused_where_it_is() {
    let world = world(13);
    let (good, seen) = (world.parts(5, 13), world.heads[7]);
    let proof = world.consistency(7, 13);
    let check = |name: &str, parts: &ReceiptParts, seen: Seen, proof: &[Hash], wanted: &str| {
        let report = verify_receipt(parts, &vkey(), Some(seen), Some(proof));
        assert_eq!(outcomes(&report).iter().collect::<String>(), wanted, "{name}: {report:?}");
        assert!(!report.holds(), "{name}");
    };
    let with = |alter: &dyn Fn(&mut ReceiptParts)| {
        let mut parts = good.clone();
        alter(&mut parts);
        parts
    };
    check("another receipt in its place", &with(&|p| p.entry = world.entries[6].clone()), seen, &proof, "✓✓✗✓");
    check("another place", &with(&|p| p.index = 4), seen, &proof, "✓✓✗✓");
    check("a place beyond", &with(&|p| p.index = 13), seen, &proof, "✓✓✗✓");
    check("a byte of the receipt", &with(&|p| p.entry[20] ^= 1), seen, &proof, "✗✓✗✓");
    check("not a receipt", &with(&|p| p.entry = b"{}".to_vec()), seen, &proof, "✗✓✗✓");
    check("a hash of the proof", &with(&|p| p.inclusion[1] = Hash([0; 32])), seen, &proof, "✓✓✗✓");
    check("a hash too few", &with(&|p| p.inclusion.truncate(1)), seen, &proof, "✓✓✗✓");
    check("a hash too many", &with(&|p| p.inclusion.push(Hash([0; 32]))), seen, &proof, "✓✓✗✓");
    check("an older checkpoint", &with(&|p| p.checkpoint = world.checkpoint(12)), seen, &proof, "✓✓✗✗");
    check("another history", &good, Seen { root: Hash([0; 32]), ..seen }, &proof, "✓✓✓✗");
    check("a hash of the consistency proof", &good, seen, &[&proof[1..], &[Hash([0; 32])]].concat(), "✓✓✓✗");
    check("two roots of one size", &good, Seen { size: 13, root: Hash([0; 32]) }, &[], "✓✓✓✗");
    let forged = |text: String| {
        let other = SigningKey::from_bytes(&[2; 32]);
        let key = VerifyingKey::new(ORIGIN, &other.verifying_key().to_bytes()).unwrap();
        SignedNote::assemble(text.clone(), &key, &other.sign(text.as_bytes()).to_bytes()).unwrap()
    };
    check(
        "a checkpoint by another key",
        &with(&|p| p.checkpoint = forged(p.checkpoint.text().to_owned())),
        seen,
        &proof,
        "✓✗✓✓",
    );
    let report =
        verify_receipt(&good, &VerifyingKey::new("example.com/other", vkey().public_key()).unwrap(), None, None);
    assert_eq!(outcomes(&report), ['✓', '✗', '✓', '–'], "the key of a log by another name");
}

#[test]
fn parts_travel_as_text_and_as_a_file() {
    let world = world(9);
    let parts = world.parts(3, 9);
    let inclusion: Vec<String> = parts.inclusion.iter().map(Hash::to_base64).collect();
    let entry = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&parts.entry)
    };
    let checkpoint = parts.checkpoint.to_string();
    assert_eq!(ReceiptParts::from_text(3, &entry, &inclusion, &checkpoint).unwrap(), parts);
    let file = parts.to_tlog_proof();
    assert_eq!(ReceiptParts::from_tlog_proof(file.as_bytes(), None).unwrap(), parts);
    assert_eq!(ReceiptParts::from_text(3, "*", &inclusion, &checkpoint), Err(PartsError::Entry));
    assert_eq!(ReceiptParts::from_text(3, &entry, &["x"], &checkpoint), Err(PartsError::Inclusion));
    assert_eq!(
        ReceiptParts::from_text(3, &entry, &vec![inclusion[0].clone(); 65], &checkpoint),
        Err(PartsError::Inclusion)
    );
    assert!(matches!(ReceiptParts::from_text(3, &entry, &inclusion, "x"), Err(PartsError::Checkpoint(_))));
    let bare: String =
        file.lines().filter(|line| !line.starts_with("extra ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(ReceiptParts::from_tlog_proof(bare.as_bytes(), None), Err(PartsError::NoEntry));
    assert!(ReceiptParts::from_tlog_proof(bare.as_bytes(), Some(parts.entry.clone())).is_ok());
    assert!(matches!(ReceiptParts::from_tlog_proof(b"", None), Err(PartsError::Proof(_))));
}
