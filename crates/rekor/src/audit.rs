//! The whole log recomputed: its tree from its entries, its checkpoint's signature, and the receipt of each entry.

use model::event::SignatureLogged;
use receipt_log::{Store, StoreError};
use serde::Serialize;
use tlog::{Checkpoint, Frontier, SignedNote, VerifyingKey, leaf_hash};

use crate::{TreeStore, note};

/// Entries read at once: some 500 kB.
const PAGE: u32 = 256;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether all of it holds.
    pub holds: bool,
    /// Entries.
    pub entries: u64,
    /// The log's name.
    pub origin: String,
    /// The first thing that does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Recomputes the log; `receipts` is the store of the main log. An error means that it could not be read.
pub async fn audit(tree: &dyn TreeStore, vkey: &VerifyingKey, receipts: &dyn Store) -> Result<Audit, StoreError> {
    let size = tree.head().await?.size;
    let reason = wrong(tree, vkey, receipts).await?;
    Ok(Audit { holds: reason.is_none(), entries: size, origin: vkey.name().to_owned(), reason })
}

async fn wrong(tree: &dyn TreeStore, vkey: &VerifyingKey, receipts: &dyn Store) -> Result<Option<String>, StoreError> {
    let head = tree.head().await?;
    let Some(text) = head.checkpoint else { return Ok(Some("it has no checkpoint".to_owned())) };
    let checkpoint = match opened(&text, vkey) {
        Ok(checkpoint) => checkpoint,
        Err(why) => return Ok(Some(format!("its checkpoint is refused: {why}"))),
    };
    let mut frontier = Frontier::new();
    while frontier.size() < checkpoint.size {
        let page = tree.entries(frontier.size(), PAGE).await?;
        if page.is_empty() {
            return Ok(Some(format!("entry {} is missing", frontier.size())));
        }
        let keys: Vec<String> = page.iter().map(|entry| note::key(entry.index)).collect();
        let known = receipts.known(&keys).await?;
        for (entry, known) in page.iter().zip(known) {
            let index = entry.index;
            let leaf = leaf_hash(&entry.body);
            if index != frontier.size() || leaf != entry.leaf {
                return Ok(Some(format!("entry {index} is not what was hashed into the tree")));
            }
            frontier.push(leaf);
            let Some(known) = known else { return Ok(Some(format!("no receipt notes entry {index}"))) };
            let stored = receipts.entries(known.index, 1).await?.into_iter().next();
            let facts = stored
                .and_then(|stored| receipt_log::read(stored).ok())
                .and_then(|receipt| receipt.payload.facts::<SignatureLogged>().ok());
            if facts.is_none_or(|facts| facts.leaf != hex::encode(leaf.0) || facts.index != index) {
                return Ok(Some(format!("receipt {} notes another entry {index}", known.index)));
            }
            if frontier.size() == checkpoint.size {
                break;
            }
        }
    }
    if frontier.root() != checkpoint.root {
        return Ok(Some("its entries have another root than its checkpoint".to_owned()));
    }
    Ok(None)
}

fn opened(text: &str, vkey: &VerifyingKey) -> Result<Checkpoint, String> {
    let note = SignedNote::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    Checkpoint::open(&note, vkey.name(), std::slice::from_ref(vkey)).map_err(|error| error.to_string())?;
    note.text().parse().map_err(|error: tlog::CheckpointError| error.to_string())
}
