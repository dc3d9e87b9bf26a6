//! What verifies bundles and makes them.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Subcommand};
use jiff::Timestamp;
use registry::Reference;

/// `verify`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Verify {
    /// Which image: `oci:FOLDER[:TAG|@DIGEST]` or `HOST/REPOSITORY:TAG|@DIGEST`
    #[arg(value_name = "IMAGE")]
    pub image: Reference,
    /// What evidence it must have, and by whom (TOML)
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// HTTP without TLS also to hosts that are not this machine
    #[arg(long)]
    pub plain_http: bool,
}

/// `rekor …`.
#[derive(Debug, Subcommand)]
pub enum RekorVerb {
    /// Print the trusted_root.json by which verifiers (cosign, `verify`, `verify-bundle`) believe this log of signatures; of the data
    /// directory, or of the server that `--server` names
    TrustedRoot,
    /// Recompute the whole log of signatures in the data directory: tree, checkpoint, and the receipt of each entry
    Verify,
}

/// `verify-bundle`, as Sigstore's conformance suite calls it.
#[derive(Debug, Clone, ClapArgs)]
pub struct VerifyBundle {
    /// Believe the trial instance's authorities instead of the public ones', where no trusted root is given
    #[arg(long)]
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
    /// Take a bundle that no transparency log has seen
    #[arg(long)]
    pub insecure_ignore_tlog: bool,
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

/// `attest …`.
#[derive(Debug, Subcommand)]
pub enum AttestVerb {
    /// Make a key: FILE (private, mode 0600) and FILE.pub
    Keygen {
        /// The private key; must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// State how something was built (SLSA Provenance v1)
    Build(Build),
    /// State what something consists of (CycloneDX)
    Sbom {
        /// Of what, by whom, where to.
        #[command(flatten)]
        made: Made,
        /// The bill of materials (CycloneDX JSON)
        #[arg(long, value_name = "FILE")]
        sbom: PathBuf,
    },
    /// State what a vulnerability scan found
    Vuln(Vuln),
    /// Sign: a file by itself, a digest or an image as an image's signature in cosign's form
    Sign {
        /// Of what, by whom, where to.
        #[command(flatten)]
        made: Made,
    },
    /// Put a bundle beside its image, as an OCI referrer in cosign's v0.3 layout
    Attach {
        /// The bundle; it must be about this image
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// The image: `oci:FOLDER[:TAG|@DIGEST]` or `HOST/REPOSITORY:TAG|@DIGEST`
        #[arg(value_name = "IMAGE")]
        image: Reference,
        /// HTTP without TLS also to hosts that are not this machine
        #[arg(long)]
        plain_http: bool,
    },
}

/// What every attestation needs.
#[derive(Debug, Clone, ClapArgs)]
pub struct Made {
    /// Of what: a file, sha256: and 64 hexadecimal digits, or an image (`oci:FOLDER:TAG`, `HOST/REPOSITORY:TAG`); a file of that
    /// name comes first
    #[arg(value_name = "FILE_OR_DIGEST_OR_IMAGE")]
    pub subject: String,
    /// Its name, for people [default: the file's name, the image's repository, or none]
    #[arg(long)]
    pub name: Option<String>,
    /// Private key (PKCS#8 PEM, ECDSA P-256), from `attest keygen`
    #[arg(long, value_name = "FILE", required_unless_present = "fulcio_url")]
    pub key: Option<PathBuf>,
    /// Sign without a key, by a certificate of this Fulcio: refused, this version cannot
    #[arg(long, value_name = "URL", conflicts_with = "key")]
    pub fulcio_url: Option<String>,
    /// Submit to this Rekor v2 log (the address before /api/v2; of a DeliveryOS server, its address and /rekor, with its token);
    /// nothing is sent anywhere without it
    #[arg(long, value_name = "URL")]
    pub rekor: Option<String>,
    /// Verify the log's answer with these authorities (trusted_root.json) before the bundle is written
    #[arg(long, value_name = "FILE", requires = "rekor")]
    pub trusted_root: Option<PathBuf>,
    /// Where the bundle is written
    #[arg(long, value_name = "FILE", required_unless_present = "attach")]
    pub bundle: Option<PathBuf>,
    /// Put the bundle beside the image, as an OCI referrer in cosign's v0.3 layout
    #[arg(long)]
    pub attach: bool,
    /// HTTP without TLS also to registries that are not this machine
    #[arg(long)]
    pub plain_http: bool,
}

/// `attest build`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Build {
    /// Of what, by whom, where to.
    #[command(flatten)]
    pub made: Made,
    /// Who built it
    #[arg(long, value_name = "URI")]
    pub builder_id: String,
    /// What kind of build it was
    #[arg(long, value_name = "URI")]
    pub build_type: String,
    /// A parameter that was chosen outside the builder; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = super::pair)]
    pub parameters: Vec<(String, String)>,
    /// The source, as git+https://…@refs/…
    #[arg(long, value_name = "URI")]
    pub source: Option<String>,
    /// Its commit
    #[arg(long, value_name = "SHA", requires = "source")]
    pub commit: Option<String>,
    /// This run of the builder
    #[arg(long, value_name = "ID")]
    pub invocation: Option<String>,
    /// When it began (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub started: Option<Timestamp>,
    /// When it ended (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub finished: Option<Timestamp>,
}

/// `attest vuln`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Vuln {
    /// Of what, by whom, where to.
    #[command(flatten)]
    pub made: Made,
    /// The scanner's report (JSON)
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,
    /// The scanner, as pkg:… or an address
    #[arg(long, value_name = "URI")]
    pub scanner: String,
    /// Its version
    #[arg(long, value_name = "VERSION")]
    pub scanner_version: String,
    /// When the scan began (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub started: Timestamp,
    /// When it ended (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub finished: Timestamp,
}
