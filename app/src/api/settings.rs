//! What the settings page shows: the key, the log, who is let in.

use leptos::{prelude::*, server_fn::codec::Post};
use model::Timestamp;
use projections::StoreSize;
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::page::written;
use super::{ApiError, encoding::Written};

/// The page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsPage {
    /// The log's name.
    pub origin: String,
    /// Its verifying key.
    pub vkey: String,
    /// The key's id in receipts.
    pub keyid: String,
    /// How much there is.
    pub size: StoreSize,
    /// The newest checkpoint: receipts covered, and the root over them.
    pub checkpoint: Option<(u64, String)>,
    /// What is damaged, and the services that are left alone.
    pub problems: Vec<String>,
    /// What their forms carry.
    pub form_token: String,
    /// True when they may let others in.
    pub admin: bool,
    /// Sessions: an administrator sees all, everybody else their own.
    pub sessions: Vec<Entry>,
    /// Tokens, for an administrator.
    pub tokens: Vec<Entry>,
}

/// Somebody who is let in. No secret is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id: the hash of its secret.
    pub id: String,
    /// Who.
    pub actor: String,
    /// With which role.
    pub role: String,
    /// Since when.
    pub created: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// True for the session that asks.
    pub this: bool,
}

/// The settings: a [`SettingsPage`].
#[server(prefix = "/api", endpoint = "get_settings", output = Post<Written>)]
pub async fn get_settings() -> Result<String, ApiError> {
    use super::context::{LogHealth, LogKey, answered, form_token, now, require, service};
    use access::{Access, Credential, CredentialKind, Role, Via};
    use receipt_log::Store;
    use std::sync::Arc;
    answered(
        async {
            let who = require(Role::Viewer)?;
            let read = super::context::reader()?;
            let access: Access = service("access")?;
            let store: Arc<dyn Store> = service("log store")?;
            let vkey = service::<LogKey>("log key")?.0;
            let unavailable = |e: String| ApiError::Unavailable(e);
            let key: tlog::VerifyingKey =
                vkey.parse().map_err(|e: tlog::VkeyError| ApiError::Unavailable(e.to_string()))?;
            let receipt_key = receipts::ReceiptKey::from_vkey(&key).map_err(|e| unavailable(e.to_string()))?;
            let head = store.head().await.map_err(|e| unavailable(e.to_string()))?;
            let checkpoint = head.checkpoint.as_deref().and_then(|note| {
                let mut lines = note.lines().skip(1);
                Some((lines.next()?.parse().ok()?, lines.next()?.to_owned()))
            });
            let admin = who.role >= Role::Admin;
            let own_token = match &who.via {
                Via::Session { form_token } => Some(form_token.clone()),
                Via::Token => None,
            };
            let entry = |c: Credential| Entry {
                this: own_token.is_some() && c.form_token == own_token,
                id: c.hash,
                actor: c.actor.to_string(),
                role: c.role.to_string(),
                created: c.created,
                expires: c.expires,
            };
            let now = now();
            let listed = async |kind| {
                let all = access.list(kind).await.map_err(|e| unavailable(e.to_string()))?;
                let mut shown: Vec<Entry> =
                    all.into_iter().filter(|c| c.expires > now && (admin || c.actor == who.actor)).map(entry).collect();
                shown.reverse();
                Ok::<_, ApiError>(shown)
            };
            written(SettingsPage {
                origin: key.name().to_owned(),
                keyid: receipt_key.keyid().to_owned(),
                vkey,
                size: read.size().await.map_err(super::reads::could_not)?,
                checkpoint,
                problems: service::<LogHealth>("log health")?.0,
                form_token: form_token(&who),
                admin,
                sessions: listed(CredentialKind::Session).await?,
                tokens: if admin { listed(CredentialKind::Token).await? } else { Vec::new() },
            })
        }
        .await,
    )
}
