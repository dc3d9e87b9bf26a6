//! Attestations of an image, verified against the signers that the configuration names.

use std::path::Path;

use anyhow::Context as _;
use attest::{Artifact, Evidence, Match, Policy, PublicKey, Signer, TrustRoot, Verifier, kind_of};
use model::{Kind, ServiceId, evidence::Attested};
use registry::{
    Place,
    bundles::BUNDLE_V03,
    digest_of,
    graph::{Graph, Role},
    read_whole,
};
use serde_json::Value;

use crate::{config::AttestationsConfig, exit::WrongUse};

/// Bundles of one image that are verified: more than any pipeline attaches, and each takes a millisecond.
const MAX_BUNDLES: usize = 100;
/// Longest text of a statement that goes into a receipt, characters.
const MAX_TEXT: usize = 300;

/// Whose attestations count.
pub struct Attestations {
    verifier: Option<Verifier>,
    signers: Vec<(String, Policy)>,
}

/// What was found out about one image.
#[derive(Debug, Default)]
pub struct Found {
    /// What was verified: the kind of receipt, its facts, and the bundle's bytes.
    pub verified: Vec<(Kind, Attested, Vec<u8>)>,
    /// What does not count, and why.
    pub notes: Vec<String>,
}

impl Attestations {
    /// Reads keys and trust root.
    pub fn new(config: &AttestationsConfig) -> anyhow::Result<Self> {
        let mut signers = Vec::new();
        let mut add = |name: String, signer: Signer| {
            signers.push((name, Policy { unlogged: config.unlogged, ..Policy::by(signer) }));
        };
        for path in &config.keys {
            let wrong = |why: String| WrongUse(format!("attestations.keys: {}: {why}", path.display()));
            let pem = text(path, "attestations.keys")?;
            let key = PublicKey::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            add(format!("key {}", key.hint()), Signer::key(key));
        }
        for signer in &config.identities {
            let wrong = |error: attest::PolicyError| WrongUse(format!("attestations.identities: {error}"));
            let identity = Match::exact(signer.identity.clone()).map_err(wrong)?;
            let issuer = Match::exact(signer.issuer.clone()).map_err(wrong)?;
            add(format!("{} by {}", signer.identity, signer.issuer), Signer::keyless(identity, issuer));
        }
        let verifier = if signers.is_empty() {
            None
        } else {
            let trust = match &config.trusted_root {
                None => TrustRoot::public(),
                Some(path) => TrustRoot::from_json(text(path, "attestations.trusted_root")?.as_bytes()),
            };
            let verifier = trust.and_then(Verifier::new);
            Some(verifier.map_err(|error| WrongUse(format!("attestations.trusted_root: {error}")))?)
        };
        Ok(Self { verifier, signers })
    }

    /// Whether the configuration still names this signer, as receipts write it.
    pub fn trusts(&self, signer: &str) -> bool {
        self.signers.iter().any(|(name, _)| name == signer)
    }

    /// Verifies every bundle about the image itself.
    pub async fn verify(
        &self,
        place: &dyn Place,
        service: &ServiceId,
        graph: &Graph,
    ) -> Result<Found, registry::Error> {
        let mut found = Found::default();
        let Some(verifier) = &self.verifier else { return Ok(found) };
        let image = &graph.root.digest;
        let bundles = graph.nodes.iter().filter(|node| node.role == Role::Evidence(image.clone()));
        for (number, node) in bundles.filter(|node| node.manifest.kind() == BUNDLE_V03).enumerate() {
            let manifest = &node.fetched.descriptor.digest;
            if number == MAX_BUNDLES {
                found.notes.push(format!("more than {MAX_BUNDLES} bundles: the others were not looked at"));
                break;
            }
            // The configuration comes first, then the one layer.
            let Some(layer) = node.manifest.blobs().nth(1) else {
                found.notes.push(format!("{manifest} holds no bundle"));
                continue;
            };
            let bytes = read_whole(place, layer).await?;
            let mut refused = Vec::new();
            let proved = self.signers.iter().find_map(|(name, policy)| {
                let artifact = Artifact::Digest(image.clone());
                match verifier.verify(&bytes, artifact, policy, jiff::Timestamp::now()) {
                    Ok(proved) => Some((name, proved)),
                    Err(why) => {
                        refused.push(why.to_string());
                        None
                    }
                }
            });
            let Some((signer, proved)) = proved else {
                refused.dedup();
                found.notes.push(format!("{manifest} does not count: {}", refused.join("; ")));
                continue;
            };
            let Evidence::Statement(statement) = &proved.evidence else { continue };
            let Some(kind) = kind_of(&statement.predicate_type) else {
                found
                    .notes
                    .push(format!("{manifest} states {}, which is not known here", cut(&statement.predicate_type)));
                continue;
            };
            let said = |path: &str| statement.predicate.pointer(path).and_then(Value::as_str).map(cut);
            let facts = Attested {
                service: service.clone(),
                subject: image.clone(),
                predicate_type: cut(&statement.predicate_type),
                manifest: manifest.clone(),
                bundle: digest_of(&bytes),
                signer: signer.clone(),
                logged: proved.logged.iter().map(|entry| format!("{} #{}", entry.log, entry.index)).collect(),
                source: said("/buildDefinition/resolvedDependencies/0/uri"),
                commit: said("/buildDefinition/resolvedDependencies/0/digest/gitCommit"),
                builder: said("/runDetails/builder/id"),
                invocation: said("/runDetails/metadata/invocationId"),
            };
            found.verified.push((kind, facts, bytes.to_vec()));
        }
        Ok(found)
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        text.to_owned()
    } else {
        text.chars().take(MAX_TEXT - 1).chain(['…']).collect()
    }
}

fn text(path: &Path, field: &str) -> anyhow::Result<String> {
    let meta = std::fs::metadata(path)
        .map_err(|error| WrongUse(format!("{field}: {} cannot be read: {error}", path.display())))?;
    if meta.len() > attest::limits::MAX_TRUST_ROOT as u64 {
        return Err(WrongUse(format!("{field}: {} is too large", path.display())).into());
    }
    std::fs::read_to_string(path).with_context(|| format!("{field}: {}", path.display()))
}
