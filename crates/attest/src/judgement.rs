//! Evidence held against a policy: what is proved, by whom, and what is not.

use jiff::Timestamp;
use model::Digest;
use serde::Serialize;

use crate::{Artifact, Described, Evidence, EvidencePolicy, Proved, Refused, Verifier};

/// Bundles of one image that are verified: each costs a signature check for every signer of the policy.
pub const MAX_BUNDLES: usize = 256;

/// Bundles of one image, seen one after the other.
pub struct Judging<'a> {
    policy: &'a EvidencePolicy,
    verifier: Verifier,
    image: Digest,
    now: Timestamp,
    proofs: Vec<Proof>,
    refused: Vec<NotProved>,
}

/// What is said of an image in the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// The image.
    pub image: Digest,
    /// The policy's name.
    pub policy: String,
    /// Digest of the trust root that was believed.
    pub trusted_root: Digest,
    /// Whether everything that the policy asks for is proved.
    pub met: bool,
    /// What it asks for.
    pub requirements: Vec<Answered>,
    /// What was proved, whether it was asked for or not.
    pub proved: Vec<Proof>,
    /// Bundles that prove nothing under this policy.
    pub refused: Vec<NotProved>,
}

/// A requirement and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// Its name.
    pub name: String,
    /// The predicate type that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Who may have signed.
    pub signers: Vec<String>,
    /// Whether it is proved.
    pub met: bool,
    /// By which of [`Judgement::proved`].
    pub by: Vec<usize>,
    /// Why it is not proved, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One bundle that proved something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// The evidence's digest.
    pub evidence: Digest,
    /// Which signer of the policy it is.
    pub signer: String,
    /// What was proved.
    pub proved: Proved,
}

/// One bundle that proved nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotProved {
    /// The evidence's digest.
    pub evidence: Digest,
    /// What it says that it states; not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Why each signer's policy refused it.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The signer that it was held against; empty when it was not come to that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signer: String,
    /// Why not.
    pub why: String,
}

impl std::fmt::Debug for Judging<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judging").field("image", &self.image).field("policy", &self.policy.name).finish_non_exhaustive()
    }
}

impl<'a> Judging<'a> {
    /// Begins. `now` is what a key's window is held against where no time is proved.
    pub fn new(policy: &'a EvidencePolicy, image: Digest, now: Timestamp) -> Result<Self, Refused> {
        let verifier = Verifier::new(policy.trust.clone())?;
        Ok(Self { policy, verifier, image, now, proofs: Vec::new(), refused: Vec::new() })
    }

    /// Holds one bundle against every signer of the policy.
    pub fn see(&mut self, evidence: Digest, bundle: &[u8]) {
        if self.proofs.len() + self.refused.len() >= MAX_BUNDLES {
            let why = format!("more than {MAX_BUNDLES} bundles: this one was not looked at");
            return self.refuse(evidence, None, vec![Reason { signer: String::new(), why }]);
        }
        let described = match Described::of(bundle) {
            Ok(described) => described,
            Err(why) => {
                let why = why.to_string();
                return self.refuse(evidence, None, vec![Reason { signer: String::new(), why }]);
            }
        };
        let says = described.statement.map(|statement| statement.predicate_type);
        let mut reasons = Vec::new();
        let mut proofs = Vec::new();
        for (signer, policy) in &self.policy.signers {
            match self.verifier.verify(bundle, Artifact::Digest(self.image.clone()), policy, self.now) {
                Ok(proved) => proofs.push(Proof { evidence: evidence.clone(), signer: signer.clone(), proved }),
                Err(why) => reasons.push(Reason { signer: signer.clone(), why: why.to_string() }),
            }
        }
        if proofs.is_empty() {
            return self.refuse(evidence, says, reasons);
        }
        self.proofs.extend(proofs);
    }

    /// Notes evidence that could not even be read.
    pub fn unreadable(&mut self, evidence: Digest, why: String) {
        self.refuse(evidence, None, vec![Reason { signer: String::new(), why }]);
    }

    fn refuse(&mut self, evidence: Digest, says: Option<String>, reasons: Vec<Reason>) {
        self.refused.push(NotProved { evidence, says, reasons });
    }

    /// What is said in the end.
    pub fn end(self) -> Judgement {
        let Self { policy, image, proofs, refused, .. } = self;
        let requirements: Vec<Answered> = policy
            .requirements
            .iter()
            .map(|wanted| {
                let right = |proof: &Proof| wanted.predicate_type.as_deref().is_none_or(|t| states(proof) == Some(t));
                let by: Vec<usize> = (0..)
                    .zip(&proofs)
                    .filter(|(_, proof)| right(proof) && wanted.signers.contains(&proof.signer))
                    .map(|(at, _)| at)
                    .collect();
                let why = by.is_empty().then(|| missing(wanted, &proofs, &refused));
                Answered {
                    name: wanted.name.clone(),
                    predicate_type: wanted.predicate_type.clone(),
                    signers: wanted.signers.clone(),
                    met: !by.is_empty(),
                    by,
                    why,
                }
            })
            .collect();
        Judgement {
            image,
            policy: policy.name.clone(),
            trusted_root: policy.trust.digest().clone(),
            met: requirements.iter().all(|answered| answered.met),
            requirements,
            proved: proofs,
            refused,
        }
    }
}

fn states(proof: &Proof) -> Option<&str> {
    match &proof.proved.evidence {
        Evidence::Statement(statement) => Some(&statement.predicate_type),
        Evidence::Signature => None,
    }
}

/// Why a requirement is not met, with the nearest miss first.
fn missing(wanted: &crate::evidence_policy::Requirement, proofs: &[Proof], refused: &[NotProved]) -> String {
    let type_fits = |says: Option<&str>| wanted.predicate_type.as_deref().is_none_or(|t| says == Some(t));
    if let Some(other) = proofs.iter().find(|proof| type_fits(states(proof))) {
        return format!("it is signed by {}, and the policy asks for {}", other.signer, wanted.signers.join(" or "));
    }
    let near = refused.iter().filter(|not| type_fits(not.says.as_deref())).flat_map(|not| &not.reasons);
    let mut own = near.filter(|reason| reason.signer.is_empty() || wanted.signers.contains(&reason.signer));
    match own.next() {
        Some(reason) => reason.why.clone(),
        None => "there is no such evidence".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{CYCLONEDX, SLSA_PROVENANCE, SigningKey, Statement};

    #[test]
    fn what_is_proved_by_whom_and_what_is_not() {
        let image = Digest::from_sha256(&[7; 32]);
        let (ours, _) = SigningKey::generate().unwrap();
        let (theirs, _) = SigningKey::generate().unwrap();
        let text = format!(
            "name = \"p\"\n[signers.ours]\nunlogged = true\nkey-pem = '''{}'''\n[signers.theirs]\nunlogged = true\nkey-pem = '''{}'''\n\
             [[require]]\ntype = \"slsa-provenance\"\nsigners = [\"ours\"]\n[[require]]\ntype = \"cyclonedx\"\nsigners = [\"ours\"]\n",
            ours.public().to_pem(),
            theirs.public().to_pem()
        );
        let policy = EvidencePolicy::parse(&text, &mut |_| Err("no".to_owned())).unwrap();
        let now = "2026-05-01T00:00:00Z".parse().unwrap();
        let bundle = |key: &SigningKey, of: &Digest, kind: &str| {
            key.statement(&Statement::new("app", of, kind, json!({}))).unwrap().unlogged().unwrap().into_bytes()
        };
        let id = |byte| Digest::from_sha256(&[byte; 32]);
        let judge = |bundles: &[Vec<u8>]| {
            let mut judging = Judging::new(&policy, image.clone(), now).unwrap();
            for (at, bundle) in bundles.iter().enumerate() {
                judging.see(id(at as u8), bundle);
            }
            judging.end()
        };
        let good = [bundle(&ours, &image, SLSA_PROVENANCE), bundle(&ours, &image, CYCLONEDX)];
        assert!(judge(&good).met);
        let none = judge(&[]);
        assert!(!none.met && none.requirements.iter().all(|r| r.why.as_deref() == Some("there is no such evidence")));
        // Somebody else whom the policy knows, somebody whom it does not, another image, and rubbish.
        let (stranger, _) = SigningKey::generate().unwrap();
        let why = |second: Vec<u8>| {
            let judged = judge(&[good[0].clone(), second]);
            assert!(!judged.met && judged.requirements[0].met && !judged.requirements[1].met);
            judged.requirements[1].why.clone().unwrap()
        };
        assert!(why(bundle(&theirs, &image, CYCLONEDX)).contains("signed by theirs"));
        assert!(why(bundle(&stranger, &image, CYCLONEDX)).contains("signature"));
        assert!(why(bundle(&ours, &id(9), CYCLONEDX)).contains("not about this artifact"));
        assert!(why(bundle(&ours, &image, "https://example.com/other")).contains("no such evidence"));
        let rubbish = judge(&[b"{}".to_vec()]);
        assert!(rubbish.refused.len() == 1 && rubbish.refused[0].reasons[0].why.contains("not a Sigstore bundle"));
        // A flood of bundles is not verified without end.
        let flood = judge(&vec![b"{}".to_vec(); MAX_BUNDLES + 1]);
        assert!(flood.refused[MAX_BUNDLES].reasons[0].why.contains("not looked at"));
    }
}
