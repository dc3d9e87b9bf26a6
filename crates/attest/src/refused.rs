//! Why a bundle proves nothing.

use crate::sigstore::limits;

/// Why a bundle proves nothing. One variant per cause that a reader can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than a bundle may be.
    #[error("the bundle has more than {} MB", limits::MAX_BUNDLE >> 20)]
    TooLarge,
    /// More of something than a bundle may hold.
    #[error("the bundle holds {found} {what}, {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// Not a Sigstore bundle.
    #[error("this is not a Sigstore bundle: {0}")]
    Malformed(String),
    /// A bundle of an older form, in which a proof of inclusion may be left out.
    #[error("the bundle is of the older form {0}, and the policy takes v0.3 only")]
    OldForm(String),
    /// Nothing was logged.
    #[error("the bundle has no entry of a transparency log")]
    NoLogEntry,
    /// An entry is not proved to be in its log.
    #[error("log entry {0} of the bundle carries no proof of inclusion")]
    NoProof(usize),
    /// An entry's log is not in the trust root.
    #[error("log entry {entry} is of the log {log}, which the trust root does not have")]
    UnknownLog {
        /// Which entry of the bundle.
        entry: usize,
        /// The log's id.
        log: String,
    },
    /// An entry names one log, and its checkpoint is signed by another.
    #[error("log entry {0} names another log than the one that signed its checkpoint")]
    OtherLog(usize),
    /// The log's key was not in force at the time of the entry.
    #[error("log entry {entry}: the log's key was not in force at {time}")]
    LogKeyWindow {
        /// Which entry of the bundle.
        entry: usize,
        /// When the entry was made.
        time: String,
    },
    /// Log, checkpoint or entry do not hold.
    #[error("transparency log: {0}")]
    Log(String),
    /// Another kind of signer than the policy asks for.
    #[error("the policy asks for {wanted}, and the bundle is signed with {found}")]
    SignerKind {
        /// What the policy asks for.
        wanted: &'static str,
        /// What there is.
        found: &'static str,
    },
    /// The certificate names somebody else.
    #[error("signed by {found}, the policy asks for {wanted}")]
    Identity {
        /// Whom the policy asks for.
        wanted: String,
        /// Whom the certificate names.
        found: String,
    },
    /// The certificate was issued on another identity provider's word.
    #[error("the signer's identity comes from {found}, the policy asks for {wanted}")]
    Issuer {
        /// The provider the policy asks for.
        wanted: String,
        /// The provider the certificate names.
        found: String,
    },
    /// The certificate does not lead to the trust root, or was not valid at the time of signing.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The key was not to be used at that time.
    #[error("the policy does not take this key at {time}: it is good {window}")]
    KeyWindow {
        /// When it was used.
        time: String,
        /// When it may be.
        window: String,
    },
    /// No time is proved, or a wrong one.
    #[error("time of signing: {0}")]
    Time(String),
    /// The signature is not this signer's over these bytes.
    #[error("signature: {0}")]
    Signature(String),
    /// It is about something else.
    #[error("the bundle is not about this artifact: {0}")]
    OtherArtifact(String),
    /// The signed document is not an in-toto statement of a known version.
    #[error("statement: {0}")]
    Statement(String),
    /// It states something else than was asked for.
    #[error("the statement is a {found}, the policy asks for {wanted}")]
    PredicateType {
        /// What the policy asks for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// The trust root cannot be used.
    #[error("the trust root cannot be used: {0}")]
    TrustRoot(String),
    /// The artifact could not be read.
    #[error("the artifact could not be read: {0}")]
    Unreadable(String),
}

impl Refused {
    /// Whether this says no (the evidence was looked at and does not suffice), or only that it could not be found out.
    pub fn is_a_no(&self) -> bool {
        !matches!(self, Self::TrustRoot(_) | Self::Unreadable(_))
    }
}
