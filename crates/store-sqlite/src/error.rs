//! What can go wrong with a database file, told apart by what a reader can do about it.

use std::{io, path::PathBuf};

use receipt_log::StoreError;

/// Why a database does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made or used.
    #[error("the data directory {path} cannot be used")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another deliveryos server{}: stop that one, or give this one another --data-dir", holder(.pid))]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other's process id, when it can be told.
        pid: Option<u32>,
    },
    /// There is no database in a directory that is only to be read.
    #[error(
        "there is no deliveryos database in {0}: name the data directory of a server with --data-dir, or start one there"
    )]
    Missing(PathBuf),
    /// The linked SQLite is one that can lose committed writes.
    #[error(
        "SQLite {found} is linked, at least {MIN_SQLITE} is needed: earlier ones can lose committed writes in WAL mode"
    )]
    SqliteTooOld {
        /// Version found at run time.
        found: String,
    },
    /// The file or its disk is read-only.
    #[error("{path} cannot be written ({reason}): make the disk and the file writable for this user")]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// No room on the disk.
    #[error("the disk of {path} is full ({reason}): make room and start again, nothing acknowledged is lost")]
    Full {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Not a database, or one that was altered.
    #[error("{path} is damaged ({reason}): keep the file, restore a backup, and check it with `deliveryos log verify`")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Written by a later version of this program.
    #[error("{0} was written by a newer deliveryos: use that one")]
    Newer(PathBuf),
    /// Anything else.
    #[error("{path} does not open: {reason}")]
    Failed {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

/// The first SQLite in which two connections that write or checkpoint at once cannot lose committed WAL frames.
pub(crate) const MIN_SQLITE: &str = "3.51.3";

/// What SQLite's result codes mean for us (sqlite.org/rescode.html, primary codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    ReadOnly,
    Full,
    Damaged,
    Other,
}

pub(crate) fn cause(error: &sqlx::Error) -> Cause {
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i64>().ok());
    match code.map(|code| code & 0xff) {
        Some(8) => Cause::ReadOnly,
        Some(13) => Cause::Full,
        Some(11 | 26) => Cause::Damaged,
        _ => Cause::Other,
    }
}

pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match cause(&error) {
        Cause::Full => StoreError::Full(error.to_string()),
        Cause::Damaged => StoreError::Damaged(error.to_string()),
        Cause::ReadOnly | Cause::Other => StoreError::Failed(error.to_string()),
    }
}

impl OpenError {
    pub(crate) fn of(path: PathBuf, error: sqlx::Error) -> Self {
        let reason = error.to_string();
        match cause(&error) {
            Cause::ReadOnly => Self::ReadOnly { path, reason },
            Cause::Full => Self::Full { path, reason },
            Cause::Damaged => Self::Damaged { path, reason },
            Cause::Other => Self::Failed { path, reason },
        }
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
