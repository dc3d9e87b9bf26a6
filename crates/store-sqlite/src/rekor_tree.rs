//! The port `rekor::TreeStore`, in the same file as the receipts.

use async_trait::async_trait;
use model::Timestamp;
use receipt_log::StoreError;
use rekor::{Batch, Entry, Head, TreeStore};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use tlog::{Hash, NodeId};

use crate::{
    SqliteStore,
    error::store_error,
    log_store::{damaged, hash, index, insert, node_id, signed},
};

/// The log of signatures in a store.
#[derive(Clone)]
pub struct RekorTree(SqliteStore);

impl SqliteStore {
    /// The log of signatures in this store.
    pub fn rekor(&self) -> RekorTree {
        RekorTree(self.clone())
    }
}

#[async_trait]
impl TreeStore for RekorTree {
    async fn head(&self) -> Result<Head, StoreError> {
        let mut connection = self.0.inner.readers.acquire().await.map_err(store_error)?;
        head(&mut connection).await
    }

    async fn find(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        let found = sqlx::query("SELECT idx FROM rekor_entry WHERE leaf = ?1")
            .bind(leaf.0.to_vec())
            .fetch_optional(&self.0.inner.readers)
            .await
            .map_err(store_error)?;
        found.map(|row| index(&row, 0)).transpose()
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let bytes = batch.entries.iter().map(|entry| entry.body.len() + 256).sum();
        self.0.gate()?.write(bytes, |connection| Box::pin(write_batch(connection, batch))).await
    }

    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query("SELECT idx, leaf, body, by, at FROM rekor_entry WHERE idx >= ?1 ORDER BY idx LIMIT ?2")
            .bind(signed(from)?)
            .bind(limit)
            .fetch_all(&self.0.inner.readers)
            .await
            .map_err(store_error)?;
        rows.iter().map(entry).collect()
    }

    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError> {
        let keys = ids.iter().map(|id| node_id(*id)).collect::<Result<Vec<i64>, _>>()?;
        let list = serde_json::to_string(&keys).map_err(|error| StoreError::Failed(error.to_string()))?;
        // Level 0 has the ids of the entries, the others begin at 2^56.
        let rows = sqlx::query(
            "SELECT coalesce(n.hash, e.leaf) FROM json_each(?1) j
             LEFT JOIN rekor_node n ON n.id = j.value LEFT JOIN rekor_entry e ON e.idx = j.value ORDER BY j.key",
        )
        .bind(list)
        .fetch_all(&self.0.inner.readers)
        .await
        .map_err(store_error)?;
        if rows.len() != ids.len() {
            return Err(damaged("nodes of the signature log's tree are missing"));
        }
        rows.iter().map(|row| hash(row, 0)).collect()
    }

    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError> {
        let Some(last) = first.checked_add(count.into()).and_then(|end| end.checked_sub(1)) else {
            return Ok(Vec::new());
        };
        let (Ok(from), Ok(to)) = (node_id(NodeId { level, index: first }), node_id(NodeId { level, index: last }))
        else {
            return Ok(Vec::new());
        };
        let sql = if level == 0 {
            "SELECT leaf, idx FROM rekor_entry WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx"
        } else {
            "SELECT hash, id FROM rekor_node WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        };
        let rows = sqlx::query(sql).bind(from).bind(to).fetch_all(&self.0.inner.readers).await.map_err(store_error)?;
        let mut hashes = Vec::with_capacity(rows.len());
        for (row, expected) in rows.iter().zip(from..) {
            if row.try_get::<i64, _>(1).map_err(store_error)? != expected {
                return Err(damaged("a node of the signature log's tree is missing"));
            }
            hashes.push(hash(row, 0)?);
        }
        Ok(hashes)
    }
}

async fn head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT size, note, begun FROM rekor_head").fetch_optional(connection).await;
    let Some(row) = row.map_err(store_error)? else { return Ok(Head::default()) };
    let begun: i64 = row.try_get(2).map_err(store_error)?;
    Ok(Head {
        size: index(&row, 0)?,
        checkpoint: Some(row.try_get(1).map_err(store_error)?),
        begun: Some(Timestamp::from_millis(begun)),
    })
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let body: Vec<u8> = row.try_get(2).map_err(store_error)?;
    let by: String = row.try_get(3).map_err(store_error)?;
    let at: i64 = row.try_get(4).map_err(store_error)?;
    Ok(Entry {
        index: index(row, 0)?,
        leaf: hash(row, 1)?,
        body: body.into(),
        by: by.parse().map_err(|_| damaged("an entry of the signature log names nobody"))?,
        at: Timestamp::from_millis(at),
    })
}

async fn write_batch(connection: &mut SqliteConnection, batch: Batch) -> Result<(), StoreError> {
    let found = head(connection).await?;
    if found != batch.expected {
        return Err(StoreError::Conflict { expected: batch.expected.size, found: found.size });
    }
    let sql = "INSERT INTO rekor_entry (idx, leaf, body, by, at) ";
    insert(connection, sql, &batch.entries, |mut row, entry: &Entry| {
        row.push_bind(entry.index as i64)
            .push_bind(entry.leaf.0.to_vec())
            .push_bind(entry.body.to_vec())
            .push_bind(entry.by.to_string())
            .push_bind(entry.at.as_millis());
    })
    .await?;
    let nodes = batch.nodes.into_iter().map(|(id, hash)| Ok((node_id(id)?, hash)));
    let nodes = nodes.collect::<Result<Vec<_>, StoreError>>()?;
    insert(connection, "INSERT INTO rekor_node (id, hash) ", &nodes, |mut row, (id, hash)| {
        row.push_bind(*id).push_bind(hash.0.to_vec());
    })
    .await?;
    let begun = batch.begun.or(found.begun).ok_or_else(|| damaged("the signature log was not begun"))?;
    sqlx::query(
        "INSERT INTO rekor_head (one, size, note, begun) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (one) DO UPDATE SET size = excluded.size, note = excluded.note",
    )
    .bind(signed(found.size + batch.entries.len() as u64)?)
    .bind(batch.checkpoint)
    .bind(begun.as_millis())
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}
