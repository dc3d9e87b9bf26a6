//! `image …` and `promote`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use model::{Digest, Environment, ServiceId};
use registry::{Platform, Reference};

/// `promote`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Promote {
    /// What: `oci:FOLDER[:TAG|@DIGEST]` or `HOST/REPOSITORY:TAG|@DIGEST`
    #[arg(value_name = "SRC", required_unless_present = "service")]
    pub source: Option<Reference>,
    /// Where to: `oci:FOLDER[:TAG]` or `HOST/REPOSITORY[:TAG]`; without a tag it keeps the source's
    #[arg(value_name = "DST", required_unless_present = "service")]
    pub destination: Option<Reference>,
    /// Let a server promote and record it: an image of this service, between the environments of its configuration
    #[arg(long, value_name = "SERVICE", requires_all = ["environment", "tag"],
          conflicts_with_all = ["source", "destination", "policy", "platform", "dry_run", "move_tag", "trust_blobs", "plain_http"])]
    pub service: Option<ServiceId>,
    /// With a server: into this environment
    #[arg(long = "to", value_name = "ENVIRONMENT", requires = "service")]
    pub environment: Option<Environment>,
    /// With a server: the image's tag
    #[arg(long, value_name = "TAG", requires = "service")]
    pub tag: Option<String>,
    /// With a server: the digest that the tag must name
    #[arg(long, value_name = "DIGEST", requires = "service")]
    pub digest: Option<Digest>,
    /// With a server: agree to the request of this receipt, where two people are needed
    #[arg(long, value_name = "RECEIPT", requires = "service")]
    pub agree: Option<u64>,
    /// With a server: idempotency key [default: random]
    #[arg(long, value_name = "KEY", requires = "service")]
    pub id: Option<model::CommandId>,
    /// Copy only what meets this evidence policy (as `verify --policy`); without one nothing is verified but the bytes
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Of an index only the image for this platform, as linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Let the tag name this image even when it names another one
    #[arg(long)]
    pub move_tag: bool,
    /// Do not read blobs back from the destination: presence and length are enough
    #[arg(long)]
    pub trust_blobs: bool,
    /// HTTP without TLS also to hosts that are not this machine
    #[arg(long)]
    pub plain_http: bool,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `image …`.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Make an image of one program in a layout; the same program gives the same digest
    Build {
        /// `oci:FOLDER:TAG`
        #[arg(value_name = "DST")]
        destination: Reference,
        /// The program
        #[arg(value_name = "PROGRAM")]
        program: PathBuf,
        /// Its path in the image [default: app/ and its name]
        #[arg(long)]
        path: Option<String>,
        /// Labels, as NAME=VALUE
        #[arg(long, value_parser = super::pair, value_name = "NAME=VALUE")]
        label: Vec<(String, String)>,
        /// Arguments that it is run with
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Show an image with its children and evidence; every manifest is hashed
    Show {
        /// `oci:FOLDER[:TAG|@DIGEST]` or `HOST/REPOSITORY:TAG|@DIGEST`
        image: Reference,
        /// HTTP without TLS also to hosts that are not this machine
        #[arg(long)]
        plain_http: bool,
    },
}
