//! The authorities that are believed.

use std::fmt;

use sigstore_verify::trust_root::{self, SigstoreInstance, TransparencyLog};

use super::limits;
use crate::Refused;

/// Logs, certificate and timestamp authorities that are believed (`trusted_root.json`).
#[derive(Clone)]
pub struct TrustRoot {
    inner: trust_root::TrustedRoot,
    digest: model::Digest,
}

impl TrustRoot {
    /// From a `trusted_root.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refused> {
        let wrong = |why: String| Refused::TrustRoot(why);
        if bytes.len() > limits::MAX_TRUST_ROOT {
            return Err(wrong(format!("it has more than {} bytes", limits::MAX_TRUST_ROOT)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let inner = trust_root::TrustedRoot::from_json(text).map_err(|error| wrong(error.to_string()))?;
        let known = [
            "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "application/vnd.dev.sigstore.trustedroot.v0.2+json",
        ];
        if !known.contains(&inner.media_type.as_str()) {
            return Err(wrong(format!("its media type {:?} is not known here", inner.media_type)));
        }
        let authorities = inner.tlogs.len()
            + inner.ctlogs.len()
            + inner.certificate_authorities.len()
            + inner.timestamp_authorities.len();
        if authorities > limits::MAX_AUTHORITIES {
            return Err(wrong(format!("it has {authorities} authorities, {} are allowed", limits::MAX_AUTHORITIES)));
        }
        let digest = model::Digest::from_sha256(sigstore_verify::crypto::sha256(bytes).as_bytes());
        Ok(Self { inner, digest })
    }

    /// The public instance's, as of this build.
    pub fn public() -> Result<Self, Refused> {
        Self::from_json(SigstoreInstance::PublicGood.embedded_trusted_root_json().as_bytes())
    }

    /// The public instance's trial one, as of this build.
    pub fn staging() -> Result<Self, Refused> {
        Self::from_json(SigstoreInstance::Staging.embedded_trusted_root_json().as_bytes())
    }

    /// The digest of the file: what a decision under it is kept under.
    pub fn digest(&self) -> &model::Digest {
        &self.digest
    }

    pub(super) fn library(&self) -> &trust_root::TrustedRoot {
        &self.inner
    }

    /// The log with this id.
    pub(super) fn log(&self, id: &[u8]) -> Option<&TransparencyLog> {
        self.inner.tlogs.iter().find(|log| log.log_id.key_id.as_bytes() == id)
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustRoot({})", self.digest)
    }
}
