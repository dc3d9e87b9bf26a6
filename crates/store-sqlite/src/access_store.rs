//! The port `access::AccessStore`.

use access::{AccessError, AccessStore, Credential, CredentialKind, Role};
use async_trait::async_trait;
use model::Timestamp;
use receipt_log::StoreError;
use sqlx::{Row as _, sqlite::SqliteRow};

use crate::{SqliteStore, error::store_error};

/// Credentials listed at once: more than an installation has people and tools.
const MAX_LISTED: i64 = 10_000;

#[async_trait]
impl AccessStore for SqliteStore {
    async fn put(&self, credential: &Credential) -> Result<(), AccessError> {
        let c = credential.clone();
        let write = self.gate().map_err(failed)?.write(256, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT OR REPLACE INTO credential (hash, kind, actor, role, created, expires, form_token)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .bind(c.hash)
                .bind(word(c.kind))
                .bind(String::from(c.actor))
                .bind(c.role.as_str())
                .bind(c.created.as_millis())
                .bind(c.expires.as_millis())
                .bind(c.form_token)
                .execute(connection)
                .await
                .map_err(store_error)?;
                Ok(())
            })
        });
        write.await.map_err(failed)
    }

    async fn get(&self, hash: &str) -> Result<Option<Credential>, AccessError> {
        let row =
            sqlx::query("SELECT hash, kind, actor, role, created, expires, form_token FROM credential WHERE hash = ?1")
                .bind(hash.to_owned())
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(unavailable)?;
        row.as_ref().map(credential).transpose()
    }

    async fn take(&self, hash: &str) -> Result<Option<Credential>, AccessError> {
        let hash = hash.to_owned();
        let write = self.gate().map_err(failed)?.write(256, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM credential WHERE hash = ?1
                     RETURNING hash, kind, actor, role, created, expires, form_token",
                )
                .bind(hash)
                .fetch_optional(connection)
                .await
                .map_err(store_error)
            })
        });
        write.await.map_err(failed)?.as_ref().map(credential).transpose()
    }

    async fn extend(&self, hash: &str, expires: Timestamp) -> Result<bool, AccessError> {
        let hash = hash.to_owned();
        let write = self.gate().map_err(failed)?.write(256, move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE credential SET expires = ?2 WHERE hash = ?1")
                    .bind(hash)
                    .bind(expires.as_millis())
                    .execute(connection)
                    .await
                    .map_err(store_error)
            })
        });
        Ok(write.await.map_err(failed)?.rows_affected() > 0)
    }

    async fn list(&self, kind: CredentialKind) -> Result<Vec<Credential>, AccessError> {
        let rows = sqlx::query(
            "SELECT hash, kind, actor, role, created, expires, form_token FROM credential WHERE kind = ?1
             ORDER BY created, hash LIMIT ?2",
        )
        .bind(word(kind))
        .bind(MAX_LISTED)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(unavailable)?;
        rows.iter().map(credential).collect()
    }

    async fn prune(&self, now: Timestamp) -> Result<u64, AccessError> {
        let write = self.gate().map_err(failed)?.write(256, move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM credential WHERE expires <= ?1")
                    .bind(now.as_millis())
                    .execute(connection)
                    .await
                    .map_err(store_error)
            })
        });
        Ok(write.await.map_err(failed)?.rows_affected())
    }
}

fn word(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Link => "link",
        CredentialKind::Session => "session",
        CredentialKind::Token => "token",
    }
}

fn credential(row: &SqliteRow) -> Result<Credential, AccessError> {
    // The values are not shown: a damaged row may hold anything.
    let damaged = |what: &str| AccessError::Unavailable(format!("a stored credential has an unreadable {what}"));
    let text = |column| row.try_get::<String, _>(column).map_err(unavailable);
    let kinds = [CredentialKind::Link, CredentialKind::Session, CredentialKind::Token];
    let kind = text(1)?;
    let kind = kinds.into_iter().find(|known| word(*known) == kind).ok_or_else(|| damaged("kind"))?;
    Ok(Credential {
        hash: text(0)?,
        kind,
        actor: text(2)?.parse().map_err(|_| damaged("actor"))?,
        role: text(3)?.parse::<Role>().map_err(|_| damaged("role"))?,
        created: Timestamp::from_millis(row.try_get(4).map_err(unavailable)?),
        expires: Timestamp::from_millis(row.try_get(5).map_err(unavailable)?),
        form_token: row.try_get(6).map_err(unavailable)?,
    })
}

fn failed(error: StoreError) -> AccessError {
    AccessError::Unavailable(error.to_string())
}

fn unavailable(error: sqlx::Error) -> AccessError {
    failed(store_error(error))
}
