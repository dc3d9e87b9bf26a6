//! The port `receipt_log::Store`.

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use receipt_log::{Batch, Head, Known, NewEntry, Store, StoreError, StoredCheckpoint, StoredEntry};
use sha2::{Digest as _, Sha256};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};
use tlog::{Hash, NodeId};

use crate::{SqliteStore, error::store_error, fold, writer::WriteGate};

/// Bits of a node's index within its id; a log of 2^55 receipts is beyond any disk.
const NODE_INDEX_BITS: u32 = 56;

/// Rows of one INSERT. Sizes are powers of two down from here, so that few statements are prepared.
const CHUNK: usize = 64;

impl SqliteStore {
    /// The writer, or the refusal of a store that was opened for reading.
    pub(crate) fn gate(&self) -> Result<&WriteGate, StoreError> {
        let read_only = || StoreError::Failed("the store was opened for reading only".to_owned());
        self.inner.writer.as_ref().ok_or_else(read_only)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn head(&self) -> Result<Head, StoreError> {
        let mut connection = self.inner.readers.acquire().await.map_err(store_error)?;
        head(&mut connection).await
    }

    async fn known(&self, keys: &[String]) -> Result<Vec<Option<Known>>, StoreError> {
        let list = serde_json::to_string(keys).map_err(|error| StoreError::Failed(error.to_string()))?;
        let rows = sqlx::query(
            "SELECT j.key AS place, k.idx, k.digest FROM json_each(?1) j JOIN entry_key k ON k.key = j.value",
        )
        .bind(list)
        .fetch_all(&self.inner.lookups)
        .await
        .map_err(store_error)?;
        let mut known = vec![None; keys.len()];
        for row in rows {
            let place: i64 = row.try_get(0).map_err(store_error)?;
            let digest: Vec<u8> = row.try_get(2).map_err(store_error)?;
            let digest = digest.try_into().map_err(|_| damaged("a key's digest has another length"))?;
            let slot = usize::try_from(place).ok().and_then(|place| known.get_mut(place));
            *slot.ok_or_else(|| damaged("a key was found out of place"))? =
                Some(Known { index: index(&row, 1)?, digest });
        }
        Ok(known)
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let bytes = batch.entries.iter().map(|entry| entry.entry.len() + 256).sum();
        self.gate()?.write(bytes, |connection| Box::pin(write_batch(connection, batch))).await
    }

    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT e.idx, e.bytes, n.hash FROM entry e LEFT JOIN node n ON n.id = e.idx WHERE e.idx >= ?1 ORDER BY e.idx LIMIT ?2",
        )
        .bind(signed(from)?)
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(store_error)?;
        rows.iter().map(stored_entry).collect()
    }

    async fn of_release(&self, release: &ReleaseId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let mut connection = self.inner.readers.acquire().await.map_err(store_error)?;
        of_release(&mut connection, release, from, limit).await
    }

    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError> {
        let ids = ids.iter().map(|id| node_id(*id)).collect::<Result<Vec<i64>, _>>()?;
        let list = serde_json::to_string(&ids).map_err(|error| StoreError::Failed(error.to_string()))?;
        let rows = sqlx::query("SELECT n.hash FROM json_each(?1) j LEFT JOIN node n ON n.id = j.value ORDER BY j.key")
            .bind(list)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(store_error)?;
        if rows.len() != ids.len() {
            return Err(damaged("nodes of the tree are missing"));
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
        let rows = sqlx::query("SELECT hash, id FROM node WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
            .bind(from)
            .bind(to)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(store_error)?;
        let mut hashes = Vec::with_capacity(rows.len());
        for (row, expected) in rows.iter().zip(from..) {
            if row.try_get::<i64, _>(1).map_err(store_error)? != expected {
                return Err(damaged("a node of the tree is missing"));
            }
            hashes.push(hash(row, 0)?);
        }
        Ok(hashes)
    }

    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let rows = sqlx::query("SELECT size, note FROM checkpoint WHERE size >= ?1 ORDER BY size LIMIT ?2")
            .bind(signed(from)?)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(store_error)?;
        let checkpoint =
            |row: &SqliteRow| Ok(StoredCheckpoint { size: index(row, 0)?, note: row.try_get(1).map_err(store_error)? });
        rows.iter().map(checkpoint).collect()
    }

    async fn put_segment(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let (digest, bytes) = (digest.clone(), bytes.to_vec());
        let write = self.gate()?.write(bytes.len(), move |connection| {
            Box::pin(async move {
                // The same digest is the same bytes; damaged ones are replaced by good ones.
                sqlx::query(
                    "INSERT INTO segment (digest, bytes) VALUES (?1, ?2)
                     ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
                )
                .bind(String::from(digest))
                .bind(bytes)
                .execute(connection)
                .await
                .map_err(store_error)?;
                Ok(())
            })
        });
        write.await
    }

    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytes FROM segment WHERE digest = ?1")
            .bind(digest.as_str())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(store_error)?;
        match found {
            Some(bytes) if Digest::from_sha256(&Sha256::digest(&bytes).into()) != *digest => {
                Err(damaged(format!("segment {digest} holds other bytes")))
            }
            found => Ok(found),
        }
    }
}

pub(crate) async fn head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT count FROM (SELECT max(idx) + 1 AS count FROM entry)), (SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1)",
    )
    .fetch_one(connection)
    .await
    .map_err(store_error)?;
    let size: Option<i64> = row.try_get(0).map_err(store_error)?;
    let size = u64::try_from(size.unwrap_or(0)).map_err(|_| damaged("a negative index"))?;
    Ok(Head { size, checkpoint: row.try_get(1).map_err(store_error)? })
}

pub(crate) async fn of_release(
    connection: &mut SqliteConnection,
    release: &ReleaseId,
    from: u64,
    limit: u32,
) -> Result<Vec<StoredEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.idx, e.bytes, n.hash FROM p_receipt r JOIN entry e ON e.idx = r.idx LEFT JOIN node n ON n.id = e.idx
         WHERE r.release = ?1 AND r.idx >= ?2 ORDER BY r.idx LIMIT ?3",
    )
    .bind(release.as_str())
    .bind(signed(from)?)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    rows.iter().map(stored_entry).collect()
}

async fn write_batch(connection: &mut SqliteConnection, batch: Batch) -> Result<(), StoreError> {
    let found = head(connection).await?;
    if found != batch.expected {
        return Err(StoreError::Conflict { expected: batch.expected.size, found: found.size });
    }
    insert(connection, "INSERT INTO entry (idx, bytes) ", &batch.entries, |mut row, entry: &NewEntry| {
        row.push_bind(entry.index as i64).push_bind(entry.entry.to_vec());
    })
    .await?;
    insert(connection, "INSERT INTO entry_key (key, idx, digest) ", &batch.entries, |mut row, entry: &NewEntry| {
        row.push_bind(entry.key.clone()).push_bind(entry.index as i64).push_bind(entry.digest.to_vec());
    })
    .await?;
    let leaves = batch.entries.iter().map(|entry| (NodeId { level: 0, index: entry.index }, entry.leaf));
    let nodes = leaves.chain(batch.nodes).map(|(id, hash)| Ok((node_id(id)?, hash)));
    let nodes = nodes.collect::<Result<Vec<_>, StoreError>>()?;
    insert(connection, "INSERT INTO node (id, hash) ", &nodes, |mut row, (id, hash)| {
        row.push_bind(*id).push_bind(hash.0.to_vec());
    })
    .await?;
    let size = batch.expected.size + batch.entries.len() as u64;
    sqlx::query("INSERT INTO checkpoint (size, note) VALUES (?1, ?2)")
        .bind(signed(size)?)
        .bind(batch.checkpoint)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let receipts = batch.entries.into_iter().map(|e| projections::Receipt { index: e.index, payload: e.payload });
    fold::fold(connection, receipts.collect()).await
}

/// Inserts all rows with as few statements as fixed chunk sizes allow.
pub(crate) async fn insert<T: Sync>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    mut rows: &[T],
    bind: impl Fn(sqlx::query_builder::Separated<'_, Sqlite, &'static str>, &T),
) -> Result<(), StoreError> {
    let mut size = CHUNK;
    while !rows.is_empty() {
        while size > rows.len() {
            size /= 2;
        }
        let Some((chunk, rest)) = rows.split_at_checked(size) else { break };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(sql);
        query.push_values(chunk, &bind);
        query.build().execute(&mut *connection).await.map_err(store_error)?;
        rows = rest;
    }
    Ok(())
}

pub(crate) fn stored_entry(row: &SqliteRow) -> Result<StoredEntry, StoreError> {
    let index = index(row, 0)?;
    let bytes: Vec<u8> = row.try_get(1).map_err(store_error)?;
    let leaf = hash(row, 2).map_err(|_| damaged(format!("the leaf hash of receipt {index} is missing")))?;
    Ok(StoredEntry { index, entry: bytes.into(), leaf })
}

pub(crate) fn hash(row: &SqliteRow, column: usize) -> Result<Hash, StoreError> {
    let bytes: Option<Vec<u8>> = row.try_get(column).map_err(store_error)?;
    let bytes = bytes.ok_or_else(|| damaged("a node of the tree is missing"))?;
    Hash::from_slice(&bytes).map_err(damaged)
}

pub(crate) fn index(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    let index: i64 = row.try_get(column).map_err(store_error)?;
    u64::try_from(index).map_err(|_| damaged("a negative index"))
}

/// SQLite's integers are signed; no log reaches 2^63.
pub(crate) fn signed(index: u64) -> Result<i64, StoreError> {
    i64::try_from(index).map_err(|_| StoreError::Failed(format!("{index} is beyond every log")))
}

pub(crate) fn node_id(id: NodeId) -> Result<i64, StoreError> {
    // Levels from 64 on would overflow the id's bits: 2^63 / 2^56 = 128 levels fit.
    if id.index >= 1 << (NODE_INDEX_BITS - 1) || id.level >= 64 {
        return Err(StoreError::Failed(format!("{id:?} is beyond every log")));
    }
    Ok(i64::from(id.level) << NODE_INDEX_BITS | id.index as i64)
}

pub(crate) fn damaged(why: impl ToString) -> StoreError {
    StoreError::Damaged(why.to_string())
}
