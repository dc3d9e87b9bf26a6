//! What every [`TreeStore`] must do.

use std::sync::Arc;

use model::Timestamp;
use receipt_log::{Clock as _, Log, ManualClock, MemorySigner, Signer as _, Store, StoreError};
use serde_json::json;
use tlog::{Frontier, SignedNote, leaf_hash, verify_inclusion};

use crate::{Batch, Entry, Head, SignatureLog, TreeStore, audit, tiles};

/// The body of an entry as `attest::log_entry` makes it, with some digest.
pub fn body(number: u64) -> Vec<u8> {
    let digest = format!("{:A<43}=", format!("{number}x").replace(|c: char| !c.is_ascii_alphanumeric(), "x"));
    let verifier = json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": { "rawBytes": "AAAA" } });
    json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
        "data": { "algorithm": "SHA2_256", "digest": digest },
        "signature": { "content": "AAAA", "verifier": verifier } } } })
    .to_string()
    .into_bytes()
}

/// Runs the suite on an empty store; `notes` is the main log, `receipts` its store.
pub async fn run(store: Arc<dyn TreeStore>, notes: Arc<dyn Log>, receipts: Arc<dyn Store>) {
    assert_eq!(store.head().await.unwrap(), Head::default());
    let clock = ManualClock::new("2026-05-07T13:00:00Z".parse().unwrap());
    let signer = Arc::new(MemorySigner::from_seed(&[5; 32]));
    let open = || SignatureLog::open(store.clone(), signer.clone(), notes.clone(), &clock, Some("log.example"));
    let log = open().await.unwrap();
    let begun = store.head().await.unwrap();
    assert_eq!((begun.size, begun.begun), (0, Some(clock.now())));
    assert_eq!(store.find(&leaf_hash(&body(0))).await.unwrap(), None);

    // Many at once: each has its own place, proved under a checkpoint that the key has signed.
    let before = *notes.size().borrow();
    let appends = (0..40).map(|number| {
        let log = log.clone();
        tokio::spawn(async move { log.append(body(number), "ci".parse().unwrap(), Timestamp::from_millis(5)).await })
    });
    let mut indices = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        let logged = append.await.unwrap().unwrap();
        let leaf = leaf_hash(&logged.entry.body);
        verify_inclusion(&leaf, logged.entry.index, logged.size, &logged.proof, &logged.root).unwrap();
        let note = SignedNote::parse(logged.checkpoint.as_bytes()).unwrap();
        note.verify(std::slice::from_ref(log.vkey())).unwrap();
        assert!(logged.receipt >= before);
        indices.push(logged.entry.index);
    }
    indices.sort_unstable();
    assert_eq!(indices, (0..40).collect::<Vec<_>>());
    assert_eq!(*notes.size().borrow(), before + 40, "one receipt for each");

    // The same again is the same place, and no second receipt.
    let first = log.append(body(0), "other".parse().unwrap(), Timestamp::from_millis(9)).await.unwrap();
    assert_eq!(first.entry.by.as_str(), "ci");
    assert_eq!((store.head().await.unwrap().size, *notes.size().borrow()), (40, before + 40));
    assert_eq!(log.get(first.entry.index).await.unwrap().unwrap().entry, first.entry);
    assert!(log.get(40).await.unwrap().is_none());

    // Tiles are what the tree is made of.
    let hashes = tiles::tile(&*store, "tile/0/000.p/40".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(hashes.len(), 40 * 32);
    assert!(tiles::tile(&*store, "tile/0/000".parse().unwrap()).await.unwrap().is_none());
    for beyond in ["tile/0/x036/x028/x797/x018/x963/968", "tile/entries/x036/x028/x797/x018/x963/968"] {
        assert!(tiles::tile(&*store, beyond.parse().unwrap()).await.unwrap().is_none(), "{beyond}");
    }
    let bundle = tiles::tile(&*store, "tile/entries/000.p/40".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(tlog::tiles::decode_entries(&bundle, 40).unwrap().len(), 40);
    let mut tree = Frontier::new();
    for entry in store.entries(0, 100).await.unwrap() {
        tree.push(leaf_hash(&entry.body));
    }
    let said = String::from_utf8(tiles::checkpoint(&*store).await.unwrap().unwrap()).unwrap();
    assert!(said.starts_with("log.example\n40\n"), "{said}");
    let checkpoint: tlog::Checkpoint = SignedNote::parse(said.as_bytes()).unwrap().text().parse().unwrap();
    assert_eq!(checkpoint.root, tree.root());

    let audited = audit(&*store, log.vkey(), &*receipts).await.unwrap();
    assert_eq!((audited.holds, audited.entries, audited.reason), (true, 40, None));

    // Another writer is refused, and nothing of its batch stands.
    let entry = Entry {
        index: 0,
        leaf: leaf_hash(b"x"),
        body: Arc::from(&b"x"[..]),
        by: "x".parse().unwrap(),
        at: clock.now(),
    };
    let stale = Batch { expected: begun, entries: vec![entry], nodes: vec![], checkpoint: "x".into(), begun: None };
    assert!(matches!(store.commit(stale).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.find(&leaf_hash(b"x")).await.unwrap(), None);

    // It goes on where it was, and a crash between entry and note is mended.
    let late = Entry {
        index: 40,
        leaf: leaf_hash(&body(99)),
        body: body(99).into(),
        by: "ci".parse().unwrap(),
        at: clock.now(),
    };
    let mut nodes = Vec::new();
    tree.append(late.leaf, |id, hash| {
        if id.level > 0 {
            nodes.push((id, hash));
        }
    });
    let note = crate::writer::checkpoint(&*signer, log.vkey(), &tree).await.unwrap();
    let batch =
        Batch { expected: store.head().await.unwrap(), entries: vec![late], nodes, checkpoint: note, begun: None };
    store.commit(batch).await.unwrap();
    drop(log);
    let vkey = tlog::VerifyingKey::new("log.example", &signer.public_key()).unwrap();
    let unnoted = audit(&*store, &vkey, &*receipts).await.unwrap();
    assert_eq!(unnoted.reason.as_deref(), Some("no receipt notes entry 40"));
    let log = open().await.unwrap();
    assert_eq!(*notes.size().borrow(), before + 41, "the missing note was written");
    assert_eq!(log.append(body(100), "ci".parse().unwrap(), clock.now()).await.unwrap().entry.index, 41);
    let other = Arc::new(MemorySigner::from_seed(&[6; 32]));
    let error = SignatureLog::open(store.clone(), other, notes.clone(), &clock, None).await.err().unwrap();
    assert!(error.to_string().contains("another key"), "{error}");
    let error = SignatureLog::open(store.clone(), signer, notes, &clock, Some("a.example")).await.err().unwrap();
    assert!(error.to_string().contains("keeps its name"), "{error}");
}

#[cfg(test)]
mod tests {
    use receipt_log::{MemoryStore, ReceiptLog};

    use super::*;

    #[tokio::test]
    async fn the_memory_tree_conforms() {
        let clock = ManualClock::new("2026-05-07T13:00:00Z".parse().unwrap());
        let main = Arc::new(MemorySigner::from_seed(&[7; 32]));
        let kept = Arc::new(MemoryStore::default());
        let notes = ReceiptLog::open(kept.clone(), main, &clock, Some("main.example")).await.unwrap();
        run(Arc::new(crate::MemoryTree::default()), Arc::new(notes), kept).await;
    }
}
