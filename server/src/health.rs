//! Whether all is well: the log read through once after the start, and the services that the controller leaves alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use controller::LeftAlone;
use receipt_log::Store;

/// Receipts read at once: some milliseconds of hashing.
const PAGE: u32 = 64;
/// Pause between them, so that a long log is read beside the traffic: a million receipts take some minutes.
const PAUSE: Duration = Duration::from_millis(10);
/// Damaged receipts that are named; more are found by `log verify`.
const NAMED: usize = 8;

/// What was found. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    damaged: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Health {
    /// Reads all receipts that there are now; those that come later are this process's own. Says what is damaged and goes on.
    pub async fn read_through(self, store: Arc<dyn Store>) {
        let size = match store.head().await {
            Ok(head) => head.size,
            Err(error) => return tracing::error!(%error, "the log could not be read through"),
        };
        let mut from = 0;
        while from < size {
            let entries = match store.entries(from, PAGE).await {
                Ok(entries) => entries,
                Err(error) => return self.found(from, error.to_string()),
            };
            let Some(next) = entries.last().map(|entry| entry.index + 1) else {
                return self.found(from, "it is missing".to_owned());
            };
            for entry in entries {
                if let Err((index, why)) = receipt_log::read(entry) {
                    self.found(index, why);
                }
            }
            from = next;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn found(&self, index: u64, why: String) {
        tracing::error!(index, %why, "a receipt is damaged: say `deliveryos log verify`");
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < NAMED {
            damaged.insert(index, why);
        }
    }

    /// What is wrong, for everybody: services and receipts by name, and nothing that a receipt says.
    pub fn in_short(&self, left_alone: &[LeftAlone]) -> Vec<String> {
        let left = left_alone.iter().map(|left| format!("the service {} is left alone", left.service));
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        left.chain(damaged.keys().map(|index| format!("receipt {index} is damaged"))).collect()
    }

    /// What is wrong, in full, for who may read the log.
    pub fn in_full(&self, left_alone: &[LeftAlone]) -> Vec<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let receipts = damaged.iter().map(|(index, why)| format!("receipt {index} is damaged: {why}"));
        left_alone.iter().map(ToString::to_string).chain(receipts).collect()
    }
}
