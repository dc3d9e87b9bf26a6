//! The one module that names the library underneath.

mod bare;
mod checks;
mod describe;
pub mod limits;
mod log_entry;
mod make;
mod proved;
mod remembered;
#[cfg(test)]
mod tests;
mod trust;

use std::{fmt, io::Read};

use jiff::Timestamp;
use model::Digest;
use sigstore_verify as sv;
use sv::types::{Bundle, DerPublicKey, MediaType, Sha256Hash, SignatureContent};

pub use bare::digest_of;
pub use describe::Described;
pub use log_entry::{EntryError, log_entry};
pub use make::{SignError, Signed, SigningKey};
pub use proved::{Evidence, LogEntry, Proved, ProvedSigner};
pub use remembered::forget_signatures;
pub use trust::TrustRoot;

use crate::{Expected, Policy, Refused, Signer, Statement};

/// Verifies bundles against one trust root. Making one parses the trust root's keys; keep it.
///
/// The library underneath (`sigstore-verify`) checks signatures, certificate chains, embedded certificate timestamps, proofs of
/// inclusion, checkpoints, the logs' promises and RFC 3161 timestamps, and holds the log entry against artifact, signature and key.
/// What it leaves to its caller is checked here:
///
/// * sizes and counts, before anything is computed;
/// * the bundle's form: with v0.1 a proof can be left out unnoticed;
/// * a proof of inclusion on **every** entry, each from a log of the trust root, its checkpoint signed by **that** log, whose key was in
///   force at the time of the entry where a time is proved;
/// * the statement's `_type` and `predicateType`;
/// * when a managed key may be used;
/// * identities by pattern.
pub struct Verifier {
    trust: TrustRoot,
    inner: sv::Verifier,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(DerPublicKey);

/// What a bundle is held against.
pub enum Artifact<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What this digest is of.
    Digest(Digest),
    /// What can be read here, to its end; hashed as it comes.
    Reader(&'a mut dyn Read),
}

impl PublicKey {
    /// From PEM (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, Refused> {
        let wrong = |why: String| Refused::Signature(format!("not a public key: {why}"));
        if pem.len() > limits::MAX_KEY {
            return Err(wrong(format!("more than {} bytes", limits::MAX_KEY)));
        }
        let key = DerPublicKey::from_pem(pem).map_err(|error| wrong(error.to_string()))?;
        sv::crypto::KeyAlgorithm::from_spki(&key).map_err(|error| wrong(error.to_string()))?;
        Ok(Self(key))
    }

    /// The key as a certificate would hold it (SubjectPublicKeyInfo, DER).
    pub fn spki(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_pem()
    }

    /// What bundles of this key name it by: SHA-256 of [`PublicKey::spki`], in base64.
    pub fn hint(&self) -> String {
        sv::crypto::sha256(self.spki()).to_base64()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.hint())
    }
}

impl fmt::Debug for Artifact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Reader(_) => f.write_str("a reader"),
        }
    }
}

impl Verifier {
    /// For the authorities of this trust root.
    pub fn new(trust: TrustRoot) -> Result<Self, Refused> {
        remembered::install();
        let inner = sv::Verifier::new(trust.library()).map_err(|error| Refused::TrustRoot(error.to_string()))?;
        Ok(Self { trust, inner })
    }

    /// The trust root.
    pub fn trust(&self) -> &TrustRoot {
        &self.trust
    }

    /// Holds a bundle against an artifact and a policy. `now` is what a key's window is held against where no time is proved.
    pub fn verify(
        &self,
        bundle: &[u8],
        artifact: Artifact<'_>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Proved, Refused> {
        let bundle = parse(bundle)?;
        checks::form(&bundle, policy)?;
        let unlogged = policy.unlogged && bundle.verification_material.tlog_entries.is_empty();
        checks::logs(&bundle, &self.trust)?;
        // Read before the signature is checked, but trusted only with it: the library verifies these very bytes.
        let evidence = match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                let statement = Statement::parse(envelope.payload.as_bytes())
                    .map_err(|error| Refused::Statement(error.to_string()))?;
                Evidence::Statement(Box::new(statement))
            }
            _ => Evidence::Signature,
        };
        expected(&policy.expected, &evidence)?;
        let result = match &policy.signer {
            Signer::Key(wanted) => {
                if bundle.signing_certificate().is_some() {
                    return Err(Refused::SignerKind { wanted: "a key", found: "a certificate" });
                }
                if unlogged && bare::is_bare(&bundle) {
                    bare::verify(&bundle, &evidence, artifact, &wanted.key)?;
                    if !wanted.covers(now) {
                        return Err(Refused::KeyWindow { time: now.to_string(), window: wanted.window() });
                    }
                    return Ok(proved::collect(&bundle, &self.trust, evidence, &policy.signer, None));
                }
                let mut library = sv::PublicKeyVerificationPolicy::new(wanted.key.0.clone());
                if unlogged {
                    library = library.skip_tlog_unsafe();
                }
                self.library(&bundle, artifact, &library)?
            }
            Signer::Keyless { identity, issuer, transparency } => {
                if bundle.signing_certificate().is_none() {
                    return Err(Refused::SignerKind { wanted: "a certificate", found: "a key" });
                }
                // Identity and issuer are compared below, exact or by pattern.
                let mut library = sv::VerificationPolicy::any_identity();
                if !transparency {
                    library = library.skip_sct();
                }
                if unlogged {
                    library = library.skip_tlog_unsafe();
                }
                let result = self.library(&bundle, artifact, &library)?;
                let found = result.identity().map_or("", |name| name.as_str());
                if found.is_empty() || !identity.matches(found) {
                    return Err(Refused::Identity { wanted: identity.to_string(), found: named(found) });
                }
                let found = result.issuer().unwrap_or_default();
                if found.is_empty() || !issuer.matches(found) {
                    return Err(Refused::Issuer { wanted: issuer.to_string(), found: named(found) });
                }
                result
            }
        };
        let times: Vec<Timestamp> = result.verified_timestamps().to_vec();
        checks::log_windows(&bundle, &self.trust, &times)?;
        if let Signer::Key(wanted) = &policy.signer {
            // Every proved time must be covered: which of them is that of the signature nobody knows.
            let held: &[Timestamp] = if times.is_empty() { &[now] } else { &times };
            if let Some(outside) = held.iter().find(|time| !wanted.covers(**time)) {
                return Err(Refused::KeyWindow { time: outside.to_string(), window: wanted.window() });
            }
        }
        Ok(proved::collect(&bundle, &self.trust, evidence, &policy.signer, Some(&result)))
    }

    fn library(
        &self,
        bundle: &Bundle,
        artifact: Artifact<'_>,
        policy: &dyn sv::Policy,
    ) -> Result<sv::VerificationResult, Refused> {
        let verified = match artifact {
            Artifact::Bytes(bytes) => self.inner.verify(bytes, bundle, policy),
            Artifact::Digest(digest) => {
                let hash = Sha256Hash::from_hex(digest.hex()).map_err(|e| Refused::OtherArtifact(e.to_string()))?;
                self.inner.verify(hash, bundle, policy)
            }
            Artifact::Reader(reader) => self.inner.verify_reader(reader, bundle, policy),
        };
        verified.map_err(refused)
    }
}

fn parse(bytes: &[u8]) -> Result<Bundle, Refused> {
    if bytes.len() > limits::MAX_BUNDLE {
        return Err(Refused::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Malformed("it is not UTF-8".to_owned()))?;
    Bundle::from_json(text).map_err(|error| Refused::Malformed(error.to_string()))
}

fn expected(wanted: &Expected, evidence: &Evidence) -> Result<(), Refused> {
    match (wanted, evidence) {
        (Expected::Anything, _) => Ok(()),
        (Expected::Statement(wanted), Evidence::Statement(found)) if found.predicate_type == *wanted => Ok(()),
        (Expected::Statement(wanted), Evidence::Statement(found)) => {
            Err(Refused::PredicateType { wanted: wanted.clone(), found: found.predicate_type.clone() })
        }
        (Expected::Statement(wanted), Evidence::Signature) => {
            Err(Refused::PredicateType { wanted: wanted.clone(), found: "bare signature".to_owned() })
        }
    }
}

fn named(found: &str) -> String {
    if found.is_empty() { "nobody that the certificate names".to_owned() } else { found.chars().take(500).collect() }
}

/// The library's causes in our own words.
fn refused(error: sv::Error) -> Refused {
    use sv::Error as E;
    match error {
        E::SignatureInvalid(why) => Refused::Signature(why),
        E::ArtifactMismatch(why) | E::UnsupportedArtifact(why) => Refused::OtherArtifact(why),
        E::Certificate(why) => Refused::Certificate(why.to_string()),
        E::TransparencyLog(why) => Refused::Log(why.to_string()),
        E::Timestamp(why) => Refused::Time(why.to_string()),
        E::InvalidTrustRoot(why) => Refused::TrustRoot(why),
        error @ (E::TrustRoot(_) | E::TrustedCertificate(_)) => Refused::TrustRoot(error.to_string()),
        E::ArtifactRead(why) => Refused::Unreadable(why.to_string()),
        E::Crypto(why) => Refused::Signature(why.to_string()),
        other => Refused::Malformed(other.to_string()),
    }
}

fn media_type(bundle: &Bundle) -> MediaType {
    bundle.media_type()
}
