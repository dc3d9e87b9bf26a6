//! Opening: lock, file modes, version, pragmas, migrations.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use receipt_log::StoreError;
use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    error::{MIN_SQLITE, OpenError, store_error},
    lists::ReadRollouts,
    samples::TickBuffer,
    writer::WriteGate,
};

/// Name of the database in the data directory.
pub const DATABASE_FILE: &str = "deliveryos.db";
/// Name of the lock in the data directory.
pub const LOCK_FILE: &str = "lock";

/// Connections that read: two cores are kept busy by two, the others wait for the disk.
const READERS: u32 = 4;
/// How long a reader waits for a connection before it answers with an error.
const READER_WAIT: Duration = Duration::from_secs(5);
/// How long SQLite waits for a lock. The writer is alone; readers wait only while a log is recovered at opening.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept by a connection: chunk sizes times tables, and the fixed ones.
const STATEMENTS: usize = 200;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The embedded store. A clone is another handle to the same file.
#[derive(Clone)]
pub struct SqliteStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) readers: SqlitePool,
    /// A connection for what the log looks up on the way to a commit: an append never waits for pages.
    pub(crate) lookups: SqlitePool,
    /// `None` in a store that was opened only for reading.
    pub(crate) writer: Option<WriteGate>,
    pub(crate) ticks: TickBuffer,
    /// Ended rollouts as they were read last.
    pub(crate) rollouts: Mutex<Option<ReadRollouts>>,
    /// Held until the store is closed; the operating system lets go of it when the process ends, however it ends.
    lock: Mutex<Option<File>>,
}

impl SqliteStore {
    /// Opens the database in `data_dir`, which is made when it is not there, as its one writer.
    pub async fn open(data_dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let data_dir = data_dir.as_ref();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| OpenError::Directory { path: data_dir.to_owned(), source })?;
        let lock = take_lock(data_dir)?;
        let path = data_dir.join(DATABASE_FILE);
        // SQLite gives its -wal and -shm files the mode of the database.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| directory_error(&path, error))?;
        let failed = |error| OpenError::of(path.clone(), error);

        let mut connection = options(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Checkpoints are made by the writer itself, so that their errors are seen.
            .pragma("wal_autocheckpoint", "0")
            .connect()
            .await
            .map_err(failed)?;
        check_version(&mut connection, &path).await?;
        MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(|error| migration_error(&path, error))?;
        let readers = pool(options(&path).read_only(true), READERS).await.map_err(failed)?;
        let lookups = pool(options(&path).read_only(true), 1).await.map_err(failed)?;
        let store = Self {
            inner: Arc::new(Inner {
                readers,
                lookups,
                writer: Some(WriteGate::new(connection)),
                ticks: TickBuffer::default(),
                rollouts: Mutex::default(),
                lock: Mutex::new(Some(lock)),
                path: path.clone(),
            }),
        };
        store.catch_up().await.map_err(|error| store_failure(path, error))?;
        store.spawn_tick_flush();
        Ok(store)
    }

    /// Opens the database in `data_dir` for reading only, beside a server or without one. Every write is refused.
    pub async fn open_read_only(data_dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = data_dir.as_ref().join(DATABASE_FILE);
        if !path.exists() {
            return Err(OpenError::Missing(data_dir.as_ref().to_owned()));
        }
        let wanted = options(&path).read_only(true);
        let pool = match probed_readers(wanted.clone(), &path).await {
            // In WAL mode a reader needs the -shm file; on a read-only disk it cannot be made. Without a -wal file there
            // is nothing in it, and nobody else can write.
            Err(OpenError::Failed { .. }) if !path.with_extension("db-wal").exists() => {
                probed_readers(wanted.immutable(true), &path).await?
            }
            opened => opened?,
        };
        let inner = Inner {
            lookups: pool.clone(),
            readers: pool,
            writer: None,
            ticks: TickBuffer::default(),
            rollouts: Mutex::default(),
            lock: Mutex::new(None),
            path,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Writes what is buffered, moves the WAL into the database, closes all connections and lets go of the lock. Other
    /// handles are useless then. Without it the process's end does the same, but for the ticks of the last seconds.
    pub async fn close(&self) -> Result<(), StoreError> {
        let flushed = self.flush_ticks().await.map_err(|error| StoreError::Failed(error.0));
        self.inner.readers.close().await;
        self.inner.lookups.close().await;
        let closed = match &self.inner.writer {
            Some(gate) => gate.close().await.map_err(store_error),
            None => Ok(()),
        };
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        flushed.and(closed)
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn pool(options: SqliteConnectOptions, connections: u32) -> Result<SqlitePool, sqlx::Error> {
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(READER_WAIT)
        // Connections are files here, not sockets: they do not go stale.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    pool.connect_with(options).await
}

/// Readers of a database that answers: SQLite opens a file only when it is asked something of it.
async fn probed_readers(options: SqliteConnectOptions, path: &Path) -> Result<SqlitePool, OpenError> {
    let failed = |error| OpenError::of(path.to_owned(), error);
    let pool = pool(options, READERS).await.map_err(failed)?;
    let mut connection = pool.acquire().await.map_err(failed)?;
    check_version(&mut connection, path).await?;
    sqlx::query("SELECT one FROM p_cursor").fetch_one(&mut *connection).await.map_err(failed)?;
    drop(connection);
    Ok(pool)
}

fn take_lock(data_dir: &Path) -> Result<File, OpenError> {
    let path = data_dir.join(LOCK_FILE);
    let failed = |source| directory_error(&path, source);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // A process id has at most ten digits; anything else in the file is not ours.
            let pid = file.take(16).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::InUse { path: data_dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed)?;
    Ok(file)
}

fn directory_error(path: &Path, source: std::io::Error) -> OpenError {
    match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            OpenError::ReadOnly { path: path.to_owned(), reason: source.to_string() }
        }
        std::io::ErrorKind::StorageFull => OpenError::Full { path: path.to_owned(), reason: source.to_string() },
        _ => OpenError::Directory { path: path.to_owned(), source },
    }
}

fn migration_error(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => OpenError::Newer(path.to_owned()),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            OpenError::of(path.to_owned(), error)
        }
        other => OpenError::Failed { path: path.to_owned(), reason: other.to_string() },
    }
}

fn store_failure(path: PathBuf, error: StoreError) -> OpenError {
    match error {
        StoreError::Full(reason) => OpenError::Full { path, reason },
        StoreError::Damaged(reason) => OpenError::Damaged { path, reason },
        other => OpenError::Failed { path, reason: other.to_string() },
    }
}

async fn check_version(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| OpenError::of(path.to_owned(), error))?;
    if version(&found) >= version(MIN_SQLITE) { Ok(()) } else { Err(OpenError::SqliteTooOld { found }) }
}

/// `3.51.3` as comparable numbers; a part that is none counts as 0, so that an unreadable version is an old one.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (text, enough) in [
            ("3.51.3", true),
            ("3.51.10", true),
            ("3.53.1", true),
            ("4.0.0", true),
            ("3.51.2", false),
            ("3.46.0", false),
            ("", false),
        ] {
            assert_eq!(version(text) >= version(MIN_SQLITE), enough, "{text}");
        }
    }

    #[tokio::test]
    async fn the_linked_sqlite_is_new_enough() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let found: String =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&store.inner.readers).await.unwrap();
        assert_eq!(found, "3.51.3");
    }
}
