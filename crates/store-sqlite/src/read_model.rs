//! The port `projections::ReadModel`.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Digest, ReleaseId, Tick, Timestamp};
use projections::{
    Overview, RECENT, ReadError, ReadModel, Receipt, ReceiptFilter, ReceiptProof, ReleaseFilter, ReleaseList,
    ReleaseRow, ReleaseView, StoreSize, thin,
};
use receipt_log::{StoreError, proofs};
use receipts::Payload;
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use crate::{
    SqliteStore,
    error::store_error,
    lists::{RECEIPT_COLUMNS, RECEIPT_TABLES, receipts_query, release_row},
    log_store::{index, signed, stored_entry},
};

/// Releases in flight that the overview shows: each service has at most one, and a screen holds fewer.
const MAX_IN_FLIGHT: i64 = 200;
/// Receipts of one release that its page shows; see `receipt_log`'s limit for one release.
const MAX_OF_RELEASE: i64 = 30_000;
/// Ticks read for one answer before thinning: a day of seconds, with room.
const MAX_TICKS: usize = 100_000;
/// Points of one answer: more than any screen has pixels.
const MAX_POINTS: usize = 10_000;

#[async_trait]
impl ReadModel for SqliteStore {
    async fn overview(&self) -> Result<Overview, ReadError> {
        // One statement is one snapshot: rows and index belong together.
        let rows = QueryBuilder::<Sqlite>::new(format!(
            "SELECT next, NULL FROM p_cursor
             UNION ALL SELECT * FROM (SELECT NULL, row FROM p_release WHERE state = 'in-flight' ORDER BY started DESC, id DESC LIMIT {MAX_IN_FLIGHT})
             UNION ALL SELECT * FROM (SELECT NULL, row FROM p_release WHERE state <> 'in-flight' ORDER BY started DESC, id DESC LIMIT {RECENT})",
        ))
        .build()
        .fetch_all(&self.inner.readers)
        .await
        .map_err(store)?;
        let mut as_of = None;
        let mut releases = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.try_get::<Option<String>, _>(1).map_err(store)? {
                Some(json) => releases.push(release_row(&json)?),
                None => as_of = index(row, 0).map_err(failed)?.checked_sub(1),
            }
        }
        Ok(Overview::assemble(releases, as_of))
    }

    async fn size(&self) -> Result<StoreSize, ReadError> {
        self.stored().await
    }

    async fn rollouts(&self, since: Timestamp) -> Result<Arc<Vec<dora::Rollout>>, ReadError> {
        self.ended_since(since).await
    }

    async fn release_list(&self, filter: ReleaseFilter) -> Result<ReleaseList, ReadError> {
        self.list_with_number(&filter).await
    }

    async fn releases(&self, filter: ReleaseFilter) -> Result<Vec<ReleaseRow>, ReadError> {
        self.list_releases(&filter).await
    }

    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseView>, ReadError> {
        // One statement is one snapshot: receipts and cursor belong together.
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(RECEIPT_COLUMNS);
        query.push(", (SELECT next FROM p_cursor)").push(RECEIPT_TABLES);
        query.push(" AND r.release = ").push_bind(id.as_str().to_owned());
        query.push(format!(" ORDER BY r.idx LIMIT {MAX_OF_RELEASE}"));
        let rows = query.build().fetch_all(&self.inner.readers).await.map_err(store)?;
        let Some(last) = rows.last() else { return Ok(None) };
        let next = index(last, 7).map_err(failed)?;
        let receipts = rows.iter().map(receipt).collect::<Result<Vec<_>, _>>()?;
        let Some(mut view) = ReleaseView::of(receipts) else { return Ok(None) };
        // Everything before the cursor was read, also what is not of this release.
        view.as_of = view.as_of.max(next.saturating_sub(1));
        Ok(Some(view))
    }

    async fn receipts(&self, filter: ReceiptFilter) -> Result<Vec<Receipt>, ReadError> {
        let rows = receipts_query(&filter).build().fetch_all(&self.inner.readers).await.map_err(store)?;
        rows.iter().map(receipt).collect()
    }

    async fn receipt(&self, index: u64) -> Result<Option<ReceiptProof>, ReadError> {
        if signed(index).is_err() {
            return Ok(None);
        }
        let Some(parts) = proofs::receipt(self, index).await.map_err(failed)? else { return Ok(None) };
        Ok(Some(ReceiptProof {
            index,
            entry: STANDARD.encode(&parts.entry),
            inclusion: parts.inclusion.iter().map(tlog::Hash::to_base64).collect(),
            checkpoint: parts.checkpoint.to_string(),
            tlog_proof: parts.to_tlog_proof(),
        }))
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<String>>, ReadError> {
        let proof = proofs::consistency(self, old, new).await.map_err(failed)?;
        Ok(proof.map(|proof| proof.iter().map(tlog::Hash::to_base64).collect()))
    }

    async fn ticks(
        &self,
        release: &ReleaseId,
        from: Timestamp,
        to: Timestamp,
        max: u32,
    ) -> Result<Vec<Tick>, ReadError> {
        let ticks = self.ticks_between(release, from, to, MAX_TICKS, false).await.map_err(failed)?;
        Ok(thin(ticks, (max as usize).min(MAX_POINTS)))
    }

    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        receipt_log::Store::segment(self, digest).await.map_err(failed)
    }
}

/// A receipt as lists show it. One whose bytes are damaged is listed by what the index table says of it, and says so: a
/// single bad byte must not hide the receipts around it. Its own page shows what does not verify.
fn receipt(row: &SqliteRow) -> Result<Receipt, ReadError> {
    let at = index(row, 0).map_err(failed)?;
    let read = stored_entry(row).map_err(|error| error.to_string());
    let read = read.and_then(|stored| receipt_log::read(stored).map_err(|(_, why)| why));
    match read {
        Ok(logged) => Ok(Receipt { index: at, payload: logged.payload }),
        Err(why) => Ok(Receipt { index: at, payload: placeholder(row, &why)? }),
    }
}

fn placeholder(row: &SqliteRow, why: &str) -> Result<Payload, ReadError> {
    let text = |column| row.try_get::<String, _>(column).map_err(store);
    let release: Option<String> = row.try_get(6).map_err(store)?;
    let unreadable = |error: model::ParseError| ReadError::Damaged(error.to_string());
    Ok(Payload {
        kind: text(3)?.parse().map_err(unreadable)?,
        actor: text(4)?.parse().map_err(unreadable)?,
        time: Timestamp::from_millis(row.try_get(5).map_err(store)?),
        release: release.map(|release| release.parse().map_err(unreadable)).transpose()?,
        cite: Vec::new(),
        joules: None,
        energy: None,
        facts: Map::from_iter([("damaged".to_owned(), Value::String(why.to_owned()))]),
    })
}

pub(crate) fn store(error: sqlx::Error) -> ReadError {
    failed(store_error(error))
}

pub(crate) fn failed(error: StoreError) -> ReadError {
    match error {
        StoreError::Damaged(why) => ReadError::Damaged(why),
        other => ReadError::Store(other.to_string()),
    }
}
