//! Who may do what: roles, login links, sessions, tokens.
//!
//! [`Access`] is the service: it makes secrets, and says whom one belongs to. [`AccessStore`] is its port.
//!
//! # Invariants
//! - A secret has 256 random bits, is shown once, and is kept only as its SHA-256 hash. It is looked up by that hash, so no
//!   comparison takes longer for a better guess.
//! - A link is good once and for [`LINK_MS`]; of two who redeem it at once one gets in.
//! - A session ends [`SESSION_IDLE_MS`] after its last use, [`SESSION_MAX_MS`] after login, and at once when it is ended.
//! - Whatever cannot be found out lets nobody in ([`AccessError::Unavailable`]).
//! - Time is an argument.

mod conformance_suite;
mod memory;
mod service;

pub use conformance_suite::conformance;
pub use memory::MemoryAccessStore;
pub use service::{
    Access, LINK_MS, NewSession, NewToken, SESSION_IDLE_MS, SESSION_MAX_MS, Secret, TOKEN_MAX_MS, form_token_matches,
    masked_form_token,
};

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
    /// A form did not carry its session's token.
    #[error("this form is from another session or too old: reload the page and send it again")]
    FormToken,
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
    /// Keeps one; one with the same hash is replaced.
    async fn put(&self, credential: &Credential) -> Result<(), AccessError>;
    /// The one with this hash.
    async fn get(&self, hash: &str) -> Result<Option<Credential>, AccessError>;
    /// Takes it out and answers it: of two takers only one gets it.
    async fn take(&self, hash: &str) -> Result<Option<Credential>, AccessError>;
    /// Sets until when one is good, if it is still there; false when it is not (it was ended meanwhile).
    async fn extend(&self, hash: &str, expires: Timestamp) -> Result<bool, AccessError>;
    /// All of one kind, oldest first. No secrets are in it, only their hashes.
    async fn list(&self, kind: CredentialKind) -> Result<Vec<Credential>, AccessError>;
    /// Deletes what has expired.
    async fn prune(&self, now: Timestamp) -> Result<u64, AccessError>;
}
