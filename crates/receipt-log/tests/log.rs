//! The log over the memory store: conformance, and what happens when something fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures::StreamExt as _;
use receipt_log::{
    AppendError, Log as _, MAX_QUEUE, ManualClock, MemorySigner, MemoryStore, ReceiptLog, SignError, Signer, Store,
    StoreError,
    conformance::{self, draft},
};
use tokio::sync::Semaphore;

#[tokio::test]
async fn memory_conforms() {
    conformance::run(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
}

#[tokio::test]
async fn a_failed_write_stops_the_log_for_good() {
    for error in [StoreError::Full("no space".to_owned()), StoreError::Failed("input/output error".to_owned())] {
        let store = Arc::new(MemoryStore::new());
        let log = conformance::open(store.clone()).await.unwrap();
        log.append(draft(1)).await.unwrap();
        store.fail_writes(Some(error.clone()));
        let refused = log.append(draft(2)).await.unwrap_err();
        assert!(matches!(&refused, AppendError::Stopped(why) if *why == error.to_string()), "{refused:?}");
        assert_eq!(log.stopped().await, error.to_string());
        // Also when the disk seems to be well again: what was written before is not known.
        store.fail_writes(None);
        assert!(matches!(log.append(draft(3)).await, Err(AppendError::Stopped(_))));
        assert!(matches!(log.put_segment(vec![1]).await, Err(AppendError::Stopped(_))));
        assert_eq!(*log.size().borrow(), 2);
        assert_eq!(log.range(0, 10).await.unwrap().len(), 2, "reading goes on");
        // A new process reads, and goes on.
        let again = conformance::open(store).await.unwrap();
        assert_eq!(again.append(draft(3)).await.unwrap(), 2);
    }
}

/// Signs receipts, but checkpoints only with a permit: so a test holds the writer where it wants.
struct Held {
    key: MemorySigner,
    permits: Arc<Semaphore>,
    broken: Arc<AtomicBool>,
}

#[async_trait]
impl Signer for Held {
    fn public_key(&self) -> [u8; 32] {
        self.key.public_key()
    }
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        if !message.starts_with(b"DSSEv1 ") {
            self.permits.acquire().await.unwrap().forget();
            if self.broken.load(Ordering::SeqCst) {
                return Err(SignError("the key is gone".to_owned()));
            }
        }
        self.key.sign(message).await
    }
}

async fn held() -> (ReceiptLog, Arc<Semaphore>, Arc<AtomicBool>) {
    let (permits, broken) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicBool::new(false)));
    let signer = Held { key: MemorySigner::from_seed(&[7; 32]), permits: permits.clone(), broken: broken.clone() };
    let log =
        ReceiptLog::open(Arc::new(MemoryStore::new()), Arc::new(signer), &ManualClock::default(), None).await.unwrap();
    (log, permits, broken)
}

#[tokio::test]
async fn a_full_queue_says_busy_and_loses_nothing_that_was_taken() {
    let (log, permits, _) = held().await;
    let appends: Vec<_> = (0..MAX_QUEUE as u64 + 2_000)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { (n, log.append(draft(n)).await) })
        })
        .collect();
    // The writer is held with what it has taken, the queue is full: those that came too late are told so at once.
    while !appends.iter().any(|append| append.is_finished()) {
        tokio::task::yield_now().await;
    }
    permits.add_permits(1000);
    let (mut taken, mut busy) = (0, 0);
    for append in appends {
        match append.await.unwrap() {
            (_, Ok(_)) => taken += 1,
            (_, Err(AppendError::Busy(_))) => busy += 1,
            (n, Err(error)) => panic!("{n}: {error}"),
        }
    }
    assert!(taken >= MAX_QUEUE as u64 && busy > 0, "{taken} taken, {busy} busy");
    assert_eq!(*log.size().borrow(), taken + 1);
    assert!(log.append(draft(2_000_000)).await.is_ok());
}

#[tokio::test]
async fn a_missing_checkpoint_signature_writes_nothing_and_is_no_doubt() {
    let (log, permits, broken) = held().await;
    permits.add_permits(10);
    assert_eq!(log.append(draft(1)).await.unwrap(), 1);
    broken.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(draft(2)).await, Err(AppendError::Signing(_))));
    assert_eq!(*log.size().borrow(), 2);
    broken.store(false, Ordering::SeqCst);
    assert_eq!(log.append(draft(3)).await.unwrap(), 2);
}

#[tokio::test]
async fn an_appender_that_goes_away_does_not_disturb() {
    let (log, permits, _) = held().await;
    let gone = tokio::spawn({
        let log = log.clone();
        async move { log.append(draft(1)).await }
    });
    let stays = tokio::spawn({
        let log = log.clone();
        async move { log.append(draft(2)).await }
    });
    while log.find("key-1").await.unwrap().is_none() && permits.available_permits() == 0 {
        tokio::task::yield_now().await;
        gone.abort();
        permits.add_permits(10);
    }
    assert!(stays.await.unwrap().is_ok());
}

#[tokio::test]
async fn followers_see_everything_once_and_in_order() {
    let log = conformance::open(Arc::new(MemoryStore::new())).await.unwrap();
    for n in 1..5 {
        log.append(draft(n)).await.unwrap();
    }
    let mut follower = Box::pin(log.follow(2));
    let appender = tokio::spawn({
        let log = log.clone();
        async move {
            for n in 5..600 {
                log.append(draft(n)).await.unwrap();
            }
        }
    });
    for expected in 2..600 {
        assert_eq!(follower.next().await.unwrap().unwrap().index, expected);
    }
    appender.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_receipt_is_refused() {
    let log = conformance::open(Arc::new(MemoryStore::new())).await.unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut draft = draft(1);
        draft.payload.facts.insert(name.to_owned(), value);
        draft
    };
    let huge = log.append(with("text", "x".repeat(60_000).into())).await;
    assert!(matches!(huge, Err(AppendError::NotCanonical(_) | AppendError::TooLarge(_))), "{huge:?}");
    assert!(matches!(log.append(with("n", u64::MAX.into())).await, Err(AppendError::NotCanonical(_))));
    assert!(matches!(log.append(with("sig", "x".into())).await, Err(AppendError::NotCanonical(_))));
    // The largest payload that is allowed fits an entry.
    let mut largest = with("text", String::new().into());
    let used = receipts::canonical_bytes(&largest.payload).unwrap().len();
    largest.payload.facts.insert("text".to_owned(), "x".repeat(receipts::MAX_PAYLOAD - used).into());
    assert!(log.append(largest).await.is_ok());
}
