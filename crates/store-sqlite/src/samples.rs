//! The port `controller::SampleStore`: ticks and measurements.
//!
//! Ticks come one a second and release and are written some seconds' worth at a time, so that they cost the log a commit
//! every [`FLUSH_EVERY`] at most. A reader sees those in the buffer too; a crash loses at most the buffer, which is what
//! the port promises.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use controller::{Measurement, SampleError, SampleStore};
use model::{ReleaseId, Tick, Timestamp};
use receipt_log::StoreError;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use crate::{
    SqliteStore,
    error::store_error,
    log_store::damaged,
    open::Inner,
    tick_codec::{decode, encode},
};

/// How long a tick may wait in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// Ticks of one row: what two seconds bring of a release, or a late batch. A reader decodes whole rows.
const BLOCK: usize = 64;

/// Ticks that may wait, over all releases: some 10 MB. Reached only when writes fail; then new ones are refused.
const MAX_BUFFERED: usize = 5_000;

/// Measurements of a release: a week with one a second would have 600,000, a usual release has some hundreds.
const MAX_MEASUREMENTS: i64 = 100_000;

/// Ticks that are not written yet.
#[derive(Default)]
pub(crate) struct TickBuffer {
    waiting: Mutex<BTreeMap<ReleaseId, Vec<Tick>>>,
    /// Held while they are written: two at once would write them twice.
    flushing: tokio::sync::Mutex<()>,
}

impl TickBuffer {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReleaseId, Vec<Tick>>> {
        // Every change is one insertion or removal; a panic elsewhere leaves a whole map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SampleStore for SqliteStore {
    async fn append_ticks(&self, release: &ReleaseId, ticks: &[Tick]) -> Result<(), SampleError> {
        self.gate().map_err(failed)?;
        let mut buffer = self.inner.ticks.lock();
        if buffer.values().map(Vec::len).sum::<usize>() + ticks.len() > MAX_BUFFERED {
            return Err(SampleError(format!("{MAX_BUFFERED} ticks wait to be written")));
        }
        buffer.entry(release.clone()).or_default().extend_from_slice(ticks);
        Ok(())
    }

    async fn ticks(&self, release: &ReleaseId, from: Timestamp, limit: u32) -> Result<Vec<Tick>, SampleError> {
        self.ticks_between(release, from, Timestamp::from_millis(i64::MAX), limit as usize, true).await.map_err(failed)
    }

    async fn append_measurement(&self, release: &ReleaseId, measurement: &Measurement) -> Result<(), SampleError> {
        let data = serde_json::to_string(measurement).map_err(|error| SampleError(error.to_string()))?;
        let release = release.clone();
        let write = self.gate().map_err(failed)?.write(data.len(), move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO measurement (release, data) VALUES (?1, ?2)")
                    .bind(String::from(release))
                    .bind(data)
                    .execute(connection)
                    .await
                    .map_err(store_error)?;
                Ok(())
            })
        });
        write.await.map_err(failed)
    }

    async fn measurements(&self, release: &ReleaseId) -> Result<Vec<Measurement>, SampleError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT data FROM measurement WHERE release = ?1 ORDER BY id LIMIT ?2")
                .bind(release.as_str())
                .bind(MAX_MEASUREMENTS)
                .fetch_all(&self.inner.readers)
                .await
                .map_err(|error| failed(store_error(error)))?;
        rows.iter().map(|data| serde_json::from_str(data).map_err(|error| SampleError(error.to_string()))).collect()
    }
}

impl SqliteStore {
    /// Writes the ticks that wait. Durable when it answers.
    pub async fn flush_ticks(&self) -> Result<(), SampleError> {
        let _alone = self.inner.ticks.flushing.lock().await;
        let waiting = self.inner.ticks.lock().clone();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut blocks = Vec::new();
        for (release, ticks) in &waiting {
            for block in ticks.chunks(BLOCK) {
                let (json, histograms) = encode(block).map_err(|error| SampleError(error.0))?;
                let times = block.iter().map(|tick| tick.at.as_millis());
                let (first, last) = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
                blocks.push((release.as_str().to_owned(), first, last, json, histograms));
            }
        }
        let bytes = blocks.iter().map(|block| block.3.len() + block.4.len()).sum();
        let write = self.gate().map_err(failed)?.write(bytes, move |connection| {
            Box::pin(async move {
                for (release, first, last, json, histograms) in blocks {
                    sqlx::query(
                        "INSERT INTO tick_block (release, first_at, last_at, ticks, histograms) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .bind(release)
                    .bind(first)
                    .bind(last)
                    .bind(json)
                    .bind(histograms)
                    .execute(&mut *connection)
                    .await
                    .map_err(store_error)?;
                }
                Ok(())
            })
        });
        write.await.map_err(failed)?;
        // Those that came meanwhile stay. Readers never miss one: it leaves the buffer after it is in the database.
        let mut buffer = self.inner.ticks.lock();
        for (release, written) in waiting {
            if let Some(ticks) = buffer.get_mut(&release) {
                ticks.drain(..written.len().min(ticks.len()));
                if ticks.is_empty() {
                    buffer.remove(&release);
                }
            }
        }
        Ok(())
    }

    /// Writes what waits every [`FLUSH_EVERY`], until the store is gone.
    pub(crate) fn spawn_tick_flush(&self) {
        let inner: std::sync::Weak<Inner> = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(FLUSH_EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = (SqliteStore { inner }).flush_ticks().await {
                    tracing::warn!(%error, "ticks could not be written; they are tried again");
                }
            }
        });
    }

    /// Ticks with `from <= at <= to`, oldest first, the first `limit` of them.
    pub(crate) async fn ticks_between(
        &self,
        release: &ReleaseId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        histograms: bool,
    ) -> Result<Vec<Tick>, StoreError> {
        // The buffer first: what is written between the two reads is then seen twice, and not missed.
        let waiting = self.inner.ticks.lock().get(release).cloned().unwrap_or_default();
        // Every row holds at least one tick, so that many rows suffice.
        let histograms_too = if histograms { "histograms" } else { "NULL" };
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT ticks, ");
        query.push(histograms_too).push(" FROM tick_block WHERE release = ").push_bind(release.as_str().to_owned());
        query.push(" AND last_at >= ").push_bind(from.as_millis()).push(" AND first_at <= ").push_bind(to.as_millis());
        query.push(format!(" ORDER BY first_at, id LIMIT {}", limit.min(u32::MAX as usize)));
        let rows = query.build().fetch_all(&self.inner.readers).await.map_err(store_error)?;
        let mut ticks: Vec<Tick> = Vec::new();
        for row in &rows {
            let json: Vec<u8> = row.try_get(0).map_err(store_error)?;
            let blob: Option<Vec<u8>> = row.try_get(1).map_err(store_error)?;
            ticks.extend(decode(&json, blob.as_deref()).map_err(|error| damaged(error.0))?);
            if ticks.len() > limit.saturating_add(BLOCK * 2) {
                break;
            }
        }
        for mut tick in waiting {
            let written =
                ticks.iter().rev().take(MAX_BUFFERED).any(|known| known.boot == tick.boot && known.seq == tick.seq);
            if !written {
                if !histograms {
                    tick.stable.histogram.clear();
                    tick.canary.iter_mut().for_each(|canary| canary.histogram.clear());
                }
                ticks.push(tick);
            }
        }
        ticks.retain(|tick| (from..=to).contains(&tick.at));
        ticks.sort_by_key(|tick| tick.at);
        ticks.truncate(limit);
        Ok(ticks)
    }
}

fn failed(error: StoreError) -> SampleError {
    SampleError(error.to_string())
}
