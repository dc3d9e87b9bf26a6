//! What verifies bundles and makes them.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};

/// `verify-bundle`, as Sigstore's conformance suite calls it.
#[derive(Debug, Clone, ClapArgs)]
pub struct VerifyBundle {
    /// Believe the trial instance's authorities instead of the public ones'
    #[arg(long, conflicts_with = "trusted_root")]
    pub staging: bool,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Whose signature is wanted.
    #[command(flatten)]
    pub by: SignedBy,
    /// Authorities to believe (trusted_root.json) [default: the public instance's, as of this build]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Refuse all but in-toto statements of this predicate type
    #[arg(long = "type", value_name = "URI")]
    pub predicate_type: Option<String>,
    /// Refuse bundles of the forms v0.1 and v0.2, in which a proof of inclusion may be missing
    #[arg(long)]
    pub only_v03: bool,
    /// What it must be about: a file, or sha256: and 64 hexadecimal digits (a file of that name comes first)
    #[arg(value_name = "FILE_OR_DIGEST")]
    pub artifact: String,
}

/// Whose signature is wanted.
#[derive(Debug, Clone, ClapArgs)]
#[command(group = ArgGroup::new("by").required(true).args(["certificate_identity", "certificate_identity_regexp", "key"]))]
#[command(group = ArgGroup::new("issuer").args(["certificate_oidc_issuer", "certificate_oidc_issuer_regexp"]))]
pub struct SignedBy {
    /// The person or workflow that the certificate must name
    #[arg(long, value_name = "IDENTITY", requires = "issuer")]
    pub certificate_identity: Option<String>,
    /// The same by a regular expression over the whole name
    #[arg(long, value_name = "REGEXP", requires = "issuer")]
    pub certificate_identity_regexp: Option<String>,
    /// The identity provider that must have vouched for them
    #[arg(long, value_name = "URL", conflicts_with = "key")]
    pub certificate_oidc_issuer: Option<String>,
    /// The same by a regular expression over the whole address
    #[arg(long, value_name = "REGEXP", conflicts_with = "key")]
    pub certificate_oidc_issuer_regexp: Option<String>,
    /// The public key (PEM) whose holder must have signed
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}
