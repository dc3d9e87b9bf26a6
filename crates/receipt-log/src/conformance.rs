//! What every [`Store`] must do, and what a [`ReceiptLog`] over it then does. Each store runs it in its tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test suite, called from tests only")]

use std::{collections::BTreeSet, future::Future, sync::Arc};

use model::{Digest, Kind, Timestamp};
use receipts::{Payload, ReceiptKey, verify};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tlog::{NodeId, TilePath, leaf_hash, root_of_leaves, tiles::decode_entries, verify_consistency, verify_inclusion};

use crate::{
    AppendError, Batch, Draft, Head, Log, ManualClock, MemorySigner, NewEntry, OpenError, ReceiptLog, Store,
    StoreError,
    offline::{Pins, verify_log},
    proofs, tiles,
};

/// Panics where a store does not conform. `make` makes an empty store each time.
pub async fn run<F: Future<Output = Arc<dyn Store>>>(make: impl Fn() -> F) {
    begins_empty(make().await).await;
    states_its_key_first_and_opens_again(make().await).await;
    gives_back_what_was_appended(make().await).await;
    uses_a_key_once(make().await).await;
    groups_many_writers(make().await).await;
    keeps_a_second_writer_out(make().await).await;
    writes_all_of_a_batch_or_nothing(make().await).await;
    proves_every_receipt(make().await).await;
    serves_tiles(make().await).await;
    keeps_segments(make().await).await;
}

/// A log over a store, signed by a fixed key.
pub async fn open(store: Arc<dyn Store>) -> Result<ReceiptLog, OpenError> {
    let clock = ManualClock::new(Timestamp::from_millis(1_778_162_792_045));
    ReceiptLog::open(store, Arc::new(MemorySigner::from_seed(&[7; 32])), &clock, Some("example.com/log")).await
}

/// A receipt that differs by its number; every third is of the release `checkout-1`.
pub fn draft(n: u64) -> Draft {
    let time = Timestamp::from_millis(1_778_162_792_045 + n as i64);
    let payload =
        Payload::new(Kind::FlagToggled, time, "dana".parse().unwrap(), &json!({"n": n, "text": "é\n"})).unwrap();
    let payload = if n.is_multiple_of(3) { payload.release("checkout-1".parse().unwrap()) } else { payload };
    Draft { key: format!("key-{n}"), payload }
}

async fn begins_empty(store: Arc<dyn Store>) {
    assert_eq!(store.head().await.unwrap(), Head::default());
    assert_eq!(store.entries(0, 10).await.unwrap(), []);
    assert_eq!(store.checkpoints(0, 10).await.unwrap(), []);
    assert_eq!(store.level(0, 0, 10).await.unwrap(), []);
    assert_eq!(store.known(&["a".to_owned()]).await.unwrap(), [None]);
    assert!(matches!(store.nodes(&[NodeId { level: 0, index: 0 }]).await, Err(StoreError::Damaged(_))));
}

async fn states_its_key_first_and_opens_again(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    let first = log.range(0, 1).await.unwrap().remove(0);
    assert_eq!((first.index, first.payload.kind), (0, Kind::KeyRotated));
    assert_eq!(first.payload.facts["vkey"], json!(log.vkey().to_string()));
    assert_eq!(log.append(draft(1)).await.unwrap(), 1);
    drop(log);

    let log = open(store.clone()).await.unwrap();
    assert_eq!(*log.size().borrow(), 2, "no second first entry");
    assert_eq!(log.append(draft(2)).await.unwrap(), 2);
    assert_eq!(log.append(draft(1)).await.unwrap(), 1);

    let clock = ManualClock::default();
    let other_key = ReceiptLog::open(store.clone(), Arc::new(MemorySigner::from_seed(&[8; 32])), &clock, None).await;
    assert!(matches!(other_key.map(|_| ()), Err(OpenError::OtherKey(_))));
    let signer = Arc::new(MemorySigner::from_seed(&[7; 32]));
    let other_name = ReceiptLog::open(store.clone(), signer.clone(), &clock, Some("example.com/other")).await;
    assert!(matches!(other_name.map(|_| ()), Err(OpenError::OtherOrigin { .. })));
    let its_name = ReceiptLog::open(store, signer, &clock, None).await.unwrap();
    assert_eq!(its_name.vkey().name(), "example.com/log");
}

async fn gives_back_what_was_appended(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    for n in 1..=20 {
        assert_eq!(log.append(draft(n)).await.unwrap(), n);
    }
    let all = log.range(0, 1000).await.unwrap();
    assert_eq!(all.iter().map(|r| r.index).collect::<Vec<_>>(), (0..=20).collect::<Vec<_>>());
    for receipt in all.iter().skip(1) {
        assert_eq!(receipt.payload, draft(receipt.index).payload);
    }
    let key = ReceiptKey::from_vkey(log.vkey()).unwrap();
    for receipt in &all {
        assert_eq!(verify(&receipt.entry, std::slice::from_ref(&key)).unwrap().payload, receipt.payload);
    }
    let page = |from, limit| {
        let log = log.clone();
        async move { log.range(from, limit).await.unwrap().into_iter().map(|r| r.index).collect::<Vec<_>>() }
    };
    assert_eq!(page(5, 3).await, [5, 6, 7]);
    assert_eq!(page(19, 10).await, [19, 20]);
    assert_eq!(page(21, 10).await, [0; 0]);
    let of_release = log.of_release(&"checkout-1".parse().unwrap()).await.unwrap();
    assert_eq!(of_release.iter().map(|r| r.index).collect::<Vec<_>>(), [3, 6, 9, 12, 15, 18]);
    let paged = store.of_release(&"checkout-1".parse().unwrap(), 7, 2).await.unwrap();
    assert_eq!(paged.iter().map(|e| e.index).collect::<Vec<_>>(), [9, 12]);
    assert_eq!(log.of_release(&"checkout-2".parse().unwrap()).await.unwrap(), []);
    assert_eq!(log.find("key-7").await.unwrap(), Some(7));
    assert_eq!(log.find("key-99").await.unwrap(), None);
    let sizes: Vec<u64> = store.checkpoints(0, 100).await.unwrap().iter().map(|c| c.size).collect();
    assert_eq!(sizes.last(), Some(&21));
    assert!(sizes.is_sorted());
    let report = verify_log(&*store, &Pins::default(), |_, _| {}).await.unwrap();
    assert!(report.holds, "{report:?}");
    assert_eq!((report.size, report.checked), (21, 21));
}

async fn uses_a_key_once(store: Arc<dyn Store>) {
    let log = open(store).await.unwrap();
    assert_eq!(log.append(draft(1)).await.unwrap(), 1);
    assert_eq!(log.append(draft(1)).await.unwrap(), 1, "the same again");
    let mut later = draft(1);
    later.payload.time = later.payload.time.plus_millis(5_000);
    assert_eq!(log.append(later).await.unwrap(), 1, "the same, tried again later");
    let mut other = draft(2);
    other.key = draft(1).key;
    assert!(matches!(log.append(other).await, Err(AppendError::KeyReused(_))));
    let same: Vec<_> = (0..32)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.append(draft(9)).await.unwrap() })
        })
        .collect();
    for append in same {
        assert_eq!(append.await.unwrap(), 2, "at once");
    }
    assert_eq!(*log.size().borrow(), 3);
    for key in ["", "a\nb", &"k".repeat(201)] {
        let bad = log.append(Draft { key: key.to_owned(), ..draft(1) }).await;
        assert!(matches!(bad, Err(AppendError::BadKey)), "{key:?}");
    }
}

async fn groups_many_writers(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    let writers: Vec<_> = (0..64_u64)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut indices = Vec::new();
                for n in 0..10 {
                    indices.push(log.append(draft(1000 + writer * 100 + n)).await.unwrap());
                }
                indices
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for writer in writers {
        let indices = writer.await.unwrap();
        assert!(indices.is_sorted(), "one appender's receipts are in its order");
        all.extend(indices);
    }
    assert_eq!(all, (1..=640).collect(), "each index once");
    log.drain().await;
    assert_eq!(*log.size().borrow(), 641);
    let report =
        verify_log(&*store, &Pins { vkey: Some(log.vkey().clone()), checkpoint: None }, |_, _| {}).await.unwrap();
    assert!(report.holds, "{report:?}");
}

async fn keeps_a_second_writer_out(store: Arc<dyn Store>) {
    let first = open(store.clone()).await.unwrap();
    let second = open(store.clone()).await.unwrap();
    assert_eq!(first.append(draft(1)).await.unwrap(), 1);
    let refused = second.append(draft(2)).await;
    assert!(matches!(refused, Err(AppendError::Stopped(_))), "{refused:?}");
    assert!(second.stopped().await.contains("somebody else"), "and it stays stopped");
    assert!(matches!(second.append(draft(3)).await, Err(AppendError::Stopped(_))));
    assert_eq!(store.head().await.unwrap().size, 2, "nothing of the second was written");
}

async fn writes_all_of_a_batch_or_nothing(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    log.append(draft(1)).await.unwrap();
    let head = store.head().await.unwrap();
    let entry = |index: u64, key: &str| {
        let bytes = format!("entry {index}").into_bytes();
        let leaf = leaf_hash(&bytes);
        NewEntry {
            index,
            key: key.to_owned(),
            digest: [0; 32],
            leaf,
            entry: bytes.into(),
            payload: draft(index).payload,
        }
    };
    let batch = |expected: Head| Batch {
        expected,
        entries: vec![entry(2, "new"), entry(3, "key-1")],
        nodes: Vec::new(),
        checkpoint: "a checkpoint".to_owned(),
    };
    assert!(store.commit(batch(head.clone())).await.is_err(), "a key that is there");
    let stale = Head { size: 1, ..head.clone() };
    assert!(matches!(store.commit(batch(stale)).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.known(&["new".to_owned()]).await.unwrap(), [None]);
    assert_eq!(store.entries(2, 10).await.unwrap(), []);
    assert_eq!(store.level(0, 2, 10).await.unwrap(), []);
}

async fn proves_every_receipt(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    let mut roots = vec![proofs::checkpoint(&*store).await.unwrap().unwrap().1];
    for n in 1..=33 {
        log.append(draft(n)).await.unwrap();
        roots.push(proofs::checkpoint(&*store).await.unwrap().unwrap().1);
    }
    let leaves = store.level(0, 0, 100).await.unwrap();
    for head in &roots {
        assert_eq!(root_of_leaves(&leaves[..head.size as usize]), head.root);
        for index in 0..head.size {
            let proof = proofs::inclusion(&*store, index, head.size).await.unwrap().unwrap();
            verify_inclusion(&leaves[index as usize], index, head.size, &proof, &head.root).unwrap();
        }
        for older in roots.iter().filter(|older| older.size <= head.size) {
            let proof = proofs::consistency(&*store, older.size, head.size).await.unwrap().unwrap();
            verify_consistency(older.size, &older.root, head.size, &head.root, &proof).unwrap();
        }
    }
    assert_eq!(proofs::inclusion(&*store, 34, 34).await.unwrap(), None);
    assert_eq!(proofs::consistency(&*store, 0, 5).await.unwrap(), None);
    assert_eq!(proofs::consistency(&*store, 5, 35).await.unwrap(), None);
    assert_eq!(proofs::consistency(&*store, 6, 5).await.unwrap(), None);
    let parts = proofs::receipt(&*store, 7).await.unwrap().unwrap();
    let file = parts.to_tlog_proof();
    let report = crate::offline::verify_receipt_file(file.as_bytes(), log.vkey()).unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!(report.index, Some(7));
    assert_eq!(proofs::receipt(&*store, 34).await.unwrap(), None);
}

async fn serves_tiles(store: Arc<dyn Store>) {
    let log = open(store.clone()).await.unwrap();
    let appends: Vec<_> = (1..300)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.append(draft(n)).await.unwrap() })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let tile = |path: &str| {
        let (store, path) = (store.clone(), path.parse::<TilePath>().unwrap());
        async move { tiles::tile(&*store, path).await.unwrap() }
    };
    let leaves = store.level(0, 0, 300).await.unwrap();
    let bytes = |hashes: &[tlog::Hash]| hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
    assert_eq!(tile("tile/0/000").await.unwrap(), bytes(&leaves[..256]));
    assert_eq!(tile("tile/0/001.p/44").await.unwrap(), bytes(&leaves[256..]));
    assert_eq!(tile("tile/0/001.p/7").await.unwrap(), bytes(&leaves[256..263]), "as it was in a smaller tree");
    assert_eq!(tile("tile/1/000.p/1").await.unwrap(), bytes(&[root_of_leaves(&leaves[..256])]));
    // The last two: an index that does not fit into 63 bits.
    for beyond in [
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
        "tile/entries/001",
        "tile/63/000.p/1",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/entries/x036/x028/x797/x018/x963/968",
    ] {
        assert_eq!(tile(beyond).await, None, "{beyond}");
    }
    let bundle = tile("tile/entries/001.p/44").await.unwrap();
    for (entry, leaf) in decode_entries(&bundle, 44).unwrap().iter().zip(&leaves[256..]) {
        assert_eq!(leaf_hash(entry), *leaf);
    }
    let note = tiles::checkpoint(&*store).await.unwrap().unwrap();
    assert!(String::from_utf8(note).unwrap().starts_with("example.com/log\n300\n"));
}

async fn keeps_segments(store: Arc<dyn Store>) {
    let log = open(store).await.unwrap();
    let bytes = vec![1, 2, 3];
    let digest = log.put_segment(bytes.clone()).await.unwrap();
    assert_eq!(digest, Digest::from_sha256(&Sha256::digest(&bytes).into()));
    assert_eq!(log.put_segment(bytes.clone()).await.unwrap(), digest, "twice is once");
    assert_eq!(log.segment(&digest).await.unwrap(), Some(bytes));
    assert_eq!(log.segment(&Digest::from_sha256(&[9; 32])).await.unwrap(), None);
    let large = log.put_segment(vec![0; crate::MAX_SEGMENT + 1]).await;
    assert!(matches!(large, Err(AppendError::TooLarge(_))));
}
