//! The one connection that writes.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex as SyncMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use receipt_log::StoreError;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Mutex;

use crate::error::store_error;

/// Bytes written since the last checkpoint that make the next one due. Small enough for a checkpoint of some 10 ms and a
/// WAL of a few MB, large enough to be rare.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;

/// What a commit writes besides its own bytes: about a page for each tree that it touches.
const COMMIT_OVERHEAD: u64 = 32 * 1024;

/// A future that borrows the connection.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

/// The writing connection, and whether it may still be used.
#[derive(Clone)]
pub(crate) struct WriteGate(Arc<Gate>);

struct Gate {
    /// `None` once closed.
    connection: Mutex<Option<SqliteConnection>>,
    doubt: SyncMutex<Option<String>>,
    written: AtomicU64,
}

impl WriteGate {
    pub(crate) fn new(connection: SqliteConnection) -> Self {
        Self(Arc::new(Gate {
            connection: Mutex::new(Some(connection)),
            doubt: SyncMutex::new(None),
            written: AtomicU64::new(0),
        }))
    }

    /// Does `work` in one transaction that is durable when this answers `Ok`. `bytes` is roughly what it writes.
    ///
    /// Runs in a task of its own: a caller that goes away does not leave half a transaction behind.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gate = self.clone();
        let task = tokio::spawn(async move { gate.transact(bytes, work).await });
        task.await.unwrap_or_else(|error| Err(self.refuse(format!("a write ended without an answer: {error}"))))
    }

    async fn transact<T>(
        &self,
        bytes: usize,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T>,
    ) -> Result<T, StoreError> {
        let mut guard = self.0.connection.lock().await;
        self.check()?;
        let connection = guard.as_mut().ok_or_else(closed)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        match work(&mut transaction).await {
            Ok(value) => {
                if let Err(error) = transaction.commit().await {
                    let error = store_error(error);
                    self.refuse(error.to_string());
                    return Err(error);
                }
                let written = self.0.written.fetch_add(bytes as u64 + COMMIT_OVERHEAD, Ordering::Relaxed);
                if written >= CHECKPOINT_BYTES {
                    self.0.written.store(0, Ordering::Relaxed);
                    let gate = self.clone();
                    // Behind the answer: who waits for this commit does not wait for the checkpoint.
                    tokio::spawn(async move { gate.checkpoint().await });
                }
                Ok(value)
            }
            Err(error) => {
                // Nothing was committed. When that cannot even be rolled back, the connection is not to be used again.
                if let Err(rollback) = transaction.rollback().await {
                    self.refuse(format!("{error}; and it could not be rolled back: {rollback}"));
                }
                Err(error)
            }
        }
    }

    /// Moves the WAL into the database file as far as readers allow.
    async fn checkpoint(&self) {
        let mut guard = self.0.connection.lock().await;
        if self.check().is_err() {
            return;
        }
        let Some(connection) = guard.as_mut() else { return };
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await {
            tracing::error!(%error, "the write-ahead log could not be moved into the database");
            self.refuse(error.to_string());
        }
    }

    /// Ends the connection, with a last checkpoint.
    pub(crate) async fn close(&self) -> Result<(), sqlx::Error> {
        match self.0.connection.lock().await.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let doubt = self.0.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        doubt.as_ref().map_or(Ok(()), |why| Err(StoreError::Failed(format!("an earlier write is in doubt: {why}"))))
    }

    /// From here on every write is refused.
    fn refuse(&self, why: String) -> StoreError {
        let mut doubt = self.0.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        StoreError::Failed(doubt.get_or_insert(why).clone())
    }
}

fn closed() -> StoreError {
    StoreError::Failed("the store is closed".to_owned())
}
