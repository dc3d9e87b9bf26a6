//! The log as c2sp.org/tlog-tiles files.

use receipt_log::StoreError;
use tlog::{TilePath, tiles::encode_entries};

use crate::TreeStore;

/// The newest signed checkpoint. It changes: let it be cached for seconds only.
pub async fn checkpoint(store: &dyn TreeStore) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(store.head().await?.checkpoint.map(String::into_bytes))
}

/// The bytes of a tile or entry bundle; `None` when the log has not grown that far. What is there never changes.
pub async fn tile(store: &dyn TreeStore, path: TilePath) -> Result<Option<Vec<u8>>, StoreError> {
    let id = path.tile();
    let Some((level, nodes)) = id.nodes() else { return Ok(None) };
    let width = u32::from(id.width());
    // A store may be unable to say an index of this size; the log's own size always can be.
    if nodes.end > store.head().await?.size.checked_shr(level.into()).unwrap_or(0) {
        return Ok(None);
    }
    let damaged = |error: tlog::TileError| StoreError::Damaged(error.to_string());
    match path {
        TilePath::Hashes(_) => {
            let hashes = store.level(level, nodes.start, width).await?;
            if hashes.len() < width as usize { Ok(None) } else { id.encode(&hashes).map(Some).map_err(damaged) }
        }
        TilePath::Entries(_) => {
            let entries = store.entries(nodes.start, width).await?;
            if entries.len() < width as usize {
                return Ok(None);
            }
            if entries.iter().zip(nodes).any(|(stored, index)| stored.index != index) {
                return Err(StoreError::Damaged(format!("{path} has a gap")));
            }
            let bodies: Vec<_> = entries.into_iter().map(|stored| stored.body).collect();
            encode_entries(&bodies).map(Some).map_err(damaged)
        }
    }
}
