//! Proofs from stored nodes: a handful of reads each, whatever the log's size.

use receipts::ReceiptParts;
use tlog::{Checkpoint, Hash, ProofPlan, SignedNote};

use crate::{Store, StoreError};

/// The newest checkpoint, parsed; `None` for a log that has none yet.
pub async fn checkpoint(store: &dyn Store) -> Result<Option<(SignedNote, Checkpoint)>, StoreError> {
    let Some(text) = store.head().await?.checkpoint else { return Ok(None) };
    let note = SignedNote::parse(text.as_bytes()).map_err(damaged)?;
    let checkpoint = note.text().parse().map_err(damaged)?;
    Ok(Some((note, checkpoint)))
}

/// The inclusion proof of a receipt in the tree of `size` receipts; `None` when that tree does not have it.
pub async fn inclusion(store: &dyn Store, index: u64, size: u64) -> Result<Option<Vec<Hash>>, StoreError> {
    let Ok(plan) = ProofPlan::inclusion(index, size) else { return Ok(None) };
    carry_out(store, plan).await.map(Some)
}

/// The consistency proof between two tree sizes; `None` when there is none: the older is empty or larger than the newer,
/// or the newer is beyond the log.
pub async fn consistency(store: &dyn Store, old: u64, new: u64) -> Result<Option<Vec<Hash>>, StoreError> {
    if new > store.head().await?.size {
        return Ok(None);
    }
    let Ok(plan) = ProofPlan::consistency(old, new) else { return Ok(None) };
    carry_out(store, plan).await.map(Some)
}

/// A receipt with its proof against the newest checkpoint; `None` when the log does not have it.
pub async fn receipt(store: &dyn Store, index: u64) -> Result<Option<ReceiptParts>, StoreError> {
    let Some((note, head)) = checkpoint(store).await? else { return Ok(None) };
    let Some(proof) = inclusion(store, index, head.size).await? else { return Ok(None) };
    let stored = store.entries(index, 1).await?.into_iter().next().filter(|stored| stored.index == index);
    let stored = stored.ok_or_else(|| StoreError::Damaged(format!("receipt {index} is missing")))?;
    // The bytes as they are stored, also when they are damaged: who verifies shall see it.
    Ok(Some(ReceiptParts { index, entry: stored.entry.to_vec(), inclusion: proof, checkpoint: note }))
}

async fn carry_out(store: &dyn Store, plan: ProofPlan) -> Result<Vec<Hash>, StoreError> {
    let hashes = store.nodes(plan.nodes()).await?;
    plan.assemble(&hashes).map_err(damaged)
}

fn damaged(error: impl ToString) -> StoreError {
    StoreError::Damaged(error.to_string())
}
