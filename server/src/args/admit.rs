//! `admit …`.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Subcommand};

/// `admit …`.
#[derive(Debug, Subcommand)]
pub enum AdmitVerb {
    /// Make a certificate for the webhook, with an authority of its own: ca.pem, tls.pem and tls.key in a folder
    Certificate {
        /// The folder; the files must not exist
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Names and addresses by which the cluster reaches the webhook
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print what is to be applied to the cluster so that it asks
    Webhook(Webhook),
    /// Judge manifests (YAML or JSON) as the webhook would; exit 0 = all allowed, 1 = one is denied
    Check(CheckManifests),
}

/// `admit webhook`.
#[derive(Debug, Clone, ClapArgs)]
#[command(group = ArgGroup::new("reached").required(true).args(["url", "service"]))]
pub struct Webhook {
    /// Its address, as https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The service in front of it, as NAMESPACE/NAME[:PORT]
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// The authority that signed its certificate (PEM), as `admit certificate` writes it
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// A namespace that is not asked about; kube-system is one, so that a cluster can start
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub exempt: Vec<String>,
    /// Also the webhook that replaces tags by digests (policies with tags = "pin")
    #[arg(long)]
    pub pin: bool,
}

/// `admit check`.
#[derive(Debug, Clone, ClapArgs)]
#[command(group = ArgGroup::new("by").required(true).args(["config", "policy"]))]
pub struct CheckManifests {
    /// Manifests
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A configuration with [admission]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Policies: TOML, or ClusterImagePolicy documents in YAML
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Authorities to believe (trusted_root.json) [default: the public instance's, as of this build]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub trusted_root: Option<PathBuf>,
    /// HTTP without TLS also to registries that are not this machine
    #[arg(long, conflicts_with = "config")]
    pub plain_http: bool,
}
