//! What a bundle proved, in plain values.

use std::collections::BTreeMap;

use serde::Serialize;
use sigstore_verify::{VerificationResult, crypto::CertificateInfo, types::Bundle};

use super::{checks::promised, media_type, trust::TrustRoot};
use crate::{Signer, Statement};

/// What a bundle proved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proved {
    /// What was signed.
    pub evidence: Evidence,
    /// By whom.
    pub signer: ProvedSigner,
    /// Where it was logged, each with a verified proof or, in bundles of the form v0.1, a verified promise.
    pub logged: Vec<LogEntry>,
    /// Times of signing that a log or a timestamp authority vouched for, RFC 3339.
    pub times: Vec<String>,
    /// The bundle's form.
    pub form: &'static str,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Evidence {
    /// The artifact itself.
    Signature,
    /// An in-toto statement about it.
    Statement(Box<Statement>),
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProvedSigner {
    /// Somebody with a certificate.
    Certificate {
        /// The person or workflow.
        identity: String,
        /// The identity provider that vouched for them.
        issuer: String,
        /// What else the certificate says of the build: source, commit, trigger, by the names of Fulcio's extensions.
        claims: BTreeMap<&'static str, String>,
        /// Whether it is proved to stand in a certificate transparency log.
        transparency: bool,
    },
    /// The holder of a key.
    Key {
        /// SHA-256 of the public key, base64.
        hint: String,
    },
}

/// An entry of a transparency log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogEntry {
    /// The log's address as its trust root names it.
    pub log: String,
    /// The entry's place in it.
    pub index: u64,
    /// Kind and version of the entry.
    pub kind: String,
    /// When the log says it was made, where it signs that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Whether the bundle proves that it is in the log; else the log has only promised it.
    pub proof: bool,
}

pub(super) fn collect(
    bundle: &Bundle,
    trust: &TrustRoot,
    evidence: Evidence,
    signer: &Signer,
    result: Option<&VerificationResult>,
) -> Proved {
    let logged = bundle.verification_material.tlog_entries.iter().map(|entry| LogEntry {
        log: trust.log(entry.log_id.key_id.as_bytes()).map(|log| log.base_url.clone()).unwrap_or_default(),
        index: entry.log_index.get(),
        kind: format!("{} {}", entry.kind_version.kind(), entry.kind_version.version()),
        time: promised(entry).map(|time| time.to_string()),
        proof: entry.inclusion_proof.is_some(),
    });
    let signer = match signer {
        Signer::Key(policy) => ProvedSigner::Key { hint: policy.key.hint() },
        Signer::Keyless { .. } => ProvedSigner::Certificate {
            identity: result.and_then(|r| r.identity()).map(|name| name.as_str().to_owned()).unwrap_or_default(),
            issuer: result.and_then(|r| r.issuer()).unwrap_or_default().to_owned(),
            claims: result.and_then(|r| r.certificate()).map(claims).unwrap_or_default(),
            transparency: result.is_some_and(VerificationResult::sct_verified),
        },
    };
    Proved {
        evidence,
        signer,
        logged: logged.collect(),
        times: result.into_iter().flat_map(|r| r.verified_timestamps()).map(ToString::to_string).collect(),
        form: media_type(bundle).as_str(),
    }
}

fn claims(certificate: &CertificateInfo) -> BTreeMap<&'static str, String> {
    let ci = &certificate.ci_claims;
    let all = [
        ("sourceRepositoryURI", &ci.source_repository_uri),
        ("sourceRepositoryDigest", &ci.source_repository_digest),
        ("sourceRepositoryRef", &ci.source_repository_ref),
        ("buildSignerURI", &ci.build_signer_uri),
        ("buildSignerDigest", &ci.build_signer_digest),
        ("buildConfigURI", &ci.build_config_uri),
        ("buildConfigDigest", &ci.build_config_digest),
        ("buildTrigger", &ci.build_trigger),
        ("runnerEnvironment", &ci.runner_environment),
        ("runInvocationURI", &ci.run_invocation_uri),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}
