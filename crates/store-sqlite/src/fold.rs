//! The fold of the log into the `p_…` tables, in the transaction that appends.

use std::collections::BTreeMap;

use dora::Rollout;
use model::{
    Digest, Kind, ReleaseId,
    event::{CanaryCompleted, Outcome},
};
use projections::{Phase, Receipt, ReleaseRow, SortBy};
use receipt_log::{Store as _, StoreError};
use sqlx::SqliteConnection;

use crate::{
    SqliteStore,
    error::store_error,
    log_store::{damaged, index, insert, of_release, signed, stored_entry},
};

/// Version of the fold: another one stored means that the projections are folded again at opening.
const FOLD: i64 = 5;

/// Receipts folded at once by a rebuild: about 1 MB.
const PAGE: u32 = 512;

/// Receipts of a release before its canary starts: gates, attestations, commands. A page of them holds any real release.
const BEFORE_START: u32 = 1000;

impl SqliteStore {
    /// Drops the projections and folds the whole log again, in one transaction. The outcome is the same, byte for byte.
    pub async fn rebuild(&self) -> Result<(), StoreError> {
        self.gate()?.write(0, |connection| Box::pin(rebuild(connection))).await
    }

    /// At opening: folds again when the fold has changed, or what is stored by it cannot be read any more.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let size = self.head().await?.size;
        let row =
            sqlx::query("SELECT next, fold FROM p_cursor").fetch_one(&self.inner.readers).await.map_err(store_error)?;
        let fresh = index(&row, 0)? == size && index(&row, 1)? == FOLD as u64;
        let newest: Option<String> =
            sqlx::query_scalar("SELECT row FROM p_release ORDER BY started DESC, id DESC LIMIT 1")
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(store_error)?;
        let readable = newest.is_none_or(|row| serde_json::from_str::<ReleaseRow>(&row).is_ok());
        if fresh && readable {
            return Ok(());
        }
        tracing::info!(receipts = size, "the projections are folded again from the log");
        self.rebuild().await
    }
}

/// Folds the next receipts, which begin at the cursor.
pub(crate) async fn fold(connection: &mut SqliteConnection, receipts: Vec<Receipt>) -> Result<(), StoreError> {
    let Some(next) = receipts.last().map(|receipt| receipt.index + 1) else { return Ok(()) };
    insert(
        connection,
        "INSERT INTO p_receipt (idx, kind, actor, time, release) ",
        &receipts,
        |mut row, Receipt { index, payload }| {
            row.push_bind(*index as i64)
                .push_bind(payload.kind.as_str())
                .push_bind(payload.actor.as_str().to_owned())
                .push_bind(payload.time.as_millis())
                .push_bind(payload.release.as_ref().map(|release| release.as_str().to_owned()));
        },
    )
    .await?;
    let subjects: Vec<(u64, Digest)> =
        receipts.iter().flat_map(|r| r.subjects().into_iter().map(|subject| (r.index, subject))).collect();
    insert(connection, "INSERT INTO p_subject (subject, idx) ", &subjects, |mut row, (index, subject)| {
        row.push_bind(subject.as_str().to_owned()).push_bind(*index as i64);
    })
    .await?;
    let mut rows: BTreeMap<ReleaseId, Folded> = BTreeMap::new();
    let (mut rollouts, mut started) = (Vec::new(), Vec::new());
    for receipt in &receipts {
        let Some(release) = &receipt.payload.release else { continue };
        if !rows.contains_key(release) {
            let row = stored_row(connection, release).await?;
            rows.insert(release.clone(), Folded { words: row.as_ref().map(words), row });
        }
        let Some(Folded { row, .. }) = rows.get_mut(release) else { continue };
        match row {
            Some(row) => row.fold(receipt),
            None if receipt.payload.kind == Kind::CanaryStarted => {
                *row = ReleaseRow::of(&up_to(connection, release, receipt).await?);
                started.extend(row.as_ref().map(|row| row.id.clone()));
            }
            None => {}
        }
        rollouts.extend(row.as_ref().and_then(|row| rollout(row, receipt)));
    }
    // New rows in the order in which they began, so that they get the same numbers however the log is cut into batches.
    let new: Vec<Folded> = started.iter().filter_map(|release| rows.remove(release)).collect();
    for Folded { words: before, row } in new.into_iter().chain(rows.into_values()) {
        let Some(row) = row else { continue };
        put_row(connection, &row, before.as_deref()).await?;
    }
    insert(
        connection,
        "INSERT INTO p_rollout (idx, release, service, environment, version, ended, outcome, restore_ms) ",
        &rollouts,
        |mut row, rollout: &Rollout| {
            row.push_bind(rollout.receipt as i64)
                .push_bind(String::from(rollout.release.clone()))
                .push_bind(String::from(rollout.service.clone()))
                .push_bind(String::from(rollout.environment.clone()))
                .push_bind(String::from(rollout.version.clone()))
                .push_bind(rollout.ended.as_millis())
                .push_bind(outcome(rollout.outcome))
                .push_bind(rollout.restore_ms);
        },
    )
    .await?;
    sqlx::query("UPDATE p_cursor SET next = ?1, fold = ?2")
        .bind(signed(next)?)
        .bind(FOLD)
        .execute(connection)
        .await
        .map_err(store_error)?;
    Ok(())
}

/// A release's row while receipts are folded into it, with the words that are stored of it.
struct Folded {
    words: Option<String>,
    row: Option<ReleaseRow>,
}

/// What people search a release by.
fn words(row: &ReleaseRow) -> String {
    let worst = row.worst.as_deref().unwrap_or_default();
    format!("{} {} {} {} {} {worst}", row.id, row.service, row.version, row.environment, row.actor)
}

/// The end of a rollout, if this receipt states one.
fn rollout(row: &ReleaseRow, receipt: &Receipt) -> Option<Rollout> {
    if receipt.payload.kind != Kind::CanaryCompleted {
        return None;
    }
    let completed: CanaryCompleted = receipt.payload.facts().ok()?;
    Some(Rollout {
        receipt: receipt.index,
        release: row.id.clone(),
        service: row.service.clone(),
        environment: row.environment.clone(),
        version: row.version.clone(),
        ended: receipt.payload.time,
        outcome: completed.outcome,
        restore_ms: completed.rto_ms,
    })
}

async fn rebuild(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM p_receipt",
        "DELETE FROM p_release",
        "DELETE FROM p_release_text",
        "DELETE FROM p_rollout",
        "DELETE FROM p_subject",
    ] {
        sqlx::query(sql).execute(&mut *connection).await.map_err(store_error)?;
    }
    sqlx::query("UPDATE p_cursor SET next = 0, fold = ?1")
        .bind(FOLD)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let mut from = 0;
    loop {
        let rows = sqlx::query(
            "SELECT e.idx, e.bytes, n.hash FROM entry e LEFT JOIN node n ON n.id = e.idx WHERE e.idx >= ?1 ORDER BY e.idx LIMIT ?2",
        )
        .bind(signed(from)?)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await
        .map_err(store_error)?;
        let mut receipts = Vec::with_capacity(rows.len());
        for row in &rows {
            receipts.push(receipt(stored_entry(row)?)?);
        }
        let Some(last) = receipts.last() else { return Ok(()) };
        from = last.index + 1;
        fold(connection, receipts).await?;
    }
}

/// The release's receipts until this one, which the index table has already.
async fn up_to(
    connection: &mut SqliteConnection,
    release: &ReleaseId,
    last: &Receipt,
) -> Result<Vec<Receipt>, StoreError> {
    let stored = of_release(connection, release, 0, BEFORE_START).await?;
    let before = stored.into_iter().take_while(|stored| stored.index < last.index);
    let mut receipts = before.map(receipt).collect::<Result<Vec<_>, _>>()?;
    receipts.push(last.clone());
    Ok(receipts)
}

fn receipt(stored: receipt_log::StoredEntry) -> Result<Receipt, StoreError> {
    let logged = receipt_log::read(stored).map_err(|(index, why)| damaged(format!("receipt {index}: {why}")))?;
    Ok(Receipt { index: logged.index, payload: logged.payload })
}

async fn stored_row(connection: &mut SqliteConnection, release: &ReleaseId) -> Result<Option<ReleaseRow>, StoreError> {
    let row: Option<String> = sqlx::query_scalar("SELECT row FROM p_release WHERE id = ?1")
        .bind(release.as_str())
        .fetch_optional(connection)
        .await
        .map_err(store_error)?;
    row.map(|row| serde_json::from_str(&row).map_err(|e| damaged(format!("the row of {release}: {e}")))).transpose()
}

/// `before` are the words that are stored of it: most receipts change none, and the text index is the dearest of all to write.
async fn put_row(connection: &mut SqliteConnection, row: &ReleaseRow, before: Option<&str>) -> Result<(), StoreError> {
    let json = serde_json::to_string(row).map_err(|error| StoreError::Failed(error.to_string()))?;
    let seq: i64 = sqlx::query_scalar(
        "INSERT INTO p_release (id, service, environment, actor, digest, state, started, took, exposed, joules, row)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (id) DO UPDATE SET service = ?2, environment = ?3, actor = ?4, digest = ?5, state = ?6, started = ?7, took = ?8,
         exposed = ?9, joules = ?10, row = ?11
         RETURNING seq",
    )
    .bind(row.id.as_str())
    .bind(row.service.as_str())
    .bind(row.environment.as_str())
    .bind(row.actor.as_str())
    .bind(row.digest.as_str())
    .bind(state(&row.phase))
    .bind(row.started.as_millis())
    .bind(SortBy::Took.value(row) as i64)
    .bind(i64::try_from(row.exposed).unwrap_or(i64::MAX))
    .bind(row.joules.joules)
    .bind(json)
    .fetch_one(&mut *connection)
    .await
    .map_err(store_error)?;
    let words = words(row);
    if before == Some(words.as_str()) {
        return Ok(());
    }
    sqlx::query("INSERT OR REPLACE INTO p_release_text (rowid, words) VALUES (?1, ?2)")
        .bind(seq)
        .bind(words)
        .execute(connection)
        .await
        .map_err(store_error)?;
    Ok(())
}

/// An outcome as it is stored.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Promoted => "promoted",
        Outcome::Aborted => "aborted",
        Outcome::RolledBack => "rolled-back",
    }
}

/// The word by which lists are filtered.
fn state(phase: &Phase) -> &'static str {
    match phase {
        Phase::Progressing | Phase::Paused { .. } | Phase::Aborting => "in-flight",
        Phase::Ended(ended) => outcome(*ended),
    }
}
