//! Facts of what is known of an artifact before and beside its release: who built it, what was attested, where it was promoted, and what
//! a service's policy makes of that.

use serde::{Deserialize, Serialize};

use crate::{Actor, Digest, Environment, ServiceId};

/// Facts of [`Kind::BuildCompleted`](crate::Kind::BuildCompleted): an image was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildCompleted {
    /// The service.
    pub service: ServiceId,
    /// The image.
    pub subject: Digest,
    /// What it was made from, as an address (a package URL, a repository).
    pub source: String,
    /// The program in it.
    pub program: Digest,
    /// Where it lies.
    pub place: String,
    /// Under which tag.
    pub tag: String,
}

/// Facts of the four attestation kinds: a bundle was verified here, against the signers that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The service.
    pub service: ServiceId,
    /// What it is about: an image, by digest.
    pub subject: Digest,
    /// What kind of thing it states.
    pub predicate_type: String,
    /// The manifest that carries it as the image's referrer.
    pub manifest: Digest,
    /// The bundle, kept as a segment.
    pub bundle: Digest,
    /// Who signed: `key HINT`, or an identity with its provider.
    pub signer: String,
    /// Transparency logs that hold it, each with a verified proof; none when the configuration takes what no log has seen.
    pub logged: Vec<String>,
    /// Of a provenance: from what it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Of a provenance: who built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// Of a provenance: which run of the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
}

/// Facts of [`Kind::PromotionCopied`](crate::Kind::PromotionCopied) and [`Kind::PromotionRefused`](crate::Kind::PromotionRefused).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionDecided {
    /// `copied` or `refused`.
    pub decision: String,
    /// The service.
    pub service: ServiceId,
    /// Into which environment.
    pub environment: Environment,
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// Under which tag.
    pub tag: String,
    /// The image, when it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// The person's reason.
    pub reason: String,
    /// Why it was refused, each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    /// Index of the request that this agrees to, and who made it: the rule of two people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Who asked for what this agrees to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Actor>,
    /// Manifests of the whole graph.
    #[serde(default)]
    pub manifests: u64,
    /// Of these, evidence.
    #[serde(default)]
    pub evidence: u64,
    /// Bytes of all blobs.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes that were not there yet.
    #[serde(default)]
    pub copied: u64,
    /// Receipts of the attestations that were verified for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<u64>,
}

/// One thing that a service's policy asks of an artifact, and what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// What is asked for, in words.
    pub what: String,
    /// Whether it is there.
    pub met: bool,
    /// The receipt that decides it, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<u64>,
    /// Why it counts, or does not, in words.
    pub why: String,
}
