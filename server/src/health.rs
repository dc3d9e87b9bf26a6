//! Whether all is well: the log read through once after the start, and the services that the controller leaves alone.
//!
//! Read through are the bytes: each entry is there and is what was hashed into the tree. Whether a receipt can be understood (one of a newer
//! version perhaps not) shows where it is used, and to `deliveryos log verify`.

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
/// Damaged receipts that are named. Then it is read no further: `log verify` finds them all.
const NAMED: usize = 8;
const MISSING: &str = "it is missing";

/// What was found. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    damaged: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Health {
    /// Reads all receipts that there are now; those that come later are this process's own. Says what is damaged and goes on. The newest come
    /// first: they are asked for most, and are in memory by then.
    pub async fn read_through(self, store: Arc<dyn Store>) {
        let size = match store.head().await {
            Ok(head) => head.size,
            Err(error) => return tracing::error!(%error, "the log could not be read through"),
        };
        let mut until = size;
        while until > 0 && self.named() < NAMED {
            let from = until.saturating_sub(u64::from(PAGE));
            self.read_part(&*store, from, until).await;
            until = from;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read_part(&self, store: &dyn Store, mut from: u64, until: u64) {
        let mut page = PAGE;
        while from < until && self.named() < NAMED {
            let left = u32::try_from(until - from).unwrap_or(PAGE);
            let entries = match store.entries(from, page.min(left)).await {
                Ok(entries) if !entries.is_empty() => entries,
                // Which one it is shows when each is asked for by itself.
                Err(_) if page > 1 => {
                    page = 1;
                    continue;
                }
                not => {
                    self.found(from, not.err().map_or_else(|| MISSING.to_owned(), |error| error.to_string()));
                    from += 1;
                    Vec::new()
                }
            };
            page = page.saturating_mul(2).min(PAGE);
            for entry in entries {
                if entry.index >= until {
                    return self.found_until(from, until);
                }
                if entry.index != from {
                    self.found(from, MISSING.to_owned());
                }
                from = entry.index + 1;
                if let Err((index, why)) = receipt_log::intact(&entry) {
                    self.found(index, why);
                }
            }
        }
    }

    fn named(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A gap up to the end of the part: with one at the beginning of the part after it, which was read before, it is one gap.
    fn found_until(&self, from: u64, until: u64) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.get(&until).is_some_and(|why| why == MISSING) {
            damaged.remove(&until);
        }
        drop(damaged);
        self.found(from, MISSING.to_owned());
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
