//! Who may do what: roles, login links, sessions, tokens.
//!
//! Secrets are random, shown once, and kept only as SHA-256 hashes.

use async_trait::async_trait;
use model::{Actor, Timestamp};
use serde::{Deserialize, Serialize};

/// What somebody may do. Each role may do what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    Viewer,
    /// Start releases and give commands.
    Operator,
    /// Make tokens, end sessions.
    Admin,
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name that receipts carry.
    pub actor: Actor,
    /// What they may do.
    pub role: Role,
    /// How they came in.
    pub via: Via,
}

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// A session cookie: mutations need the same Origin and this form token.
    Session {
        /// Bound to the session; forms carry it as `form_token`.
        form_token: String,
    },
    /// `Authorization: Bearer`, without a cookie.
    Token,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum AccessError {
    /// No such link, session or token, or it was used or revoked.
    #[error("this link, session or token is not known: it may have been used or revoked")]
    Unknown,
    /// It was good for a time that has passed.
    #[error("this has expired")]
    Expired,
    /// The role does not suffice.
    #[error("this needs the role {needed:?}, {actor} has {has:?}")]
    Forbidden {
        /// Who.
        actor: Actor,
        /// Their role.
        has: Role,
        /// The role needed.
        needed: Role,
    },
    /// It could not be found out: nobody is let in.
    #[error("access could not be checked: {0}")]
    Unavailable(String),
}

/// A stored credential, by the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// SHA-256 of the secret, hexadecimal.
    pub hash: String,
    /// What it is.
    pub kind: CredentialKind,
    /// Whose.
    pub actor: Actor,
    /// With which role.
    pub role: Role,
    /// Made.
    pub created: Timestamp,
    /// Good until.
    pub expires: Timestamp,
    /// For a session: its form token.
    pub form_token: Option<String>,
}

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// Good once, for ten minutes.
    Link,
    /// A browser's.
    Session,
    /// A tool's.
    Token,
}

/// Keeps credentials.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Keeps one.
    async fn put(&self, credential: &Credential) -> Result<(), AccessError>;
    /// The one with this hash.
    async fn get(&self, hash: &str) -> Result<Option<Credential>, AccessError>;
    /// Takes it out and answers it: of two takers only one gets it.
    async fn take(&self, hash: &str) -> Result<Option<Credential>, AccessError>;
    /// All of one kind, without secrets.
    async fn list(&self, kind: CredentialKind) -> Result<Vec<Credential>, AccessError>;
    /// Deletes what has expired.
    async fn prune(&self, now: Timestamp) -> Result<u64, AccessError>;
}
