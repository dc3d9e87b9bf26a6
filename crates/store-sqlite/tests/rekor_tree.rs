//! The log of signatures on a disk: the port's suite, and what a second process finds.
#![allow(clippy::unwrap_used)] // tests

use std::sync::Arc;

use receipt_log::{ManualClock, MemorySigner, ReceiptLog};
use rekor::{SignatureLog, TreeStore as _, conformance};
use store_sqlite::SqliteStore;

#[tokio::test]
async fn it_conforms_and_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new("2026-05-07T13:00:00Z".parse().unwrap());
    let main = Arc::new(MemorySigner::from_seed(&[7; 32]));
    let store = SqliteStore::open(directory.path()).await.unwrap();
    let log = ReceiptLog::open(Arc::new(store.clone()), main.clone(), &clock, Some("main.example")).await.unwrap();
    conformance::run(Arc::new(store.rekor()), Arc::new(log.clone()), Arc::new(store.clone())).await;
    let head = store.rekor().head().await.unwrap();
    log.drain().await;
    store.close().await.unwrap();
    drop(log);

    let store = SqliteStore::open(directory.path()).await.unwrap();
    assert_eq!(store.rekor().head().await.unwrap(), head);
    let log = ReceiptLog::open(Arc::new(store.clone()), main, &clock, None).await.unwrap();
    let signer = Arc::new(MemorySigner::from_seed(&[5; 32]));
    let again = SignatureLog::open(Arc::new(store.rekor()), signer, Arc::new(log), &clock, None).await.unwrap();
    let logged = again.append(conformance::body(500), "ci".parse().unwrap(), head.begun.unwrap()).await.unwrap();
    assert_eq!(logged.entry.index, head.size);
}

/// A store that was opened for reading answers, and takes nothing.
#[tokio::test]
async fn a_reader_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    SqliteStore::open(directory.path()).await.unwrap().close().await.unwrap();
    let store = SqliteStore::open_read_only(directory.path()).await.unwrap().rekor();
    let head = store.head().await.unwrap();
    assert_eq!(head.size, 0);
    let batch = rekor::Batch { expected: head, entries: vec![], nodes: vec![], checkpoint: "x".into(), begun: None };
    assert!(store.commit(batch).await.unwrap_err().to_string().contains("reading only"));
}
