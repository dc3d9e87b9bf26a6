//! What can go wrong, one variant for each cause that a reader can act on.

use model::Digest;

/// Why an image could not be read, written or promoted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name of an image.
    #[error("{text:?} is no image reference: {why}")]
    Reference {
        /// What was given.
        text: String,
        /// What is expected.
        why: &'static str,
    },
    /// It is not there (and the place said so itself).
    #[error("{place} has no {what}")]
    NotFound {
        /// Where.
        place: String,
        /// What.
        what: String,
    },
    /// The place knows us not, or lets us not.
    #[error("{place} does not allow {what} ({status}): log in with `docker login`, or ask for the right")]
    Denied {
        /// Where.
        place: String,
        /// What.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// The place says "not now", again and again.
    #[error(
        "{place} is busy: {what} was answered with {status} {attempts} times; try again later, what is copied stays copied"
    )]
    Busy {
        /// Where.
        place: String,
        /// What.
        what: String,
        /// The last HTTP status.
        status: u16,
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer.
    #[error("{place} cannot be reached for {what}: {cause}")]
    Unreachable {
        /// Where.
        place: String,
        /// What.
        what: String,
        /// Why.
        cause: String,
    },
    /// An answer that breaks the specification.
    #[error("{place} answered {what} wrongly: {why}")]
    Answer {
        /// Where.
        place: String,
        /// What was asked.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The bytes are not those that the digest names.
    #[error("{place}: the bytes of {expected} differ: they hash to {found}")]
    Differs {
        /// Where.
        place: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// As many bytes as were announced did not come.
    #[error("{place}: {digest} is {found} bytes long, its descriptor says {expected}")]
    Length {
        /// Where.
        place: String,
        /// What.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// What came (at least).
        found: u64,
    },
    /// Beyond a named limit.
    #[error("{what} is beyond the limit of {limit}")]
    Limit {
        /// What.
        what: String,
        /// The limit, in words.
        limit: String,
    },
    /// Not a manifest, an index or a layout that this program understands.
    #[error("{what} cannot be used: {why}")]
    Malformed {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A tag that is there names something else, and tags do not move.
    #[error("{place}: the tag {tag} already names {there}, not {wanted}; tags do not move: choose another one")]
    TagTaken {
        /// Where.
        place: String,
        /// The tag.
        tag: String,
        /// What it names.
        there: Digest,
        /// What it was to name.
        wanted: Digest,
    },
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Credentials that cannot be read. The text has none of them.
    #[error("credentials for {host}: {why}")]
    Credentials {
        /// For which host.
        host: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// A known no: what is there is wrong, asking again does not help. Everything else means "could not find out".
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Differs { .. }
                | Self::Length { .. }
                | Self::Limit { .. }
                | Self::Malformed { .. }
                | Self::TagTaken { .. }
                | Self::NotFound { .. }
        )
    }

    /// The place itself said that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(crate) fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), why: why.into() }
    }

    pub(crate) fn limit(what: impl Into<String>, limit: impl Into<String>) -> Self {
        Self::Limit { what: what.into(), limit: limit.into() }
    }
}
