//! `[admission]`: the webhook that a cluster asks whether a pod may run.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// The webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Address on which the cluster reaches it, with TLS.
    pub listen: SocketAddr,
    /// Its certificate and those above it (PEM).
    pub certificate: PathBuf,
    /// The certificate's key (PEM).
    pub key: PathBuf,
    /// Who may ask: only clients with a certificate of these authorities (PEM). Left out: whoever reaches the address.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Policies: TOML of our own, and sigstore's `ClusterImagePolicy` documents in YAML.
    pub policies: Vec<PathBuf>,
    /// Authorities to believe (`trusted_root.json`). Left out: the public instance's, as of this build.
    #[serde(default)]
    pub trusted_root: Option<PathBuf>,
    /// HTTP without TLS also to registries that are not this machine.
    #[serde(default)]
    pub plain_http: bool,
}

impl AdmissionConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.policies.is_empty() {
            return Err("admission.policies: at least one file".to_owned());
        }
        Ok(())
    }
}
