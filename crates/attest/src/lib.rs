//! Sigstore bundles, in-toto statements and Rekor logs: verified under a policy, and made.
//!
//! * [`Policy`]: whose signature is wanted (a person or workflow by certificate, or a key), and what kind of evidence.
//! * [`TrustRoot`]: the authorities that are believed: from a file, or those of the public instance, embedded.
//! * [`Verifier`]: bundle and artifact in, [`Proved`] or a [`Refused`] with its reason out.
//! * [`EvidencePolicy`] and [`Judging`]: all the bundles of an image held against what it must have.
//! * [`log_entry`]: what a log of signatures takes, verified.
//! * [`SigningKey`]: statements and files become bundles, with or without a log's entry.
//!
//! # Invariants
//! - Only the module `sigstore` names the library underneath; what it does not check is checked here, and is listed at [`Verifier`].
//! - Verification never uses a network. What is not in the bundle or the trust root does not exist.
//! - A bundle is refused, never repaired. Every size has a named limit.
//! - Nothing but that a signature holds is remembered from one verification to the next, and that by all it depends on.

mod evidence_policy;
mod judgement;
mod policy;
mod predicate;
mod refused;
mod sigstore;
mod statement;

pub use evidence_policy::{EvidencePolicy, EvidencePolicyError, Requirement};
pub use judgement::{Answered, Judgement, Judging, MAX_BUNDLES, NotProved, Proof, Reason};
pub use policy::{Expected, KeyPolicy, Match, Policy, PolicyError, Signer};
pub use predicate::{Build, PredicateError, cyclonedx, vulnerabilities};
pub use refused::Refused;
pub use sigstore::{
    Artifact, Described, EntryError, Evidence, LogEntry, Proved, ProvedSigner, PublicKey, SignError, Signed,
    SigningKey, TrustRoot, Verifier, digest_of, forget_signatures, limits, log_entry,
};
pub use statement::{
    COSIGN_SIGNATURE, COSIGN_VULN, CYCLONEDX, SLSA_PROVENANCE, STATEMENT_V1, Statement, StatementError, Subject,
    kind_of,
};
